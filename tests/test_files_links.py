"""Links that a stranger has planted in a workspace: no write follows one to another file."""

import os
import re
import stat
from pathlib import Path

import numpy as np
import pytest
from bad_input import make_set
from conftest import Curate

import curate as package
from curate.errors import WorkspaceError
from curate.files import MAX_NAME_BYTES, create_file, new_temporary, write_atomically
from curate.sources.tables.pixel_tables import write_picture
from curate.workspace.workspace import Workspace

ROOT = Path(package.__file__).parent.parent
VICTIM = b"export PATH=/usr/bin\n"


@pytest.fixture
def victim(tmp_path: Path) -> Path:
    """A file of the user's elsewhere."""
    file = tmp_path / "home" / ".bashrc"
    file.parent.mkdir()
    file.write_bytes(VICTIM)
    return file


def test_a_temporary_name_cannot_be_foreseen_and_is_new(tmp_path: Path) -> None:
    names = set()
    for _ in range(50):
        with new_temporary(tmp_path / "manifest.csv") as temporary:
            assert temporary.parent == tmp_path
            assert temporary.read_bytes() == b""
            names.add(temporary.name)
    assert len(names) == 50
    for name in names:
        ends = rf"\.manifest\.csv\.[0-9a-f]{{16}}-{os.getpid()}-[0-9a-f]{{16}}\.tmp"
        assert re.fullmatch(ends, name)
    assert list(tmp_path.iterdir()) == []


