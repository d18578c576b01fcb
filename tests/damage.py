"""Damage a file of a workspace or a run, run a command, and judge what the command did.

In: a template folder, the words of a command, a file of the template, a kind of damage, a seed.
Out: a `Verdict`. A command may give the result that it gives on the intact file, or end with one
line that names what is wrong, or give another result with a note that names the file. Everything
else is a finding: a traceback, an error of several lines, a result that changed in silence.
"""

import contextlib
import ctypes
import json
import logging
import os
import random
import re
import shutil
import sys
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from typer.testing import CliRunner

from curate.errors import EXIT_FOUND

# No command reads these for its result; a picture is the user's, and `curate check` finds changes.
PASSED_OVER = (".lock", "lock", ".png", ".html", "events.out", ".keras")
# What differs between two runs of a command on the same files.
VOLATILE = (
    (r"\d{4}-\d\d-\d\dT[\d:.]+Z?", "TIME"),
    (r"\d{8}T\d{6}Z?(-[0-9a-f]+)?", "BATCH"),
    (r'"(seconds|cpu_seconds|peak_mb)": [\d.]+', r'"\1": 0'),
    (r"\d+(\.\d+)? s\b", "SECONDS"),
    # Of times too; the values are compared.
    (r'"record_sha256": "[0-9a-f]*"', '"record_sha256": 0'),
)
ODD_VALUES: tuple[Any, ...] = (
    None, True, "", "x", "../../etc", "\0", -1, 0, 1, 7, 1.5, -1e308, 1e400, float("nan"), 10**30,
    [], {}, [[]], {"a": {}}, ["x"], "9" * 5000,
)  # fmt: skip
ODD_CELLS = (
    "", "nan", "inf", "-inf", "1e999", "-1", "0", "1", "99999999999999999999", "x" * 70000,
    "\x1b[2J", "\0", "a,b", '"', "é", "None", "true", "../..", "{", '{"happy": 1e999}', "0 0 0 0",
    "keep",
)  # fmt: skip


@dataclass(frozen=True)
class Case:
    """One try: what is run, and which file is damaged in which way."""

    program: str
    words: tuple[str, ...]
    file: str
    damage: str
    seed: int

    @property
    def name(self) -> str:
        """`curate status, receipts/dedup.json flipped, 7`."""
        return f"{self.program} {' '.join(self.words)}, {self.file} {self.damage}, {self.seed}"


@dataclass(frozen=True)
class Outcome:
    """What a command did: its exit code, its texts, the files it left, and its traceback."""

    code: int
    stdout: str
    stderr: str
    files: dict[str, str]
    crash: str = ""


@dataclass(frozen=True)
class Verdict:
    """`finding` is empty, `traceback`, `no line`, `silent`; `text` shows it."""

    finding: str
    text: str
    ending: str


def flip(data: bytes, chance: random.Random) -> bytes:
    """One to eight bytes changed."""
    damaged = bytearray(data)
    for _ in range(chance.randint(1, 8) if damaged else 0):
        damaged[chance.randrange(len(damaged))] ^= chance.randint(1, 255)
    return bytes(damaged)


def change_digit(data: bytes, chance: random.Random) -> bytes:
    """One digit changed: what a reader of text notices least."""
    places = [place for place, byte in enumerate(data[:200_000]) if 48 <= byte <= 57]
    if not places:
        return flip(data, chance)
    place = chance.choice(places)
    other = chance.choice([byte for byte in b"0123456789" if byte != data[place]])
    return data[:place] + bytes([other]) + data[place + 1 :]


def truncate(data: bytes, chance: random.Random) -> bytes:
    """The end is missing."""
    return data[: chance.randrange(max(1, len(data)))]


def empty(_: bytes, __: random.Random) -> bytes:
    """No byte is left."""
    return b""


