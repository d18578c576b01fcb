"""A drawn dataset with planted defects, and the truth about every file.

Comes in: numbers of faces and people, a seed. Goes out:
`folder/{train,val,test}/<given label>/face_00001.jpg` and `<folder>-planted.csv`, beside the folder
so that `build` does not read it. The same arguments give the same bytes on any number of workers,
since a file's bytes depend on its plan alone; no file name depends on the defect.
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

# Shares of all files.
# A few per cent, as in datasets gathered by image search, which finds one picture twice.
EXACT_COPY_SHARE = 0.04
NEAR_COPY_SHARE = 0.05  # more than the exact ones: a perceptual hash can miss these
BLANK_SHARE = 0.004  # a dozen in 3,000: rare, but enough to count
BLACK_AND_WHITE_SHARE = 0.004  # as many: "image removed" placeholders, left by downloads
UNREADABLE_FILES = 1  # one truncated download shows that no command stops at it

# Shares of the clean faces.
# Above the 3.3 % of Northcutt et al. 2021, since expressions are harder to label.
MISLABELLED_SHARE = 0.08
AMBIGUOUS_SHARE = 0.02  # too faint for a person to recognise; a few keep the best accuracy below 1
PNG_SHARE = 0.05  # so that a PNG is not a sign of a planted copy

# Shares of the copies.
CONFLICTING_SHARE = 0.10  # the same picture, labelled by two annotators who disagree
CROSSING_SHARE = 1 / 3  # leakage from train to test must be frequent enough to be measured
# Of the exact copies; the others have the same pixels in other bytes.
BYTE_IDENTICAL_SHARE = 0.5

# Drawn per picture, not per person, as is usual: so people cross the split.
SPLITS = {"train": 0.70, "val": 0.15, "test": 0.15}
AMBIGUOUS_INTENSITY = 0.12  # below a person's own variation at rest
# A seed's people have the numbers from seed times this on; fresh people have the upper half.
PEOPLE_PER_SEED = 1_000_000
FACES_PER_FRESH_PERSON = 4  # fewer than in the planted dataset: a test should have many people
# Faces that a worker gets at once: about 0.2 s of drawing, far more than sending them takes.
CHUNK_SIZE = 64

# Probability of each given label when the label is wrong: one row per true expression, columns in
# the order of EXPRESSIONS.
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
    """Everything on which one file depends; "" or None where the picture has no such fact.

    Attributes
    ----------
    kind : clean, exact_copy, near_copy, blank, black_and_white or unreadable
    seed : of the image, or of the alteration of a copy
    identity : number of the person
    intensity : of the expression, 0 to 1; None draws it
    original : the plan that this file copies
    transforms : how a copy was altered, or ("faint",)
    """

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
    seed : of everything that is random
    workers : processes that draw, None for one per core; no byte depends on it

    Returns
    -------
    the truth table, one row per file, sorted by path; `<folder>-planted.csv`, written last, is the
    same

    Raises
    ------
    WorkspaceError  if the folder is not empty
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
    """Draw clean faces of people who are in no planted dataset, into `folder/<true label>/`.

    Raises
    ------
    WorkspaceError  if the folder is not empty
    """
    require_empty(folder)
    rng = np.random.default_rng([seed, 2])
    first = seed * PEOPLE_PER_SEED + PEOPLE_PER_SEED // 2
    people = first + rng.integers(0, faces // FACES_PER_FRESH_PERSON + 1, faces)
    plans = []
    for i, image_seed in enumerate(draw_image_seeds(rng, faces)):
        label = EXPRESSIONS[i % len(EXPRESSIONS)]
        path = f"{label}/{name_file(i + 1)}"
        plans.append(Plan(path, label, "clean", image_seed, label, int(people[i])))
    write_pictures(folder, plans, workers)


def plan_dataset(faces: int, identities: int, seed: int) -> list[Plan]:
    """The plans of all files, sorted by path; draws no picture."""
    rng = np.random.default_rng([seed, 1])
    exact, near = round(EXACT_COPY_SHARE * faces), round(NEAR_COPY_SHARE * faces)
    kinds = ["blank"] * round(BLANK_SHARE * faces)
    kinds += ["black_and_white"] * round(BLACK_AND_WHITE_SHARE * faces)
    kinds += ["unreadable"] * UNREADABLE_FILES
    clean = faces - exact - near - len(kinds)
    # Shuffled: the number of a file does not depend on its kind.
    numbers = (rng.permutation(faces) + 1).tolist()
    people = seed * PEOPLE_PER_SEED + rng.integers(0, identities, clean)
    originals = plan_clean(numbers[:clean], people, rng)
    copies = plan_copies(numbers[clean : clean + exact + near], exact, originals, rng)
    defects = plan_defects(numbers[clean + exact + near :], kinds, rng)
    return sorted([*originals, *copies, *defects], key=lambda plan: plan.path)


def plan_clean(
    numbers: list[int], people: npt.NDArray[np.int64], rng: np.random.Generator
) -> list[Plan]:
    """Faces under their label or a wrong one, some too faint; as many of each expression."""
    count = len(numbers)
    wrong = choose_rows(rng, count, MISLABELLED_SHARE)
    faint = choose_rows(rng, count, AMBIGUOUS_SHARE)
    png = choose_rows(rng, count, PNG_SHARE)
    splits, seeds = deal_splits(rng, count), draw_image_seeds(rng, count)
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
    """Copies of faces chosen at random, the first `exact` of them pixel for pixel.

    A face may have several copies.
    """
    count = len(numbers)
    sources = rng.integers(0, len(originals), count).tolist()
    conflicting = choose_rows(rng, count, CONFLICTING_SHARE)
    crossing = choose_rows(rng, count, CROSSING_SHARE)
    byte_identical = choose_rows(rng, exact, BYTE_IDENTICAL_SHARE)
    seeds = draw_image_seeds(rng, count)
    plans = []
    for i, number in enumerate(numbers):
        original = originals[sources[i]]
        label = draw_other_label(rng, original) if conflicting[i] else original.given_label
        split = draw_other_split(rng, original.split) if crossing[i] else original.split
        is_png = original.path.endswith(".png")
        transforms: tuple[str, ...] = ()
        if i >= exact:
            transforms = draw_transforms(rng)
            is_png = False
        elif not byte_identical[i]:
            transforms = ("png",) if is_png or rng.random() < 0.5 else ("comment",)
            is_png = transforms == ("png",)
        path = f"{split}/{label}/{name_file(number, png=is_png)}"
        kind = "exact_copy" if i < exact else "near_copy"
        true, person = original.true_label, original.identity
        plans.append(Plan(path, label, kind, seeds[i], true, person, None, original, transforms))
    return plans


def draw_transforms(rng: np.random.Generator) -> tuple[str, ...]:
    """One or two alterations of a near copy, sorted."""
    count = rng.choice([1, 2], p=[0.6, 0.4])
    return tuple(sorted(rng.choice(TRANSFORMS, count, replace=False).tolist()))


def plan_defects(numbers: list[int], kinds: list[str], rng: np.random.Generator) -> list[Plan]:
    """Files without a visible face, under any label."""
    splits, seeds = deal_splits(rng, len(numbers)), draw_image_seeds(rng, len(numbers))
    plans = []
    for number, kind, split, image_seed in zip(numbers, kinds, splits, seeds, strict=True):
        label = str(rng.choice(EXPRESSIONS))
        path = f"{split}/{label}/{name_file(number, png=kind == 'black_and_white')}"
        plans.append(Plan(path, label, kind, image_seed))
    return plans


def name_file(number: int, *, png: bool = False) -> str:
    return f"face_{number:05d}.{'png' if png else 'jpg'}"


def draw_image_seeds(rng: np.random.Generator, count: int) -> list[int]:
    """`count` seeds out of so many that no two images have the same one."""
    seeds: list[int] = rng.integers(0, 2**62, count).tolist()
    return seeds


def choose_rows(rng: np.random.Generator, count: int, share: float) -> npt.NDArray[np.bool_]:
    """(count,) bool, exactly round(share * count) of them true, at random places."""
    return rng.permutation(count) < round(share * count)


def deal_splits(rng: np.random.Generator, count: int) -> list[str]:
    """`count` splits with the shares of SPLITS, shuffled."""
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
    """The bytes of one file; a copy draws its original again, so files are independent."""
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
    """One row per file: text columns, "" where absent, and three bool columns."""
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
