"""CK+ as its authors ship it: sequences from a neutral face to the peak of an expression.

    root/cohn-kanade-images/S005/001/S005_001_00000011.png     593 sequences of 123 people
    root/Emotion/S005/001/S005_001_00000011_emotion.txt        327 of them: "   3.0000000e+00"

Also seen: `extended-cohn-kanade-images`, `CKPlus_Images`; `Emotion_labels`, `CKPlus_Labels`. A sequence without an emotion
file has no label (it is not neutral); it is counted and passed over. Of a labelled sequence the last `--peak-frames` (3) show
the emotion and the first `--neutral-frames` (1) a neutral face, by the convention of the field; the frames between show
neither and are no rows. Subject and sequence come from the names, so that no person crosses a fold or split.
"""

from collections.abc import Iterator
from pathlib import Path

from curate.errors import SourceError
from curate.sources.layout import LayoutOptions, Listing, SourceRow
from curate.sources.tables.pictures import find_folder, is_picture, note_passed, subfolders

NAME = "ckplus"
LOOKS_LIKE = "cohn-kanade-images/S*/*/*.png beside Emotion/S*/*/*_emotion.txt"
TOLD_BY = "the two folders, in any of their names"

IMAGES = ("cohn-kanade-images", "extended-cohn-kanade-images", "CKPlus_Images")
EMOTIONS = ("Emotion", "Emotion_labels", "CKPlus_Labels")
CODES = ("neutral", "angry", "contempt", "disgust", "fear", "happy", "sad", "surprise")


def detect(root: Path) -> bool:
    """Whether the folder of sequences lies there; without the labels' folder `rows` says what is missing."""
    return root.is_dir() and find_folder(root, *IMAGES) is not None


def rows(root: Path, asked: LayoutOptions) -> Listing:
    """The first and last frames of each labelled sequence.

    Raises
    ------
    SourceError  if the emotions' folder is missing, an emotion is no code, or a sequence is too short for both its ends
    """
    images, emotions = find_folder(root, *IMAGES), find_folder(root, *EMOTIONS)
    assert images is not None
    images = (
        find_folder(images, IMAGES[0]) or images
    )  # the archive's own folder has the same kind of name
    if emotions is None:
        raise SourceError(
            f"{root}: holds {images.name} but no {' or '.join(EMOTIONS)}: the labels lie there; unpack them too"
        )
    found: list[SourceRow] = []
    unlabelled = []
    for sequence in _list_sequences(images):
        code = _read_emotion(emotions / sequence.relative_to(images))
        if code is None:
            unlabelled.append(sequence.relative_to(images).as_posix())
        else:
            found += _choose_frames(images, sequence, code, asked)
    return Listing(
        images, found, note_passed(unlabelled, "sequences have no emotion file, so no label,")
    )


def _list_sequences(images: Path) -> Iterator[Path]:
    for subject in subfolders(images):
        yield from subfolders(subject)


def _read_emotion(folder: Path) -> int | None:
    """The code of the sequence's one emotion file; None if there is none."""
    files = sorted(folder.glob("[!.]*_emotion.txt")) if folder.is_dir() else []
    if not files:
        return None
    try:
        code = int(float(files[0].read_text()))
    except ValueError:
        code = -1
    if not 0 <= code < len(CODES):
        raise SourceError(
            f"{files[0]}: '{files[0].read_text().strip()[:20]}' is no emotion: 0 to 7 are {', '.join(CODES)}"
        )
    return code


def _choose_frames(
    images: Path, sequence: Path, code: int, asked: LayoutOptions
) -> list[SourceRow]:
    frames = sorted(
        file.name
        for file in sequence.iterdir()
        if not file.name.startswith(".") and is_picture(file.name)
    )
    needed = asked.neutral_frames + asked.peak_frames
    if len(frames) < needed:
        raise SourceError(
            f"{sequence}: {len(frames)} frames where {needed} are needed: restore it, or lower --peak-frames and --neutral-frames"
        )
    place = sequence.relative_to(images).as_posix()
    chosen = [(name, "neutral", "first frame") for name in frames[: asked.neutral_frames]]
    chosen += [(name, CODES[code], str(code)) for name in frames[len(frames) - asked.peak_frames :]]
    return [
        SourceRow(
            f"{place}/{name}", label, source, subject=sequence.parent.name, sequence=sequence.name
        )
        for name, label, source in chosen
    ]
