"""A damaged, unreadable or changed file: one line that names the fix, or a note, never silence.

A few hundred cases of the fuzzer of `benchmarks/damaged_files.py`, and what each kind of file is
promised (docs/security.md, "Damaged files").
"""

import json
import os
import random
import re
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import Curate, read_files
from damage import CONTENT, DAMAGES, Case, Fuzzer, damage, obey_modes
from damage_templates import CURATE, make_curated

from curate.files import (
    SEAL_BYTES,
    append_seal,
    holds_seal,
    load_record,
    record_bytes,
    seal,
    unseal,
    write_watched,
)
from curate.images.thumbnails import read_array
from curate.stderr import forget_changes, print_notes
from curate.workspace.receipts import read_receipts
from curate.workspace.workspace import Workspace

CASES = 120
# In a fifth of a second and less; `make bench` runs the others too.
FAST = [words for words in CURATE if words[0] not in ("report", "dedup", "export", "relabel")]


@pytest.fixture(scope="module")
def curated(finished_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The finished workspace with caches, a report, another journal and a table of decisions."""
    return make_curated(finished_template, tmp_path_factory.mktemp("curated") / "ws")


@pytest.fixture(scope="module")
def fuzzer(curated: Path, tmp_path_factory: pytest.TempPathFactory) -> Fuzzer:
    return Fuzzer(curated, tmp_path_factory.mktemp("fuzzed"))


@pytest.mark.parametrize("part", range(4))
def test_no_command_ends_in_a_traceback_or_gives_another_result_in_silence(
    fuzzer: Fuzzer, part: int
) -> None:
    found = []
    for number in range(part, CASES, 4):
        chance = random.Random(number)
        words = (*chance.choice(FAST), "-w", "{ws}")
        file = chance.choice(fuzzer.list_read("curate", words))
        case = Case("curate", words, file, chance.choice((*DAMAGES, *CONTENT)), number)
        verdict = fuzzer.run(case)
        if verdict.finding:
            found.append(f"{case.name}: {verdict.finding}\n{verdict.text}")
    assert not found, "\n\n".join(found)


def test_the_fuzzer_notices_a_result_that_changed_in_silence(
    fuzzer: Fuzzer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("curate.files.note_once", lambda _: None)
    words = ("fold", "--k", "3", "-w", "{ws}")
    found = {
        fuzzer.run(Case("curate", words, "manifest.csv", "with another digit", seed)).finding
        for seed in range(12)
    }
    assert "silent" in found


# The kinds of digests


def test_a_sealed_file_holds_until_any_byte_changes(tmp_path: Path) -> None:
    file, data = tmp_path / "a", random.Random(0).randbytes(5000)
    file.write_bytes(seal(data))
    assert holds_seal(file) is True
    assert unseal(file.read_bytes()) == data
    for place in range(0, len(data), 250):
        damaged = bytearray(seal(data))
        damaged[place] ^= 1
        file.write_bytes(damaged)
        assert holds_seal(file) is False
        assert unseal(bytes(damaged)) is None
    for text in (data, b"", seal(data)[:-1], seal(data) + b"x"):  # no seal at the end
        file.write_bytes(text)
        assert holds_seal(file) is None
        assert unseal(text) is None
    file.write_bytes(data)
    append_seal(file)
    assert file.read_bytes() == seal(data)
    assert len(seal(b"")) == SEAL_BYTES


def test_a_record_is_read_as_it_was_written_and_a_note_names_one_that_was_changed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    forget_changes()
    file = tmp_path / "record.json"
    values = {"b": [1, 2.5, float("inf")], "a": {"é": None}, "10": True, "9": "x"}
    file.write_bytes(record_bytes(values))
    assert load_record(file) == values
    assert list(load_record(file)) == list(values)
    assert capsys.readouterr().err == ""
    file.write_text(json.dumps(values))  # of an earlier version: without a digest
    assert load_record(file) == values
    print_notes()
    assert capsys.readouterr().err == ""
    file.write_bytes(record_bytes(values).replace(b"2.5", b"2.6"))
    for _ in range(2):
        assert load_record(file)["b"][1] == 2.6
        print_notes()
    assert capsys.readouterr().err == (
        f"{file}: was changed after Candid wrote it, and results may differ: restore it from a "
        "copy unless you edited it\n"
    )


def test_a_deeply_nested_record_is_no_traceback(tmp_path: Path) -> None:
    file = tmp_path / "record.json"
    for text in ("[" * 100_000, '{"a":' * 100_000):
        file.write_text(text)
        with pytest.raises(ValueError, match="nested too deeply"):
            load_record(file)


def test_a_manifest_that_another_program_changed_is_noted_until_the_next_stage(
    curate: Curate, finished: Workspace
) -> None:
    assert curate("status", "-w", finished.root).stderr == ""
    text = finished.manifest.read_text()
    changed = re.sub(r"(tiny/train/sad/1.png.*),train\n", r"\1,test\n", text)
    assert changed != text
    finished.manifest.write_text(changed)
    note = (
        f"{finished.manifest}: was changed by another program since Candid wrote it: restore it "
        "from a copy unless you edited it\n"
    )
    for _ in range(2):
        assert curate("status", "-w", finished.root).stderr == note
    assert note in curate("split", "-w", finished.root).stderr
    assert curate("status", "-w", finished.root).stderr == ""


def test_a_kill_between_the_digest_and_the_manifest_makes_no_note(tmp_path: Path) -> None:
    from curate.files import note_if_changed

    file = tmp_path / "a.csv"
    for data in (b"1", b"2", b"3"):
        write_watched(file, data)
        watch = tmp_path / ".cache" / "a.csv.sha256"
        later = watch.read_bytes()
        write_watched(file, data + b"+")
        file.write_bytes(data)  # as if the second write had been killed
        note_if_changed(file, data)
        assert watch.read_bytes() != later


TABLES = {
    "pairs.csv": ("audit", "--csv"),
    "label_errors.csv": ("report",),
    "predictions/net.csv": ("flag",),
}


@pytest.mark.parametrize("name", list(TABLES))
def test_a_table_that_is_not_as_its_stage_wrote_it_is_noted(
    curate: Curate, finished: Workspace, name: str
) -> None:
    assert curate(*TABLES[name], "-w", finished.root).stderr == ""
    file = finished.root / name
    text = file.read_text()
    digit = re.search(r"0\.\d{3}", text) or re.search(r"\d", text)
    assert digit is not None
    other = digit[0][:-1] + str((int(digit[0][-1]) + 1) % 10)
    file.write_text(text[: digit.start()] + other + text[digit.end() :])
    result = curate(*TABLES[name], "-w", finished.root)
    assert str(file) in result.stderr
    assert "unless you" in result.stderr


def test_a_damaged_cache_of_faces_is_made_again_with_a_note(
    curate: Curate, curated: Path, tmp_path: Path
) -> None:
    root = Path(shutil.copytree(curated, tmp_path / "ws"))
    shards = sorted((root / ".cache" / "thumbnails").glob("48-*.npy"))
    before = {shard: shard.read_bytes() for shard in shards}
    assert shards
    for shard in shards:
        data = bytearray(shard.read_bytes())
        data[len(data) // 2] ^= 255
        shard.write_bytes(data)
        assert read_array(shard) is None
    result = curate("dedup", "-j", "1", "-w", root)
    assert result.exit_code == 0
    assert "so it is made again" in result.stderr
    assert {shard: shard.read_bytes() for shard in shards} == before
    assert curate("dedup", "-j", "1", "-w", root).stderr == ""


@pytest.mark.parametrize("name", ["counts", "options", "reads", "outputs"])
def test_a_receipt_of_another_form_is_refused_by_its_name(
    curate: Curate, finished: Workspace, name: str
) -> None:
    for stage in read_receipts(finished.root):
        file = finished.root / "receipts" / f"{stage}.json"
        whole = file.read_text()
        for value in (None, 1, [], "x", {"k": float("nan"), "errors": 1, "ratios": 1}):
            file.write_text(json.dumps(json.loads(whole) | {name: value}))
            result = curate("status", "-w", finished.root)
            assert not isinstance(result.exception, ValueError | TypeError | KeyError)
            assert result.exit_code in (0, 1)
            if result.exit_code:
                assert result.stderr.splitlines()[-1].startswith(f"curate: {file}: no receipt (")
                assert result.stderr.endswith("remove it and run the stage again\n")
            else:
                assert str(file) in result.stderr
        file.write_text(whole)


SOURCES = {
    "a number": {"tiny": {"root": 7}},
    "a list": {"tiny": []},
    "no root": {"tiny": {"layout": "folder"}},
    "a zero byte": {"tiny": {"root": "/tmp/\0", "layout": "folder"}},
    "an empty root": {"tiny": {"root": "", "layout": "folder"}},
}


@pytest.mark.parametrize("kind", list(SOURCES))
def test_a_record_of_sources_that_no_build_wrote_is_refused_by_its_field(
    curate: Curate, finished: Workspace, kind: str
) -> None:
    finished.sources.write_text(json.dumps(SOURCES[kind]))
    for command in (("inspect", "-j", "1"), ("check",), ("build", "-j", "1")):
        result = curate(*command, "-w", finished.root)
        assert result.exit_code == 1
        assert result.stderr.startswith(
            f"curate: {finished.sources}: source 'tiny': root is no text"
        )
        assert result.stderr.endswith("run `curate build tiny=FOLDER` again\n")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("neutral_frames", "x"),
        ("peak_frames", "-1"),
        ("codes", "backwards"),
        ("labels", "mine"),
        ("map", "x=glad"),
        ("columns", "path"),
        ("origin", ""),
    ],
)
def test_an_option_in_sources_that_no_build_takes_is_refused_by_its_name(
    curate: Curate, finished: Workspace, name: str, value: str
) -> None:
    sources = finished.read_sources()
    finished.sources.write_text(json.dumps({"tiny": sources["tiny"] | {name: value}}))
    result = curate("build", "-j", "1", "-w", finished.root)
    assert result.exit_code == 1
    assert result.stderr.startswith("curate: sources.json: source 'tiny': ")
    assert result.stderr.count("\n") == 1
    assert "build" in result.stderr


# What the system refuses


@pytest.mark.parametrize(
    "name",
    [
        "manifest.csv",
        "sources.json",
        "decisions.jsonl",
        "pairs.csv",
        "receipts/dedup.json",
        "label_errors.csv",
        "predictions/net.csv",
        "class_weights.csv",
    ],
)
def test_a_file_that_may_not_be_read_is_one_line_and_nothing_changes(
    curate: Curate, curated: Path, tmp_path: Path, name: str
) -> None:
    root = Path(shutil.copytree(curated, tmp_path / "ws"))
    before = read_files(root)
    damage(root / name, "unreadable", 0)
    refused = 0
    for words in (("status",), ("check",), ("audit", "--csv"), ("report", "-n"), ("flag", "-n")):
        (root / "leaks.csv").unlink(missing_ok=True)
        with obey_modes():
            result = curate(*words, "-w", root)
        if result.exit_code == 1:
            refused += 1
            assert result.stderr.count("\n") == 1, result.stderr
            assert name.rpartition("/")[2] in result.stderr
    (root / "leaks.csv").unlink(missing_ok=True)
    (root / name).chmod(0o600)
    assert read_files(root) == before
    # `train run` alone reads the weights; flag and status compare the digest of the others.
    assert refused or name == "class_weights.csv"


def run_program(*words: object, **options: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "curate", *map(str, words)]
    return subprocess.run(command, stderr=subprocess.PIPE, text=True, check=False, **options)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="Linux")
def test_an_output_that_cannot_be_written_is_one_line(curated: Path, tmp_path: Path) -> None:
    root = Path(shutil.copytree(curated, tmp_path / "ws"))
    for words in (("status", "-w", root), ("--help",)):
        with Path("/dev/full").open("w") as full:
            done = run_program(*words, stdout=full)
        assert done.returncode == 1
        assert done.stderr.startswith(
            "curate: the output: cannot be used (No space left on device)"
        )
        assert done.stderr.count("\n") == 1


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="Linux")
def test_a_device_is_never_replaced_by_a_file(
    curate: Curate, curated: Path, tmp_path: Path
) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    result = curate("export", "csv", pipe, "-w", curated)
    assert result.exit_code == 1
    assert result.stderr == f"curate: {pipe}: is no regular file: name another\n"
    assert pipe.is_fifo()
    assert not list(tmp_path.glob(".*"))


def test_a_folder_that_may_not_be_written_is_one_line_and_says_that_nothing_changed(
    curate: Curate, curated: Path, tmp_path: Path
) -> None:
    root = Path(shutil.copytree(curated, tmp_path / "ws"))
    before = read_files(root)
    folders = [root, *(place for place in root.rglob("*") if place.is_dir())]
    for folder in folders:
        folder.chmod(0o500)
    for words in (
        ("fold", "--k", "4"),
        ("weights", "--scheme", "sqrt"),
        ("audit", "--csv"),
        ("export", "csv", root / "a.csv"),
    ):
        with obey_modes():
            result = curate(*words, "-w", root)
        assert result.exit_code == 1
        assert result.stderr.count("\n") == 1
        assert "Permission denied" in result.stderr
        assert result.stderr.endswith("nothing was changed\n")
    for folder in folders:
        folder.chmod(0o700)
    assert read_files(root) == before


def test_a_full_disk_says_what_was_changed_before(curated: Path, tmp_path: Path) -> None:
    root = Path(shutil.copytree(curated, tmp_path / "ws"))
    before = read_files(root)

    def limit() -> None:  # between the size of the tables and that of the manifest
        resource.setrlimit(resource.RLIMIT_FSIZE, (8000, 8000))

    done = run_program("fold", "--k", "4", "-w", root, preexec_fn=limit, stdout=subprocess.PIPE)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "manifest.csv: cannot be written (File too large)" in done.stderr
    after = read_files(root)
    named = re.findall(r"changed before \((.*)\)", done.stderr)
    changed = [name for name in after if after[name] != before.get(name) and ".cache" not in name]
    assert bool(named) == bool(changed)
    assert ("nothing was changed" in done.stderr) == (not changed)


def test_an_export_that_was_killed_before_its_listing_is_written_again(
    curate: Curate, finished: Workspace, tmp_path: Path
) -> None:
    target = tmp_path / "set"
    target.mkdir()
    (target / ".export.json.99999999-0123456789abcdef.tmp").write_text("{")
    assert curate("export", "folder", target, "-w", finished.root).exit_code == 0
    assert not list(target.glob(".*"))
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / ".own.tmp").write_text("mine")
    refused = curate("export", "folder", tmp_path / "own", "-w", finished.root)
    assert "holds other files than an export" in refused.stderr
