"""Long file names, and what an error says of the files that were changed before it."""

import os
from pathlib import Path

import pytest
from conftest import Curate
from PIL import Image

from curate.demo.drawing import draw_face
from curate.errors import WorkspaceError
from curate.files import MAX_NAME_BYTES, shorten_name, write_atomically
from curate.stderr import forget_changes
from curate.workspace.workspace import Workspace
from train.faces.predict import name_drawings
from train.faces.timeline import choose_folder


def save_face(file: Path, seed: int) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(draw_face("happy", seed, seed, size=48)).save(file, "png")
    return file


@pytest.fixture
def long_names(curate: Curate, tmp_path: Path) -> Workspace:
    """Names of 249 and 255 bytes, two equal but for the last letter, and two-byte letters."""
    names = ["a" * 245, "a" * 244 + "b", "é" * 122, "b" * 251, "c" * 20]
    for seed, name in enumerate(names):
        save_face(tmp_path / "set" / "happy" / f"{name}.png", seed)
        save_face(tmp_path / "set" / "sad" / f"{name}.png", seed + 9)
    assert curate("build", tmp_path / "set", "-w", tmp_path / "ws", "-j", "1").exit_code == 0
    return Workspace(tmp_path / "ws")


def read_tree(folder: Path) -> dict[str, bytes]:
    files = (file for file in folder.rglob("*") if file.is_file())
    return {str(file.relative_to(folder)): file.read_bytes() for file in files}


def test_names_of_249_bytes_are_exported_under_shorter_ones(
    curate: Curate, long_names: Workspace, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    for _ in range(2):
        result = curate("export", "folder", out, "-w", long_names.root)
        assert (result.exit_code, result.stderr) == (0, "")
    pictures = [name for name in read_tree(out) if name.endswith(".png")]
    assert len(pictures) == 10
    assert all(len(os.fsencode(Path(name).name)) <= MAX_NAME_BYTES for name in pictures)
    assert f"happy/set__happy__{'c' * 20}.png" in pictures
    kept = {file.read_bytes() for file in (tmp_path / "set").rglob("*.png")}
    assert {(out / name).read_bytes() for name in pictures} == kept
    listed = (out / "labels.csv").read_text(encoding="utf-8")
    assert all(name in listed for name in pictures)


@pytest.mark.parametrize("length", [1, 100, 228, 229, 245, 251])
def test_every_drawing_has_a_name_of_its_own_that_fits(length: int) -> None:
    files = [Path(str(k)) / f"{'x' * length}.png" for k in range(12)]
    files.append(Path("x" * (length - 1) + "y.png"))
    names = list(name_drawings(files).values())
    assert len(set(names)) == 13
    assert all(len(name) <= MAX_NAME_BYTES for name in names)
    if length < 229:
        assert names[:2] == [f"{'x' * length}-faces.png", f"{'x' * length}-faces-2.png"]


def test_a_timeline_of_a_long_name_has_a_folder_that_fits(tmp_path: Path) -> None:
    folder = choose_folder(tmp_path, Path(f"{'v' * 251}.avi"))
    assert len(folder.name) <= MAX_NAME_BYTES - 9
    folder.mkdir()


@pytest.mark.parametrize("length", [255, 250, 243, 200])
def test_a_file_whose_name_fits_is_written_and_leftovers_of_its_writers_removed(
    tmp_path: Path, length: int
) -> None:
    file = tmp_path / ("n" * length)
    assert write_atomically(file, b"one")
    assert write_atomically(file, b"two")
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"two"]


def test_a_name_is_shortened_only_where_it_must_be_and_stays_one_of_its_kind() -> None:
    assert shorten_name("a" * 251 + ".png") == "a" * 251 + ".png"
    short = {
        shorten_name("a" * 252 + end) for end in ("b.png", "c.png", "b.jpg", "", ".x" + "y" * 90)
    }
    assert len(short) == 5
    assert {Path(name).suffix for name in short} == {".png", ".jpg", ""}
    assert all(252 <= len(name) <= MAX_NAME_BYTES for name in short)
    cut = shorten_name("é" * 200 + ".png")
    assert 250 < len(cut.encode()) <= MAX_NAME_BYTES


# What an error says


def fail_at(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """The disk is full at the n-th file."""
    real, calls = Path.write_bytes, iter(range(1000))

    def write(self: Path, data: bytes) -> int:
        if next(calls) >= number:
            raise OSError(28, os.strerror(28))
        return real(self, data)

    monkeypatch.setattr(Path, "write_bytes", write)


@pytest.mark.parametrize("number", [0, 1, 5, 11])
def test_a_first_export_that_fails_leaves_nothing(
    curate: Curate,
    long_names: Workspace,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    number: int,
) -> None:
    out = tmp_path / "deep" / "out"
    with monkeypatch.context() as patched:
        fail_at(patched, number)
        result = curate("export", "folder", out, "-w", long_names.root)
    assert (result.exit_code, result.stderr.count("\n")) == (1, 1)
    assert ("nothing was changed" in result.stderr) == (number == 0)
    assert "the unfinished export was removed" in result.stderr
    assert not out.exists()
    assert curate("export", "folder", out, "-w", long_names.root).exit_code == 0


def test_a_later_export_that_fails_says_what_was_changed_and_is_finished_by_the_next(
    curate: Curate, long_names: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    words = ("export", "folder", out, "-w", long_names.root)
    assert curate(*words).exit_code == 0
    whole = read_tree(out)
    for name in list(whole)[:6]:
        (out / name).write_bytes(b"damaged")
    (out / "export.json").write_bytes(whole["export.json"])
    with monkeypatch.context() as patched:
        fail_at(patched, 2)
        result = curate(*words)
    assert result.exit_code == 1
    assert "2 files were changed before" in result.stderr
    assert "the export is unfinished" in result.stderr
    assert "nothing was changed" not in result.stderr
    assert curate(*words).exit_code == 0
    assert read_tree(out) == whole


def test_an_error_says_that_nothing_was_changed_only_where_it_is_true(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    forget_changes()
    fail_at(monkeypatch, 1)
    write_atomically(tmp_path / "one", b"1")
    with pytest.raises(WorkspaceError) as caught:
        write_atomically(tmp_path / "new" / "two", b"2")
    assert str(caught.value).endswith(
        "free or unlock the disk; 1 file was changed before "
        f"({tmp_path / 'one'}): run the command again"
    )
    assert not (tmp_path / "new").exists()
    forget_changes()
    with pytest.raises(WorkspaceError, match="; nothing was changed"):
        write_atomically(tmp_path / "two", b"2")


def test_a_cache_is_no_change(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    forget_changes()
    fail_at(monkeypatch, 1)
    write_atomically(tmp_path / ".cache" / "one", b"1")
    with pytest.raises(WorkspaceError, match="; nothing was changed"):
        write_atomically(tmp_path / "two", b"2")


def test_a_decision_that_is_recorded_is_a_change(
    curate: Curate, long_names: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = f"set/happy/{'c' * 20}.png"
    with monkeypatch.context() as patched:
        fail_at(patched, 0)
        result = curate("decide", path, "--drop", "-w", long_names.root)
    assert result.exit_code == 1
    assert "is recorded" in result.stderr
    assert "nothing was changed" not in result.stderr
    assert "run the command again" not in result.stderr
