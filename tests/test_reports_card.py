"""`curate card`: README.md and croissant.json of a workspace, also where names are hostile."""

import io
import json
import os
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml
from click.testing import Result
from conftest import read_files
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from curate.pages.cards import CARD, Markdown, escape_markdown, quote_yaml
from curate.reports.card import CROISSANT
from curate.reports.card_facts import gather_facts, hide_folders
from curate.reports.card_sentences import describe_errors
from curate.reports.croissant import IMAGE_COLUMNS, IMAGES_FILE
from curate.workspace.manifest import write_manifest
from curate.workspace.receipts import read_receipts
from curate.workspace.workspace import Workspace

Curate = Callable[..., Result]
HOSTILE = 'a: "b" | <script>alert(1)</script> [x](http://x.y) `c` # $d$ --- \\u0000 é'
READER = MarkdownIt("commonmark").enable(["table", "strikethrough"])


def read_head(card: str) -> dict[str, Any]:
    """The YAML head of a card."""
    return yaml.safe_load(card.split("---\n")[1])


def show(card: str) -> str:
    """The text that a reader of Markdown sees, without the head."""
    tokens = READER.parse(card.split("---\n", 2)[2])
    inline = [token for token in tokens if token.type == "inline"]
    assert not [each for token in inline for each in token.children or [] if "html" in each.type]
    html = [token.content for token in tokens if token.type == "html_block"]
    assert all(re.fullmatch(r"<!-- written by `\w+ card` -->\n?", text) for text in html)
    return "\n".join(
        "".join(
            each.content for each in token.children or [] if each.type in ("text", "code_inline")
        )
        for token in inline
    )


def show_card(curate: Curate, workspace: Workspace, *words: str) -> str:
    done = curate("card", "-w", workspace.root, *words)
    assert done.exit_code == 0, done.output
    return show((workspace.root / "card" / CARD).read_text())


@settings(deadline=None)
@given(st.text())
def test_any_text_comes_back_from_yaml_and_is_plain_in_markdown(text: str) -> None:
    assert yaml.safe_load(f"x: {quote_yaml(text)}\n") == {"x": text}
    assert yaml.safe_load(f"[{quote_yaml(text)}, b]") == [text, "b"]
    escaped = escape_markdown(text)
    assert "\n" not in escaped
    (inline,) = (token for token in READER.parse(f"- x{escaped}x\n") if token.type == "inline")
    assert {each.type for each in inline.children or []} <= {"text", "text_special"}
    (cell, _) = (
        token.content
        for token in READER.parse(f"| a{escaped}a | b |\n| --- | --- |\n")
        if token.type == "inline"
    )
    assert cell.startswith("a")
    assert escape_markdown(Markdown("`x`")) != "`x`"


def test_every_figure_of_the_card_is_that_of_the_workspace(
    curate: Curate, finished: Workspace
) -> None:
    text = show_card(curate, finished)
    manifest, receipts = finished.read(), read_receipts(finished.root)
    kept = manifest[manifest["status"] == "keep"]
    assert f"{len(manifest):,} images, {len(kept):,} of them kept" in text
    reasons = manifest["reason"].value_counts()
    copies = f"{reasons.get('exact_copy', 0)} exact and {reasons.get('near_copy', 0)} near copies"
    assert copies in text
    errors = receipts["flag"]["counts"]["errors"]["count"]
    assert f"the models call {errors:,} given labels wrong" in text
    assert "Leaks in the dataset's own split: " in text
    for words in ("Licence: unknown.", "not known", "train run"):
        assert words in text
    share = (kept["label"] == "happy").mean()
    row = "\n".join(["happy", str((manifest["given_label"] == "happy").sum())])
    assert row in text
    assert f"{100 * share:.1f} %" in text
    assert "has no interval" in text
    head = read_head((finished.root / "card" / CARD).read_text())
    assert (head["license"], head["size_categories"]) == ("unknown", ["n<1K"])


def test_what_has_not_run_is_named_and_the_crowd_counted(curate: Curate, built: Workspace) -> None:
    text = show_card(curate, built)
    for stage in ("dedup", "flag", "inspect"):
        assert f"'curate {stage}' has not run" in text
    assert "Leaks: not known." in text
    assert "they ship one label an image" in text
    rows = built.read()
    rows.loc[:3, "votes"] = '{"happy":6,"sad":4}'
    rows.loc[4:5, "votes"] = '{"fear":9}'
    write_manifest(built.manifest, rows)
    text = show_card(curate, built)
    assert "6 of 47 images have them, 9 to 10 an image (median 10)" in text
    assert "has 73.3 % of them in the mean" in text
    (built.root / "runs" / "r").mkdir(parents=True)
    (built.root / "runs" / "r" / "reads.json").write_text('{"test_reads": 3, "reads": []}')
    assert "Reads of test: 3, by 1 run of" in show_card(curate, built)
    assert read_head((built.root / "card" / CARD).read_text())["annotations_creators"]


def test_the_estimate_of_wrong_labels_has_its_interval(finished: Workspace) -> None:
    facts = gather_facts(finished)
    left, now = {"count": 30, "low": 21, "high": 42}, {"count": 1200, "low": 1180, "high": 1222}
    errors = {"errors_left": left, "right": {"rows": 1250, "now": now, "accepted": now}}
    judged = replace(facts, status=replace(facts.status, errors=errors))
    text = describe_errors(judged)
    assert "about 30 of the kept labels" in text
    assert "(95 % interval 21 to 42)" in text
    assert "1,200 of 1,250 kept labels are expected to be right (1,180 to 1,222)" in text


