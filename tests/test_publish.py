"""`curate publish`: a workspace as tables keyed by pixel hashes, without one picture."""

import hashlib
import io
import json
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from conftest import Curate, read_files

from curate.errors import WorkspaceError
from curate.files import record_bytes, write_atomically
from curate.publish import curation as curation_file
from curate.publish.curation import Curation, read_curation
from curate.publish.descriptor import COEFFICIENTS, describe, from_text, measure_distance, to_text
from curate.publish.schema import KEY, natural_key
from curate.publish.splits import name_clean, split_tables
from curate.workspace.workspace import Workspace


def run(curate: Curate, published: Path, *arguments: object) -> str:
    done = curate(
        "publish", published / "curation", *arguments, "-w", published / "manifests", "-j", "1"
    )
    assert done.exit_code == 0, done.output
    return str(done.stdout)


def read(published: Path) -> Curation:
    return read_curation(published / "curation")


def test_the_hash_and_the_place_of_a_row_are_those_of_its_pixels_and_its_file(
    published: Path, tiny_faces: Path
) -> None:
    face = cv2.imread(str(tiny_faces / "train/sad/1.png"), cv2.IMREAD_GRAYSCALE)
    expected = hashlib.sha256(b"(48, 48)" + face.tobytes()).hexdigest()
    row = read(published).images.set_index("place").loc["tiny/train/sad/1.png"]
    assert row["pixel_sha256"] == expected
    assert (row["given_label"], row["status"], row["reason"]) == ("sad", "keep", "human")
    assert row["descriptor"] == to_text(describe(face[None]))[0]


def test_every_readable_image_is_listed_once_sorted_by_its_key(published: Path) -> None:
    images = read(published).images
    manifest = Workspace(published / "manifests").read()
    assert sorted(images["place"]) == sorted(manifest["path"])
    assert not images.duplicated(KEY).any()
    assert images[KEY].to_numpy().tolist() == sorted(images[KEY].to_numpy().tolist())
    blank = images[images["quality"] != ""]
    assert list(blank["place"]) == ["tiny/train/angry/blank.png"]
    assert list(blank["reason"]) == ["degenerate"]


def test_copies_name_their_group_and_the_kept_copy(published: Path) -> None:
    images = read(published).images.set_index("place")
    copy, original = images.loc["tiny/train/happy/copy.png"], images.loc["tiny/train/happy/0.png"]
    assert copy["group"] == original["group"] == original["pixel_sha256"][:16]
    assert {copy["copy_of"], original["copy_of"]} == {"", "tiny/train/happy/0.png"}
    assert {copy["occurrence"], original["occurrence"]} == {"0", "1"}
    conflict = images.loc["tiny/train/fear/conflict.png"]
    assert conflict["pixel_sha256"] == images.loc["tiny/train/sad/0.png", "pixel_sha256"]
    assert conflict["occurrence"] == "0"  # its given label is another


def test_labels_have_the_verdicts_of_people_and_the_suspicions_of_models(published: Path) -> None:
    labels = read(published).tables["labels.csv"]
    by_people = labels[labels["verdict"] != ""]
    columns = ["verdict", "verdict_label", "verdict_by"]
    assert sorted(by_people[columns].to_numpy().tolist()) == [
        ["drop", "", "a"], ["relabel", "fear", "a"],
    ]  # fmt: skip
    manifest = Workspace(published / "manifests").read()
    ranks = labels.loc[labels["suspicion_rank"] != "", "suspicion_rank"]
    assert sorted(map(int, ranks)) == list(range(1, (manifest["issue_rank"] != "").sum() + 1))
    assert set(labels["machine_by"]) == {""}


def test_the_official_splits_lose_the_leaks_and_nothing_else(published: Path) -> None:
    splits = read(published).splits
    assert list(splits) == ["clean-60-20-20", "official-no-copy", "official-no-exact"]
    place = read(published).images.set_index(KEY)["place"]

    def places(name: str) -> set[str]:
        return set(place.loc[list(map(tuple, splits[name][KEY].to_numpy()))])

    everything = set(place)
    # test/happy/copy.png has the pixels of train/happy/1.png, train/sad/near.png is test/sad/0.png
    assert everything - places("official-no-exact") == {"tiny/test/happy/copy.png"}
    assert everything - places("official-no-copy") >= {
        "tiny/test/happy/copy.png", "tiny/test/sad/0.png",
    }  # fmt: skip


def test_the_clean_split_is_the_one_of_the_workspace(published: Path) -> None:
    clean = read(published).splits["clean-60-20-20"]
    manifest = Workspace(published / "manifests").read()
    kept = manifest[manifest["status"] == "keep"]
    assert clean["split"].value_counts().to_dict() == kept["split"].value_counts().to_dict()
    assert sorted(clean["label"]) == sorted(kept["label"])


