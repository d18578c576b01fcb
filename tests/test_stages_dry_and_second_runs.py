"""A dry run changes no file, and a second run of a stage changes no byte."""

import json
from pathlib import Path

import pytest
from bad_input import FER_HEADER, FIRST, PIXELS
from conftest import Curate, read_files

from curate.workspace.workspace import Workspace

# Dry runs and second runs


WRITERS = (
    ("build",), ("build", "--map", "glee=happy"), ("inspect",), ("dedup",),
    ("dedup", "--exact-only"),
    ("fold", "--k", "4"), ("flag", "--score", "self_confidence"),
    ("split", "--ratios", "80", "10", "10"),
    ("weights", "--scheme", "sqrt"), ("decide", FIRST, "--drop"), ("report",),
)  # fmt: skip


@pytest.mark.parametrize("command", WRITERS, ids=" ".join)
def test_a_dry_run_leaves_every_file_as_it_is_and_makes_none(
    curate: Curate, finished: Workspace, command: tuple[str, ...]
) -> None:
    def look() -> dict[str, tuple[int, int, bytes]]:
        files = sorted(finished.root.rglob("*"))
        return {
            str(f): (s.st_mtime_ns, s.st_ino, b"" if f.is_dir() else f.read_bytes())
            for f in files
            if (s := f.stat())
        }

    workers = ("-j", "1") if command[0] in ("build", "inspect", "dedup") else ()
    before = look()
    result = curate(*command, *workers, "--dry-run", "-w", finished.root)
    assert result.exit_code == 0
    assert result.stdout.endswith(" (dry run: nothing written)\n")
    assert look() == before


def test_a_dry_run_of_a_first_build_makes_no_workspace(
    curate: Curate, tiny_faces: Path, tmp_path: Path
) -> None:
    (tmp_path / "fer2013.csv").write_text(f"{FER_HEADER}\n3,{PIXELS},Training\n")
    for source in (tiny_faces, tmp_path / "fer2013.csv"):
        assert curate("build", source, "-n", "-w", tmp_path / "ws", "-j", "1").exit_code == 0
    assert not (tmp_path / "ws").exists()


def test_a_second_run_of_the_whole_chain_changes_no_byte(
    curate: Curate, finished: Workspace, tiny_faces: Path
) -> None:
    chain = (
        ("build", tiny_faces, "-j", "1"), ("inspect", "-j", "1"), ("dedup", "-j", "1"),
        ("fold", "--k", "3"), ("flag",),
        ("split", "--ratios", "60", "20", "20"), ("weights",), ("report",),
    )  # fmt: skip
    # The first round: dedup has not seen the decisions yet that were made after it.
    for stage in chain:
        assert curate(*stage, "-w", finished.root).exit_code == 0
    before = read_files(finished.root)
    receipts = {file: file.stat().st_mtime_ns for file in (finished.root / "receipts").iterdir()}
    for stage in chain:
        assert curate(*stage, "-w", finished.root).exit_code == 0
        assert read_files(finished.root) == before, stage
    assert {
        file: file.stat().st_mtime_ns for file in (finished.root / "receipts").iterdir()
    } == receipts


def test_a_second_run_of_a_stage_changes_no_byte_whatever_ran_in_between(
    curate: Curate, tiny_faces: Path, tmp_path: Path
) -> None:
    ws = tmp_path / "ws"
    assert curate("build", tiny_faces, "-w", ws, "-j", "1").exit_code == 0
    chain = (
        ("inspect", "-j", "1"),
        ("dedup", "-j", "1"),
        ("fold", "--k", "3"),
        ("split",),
        ("weights",),
    )
    for stage in chain:
        assert curate(*stage, "-w", ws).exit_code == 0
    before = read_files(ws)
    for stage in chain:
        assert curate(*stage, "-w", ws).exit_code == 0
    assert read_files(ws) == before
    assert {
        stage: "stale"
        for stage, state in json.loads(curate("status", "--json", "-w", ws).stdout)[
            "stages"
        ].items()
        if state == "stale"
    } == {}