def test_no_folder_of_this_machine_is_among_the_options() -> None:
    options = {"a": "/home/ann/x.csv", "b": ["C:\\ann\\y.csv", "balanced"], "c": {"d": 0.5}}
    assert hide_folders(options) == {"a": "x.csv", "b": ["y.csv", "balanced"], "c": {"d": 0.5}}


def test_the_same_workspace_gives_the_same_bytes_and_a_dry_run_writes_none(
    curate: Curate, finished: Workspace, tmp_path: Path
) -> None:
    before = read_files(finished.root)
    assert curate("card", "-w", finished.root, "--dry-run").exit_code == 0
    assert read_files(finished.root) == before
    for folder in (tmp_path / "a", tmp_path / "b"):
        assert curate("card", "-w", finished.root, "--out", folder).exit_code == 0
    assert read_files(tmp_path / "a") == read_files(tmp_path / "b")
    again = json.loads(
        curate("card", "-w", finished.root, "--out", tmp_path / "a", "--json").stdout
    )
    assert again["changed"] == []
    text = "".join(data.decode() for data in read_files(tmp_path / "a").values())
    assert str(tmp_path.parent) not in text, "no place on this machine"


def test_a_readme_of_somebody_else_stays(curate: Curate, built: Workspace, tmp_path: Path) -> None:
    (tmp_path / CARD).write_text("# Mine\n")
    done = curate("card", "-w", built.root, "--out", tmp_path)
    assert done.exit_code == 1
    assert "is no card of `curate card`: name another folder with --out" in done.stderr
    assert (tmp_path / CARD).read_text() == "# Mine\n"
    assert not (tmp_path / CROISSANT).exists()
    (tmp_path / CARD).unlink()
    os.mkfifo(tmp_path / CARD)  # whose end never comes
    assert curate("card", "-w", built.root, "--out", tmp_path).exit_code == 1


@pytest.fixture
def hostile(built: Workspace) -> Workspace:
    """The built workspace under a source and with paths that would break YAML, Markdown or CSV."""
    rows = built.read()
    source = HOSTILE.replace("/", "∕")
    rows["path"] = [f"{source}/={path}" for path in rows["path"]]
    write_manifest(built.manifest, rows)
    record = next(iter(built.read_sources().values()))
    built.sources.write_text(json.dumps({source: record}))
    return built


def test_hostile_names_break_no_part_of_the_card(curate: Curate, hostile: Workspace) -> None:
    words = ("--licence", HOSTILE, "--cite", HOSTILE, "--creator", HOSTILE, "--name", HOSTILE)
    text = show_card(curate, hostile, *words)
    assert text.count(HOSTILE) >= 4
    folder = hostile.root / "card"
    head = read_head((folder / CARD).read_text())
    assert head["pretty_name"] == head["license_name"] == HOSTILE
    record = json.loads((folder / CROISSANT).read_text())
    assert record["name"] == record["creator"]["name"] == HOSTILE


@pytest.mark.filterwarnings("ignore:ConjunctiveGraph is deprecated")
def test_croissant_is_valid_and_its_records_are_those_of_the_workspace(
    curate: Curate, hostile: Workspace, caplog: pytest.LogCaptureFixture
) -> None:
    croissant = pytest.importorskip("mlcroissant")
    assert curate("card", "-w", hostile.root, "--name", HOSTILE).exit_code == 0
    folder = hostile.root / "card"
    dataset = croissant.Dataset(jsonld=folder / CROISSANT)
    metadata = dataset.metadata
    assert not metadata.ctx.issues.errors
    assert "not standard" not in caplog.text
    assert metadata.ctx.is_v1_1()
    assert metadata.name == HOSTILE or HOSTILE in str(metadata.name)
    assert "has not run" in " ".join(metadata.data_limitations)
    assert metadata.annotations_per_item.startswith("Annotators per image")
    records = [
        {
            name: value.decode() if isinstance(value, bytes) else value
            for name, value in each.items()
        }
        for each in dataset.records("images")
    ]
    table = pd.read_csv(io.BytesIO((folder / IMAGES_FILE).read_bytes()), dtype=str)
    assert [each["images/path"] for each in records] == table["path"].tolist()
    assert [each["images/given_label"] for each in records] == table["given_label"].tolist()
    assert {name.removeprefix("images/") for name in records[0]} == set(IMAGE_COLUMNS)
    classes = list(dataset.records("classes"))
    counts = {each["classes/class"]: each["classes/given"] for each in classes}
    assert counts == hostile.read()["given_label"].value_counts().to_dict()


def test_the_stages_are_the_activities_of_its_provenance(
    curate: Curate, finished: Workspace
) -> None:
    assert curate("card", "-w", finished.root).exit_code == 0
    record = json.loads((finished.root / "card" / CROISSANT).read_text())
    receipts = read_receipts(finished.root)
    ended = {each["@id"]: each["prov:endedAtTime"] for each in record["prov:wasGeneratedBy"]}
    receipts.pop("weights")
    assert ended == {f"urn:candid:stage:{name}": each["at"] for name, each in receipts.items()}
    assert [each["@id"] for each in record["prov:wasDerivedFrom"]] == ["urn:candid:source:tiny"]


@pytest.mark.parametrize(
    "words",
    [("--published", "2026-13-01"), ("--published", "hello"), ("--url", "javascript:alert(1)")],
)
def test_a_day_or_a_web_page_that_is_none_is_refused(finished, curate, words):
    refused = curate("card", *words, "-w", finished.root)
    assert refused.exit_code == 2
    assert f"{words[0]} {words[1]}: must" in refused.stderr
    assert not (finished.root / "card").exists()
