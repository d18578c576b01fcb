"""Measures the style of Python code: words, lines, functions, modules.

Comes in: folders of a package. Goes out: the numbers of `Style`, by `test_style.py` compared with
their bounds and by `benchmarks/code_style.py` printed as a table.
"""

import ast
import io
import re
import tokenize
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median, quantiles

LONGEST_LINE = 100
# Verbs for people, not for code, and words that are hard to read in a second language.
VERBS = {
    "tell": ("tell", "tells", "told"),
    "stand": ("stand", "stands", "stood"),
    "ask": ("ask", "asks", "asked"),
    "say": ("say", "says", "said"),
    "cry": ("cry", "cries", "cried"),
}
_WORD = re.compile(r"[A-Za-z']+")
_COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)
_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
_DECISIONS = (
    ast.If, ast.IfExp, ast.For, ast.AsyncFor, ast.While, ast.ExceptHandler, ast.Assert, ast.Lambda,
    *_FUNCTIONS,
)  # fmt: skip
_SCOPES = (ast.Module, ast.ClassDef, *_FUNCTIONS)
_Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class Function:
    """One function: its place, lines without docstring, complexity and number of parameters."""

    place: str
    lines: int
    complexity: int
    parameters: int
    is_command: bool


@dataclass(frozen=True)
class Style:
    """The numbers of some code.

    Attributes
    ----------
    verbs : of each of `VERBS`, how often it occurs per 1,000 words of docstrings and comments
    long_lines : percent of all lines that are over `LONGEST_LINE` characters
    comprehensions, conditionals : per 100 lines that are not blank
    chained : lines where more than one of both begins, per 100 lines that are not blank
    module_lines : lines of each module
    modules_per_folder : folder -> its modules, without `__init__.py`
    """

    verbs: dict[str, float]
    long_lines: float
    comprehensions: float
    conditionals: float
    chained: float
    functions: list[Function]
    module_lines: list[int]
    modules_per_folder: dict[str, int]


def measure_style(folders: Sequence[Path]) -> Style:
    """Read every module below the folders."""
    files = [file for folder in folders for file in sorted(folder.rglob("*.py"))]
    words: Counter[str] = Counter()
    counts: Counter[str] = Counter()
    functions: list[Function] = []
    module_lines = []
    for file in files:
        text = file.read_text(encoding="utf-8")
        tree = ast.parse(text)
        lines = text.splitlines()
        module_lines.append(len(lines))
        words.update(_WORD.findall(" ".join(_list_prose(text, tree)).lower()))
        counts["long"] += sum(len(line) > LONGEST_LINE for line in lines)
        counts += _count_expressions(tree)
        counts["filled"] += sum(not line.isspace() for line in lines if line)
        functions += list_functions(tree, file.as_posix())
    per_line = 100 / max(counts["filled"], 1)
    total = max(words.total(), 1)
    folder_of = (file.parent.as_posix() for file in files if file.name != "__init__.py")
    return Style(
        verbs={
            verb: 1000 * sum(words[form] for form in forms) / total for verb, forms in VERBS.items()
        },
        long_lines=100 * counts["long"] / max(sum(module_lines), 1),
        comprehensions=counts["comprehensions"] * per_line,
        conditionals=counts["conditionals"] * per_line,
        chained=counts["chained"] * per_line,
        functions=functions,
        module_lines=module_lines,
        modules_per_folder=dict(Counter(folder_of)),
    )


def percentile_90(values: Sequence[int]) -> float:
    """The value that nine in ten do not exceed."""
    return quantiles(values, n=10, method="inclusive")[-1] if len(values) > 1 else values[0]


