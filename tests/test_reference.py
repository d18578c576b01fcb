"""docs/reference.md and manifests/README.md: they have every file and column that is written."""

import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pandas as pd
import pytest
from conftest import call_curate, read_files
from typer.testing import CliRunner

from curate.catalogue import WORKSPACE, WrittenFile
from curate.export.catalogue import EXPORTS
from curate.publish.catalogue import CURATION
from curate.workspace.manifest import NAMES
from curate.workspace.workspace import Workspace
from train.cli.training import app as train
from train.runs.catalogue import EVALUATION, FACES, RUN, TUNING

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "benchmarks"))
# Columns that a table has only where its inputs do.
OPTIONAL = {"margin_auc", "within", "p_<class>", "belief_weight", "box", "subject", "sequence"}


def compile_name(name: str) -> re.Pattern[str]:
    """`runs/<run>/<file>` as a pattern; a `<file>` at the end may lie in folders."""
    parts = [re.escape(part) for part in re.split(r"<[^>]*>", name)]
    last = ".+" if name.endswith("/<file>") else "[^/]+"
    return re.compile("[^/]+".join(parts[:-1]) + (last if len(parts) > 1 else "") + parts[-1])


def find_entry(name: str, catalogue: Sequence[WrittenFile]) -> WrittenFile | None:
    exact = [each for each in catalogue if each.name == name]
    return next(
        iter([*exact, *(e for e in catalogue if compile_name(e.name).fullmatch(name))]), None
    )


def test_every_file_is_catalogued_once() -> None:
    for catalogue in (WORKSPACE, EXPORTS, CURATION, RUN, EVALUATION, FACES, TUNING):
        names = [each.name for each in catalogue]
        assert len(set(names)) == len(names)


def list_gaps(folder: Path, catalogue: Sequence[WrittenFile]) -> Iterator[str]:
    """Each file and column below the folder that is not described, and each described in vain."""
    for name in read_files(folder):
        entry = find_entry(name, catalogue)
        if entry is None:
            yield name
        elif name.endswith(".csv") and entry.columns:
            found = list(pd.read_csv(folder / name, dtype=str, keep_default_na=False))
            patterns = {column: compile_name(column) for column in entry.columns}
            for column in found:
                if not any(pattern.fullmatch(column) for pattern in patterns.values()):
                    yield f"{name}: {column}"
            for column, pattern in patterns.items():
                if column not in OPTIONAL and not any(map(pattern.fullmatch, found)):
                    yield f"{name}: no {column}"


@pytest.mark.parametrize("page", ["PAGE", "WORKSPACE_PAGE"])
def test_the_pages_are_those_of_the_code(page: str) -> None:
    import reference

    render = {"PAGE": reference.render_page, "WORKSPACE_PAGE": reference.render_workspace_page}
    text = getattr(reference, page).read_text()
    assert text == render[page](), "run `python benchmarks/reference.py`"


def test_every_column_of_the_manifest_has_a_meaning() -> None:
    assert sorted(WORKSPACE[0].columns) == sorted(NAMES)


def test_every_file_and_column_of_a_workspace_is_described(finished: Workspace) -> None:
    for words in (("audit", "--csv", "--html"), ("report", "--no-images"), ("card",)):
        assert call_curate(*words, "-w", finished.root).exit_code == 0
    names = {each.name for each in WORKSPACE}
    assert list(list_gaps(finished.root, WORKSPACE)) == []
    assert {"leaks.csv", "audit.html", "report.html", "issues.csv", "card/images.csv"} <= set(
        read_files(finished.root)
    )
    properties = {name for name in vars(Workspace) if isinstance(vars(Workspace)[name], property)}
    paths = {getattr(finished, name) for name in properties - {"cache", "shards", "predictions"}}
    assert {path.relative_to(finished.root).as_posix() for path in paths} <= names


def test_every_file_and_column_of_an_export_and_a_curation_is_described(
    finished: Workspace, published_template: Path, tmp_path: Path
) -> None:
    for kind, target in (("folder", "a"), ("imagefolder", "b"), ("csv", "c/all.csv")):
        words = ("export", kind, tmp_path / target, "--format", "ferplus", "-w", finished.root)
        assert call_curate(*words).exit_code == 0
        assert list(list_gaps((tmp_path / target[0]), EXPORTS)) == []
    assert list(list_gaps(published_template / "curation", CURATION)) == []
    assert list(list_gaps(ROOT / "manifests" / "fer2013", CURATION)) == []


def test_a_gap_is_found(tmp_path: Path) -> None:
    (tmp_path / "pairs.csv").write_text("path_a,path_b,score,transform,colour\n")
    (tmp_path / "new.csv").write_text("path\n")
    expected = ["new.csv", "pairs.csv: colour", "pairs.csv: no band"]
    assert sorted(list_gaps(tmp_path, WORKSPACE)) == expected


@pytest.mark.long
def test_every_file_and_column_of_a_run_is_described(
    bars: Workspace, bars_template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pictures = bars_template.parent / "images"
    monkeypatch.setenv("CURATE_ROOTS", str(pictures))  # the pages show them
    for words in (
        "evaluate --tta flip --by label",
        "occlude",
        "saliency",
        "embed --rows all",
        "report",
        "card",
        "export",
        f"predict {pictures} --no-detect --out {tmp_path / 'faces'}",
        f"tune --trials 2 --epochs 1 --widths 8 --out {tmp_path / 'tuning'}",
    ):
        done = CliRunner().invoke(train, [*words.split(), "-w", str(bars.root)], prog_name="train")
        assert done.exit_code == 0, (words, done.stderr)
    for folder, catalogue in (
        (bars.root / "runs" / "bars", (*RUN, *EVALUATION)),
        (tmp_path / "faces", FACES),
        (tmp_path / "tuning", TUNING),
    ):
        gaps = list(list_gaps(folder, catalogue))
        assert gaps == [], gaps
