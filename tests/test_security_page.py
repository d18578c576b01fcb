"""docs/security.md: every promise names a test that exists."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
SECTIONS = (
    "The review server",
    "Decisions",
    "Datasets and workspaces of strangers",
    "Damaged files",
    "Network",
)
# A promise: a sentence and after it one test or several, up to the end of the item.
PROMISE = re.compile(r"- [^\n]+\.(?: `test_\w+`)+")


def read_sections(page: str) -> dict[str, list[str]]:
    """Heading -> the items of its list, each on one line."""
    sections = {}
    for section in page.split("\n## ")[1:]:
        heading, _, body = section.partition("\n")
        items = re.split(r"\n(?=- )", f"\n{body.strip()}")[1:]
        sections[heading] = [" ".join(item.split()) for item in items]
    return sections


def names_of_tests() -> set[str]:
    code = "\n".join(file.read_text() for file in sorted((ROOT / "tests").glob("test_*.py")))
    return set(re.findall(r"^(?:async )?def (test_\w+)", code, flags=re.MULTILINE))


def test_every_promise_of_the_security_page_ends_with_tests_that_exist() -> None:
    sections = read_sections((ROOT / "docs/security.md").read_text())
    assert tuple(sections) == SECTIONS
    for heading, promises in sections.items():
        assert promises, heading
        for promise in promises:
            assert PROMISE.fullmatch(promise), f"'{promise}' does not end with the name of a test"
    named = {
        name
        for promises in sections.values()
        for promise in promises
        for name in re.findall(r"`(test_\w+)`", promise)
    }
    assert named - names_of_tests() == set()


def test_a_promise_without_a_test_is_found() -> None:
    assert PROMISE.fullmatch("- It holds. `test_one` `test_two`")
    assert not PROMISE.fullmatch("- It holds.")
    assert not PROMISE.fullmatch("- It holds, as `test_one` shows.")
    page = "# Page\n\n## One\n\n- It\n  holds. `test_one`\n- It holds.\n"
    assert read_sections(page) == {"One": ["- It holds. `test_one`", "- It holds."]}


def test_the_page_at_the_top_points_to_the_promises() -> None:
    assert "(docs/security.md)" in (ROOT / "SECURITY.md").read_text()