def to_rows(style: Style) -> dict[str, str]:
    """The name of each measure -> its value, as printed."""
    plain = [function for function in style.functions if not function.is_command]
    function_lines = [function.lines for function in style.functions]
    rows = {
        f"{' / '.join(forms)}, per 1,000 words": f"{style.verbs[verb]:.2f}"
        for verb, forms in VERBS.items()
    }
    rows[f"lines over {LONGEST_LINE} characters, %"] = f"{style.long_lines:.1f}"
    rows["comprehensions per 100 lines"] = f"{style.comprehensions:.1f}"
    rows["conditional expressions per 100 lines"] = f"{style.conditionals:.1f}"
    rows["lines with two or more of them, per 100"] = f"{style.chained:.1f}"
    rows["functions"] = f"{len(style.functions):,}"
    rows["lines of a function without docstring, median / p90"] = (
        f"{median(function_lines):.0f} / {percentile_90(function_lines):.0f}"
    )
    rows["highest cyclomatic complexity"] = f"{max(f.complexity for f in style.functions)}"
    rows["most parameters (without commands)"] = f"{max(f.parameters for f in plain)}"
    rows["modules"] = f"{len(style.module_lines):,}"
    rows["lines of a module, median / p90"] = (
        f"{median(style.module_lines):.0f} / {percentile_90(style.module_lines):.0f}"
    )
    rows["modules in the fullest folder"] = f"{max(style.modules_per_folder.values())}"
    return rows


def list_functions(tree: ast.AST, place: str) -> Iterator[Function]:
    """Every function and method, nested ones too."""
    for node in ast.walk(tree):
        if isinstance(node, _FUNCTIONS):
            arguments = _list_arguments(node)
            own = [argument for argument in arguments if argument.arg not in ("self", "cls")]
            yield Function(
                place=f"{place}:{node.lineno} {node.name}",
                lines=_count_lines(node),
                complexity=count_complexity(node),
                parameters=len(own),
                is_command=_is_command(node),
            )


def count_complexity(function: _Function) -> int:
    """Cyclomatic complexity: one more than the decisions of the function.

    Besides branches, loops and handlers, the decisions inside expressions count: conditional
    expressions, comprehensions and their conditions, `and` and `or`, lambdas and assertions. That
    is the count of radon; ruff's C901 counts statements only.
    """
    decisions = 0
    for node in ast.walk(function):
        if isinstance(node, _DECISIONS) and node is not function:
            decisions += 1
        elif isinstance(node, ast.BoolOp):
            decisions += len(node.values) - 1
        elif isinstance(node, ast.comprehension):
            decisions += 1 + len(node.ifs)
    return 1 + decisions


def _count_lines(function: _Function) -> int:
    """Lines of a function without its docstring."""
    end = function.end_lineno or function.lineno
    lines = end - function.lineno + 1
    if ast.get_docstring(function) is None:
        return lines
    docstring = function.body[0]
    return lines - ((docstring.end_lineno or docstring.lineno) - docstring.lineno + 1)


def _list_arguments(function: _Function) -> list[ast.arg]:
    arguments = function.args
    return [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]


def _is_command(function: _Function) -> bool:
    """Whether it is a command of Typer, whose parameters are the options of a program."""
    annotations = [argument.annotation for argument in _list_arguments(function)]
    marks = [*function.decorator_list, *filter(None, annotations)]
    texts = map(ast.unparse, marks)
    return any(".command(" in text or ".callback(" in text or "typer." in text for text in texts)


def _list_prose(text: str, tree: ast.AST) -> Iterator[str]:
    """Docstrings and comments."""
    for node in ast.walk(tree):
        if isinstance(node, _SCOPES):
            yield ast.get_docstring(node) or ""
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT:
            yield token.string


def _count_expressions(tree: ast.AST) -> Counter[str]:
    lines: Counter[int] = Counter()
    counts: Counter[str] = Counter()
    for node in ast.walk(tree):
        is_comprehension = isinstance(node, _COMPREHENSIONS)
        if is_comprehension or isinstance(node, ast.IfExp):
            counts["comprehensions" if is_comprehension else "conditionals"] += 1
            lines[node.lineno] += 1
    counts["chained"] = sum(count > 1 for count in lines.values())
    return counts
