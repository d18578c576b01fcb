"""Every refusal of `build` is one line that names its way out and shows no long value."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import Curate
from layout_trees import draw, pixel_lines, write

import curate as package
from curate.labels import canonical_labels

CURATE = Path(package.__file__).parent
MODULES = sorted(
    [
        *CURATE.glob("sources/**/*.py"), *CURATE.glob("stages/build*.py"), CURATE / "labels.py",
        CURATE / "csv_text.py", CURATE / "workspace/votes.py",
    ]
)  # fmt: skip
ERRORS = ("SourceError", "UsageError")
# What a user can do: an option, a command, or an act on a file, folder, table or value.
WAY_OUT = re.compile(
    r"--[a-z]|`curate |\{(?:way_out|fix|_explain\(.*\)|\w*write_option\(.*\))\}"
    r"|\b(?:add|build|check|choose|copy|correct|fetch|give|install|keep|leave|list|lower|make|merge|move"
    r"|must be|name|put|remove|rename|restore|save|sort|take|unpack|use|write)\b"
)
# Examples and choices in brackets are not the way out.
_IN_BRACKETS = re.compile(r" \((?:[^()]|\([^()]*\))*\)")


def list_refusals() -> Iterator[tuple[str, str]]:
    """Place and text of every refusal; each value in it is written as its source in braces."""
    for module in MODULES:
        for node in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") in ERRORS:
                place = f"{module.relative_to(CURATE)}:{node.lineno}"
                yield place, "".join(write_text(node.args[0]))


def write_text(node: ast.expr) -> Iterator[str]:
    if isinstance(node, ast.JoinedStr):
        for part in node.values:
            yield from write_text(part)
    elif isinstance(node, ast.BinOp):
        yield from write_text(node.left)
        yield from write_text(node.right)
    elif isinstance(node, ast.Constant):
        yield str(node.value)
    else:
        inner = node.value if isinstance(node, ast.FormattedValue) else node
        yield f"{{{ast.unparse(inner)}}}"


def test_every_refusal_ends_with_its_way_out() -> None:
    refusals = dict(list_refusals())
    assert len(refusals) > 60
    without = {
        place: text
        for place, text in refusals.items()
        if not WAY_OUT.search(re.split(r"[:;] ", _IN_BRACKETS.sub("", text))[-1])
    }
    assert without == {}


def test_no_refusal_lists_every_layout() -> None:
    texts = [text for _, text in list_refusals()]
    assert [text for text in texts if "join(LAYOUTS)" in text] == []


LONG = " ".join(["70 80 82 72"] * 576)


@pytest.mark.parametrize(
    "lines",
    [
        [f"0,{LONG},Training"],  # no header
        ["emotion,pixels,Usage", f"0,Training,{LONG}"],
        ["emotion,pixels,Usage", f"{LONG},0,Training"],
        ["pixels,path,label", f"{LONG},a.png,{LONG}"],
        [f"path,{LONG}", "a.png,sad"],
        ["path,label,split", f"a.png,sad,{LONG}"],
        ["path,label,box", f"a.png,sad,{LONG}"],
        ["path,label", f"{LONG},sad"],
        [f"path;{LONG};label", f"a.png;sad;{LONG}"],
    ],
)
@pytest.mark.parametrize("name", ["fer2013.csv", "train.csv", "faces.csv"])
def test_no_refusal_shows_a_row_of_pixels(
    tmp_path: Path, curate: Curate, name: str, lines: list[str]
) -> None:
    table = write(draw(tmp_path / "set", "a.png") / name, *lines)
    for words in ([table], [table, "--column", "path=path"], [table.parent]):
        result = curate("build", *words, "-w", tmp_path / "ws", "-j", 1, "-n")
        assert result.exit_code in (1, 2)
        assert result.stderr.count("\n") == 1
        assert len(result.stderr.replace(str(tmp_path), "")) < 700
        assert LONG[:80] not in result.stderr


@pytest.mark.parametrize(
    ("make", "way_out"),
    [
        ("", "unpack the dataset's pictures in {root}, or name the folder that holds them"),
        ("a.zip", "unpack {root}/a.zip and name its folder"),
        ("a.png", "name a table of them with `--column path=NAME --column label=NAME`"),
        ("Enojo/a.png", "name the class of each with `--map Enojo=CLASS`, or leave it out with "
                        "`--skip Enojo`"),
        ("x/y/happy/a.png x/b.csv", "class folders are in {root}/x/y: name that folder"),
        ("deep/faces.csv", "name the table itself, as in `curate build {root}/deep/faces.csv`"),
    ],
)  # fmt: skip
def test_an_unknown_folder_is_refused_with_what_to_do_about_it(
    tmp_path: Path, curate: Curate, make: str, way_out: str
) -> None:
    root = tmp_path / "set"
    root.mkdir()
    for name in make.split():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("x") if not name.endswith("png") else draw(root, name)
    result = curate("build", root, "-w", tmp_path / "ws", "-n")
    assert result.exit_code == 1
    assert result.stderr.endswith(f"{way_out.format(root=root)}\n")


@pytest.mark.parametrize("name", ["set.zip", "notes.txt", "faces.csv"])
def test_an_unknown_file_is_refused_with_what_to_do_about_it(
    tmp_path: Path, curate: Curate, name: str
) -> None:
    result = curate("build", write(tmp_path / name, "a,b", "1,2"), "-w", tmp_path / "ws", "-n")
    assert result.exit_code == 1
    assert re.search(r"unpack the archive|--column path=NAME --column label=NAME", result.stderr)


def test_an_unknown_label_is_cut_and_quoted_for_the_shell() -> None:
    with pytest.raises(Exception, match=r"`--map 'very happy=CLASS'`.*`--skip 'very happy'`"):
        canonical_labels(["very happy"], where="set")
    with pytest.raises(Exception, match="outside the vocabulary") as refused:
        canonical_labels([LONG], where="set")
    assert len(str(refused.value)) < 500


def test_a_pixel_table_without_a_header_is_refused_in_one_short_line(
    tmp_path: Path, curate: Curate
) -> None:
    table = write(tmp_path / "fer2013.csv", *pixel_lines([3, 4], ["Training", "Training"]))
    result = curate("build", table, "-w", tmp_path / "ws", "-n")
    assert (result.exit_code, result.stderr.count("\n")) == (1, 1)
    assert len(result.stderr.replace(str(tmp_path), "")) < 400
