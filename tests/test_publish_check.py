"""`curate publish --check` and `--diff`: the laws of a curation, and what changed between two."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from conftest import Curate, read_files
from test_publish import read, run

from curate.publish.check import broken_laws
from curate.publish.curation import Curation
from curate.publish.schema import KEY, sort_rows

Change = Callable[[pd.DataFrame], pd.DataFrame]
CLEAN = "splits/clean-60-20-20.csv"


def change_table(curation: Curation, name: str, change: Change) -> Curation:
    table = change(curation.tables[name].copy())
    return replace(curation, tables={**curation.tables, name: table})


def set_first(**values: str) -> Change:
    """Put other values into the first row."""
    return lambda table: pd.concat([table.head(1).assign(**values), table.iloc[1:]])


def test_a_published_curation_holds_every_law(published: Path, curate: Curate) -> None:
    before = read_files(published)
    assert "every digest and every law holds" in run(curate, published, "--check")
    assert read_files(published) == before


@pytest.mark.parametrize(
    ("name", "change", "law"),
    [
        ("images.csv", set_first(phash="x"), "1 malformed values of phash (first: x)"),
        ("images.csv", lambda t: t.iloc[1:], "rows that are not in images.csv"),
        ("images.csv", lambda t: pd.concat([t, t.head(1)]), "rows with a key of another row"),
        ("images.csv", lambda t: t.iloc[::-1], "rows out of order or with a gap"),
        ("images.csv", set_first(place="other/1.png"), "rows of no source of curation.json"),
        ("images.csv", set_first(copy_of="tiny/9.png"), "copies of no image of the table"),
        ("images.csv", set_first(status="drop", reason=""), "dropped without a reason"),
        ("images.csv", lambda t: t.assign(status="drop", reason="human"), "images.csv drops"),
        ("pairs.csv", set_first(place_b="tiny/9.png"), "whose image b is not in images.csv"),
        ("pairs.csv", set_first(band="maybe"), "malformed values of band"),
        ("labels.csv", set_first(pixel_sha256="0" * 64), "rows that are not in images.csv"),
        ("labels.csv", set_first(verdict="relabel", verdict_by="x"), "relabel without a class"),
        ("labels.csv", set_first(verdict="keep"), "no person's, or people without a verdict"),
        ("labels.csv", set_first(verdict="keep", verdict_by="machine:m"), "no person's, or"),
        ("labels.csv", set_first(machine_label="sad"), "labels of a machine without its name"),
        ("labels.csv", lambda t: t.iloc[::-1], "its rows are not sorted"),
        (CLEAN, set_first(occurrence="7"), "rows that are not in images.csv"),
        (CLEAN, lambda t: t.iloc[1:], "has other counts of its parts"),
        (CLEAN, lambda t: sort_rows(pd.concat([t, t.head(1)])), "rows that are listed twice"),
        ("splits/official-no-exact.csv", set_first(split="dev"), "malformed values of split"),
    ],
)
def test_a_broken_law_is_named(
    published: Path,
    name: str,
    change: Change,
    law: str,
) -> None:
    changed = change_table(read(published), name, change)
    assert any(law in sentence for sentence in broken_laws(changed)), broken_laws(changed)


def test_a_leak_in_a_split_is_found(published: Path) -> None:
    curation = read(published)
    images = curation.images.set_index("place")
    both = ["tiny/train/sad/0.png", "tiny/train/fear/conflict.png"]  # a copy under another label

    def leak(table: pd.DataFrame) -> pd.DataFrame:
        rows = table.set_index(KEY)
        for place, part in zip(both, ("train", "test"), strict=True):
            rows.loc[tuple(images.loc[place, KEY].tolist()), "split"] = part
        return rows.reset_index()

    for name, law in (
        (CLEAN, "1 photographs or subjects in two parts"),
        ("splits/official-no-copy.csv", "1 photographs in two parts"),
        ("splits/official-no-exact.csv", "1 val and test rows with the pixels of a training row"),
    ):
        found = broken_laws(change_table(curation, name, leak))
        assert any(law in sentence for sentence in found), (name, found)


def test_a_withdrawn_picture_that_is_still_there_is_found(published: Path, curate: Curate) -> None:
    gone = read(published).images["pixel_sha256"].iloc[0]
    (published / "curation/withdrawn.csv").write_text(f"pixel_sha256\n{gone}\n")
    done = curate("publish", "--check", published / "curation")
    assert done.exit_code == 3
    assert f"withdrawn pictures (first: {gone})" in done.stderr


def test_a_table_that_was_edited_is_refused(published: Path, curate: Curate) -> None:
    file = published / "curation" / CLEAN
    file.write_text(file.read_text().replace("train", "val", 1))
    done = curate("publish", published / "curation", "--check")
    assert done.exit_code == 1
    assert "does not have the digest of curation.json" in done.stderr
    assert "take an untouched copy of the curation" in done.stderr


def test_two_curations_differ_in_what_was_decided_between_them(
    published: Path,
    curate: Curate,
    tmp_path: Path,
) -> None:
    dropped = "tiny/train/surprise/0.png"
    workspace = published / "manifests"
    assert curate("decide", dropped, "--drop", "--by", "b", "-w", workspace).exit_code == 0
    new = tmp_path / "new"
    gone = read(published).images.set_index("place").loc["tiny/train/angry/1.png", "pixel_sha256"]
    done = curate("publish", new, "-w", workspace, "--withdraw", gone, "-j", "1")
    assert done.exit_code == 0, done.output
    done = curate("publish", "--diff", published / "curation", new)
    assert done.exit_code == 0
    start = read(published).images.set_index("place").loc[dropped, "pixel_sha256"][:16]
    lines = done.stdout.splitlines()
    assert lines[:3] == [
        f"removed: 1 ({gone[:16]})", f"other decision: 1 ({start})", f"other verdict: 1 ({start})",
    ]  # fmt: skip
    assert f"other part of clean-60-20-20: 1 ({start})" in lines
    done = curate("publish", "--diff", new, new)
    assert done.stdout == "publish: no change from tiny 1.0 to tiny 1.0\n"


def test_check_and_diff_exclude_each_other(published: Path, curate: Curate) -> None:
    folder = published / "curation"
    done = curate("publish", folder, "--check", "--diff", folder)
    assert done.exit_code == 2
    assert "exclude each other" in done.stderr
