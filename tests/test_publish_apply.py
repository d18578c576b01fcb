"""`curate apply`: a published curation replayed on other copies of the data set."""

import hashlib
import json
import re
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from conftest import call_curate, read_files

from curate.demo.drawing import draw_face
from curate.errors import WorkspaceError
from curate.files import record_bytes
from curate.publish import apply as stage
from curate.publish.curation import read_curation
from curate.publish.descriptor import describe, to_text
from curate.publish.match import match_images
from curate.sources.fer2013_csv import CODES
from curate.workspace.journal.decisions import list_applied
from curate.workspace.receipts import read_receipts
from curate.workspace.workspace import Workspace

VERDICTS = ["label", "status", "reason", "split", "quality", "label_conflict"]


def build(folder: Path, root: Path) -> Workspace:
    done = call_curate("build", f"other={folder}", "-w", root, "-j", "1")
    assert done.exit_code == 0, done.output
    return Workspace(root)


def save_again(faces: Path, folder: Path, suffix: str, quality: int = 92) -> Path:
    """The faces under other names, their order reversed, as another format."""
    for number, file in enumerate(sorted(faces.rglob("*.png"), reverse=True)):
        target = folder / file.parent.relative_to(faces) / f"{number:03d}{suffix}"
        target.parent.mkdir(parents=True, exist_ok=True)
        face = cv2.imread(str(file), cv2.IMREAD_GRAYSCALE)
        cv2.imwrite(str(target), face, [cv2.IMWRITE_JPEG_QUALITY, quality])
    return folder


def to_csv(faces: Path, folder: Path) -> Path:
    """The faces as fer2013.csv."""
    rows = []
    for file in sorted(faces.rglob("*.png")):
        label, split = file.parent.name, file.parent.parent.name
        pixels = cv2.imread(str(file), cv2.IMREAD_GRAYSCALE).ravel()
        usage = "Training" if split == "train" else "PrivateTest"
        rows.append((CODES.index(label), " ".join(map(str, pixels)), usage))
    folder.mkdir()
    table = pd.DataFrame(rows, columns=["emotion", "pixels", "Usage"])
    table.to_csv(folder / "fer2013.csv", index=False)
    return folder


