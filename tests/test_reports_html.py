"""The pages: what they may load, and that every value is escaped."""

import re
from pathlib import Path

import pytest
from jinja2 import UndefinedError

import curate
import train
from curate.pages.charts import HeatCell
from curate.pages.render import render_page
from curate.reports.album import embed_image
from curate.reports.leaks import LEAK_COLUMNS, LeakSection
from curate.reports.sections.label_errors import read_errors

HOSTILE = "\"><script>alert('x')</script>&"
PACKAGES = Path(curate.__file__).parent, Path(train.__file__).parent


def render_audit(**values: object) -> str:
    return render_page("curate.reports", "audit.html.j2", **values)


def render_leak(**changes: str) -> str:
    leak = dict.fromkeys((*LEAK_COLUMNS, "image", "copy_image"), "") | changes
    sections = [LeakSection("1 row", [leak])]
    return render_audit(title="t", heading="h", counts="c", leaks=sections)


def test_a_page_loads_nothing_and_runs_no_script():
    page = render_leak(image="data:image/png;base64,AAAA")
    assert page.startswith("<!doctype html>")
    policy = re.search(r'http-equiv="Content-Security-Policy"\s+content="([^"]+)"', page)
    assert policy
    rules = {rule.strip() for rule in policy[1].split(";")}
    assert rules == {
        "default-src 'none'",
        "style-src 'unsafe-inline'",
        "img-src data:",
        "base-uri 'none'",
        "form-action 'none'",
    }
    assert '<meta charset="utf-8">' in page
    assert "<title>t</title>" in page
    assert set(re.findall(r'src="([^"]*)"', page)) == {"data:image/png;base64,AAAA"}


@pytest.mark.parametrize("column", ["path", "copy", "label", "copy_label", "transform", "score"])
def test_every_value_is_escaped(column):
    page = render_leak(**{column: HOSTILE})
    assert "<script" not in page
    assert "&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;&amp;" in page


def test_a_title_and_a_heading_are_escaped():
    page = render_audit(title=HOSTILE, heading=HOSTILE, counts=HOSTILE, leaks=[])
    assert "<script" not in page
    assert page.count("&lt;script&gt;") == 3


def test_a_class_name_of_a_strangers_label_errors_is_escaped_in_the_report(finished, curate):
    file = finished.root / "label_errors.csv"
    file.write_text(f"given_label,suggested_label,count,low,high\nsad,{HOSTILE[2:]},3,1,5\n")
    assert curate("report", "-w", finished.root).exit_code == 0
    page = (finished.root / "report.html").read_text()
    assert "<script" not in page
    assert ">3<small>1 to 5</small></td>" in page


def test_a_value_that_a_template_does_not_get_is_an_error():
    with pytest.raises(UndefinedError, match="counts"):
        render_audit(title="t", heading="h", leaks=[])


def test_no_template_switches_escaping_off():
    files = [file for package in PACKAGES for file in sorted(package.rglob("*.j2"))]
    texts = [file.read_text() for file in files]
    assert len(texts) >= 12
    for text in texts:
        assert not re.search(r"\|\s*safe|autoescape", text)


def test_an_unreadable_image_is_shown_as_such(tmp_path):
    (tmp_path / "a.png").write_bytes(b"no image")
    assert embed_image(tmp_path / "a.png", "") == ""
    assert render_leak(path="a.png").count('<img alt="unreadable">') == 2


def test_the_error_table_shades_each_pair_by_its_share_of_the_largest(tmp_path):
    file = tmp_path / "label_errors.csv"
    assert read_errors(file) is None
    file.write_text(
        "given_label,suggested_label,count,low,high\nsad,fear,4,2,6\nfear,sad,1,,\nsad,happy,0,,\n"
    )
    table = read_errors(file)
    assert table.columns == ["fear", "happy", "sad"]
    assert table.rows == [
        ("fear", [None, None, HeatCell("1", "", 3)]),
        ("sad", [HeatCell("4", "2 to 6", 10), HeatCell("0", "", 0), None]),
    ]