def zero(data: bytes, chance: random.Random) -> bytes:
    """A block of zero bytes, as a power cut leaves it."""
    start = chance.randrange(max(1, len(data)))
    length = min(len(data) - start, chance.choice([1, 512, 4096]))
    return data[:start] + bytes(length) + data[start + length :]


def double(data: bytes, _: random.Random) -> bytes:
    """The content twice."""
    return data * 2


def garble(data: bytes, chance: random.Random) -> bytes:
    """Another kind of content: random bytes, deep nesting, another encoding."""
    kinds = (
        chance.randbytes(max(1, len(data))),
        b"[" * 100_000,
        b'{"a":' * 100_000,
        "é€".encode("utf-16") + data,
        b"\xff\xfe" + data,
        b"\xef\xbb\xbf" + data,
        data.replace(b"\n", b"\r\n"),
        data.replace(b",", b";"),
        b"null",
        b"NaN",
        b"[]",
        b"{}",
        b"\x89PNG\r\n\x1a\n",
        b"1" * 5000,
    )
    return chance.choice(kinds)


def change_value(data: bytes, chance: random.Random) -> bytes:
    """A value of JSON, or a cell of a table, of another type or out of its range."""
    try:
        tree = json.loads(data)
    except ValueError:
        return _change_cell(data, chance)
    for _ in range(20):
        if _change_leaf(tree, chance):
            break
    return json.dumps(tree, indent=1).encode()


def _change_leaf(tree: Any, chance: random.Random) -> bool:
    """Replace, remove or add something at a random place of the tree."""
    node = tree
    while True:
        if not isinstance(node, dict | list) or not node:
            return False
        keys = list(node) if isinstance(node, dict) else list(range(len(node)))
        key = chance.choice(keys)
        below = node[key]
        if isinstance(below, dict | list) and below and chance.random() < 0.85:
            node = below
            continue
        if chance.random() < 0.15:
            del node[key]
        else:
            node[key] = chance.choice(ODD_VALUES)
        return True


def _change_cell(data: bytes, chance: random.Random) -> bytes:
    lines = data.decode(errors="replace").splitlines()
    if not lines:
        return flip(data, chance)
    number = chance.randrange(len(lines))
    cells = lines[number].split(",")
    kind = chance.random()
    if kind < 0.1:
        lines.pop(number)
    elif kind < 0.2:
        lines.insert(number, lines[number])
    elif kind < 0.3:
        lines.append(lines.pop(number))
    else:
        cells[chance.randrange(len(cells))] = chance.choice(ODD_CELLS)
        lines[number] = ",".join(cells)
    return ("\n".join(lines) + "\n").encode(errors="surrogateescape")


CONTENT: dict[str, Callable[[bytes, random.Random], bytes]] = {
    "flipped": flip,
    "with another digit": change_digit,
    "cut": truncate,
    "empty": empty,
    "with zeros": zero,
    "doubled": double,
    "garbled": garble,
    "with an odd value": change_value,
}
DAMAGES = (*CONTENT, "unreadable", "a folder", "missing")
# The result may differ: the stage that writes a missing file counts as not run.
MAY_DIFFER = ("missing",)
# People's own files: the lines that are left are what they decided, the rows what they wrote.
OWN = ("decisions.jsonl", "other.jsonl", "decided.csv", "face.png")


def damage(file: Path, kind: str, seed: int) -> None:
    """Damage one file."""
    if kind == "unreadable":
        file.chmod(0)
    elif kind == "missing":
        file.unlink()
    elif kind == "a folder":
        file.unlink()
        file.mkdir()
    else:
        file.write_bytes(CONTENT[kind](file.read_bytes(), random.Random(seed)))


# Linux: the number of the system call, the version of its header, both words of capabilities.
_CAPSET = {"x86_64": 126, "aarch64": 91}
_VERSION_3 = 0x20080522
_OVERRIDES = (1, 2)  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH


