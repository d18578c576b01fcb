"""CK+ as its authors ship it: sequences from a neutral face to the peak of an expression.

    root/cohn-kanade-images/S005/001/S005_001_00000011.png     593 sequences of 123 people
    root/Emotion/S005/001/S005_001_00000011_emotion.txt        327 of them: "   3.0000000e+00"

Other names that occur: `extended-cohn-kanade-images`, `CKPlus_Images`, `source_images`;
`Emotion_labels`, `CKPlus_Labels`, `source_emotion`. As the archives unpack, one of these may lie in
another, as in `Emotion_labels/Emotion/S005/…`. A sequence without an emotion file has no label (it
is not neutral); it is counted and skipped. Of a labelled sequence the last `--peak-frames` (3) show
the emotion and the first `--neutral-frames` (1) a neutral face, by the convention of the field; the
frames between show neither and give no rows. Subject and sequence come from the names, so that no
person is in two folds or splits.
"""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from curate.csv_text import read_text
from curate.errors import SourceError
from curate.sources.layout import LayoutOptions, Listing, SourceRow
from curate.sources.tables.pictures import is_picture, note_skipped, subfolders

NAME = "ckplus"
LOOKS_LIKE = "cohn-kanade-images/S*/*/*.png beside Emotion/S*/*/*_emotion.txt"
RECOGNISED_BY = "the two folders, in any of their names"

IMAGES = ("cohn-kanade-images", "extended-cohn-kanade-images", "CKPlus_Images", "source_images")
EMOTIONS = ("Emotion", "Emotion_labels", "CKPlus_Labels", "source_emotion", "source_emotions")
_PERSON = re.compile(r"S[0-9]{3}")
_DEPTH = 4  # folders in one another: root, archive, its folder, persons
_MOST_FOLDERS = 100  # looked at on each level: CK+'s own are two
CODES = ("neutral", "angry", "contempt", "disgust", "fear", "happy", "sad", "surprise")


def detect(root: Path) -> bool:
    """Whether the folder of sequences lies there; `rows` reports a missing folder of labels."""
    if not root.is_dir():
        return False
    return _find_named(root, IMAGES) is not None or _holds_sequences(root)


def rows(root: Path, options: LayoutOptions) -> Listing:
    """The first and last frames of each labelled sequence.

    Raises
    ------
    SourceError  if the emotions' folder is missing, an emotion is no code, a sequence has two
        emotions, or fewer frames than are taken of it
    """
    images, emotions = _find_named(root, IMAGES), _find_named(root, EMOTIONS)
    if images is None or emotions is None:
        raise SourceError(
            f"{root}: holds {'sequences' if images is None else images.name} but no "
            f"{' or '.join(EMOTIONS[:3])}: the labels lie there; unpack them too, and name the "
            "folder that holds both"
        )
    images, emotions = _find_persons(images), _find_persons(emotions)
    found: list[SourceRow] = []
    unlabelled = []
    for sequence in _list_sequences(images):
        code = _read_emotion(emotions / sequence.relative_to(images))
        if code is None:
            unlabelled.append(sequence.relative_to(images).as_posix())
        else:
            found += _choose_frames(images, sequence, code, options)
    notes = note_skipped(unlabelled, "sequence", "without an emotion file, so without a label")
    return Listing(images, found, notes, noted=frozenset(unlabelled))


def _find_named(root: Path, names: Sequence[str]) -> Path | None:
    """The outermost folder below the root that has one of these names."""
    level = [root]
    for _ in range(_DEPTH - 1):
        level = [
            inner
            for folder in level
            for inner in subfolders(folder)
            if not _PERSON.fullmatch(inner.name)
        ][:_MOST_FOLDERS]
        for folder in level:
            if folder.name in names:
                return folder
    return None


def _find_persons(folder: Path) -> Path:
    """The folder of the persons in a named folder: an archive's own folder may lie between."""
    level = [folder]
    for _ in range(_DEPTH):
        for each in level:
            if any(_PERSON.fullmatch(inner.name) for inner in subfolders(each)):
                return each
        level = [inner for each in level for inner in subfolders(each)][:_MOST_FOLDERS]
    return folder


def _holds_sequences(root: Path) -> bool:
    """Whether the folder is that of the persons itself: `S005/001/S005_001_00000011.png`."""
    return any(True for _ in root.glob("S[0-9][0-9][0-9]/[0-9][0-9][0-9]/S*_*_*.*"))


def _list_sequences(images: Path) -> Iterator[Path]:
    for subject in subfolders(images):
        yield from subfolders(subject)


def _read_emotion(folder: Path) -> int | None:
    """The code of the sequence's emotion file; None if there is none."""
    files = sorted(folder.glob("[!.]*_emotion.txt")) if folder.is_dir() else []
    codes = {_read_code(file) for file in files}
    if len(codes) > 1:
        raise SourceError(f"{folder}: {len(files)} files name {len(codes)} emotions: remove one")
    return next(iter(codes), None)


def _read_code(file: Path) -> int:
    text = read_text(file)
    try:
        code = int(float(text))
    except (ValueError, OverflowError):
        code = -1
    if not 0 <= code < len(CODES):
        raise SourceError(
            f"{file}: '{text.strip()[:20]}' is no emotion: 0 to 7 are {', '.join(CODES)}: "
            "restore the file"
        )
    return code


def _choose_frames(
    images: Path, sequence: Path, code: int, options: LayoutOptions
) -> list[SourceRow]:
    names = sorted(file.name for file in sequence.iterdir())
    frames = [name for name in names if is_picture(name, sequence) and not name.startswith(".")]
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