def test_a_link_at_the_temporary_name_is_not_followed(
    tmp_path: Path, victim: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even for who guesses 64 random bits."""
    monkeypatch.setattr("curate.files.secrets.token_hex", lambda _: "0" * 16)
    file = tmp_path / "manifest.csv"
    with new_temporary(file) as temporary:
        guessed = temporary.name
    for name in (f".manifest.csv.{os.getpid()}.tmp", guessed):
        (tmp_path / name).symlink_to(victim)
    with pytest.raises(WorkspaceError, match="cannot be written"):
        write_atomically(file, b"new")
    assert victim.read_bytes() == VICTIM
    assert not file.exists()


def test_a_link_at_the_name_of_earlier_versions_changes_nothing(
    curate: Curate, tmp_path: Path, victim: Path
) -> None:
    root = make_set(tmp_path / "set", "happy/a.png", "sad/b.png")
    ws = tmp_path / "ws"
    ws.mkdir()
    for name in ("manifest.csv", "sources.json", "receipts/build.json"):
        link = ws / name
        link.parent.mkdir(exist_ok=True)
        link.with_name(f".{link.name}.{os.getpid()}.tmp").symlink_to(victim)
    assert curate("build", root, "-w", ws, "-j", "1").exit_code == 0
    assert victim.read_bytes() == VICTIM
    assert len(Workspace(ws).read()) == 2


def test_a_link_at_the_place_of_a_file_is_replaced_and_what_it_led_to_stays(
    curate: Curate, tmp_path: Path, victim: Path
) -> None:
    root = make_set(tmp_path / "set", "happy/a.png", "sad/b.png")
    ws = tmp_path / "ws"
    ws.mkdir()
    for name in ("sources.json", ".holder.lock", "pairs.csv"):
        (ws / name).symlink_to(victim)
    (ws / "sources.json").unlink()
    (ws / "manifest.csv").symlink_to(tmp_path / "nowhere")
    assert curate("build", root, "-w", ws, "-j", "1").exit_code == 0
    assert curate("dedup", "-w", ws, "-j", "1").exit_code == 0
    assert victim.read_bytes() == VICTIM
    assert not (tmp_path / "nowhere").exists()
    for name in ("manifest.csv", "pairs.csv"):
        assert stat.S_ISREG((ws / name).lstat().st_mode), name


def test_a_manifest_that_is_a_link_is_read_and_at_the_next_write_it_is_a_file_of_its_own(
    curate: Curate, tmp_path: Path
) -> None:
    root = make_set(tmp_path / "set", "happy/a.png", "sad/b.png")
    ws = tmp_path / "ws"
    assert curate("build", root, "-w", ws, "-j", "1").exit_code == 0
    elsewhere = (ws / "manifest.csv").rename(tmp_path / "elsewhere.csv")
    before = elsewhere.read_bytes()
    (ws / "manifest.csv").symlink_to(elsewhere)
    assert curate("decide", "set/happy/a.png", "--drop", "-w", ws).exit_code == 0
    assert elsewhere.read_bytes() == before
    assert not (ws / "manifest.csv").is_symlink()
    assert list(Workspace(ws).read()["status"]) == ["drop", "keep"]


def test_a_lock_that_is_a_link_is_refused_and_what_it_leads_to_stays(
    curate: Curate, tmp_path: Path, victim: Path
) -> None:
    root = make_set(tmp_path / "set", "happy/a.png")
    ws = tmp_path / "ws"
    ws.mkdir()
    (ws / ".lock").symlink_to(victim)
    result = curate("build", root, "-w", ws, "-j", "1")
    assert (result.exit_code, result.stderr.count("\n")) == (1, 1)
    assert victim.read_bytes() == VICTIM


def test_a_link_at_an_unpacked_picture_and_at_its_temporary_name_is_replaced(
    tmp_path: Path, victim: Path
) -> None:
    for name in (".0.png.tmp", "0.tmp", "0.png"):
        (tmp_path / name).symlink_to(victim)
    write_picture(tmp_path / "0.png", b"pixels")
    assert (tmp_path / "0.png").read_bytes() == b"pixels"
    assert not (tmp_path / "0.png").is_symlink()
    assert victim.read_bytes() == VICTIM


def test_the_progress_file_of_jobs_follows_no_link(tmp_path: Path, victim: Path) -> None:
    from train.oof.progress import ProgressSlot, show_progress

    file = tmp_path / "progress"
    file.symlink_to(victim)
    with show_progress(file, 2, 10, ""):
        ProgressSlot(file, 1).update(3)
        assert np.fromfile(file, np.int64).tolist() == [0, 3]
    assert victim.read_bytes() == VICTIM


def test_a_new_file_is_not_written_where_anything_is(tmp_path: Path, victim: Path) -> None:
    (tmp_path / "link").symlink_to(victim)
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    for name in ("link", "dangling", "home/.bashrc"):
        with pytest.raises(FileExistsError):
            create_file(tmp_path / name, b"new")
    assert victim.read_bytes() == VICTIM
    assert not (tmp_path / "nowhere").exists()


def test_the_name_of_a_temporary_file_is_never_too_long(tmp_path: Path) -> None:
    file = tmp_path / ("ü" * 120 + ".csv")
    with new_temporary(file, ".weights.h5") as temporary:
        assert len(os.fsencode(temporary.name)) <= MAX_NAME_BYTES
        assert temporary.name.endswith(".weights.h5")
    assert write_atomically(file, b"new")
    assert file.read_bytes() == b"new"


def test_the_temporary_file_of_a_killed_writer_is_removed_under_both_names(tmp_path: Path) -> None:
    dead = 2**22 + 1  # over the largest process number of Linux
    random = "0123456789abcdef"
    with new_temporary(tmp_path / "b", ".tmp") as temporary:
        own_host = temporary.name.split(".")[2].partition("-")[0]
    for end in (dead, f"{dead}-{random}", f"{own_host}-{dead}-{random}"):
        (tmp_path / f".a.csv.{end}.tmp").write_bytes(b"half")
    live = {f".a.csv.{os.getppid()}-{random}.tmp", f".a.csv.00other00-{dead}-{random}.tmp"}
    for name in live:  # another machine that shares the folder knows whether its writer lives
        (tmp_path / name).write_bytes(b"of a live one")
    write_atomically(tmp_path / "a.csv", b"new")
    assert {file.name for file in tmp_path.iterdir()} == live | {"a.csv"}


def test_no_module_makes_a_temporary_name_of_its_own() -> None:
    """The one place is curate/files.py, or a folder of the tempfile package."""
    found = []
    for file in sorted([*ROOT.glob("curate/**/*.py"), *ROOT.glob("train/**/*.py")]):
        place = file.relative_to(ROOT).as_posix()
        text = file.read_text()
        if re.search(r"with_suffix\(\"\.tmp|with_name\(f\"\.\{|mktemp\(", text):
            found.append(place)
    # write_picture, one name a picture; the lock of the journal, which follows no link.
    assert set(found) <= {
        "curate/sources/tables/pixel_tables.py",
        "curate/workspace/journal/file.py",
    }
