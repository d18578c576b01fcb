"""The columns by which `train evaluate --by` and `--worst` slice the rows.

In: the selected rows of a workspace, their pictures, or a table of the user's own. Out: for each
column the name of each row's slice. A column of many numbers is cut into quarters of the rows.
"""

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pandas as pd

from curate.csv_text import find_form, read_csv
from curate.errors import SourceError, UsageError, amount, examples
from curate.workspace.manifest import sources_of, subject_keys
from curate.workspace.votes import votes_of
from train.data.dataset import Images, Pixels
from train.evaluation.open_runs import RunSet
from train.evaluation.slices import Names

MOST_VALUES = 10  # distinct numbers that are slices of their own; more are cut into quarters
QUARTERS = (0.25, 0.5, 0.75)
_BATCH = 4096  # pictures measured at once

Numbers = npt.NDArray[np.float64]


@dataclass(frozen=True)
class SliceOptions:
    """What to slice by.

    Attributes
    ----------
    by : names of `COLUMNS`, and CSV tables of the user's own
    worst : slice by `WORST`, and print only what is worse than chance would have it
    """

    by: Sequence[str] = ()
    worst: bool = False

    @property
    def names(self) -> list[str]:
        """Every column and table, each once."""
        return list(dict.fromkeys([*self.by, *(WORST if self.worst else ())]))


def require_columns(options: SliceOptions) -> None:
    """Raise UsageError if a name is neither a column nor a file; reads none."""
    for name in options.names:
        if name not in COLUMNS and not Path(name).is_file():
            raise UsageError(
                f"--by {name}: must be {', '.join(COLUMNS)}, or a CSV file with a column `path` "
                "and columns of your own"
            )


def read_facts(run_set: RunSet, options: SliceOptions) -> dict[str, Names]:
    """Name of each column of the manifest or a table -> (N,) slice of each selected row.

    A row in no slice has an empty name.

    Raises
    ------
    UsageError  if a name is unknown, or a column is empty in these rows
    SourceError  if a table cannot be read, or none of its paths is among these rows
    """
    require_columns(options)
    columns: dict[str, Names] = {}
    for name in options.names:
        if name in MEASURES:
            continue
        found = {name: FACTS[name](run_set)} if name in FACTS else read_table(run_set, name)
        doubled = sorted(found.keys() & {*columns, *COLUMNS} - {name})
        if doubled:
            raise UsageError(f"--by {name}: there are two columns '{doubled[0]}': rename one")
        columns |= found
    for name, slices in columns.items():
        if not (slices != "").any():
            raise UsageError(f"--by {name}: is empty in these rows{_REMEDIES.get(name, '')}")
    return columns


def read_table(run_set: RunSet, name: str) -> dict[str, Names]:
    """The columns of a table of the user's own, by the manifest's paths.

    Raises
    ------
    SourceError  if it is no table with a column `path` and others, lists a path twice, or has no
        path of the selected rows
    """
    file, paths = Path(name), run_set.viewed.loc[run_set.rows, "path"]
    rows = list(read_csv(file, find_form(file)))
    header = [value.strip() for value in rows[0]] if rows else []
    if "path" not in header or len(set(header)) < max(2, len(header)):
        raise SourceError(
            f"{file}: has the columns {examples(header, 5)}: must have `path` and others, each once"
        )
    table = pd.DataFrame([_fill(row, len(header)) for row in rows[1:]], columns=header, dtype=str)
    doubled = table.loc[table["path"].duplicated(), "path"].tolist()
    if doubled:
        raise SourceError(
            f"{file}: {amount(len(doubled), 'path is', 'paths are')} listed twice (first: "
            f"{doubled[0]}): keep one row of each"
        )
    if not table["path"].isin(paths).any():
        raise SourceError(
            f"{file}: none of its {len(table):,} paths is among the {len(paths):,} rows (first: "
            f"{examples(table['path'].tolist(), 1)}): write them as the manifest does, as in "
            f"{paths.iloc[0]}"
        )
    table = table.set_index("path").reindex(paths, fill_value="")
    return {column: slice_texts(table[column]) for column in table.columns}


def _fill(row: Sequence[str], columns: int) -> list[str]:
    """The values of a row of a table; a row that was cut off has empty ones at its end."""
    return [value.strip() for value in [*row, *[""] * columns][:columns]]


def slice_texts(values: "pd.Series[str]") -> Names:
    """(N,) each value a slice; numbers of over `MOST_VALUES` values are cut into quarters.

    A few words among many numbers, such as `unknown`, are a slice each beside the quarters.
    """
    numbers = pd.to_numeric(values, errors="coerce")
    is_number = np.isfinite(numbers) & (values != "")
    words = values[~is_number & (values != "")]
    are_words = words.nunique() > MOST_VALUES or len(words) > is_number.sum()
    if values[values != ""].nunique() <= MOST_VALUES or are_words:
        return values.to_numpy(dtype=object)
    quarters = cut_quarters(numbers.where(is_number).to_numpy(dtype=float))
    return np.where(is_number, quarters, values.to_numpy(dtype=object)).astype(object)


