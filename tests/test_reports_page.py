"""report.html: its sections, what it shows first, and the page without pictures."""

import json
import re
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from conftest import Curate, read_files
from tables import make_manifest

from curate.pages.charts import list_ticks, make_bar_chart, make_line_chart
from curate.reports.album import Album
from curate.reports.audit import Leak
from curate.reports.sampling import take_over_kinds
from curate.reports.sections import face_map
from curate.reports.sections.balance import compare_balance, count_classes
from curate.reports.sections.leakage import bound_score, read_scores
from curate.reports.sections.next_steps import list_receipts
from curate.reports.sections.suspects import explain, format_votes, show_suspects
from curate.workspace.manifest import empty_manifest, write_manifest
from curate.workspace.workspace import Workspace

SECTIONS = (
    "balance", "leaks", "copies", "conflicts", "suspects", "errors", "degenerate", "deciders",
    "map", "receipts", "next",
)  # fmt: skip


@pytest.fixture(scope="module")
def page(finished_template, curate) -> str:
    """The page of the finished workspace, which is not written."""
    curate("report", "-w", finished_template)
    file = finished_template / "report.html"
    text = file.read_text()
    file.unlink()
    return text


def test_the_page_has_every_section_and_a_link_to_each(page: str) -> None:
    assert re.findall('<h2 id="([a-z]+)"', page) == list(SECTIONS)
    assert set(re.findall('href="#([a-z]+)"', page)) == set(SECTIONS)
    assert page.count("<svg") >= 4
    assert "prefers-color-scheme:dark" in page
    assert '<meta name="viewport"' in page


def test_the_page_shows_who_decided_and_why_labels_are_suspect(page: str) -> None:
    assert "<tr><td>a</td><td>0</td><td>1</td><td>1</td><td>0</td>" in page
    assert "1 of 1 models against it" in page


def test_the_page_shows_leaks_side_by_side_with_their_bound(finished: Workspace, page: str) -> None:
    manifest = finished.read()
    is_train = manifest["source_split"] == "train"
    groups = set(manifest.loc[is_train, "duplicate_group"]) - {""}
    leaked = manifest[
        (manifest["source_split"] == "test") & manifest["duplicate_group"].isin(groups)
    ]
    assert len(leaked) == 2
    for path in leaked["path"]:
        assert re.search(f'class="pair"><figure title="{path}"', page)
    rows = int((manifest["source_split"] == "test").sum())
    assert f"<td>{100 * ((rows - 2) * 0.5 + 2) / rows:.1f} %</td>" in page


def test_a_page_without_pictures_opens_none_and_holds_none(
    finished: Workspace, curate: Curate
) -> None:
    finished.sources.write_text(json.dumps({"tiny": {"root": "/nowhere", "layout": "folder"}}))
    result = curate("report", "--no-images", "-w", finished.root)
    assert result.exit_code == 0
    page = (finished.root / "report.html").read_text()
    assert "data:image" not in page
    assert "<img" not in page
    assert "<image" not in page
    assert re.findall('<h2 id="([a-z]+)"', page) == list(SECTIONS)
    assert "tiny/train/fear/conflict.png" in page


def test_a_page_of_a_workspace_without_copies_or_flags_names_the_next_command(
    built: Workspace, curate: Curate
) -> None:
    before = read_files(built.root)
    assert curate("report", "-n", "-w", built.root).exit_code == 0
    assert read_files(built.root) == before
    assert curate("report", "-w", built.root).exit_code == 0
    page = (built.root / "report.html").read_text()
    assert "run `curate dedup` first" in page
    assert "<li><code>curate inspect</code>" in page
    assert re.findall('<h2 id="([a-z]+)"', page) == list(SECTIONS)


def test_a_page_without_held_out_rows_calls_no_split_clean(
    built: Workspace, curate: Curate
) -> None:
    write_manifest(built.manifest, built.read().assign(source_split="train"))
    for command in ("dedup", "report"):
        assert curate(command, "-w", built.root).exit_code == 0
    page = (built.root / "report.html").read_text()
    assert "There is no held-out image yet" in page
    assert "No held-out image has a copy" not in page