@contextlib.contextmanager
def obey_modes() -> Iterator[None]:
    """Let the modes of files count for root too, as for any other user."""
    if os.geteuid() != 0:
        yield
        return
    permitted = int(re.search(r"CapPrm:\s*(\w+)", Path("/proc/self/status").read_text())[1], 16)
    lowered = permitted & ~sum(1 << bit for bit in _OVERRIDES)
    _set_capabilities(lowered, permitted)
    try:
        yield
    finally:
        _set_capabilities(permitted, permitted)


def _set_capabilities(effective: int, permitted: int) -> None:
    header = (ctypes.c_uint32 * 2)(_VERSION_3, 0)
    words = []
    for shift in (0, 32):
        words += [(effective >> shift) & 0xFFFFFFFF, (permitted >> shift) & 0xFFFFFFFF, 0]
    data = (ctypes.c_uint32 * 6)(*words)
    if ctypes.CDLL(None, use_errno=True).syscall(_CAPSET[os.uname().machine], header, data):
        raise OSError(ctypes.get_errno(), "capset")


def call(program: str, words: tuple[str, ...], root: Path) -> Outcome:
    """Run a command in this process; `{ws}` in its words is the folder."""
    if program == "curate":
        from curate.cli.pipeline import app
    else:
        from train.cli.training import app
    arguments = [word.replace("{ws}", str(root)) for word in words]
    env = {"USER": os.environ.get("USER", "a")}
    with obey_modes():
        done = CliRunner().invoke(app, arguments, prog_name=program, env=env)
    crash = ""
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        crash = "".join(traceback.format_exception(done.exception))
    return Outcome(done.exit_code, plain(done.stdout), plain(done.stderr), read(root), crash)


def plain(text: str) -> str:
    """Without times and bars."""
    for pattern, word in VOLATILE:
        text = re.sub(pattern, word, text)
    # A bar of progress writes over its own line.
    return "\n".join(line.rpartition("\r")[2] for line in text.split("\n"))


def read(root: Path) -> dict[str, str]:
    """The files that a command leaves, without caches, times and locks."""
    found = {}
    for file in sorted(root.rglob("*")):
        name = file.relative_to(root).as_posix()
        if ".cache/" in name or not file.is_file() or name.endswith(PASSED_OVER):
            continue
        try:
            data = file.read_bytes()
        except OSError:
            continue
        try:
            text = plain(data.decode())
        except UnicodeDecodeError:
            text = str(hash_weights(file) if name.endswith(".h5") else hash(data))
        if name == "verdicts.json":  # a digest of the journal, which holds times
            text = re.sub(r'"journals": .*?\]\s*\]', "", text, flags=re.DOTALL)
        found[name] = text
    return found


def hash_weights(file: Path) -> int:
    """Of the numbers alone: Keras counts the networks of a process in the names of layers."""
    import h5py

    found: list[bytes] = []

    def add(_name: str, node: object) -> None:
        if isinstance(node, h5py.Dataset):
            found.append(node[()].tobytes())

    try:
        with h5py.File(file) as stored:
            stored.visititems(add)
    except (OSError, RuntimeError, KeyError, ValueError, TypeError, MemoryError):  # damaged
        return hash(file.read_bytes())
    return hash(tuple(found))


_heard: list[tuple[str, set[str]]] = []


@contextlib.contextmanager
def hear_opened(root: Path) -> Iterator[set[str]]:
    """The files below a folder that this process opens."""
    if not _hooked:
        sys.addaudithook(_hear)
        _hooked.append(True)
    opened: set[str] = set()
    _heard.append((f"{root}/", opened))
    try:
        yield opened
    finally:
        _heard.pop()


_hooked: list[bool] = []


def _hear(event: str, arguments: tuple[Any, ...]) -> None:
    if event == "open" and _heard:
        root, opened = _heard[-1]
        name = (
            os.fsdecode(arguments[0])
            if isinstance(arguments[0], str | bytes)
            else str(arguments[0])
        )
        if name.startswith(root):
            opened.add(name.removeprefix(root))


