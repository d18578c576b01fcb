"""The site of docs/: it builds strictly, its links lead somewhere, nothing is loaded from afar."""

import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

ROOT = Path(__file__).parent.parent
# What a browser loads when it shows a page; an <a> is followed by the reader alone.
LOADING = {
    ("script", "src"), ("link", "href"), ("img", "src"), ("iframe", "src"), ("source", "src"),
    ("audio", "src"), ("video", "src"), ("embed", "src"), ("object", "data"), ("form", "action"),
}  # fmt: skip
URL_OF_STYLE = re.compile(r"url\(\s*['\"]?([^'\")]+)|@import\s+['\"]([^'\"]+)")


class Addresses(HTMLParser):
    """The addresses of a page: those that a browser loads, those of links, and the anchors."""

    def __init__(self, page: Path) -> None:
        super().__init__()
        self.loaded: list[str] = []
        self.links: list[str] = []
        self.anchors: set[str] = set()
        self.feed(page.read_text())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if (tag, name) in LOADING:
                self.loaded.append(value or "")
            elif (tag, name) == ("a", "href"):
                self.links.append(value or "")
            elif name == "style":
                self.loaded += list_style_urls(value or "")
            elif name == "id":
                self.anchors.add(value or "")

    def handle_data(self, data: str) -> None:
        if self.cdata_elem == "style":
            self.loaded += list_style_urls(data)


def list_style_urls(text: str) -> list[str]:
    return [url or imported for url, imported in URL_OF_STYLE.findall(text)]


def is_foreign(address: str) -> bool:
    parts = urlsplit(address)
    return bool(parts.netloc) or parts.scheme not in ("", "data")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    env = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def pages(site: Path) -> dict[Path, Addresses]:
    return {page: Addresses(page) for page in sorted(site.rglob("*.html"))}


def test_every_page_of_the_repository_is_on_the_site(
    site: Path, pages: dict[Path, Addresses]
) -> None:
    sources = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "docs").glob("*.ipynb")]
    names = {file.relative_to(ROOT).with_suffix(".html").as_posix() for file in sources}
    names = {"index.html" if name == "README.html" else name for name in names}
    names = {re.sub(r"README\.html$", "index.html", name) for name in names}
    built = {page.relative_to(site).as_posix() for page in pages}
    assert names <= built
    assert len(names) > 25


def test_nothing_is_loaded_from_elsewhere(site: Path, pages: dict[Path, Addresses]) -> None:
    loaded = {(page.name, address) for page, found in pages.items() for address in found.loaded}
    loaded |= {
        (style.name, address)
        for style in site.rglob("*.css")
        for address in list_style_urls(style.read_text())
    }
    assert {Path(address).suffix for _, address in loaded} >= {".css", ".js", ".png"}
    assert {each for each in loaded if is_foreign(each[1])} == set()


def test_every_link_of_the_site_leads_somewhere(site: Path, pages: dict[Path, Addresses]) -> None:
    missing = []
    for page, found in pages.items():
        for address in (*found.links, *found.loaded):
            parts = urlsplit(address)
            if parts.scheme or parts.netloc or page.name == "404.html":
                continue
            place = page.parent / unquote(parts.path) if parts.path else page
            target = Path(os.path.normpath(place))
            anchor = unquote(parts.fragment)
            known = pages[target].anchors if target in pages else {anchor}
            if not target.is_file() or (anchor and anchor not in known | {"__top"}):
                missing.append((page.relative_to(site).as_posix(), address))
    assert missing == []


def test_the_search_is_the_sites_own(site: Path) -> None:
    assert (site / "search" / "search_index.json").stat().st_size > 100_000


@pytest.mark.parametrize(
    ("text", "loaded"),
    [
        ('<script src="https://cdn.example/x.js"></script>', ["https://cdn.example/x.js"]),
        ('<link rel="stylesheet" href="//fonts.example/f.css">', ["//fonts.example/f.css"]),
        ("<style>@import 'https://e.example/s.css'; a{background:url(b.png)}</style>",
         ["https://e.example/s.css", "b.png"]),
        ('<p style="background: url(\'http://e.example/i.png\')">', ["http://e.example/i.png"]),
        ('<a href="https://elsewhere.example">a link is not loaded</a>', []),
    ],
)  # fmt: skip
def test_what_a_page_loads_is_found(text: str, loaded: list[str], tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    page.write_text(text)
    found = Addresses(page).loaded
    assert found == loaded
    assert [is_foreign(each) for each in found] == ["//" in each for each in found]
