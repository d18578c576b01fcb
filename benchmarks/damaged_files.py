"""Damaged files: every file of workspaces and runs is damaged, and every command is run on it.

    python benchmarks/damaged_files.py 2000                    so many cases in all
    python benchmarks/damaged_files.py 200 --program train     of one program, without a figure
    python benchmarks/damaged_files.py 1 --case 17             one case, with what it printed

The verdicts are kept in a file beside the templates, so a run that was stopped goes on where it
was. `tests/damage.py` has the rules; the table goes into RESULTS.md.
"""

import argparse
import json
import random
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

from results import RESULTS, ROOT, describe_machine, replace_section, to_table

sys.path.insert(0, str(ROOT / "tests"))
from damage import CONTENT, DAMAGES, Case, Fuzzer, list_targets
from damage_templates import CURATE, TRAIN, make_curated, make_trained

PROGRAMS = ("curate", "train")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("count", type=int)
    parser.add_argument("--program", choices=PROGRAMS)
    parser.add_argument("--case", type=int)
    parser.add_argument("--scratch", type=Path, default=Path(tempfile.gettempdir()) / "damaged")
    options = parser.parse_args()
    scratch = options.scratch
    fuzzers = {
        name: open_fuzzer(name, scratch) for name in PROGRAMS if options.program in (None, name)
    }
    log = scratch / "verdicts.jsonl"
    done = [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []
    known = {entry["number"] for entry in done}
    for number, case in enumerate(list_cases(fuzzers)):
        if number >= options.count and options.case is None:
            break
        if options.case is not None:
            if number == options.case:
                print(case.name, fuzzers[case.program].run(case), sep="\n")
                return
            continue
        if number in known:
            continue
        verdict = fuzzers[case.program].run(case)
        entry = {"number": number, **asdict(case), **asdict(verdict)}
        done.append(entry)
        with log.open("a") as stream:
            stream.write(json.dumps(entry) + "\n")
        if verdict.finding:
            print(f"{number} {case.name}: {verdict.finding}", flush=True)
    if options.program is None:
        replace_section(RESULTS, "damaged files", describe(done))


def open_fuzzer(program: str, scratch: Path) -> Fuzzer:
    template = scratch / "templates" / program
    if not template.exists():
        template.parent.mkdir(parents=True, exist_ok=True)
        if program == "train":
            make_trained(template)
        else:
            make_curated(make_finished(scratch / "templates"), template)
    work = scratch / program
    work.mkdir(parents=True, exist_ok=True)
    return Fuzzer(template, work)


def make_finished(folder: Path) -> Path:
    """The workspace of the tests in which every stage has run."""
    import conftest

    class Folders:
        def mktemp(self, name: str) -> Path:
            made = folder / name
            made.mkdir()
            return made

    faces = conftest.tiny_faces.__wrapped__(Folders())
    built = conftest.built_template.__wrapped__(faces, Folders())
    return Path(conftest.finished_template.__wrapped__(built, Folders()))


def list_cases(fuzzers: dict[str, Fuzzer]) -> Iterator[Case]:
    """The cases in their order, without end: case N is always the same."""
    targets = {name: list_targets(fuzzer.template) for name, fuzzer in fuzzers.items()}
    number = 0
    while True:
        chance = random.Random(number)
        program = sorted(fuzzers)[number % len(fuzzers)]
        words = chance.choice(CURATE if program == "curate" else TRAIN)
        words = words if words[0] in ("compare",) else (*words, "-w", "{ws}")
        # Nine of ten are files that the command opens.
        read = fuzzers[program].list_read(program, words) if chance.random() < 0.9 else []
        file = chance.choice(read or targets[program])
        kind = chance.choice((*DAMAGES, *CONTENT))
        yield Case(program, words, file, kind, number)
        number += 1


def describe(done: list[dict[str, object]]) -> str:
    found = Counter(str(entry["finding"]) for entry in done)
    rows = []
    for program in PROGRAMS:
        own = [entry for entry in done if entry["program"] == program]
        refused = sum(not str(entry["ending"]).startswith(("0:", "3:")) for entry in own)
        files = {entry["file"] for entry in own}
        rows.append([program, f"{len(own):,}", len(files), f"{refused:,}"])
    lines = [
        "## Damaged files",
        "",
        f"{len(done):,} cases: one file damaged, one command run. "
        f"{found['traceback']} tracebacks, {found['silent']} results that changed in silence, "
        f"{found['no line']} errors without a line that names the fix.",
        "",
        to_table(["program", "cases", "files damaged", "ended with an error"], rows),
        "",
        f"`python benchmarks/damaged_files.py {len(done)}`; {describe_machine()}",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
