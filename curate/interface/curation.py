"""A workspace for notebooks and scripts: its tables as DataFrames.

In: the folder of a workspace. Out: a `Curation`, which reads and writes nothing more, but for the
table of class weights when it is asked for. What the command line would print as a note is a
warning here.
"""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from curate.errors import ManifestError, examples
from curate.stderr import notes_as_warnings
from curate.workspace.class_views import apply_class_view, find_class_view, join_class_view
from curate.workspace.explained import VERDICT_COLUMNS, require_explained
from curate.workspace.manifest import kept_rows
from curate.workspace.workspace import Workspace, read_class_weights

_INTEGERS = ("width", "height", "fold", "issue_rank")


class Curation:
    """The tables of a workspace as they were when it was opened; `curate.open` makes one.

    Every property is a new table, so a change of yours changes no other. The index is the path of
    the image, `<source>/<path under its folder>`.

    Attributes
    ----------
    root : the folder of the workspace
    """

    def __init__(self, root: Path, rows: pd.DataFrame) -> None:
        self.root = root
        self._rows = rows

    def __repr__(self) -> str:
        kept = len(kept_rows(self._rows))
        return f"<Curation {self.root}: {len(self._rows):,} images, {kept:,} kept>"

    @property
    def manifest(self) -> pd.DataFrame:
        """Every image, every column of manifests/README.md.

        Numbers are numbers: `width`, `height`, `fold`, `issue_rank` are Int64 with `<NA>` where
        there is none, `self_confidence` is float64 with NaN, `label_conflict` is bool. All else is
        text, absent where it is empty.
        """
        typed = self._rows.set_index("path")
        for name in (*_INTEGERS, "self_confidence"):
            typed[name] = pd.to_numeric(typed[name].where(typed[name] != ""))
        typed["label_conflict"] = typed["label_conflict"] == "true"
        return typed.astype(dict.fromkeys(_INTEGERS, "Int64") | {"self_confidence": "float64"})

    @property
    def verdicts(self) -> pd.DataFrame:
        """`label`, `status` (keep, drop) and `reason` of every image; the label of a drop may be
        empty.
        """
        return self._rows.set_index("path")[VERDICT_COLUMNS]

    @property
    def splits(self) -> pd.DataFrame:
        """`split` (train, val, test) and `label` of every kept image.

        Raises
        ------
        ManifestError  if kept images have no split
        """
        kept = kept_rows(self._rows)
        unsplit = kept.loc[kept["split"] == "", "path"]
        if len(unsplit):
            raise ManifestError(
                f"{self.root / 'manifest.csv'}: {len(unsplit):,} kept rows have no split "
                f"({examples(list(unsplit))}): run `curate split`"
            )
        return kept.set_index("path")[["split", "label"]]

    def weights(self, classes: str | int | Sequence[str] = "") -> dict[str, float]:
        """Class -> weight of its images in the loss, as `curate weights` wrote them.

        Parameters
        ----------
        classes : the class view that the weights were made under: 5, 7, polarity, or two and more
            classes; empty for all classes

        Raises
        ------
        WorkspaceError  if there are none, or they are of other rows than those of split train
        UsageError  if there is no such class view
        """
        viewed = self._rows
        if classes:
            viewed = apply_class_view(viewed, find_class_view(join_class_view(classes)))
        kept = kept_rows(viewed)
        counts = kept.loc[kept["split"] == "train", "label"].value_counts().sort_index()
        by_name = {str(name): int(count) for name, count in counts.items()}
        with notes_as_warnings():
            return read_class_weights(Workspace(self.root).class_weights, by_name)

    def file_of(self, path: str) -> Path:
        """The picture of an image; several faces (`#0`, `#1`, …) may share one.

        Raises
        ------
        KeyError  if the workspace has no such image
        WorkspaceError  if its source is not listed in sources.json
        """
        if path not in set(self._rows["path"]):
            raise KeyError(path)
        return Workspace(self.root).locate()(path)


def open(workspace: str | Path = "manifests") -> Curation:
    """The tables of a workspace, read and checked now; later changes of the files do not count.

    Parameters
    ----------
    workspace : the folder with manifest.csv

    Raises
    ------
    ManifestError  if there is no manifest, or it breaks a rule
    JournalError  if the journal does not explain a verdict of the manifest
    """
    found = Workspace(Path(workspace).absolute())  # also after the program changes its folder
    with notes_as_warnings():
        rows = found.read()
        require_explained(found)
    return Curation(found.root, rows)
