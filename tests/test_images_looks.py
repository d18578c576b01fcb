"""What build leaves of each picture, and when later stages may use it."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import call_curate
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.demo.drawing import draw_face
from curate.demo.people import EXPRESSIONS
from curate.images.decode import encode_png, read_image
from curate.images.levels import judge_grey, judge_greys
from curate.images.looks import load_looks
from curate.images.thumbnails import load_thumbnails
from curate.stages import build_cache
from curate.workspace.workspace import Workspace

CACHED = ".cache/thumbnails"


def draw(root: Path, count: int = 12) -> Path:
    """Faces of three classes; one of them is blank, one is no picture."""
    for k in range(count):
        expression = EXPRESSIONS[k % 3]
        file = root / expression / f"{k:03d}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(encode_png(draw_face(expression, k, k, size=64)))
    (root / EXPRESSIONS[0] / "000.png").write_bytes(encode_png(np.full((64, 64), 9, np.uint8)))
    (root / EXPRESSIONS[1] / "001.png").write_bytes(b"none")
    return root


def run(name: str, root: Path, *words: object) -> None:
    result = call_curate(name, *words, "-j", "1", "-w", root)
    assert result.exit_code == 0, result.stderr


def refuse(name: str, root: Path) -> str:
    result = call_curate(name, "-j", "1", "-w", root)
    assert result.exit_code == 1
    return result.stderr


@pytest.fixture
def built(tmp_path: Path) -> Path:
    run("build", tmp_path / "ws", draw(tmp_path / "a"))
    return tmp_path / "ws"


@pytest.fixture
def undisturbed(built: Path) -> dict[str, bytes]:
    """The tables of the chain without a cache between the stages."""
    root = built.parent / "undisturbed"
    run("build", root, built.parent / "a")
    for name in ("inspect", "dedup"):
        for file in (root / CACHED).iterdir():
            file.unlink()
        run(name, root)
    return read_tables(root)


def read_tables(root: Path) -> dict[str, bytes]:
    return {name: (root / name).read_bytes() for name in ("manifest.csv", "pairs.csv")}


def list_faces(workspace: Workspace) -> tuple[list[tuple[Path, str]], list[str]]:
    manifest, locate = workspace.read(), workspace.locate()
    return [(locate(path), "") for path in manifest["path"]], list(manifest["pixel_hash"])


def forbid_decoding(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("a picture is decoded")

    monkeypatch.setattr("curate.images.thumbnails.read_image", refuse)


def test_inspect_and_dedup_decode_no_picture_that_is_as_build_read_it(
    built: Path, undisturbed: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    forbid_decoding(monkeypatch)
    run("inspect", built)
    run("dedup", built)
    assert read_tables(built) == undisturbed
    assert b",blank," in undisturbed["manifest.csv"]


@pytest.mark.parametrize("stage", ["inspect", "dedup"])
def test_a_picture_that_was_overwritten_after_build_is_refused(built: Path, stage: str) -> None:
    file = built.parent / "a" / EXPRESSIONS[2] / "005.png"
    status = file.stat()
    file.write_bytes(encode_png(255 - read_image(file)))
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))  # as by a copying program
    assert "005.png: has other pixels than `curate build` has recorded" in refuse(stage, built)


@pytest.mark.parametrize("stage", ["inspect", "dedup"])
def test_a_picture_that_is_gone_is_refused(built: Path, stage: str) -> None:
    (built.parent / "a" / EXPRESSIONS[2] / "005.png").unlink()
    assert "005.png: cannot be read any more" in refuse(stage, built)


def touch(built: Path) -> None:
    for file in (built.parent / "a").rglob("*.png"):
        file.touch()


def damage(built: Path) -> None:
    for file in (built / CACHED).iterdir():
        data = bytearray(file.read_bytes())
        data[200] ^= 1
        file.write_bytes(data)


def delete(built: Path) -> None:
    for file in (built / CACHED).iterdir():
        file.unlink()


def empty(built: Path) -> None:
    for file in (built / CACHED).iterdir():
        file.write_bytes(b"")


def keep_thumbnails_alone(built: Path) -> None:
    for file in (built / CACHED).glob("seen-*"):
        file.unlink()


@pytest.mark.parametrize("disturb", [touch, damage, delete, empty, keep_thumbnails_alone])
def test_with_another_cache_the_tables_are_the_same_bytes(
    built: Path, undisturbed: dict[str, bytes], disturb: Callable[[Path], None]
) -> None:
    for name in ("inspect", "dedup", "inspect", "dedup"):
        disturb(built)
        run(name, built)
    assert read_tables(built) == undisturbed


def test_what_inspect_had_to_decode_is_left_to_dedup(
    built: Path, undisturbed: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    delete(built)
    run("inspect", built)
    forbid_decoding(monkeypatch)
    run("dedup", built)
    assert read_tables(built) == undisturbed


def test_a_dry_run_of_inspect_leaves_nothing(built: Path) -> None:
    delete(built)
    run("inspect", built, "-n")
    assert not list((built / CACHED).iterdir())


def test_a_new_build_removes_the_shards_of_the_old_one(built: Path) -> None:
    before = sorted((built / CACHED).iterdir())
    (built.parent / "a" / EXPRESSIONS[2] / "005.png").unlink()
    run("build", built)
    after = sorted((built / CACHED).iterdir())
    assert len(before) == len(after) == 2
    assert not set(before) & set(after)


def test_a_source_that_is_not_built_again_gets_no_shard_of_black_faces(built: Path) -> None:
    run("build", built, f"b={draw(built.parent / 'b', 20)}")
    assert not list((built / CACHED).iterdir())
    run("inspect", built)
    run("dedup", built)
    workspace = Workspace(built)
    files, hashes = list_faces(workspace)
    kept = load_thumbnails(files, hashes, cache=workspace.cache, workers=1)
    fresh = load_thumbnails(files, hashes, workers=1)
    rows = np.arange(len(files))
    assert (kept[rows] == fresh[rows]).all()


def test_batches_and_a_killed_build_leave_the_same_shards(
    built: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(build_cache, "BATCH", 5)
    measure, calls = build_cache.measure_images, []

    def die(*words: Any) -> Any:
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return measure(*words)

    monkeypatch.setattr(build_cache, "measure_images", die)
    killed = built.parent / "killed"
    stopped = call_curate("build", built.parent / "a", "-j", "1", "-w", killed)
    assert stopped.exit_code == 130
    assert len(list((killed / ".cache/build/a").glob("*.npy"))) == 1
    run("build", killed, built.parent / "a")
    assert not list((killed / ".cache/build/a").glob("*"))
    names = sorted(file.name for file in (built / CACHED).iterdir())
    assert sorted(file.name for file in (killed / CACHED).iterdir()) == names
    for name in names:
        assert (killed / CACHED / name).read_bytes() == (built / CACHED / name).read_bytes()


def test_a_damaged_batch_leaves_its_shard_out(
    built: Path, undisturbed: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(build_cache, "BATCH", 5)
    write = build_cache.write_array
    monkeypatch.setattr(build_cache, "write_array", lambda file, _: write(file, np.zeros(3)))
    other = built.parent / "other"
    run("build", other, built.parent / "a")
    assert not list((other / CACHED).glob("*"))
    run("inspect", other)
    run("dedup", other)
    assert read_tables(other) == undisturbed


def test_looks_are_those_of_the_pictures(built: Path) -> None:
    workspace = Workspace(built)
    files, hashes = list_faces(workspace)
    kept, findings = load_looks(files, hashes, cache=workspace.cache, workers=1)
    fresh, again = load_looks(files, hashes, cache=None, workers=1)
    rows = np.arange(len(files))
    assert findings == again
    assert (kept[rows] == fresh[rows]).all()


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 2**32 - 1), st.integers(1, 3))
def test_pictures_judged_together_have_the_findings_of_single_ones(seed: int, width: int) -> None:
    rng = np.random.default_rng(seed)
    shape = (24, int(rng.choice([1, 2, 24])))
    kinds = [
        np.full(shape, 100, np.uint8),
        rng.integers(96, 105 + width * 4, shape).astype(np.uint8),
        rng.choice(np.array([0, 255], np.uint8), shape),
        rng.integers(0, 256, shape).astype(np.uint8),
        np.sort(rng.integers(0, 20, shape).astype(np.uint8)),
    ]
    greys = [kinds[k] for k in rng.integers(0, len(kinds), 8)]
    assert judge_greys(greys) == [judge_grey(grey) for grey in greys]
    mixed = [*greys, np.zeros((3, 5), np.uint8)]
    assert judge_greys(mixed) == [judge_grey(grey) for grey in mixed]
