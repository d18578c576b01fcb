"""The source studies again: each of their systems trained in full, beside what was published.

    python benchmarks/studies.py FER2013 CK48 FOLDER --list    # every job, its commands and minutes
    python benchmarks/studies.py FER2013 CK48 FOLDER --only 'five-layer' --hours 2
    python benchmarks/studies.py FER2013 CK48 FOLDER --save    # keep what is finished
    python benchmarks/studies.py FER2013 CK48 FOLDER --write   # docs/studies.md and its plots

FER2013 and CK48 are the folders of the images (docs/datasets.md). A job (`jobs.py`) is one training
and its scores; `--save` keeps them in runs/studies.tar.xz, with which a new FOLDER begins. `copies`
knows all copies, by `curate dedup` of both data sets; `official` is the split that FER2013 ships,
`random` splits both data sets without a look at copies, as the study of FERNet did, and `clean` is
`curate dedup` and `curate split`. The masked faces have a script of their own, `masked_faces.py`.
"""

import argparse
from collections.abc import Iterator, Mapping
from pathlib import Path

import jobs
from jobs import Job, quote
from studies_tables import write_tables

HERE = Path(__file__).resolve().parent
KEPT = jobs.RUNS / "studies.tar.xz"
SEEDS = (0, 1, 2)
VIEWS = "flip 5 10 20"
DOUBLED = {"w16": "16,32,64,128,256", "w32": "32,64,128,256,512", "w64": "64,128,256,512,1024"}
# Minutes on two cores, from runs of these recipes.
MINUTES = {"fast": 15, "five-layer": 80, "long": 90, "w16": 60, "w32": 240, "w64": 900, "base": 3}
AFFECTNET = "--recipe mobilenetv2 --weights none --size 96 --base-rate 0 --epochs 20"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for place in ("fer2013", "ck48", "folder"):
        parser.add_argument(place, type=Path)
    jobs.add_options(parser)
    options = parser.parse_args()
    jobs.restore(options.folder, KEPT)
    planned = list(plan(options.fer2013.resolve(), options.ck48.resolve()))
    jobs.do_chosen(options, planned, KEPT, write_tables)


def plan(fer2013: Path, ck48: Path) -> Iterator[Job]:
    """All jobs; of every row seed 0 first."""
    yield from plan_bases(fer2013, ck48)
    for seed in SEEDS:
        for recipe in ("five-layer", "fast", "long"):
            yield plan_run(f"official/{recipe}", "official", f"--recipe {recipe}", seed, recipe)
        for split in ("random", "clean"):
            words = fernet("--widths", DOUBLED["w32"])
            yield plan_run(f"{split}/fernet-w32", split, words, seed, "w32")
    for row, words in list_variants().items():
        yield plan_run(f"random/fernet-{row}", "random", words, 0, row)
    yield from plan_affectnet()


def plan_bases(fer2013: Path, ck48: Path) -> Iterator[Job]:
    """The workspaces."""
    one = f"fer2013={quote(fer2013)}"
    both = f"{one} ck48={quote(ck48)}"
    five, ratios = "--classes 5", "--ratios 70 15 15"
    found = ("curate inspect", "curate dedup")
    yield plan_base("copies", f"curate build {both}", *found)
    yield plan_base("official", f"curate build {one}", "curate split --from-source")
    yield plan_base("random", f"curate build {both}", f"curate split {ratios} {five}")
    yield plan_base("clean", f"curate build {both}", *found, f"curate split {ratios} {five}")
    yield plan_base("seven", f"curate build {one}", *found, f"curate split {ratios}")


def plan_base(name: str, *commands: str) -> Job:
    built = tuple(f"{command} -w {name}" for command in commands)
    return Job(f"base/{name}", MINUTES["base"], (f"rm -rf {name}", *built), makes=name)


def fernet(*words: str) -> str:
    return " ".join(["--recipe fernet5-improved", *words])


def list_variants() -> Mapping[str, str]:
    """What the study of FERNet leaves open or claims: widths, turns, its first version."""
    wide = ("--widths", DOUBLED["w32"])
    return {
        "w16": fernet("--widths", DOUBLED["w16"]),
        "w64": fernet("--widths", DOUBLED["w64"]),
        "w32-upright": fernet(*wide, "--rotation 15"),
        "w32-first": f"--recipe fernet5 --widths {DOUBLED['w32']}",
    }


def plan_run(row: str, state: str, words: str, seed: int, kind: str) -> Job:
    """Train one model of a workspace, and score val and test by one view and by several."""
    name = f"{row}/s{seed}"
    run = name.replace("/", "-")
    result = f"scores/{run}.json"
    commands = (
        f"train run --name {run} --seed {seed} {words} -w {state}",
        f"python {HERE}/study_scores.py {state}/runs/{run} copies --views {VIEWS} --out {result}",
    )
    minutes = MINUTES.get(kind, MINUTES["w32"])
    return Job(name, minutes, commands, f"{state}/runs/{run}", result)


def plan_affectnet() -> Iterator[Job]:
    """The pipeline of the AffectNet study, with FER2013 in the place of AffectNet."""
    run, result = "seven-affectnet-s0", "scores/affectnet.json"
    folder = f"seven/runs/{run}"
    commands = (
        f"train run --name {run} {AFFECTNET} -w seven",
        f"train embed {folder} -w seven",
        f"cp {folder}/embedding-test/points.csv scores/affectnet-points.csv",
        f"python {HERE}/study_scores.py {folder} copies --views flip --classes 3 --out {result}",
    )
    yield Job("seven/affectnet/s0", 120, commands, folder, result)
    for kind in ("drawn", "real"):
        video, made = f"{kind}.avi", f"scores/timeline-{kind}.json"
        score = f"python {HERE}/timeline_score.py {kind} {folder} {video} --out {made}"
        yield Job(f"timeline/{kind}", 3, (score,), result=made, makes=made)


if __name__ == "__main__":
    main()
