"""`curate apply` on a workspace that knows more than the curation, or other things."""

import json
import shutil
from pathlib import Path

import cv2
import pandas as pd
import pytest
from conftest import Curate, read_files

from curate.duplicates.pair_table import read_pairs
from curate.review.agreement import compare_reviewers
from curate.review.reviewers import own_verdicts
from curate.workspace.journal.decisions import list_applied
from curate.workspace.workspace import Workspace


@pytest.fixture
def more(tiny_faces: Path, tmp_path: Path) -> Path:
    """The data set with two images that the curation does not hold: altered copies in test."""
    folder = Path(shutil.copytree(tiny_faces, tmp_path / "more"))
    for name in ("fear", "surprise"):
        face = cv2.imread(str(folder / "train" / name / "2.png"), cv2.IMREAD_GRAYSCALE)
        brighter = cv2.convertScaleAbs(face, alpha=0.9, beta=20)
        cv2.imwrite(str(folder / "test" / name / "altered.png"), brighter)
    return folder


def build(curate: Curate, folder: Path, root: Path, *stages: str) -> Workspace:
    assert curate("build", f"tiny={folder}", "-w", root, "-j", 1).exit_code == 0
    for name in stages:
        assert curate(name, "-w", root, "-j", 1).exit_code == 0
    return Workspace(root)


def apply(curate: Curate, published: Path, workspace: Workspace, *options: str) -> str:
    words = ("--by", "bob", "-w", workspace.root, "-j", 1, *options)
    done = curate("apply", published / "curation", *words)
    assert done.exit_code == 0, done.output
    return str(done.stderr)


def undo(curate: Curate, workspace: Workspace) -> str:
    (line,) = list_applied(workspace.read_journal())
    done = curate("undo", line.batch, "-w", workspace.root)
    assert done.exit_code == 0, done.output
    return str(done.stderr)


def list_pairs(workspace: Workspace, paths: set[str]) -> set[tuple[str, str]]:
    """The verified pairs of these images."""
    pairs = read_pairs(workspace.pairs)
    both = zip(pairs["path_a"], pairs["path_b"], strict=True)
    return {pair for pair in both if paths & set(pair)}


def test_an_image_that_the_curation_does_not_hold_keeps_its_copies(
    curate: Curate, published: Path, more: Path, tmp_path: Path
) -> None:
    workspace = build(curate, more, tmp_path / "ws", "dedup")
    before = workspace.read().set_index("path")
    own = before.index[before.index.str.contains("altered")]
    assert (before.loc[own, "duplicate_group"] != "").all()
    own_pairs = list_pairs(workspace, set(own))
    assert len(own_pairs) >= 2
    apply(curate, published, workspace)
    once = read_files(workspace.root)
    apply(curate, published, workspace)
    assert read_files(workspace.root) == once
    rows = workspace.read().set_index("path")
    assert (rows.loc[own, "status"] == "drop").all()
    for path in own:
        original = path.replace("test", "train").replace("altered", "2")
        assert rows.at[path, "duplicate_group"] == rows.at[original, "duplicate_group"] != ""
        assert curate("decide", path, "--keep", "-w", workspace.root).exit_code == 0
    assert list_pairs(workspace, set(own)) == own_pairs
    assert curate("check", "-w", workspace.root).exit_code == 3  # no split yet
    assert curate("split", "--from-source", "-w", workspace.root).exit_code == 0
    assert curate("check", "-w", workspace.root).exit_code == 0
    leaks = json.loads(curate("audit", "--json", "-w", workspace.root).stdout)
    by_source = [leak for leak in leaks if leak["split"] == "source_split"]
    assert sum(leak["copies"] for leak in by_source if leak["label"] == "all") >= 3


def test_where_its_copies_are_not_known_dedup_is_still_to_be_run(
    curate: Curate, published: Path, more: Path, tmp_path: Path
) -> None:
    workspace = build(curate, more, tmp_path / "ws")
    noted = apply(curate, published, workspace)
    assert "2 images are not in the curation, and no copies of them are known" in noted
    refused = curate("audit", "-w", workspace.root)
    assert refused.exit_code == 1
    assert "run `curate dedup` first" in refused.stderr
    assert curate("dedup", "-w", workspace.root, "-j", 1).exit_code == 0
    assert curate("audit", "-w", workspace.root).exit_code == 0


def test_a_stage_that_the_curation_did_not_run_keeps_what_it_found_here(
    curate: Curate, tiny_faces: Path, tmp_path: Path
) -> None:
    made = build(curate, tiny_faces, tmp_path / "made", "dedup")
    assert curate("split", "-w", made.root).exit_code == 0
    assert curate("publish", tmp_path / "curation", "-w", made.root, "-j", 1).exit_code == 0
    workspace = build(curate, tiny_faces, tmp_path / "ws", "inspect")
    blank = "tiny/train/angry/blank.png"
    assert workspace.read().set_index("path").at[blank, "quality"] == "blank"
    apply(curate, tmp_path, workspace)
    row = workspace.read().set_index("path").loc[blank]
    assert (row["quality"], row["status"]) == ("blank", "drop")