class Fuzzer:
    """Runs cases on copies of a template; the result on intact files is computed once a command."""

    def __init__(self, template: Path, work: Path) -> None:
        self.template, self.root = template, work / "ws"
        # Its warning of many networks in one process goes to the stderr of the first command.
        logging.getLogger("tensorflow").setLevel(logging.ERROR)
        self._intact: dict[tuple[str, ...], Outcome] = {}
        self._opened: dict[tuple[str, ...], list[str]] = {}

    def run(self, case: Case) -> Verdict:
        """The verdict on one case."""
        intact = self._run_intact(case)
        self._copy()
        with contextlib.suppress(FileNotFoundError):
            damage(self.root / case.file, case.damage, case.seed)
        damaged = read(self.root)
        outcome = call(case.program, case.words, self.root)
        return judge(case, intact, outcome, damaged)

    def list_read(self, program: str, words: tuple[str, ...]) -> list[str]:
        """The files of the template that a command opens."""
        self._run_intact(Case(program, words, "", "", 0))
        return self._opened[program, *words]

    def _run_intact(self, case: Case) -> Outcome:
        key = (case.program, *case.words)
        if key not in self._intact:
            self._copy()
            with hear_opened(self.root) as opened:
                self._intact[key] = call(case.program, case.words, self.root)
            assert not self._intact[key].crash, self._intact[key].crash
            assert self._intact[key].code in (0, 3), self._intact[key].stderr
            targets = list_targets(self.template)
            self._opened[key] = [name for name in targets if name in opened]
        return self._intact[key]

    def _copy(self) -> None:
        if self.root.exists():
            for file in self.root.rglob("*"):
                if not file.is_symlink():
                    file.chmod(0o700)
            shutil.rmtree(self.root)
        shutil.copytree(self.template, self.root)


def judge(case: Case, intact: Outcome, outcome: Outcome, damaged: dict[str, str]) -> Verdict:
    """Whether a command on a damaged file did what it may."""
    last = outcome.stderr.strip().splitlines()[-1:] or [""]
    ending = f"{outcome.code}: {last[0][:300]}"
    if outcome.crash or "Traceback (most recent" in outcome.stderr:
        return Verdict("traceback", outcome.crash or outcome.stderr, ending)
    name = case.file.rpartition("/")[2]
    notes = outcome.stderr.removeprefix(intact.stderr)
    if outcome.code != intact.code and outcome.code != EXIT_FOUND:
        has_line = (
            last[0].startswith(f"{case.program}: ") and ": " in last[0][len(case.program) + 2 :]
        )
        if not has_line and "Usage: " not in outcome.stderr:
            return Verdict("no line", outcome.stderr, ending)
        own = [line for line in notes.splitlines() if line.startswith(f"{case.program}: ")]
        return Verdict("" if len(own) <= 1 else "no line", notes, ending)
    is_stale = outcome.stdout.count("stale") > intact.stdout.count("stale")
    is_named = name in notes or outcome.code != intact.code or is_stale
    if case.damage in MAY_DIFFER or name in OWN or is_named:
        return Verdict("", "", ending)
    left = dict(outcome.files)
    if left.get(case.file) == damaged.get(case.file):  # it was left as it is
        left[case.file] = intact.files.get(case.file, "")
        if case.file not in intact.files:
            del left[case.file]
    if outcome.stdout == intact.stdout and left == intact.files:
        return Verdict("", "", ending)
    differing = [
        name for name in sorted({*left, *intact.files}) if left.get(name) != intact.files.get(name)
    ]
    text = f"files: {differing}\nintact: {intact.stdout[-600:]}\nnow: {outcome.stdout[-600:]}"
    return Verdict("silent", f"{text}\n{notes}", ending)


def list_targets(template: Path) -> list[str]:
    """The files of a template that may be damaged."""
    return [
        file.relative_to(template).as_posix()
        for file in sorted(template.rglob("*"))
        if file.is_file() and not file.name.endswith(PASSED_OVER)
    ]