def test_before_labels_are_judged_the_page_names_a_first_score_too(
    built: Workspace, curate: Curate
) -> None:
    for command in ("inspect", "dedup", "report"):
        assert curate(command, "-w", built.root).exit_code == 0
    steps = re.findall("<li><code>(.*?)</code>", (built.root / "report.html").read_text())
    assert steps[:2] == ["curate fold --k 5", "curate split --ratios 70 15 15"]


def test_the_balance_has_a_chart_per_source_and_split() -> None:
    manifest = empty_manifest(["a/1.png", "a/2.png", "b/1.png", "b/2.png"])
    manifest = manifest.assign(
        given_label=["sad", "happy", "sad", "sad"],
        source_split=["train", "test", "", "train"],
        label=["sad", "sad", "", "sad"],
        status=["keep", "keep", "drop", "keep"],
        reason=["", "human", "exact_copy", ""],
        split=["train", "train", "", "test"],
    )
    found = compare_balance(manifest)
    titles = [chart.title for chart in found.charts]
    assert titles == [
        "all: 4 given, 3 kept", "a: 2 given, 2 kept", "b: 2 given, 1 kept",
        "split train: 2 given, 2 kept", "split test: 1 given, 1 kept",
    ]  # fmt: skip
    assert [[bar.text for bar in row.bars] for row in found.charts[1].rows] == [
        ["1", "0"], ["1", "2"],
    ]  # fmt: skip
    assert found.parts == [
        ("a", "train", 1, 2), ("a", "test", 1, 0), ("b", "train", 1, 0), ("b", "test", 0, 1),
        ("b", "none", 1, 0),
    ]  # fmt: skip
    unsplit = compare_balance(manifest.assign(split=""))
    assert unsplit.charts[3].title == "split train: 2 given, no new split yet"
    assert found.columns == ["given", "kept", "exact_copy", "label now"]
    assert found.rows == [("happy", [1, 1, 0, 0]), ("sad", [3, 2, 1, 3])]


def test_a_damaged_table_of_issues_is_one_line(finished: Workspace, curate: Curate) -> None:
    (finished.root / "issues.csv").write_text("path\nx\n")
    result = curate("report", "-w", finished.root)
    assert result.exit_code == 1
    assert result.stderr.startswith(f"curate: {finished.root / 'issues.csv'}: no table of label")
    assert result.stderr.endswith("run `curate flag` again\n")


def write_map(workspace: Workspace) -> int:
    """A map of every second row; returns their number."""
    paths = workspace.read()["path"][::2].tolist()
    lines = [f"{path},{k / len(paths):.4f},0.5000" for k, path in enumerate(paths)]
    (workspace.root / "map.csv").write_text("\n".join(["path,x,y", *lines]) + "\n")
    return len(paths)


def test_the_map_has_every_point_and_outlines_the_marked_ones(
    finished: Workspace, curate: Curate
) -> None:
    count = write_map(finished)
    assert curate("report", "-w", finished.root).exit_code == 0
    page = (finished.root / "report.html").read_text()
    section = page[page.index('<h2 id="map"') : page.index('<h2 id="receipts"')]
    clouds = re.findall('<path class="k[0-7]" d="([^"]+)"', section)
    assert sum(cloud.count("M") for cloud in clouds) == count
    marked = finished.read()[::2].query("issue != ''")
    assert section.count('class="point suspect"') == len(marked) > 0
    assert section.count("<image ") == count
    assert curate("report", "--no-images", "-w", finished.root).exit_code == 0
    assert "<image" not in (finished.root / "report.html").read_text()


