"""Kills: each command that writes is killed at random moments, and nothing may be lost.

    python benchmarks/kills.py 20              so many kills of every command
    python benchmarks/kills.py 20 "curate fold" "train run"    of these; the table keeps the others

A command runs in a fork of this process, so that a kill meets its work and not the loading of
libraries; it dies by SIGKILL after a random part of the time that it takes. Then the workspace must
read back, each file must be the old or the new one, no line of the journal may be missing, what was
acknowledged must be recorded, and the command again must give what it gives undisturbed. `curate
relabel` has kills of its own (`benchmarks/relabel.py kills`). The table goes into RESULTS.md.
"""

import importlib
import json
import os
import random
import re
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from results import RESULTS, ROOT, describe_machine, read_table, replace_section, to_table

sys.path.insert(0, str(ROOT / "tests"))
from conftest import call_curate
from convention import RANDOM, draw_workspace
from convention import to_table as to_decisions
from damage import plain, read
from damage_templates import make_curated, make_trained
from damaged_files import make_finished

from curate.workspace.workspace import Workspace

TRAINED = ("--epochs", "3", "--widths", "4", "--batch-size", "16", "--self-distillation", "0")
TRAINED += ("--precision", "float32")
BY = ("--by", "b")
# Command -> the template that it works in, and its words.
COMMANDS: dict[str, tuple[str, tuple[str, ...]]] = {
    "curate build": ("curated", ("build", "-j", "1")),
    "curate inspect": ("curated", ("inspect", "-j", "1")),
    "curate dedup": ("curated", ("dedup", "-j", "1", "--exact-only")),
    "curate fold": ("curated", ("fold", "--k", "4")),
    "curate flag": ("curated", ("flag", "--precision", "0.4")),
    "curate split": ("curated", ("split", "--seed", "3")),
    "curate weights": ("curated", ("weights", "--scheme", "sqrt")),
    "curate decide": ("curated", ("decide", "tiny/train/sad/0.png", "--label", "fear", *BY)),
    "curate decide --from": ("curated", ("decide", "--from", "{ws}/decided.csv", *BY)),
    "curate decide --accept-suggestions": (
        "judged", ("decide", "--accept-suggestions", "--at-least", "0.7", *BY),
    ),
    "curate decide --consensus": ("disputed", ("decide", "--consensus", *BY)),
    "curate undo": ("curated", ("undo", "{batch}", *BY)),
    "curate merge": ("curated", ("merge", "{ws}/other.jsonl")),
    "curate journal restore": ("unexplained", ("journal", "restore", *BY)),
    "curate journal discard": ("unexplained", ("journal", "discard", "--verdicts", "2", *BY)),
    "curate export folder": ("curated", ("export", "folder", "{ws}/set")),
    "curate export csv": ("curated", ("export", "csv", "{ws}/set.csv")),
    "curate export imagefolder": ("curated", ("export", "imagefolder", "{ws}/hf")),
    "curate export fiftyone": ("curated", ("export", "fiftyone", "{ws}/set51")),
    "curate audit": ("curated", ("audit", "--csv")),
    "curate report": ("curated", ("report",)),
    "curate card": ("curated", ("card",)),
    "curate publish": ("curated", ("publish", "{ws}/published")),
    "curate apply": ("published", ("apply", "{ws}/published", "-j", "1", *BY)),
    "train run": ("trained", ("run", "--name", "new", *TRAINED)),
    "train run --resume": ("trained", ("run", "--resume", "--name", "torn")),
    "train tune": ("trained", ("tune", "--trials", "2", "--out", "{ws}/tuned", *TRAINED)),
    "train evaluate": ("trained", ("evaluate", "{ws}/runs/bars", "--rows", "train")),
    "train report": ("trained", ("report", "{ws}/runs/bars", "--rows", "val")),
    "train card": ("trained", ("card", "{ws}/runs/bars")),
    "train occlude": ("trained", ("occlude", "{ws}/runs/bars")),
    "train saliency": ("trained", ("saliency", "{ws}/runs/bars", "--per-class", "1")),
    "train embed": ("trained", ("embed", "{ws}/runs/bars")),
    "train oof": ("trained", ("oof", "--models", "hog", "-j", "1")),
    "train export": ("trained", ("export", "{ws}/runs/bars")),
    "train preview": ("trained", ("preview", "--out", "{ws}/sheet.png")),
    "train predict": (
        "trained",
        ("predict", "{ws}/face.png", "--no-detect", "--out", "{ws}/out", "--run", "{ws}/runs/bars"),
    ),
    "train timeline": (
        "trained",
        ("timeline", "{ws}/film.avi", "--no-detect", "--out", "{ws}/o", "--run", "{ws}/runs/bars"),
    ),
}  # fmt: skip
LOADED = (
    "curate.cli.pipeline", "curate.export.folders", "curate.reports.leaks", "curate.reports.report",
    "faiss", "sklearn.utils.class_weight", "train.cli.training", "train.evaluation.evaluate",
    "train.export.command", "train.faces.predict", "train.oof.command", "train.report.command",
    "train.training.preview",
    "train.training.series",
)  # fmt: skip
# A second run adds a second decision, as its batch has another name, or a second search.
ADDING = (
    "curate decide", "curate decide --from", "curate undo", "curate journal discard", "train tune",
)  # fmt: skip
# Weights, what has digests of files that hold times, and FiftyOne's table of fields in any order.
DATED = (".weights.h5", "applied.json", "set51/metadata.json")
# Files of a training or a search that goes on. verdicts.json has a digest of the journal, which
# holds times; reads.json counts the reads of killed commands too.
CHANGING = (
    "state.json", ".weights.h5", "history.csv", "curves.png", "metrics.json", "recipe.json",
    "verdicts.json", "reads.json", "applied.json", "trials.csv", "search.json",
    "set51/metadata.json",
)  # fmt: skip
FIFTYONE_ID = re.compile(r'[0-9a-f]{24}|"_rand": [0-9.e-]+')


