"""Results of measurements: named sections of RESULTS.md, the README and docs/fer2013.md.

Comes in: commands to run and time, or the text of a section. Goes out: the file with that section
replaced.
"""

import io
import os
import platform
import re
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from curate.files import write_atomically

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "RESULTS.md"
README = ROOT / "README.md"
FER2013 = ROOT / "docs" / "fer2013.md"
# Those on which the speed of a training depends, the fastest last.
INSTRUCTION_SETS = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16")


@dataclass(frozen=True)
class Run:
    """One finished command: output, wall and CPU seconds, peak memory of its largest process."""

    command: str
    stdout: str
    wall_seconds: float
    cpu_seconds: float
    peak_mb: float


def run_command(
    words: Sequence[str], *, cwd: Path | None = None, env: dict[str, str] | None = None
) -> Run:
    """Run a command; its progress goes to this terminal, and its failure ends the benchmark."""
    start = time.perf_counter()
    programs = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    everything = {**os.environ, "PATH": programs, **(env or {})}
    process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True, cwd=cwd, env=everything)
    assert process.stdout is not None
    stdout = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - start
    if status:
        raise SystemExit(f"`{' '.join(words)}` failed: {stdout}")
    cpu_seconds, peak_mb = usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024
    return Run(" ".join(words), stdout.rstrip(), seconds, cpu_seconds, peak_mb)


def replace_section(file: Path, name: str, body: str) -> None:
    """Write `body` between `<!-- name -->` and `<!-- /name -->`; without markers, at the end."""
    text = file.read_text() if file.is_file() else ""
    section = f"<!-- {name} -->\n{body.strip()}\n<!-- /{name} -->"
    pattern = match_section(name)
    if pattern.search(text):
        file.write_text(pattern.sub(lambda _: section, text))
    else:
        file.write_text(f"{text.rstrip()}\n\n{section}\n")


def match_section(name: str) -> re.Pattern[str]:
    """A pattern of both markers and the text between them."""
    return re.compile(rf"<!-- {re.escape(name)} -->.*?<!-- /{re.escape(name)} -->", re.DOTALL)


def read_table(file: Path, name: str) -> list[list[str]]:
    """The rows of the table in a section, without its header; none without the section."""
    text = file.read_text() if file.is_file() else ""
    section = match_section(name).search(text)
    lines = [line for line in section[0].splitlines() if line.startswith("| ")] if section else []
    return [line[2:-2].split(" | ") for line in lines[2:]]


def describe_machine() -> str:
    """Processor, cores, Python, day."""
    return (
        f"{describe_processor()}, Python {platform.python_version()}, {time.strftime('%Y-%m-%d')}"
    )


def describe_processor() -> str:
    """Its name and family, the best of `INSTRUCTION_SETS` that it has, its cores.

    A virtual machine often hides the model: families of one name differ twofold in speed.
    """
    cpuinfo = Path("/proc/cpuinfo")
    text = cpuinfo.read_text() if cpuinfo.is_file() else ""
    names = re.findall(r"model name\s*: (.*)", text)
    flags = "".join(re.findall(r"flags\s*: (.*)", text)[:1]).split()
    found = [flag for flag in INSTRUCTION_SETS if flag in flags]
    processor = names[0] if names else platform.processor()
    families = re.findall(r"cpu family\s*: (.*)", text)
    family = f" of family {families[0]}" if families else ""
    with_flag = f" with {found[-1]}" if found else ""
    return f"{processor}{family}{with_flag}, {os.cpu_count()} cores"


def to_table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A Markdown table."""
    lines = [f"| {' | '.join(map(str, row))} |" for row in (header, ["---"] * len(header), *rows)]
    return "\n".join(lines)


def save_figure(figure: Any, file: Path) -> None:
    """Write a figure of matplotlib as PNG, and close it."""
    from matplotlib import pyplot

    figure.tight_layout()
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=120)
    pyplot.close(figure)
    write_atomically(file, stream.getvalue())