@pytest.fixture(scope="module")
def forms(tiny_faces: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Form -> a workspace in which build alone has run."""
    here = tmp_path_factory.mktemp("forms")
    folders = {
        "png": save_again(tiny_faces, here / "png", ".png"),
        "jpeg": save_again(tiny_faces, here / "jpeg", ".jpg"),
        "csv": to_csv(tiny_faces, here / "csv"),
    }
    return {form: build(folder, here / f"ws-{form}").root for form, folder in folders.items()}


@pytest.fixture
def target(forms: dict[str, Path], tmp_path: Path) -> Callable[[str], Workspace]:
    """A copy of the workspace of a form, free to change."""
    return lambda form: Workspace(Path(shutil.copytree(forms[form], tmp_path / form)))


def apply(workspace: Workspace, published: Path, *options: object, by: str = "me") -> str:
    done = call_curate(
        "apply", published / "curation", *options, "--by", by, "-w", workspace.root, "-j", "1"
    )
    assert done.exit_code == 0, done.output
    return str(done.stdout)


def originals(tiny_faces: Path, form: str, paths: "pd.Series[str]") -> list[str]:
    """The path in the published workspace of each path of a form."""
    files = sorted(tiny_faces.rglob("*.png"), reverse=form != "csv")
    numbers = [int(Path(path).stem) for path in paths]
    return [f"tiny/{files[number].relative_to(tiny_faces).as_posix()}" for number in numbers]


@pytest.mark.parametrize("form", ["png", "jpeg", "csv"])
def test_every_form_of_the_data_set_gets_the_same_verdicts_and_parts(
    form: str, published: Path, target: Callable[[str], Workspace], tiny_faces: Path
) -> None:
    workspace = target(form)
    story = apply(workspace, published)
    assert "47 of 47 images matched" in story
    assert ("0 lossy" in story) == (form != "jpeg")
    manifest = workspace.read()
    manifest = manifest.assign(original=originals(tiny_faces, form, manifest["path"]))
    expected = Workspace(published / "manifests").read().set_index("path")
    # Exact copies of one label differ in nothing; those of the drawn set are in one group each.
    single = ~manifest["original"].str.contains("copy.png|happy/[01].png")
    found = manifest[single].set_index("original")[VERDICTS].sort_index()
    pd.testing.assert_frame_equal(found, expected.loc[found.index, VERDICTS], check_names=False)
    copies = manifest[~single].set_index("original")[VERDICTS]
    assert sorted(copies.to_numpy().tolist()) == sorted(
        expected.loc[copies.index, VERDICTS].to_numpy().tolist()
    )
    assert call_curate("check", "-w", workspace.root).exit_code == 0
    audit = call_curate("audit", "-w", workspace.root).stdout.splitlines()[-1]
    assert "; split: 0 of" in audit
    assert {line.by for line in workspace.read_journal()} == {"a", "me"}


def test_a_second_apply_changes_nothing_and_the_undo_restores_every_table(
    published: Path, target: Callable[[str], Workspace]
) -> None:
    workspace = target("png")
    before = read_files(workspace.root)
    apply(workspace, published)
    applied = read_files(workspace.root)
    assert "nothing changed" in apply(workspace, published, by="you")
    assert read_files(workspace.root) == applied
    (line,) = list_applied(workspace.read_journal())
    assert call_curate("undo", line.batch, "-w", workspace.root).exit_code == 0
    undone = read_files(workspace.root)
    for name in ("manifest.csv", "sources.json", "receipts/build.json"):
        assert undone[name] == before[name]
    assert not {"pairs.csv", "receipts/dedup.json", "receipts/split.json"} & set(undone)
    undo = workspace.read_journal()[-1].batch
    assert call_curate("undo", undo, "-w", workspace.root).exit_code == 0
    again = read_files(workspace.root)
    for name in ("manifest.csv", "pairs.csv", "receipts/dedup.json"):
        assert again[name] == applied[name]


def test_what_an_applied_workspace_publishes_is_the_curation(
    published: Path, target: Callable[[str], Workspace], tmp_path: Path
) -> None:
    workspace = target("csv")
    apply(workspace, published)
    done = call_curate("publish", tmp_path / "again", "-w", workspace.root, "-j", "1")
    assert done.exit_code == 0
    done = call_curate("publish", "--diff", published / "curation", tmp_path / "again")
    assert done.stdout == "publish: no change from tiny 1.0 to other 1.0\n"
    first, second = (read_curation(f) for f in (published / "curation", tmp_path / "again"))
    for name in ("group", "quality", "status", "reason", "descriptor", "phash"):
        assert list(first.images[name]) == list(second.images[name])
    assert len(first.tables["pairs.csv"]) == len(second.tables["pairs.csv"])


def test_the_undo_leaves_what_a_stage_has_computed_since(
    published: Path, target: Callable[[str], Workspace]
) -> None:
    workspace = target("png")
    apply(workspace, published)
    assert call_curate("split", "--seed", "5", "-w", workspace.root).exit_code == 0
    own = workspace.read()["split"]
    (line,) = list_applied(workspace.read_journal())
    done = call_curate("undo", line.batch, "-w", workspace.root)
    assert done.exit_code == 0
    assert "what `curate split` found has changed since the curation was applied" in done.stderr
    assert list(workspace.read()["split"]) == list(own)
    assert set(workspace.read()["duplicate_group"]) == {""}


@pytest.mark.parametrize("name", ["applied.json", "facts.csv", "receipts/inspect.json"])
def test_an_undo_refuses_a_damaged_snapshot_and_names_the_way_out(
    published: Path, target: Callable[[str], Workspace], name: str
) -> None:
    workspace = target("png")
    assert call_curate("inspect", "-w", workspace.root, "-j", "1").exit_code == 0
    apply(workspace, published)
    applied = read_files(workspace.root)
    (line,) = list_applied(workspace.read_journal())
    folder = workspace.root / "applied" / line.batch
    (folder / name).write_bytes(applied[f"applied/{line.batch}/{name}"].replace(b"0", b"1"))
    for words in (("-n",), ()):
        done = call_curate("undo", line.batch, *words, "-w", workspace.root)
        assert done.exit_code == 1
        assert f"{folder}: is damaged" in done.stderr
    shutil.rmtree(folder)
    assert call_curate("undo", line.batch, "-w", workspace.root).exit_code == 0
    assert list_applied(workspace.read_journal()) == []


def test_a_dry_run_writes_nothing(published: Path, target: Callable[[str], Workspace]) -> None:
    workspace = target("jpeg")
    before = read_files(workspace.root)
    story = apply(workspace, published, "-n")
    assert "47 of 47 images matched" in story
    assert story.endswith("; one batch (dry run: nothing written)\n")
    assert read_files(workspace.root) == before


def test_an_own_verdict_counts_before_the_published_one(
    published: Path, target: Callable[[str], Workspace], tiny_faces: Path
) -> None:
    workspace = target("png")
    manifest = workspace.read()
    original = originals(tiny_faces, "png", manifest["path"])
    mine = manifest["path"][original.index("tiny/train/sad/2.png")]  # the curation drops it
    assert call_curate("decide", mine, "--drop", "--by", "me", "-w", workspace.root).exit_code == 0
    theirs = manifest["path"][original.index("tiny/train/sad/1.png")]  # relabelled: fear
    done = call_curate("decide", theirs, "--drop", "--by", "me", "-w", workspace.root)
    assert done.exit_code == 0
    done = call_curate("apply", published / "curation", "--by", "me", "-w", workspace.root)
    assert "the curation contradicts 1 verdict of this workspace" in done.stderr
    row = workspace.read().set_index("path").loc[theirs]
    assert (row["status"], row["reason"]) == ("drop", "human")
    assert {line.by for line in workspace.read_journal()} == {"me"}


def test_an_image_that_a_person_kept_and_the_split_leaves_out_is_named(
    published: Path, target: Callable[[str], Workspace], tiny_faces: Path
) -> None:
    workspace = target("png")
    manifest = workspace.read()
    original = originals(tiny_faces, "png", manifest["path"])
    curated = Workspace(published / "manifests").read()
    dropped = curated["path"][curated["reason"] == "near_copy"].iloc[0]
    copy = manifest["path"][original.index(dropped)]
    done = call_curate("decide", copy, "--label", "sad", "--by", "ann", "-w", workspace.root)
    assert done.exit_code == 0
    done = call_curate("apply", published / "curation", "--by", "bob", "-w", workspace.root)
    assert f"1 image that a person here has kept left out all the same ({copy})" in done.stderr
    assert workspace.read().set_index("path").at[copy, "status"] == "drop"


def test_another_split_is_applied_after_an_undo_and_official_ones_keep_what_they_hold(
    published: Path, target: Callable[[str], Workspace]
) -> None:
    workspace = target("csv")
    apply(workspace, published)
    done = call_curate(
        "apply", published / "curation", "--split", "official-no-copy", "-w", workspace.root
    )
    assert done.exit_code == 1
    (line,) = list_applied(workspace.read_journal())
    assert f"`curate undo {line.batch}` first" in done.stderr
    assert call_curate("undo", line.batch, "-w", workspace.root).exit_code == 0
    apply(workspace, published, "--split", "official-no-copy")
    table = read_curation(published / "curation").splits["official-no-copy"]
    kept = workspace.read().query("status == 'keep'")
    decided = 1  # by a person: dropped
    assert len(kept) == len(table) - decided
    assert kept["split"].value_counts()["test"] == (table["split"] == "test").sum()
    done = call_curate("apply", published / "curation", "--split", "official-no-exact")
    assert "it serves to score models of others; choose clean-60-20-20" in done.stderr
    done = call_curate("apply", published / "curation", "--split", "mine")
    assert "has no split 'mine': choose one of clean-60-20-20" in done.stderr


def test_a_withdrawn_or_foreign_picture_is_left_out_and_the_rest_is_applied(
    published: Path, forms: dict[str, Path], tmp_path: Path
) -> None:
    images = read_curation(published / "curation").images.set_index("place")
    gone = str(images.loc["tiny/train/surprise/1.png", "pixel_sha256"])
    done = call_curate(
        "publish", published / "curation", "--withdraw", gone, "-w", published / "manifests"
    )
    assert done.exit_code == 0
    workspace = Workspace(Path(shutil.copytree(forms["png"], tmp_path / "png")))
    story = apply(workspace, published)
    assert "46 of 47 images matched" in story
    assert "1 image left out" in story
    row = workspace.read().query(f"pixel_hash == '{gone}'").iloc[0]
    assert (row["status"], row["reason"], row["split"]) == ("drop", "human", "")
    assert workspace.read_journal()[-1].note == "not in the curation"


def test_the_ten_lines_of_the_page_join_a_split_with_a_csv(
    published: Path, tiny_faces: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = (Path(__file__).parent.parent / "docs/publish.md").read_text()
    (code,) = re.findall(r"```python\n(.*?)```", page, flags=re.DOTALL)
    shutil.copytree(published / "curation/splits", tmp_path / "splits")
    split = tmp_path / "splits/clean-60-20-20.csv"
    split.rename(split.with_name("clean-70-15-15.csv"))
    monkeypatch.chdir(to_csv(tiny_faces, tmp_path / "csv").parent)
    (tmp_path / "csv/fer2013.csv").rename(tmp_path / "fer2013.csv")
    found: dict[str, pd.DataFrame] = {}
    exec(code, found)
    joined = found["joined"].dropna(subset="split")
    table = read_curation(published / "curation").splits["clean-60-20-20"]
    for column in ("split", "label", "given_label", "pixel_sha256"):
        assert sorted(joined[column]) == sorted(table[column])
    assert len(found["joined"]) == 47


def draw_ck(folder: Path, seed: int, people: int = 6) -> Path:
    """Drawn faces as CK+48: class folders of SUBJECT_SEQUENCE_FRAME.png."""
    for number in range(people):
        for label in ("anger", "happy", "surprise"):
            expression = {"anger": "angry"}.get(label, label)
            for frame in range(2):
                face = draw_face(
                    expression, identity=number, seed=seed + 9 * number + frame, intensity=0.9
                )
                file = folder / "CK+48" / label / f"S{number:03d}_001_{frame:08d}.png"
                file.parent.mkdir(parents=True, exist_ok=True)
                cv2.imwrite(str(file), face)
    return folder


@pytest.fixture(scope="module")
def ck(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A second data set, with subjects: its faces, its workspace and its curation."""
    here = tmp_path_factory.mktemp("ck")
    draw_ck(here / "faces", seed=500)
    words = ("-w", here / "manifests")
    for command in (
        ("build", f"ck={here / 'faces'}", "-j", "1"), ("inspect", "-j", "1"), ("dedup", "-j", "1"),
        ("split", "--by-subject"), ("publish", here / "curation", "-j", "1"),
    ):  # fmt: skip
        done = call_curate(*command, *words)
        assert done.exit_code == 0, done.output
    return here


def test_a_second_data_set_with_subjects_is_published_and_applied(ck: Path, tmp_path: Path) -> None:
    curation = read_curation(ck / "curation")
    assert curation.record["sources"]["ck"]["layout"] == "ckplus48"
    assert list(curation.splits) == ["clean-70-15-15"]
    assert curation.images["subject"].nunique() == 6
    assert call_curate("publish", "--check", ck / "curation").exit_code == 0
    copy = save_again(ck / "faces", tmp_path / "copy", ".jpg")
    workspace = build(copy, tmp_path / "ws")
    assert "36 of 36 images matched (0 by their pixels, 36 lossy" in apply(workspace, ck)
    expected = Workspace(ck / "manifests").read()
    assert sorted(workspace.read()["split"]) == sorted(expected["split"])


def without_cache(files: Mapping[str, bytes]) -> dict[str, bytes]:
    """Without what can be made again."""
    return {name: data for name, data in files.items() if not name.startswith(".cache/")}


def test_another_data_set_is_refused_and_so_is_a_part_unless_it_is_wanted(
    ck: Path, target: Callable[[str], Workspace], tmp_path: Path
) -> None:
    workspace = target("png")
    before = read_files(workspace.root)
    done = call_curate("apply", ck / "curation", "-w", workspace.root, "-j", "1")
    assert done.exit_code == 1
    assert "0 of 47 images (0.0 %) are in ck 1.0, a curation of ck: this is another" in done.stderr
    assert without_cache(read_files(workspace.root)) == without_cache(before)
    mixed = Path(shutil.copytree(ck / "faces", tmp_path / "mixed"))
    draw_ck(mixed / "more", seed=5000, people=9)
    for file in (mixed / "more/CK+48").rglob("*.png"):
        shutil.move(file, mixed / "CK+48" / file.parent.name / f"S9{file.name[2:]}")
    shutil.rmtree(mixed / "more")
    other = build(mixed, tmp_path / "ws")
    done = call_curate("apply", ck / "curation", "-w", other.root, "-j", "1")
    assert "or apply it to what is there with --allow-partial" in done.stderr
    story = apply(other, ck, "--allow-partial")
    assert f"{len(other.read()) - 36} images left out" in story
    assert (other.read()["status"] == "keep").sum() == 36
    assert call_curate("check", "-w", other.root).exit_code == 0


@pytest.mark.parametrize("how", ["table", "law", "schema"])
def test_a_curation_that_was_tampered_with_is_refused_with_the_way_out(
    how: str, published: Path, target: Callable[[str], Workspace]
) -> None:
    workspace = target("csv")
    before = read_files(workspace.root)
    folder = published / "curation"
    record = json.loads((folder / "curation.json").read_text())
    file = folder / "splits/clean-60-20-20.csv"
    if how == "schema":
        record["schema"] = 0
    else:
        file.write_text(file.read_text().replace(",train", ",test", 1))
    if how == "law":  # the forger has set the digests too
        record.pop("record_sha256")
        record["tables"]["splits/clean-60-20-20.csv"]["sha256"] = hashlib.sha256(
            file.read_bytes()
        ).hexdigest()
    data = record_bytes(record) if how == "law" else json.dumps(record).encode()
    (folder / "curation.json").write_bytes(data)
    done = call_curate("apply", folder, "-w", workspace.root)
    message = {
        "table": "so it is not as it was published: take an untouched copy of the curation",
        "law": "law is broken (splits/clean-60-20-20.csv",
        "schema": "schema 0, and this version of Candid reads schema 1: publish it again",
    }[how]
    assert done.exit_code == 1
    assert message in done.stderr
    assert read_files(workspace.root) == before


def test_a_command_that_is_killed_after_the_batch_is_undone_to_the_byte(
    published: Path, target: Callable[[str], Workspace], monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace = target("csv")
    before = read_files(workspace.root)["manifest.csv"]

    def die(*_: object, **__: object) -> None:
        raise WorkspaceError("killed")

    with monkeypatch.context() as patch:
        patch.setattr(stage, "write_derived", die)
        done = call_curate("apply", published / "curation", "-w", workspace.root)
        assert done.exit_code == 1
    (line,) = list_applied(workspace.read_journal())
    assert call_curate("undo", line.batch, "-w", workspace.root).exit_code == 0
    assert read_files(workspace.root)["manifest.csv"] == before
    assert "47 of 47" in apply(workspace, published)


def test_killed_before_the_receipts_a_second_apply_writes_them(
    published: Path, target: Callable[[str], Workspace], monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace = target("csv")

    def die(*_: object, **__: object) -> None:
        raise WorkspaceError("killed")

    with monkeypatch.context() as patch:
        patch.setattr(stage, "write_receipt", die)
        assert call_curate("apply", published / "curation", "-w", workspace.root).exit_code == 1
    assert "dedup" not in read_receipts(workspace.root)
    journal = workspace.journal.read_bytes()
    assert "nothing changed" in apply(workspace, published)
    assert {"inspect", "dedup", "split"} <= set(read_receipts(workspace.root))
    assert workspace.journal.read_bytes() == journal
    (line,) = list_applied(workspace.read_journal())
    assert call_curate("undo", line.batch, "-w", workspace.root).exit_code == 0
    assert "dedup" not in read_receipts(workspace.root)


def rows_of(*faces: np.ndarray, labels: str, splits: tuple[str, ...] = ()) -> pd.DataFrame:
    """A manifest or images.csv of faces; a label is a letter."""
    names = {"s": "sad", "h": "happy", "f": "fear"}
    hashes = [f"{face.tobytes()[:32].hex():0<64}" for face in faces]
    return pd.DataFrame(
        {
            "path": [f"x/{k}.png" for k in range(len(faces))],
            "pixel_hash": hashes,
            "pixel_sha256": hashes,
            "given_label": [names[letter] for letter in labels],
            "source_split": list(splits) or [""] * len(faces),
            "phash": ["0" * 16] * len(faces),
            "descriptor": to_text(describe(np.stack(faces))),
        }
    )


@pytest.fixture(scope="module")
def faces() -> list[np.ndarray]:
    return [draw_face("happy", identity=k, seed=k, intensity=0.9) for k in range(3)]


def match(here: pd.DataFrame, images: pd.DataFrame, faces: list[np.ndarray]) -> list[str]:
    """`ROW STATE` of each image."""
    codes = describe(np.stack(faces))
    found = match_images(here, images, 64, lambda rows: codes[rows])
    return [f"{row} {state}" for row, state in zip(found.row, found.state, strict=True)]


def test_inside_an_exact_group_the_given_label_chooses(faces: list[np.ndarray]) -> None:
    a, b, _ = faces
    images = rows_of(a, a, b, labels="shh")
    here = rows_of(b, a, a, labels="shs")
    # One picture, one row: it is known whatever its label is here.
    assert match(here, images, [b, a, a]) == ["2 exact", "1 exact", "0 exact"]
    assert match(rows_of(a, a, labels="ff"), images, [a, a]) == ["-1 ambiguous"] * 2


def test_no_row_is_given_to_two_images_and_the_split_chooses_first(faces: list[np.ndarray]) -> None:
    a, _, _ = faces
    images = rows_of(a, a, labels="ss", splits=("train", "test"))
    here = rows_of(a, a, a, labels="sss", splits=("test", "train", "train"))
    assert match(here, images, [a, a, a]) == ["1 exact", "0 exact", "-1 ambiguous"]


def test_a_lossy_copy_of_two_images_that_are_nearly_alike_is_ambiguous(
    faces: list[np.ndarray],
) -> None:
    a, b, c = faces
    twin = a.copy()
    twin[40, 40] ^= 1
    lossy = cv2.imdecode(cv2.imencode(".jpg", a)[1], cv2.IMREAD_GRAYSCALE)
    twin[0, 0] ^= 1  # another hash
    images = rows_of(a, twin, b, labels="sss")
    here = rows_of(lossy, c, labels="ss")
    assert match(here, images, [lossy, c]) == ["-1 ambiguous", "-1 unmatched"]
    # The given label decides between the two.
    labelled = images.assign(given_label=["sad", "happy", "sad"])
    assert match(here.head(1), labelled, [lossy]) == ["0 lossy"]