@dataclass
class Kill:
    """One kill: what was found afterwards, as sentences; `met` is whether the command still ran."""

    found: list[str]
    met: bool


def main() -> None:
    count, names = int(sys.argv[1]), sys.argv[2:] or list(COMMANDS)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        templates = {kind: make_apart(kind, folder / kind) for kind in list_templates(names)}
        load({name.split()[0] for name in names})
        for name in names:
            kills = kill_often(name, templates[COMMANDS[name][0]], folder / "ws", count)
            wrong = [sentence for kill in kills for sentence in kill.found]
            for sentence in wrong:
                print(f"{name}: {sentence}", flush=True)
            row = [name, str(len(kills)), str(sum(kill.met for kill in kills)), str(len(wrong))]
            print(row, flush=True)
            kept = {row[0]: row for row in read_table(RESULTS, "kills")} | {name: row}
            replace_section(RESULTS, "kills", describe(list(kept.values())))


def describe(rows: Sequence[Sequence[object]]) -> str:
    total, lost = (sum(int(str(row[column])) for row in rows) for column in (1, 3))
    return "\n".join(
        [
            "## Kills",
            "",
            f"{total:,} kills by SIGKILL at random moments: {lost} losses. After each one the "
            "files are old or new, the journal has its lines, and the command again gives what it "
            "gives undisturbed.",
            "",
            to_table(["command", "kills", "of them before its end", "losses"], rows),
            "",
            f"`python benchmarks/kills.py {rows[0][1]}`; the last row on {describe_machine()}",
        ]
    )


def list_templates(names: Sequence[str]) -> list[str]:
    return sorted({COMMANDS[name][0] for name in names})