def test_an_unchanged_workspace_gives_the_same_bytes_without_a_date_or_a_path(
    published: Path, curate: Curate, tmp_path: Path
) -> None:
    before = read_files(published / "curation")
    assert "0 files changed" in run(curate, published)
    assert read_files(published / "curation") == before
    done = curate("publish", tmp_path / "new", "-w", published / "manifests", "-j", "1")
    assert done.exit_code == 0
    assert read_files(tmp_path / "new") == before
    assert all(b"\r" not in data and b"/tmp" not in data for data in before.values())


def test_a_dry_run_writes_nothing(published: Path, curate: Curate) -> None:
    before = read_files(published)
    run(curate, published, "--name", "other", "-n")
    assert read_files(published) == before


def test_name_version_and_licence_stay_until_others_are_named(
    published: Path, curate: Curate
) -> None:
    run(curate, published, "--name", "Faces", "--version", "2.0", "--licence", "CC-BY-4.0")
    run(curate, published)
    record = read(published).record
    assert [record[name] for name in ("name", "version", "licence")] == [
        "Faces", "2.0", "CC-BY-4.0",
    ]  # fmt: skip
    assert record["cite"].startswith("Faces 2.0, a curation made with Candid")
    counts = record["sources"]["tiny"]["counts"]
    assert sum(sum(classes.values()) for classes in counts.values()) == 47


def test_a_withdrawn_picture_is_in_no_table_and_stays_out(published: Path, curate: Curate) -> None:
    images = read(published).images.set_index("place")
    gone = str(images.loc["tiny/train/happy/0.png", "pixel_sha256"])
    run(curate, published, "--withdraw", gone)
    run(curate, published)
    tables = read_files(published / "curation")
    assert tables.pop("withdrawn.csv").decode() == f"pixel_sha256\n{gone}\n"
    assert all(gone.encode() not in data for data in tables.values())
    assert len(read(published).images) == 45  # both copies
    assert read(published).record["withdrawn"] == 2


def test_a_hash_that_is_none_is_refused(published: Path, curate: Curate) -> None:
    before = read_files(published)
    done = curate(
        "publish", published / "curation", "--withdraw", "me", "-w", published / "manifests"
    )
    assert done.exit_code == 1
    assert "--withdraw: 1 text is no pixel hash (first: me)" in done.stderr
    assert read_files(published) == before


def test_a_hash_of_no_picture_here_withdraws_nothing(published: Path, curate: Curate) -> None:
    before = read_files(published)
    rows = Workspace(published / "manifests").read().set_index("path")
    row = rows.loc["tiny/train/happy/2.png"]
    words = ("publish", published / "curation", "-w", published / "manifests", "--withdraw")
    of_file = curate(*words, row["sha256"])
    assert (of_file.exit_code, of_file.stdout) == (2, "")
    assert of_file.stderr == (
        f"curate: --withdraw {row['sha256']}: is the pixel hash of no picture here: it is the "
        f"sha256 of tiny/train/happy/2.png: give {row['pixel_hash']}\n"
    )
    mistyped = curate(*words, "f" * 64)
    assert "is the pixel hash of no picture here: give its pixel_hash" in mistyped.stderr
    assert read_files(published) == before


def test_copies_of_a_withdrawn_picture_are_named(published: Path, curate: Curate) -> None:
    rows = Workspace(published / "manifests").read().set_index("path")
    near = rows.loc["tiny/train/sad/near.png"]
    words = ("publish", published / "curation", "-w", published / "manifests", "--withdraw")
    done = curate(*words, near["pixel_hash"])
    assert done.exit_code == 0
    original = rows.at["tiny/test/sad/0.png", "pixel_hash"]
    assert "1 copy of withdrawn pictures still published (tiny/test/sad/0.png)" in done.stderr
    assert f"add --withdraw {original}" in done.stderr
    assert "still published" not in curate(*words, original).stderr
    # What is published and no longer here can be withdrawn as well.
    assert read(published).record["withdrawn"] == 2


def test_splits_without_near_copies_need_a_look_for_them(
    built: Workspace, curate: Curate, tmp_path: Path
) -> None:
    words = ("-w", built.root)
    assert curate("dedup", "--exact-only", *words).exit_code == 0
    noted = "dedup has looked for exact copies alone"
    assert noted in curate("split", "--from-source", *words).stderr
    assert noted in curate("audit", *words).stderr
    done = curate("publish", tmp_path / "curation", *words)
    assert done.exit_code == 1
    assert noted in done.stderr
    assert curate("dedup", "-j", 1, *words).exit_code == 0
    assert noted not in curate("audit", *words).stderr
    assert curate("split", "--from-source", *words).exit_code == 0
    assert curate("publish", tmp_path / "curation", *words).exit_code == 0


