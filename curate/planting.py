"""A drawn dataset with planted defects and the truth about every file, to see what each stage finds.

In: how many faces, how many people, a seed. Out: `folder/{train,val,test}/<given label>/face_00001.jpg` and,
beside the folder so that `build` does not read it, `<folder>-planted.csv`. The law: the same arguments give
the same bytes, each file's bytes follow from its plan alone, and no file's name tells what was done to it.
"""

import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pandas as pd
import PIL.Image

from curate.faces import EXPRESSIONS, Image, draw_face
from curate.files import write_atomically

# Shares of `faces`, which counts every file
EXACT_COPY_SHARE = 0.04  # a few per cent, as in sets gathered by image search, where one picture is found twice
NEAR_COPY_SHARE = 0.05  # more than the exact ones: these a perceptual hash can miss
BLANK_SHARE = 0.004  # a dozen in 3,000: rare, yet enough to count
BLACK_AND_WHITE_SHARE = 0.004  # as many; downloads leave such "image removed" placeholders behind
UNREADABLE_FILES = 1  # one truncated download shows that the chain does not stop at it

# Shares of something else
MISLABELLED_SHARE = (
    0.08  # of the clean faces; above the 3.3 % of Northcutt et al. 2021: expressions are harder to label
)
CONFLICTING_SHARE = 0.10  # of the copies: the same picture labelled twice by two annotators who disagreed
CROSSING_SHARE = 1 / 3  # of the copies: leakage from train to test must be frequent enough to be measured
BYTE_IDENTICAL_SHARE = 0.5  # of the exact copies; the others hold the same pixels in different bytes
AMBIGUOUS_SHARE = 0.02  # of the clean faces: so faint that a person could not tell; a handful keeps the ceiling below 1

SPLITS = {
    "train": 0.70,
    "val": 0.15,
    "test": 0.15,
}  # drawn per picture, as people do, so that people cross it
JPEG_QUALITY = 92  # a good camera's; loses little at 48 pixels
LOW_QUALITY = (60, 81)  # of a re-encoded copy: what image boards and messengers send on
AMBIGUOUS_INTENSITY = 0.12  # below a person's own variation at rest
ZOOM = (0.03, 0.08)  # of the side cut off; below it nothing changes, above it the copy is a new crop
SHIFT = (1, 3)  # pixels, upper bound exclusive

PNG_SHARE = 0.05  # of the clean faces, so that a PNG is not a sign of a planted copy
PEOPLE_PER_SEED = 1_000_000  # people's numbers start at seed times this; fresh people take the upper half
FACES_PER_FRESH_PERSON = 4  # fewer than in the planted set: a test should meet many people

# Given label's chances when a label is wrong: row is the true expression, columns in the order of EXPRESSIONS
CONFUSIONS = np.array([
    [0.00, 0.45, 0.10, 0.05, 0.20, 0.20, 0.00],  # angry
    [0.60, 0.00, 0.10, 0.05, 0.10, 0.15, 0.00],  # disgust
    [0.05, 0.05, 0.00, 0.00, 0.05, 0.25, 0.60],  # fear
    [0.05, 0.05, 0.05, 0.00, 0.60, 0.05, 0.20],  # happy
    [0.15, 0.05, 0.05, 0.20, 0.00, 0.50, 0.05],  # neutral
    [0.15, 0.10, 0.15, 0.05, 0.55, 0.00, 0.00],  # sad
    [0.05, 0.00, 0.65, 0.20, 0.10, 0.00, 0.00],  # surprise
])  # fmt: skip

TRANSFORMS = ("brightness", "crop", "reencode", "shift")


@dataclass(frozen=True)
class Plan:
    """Everything that decides one file; "" or None where the picture has no such thing."""

    path: str
    given_label: str
    kind: str
    seed: int
    true_label: str = ""
    identity: int | None = None
    intensity: float | None = None
    original: "Plan | None" = None
    transforms: tuple[str, ...] = ()

    @property
    def split(self) -> str:
        return self.path.split("/")[0]