def make_apart(kind: str, root: Path) -> Path:
    """A template, made in a fork: this process must not start TensorFlow's threads."""
    child = os.fork()
    if not child:
        root.parent.joinpath(f"making-{kind}").mkdir()
        TEMPLATES[kind](root)
        os._exit(0)
    if os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]):
        raise SystemExit(f"the template {kind} could not be made")
    return root


def make_everything(root: Path) -> None:
    """Every stage has run, with decisions of two reviewers."""
    make_curated(make_finished(root.parent / f"making-{root.name}"), root)


def make_published(root: Path) -> None:
    """Just built, and beside it the curation of a workspace in which every stage has run."""
    making = root.parent / f"making-{root.name}"
    call_curate("publish", root / "published", "-w", make_finished(making))
    call_curate("build", making / "sets" / "tiny", "-w", root, "-j", "1")


def make_unexplained(root: Path) -> None:
    """With verdicts in the manifest that the journal has lost."""
    make_everything(root)
    Workspace(root).journal.write_text("")


def make_judged(root: Path) -> None:
    """200 random verdicts, from which flag has learned a class posterior."""
    workspace, names = draw_workspace(root)
    table = root.parent / "verdicts.csv"
    to_decisions(workspace, names, RANDOM[:200]).to_csv(table, index=False)
    call_curate("decide", "--from", table, "--by", "R", "-w", root)
    call_curate("flag", "-w", root)


def make_disputed(root: Path) -> None:
    """Three reviewers on the same images; the third one is wrong throughout."""
    workspace, names = draw_workspace(root)
    others = np.roll(np.unique(names), 1)[np.unique(names, return_inverse=True)[1]]
    table = root.parent / "verdicts.csv"
    for by, given in (("R1", names), ("R2", names), ("R3", others)):
        to_decisions(workspace, given, RANDOM[:60]).to_csv(table, index=False)
        call_curate("decide", "--from", table, "--by", by, "-w", root)


def make_runs(root: Path) -> None:
    """With runs, and with a film of its faces."""
    make_trained(root)
    faces = sorted((root.parent / "making" / "images").rglob("*.png"))[:8]
    film = cv2.VideoWriter(str(root / "film.avi"), cv2.VideoWriter_fourcc(*"MJPG"), 5, (96, 96))
    for face in faces:
        film.write(cv2.resize(cv2.imread(str(face)), (96, 96)))
    film.release()


TEMPLATES: dict[str, Callable[[Path], None]] = {
    "curated": make_everything,
    "published": make_published,
    "unexplained": make_unexplained,
    "judged": make_judged,
    "disputed": make_disputed,
    "trained": make_runs,
}


def load(programs: set[str]) -> None:
    """Import what the commands import, so that no kill meets an import."""
    for name in LOADED:
        if "train" in programs or not name.startswith("train."):
            importlib.import_module(name)


def start(name: str, root: Path) -> int:
    """Run a command in a fork; its outputs go to files beside the workspace."""
    program, words = name.split()[0], COMMANDS[name][1]
    if name == "train run" and (root / "runs" / "new" / "recipe.json").is_file():
        words = ("run", "--resume", "--name", "new")
    child = os.fork()
    if child:
        return child
    os.setsid()
    for number, kind in ((1, "stdout"), (2, "stderr")):
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
        os.dup2(os.open(root.parent / kind, flags), number)
    words = tuple(read_batch(root) if word == "{batch}" else word for word in words)
    arguments = [word.replace("{ws}", str(root)) for word in (*words, "-w", "{ws}")]
    if program == "curate":
        from curate.cli.pipeline import app
    else:
        from train.cli.training import app
    try:
        app(arguments, prog_name=program)
    except SystemExit as end:
        sys.stdout.flush()
        os._exit(int(end.code or 0))
    os._exit(0)


def read_batch(root: Path) -> str:
    """The batch of the last decision in the journal."""
    line = (root / "decisions.jsonl").read_text().splitlines()[-1]
    return str(json.loads(line)["batch"])


def finish(name: str, root: Path) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(start(name, root), 0)[1])