def test_a_split_whose_receipt_is_gone_has_no_ratios_in_its_name(
    published: Path, curate: Curate
) -> None:
    (published / "manifests" / "receipts" / "split.json").unlink()
    run(curate, published)
    assert "clean" in read(published).splits
    assert "clean-70-15-15" not in read(published).splits


def test_fewer_digits_make_smaller_tables_with_the_starts_of_the_hashes(
    published: Path, curate: Curate
) -> None:
    whole = read(published)
    run(curate, published, "--digits", "16")
    short = read(published)
    assert list(short.images["pixel_sha256"]) == list(whole.images["pixel_sha256"].str[:16])
    assert short.digits == 16


def test_publishing_replaces_no_workspace_and_no_table_of_others(
    published: Path, curate: Curate, tmp_path: Path
) -> None:
    before = read_files(published)
    done = curate("publish", published / "manifests", "-w", published / "manifests")
    assert "holds a workspace: name a new folder" in done.stderr
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "labels.csv").write_text("mine\n")
    done = curate("publish", mine, "-w", published / "manifests")
    assert "holds labels.csv that is no part of a curation: name a new folder" in done.stderr
    assert done.exit_code == 1
    assert read_files(published) == before


@pytest.mark.parametrize("written", [1, 3])
def test_a_publishing_that_was_killed_is_refused_until_it_is_done_again(
    published: Path, curate: Curate, monkeypatch: pytest.MonkeyPatch, written: int
) -> None:
    workspace = published / "manifests"
    assert curate("split", "--seed", "3", "-w", workspace).exit_code == 0
    done = curate("decide", "tiny/train/sad/3.png", "--drop", "--by", "b", "-w", workspace)
    assert done.exit_code == 0
    names: list[str] = []

    def write_or_die(file: Path, data: bytes) -> bool:
        names.append(file.name)
        if len(names) > written:
            raise WorkspaceError("killed")
        return write_atomically(file, data)

    with monkeypatch.context() as patch:
        patch.setattr(curation_file, "write_atomically", write_or_die)
        done = curate("publish", published / "curation", "-w", workspace, "-j", "1")
        assert done.exit_code == 1
    with pytest.raises(WorkspaceError, match="`curate publish` it again"):
        read(published)
    run(curate, published)
    assert "every law holds" in run(curate, published, "--check")


def test_a_workspace_without_copies_known_is_refused(
    built: Workspace, curate: Curate, tmp_path: Path
) -> None:
    done = curate("publish", tmp_path / "curation", "-w", built.root)
    assert done.exit_code == 1
    assert "run `curate dedup` first" in done.stderr
    assert not (tmp_path / "curation").exists()


def test_the_probabilities_of_images_that_flag_has_not_ranked_are_not_published(
    built: Workspace, curate: Curate, tmp_path: Path
) -> None:
    assert curate("dedup", "-w", built.root, "-j", "1").exit_code == 0
    paths = built.read()["path"]
    issues = pd.DataFrame({"path": paths, "issue_rank": "1", "error_probability": "0.990000"})
    issues.to_csv(built.root / "issues.csv", index=False)
    done = curate("publish", tmp_path / "curation", "-w", built.root, "-j", "1")
    assert done.exit_code == 0, done.stderr
    labels = pd.read_csv(tmp_path / "curation" / "labels.csv", dtype=str, keep_default_na=False)
    assert set(labels["error_probability"]) <= {""}


def test_a_split_of_an_earlier_publishing_goes_with_its_name(
    published: Path, curate: Curate
) -> None:
    done = curate("split", "--ratios", "80", "10", "10", "-w", published / "manifests")
    assert done.exit_code == 0
    run(curate, published)
    assert [name for name in read(published).splits if name.startswith("clean")] == [
        "clean-80-10-10"
    ]
    assert not (published / "curation/splits/clean-60-20-20.csv").exists()


def test_the_name_of_the_clean_split_has_ratios_and_class_view() -> None:
    assert name_clean({}) == "clean-70-15-15"
    assert name_clean({"ratios": [0.8, 0.1, 0.1]}) == "clean-80-10-10"
    assert name_clean({"ratios": [62.5, 12.5, 25]}) == "clean-62_5-12_5-25"
    assert name_clean({"from_source": True, "view": "5"}) == "clean-from-source-5"