@pytest.mark.parametrize("again", [("dedup",), ("dedup", "--exact-only")])
def test_the_columns_of_a_stage_are_put_back_together_or_not_at_all(
    curate: Curate, published: Path, more: Path, tmp_path: Path, again: tuple[str, ...]
) -> None:
    workspace = build(curate, more, tmp_path / "ws")
    apply(curate, published, workspace)
    assert curate(*again, "-w", workspace.root, "-j", 1).exit_code == 0
    found = workspace.read()
    assert "what `curate dedup` found has changed" in undo(curate, workspace)
    rows = workspace.read()
    columns = ["duplicate_group", "duplicate_of", "duplicate_kind", "label_conflict"]
    assert rows[columns].equals(found[columns])
    assert set(rows["split"]) == {""}
    assert curate("check", "-w", workspace.root).exit_code == 0


def test_an_undo_that_was_killed_is_finished_by_the_next_and_can_be_undone(
    curate: Curate,
    published: Path,
    tiny_faces: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    workspace = build(curate, tiny_faces, tmp_path / "ws")
    apply(curate, published, workspace)
    applied = workspace.read()
    (line,) = list_applied(workspace.read_journal())

    class Killed(BaseException):
        pass

    def die(*_: object) -> None:
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr("curate.review.decide.restore_snapshot", die)
        with pytest.raises(Killed):
            curate("undo", line.batch, "-w", workspace.root)
    lines = len(workspace.read_journal())
    assert curate("undo", line.batch, "-w", workspace.root).exit_code == 0
    assert len(workspace.read_journal()) == lines
    assert set(workspace.read()["split"]) == {""}
    back = curate("undo", workspace.read_journal()[-1].batch, "-w", workspace.root)
    assert back.exit_code == 0
    assert workspace.read().equals(applied)


def test_what_a_split_leaves_out_is_nobodys_verdict(
    curate: Curate, published: Path, tiny_faces: Path, tmp_path: Path
) -> None:
    workspace = build(curate, tiny_faces, tmp_path / "ws")
    kept = "tiny/test/happy/copy.png"
    words = ("--by", "carl", "-w", workspace.root)
    assert curate("decide", kept, "--keep", *words).exit_code == 0
    apply(curate, published, workspace, "--split", "official-no-copy")
    rows = workspace.read().set_index("path")
    assert (rows.at[kept, "status"], rows.at[kept, "reason"]) == ("drop", "human")
    verdicts = own_verdicts(workspace.read(), workspace.read_journal())
    assert "bob" not in verdicts
    assert verdicts["carl"] == {kept: "happy"}
    assert curate("publish", tmp_path / "again", "-w", workspace.root, "-j", 1).exit_code == 0
    labels = pd.read_csv(tmp_path / "again" / "labels.csv", dtype=str, keep_default_na=False)
    assert set(labels["verdict_by"]) == {"", "a", "carl"}
    assert "bob" not in repr(compare_reviewers(workspace))


def test_who_was_unsure_has_no_verdict_before_the_published_one(
    curate: Curate, published: Path, tiny_faces: Path, tmp_path: Path
) -> None:
    workspace = build(curate, tiny_faces, tmp_path / "ws")
    path = "tiny/train/sad/1.png"
    assert curate("decide", path, "--unsure", "--by", "carl", "-w", workspace.root).exit_code == 0
    assert "contradicts" not in apply(curate, published, workspace)
    assert workspace.read().set_index("path").at[path, "label"] == "fear"
    before = read_files(workspace.root)
    apply(curate, published, workspace)
    assert read_files(workspace.root) == before


def test_of_equal_images_the_one_that_is_here_is_the_one_in_the_split(
    curate: Curate, published: Path, tiny_faces: Path, tmp_path: Path
) -> None:
    """happy/copy.png equals happy/1.png, of which the curation keeps one."""
    curation = Workspace(published / "manifests").read().set_index("path")
    pair = ["tiny/train/happy/1.png", "tiny/test/happy/copy.png"]
    assert sorted(curation.loc[pair, "status"]) == ["drop", "keep"]
    gone = next(path for path in pair if curation.at[path, "status"] == "keep")
    (there,) = set(pair) - {gone}
    folder = Path(shutil.copytree(tiny_faces, tmp_path / "faces"))
    (folder / gone.removeprefix("tiny/")).unlink()
    workspace = build(curate, folder, tmp_path / "ws")
    apply(curate, published, workspace)
    row = workspace.read().set_index("path").loc[there]
    assert (row["status"], row["split"]) == ("keep", curation.at[gone, "split"])


def test_a_split_that_separates_persons_here_is_refused_with_the_way_out(
    curate: Curate, tiny_faces: Path, tmp_path: Path
) -> None:
    made = build(curate, tiny_faces, tmp_path / "made", "dedup")
    assert curate("split", "-w", made.root).exit_code == 0
    assert curate("publish", tmp_path / "curation", "-w", made.root, "-j", 1).exit_code == 0
    rows = [
        (file.relative_to(tiny_faces), file.parent.name, f"p{number % 5}")
        for number, file in enumerate(sorted(tiny_faces.rglob("*.png")))
    ]
    table = pd.DataFrame(rows, columns=["path", "label", "subject"])
    folder = Path(shutil.copytree(tiny_faces, tmp_path / "people"))
    table.to_csv(folder / "labels.csv", index=False)
    words = ("-w", tmp_path / "ws", "-j", 1)
    assert curate("build", f"tiny={folder / 'labels.csv'}", *words).exit_code == 0
    refused = curate("apply", tmp_path / "curation", "--by", "bob", *words)
    assert refused.exit_code == 1
    assert "does not hold here: 4 subjects cross a split" in refused.stderr
    assert "run `curate split` again" not in refused.stderr
    assert "build the data set without its subjects" in refused.stderr
