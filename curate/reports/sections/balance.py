"""Class balance before and after curation, per source and split."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from curate.labels import VOCABULARY
from curate.pages.charts import BarChart, make_bar_chart
from curate.workspace.manifest import SPLITS, kept_rows, sources_of

SHOWN_SOURCES = 8
SERIES = ("given", "kept")  # all rows by given label; kept rows by the label they have now


@dataclass(frozen=True)
class Balance:
    """Charts, the fate of each given label, and the rows per source and split.

    Attributes
    ----------
    columns, rows : given label -> rows given, kept, dropped by reason, and kept under it now
    parts : (source, split, rows in the dataset's split, kept rows in ours); `none` for no split
    hidden : sources without a chart of their own
    """

    charts: list[BarChart]
    columns: list[str]
    rows: list[tuple[str, list[int]]]
    parts: list[tuple[str, str, int, int]]
    hidden: int


def compare_balance(manifest: pd.DataFrame) -> Balance:
    """All rows by their given label beside the kept rows by their label."""
    kept = kept_rows(manifest)
    classes = [
        name for name in VOCABULARY if name in {*manifest["given_label"], *manifest["label"]}
    ]
    sources, kept_sources = sources_of(manifest["path"]), sources_of(kept["path"])
    names = sorted(set(sources))
    charts = [_compare("all", manifest, kept, classes)]
    if len(names) > 1:
        for name in names[:SHOWN_SOURCES]:
            own, own_kept = manifest[sources == name], kept[kept_sources == name]
            charts.append(_compare(name, own, own_kept, classes))
    is_split = bool((kept["split"] != "").any())
    for part in SPLITS:
        before, after = manifest[manifest["source_split"] == part], kept[kept["split"] == part]
        if len(before) or len(after):
            charts.append(_compare(f"split {part}", before, after, classes, is_split=is_split))
    columns, rows = count_classes(manifest)
    parts = _count_parts(manifest, kept, sources, kept_sources)
    hidden = max(len(names) - SHOWN_SOURCES, 0)
    return Balance(charts, columns, rows, parts, hidden)


def _compare(
    name: str,
    before: pd.DataFrame,
    after: pd.DataFrame,
    classes: Sequence[str],
    *,
    is_split: bool = True,
) -> BarChart:
    """The classes of some rows before and after; without a new split there is no after."""
    counts = [Counter(labels) for labels in (before["given_label"], after["label"])]
    now = f"{len(after):,} kept" if is_split else "no new split yet"
    title = f"{name}: {len(before):,} given, {now}"
    return make_bar_chart(title, dict(zip(SERIES, counts, strict=True)), classes)


def count_classes(manifest: pd.DataFrame) -> tuple[list[str], list[tuple[str, list[int]]]]:
    """Per label: rows given, kept, dropped by reason, and kept under this label now."""
    fate = manifest["reason"].where(manifest["status"] == "drop", "kept")
    table = pd.crosstab(manifest["given_label"], fate)
    if "kept" in table:
        reasons = [name for name in table.columns if name != "kept"]
        table = table[["kept", *reasons]]
    table.insert(0, "given", table.sum(axis=1))
    kept_labels = kept_rows(manifest)["label"].value_counts()
    table = table.reindex(sorted({*table.index, *kept_labels.index}), fill_value=0)
    table["label now"] = kept_labels.reindex(table.index, fill_value=0)
    counts = [[int(count) for count in row] for row in table.to_numpy()]
    labels = [str(label) for label in table.index]
    return list(table.columns), list(zip(labels, counts, strict=True))


def _count_parts(
    manifest: pd.DataFrame,
    kept: pd.DataFrame,
    sources: "pd.Series[str]",
    kept_sources: "pd.Series[str]",
) -> list[tuple[str, str, int, int]]:
    before = Counter(zip(sources, manifest["source_split"], strict=True))
    after = Counter(zip(kept_sources, kept["split"], strict=True))
    found = []
    for source in sorted(set(sources)):
        for part in (*SPLITS, ""):
            given, now = before[source, part], after[source, part]
            if given or now:
                found.append((source, part or "none", given, now))
    return found