def test_no_photograph_is_in_two_parts_of_official_no_copy() -> None:
    rows = pd.DataFrame(
        [
            ("a", "train", "g"), ("b", "val", "g"), ("c", "test", "h"), ("d", "val", "h"),
            ("e", "val", ""), ("a", "test", "g"), ("f", "test", ""),
        ],
        columns=["pixel_hash", "source_split", "duplicate_group"],
    )  # fmt: skip
    rows = rows.assign(pixel_sha256=rows["pixel_hash"], given_label="sad", label="sad")
    rows = rows.assign(occurrence=["0", "0", "0", "0", "0", "1", "0"], status="keep", split="")
    splits = split_tables(rows, {})
    assert list(splits["official-no-exact"]["pixel_sha256"]) == list("abcdef")
    assert list(splits["official-no-copy"]["pixel_sha256"]) == list("acef")


def test_numbers_in_names_count_as_numbers() -> None:
    names = ["s/10", "s/9", "s/9b", "s/a/im2.png", "s/a/im10.png", "s/"]
    assert sorted(names, key=natural_key) == [
        "s/", "s/9", "s/9b", "s/10", "s/a/im2.png", "s/a/im10.png",
    ]  # fmt: skip


def test_the_descriptor_knows_a_jpeg_from_other_faces_and_is_read_back(tiny_faces: Path) -> None:
    files = sorted((tiny_faces / "test").glob("*/0.png"))
    faces = np.stack([cv2.imread(str(file), cv2.IMREAD_GRAYSCALE) for file in files])
    saved = []
    for face in faces:
        data = cv2.imencode(".jpg", face, [cv2.IMWRITE_JPEG_QUALITY, 85])[1]
        saved.append(cv2.imdecode(data, cv2.IMREAD_GRAYSCALE))
    codes, lossy = describe(faces), describe(np.stack(saved))
    assert codes.shape == (len(files), COEFFICIENTS)
    assert from_text(to_text(codes)).tolist() == (np.rint(codes) % 16).tolist()
    distance = measure_distance(lossy[:, None], codes[None])
    assert distance.argmin(axis=1).tolist() == list(range(len(files)))
    others = distance + 1000 * np.eye(len(files))
    assert distance.diagonal().max() < others.min() / 2


def test_the_first_digit_is_the_mean_in_steps_of_four_and_half_a_step_is_rounded_to_even() -> None:
    plain = np.full((48, 48), 127, np.uint8)  # 127 * 48 / 4 = 1524 = 95 * 16 + 4
    half = plain.copy()
    half[0, 0] += 96  # half a step more
    one_and_a_half = plain.copy()
    one_and_a_half[0, :3] += 96
    texts = to_text(describe(np.stack([plain, half, one_and_a_half])))
    assert texts[0] == "4" + "0" * 27
    assert [text[0] for text in texts] == ["4", "4", "6"]


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("images.csv", lambda text: text.replace("keep", "drop", 1), "does not have the digest"),
        ("curation.json", lambda text: text.replace('"1.0"', '"1.1"'), "was changed after"),
        ("curation.json", lambda text: text.replace('"schema": 1', '"schema": 0'), "publish it"),
        ("curation.json", lambda text: text.replace('"schema": 1', '"schema": 2'), "update Candid"),
        ("curation.json", lambda text: text[:50], "no curation"),
        ("splits/clean-60-20-20.csv", lambda text: text[:200], "does not have the digest"),
    ],
)
def test_a_damaged_curation_is_refused_with_the_way_out(
    published: Path, name: str, change: object, message: str
) -> None:
    file = published / "curation" / name
    before = file.read_text()
    file.write_text(change(before))  # type: ignore[operator]
    assert file.read_text() != before
    with pytest.raises(WorkspaceError, match=message):
        read(published)


@pytest.mark.parametrize(
    "values",
    [
        {"sources": []}, {"splits": {"x": 1}}, {"stages": {"split": "x"}}, {"withdrawn": "0"},
        {"tables": {}}, {"pixel_sha256": {}}, {"cite": None}, {"default_split": None},
    ],
)  # fmt: skip
def test_a_record_of_other_fields_is_refused(published: Path, values: dict[str, object]) -> None:
    file = published / "curation/curation.json"
    record = json.loads(file.read_text())
    record.pop("record_sha256")
    file.write_bytes(record_bytes(record | values))
    with pytest.raises(WorkspaceError, match=r"curation.json: fields are missing"):
        read(published)


def test_a_table_that_is_not_of_the_record_is_not_read(published: Path) -> None:
    record = json.loads((published / "curation/curation.json").read_text())
    assert sorted(record["tables"]) == sorted(read(published).tables)
    data = (published / "curation/images.csv").read_bytes()
    assert len(pd.read_csv(io.BytesIO(data))) == record["tables"]["images.csv"]["rows"]