def cut_quarters(numbers: Numbers) -> Names:
    """(N,) the quarter of the rows that each number is in, as `12 to 20`; NaN is in none.

    A number at a bound is in the quarter above it. Equal numbers share a slice, so with many of
    them there are fewer than four.
    """
    known = numbers[np.isfinite(numbers)]
    bounds = np.unique(np.quantile(known, QUARTERS)) if len(known) else np.empty(0)
    texts = _format_bounds(bounds)
    names = [f"below {texts[0]}" if texts else ""]
    names += [f"{low} to {high}" for low, high in itertools.pairwise(texts)]
    names += [f"{texts[-1]} and more"] if texts else []
    places = np.searchsorted(bounds, np.nan_to_num(numbers), side="right")
    slices = np.array(names, dtype=object)[places]
    return np.where(np.isfinite(numbers), slices, "").astype(object)


def _format_bounds(bounds: Numbers) -> list[str]:
    """The bounds, as short as keeps them apart and leaves each near its place."""
    for digits in range(4, 17):
        texts = [_format_bound(float(bound), digits) for bound in bounds]
        read = np.array([float(text.replace(",", "")) for text in texts])
        if np.all(np.abs(read - bounds) <= _gap(bounds)):
            return texts
    return [repr(float(bound)) for bound in bounds]


def _format_bound(bound: float, digits: int) -> str:
    return f"{bound:,.{digits - 4}f}" if abs(bound) >= 1000 else f"{bound:.{digits}g}"


def _gap(bounds: Numbers) -> float:
    """A tenth of the smallest distance of two bounds."""
    return float(np.diff(bounds).min()) / 10 if len(bounds) > 1 else np.inf


def measure_brightness(images: Pixels) -> Numbers:
    """(N, S, S) -> (N,) mean grey level, 0 to 255."""
    return np.asarray(images.mean(axis=(1, 2), dtype=np.float64))


def measure_contrast(images: Pixels) -> Numbers:
    """(N, S, S) -> (N,) standard deviation of the grey levels (E. Peli, JOSA A 1990)."""
    return np.asarray(images.std(axis=(1, 2), dtype=np.float64))


def measure_sharpness(images: Pixels) -> Numbers:
    """(N, S, S) -> (N,) variance of the Laplacian (J. Pech-Pacheco et al., ICPR 2000)."""
    return np.array([cv2.Laplacian(image, cv2.CV_64F).var() for image in images])


def measure_pictures(run_set: RunSet, options: SliceOptions) -> dict[str, Names]:
    """Name of each measure of the pictures -> (N,) quarter that each selected row is in.

    The pictures are those that the first model sees, without a mask.
    """
    names = [name for name in options.names if name in MEASURES]
    if not names:
        return {}
    images: Images = run_set.read_images(run_set.records[0].recipe.size)
    measured: dict[str, list[Numbers]] = {name: [] for name in names}
    for batch in np.split(run_set.rows, range(_BATCH, len(run_set.rows), _BATCH)):
        pixels = images[batch]
        for name in names:
            measured[name].append(MEASURES[name](pixels))
    return {name: cut_quarters(np.concatenate(parts)) for name, parts in measured.items()}


def _selected(run_set: RunSet) -> pd.DataFrame:
    return run_set.viewed.loc[run_set.rows]


def _measure_sides(run_set: RunSet) -> Names:
    """The side in whole pixels of a square of the face's area."""
    sizes = _selected(run_set)[["width", "height"]].astype(float)
    sides = (sizes["width"] * sizes["height"]).pow(0.5).round().astype(int)
    return slice_texts(sides.astype(str))


def _measure_agreement(run_set: RunSet) -> Names:
    """The share of a face's votes for the answer that has most of them, in percent."""
    votes = [votes_of(text).values() for text in _selected(run_set)["votes"]]
    shares = [f"{100 * max(counts) / sum(counts):.0f}" if counts else "" for counts in votes]
    return slice_texts(pd.Series(shares, dtype=str))


def _as_names(values: "pd.Series[str]") -> Names:
    return values.to_numpy(dtype=object)


FACTS: dict[str, Callable[[RunSet], Names]] = {
    "label": lambda run_set: _as_names(_selected(run_set)["label"]),
    "source": lambda run_set: _as_names(sources_of(_selected(run_set)["path"])),
    "subject": lambda run_set: _as_names(subject_keys(_selected(run_set))),
    "agreement": _measure_agreement,
    "size": _measure_sides,
}
MEASURES: dict[str, Callable[[Pixels], Numbers]] = {
    "brightness": measure_brightness,
    "sharpness": measure_sharpness,
    "contrast": measure_contrast,
}
COLUMNS = (*FACTS, *MEASURES)
WORST = ("label", "source", *MEASURES)
_REMEDIES = {
    "subject": ": the dataset names no persons; leave it out",
    "agreement": ": give the crowd's votes with `curate build --votes`",
}