def test_only_so_many_points_have_a_face_and_the_suspects_come_first(
    finished: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_map(finished)
    manifest = finished.read()
    marked = manifest[::2].query("issue != ''")
    monkeypatch.setattr(face_map, "SHOWN", len(marked) + 6)
    found = face_map.draw_map(finished.root, manifest, Album(finished, manifest, has_images=False))
    assert [point.is_suspect for point in found.points] == [False] * 6 + [True] * len(marked)
    ranked = marked.sort_values("issue_rank", key=pd.to_numeric)
    assert found.points[-1].path == ranked["path"].iloc[0]
    assert found.marks == ""
    monkeypatch.setattr(face_map, "SHOWN", 2)
    monkeypatch.setattr(face_map, "MOST_POINTS", 5)
    found = face_map.draw_map(finished.root, manifest, Album(finished, manifest, has_images=False))
    assert len(found.points) == 2
    assert found.marks.count("M") == len(marked) - 2
    assert len(marked) <= found.drawn <= len(marked) + 5 < found.rows
    assert sum(cloud.path.count("M") for cloud in found.clouds) == found.drawn


def test_the_votes_of_the_crowd_are_beside_a_suspect_label(
    finished: Workspace, curate: Curate
) -> None:
    manifest = finished.read()
    row = manifest.index[manifest["issue_rank"] == "1"][0]
    manifest.loc[row, "votes"] = '{"fear":7,"sad":3}'
    write_manifest(finished.manifest, manifest)
    assert curate("report", "-w", finished.root).exit_code == 0
    assert "<small>votes: 7 fear, 3 sad</small>" in (finished.root / "report.html").read_text()


def test_an_image_that_inspect_dropped_is_no_suspect(finished: Workspace) -> None:
    manifest = finished.read()
    album = Album(finished, manifest, has_images=False)
    first = manifest["issue_rank"] == "1"
    shown = show_suspects(finished.root, manifest, album)
    assert manifest.loc[first, "path"].item() in [row["path"] for row in shown]
    dropped = manifest.assign(
        status=manifest["status"].mask(first, "drop"),
        reason=manifest["reason"].mask(first, "degenerate"),
    )
    shown = show_suspects(finished.root, dropped, album)
    assert manifest.loc[first, "path"].item() not in [row["path"] for row in shown]


def test_a_receipt_names_its_recipe_and_the_values_of_its_options(tmp_path: Path) -> None:
    options = {
        "recipe": {"name": "fast", "epochs": 24},
        "ratios": [70, 30],
        "seed": 1,
        "dry": False,
    }
    found = list_receipts(tmp_path, {"run": {"options": options, "seconds": 1.0}}, {"run": "done"})
    assert found[0].options == "recipe fast, ratios 70 30, seed 1"


@pytest.mark.parametrize("text", ["path,x\na,1\n", "path,x,y\na,2,0\n", "path,x,y\na,nan,0\n"])
def test_a_damaged_map_is_one_line(finished: Workspace, curate: Curate, text: str) -> None:
    (finished.root / "map.csv").write_text(text)
    result = curate("report", "-w", finished.root)
    assert result.exit_code == 1
    assert result.stderr.startswith(f"curate: {finished.root / 'map.csv'}: no map of the set (")
    assert result.stderr.endswith("run `train oof` again\n")


@pytest.mark.browser
def test_a_browser_shows_the_page_without_an_error_a_request_or_a_wide_line(
    finished: Workspace, curate: Curate, browser: Any
) -> None:
    write_map(finished)
    assert curate("report", "-w", finished.root).exit_code == 0
    page = browser.new_page(viewport={"width": 390, "height": 800})
    problems: list[str] = []
    page.on("console", lambda message: problems.append(message.text))
    page.on("pageerror", lambda error: problems.append(str(error)))
    address = (finished.root / "report.html").as_uri()
    page.on("request", lambda request: problems.append(request.url[:60]))
    page.goto(address)
    assert [each for each in problems if not address.startswith(each)] == []
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    face = page.locator(".map .point image").last
    assert not face.is_visible()
    page.locator(".map .suspect circle").last.hover(force=True)
    assert face.is_visible()
    page.close()


def test_leaks_are_bounded_as_by_hand() -> None:
    leak = Leak("source_split", "test", "all", rows=100, exact=5, copies=20, agree=18, disagree=2)
    assert bound_score(leak, 0.5) == pytest.approx(0.8 * 0.5 + 0.18)
    assert bound_score(Leak("split", "test", "all", 0, 0, 0, 0, 0), 0.5) == 0.5


def test_scores_with_and_without_leaks_are_read_and_others_left_out(tmp_path) -> None:
    def write(name: str, values: object) -> None:
        file = tmp_path / name / "evaluation-test" / "metrics.json"
        file.parent.mkdir(parents=True)
        file.write_text(json.dumps(values))

    scores = {"rows": 10, "evaluated": "test", "accuracy": 0.7}
    write("a", scores | {"without_copy_in_train": {"rows": 8, "accuracy": 0.6}})
    write("b", scores | {"without_copy_in_train": {"rows": 10, "accuracy": 0.7}})
    write("c", scores | {"without_copy_in_train": {"rows": 0}})
    write("d", [1])
    write("e", {})
    (found,) = read_scores(tmp_path)
    assert (found.run, found.rows, found.accuracy, found.without) == ("a", "test", 0.7, 0.6)


def test_items_are_taken_over_their_kinds_in_their_order() -> None:
    items = ["a1", "a2", "a3", "b1", "c1", "c2"]
    assert take_over_kinds(items, lambda item: item[0], 4) == ["a1", "a2", "b1", "c1"]
    assert take_over_kinds(items, lambda item: item[0], 9) == items
    assert take_over_kinds([], len, 3) == []


def test_the_reasons_of_a_suspect_are_words() -> None:
    reason = {
        "members_against": "2 of 3", "copies": "2", "copies_against": "1", "margin_auc": "-0.3858",
        "error_probability": "0.9134", "verdict": "wrong",
    }  # fmt: skip
    assert explain(reason) == [
        "2 of 3 models against it", "1 of 2 copies under another label",
        "not learned (margin -0.38)", "judged wrong", "wrong with p = 0.91",
    ]  # fmt: skip
    assert explain(dict.fromkeys(reason, "") | {"copies": "0", "margin_auc": "0.5"}) == []
    assert format_votes('{"fear":7,"neutral":1,"happy":2}') == "7 fear, 2 happy, 1 neutral"
    assert format_votes("") == ""


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [(0, 1, [0, 0.2, 0.4, 0.6, 0.8, 1]), (1, 12, [0, 5, 10, 15]), (0.61, 0.66, None), (5, 5, None)],
)
def test_ticks_are_round_and_hold_the_values(low: float, high: float, ticks: object) -> None:
    found = list_ticks(low, high)
    assert found[0] <= low
    assert found[-1] >= high
    assert 2 <= len(found) <= 7
    assert ticks in (None, found)


