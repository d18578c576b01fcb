"""A drawn dataset with planted defects and the truth about every file, to see what each stage finds.

In: how many faces, how many people, a seed. Out: `folder/{train,val,test}/<given label>/face_00001.jpg` and,
beside the folder so that `build` does not read it, `<folder>-planted.csv`. The law: the same arguments give the same
bytes on any number of workers, for each file's bytes follow from its plan alone; and no file's name tells what was done
to it.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from curate import engine
from curate.demo.defects import (
    TRANSFORMS,
    draw_blank,
    draw_placeholder,
    encode_copy,
    encode_picture,
)
from curate.demo.drawing import draw_face
from curate.demo.people import EXPRESSIONS
from curate.errors import WorkspaceError
from curate.files import write_atomically

# Shares of `faces`, which counts every file
EXACT_COPY_SHARE = (
    0.04  # a few per cent, as in sets gathered by image search, where one picture is found twice
)
NEAR_COPY_SHARE = 0.05  # more than the exact ones: these a perceptual hash can miss
BLANK_SHARE = 0.004  # a dozen in 3,000: rare, yet enough to count
BLACK_AND_WHITE_SHARE = 0.004  # as many; downloads leave such "image removed" placeholders behind
UNREADABLE_FILES = 1  # one truncated download shows that the chain does not stop at it

# Shares of something else
MISLABELLED_SHARE = (
    0.08  # of the clean faces; above Northcutt et al. 2021's 3.3 %: expressions are harder to label
)
CONFLICTING_SHARE = (
    0.10  # of the copies: the same picture labelled twice by two annotators who disagreed
)
CROSSING_SHARE = (
    1 / 3
)  # of the copies: leakage from train to test must be frequent enough to be measured
BYTE_IDENTICAL_SHARE = (
    0.5  # of the exact copies; the others hold the same pixels in different bytes
)
AMBIGUOUS_SHARE = 0.02  # of the clean faces: so faint that a person could not tell; a handful keeps the ceiling below 1

SPLITS = {
    "train": 0.70,
    "val": 0.15,
    "test": 0.15,
}  # drawn per picture, as people do, so that people cross it
AMBIGUOUS_INTENSITY = 0.12  # below a person's own variation at rest
PNG_SHARE = 0.05  # of the clean faces, so that a PNG is not a sign of a planted copy
PEOPLE_PER_SEED = (
    1_000_000  # people's numbers start at seed times this; fresh people take the upper half
)
FACES_PER_FRESH_PERSON = 4  # fewer than in the planted set: a test should meet many people
CHUNK_SIZE = (
    64  # faces sent to a worker at once: about 0.2 s of drawing, far more than sending them costs
)

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
    workers: int | None = None,
) -> pd.DataFrame:
    """Draw a dataset with defects and record the truth about it.

    Parameters
    ----------
    folder : a folder that does not exist or is empty
    faces : number of files in all, copies and other defects among them
    identities : number of people to draw from, below 500,000
    seed : decides everything
    workers : processes that draw; None takes one per core, and no byte depends on it

    Returns
    -------
    The truth table, one row per file sorted by path; `<folder>-planted.csv` is the same, written last

    Raises
    ------
    WorkspaceError  if the folder holds anything
    """
    require_empty(folder)
    truth_path = folder.parent / f"{folder.name}-planted.csv"
    truth_path.unlink(missing_ok=True)
    plans = plan_dataset(faces, identities, seed)
    write_pictures(folder, plans, workers)
    table = tabulate_truth(plans)
    write_truth(table, truth_path)
    return table


def draw_fresh(folder: Path, *, faces: int, seed: int, workers: int | None = None) -> None:
    """Draw clean faces of people that no planted dataset holds, into `folder/<true label>/`.

    Raises
    ------
    WorkspaceError  if the folder holds anything
    """
    require_empty(folder)
    rng = np.random.default_rng([seed, 2])
    first = seed * PEOPLE_PER_SEED + PEOPLE_PER_SEED // 2
    people = first + rng.integers(0, faces // FACES_PER_FRESH_PERSON + 1, faces)
    plans = []
    for i, photo in enumerate(draw_photo_seeds(rng, faces)):
        label = EXPRESSIONS[i % len(EXPRESSIONS)]
        plans.append(
            Plan(f"{label}/{name_file(i + 1)}", label, "clean", photo, label, int(people[i]))
        )
    write_pictures(folder, plans, workers)


def plan_dataset(faces: int, identities: int, seed: int) -> list[Plan]:
    """What to write, sorted by path; draws no picture."""
    rng = np.random.default_rng([seed, 1])
    copies = round(EXACT_COPY_SHARE * faces) + round(NEAR_COPY_SHARE * faces)
    blank, black_and_white = round(BLANK_SHARE * faces), round(BLACK_AND_WHITE_SHARE * faces)
    clean = faces - copies - blank - black_and_white - UNREADABLE_FILES
    numbers = (
        rng.permutation(faces) + 1
    ).tolist()  # shuffled: a file's number does not tell its kind
    first = seed * PEOPLE_PER_SEED
    originals = plan_clean(numbers[:clean], first + rng.integers(0, identities, clean), rng)
    defects = (
        ["blank"] * blank
        + ["black_and_white"] * black_and_white
        + ["unreadable"] * UNREADABLE_FILES
    )
    plans = [
        *originals,
        *plan_copies(
            numbers[clean : clean + copies], round(EXACT_COPY_SHARE * faces), originals, rng
        ),
        *plan_defects(numbers[clean + copies :], defects, rng),
    ]
    return sorted(plans, key=lambda plan: plan.path)


def plan_clean(
    numbers: list[int], people: npt.NDArray[np.int64], rng: np.random.Generator
) -> list[Plan]:
    """Faces of known people, some under a wrong label, some too faint to tell; as many of each expression."""
    count = len(numbers)
    wrong, faint, png = (
        choose_rows(rng, count, x) for x in (MISLABELLED_SHARE, AMBIGUOUS_SHARE, PNG_SHARE)
    )
    splits, seeds = deal_splits(rng, count), draw_photo_seeds(rng, count)
    plans = []
    for i, number in enumerate(numbers):
        true = EXPRESSIONS[i % len(EXPRESSIONS)]
        given = draw_wrong_label(rng, true) if wrong[i] else true
        path = f"{splits[i]}/{given}/{name_file(number, png=bool(png[i]))}"
        intensity = AMBIGUOUS_INTENSITY if faint[i] else None
        transforms = ("faint",) if faint[i] else ()
        plan = Plan(
            path, given, "clean", seeds[i], true, int(people[i]), intensity, None, transforms
        )
        plans.append(plan)
    return plans


def plan_copies(
    numbers: list[int], exact: int, originals: list[Plan], rng: np.random.Generator
) -> list[Plan]:
    """Copies of faces chosen at random, the first `exact` pixel for pixel; one face may be copied twice."""
    count = len(numbers)
    sources = rng.integers(0, len(originals), count).tolist()
    conflicting, crossing = (
        choose_rows(rng, count, share) for share in (CONFLICTING_SHARE, CROSSING_SHARE)
    )
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
            transforms = tuple(
                sorted(
                    rng.choice(TRANSFORMS, rng.choice([1, 2], p=[0.6, 0.4]), replace=False).tolist()
                )
            )
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
    seeds: list[int] = rng.integers(
        0, 2**62, count
    ).tolist()  # so many that no two photographs share one
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


def require_empty(folder: Path) -> None:
    if folder.exists() and any(folder.iterdir()):
        raise WorkspaceError(f"{folder}: is not empty: give a new folder")


def write_pictures(folder: Path, plans: list[Plan], workers: int | None) -> None:
    """Draw in `workers` processes, write in this one."""
    for parent in sorted({(folder / plan.path).parent for plan in plans}):
        parent.mkdir(parents=True, exist_ok=True)
    pictures = engine.map(encode_plan, plans, what="faces", workers=workers, chunk_size=CHUNK_SIZE)
    for plan, picture in zip(plans, pictures, strict=True):
        (folder / plan.path).write_bytes(picture)


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
