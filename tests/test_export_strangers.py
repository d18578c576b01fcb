"""What may leave the machine: the recorded bytes of pictures, from folders that the user named."""

import base64
import json
import os
import re
import shutil
from pathlib import Path

import pandas as pd
import pytest
from bad_input import FACE, make_set
from conftest import Curate, read_files

from curate.files import sha256_of
from curate.workspace.places import ROOTS, find_list, read_places
from curate.workspace.workspace import Workspace

KEY = "-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXk\n"
SHIPPING = (("export", "folder"), ("export", "fiftyone"), ("report",))


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home folder with a key and a private photograph, and nothing named yet."""
    home = tmp_path / "home"
    (home / ".ssh").mkdir(parents=True)
    (home / ".ssh" / "id_rsa").write_text(KEY)
    (home / "Pictures").mkdir()
    FACE.rotate(20).save(home / "Pictures" / "passport.png")
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return home


@pytest.fixture
def received(curate: Curate, tmp_path: Path, home: Path) -> Workspace:  # noqa: ARG001
    """A workspace and its pictures as an archive brings them: nothing was built under this path."""
    root = make_set(tmp_path / "sender" / "set", "happy/a.png", "sad/b.png")
    FACE.rotate(90).save(root / "sad" / "b.png")
    sent = tmp_path / "sender" / "manifests"
    assert curate("build", root, "-w", sent, "-j", "1").exit_code == 0
    here = Path(shutil.copytree(tmp_path / "sender", tmp_path / "in" / "unpacked"))
    shutil.rmtree(tmp_path / "sender")
    shutil.rmtree(tmp_path / "state")
    workspace = Workspace(here / "manifests")
    move_root(workspace, here / "set")
    return workspace


def move_root(workspace: Workspace, root: Path | str) -> None:
    known = json.loads(workspace.sources.read_text())
    known["set"] |= {"root": str(root), "origin": str(root)}
    workspace.sources.write_text(json.dumps(known))


def forge_row(workspace: Workspace, inside: str, sha256: str) -> None:
    """The first row leads to another file, as its forger says with the right bytes."""
    table = pd.read_csv(workspace.manifest, dtype=str, keep_default_na=False)
    table.loc[0, "path"], table.loc[0, "sha256"] = f"set/{inside}", sha256
    table.sort_values("path").to_csv(workspace.manifest, index=False, lineterminator="\n")


def without_notes(stderr: str) -> list[str]:
    """The lines, but for the notes about tables that a test has edited."""
    lines = stderr.splitlines(keepends=True)
    return [line for line in lines if "was changed by another program" not in line]


def ship(curate: Curate, workspace: Workspace, out: Path, *words: str) -> str:
    """The one line with which a command is refused; nothing was written."""
    before = read_files(workspace.root)
    target = [out] if words[0] == "export" else []
    result = curate(*words, *target, "-w", workspace.root)
    (line,) = without_notes(result.stderr)
    assert (result.exit_code, result.stdout) == (1, ""), result.output
    assert not out.exists()
    assert read_files(workspace.root) == before
    return line


@pytest.mark.parametrize("words", SHIPPING, ids="-".join)
def test_a_workspace_whose_pictures_are_in_the_home_folder_ships_none_of_them(
    curate: Curate, tmp_path: Path, home: Path, received: Workspace, words: tuple[str, ...]
) -> None:
    move_root(received, home)
    forge_row(received, ".ssh/id_rsa", sha256_of(home / ".ssh" / "id_rsa"))
    line = ship(curate, received, tmp_path / "out", *words)
    assert f"the pictures of source 'set' are in {home}, which you have not named" in line
    assert f"`curate build set={home}`, or in {ROOTS}" in line


@pytest.mark.parametrize("root", ["/", "/etc", "~", "~/.ssh", "../../..", "{home}/.."])
def test_no_other_folder_of_the_machine_is_shipped_either(
    curate: Curate, tmp_path: Path, home: Path, received: Workspace, root: str
) -> None:
    move_root(received, root.format(home=home))
    line = ship(curate, received, tmp_path / "out", "export", "folder")
    assert "which you have not named on this machine" in line


def test_a_key_in_a_named_folder_is_no_picture_and_is_not_shipped(
    curate: Curate, tmp_path: Path, home: Path, received: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(ROOTS, str(home))
    move_root(received, home)
    forge_row(received, ".ssh/id_rsa", sha256_of(home / ".ssh" / "id_rsa"))
    line = ship(curate, received, tmp_path / "out", "export", "folder")
    assert "1 kept image is missing (set/sad/b.png)" in line
    (home / "sad").mkdir()
    shutil.copy(home / "Pictures" / "passport.png", home / "sad" / "b.png")
    for kind in ("folder", "fiftyone"):
        line = ship(curate, received, tmp_path / "out", "export", kind)
    assert "2 kept images changed or not readable" in line
    assert "set/.ssh/id_rsa: cannot identify image file" in line
    assert "set/sad/b.png: has other bytes than `curate build` has recorded" in line
    assert "run `curate build` again, or drop them with `curate decide PATH --drop`" in line
    assert curate("report", "-w", received.root).exit_code == 0
    page = (received.root / "report.html").read_text()
    assert "data:image" not in page
    assert base64.b64encode(KEY.encode()).decode()[:20] not in page


def test_a_picture_that_was_overwritten_after_build_is_not_shipped_under_its_old_label(
    curate: Curate, tmp_path: Path, received: Workspace
) -> None:
    FACE.rotate(180).save(received.root.parent / "set" / "happy" / "a.png")
    for kind in ("folder", "fiftyone"):
        line = ship(curate, received, tmp_path / "out", "export", kind)
        assert line == (
            "curate: 1 kept image changed or not readable (set/happy/a.png: has other "
            "bytes than `curate build` has recorded): run `curate build` again, or drop them with "
            "`curate decide PATH --drop`\n"
        )
    assert curate("decide", "set/happy/a.png", "--drop", "-w", received.root).exit_code == 0
    assert curate("export", "folder", tmp_path / "out", "-w", received.root).exit_code == 0
    assert [file.name for file in (tmp_path / "out").rglob("*.png")] == ["set__sad__b.png"]


def test_a_link_in_a_dataset_to_a_private_picture_is_not_shipped(
    curate: Curate, tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = make_set(tmp_path / "download" / "set", "happy/a.png")
    (root / "sad").mkdir()
    (root / "sad" / "b.png").symlink_to(home / "Pictures" / "passport.png")
    workspace = Workspace(tmp_path / "ws")
    assert curate("build", root, "-w", workspace.root, "-j", "1").exit_code == 0
    line = ship(curate, workspace, tmp_path / "out", "export", "folder")
    assert f"leads to {home}/Pictures/passport.png, outside of the folders that you" in line
    manifest = workspace.read().assign(quality=["", "blank"])  # shown by the page
    manifest.to_csv(workspace.manifest, index=False, lineterminator="\n")
    assert curate("report", "-w", workspace.root).exit_code == 0
    assert '<img alt="unreadable">' in (workspace.root / "report.html").read_text()
    monkeypatch.setenv(ROOTS, str(home / "Pictures"))
    assert curate("report", "-w", workspace.root).exit_code == 0
    assert '<img alt="unreadable">' not in (workspace.root / "report.html").read_text()
    assert curate("export", "folder", tmp_path / "out", "-w", workspace.root).exit_code == 0


def test_a_link_to_a_folder_at_the_top_of_a_dataset_names_nothing_behind_it(
    curate: Curate, tmp_path: Path, home: Path
) -> None:
    (home / "Pictures" / "happy").mkdir()
    shutil.move(home / "Pictures" / "passport.png", home / "Pictures" / "happy")
    root = tmp_path / "download" / "set"
    root.mkdir(parents=True)
    (root / "faces").symlink_to(home / "Pictures")
    workspace = Workspace(tmp_path / "ws")
    assert curate("build", root, "-w", workspace.root, "-j", "1").exit_code == 0
    line = ship(curate, workspace, tmp_path / "out", "export", "folder")
    assert f"are in {home}/Pictures, which you have not named" in line


def test_a_bare_build_lists_no_folder_that_was_not_named(
    curate: Curate, tmp_path: Path, home: Path, received: Workspace
) -> None:
    (home / "Pictures" / "happy").mkdir()
    move_root(received, home / "Pictures")
    line = ship(curate, received, tmp_path / "out", "build")
    assert f"are in {home}/Pictures, which you have not named" in line


def test_a_source_whose_name_is_a_path_removes_no_folder_of_the_user(
    curate: Curate, home: Path, received: Workspace
) -> None:
    known = json.loads(received.sources.read_text())
    known["../../../../../home/Pictures"] = known["set"]
    received.sources.write_text(json.dumps(known))
    result = curate("build", "-w", received.root, "-j", "1")
    assert result.exit_code == 2
    (line,) = without_notes(result.stderr)
    assert "cannot name a source" in line
    # And by a link in the cache.
    received.cache.mkdir(exist_ok=True)
    (received.cache / "build").symlink_to(home)
    (home / "set").mkdir()
    (home / "set" / "thesis.json").write_text("{}")
    del known["../../../../../home/Pictures"]
    received.sources.write_text(json.dumps(known))
    assert curate("build", "-w", received.root, "-j", "1").exit_code == 0
    assert (home / "Pictures" / "passport.png").is_file()
    assert (home / "set" / "thesis.json").is_file()


def test_a_reviewer_is_warned_of_pictures_that_were_overwritten_after_build(
    curate: Curate, received: Workspace
) -> None:
    words = ("relabel", "--random", "2", "--by", "a", "-n", "-w", received.root)
    assert "other bytes" not in curate(*words).stderr
    file = received.root.parent / "set" / "happy" / "a.png"
    FACE.rotate(180).save(file)
    assert without_notes(curate(*words).stderr) == [
        "relabel: 1 of 2 images have other bytes than `curate build` has recorded "
        f"(first: {file}): run it again before you review them\n"
    ]


# What needs no question


def test_a_workspace_that_the_user_has_built_ships_without_a_question(
    curate: Curate, tmp_path: Path, home: Path
) -> None:
    root = make_set(home / "data" / "set", "happy/a.png")
    moved, first = tmp_path / "moved", home / "project" / "manifests"
    assert curate("build", root, "-w", first, "-j", "1").exit_code == 0
    assert curate("export", "folder", tmp_path / "out", "-w", first).exit_code == 0
    shutil.move(first, moved)
    assert curate("build", "-w", moved, "-j", "1").exit_code == 0
    assert curate("report", "-w", moved).exit_code == 0
    assert find_list().stat().st_mode & 0o777 == 0o600


def test_a_curation_that_came_with_its_pictures_ships_without_a_question(
    curate: Curate, tmp_path: Path, received: Workspace
) -> None:
    assert curate("export", "folder", tmp_path / "out", "-w", received.root).exit_code == 0
    assert curate("report", "-w", received.root).exit_code == 0
    assert len(re.findall('alt="unreadable"', (received.root / "report.html").read_text())) == 0


def test_the_way_out_of_the_message_works(
    curate: Curate, tmp_path: Path, home: Path, received: Workspace
) -> None:
    (home / "data").mkdir()
    shutil.move(received.root.parent / "set", home / "data" / "set")
    move_root(received, home / "data" / "set")
    line = ship(curate, received, tmp_path / "out", "export", "folder")
    command = re.search("`curate (build [^`]*)`", line)
    assert command
    assert curate(*command[1].split(), "-w", received.root, "-j", "1").exit_code == 0
    assert curate("export", "folder", tmp_path / "out", "-w", received.root).exit_code == 0


def test_roots_of_a_known_workspace_that_somebody_has_edited_are_refused(
    curate: Curate,
    tmp_path: Path,
    home: Path,  # noqa: ARG001
) -> None:
    root = make_set(tmp_path / "in" / "set", "happy/a.png")
    other = make_set(tmp_path / "in" / "other", "happy/a.png")
    workspace = Workspace(tmp_path / "in" / "ws")
    assert curate("build", root, "-w", workspace.root, "-j", "1").exit_code == 0
    move_root(workspace, other)  # beside the workspace, with the right bytes
    assert "have not named" in ship(curate, workspace, tmp_path / "out", "export", "folder")


def test_a_list_that_cannot_be_written_is_a_note_with_a_way_out(
    curate: Curate, tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "state").write_text("a file where a folder should be")
    root = make_set(home / "data" / "set", "happy/a.png")
    workspace = Workspace(tmp_path / "ws")
    result = curate("build", root, "-w", workspace.root, "-j", "1")
    assert result.exit_code == 0
    note = re.search(
        rf"the folders that you name cannot be remembered .*: set {ROOTS}=(\S+)", result.stderr
    )
    assert note
    assert "have not named" in ship(curate, workspace, tmp_path / "out", "export", "folder")
    monkeypatch.setenv(ROOTS, note[1])
    assert curate("export", "folder", tmp_path / "out", "-w", workspace.root).exit_code == 0


def test_a_damaged_list_names_only_what_can_be_read(tmp_path: Path, home: Path) -> None:
    good = json.dumps({"workspace": "/w", "folder": str(home / "data")})
    file = find_list()
    file.parent.mkdir(parents=True)
    file.write_bytes(b"\xff\xfe\n[1]\n{}\n" + good.encode() + b"\n" + good[:20].encode())
    places = read_places(Workspace(tmp_path / "in" / "ws"))
    assert places.hold(home / "data" / "set")
    assert not places.hold(home / "data2")
    assert not places.hold(home)
    assert os.fspath(home / "data") in places.folders
