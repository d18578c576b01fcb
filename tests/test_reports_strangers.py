"""The pages of a stranger's workspace: a payload in every text of every table stays text."""

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pandas as pd
import pytest
from conftest import Curate

from curate.workspace.receipts import digest_column
from curate.workspace.workspace import Workspace

PAYLOADS = (
    '"><script>alert(1)<!--',
    "'><img src=x onerror=alert(1)>",
    "<svg onload=alert(1)>",
    "{{ 7 * 7 }}{% for x in y %}",
    "red;background:url(javascript:alert(1))",
    "&lt;b&gt;",
)
# The free text of a manifest; every other column is of a closed form, which its reader checks.
FREE = ("source_label", "subject", "sequence")
ALLOWED = {
    "html", "head", "meta", "title", "style", "body", "h1", "h2", "p", "pre", "table", "tr", "th",
    "td", "figure", "img", "figcaption", "b", "br", "span", "div", "nav", "a", "h3", "small",
    "code", "i", "details", "summary", "ol", "li", "svg", "g", "text", "rect", "path", "circle",
    "image",
}  # fmt: skip


class Page(HTMLParser):
    """The elements and attributes of a page, and its text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: list[tuple[str, str, str]] = []
        self.text = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]

    def handle_data(self, data: str) -> None:
        self.text += data


def read_table(file: Path) -> pd.DataFrame:
    return pd.read_csv(file, dtype=str, keep_default_na=False)


def write_table(file: Path, table: pd.DataFrame) -> None:
    table.to_csv(file, index=False, lineterminator="\n")


def plant(workspace: Workspace, payload: str) -> None:
    """The payload in every text that the workspace's own readers let pass."""
    inside = payload.replace("/", "|")
    for file in (workspace.manifest, workspace.pairs, workspace.root / "issues.csv"):
        table = read_table(file)
        for name in set(table.columns) & {
            "path", "duplicate_group", "duplicate_of", "path_a", "path_b",
        }:  # fmt: skip
            table[name] = table[name].str.replace("/train/", f"/train{inside}/", regex=False)
        for name in set(table.columns) & {*FREE, "score", "transform", "band"}:
            if name == "band":
                continue  # `sure` chooses the pairs that are shown
            table[name] = payload
        write_table(file, table)
    errors = workspace.root / "label_errors.csv"
    table = pd.DataFrame(
        {"given_label": ["sad", payload], "suggested_label": [payload, "sad"], "count": "3"}
    )
    write_table(errors, table.assign(low=payload, high=payload))
    for file in sorted((workspace.root / "receipts").glob("*.json")):
        record = json.loads(file.read_text())
        record |= {"at": payload, "stage": record["stage"]}
        record["options"] = {payload: payload}
        manifest = read_table(workspace.manifest)
        for part in ("reads", "outputs"):  # the forger's receipts fit
            for column in set(record[part]) & set(manifest.columns):
                record[part][column] = digest_column(manifest, column)
        file.write_text(json.dumps(record))


def assert_harmless(page: str, payload: str, where: str) -> None:
    parsed = Page(page)
    assert parsed.tags <= ALLOWED, where
    assert payload in parsed.text, where  # shown as it is, and as text
    for tag, name, value in parsed.attributes:
        assert not name.startswith("on"), (where, tag, name)
        assert name in {
            "lang", "charset", "http-equiv", "content", "title", "src", "alt", "class", "name",
            "id", "href", "role", "aria-label", "viewbox", "x", "y", "width", "height", "d", "cx",
            "cy", "r", "tabindex",
        }, (where, name)  # fmt: skip
        if name == "src" or (name, tag) == ("href", "image"):
            assert value.startswith("data:image/webp;base64,"), where
        elif name == "href":
            assert re.fullmatch("#[a-z]+", value), where
        if name in ("id", "class"):
            assert re.fullmatch("[a-z0-9 ]+", value), where
    assert 'http-equiv="Content-Security-Policy"' in page
    assert "default-src 'none'" in page


@pytest.mark.parametrize("payload", PAYLOADS)
def test_a_payload_in_every_text_of_every_table_stays_text_on_every_page(
    curate: Curate, finished: Workspace, tmp_path: Path, payload: str
) -> None:
    workspace = Workspace(finished.root.rename(tmp_path / f"ws{payload.replace('/', '|')}"))
    plant(workspace, payload)
    result = curate("audit", "--html", "--csv", "-w", workspace.root)
    assert result.exit_code == 0, result.output
    assert curate("report", "-w", workspace.root).exit_code == 0
    pages = sorted(workspace.root.glob("*.html"))
    assert [page.name for page in pages] == ["audit.html", "report.html"]
    for page in pages:
        assert_harmless(page.read_text(), payload.replace("/", "|"), page.name)


def test_a_raw_payload_would_be_found() -> None:
    page = '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'">'
    for planted in ("<script>x</script>", "<p onload=x>", "<img src=x>", "<p style='color:red'>"):
        with pytest.raises(AssertionError):
            assert_harmless(f"{page}{planted}payload", "payload", "page")
    assert_harmless(f"{page}<p>payload", "payload", "page")