def plant_dataset(
    folder: Path,
    *,
    faces: int = 3000,
    identities: int = 250,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> pd.DataFrame:
    """Draw a dataset with defects and record the truth about it.

    Parameters
    ----------
    folder : a folder that does not exist or is empty
    faces : number of files in all, copies and other defects among them
    identities : number of people to draw from, below 500,000
    seed : decides everything
    progress : called after each file with (files written, files in all)

    Returns
    -------
    The truth table, one row per file sorted by path; `<folder>-planted.csv` is the same, written last

    Raises
    ------
    FileExistsError  if the folder holds anything
    """
    require_empty(folder)
    truth_path = folder.parent / f"{folder.name}-planted.csv"
    truth_path.unlink(missing_ok=True)
    plans = plan_dataset(faces, identities, seed)
    write_pictures(folder, plans, progress)
    table = tabulate_truth(plans)
    write_truth(table, truth_path)
    return table


def draw_fresh(folder: Path, *, faces: int, seed: int) -> None:
    """Draw clean faces of people that no planted dataset holds, into `folder/<true label>/`.

    Raises
    ------
    FileExistsError  if the folder holds anything
    """
    require_empty(folder)
    rng = np.random.default_rng([seed, 2])
    first = seed * PEOPLE_PER_SEED + PEOPLE_PER_SEED // 2
    people = first + rng.integers(0, faces // FACES_PER_FRESH_PERSON + 1, faces)
    plans = []
    for i, photo in enumerate(draw_photo_seeds(rng, faces)):
        label = EXPRESSIONS[i % len(EXPRESSIONS)]
        plans.append(Plan(f"{label}/{name_file(i + 1)}", label, "clean", photo, label, int(people[i])))
    write_pictures(folder, plans, None)


def plan_dataset(faces: int, identities: int, seed: int) -> list[Plan]:
    """What to write, sorted by path; draws no picture."""
    rng = np.random.default_rng([seed, 1])
    copies = round(EXACT_COPY_SHARE * faces) + round(NEAR_COPY_SHARE * faces)
    blank, black_and_white = round(BLANK_SHARE * faces), round(BLACK_AND_WHITE_SHARE * faces)
    clean = faces - copies - blank - black_and_white - UNREADABLE_FILES
    numbers = (rng.permutation(faces) + 1).tolist()  # shuffled: a file's number does not tell its kind
    first = seed * PEOPLE_PER_SEED
    originals = plan_clean(numbers[:clean], first + rng.integers(0, identities, clean), rng)
    defects = ["blank"] * blank + ["black_and_white"] * black_and_white + ["unreadable"] * UNREADABLE_FILES
    plans = [
        *originals,
        *plan_copies(numbers[clean : clean + copies], round(EXACT_COPY_SHARE * faces), originals, rng),
        *plan_defects(numbers[clean + copies :], defects, rng),
    ]
    return sorted(plans, key=lambda plan: plan.path)


def plan_clean(numbers: list[int], people: npt.NDArray[np.int64], rng: np.random.Generator) -> list[Plan]:
    """Faces of known people, some under a wrong label, some too faint to tell; as many of each expression."""
    count = len(numbers)
    wrong, faint, png = (choose_rows(rng, count, x) for x in (MISLABELLED_SHARE, AMBIGUOUS_SHARE, PNG_SHARE))
    splits, seeds = deal_splits(rng, count), draw_photo_seeds(rng, count)
    plans = []
    for i, number in enumerate(numbers):
        true = EXPRESSIONS[i % len(EXPRESSIONS)]
        given = draw_wrong_label(rng, true) if wrong[i] else true
        path = f"{splits[i]}/{given}/{name_file(number, png=bool(png[i]))}"
        intensity = AMBIGUOUS_INTENSITY if faint[i] else None
        transforms = ("faint",) if faint[i] else ()
        plan = Plan(path, given, "clean", seeds[i], true, int(people[i]), intensity, None, transforms)
        plans.append(plan)
    return plans


def plan_copies(numbers: list[int], exact: int, originals: list[Plan], rng: np.random.Generator) -> list[Plan]:
    """Copies of faces chosen at random, the first `exact` pixel for pixel; one face may be copied twice."""
    count = len(numbers)
    sources = rng.integers(0, len(originals), count).tolist()
    conflicting, crossing = (choose_rows(rng, count, share) for share in (CONFLICTING_SHARE, CROSSING_SHARE))
    byte_identical = choose_rows(rng, exact, BYTE_IDENTICAL_SHARE)
    seeds = draw_photo_seeds(rng, count)
    plans = []
    for i, number in enumerate(numbers):
        original = originals[sources[i]]
        label = draw_other_label(rng, original) if conflicting[i] else original.given_label
        split = draw_other_split(rng, original.split) if crossing[i] else original.split
        is_png = original.path.endswith(".png")
        transforms: tuple[str, ...] = ()
        if i >= exact:
            transforms = tuple(sorted(rng.choice(TRANSFORMS, rng.choice([1, 2], p=[0.6, 0.4]), replace=False).tolist()))
            is_png = False
        elif not byte_identical[i]:
            transforms = ("png",) if is_png or rng.random() < 0.5 else ("comment",)
            is_png = transforms == ("png",)
        path = f"{split}/{label}/{name_file(number, png=is_png)}"
        kind = "exact_copy" if i < exact else "near_copy"
        true, person = original.true_label, original.identity
        plans.append(Plan(path, label, kind, seeds[i], true, person, None, original, transforms))
    return plans


def plan_defects(numbers: list[int], kinds: list[str], rng: np.random.Generator) -> list[Plan]:
    """Files without a face to see, filed under any label."""
    splits, seeds = deal_splits(rng, len(numbers)), draw_photo_seeds(rng, len(numbers))
    plans = []
    for number, kind, split, photo in zip(numbers, kinds, splits, seeds, strict=True):
        label = str(rng.choice(EXPRESSIONS))
        path = f"{split}/{label}/{name_file(number, png=kind == 'black_and_white')}"
        plans.append(Plan(path, label, kind, photo))
    return plans


def name_file(number: int, *, png: bool = False) -> str:
    return f"face_{number:05d}.{'png' if png else 'jpg'}"


def draw_photo_seeds(rng: np.random.Generator, count: int) -> list[int]:
    seeds: list[int] = rng.integers(0, 2**62, count).tolist()  # so many that no two photographs share one
    return seeds


def choose_rows(rng: np.random.Generator, count: int, share: float) -> npt.NDArray[np.bool_]:
    """(count,) bool with exactly round(share * count) true, anywhere."""
    return rng.permutation(count) < round(share * count)


def deal_splits(rng: np.random.Generator, count: int) -> list[str]:
    """`count` splits in the shares of SPLITS, shuffled."""
    ends = np.round(np.cumsum(list(SPLITS.values())) * count)
    dealt = np.array(list(SPLITS))[np.searchsorted(ends, np.arange(count), side="right")]
    shuffled: list[str] = rng.permutation(dealt).tolist()
    return shuffled


def draw_wrong_label(rng: np.random.Generator, true_label: str) -> str:
    return str(rng.choice(EXPRESSIONS, p=CONFUSIONS[EXPRESSIONS.index(true_label)]))


def draw_other_label(rng: np.random.Generator, original: Plan) -> str:
    """A label that contradicts the original's: the true one if the original's is wrong."""
    if original.given_label != original.true_label:
        return original.true_label
    return draw_wrong_label(rng, original.true_label)


def draw_other_split(rng: np.random.Generator, split: str) -> str:
    others = [name for name in SPLITS if name != split]
    shares = np.array([SPLITS[name] for name in others])
    return str(rng.choice(others, p=shares / shares.sum()))


def encode_plan(plan: Plan) -> bytes:
    """The bytes of one file; a copy draws its original again, so no file waits for another."""
    rng = np.random.default_rng(plan.seed)
    if plan.kind == "blank":
        return encode_picture(draw_blank(rng))
    if plan.kind == "black_and_white":
        return encode_picture(draw_placeholder(rng), png=True)
    if plan.kind == "unreadable":
        whole = encode_picture(draw_face("neutral", 0, plan.seed))
        return whole[: len(whole) // 2]
    if plan.original is None:
        assert plan.identity is not None
        pixels = draw_face(plan.true_label, plan.identity, plan.seed, intensity=plan.intensity)
        return encode_picture(pixels, png=plan.path.endswith(".png"))
    return encode_copy(plan.transforms, encode_plan(plan.original), rng)


def encode_copy(transforms: tuple[str, ...], original: bytes, rng: np.random.Generator) -> bytes:
    """A copy of an encoded picture: the same bytes, the same pixels in other bytes, or a changed picture."""
    if not transforms:
        return original
    if transforms == ("comment",):
        note = b"copied"
        return original[:2] + b"\xff\xfe" + (len(note) + 2).to_bytes(2, "big") + note + original[2:]
    pixels = np.asarray(PIL.Image.open(io.BytesIO(original)))
    if transforms == ("png",):
        return encode_picture(pixels, png=True, compress_level=1)
    quality = int(rng.integers(*LOW_QUALITY)) if "reencode" in transforms else JPEG_QUALITY
    return encode_picture(alter_picture(pixels, transforms, rng), quality=quality)


def encode_picture(pixels: Image, *, png: bool = False, quality: int = JPEG_QUALITY, compress_level: int = 9) -> bytes:
    buffer = io.BytesIO()
    picture = PIL.Image.fromarray(pixels)
    if png:
        picture.save(buffer, "PNG", compress_level=compress_level)
    else:
        picture.save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()


def alter_picture(pixels: Image, transforms: tuple[str, ...], rng: np.random.Generator) -> Image:
    """Crop, shift or relight a grey picture a little; re-encoding alone leaves it as it is."""
    side = pixels.shape[0]
    if "crop" in transforms:
        left, top, kept = *(rng.uniform(0, 1, 2)), 1 - rng.uniform(*ZOOM)
        corner = np.array([left, top]) * (1 - kept) * side
        frame = np.array([[1 / kept, 0, -corner[0] / kept], [0, 1 / kept, -corner[1] / kept]])
        pixels = np.asarray(cv2.warpAffine(pixels, frame, (side, side), borderMode=cv2.BORDER_REPLICATE), np.uint8)
    if "shift" in transforms:
        x, y = (rng.integers(*SHIFT, 2) * rng.choice([-1, 1], 2)).tolist()
        padded = np.pad(pixels, 2, mode="edge")
        pixels = padded[2 + y : 2 + y + side, 2 + x : 2 + x + side]
    if "brightness" in transforms:
        gain, lift = rng.uniform(0.85, 1.15), rng.choice([-1, 1]) * rng.uniform(8, 25)
        pixels = np.clip(pixels * gain + lift, 0, 255).astype(np.uint8)
    return pixels


def draw_blank(rng: np.random.Generator) -> Image:
    """One tone all over, or one with a sensor's faint noise: (48, 48) uint8."""
    noise = rng.normal(0, rng.choice([0.0, 1.5]), (48, 48))
    return np.clip(rng.integers(0, 256) + noise, 0, 255).astype(np.uint8)


def draw_placeholder(rng: np.random.Generator) -> Image:
    """What a website shows for a missing picture: (48, 48) uint8, 0 and 255 only."""
    picture = np.zeros((48, 48), np.uint8)
    for line in range(int(rng.integers(1, 4))):
        word = "".join(rng.choice(list("ADEGHIMNORST"), rng.integers(2, 5)))
        corner = (int(rng.integers(0, 10)), 13 + 14 * line + int(rng.integers(-2, 3)))
        cv2.putText(picture, word, corner, cv2.FONT_HERSHEY_SIMPLEX, rng.uniform(0.4, 0.6), 255, 1, cv2.LINE_8)
    if rng.random() < 0.5:
        centre, radius = rng.integers(10, 38, 2).tolist(), int(rng.integers(6, 20))
        cv2.circle(picture, centre, radius, 255, int(rng.choice([2, cv2.FILLED])), cv2.LINE_8)
    return 255 - picture if rng.random() < 0.5 else picture


def require_empty(folder: Path) -> None:
    if folder.exists() and any(folder.iterdir()):
        raise FileExistsError(f"{folder}: the folder is not empty; name a new one, its files will not be overwritten")


def write_pictures(folder: Path, plans: list[Plan], progress: Callable[[int, int], None] | None) -> None:
    for parent in sorted({(folder / plan.path).parent for plan in plans}):
        parent.mkdir(parents=True, exist_ok=True)
    for done, plan in enumerate(plans, start=1):
        (folder / plan.path).write_bytes(encode_plan(plan))
        if progress is not None:
            progress(done, len(plans))


def tabulate_truth(plans: list[Plan]) -> pd.DataFrame:
    """One row per file; text columns, "" where absent, and three bool columns."""
    return pd.DataFrame([describe_plan(plan) for plan in plans])


def describe_plan(plan: Plan) -> dict[str, str | bool]:
    original = plan.original
    return {
        "path": plan.path,
        "given_label": plan.given_label,
        "true_label": plan.true_label,
        "identity": "" if plan.identity is None else str(plan.identity),
        "kind": plan.kind,
        "copy_of": "" if original is None else original.path,
        "transform": "+".join(plan.transforms) or "none",
        "is_mislabelled": plan.true_label != "" and plan.given_label != plan.true_label,
        "is_conflicting_copy": original is not None and plan.given_label != original.given_label,
        "crosses_split": original is not None and plan.split != original.split,
    }


def write_truth(table: pd.DataFrame, path: Path) -> None:
    """As CSV with true and false in lower case, whole or not at all."""
    flags = table.select_dtypes(bool).columns
    text = table.assign(**{name: table[name].map({True: "true", False: "false"}) for name in flags})
    write_atomically(path, text.to_csv(index=False, lineterminator="\n").encode())