def kill_often(name: str, template: Path, root: Path, count: int) -> list[Kill]:
    copy(template, root)
    before = read_left(root)
    began = time.perf_counter()
    if finish(name, root):
        raise SystemExit(f"{name} fails undisturbed: {(root.parent / 'stderr').read_text()}")
    seconds = time.perf_counter() - began
    after = read_left(root)
    chance = random.Random(name)
    kills = []
    for _ in range(count):
        copy(template, root)
        kills.append(kill_once(name, root, chance.uniform(0, seconds), before, after))
    return kills


def kill_once(
    name: str, root: Path, delay: float, before: dict[str, str], after: dict[str, str]
) -> Kill:
    child = start(name, root)
    time.sleep(delay)
    os.killpg(child, signal.SIGKILL) if os.getpgid(child) == child else os.kill(child, 9)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    found = []
    left = read_left(root)
    for file, text in left.items():
        is_journal = file == "decisions.jsonl"
        # A merge sorts the lines anew; every other command appends.
        if is_journal and set(before.get(file, "").splitlines()) - set(text.splitlines()):
            found.append("lines of the journal are lost")
        may_change = is_journal or file.endswith(CHANGING) or file.startswith("receipts/")
        if not may_change and text not in (before.get(file), after.get(file)):
            found.append(f"{file} is neither old nor new")
    found += [f"{file} is lost" for file in before.keys() - left.keys() if file in after]
    if name in ADDING:
        said = (root.parent / "stdout").read_text()
        old, new = (files.get("decisions.jsonl", "").count("\n") for files in (before, left))
        if "batch" in said and new == old:
            found.append("an acknowledged decision is lost")
        found += check_reads(root)
        return Kill(found, code == -signal.SIGKILL)
    if name == "train run --resume" and (root / "runs/torn/metrics.json").is_file():
        again = 0
    else:
        again = finish(name, root)
    if again and not (name == "train run" and is_finished(root)):
        found.append(f"again it fails: {(root.parent / 'stderr').read_text()[-300:]}")
    found += compare(read_left(root), after)
    return Kill(found, code == -signal.SIGKILL)


def compare(final: dict[str, str], after: dict[str, str]) -> list[str]:
    """What differs from the undisturbed result: bytes of tables, scores of a training."""
    found = []
    for file in sorted(final.keys() | after.keys()):
        old, new = after.get(file), final.get(file)
        if file.endswith("metrics.json") and old and new:
            old, new = (json.dumps(json.loads(text).get("val")) for text in (old, new))
        if file.endswith((*DATED, "recipe.json", "reads.json")) or file.startswith("receipts/"):
            old, new = str(old is None), str(new is None)
        if old != new:
            found.append(f"again {file} differs from the undisturbed one")
    return found


def read_left(root: Path) -> dict[str, str]:
    """The files; without batches in their names, which hold the time, and FiftyOne's own ids."""
    left = {plain(file): text for file, text in read(root).items() if not is_temporary(file)}
    return {
        file: FIFTYONE_ID.sub("ID", text) if file.startswith("set51/") else text
        for file, text in left.items()
    }


def check_reads(root: Path) -> list[str]:
    from curate.workspace.receipts import read_receipts
    from curate.workspace.workspace import Workspace

    workspace = Workspace(root)
    try:
        workspace.read()
        workspace.read_journal()
        read_receipts(root)
    except Exception as error:
        return [f"it does not read back: {error}"]
    return []


def is_finished(root: Path) -> bool:
    return (root / "runs" / "new" / "metrics.json").is_file()


def is_temporary(file: str) -> bool:
    """Whether a file is what a killed writer could not remove; the next one removes it."""
    return any(part.startswith(".") or part.endswith(".tmp") for part in file.split("/"))


def copy(template: Path, root: Path) -> None:
    shutil.rmtree(root, ignore_errors=True)
    shutil.copytree(template, root)


if __name__ == "__main__":
    main()