def test_the_longest_bar_fills_the_width_and_lines_leave_out_what_is_no_number() -> None:
    chart = make_bar_chart("t", {"a": {"x": 10}, "b": {"x": 5, "y": 2}}, ["x", "y"])
    widths = [[bar.width for bar in row.bars] for row in chart.rows]
    assert widths[0][0] == 2 * widths[0][1] == 5 * widths[1][1]
    assert widths[1][0] == 0
    line = make_line_chart("t", {"a": [0.0, float("nan"), 1.0]}, [1, 2, 3])
    points = [tuple(map(float, each.split(","))) for each in line.lines[0].points.split()]
    assert points == [(line.left, line.bottom), (line.right, line.top)]
    assert line.lines[0].dots == points
    long = make_line_chart("t", {"a": [0.0] * 21}, list(range(21)))
    assert long.lines[0].dots == []


def test_a_group_is_described_by_its_images(finished: Workspace) -> None:
    from curate.reports.sections.copies import measure_likeness

    grouped = finished.read().query("duplicate_group != ''")
    (group,) = set(grouped["duplicate_group"][grouped["path"] == "tiny/train/sad/near.png"])
    pairs = pd.read_csv(finished.pairs, dtype=str, keep_default_na=False)
    near = measure_likeness(grouped, pairs)[group]
    assert 0.9 < near.score < 1


def test_a_class_that_only_decisions_gave_has_a_row_of_its_own() -> None:
    manifest = make_manifest([{}, {}, {"given_label": "sad"}])
    manifest = manifest.assign(label=["contempt", "happy", "sad"], status="keep")
    columns, rows = count_classes(manifest)
    now = columns.index("label now")
    assert {name: counts[now] for name, counts in rows} == {"contempt": 1, "happy": 1, "sad": 1}
