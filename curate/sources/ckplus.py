"""CK+ as its authors ship it: sequences from a neutral face to the peak of an expression.

    root/cohn-kanade-images/S005/001/S005_001_00000011.png     593 sequences of 123 people
    root/Emotion/S005/001/S005_001_00000011_emotion.txt        327 of them: "   3.0000000e+00"

Other names that occur: `extended-cohn-kanade-images`, `CKPlus_Images`; `Emotion_labels`,
`CKPlus_Labels`. A sequence without an emotion file has no label (it is not neutral); it is counted
and skipped. Of a labelled sequence the last `--peak-frames` (3) show the emotion and the first
`--neutral-frames` (1) a neutral face, by the convention of the field; the frames between show
neither and give no rows. Subject and sequence come from the names, so that no person is in two
folds or splits.
"""

from collections.abc import Iterator
from pathlib import Path

from curate.errors import SourceError
from curate.sources.layout import LayoutOptions, Listing, SourceRow
from curate.sources.tables.pictures import find_folder, is_picture, note_skipped, subfolders

NAME = "ckplus"
LOOKS_LIKE = "cohn-kanade-images/S*/*/*.png beside Emotion/S*/*/*_emotion.txt"
RECOGNISED_BY = "the two folders, in any of their names"

IMAGES = ("cohn-kanade-images", "extended-cohn-kanade-images", "CKPlus_Images")
EMOTIONS = ("Emotion", "Emotion_labels", "CKPlus_Labels")
CODES = ("neutral", "angry", "contempt", "disgust", "fear", "happy", "sad", "surprise")


def detect(root: Path) -> bool:
    """Whether the folder of sequences lies there; `rows` reports a missing folder of labels."""
    return root.is_dir() and find_folder(root, *IMAGES) is not None


def rows(root: Path, options: LayoutOptions) -> Listing:
    """The first and last frames of each labelled sequence.

    Raises
    ------
    SourceError  if the emotions' folder is missing, an emotion is no code, or a sequence has fewer
        frames than are taken of it
    """
    images, emotions = find_folder(root, *IMAGES), find_folder(root, *EMOTIONS)
    assert images is not None
    # The archive's own folder has the same name.
    images = find_folder(images, IMAGES[0]) or images
    if emotions is None:
        raise SourceError(
            f"{root}: holds {images.name} but no {' or '.join(EMOTIONS)}: "
            "the labels lie there; unpack them too"
        )
    found: list[SourceRow] = []
    unlabelled = []
    for sequence in _list_sequences(images):
        code = _read_emotion(emotions / sequence.relative_to(images))
        if code is None:
            unlabelled.append(sequence.relative_to(images).as_posix())
        else:
            found += _choose_frames(images, sequence, code, options)
    notes = note_skipped(unlabelled, "sequences have no emotion file, so no label,")
    return Listing(images, found, notes)


def _list_sequences(images: Path) -> Iterator[Path]:
    for subject in subfolders(images):
        yield from subfolders(subject)


def _read_emotion(folder: Path) -> int | None:
    """The code of the sequence's one emotion file; None if there is none."""
    files = sorted(folder.glob("[!.]*_emotion.txt")) if folder.is_dir() else []
    if not files:
        return None
    text = files[0].read_text()
    try:
        code = int(float(text))
    except ValueError:
        code = -1
    if not 0 <= code < len(CODES):
        raise SourceError(
            f"{files[0]}: '{text.strip()[:20]}' is no emotion: 0 to 7 are {', '.join(CODES)}"
        )
    return code


def _choose_frames(
    images: Path, sequence: Path, code: int, options: LayoutOptions
) -> list[SourceRow]:
    names = sorted(file.name for file in sequence.iterdir())
    frames = [name for name in names if is_picture(name) and not name.startswith(".")]
    needed = options.neutral_frames + options.peak_frames
    if len(frames) < needed:
        raise SourceError(
            f"{sequence}: {len(frames)} frames where {needed} are needed: restore it, "
            "or lower --peak-frames and --neutral-frames"
        )
    place = sequence.relative_to(images).as_posix()
    first, last = frames[: options.neutral_frames], frames[len(frames) - options.peak_frames :]
    chosen = [(name, "neutral", "first frame") for name in first]
    chosen += [(name, CODES[code], str(code)) for name in last]
    subject, number = sequence.parent.name, sequence.name
    return [
        SourceRow(f"{place}/{name}", label, source_label, subject=subject, sequence=number)
        for name, label, source_label in chosen
    ]
