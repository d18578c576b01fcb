"""Whether curation buys a better model: rows (a) to (h), budgets of keys, and a bench of noise.

    python benchmarks/curation_pays.py FER2013 VOTES FOLDER --list    # every job, its minutes
    python benchmarks/curation_pays.py FER2013 VOTES FOLDER           # runs what is missing
    python benchmarks/curation_pays.py FER2013 VOTES FOLDER --hours 5 --only 'leakfree/'
    python benchmarks/curation_pays.py FER2013 VOTES FOLDER --save    # keep what is finished
    python benchmarks/curation_pays.py FER2013 VOTES FOLDER --write   # RESULTS.md and the plot

A job (`jobs.py`) is a few commands that a user could type; `--list` prints them. `--save` keeps
what is finished in runs/curation_pays.tar.xz, with which a new FOLDER begins. All models are the
recipe `fast` with the same number of epochs, so rows of one split differ in their labels alone.
`leakfree` is `curate dedup` and a split of 60/10/30; `official` the split that FER2013 ships. The
reviewer is the crowd's majority (`curation_reviewer.py`).
"""

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import jobs
from curation_tables import write_tables
from jobs import Job, quote

HERE = Path(__file__).resolve().parent
KEPT = jobs.RUNS / "curation_pays.tar.xz"
SEEDS = (0, 1, 2)
SPLITS = ("leakfree", "official")
ORDERS = ("queue", "random", "cleanlab")
WEIGHTS = (0.25, 0.75)  # of the belief, besides the default
LEADING_KEYS = (200, 1000)
POSTERIOR_KEYS = (200, 500, 1000, 2000)
BUDGETS = (500, 1000, 2000, 4000)
FLIPPED = (0.1, 0.2, 0.3)
NOISE = (
    ("symmetric", 0.0),
    *(("symmetric", share) for share in FLIPPED),
    *(("confusions", share) for share in FLIPPED),
)
# Minutes on two cores at 12 epochs, from runs of `fast` and `train oof` on FER2013.
MINUTES = {"train": 5.5, "state": 0.5, "base": 6.0, "oof": 13.0, "noise": 1.5, "noise state": 6.0}


@dataclass(frozen=True)
class Sizes:
    """What a smoke run makes smaller."""

    epochs: int = 12
    folds: int = 5
    seeds: Sequence[int] = SEEDS
    posterior_keys: Sequence[int] = POSTERIOR_KEYS
    leading_keys: Sequence[int] = LEADING_KEYS
    budgets: Sequence[int] = BUDGETS
    noise: Sequence[tuple[str, float]] = NOISE
    oof: str = ""
    run: str = ""


FULL = Sizes()
SMALL = "--widths 4 --batch-size 32"
SMOKE = Sizes(
    epochs=1, folds=2, seeds=(0,), posterior_keys=(80,), leading_keys=(80,), budgets=(80,),
    noise=(("symmetric", 0.2),), oof="--models hog", run=SMALL,
)  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for place in ("dataset", "votes", "folder"):
        parser.add_argument(place, type=Path)
    jobs.add_options(parser)
    parser.add_argument("--smoke", action="store_true", help="everything tiny, of drawn faces")
    options = parser.parse_args()
    dataset, votes = options.dataset.resolve(), options.votes.resolve()
    planned = list(plan(dataset, votes, SMOKE if options.smoke else FULL))
    if not options.smoke:
        jobs.restore(options.folder, KEPT)
    jobs.do_chosen(options, planned, KEPT, write_tables)


def plan(dataset: Path, votes: Path, sizes: Sizes) -> Iterator[Job]:
    """All jobs in their order: what answers most comes first, of every row seed 0 first."""
    yield from plan_bases(dataset, sizes)
    for split in SPLITS:
        yield from plan_states(split, votes, sizes)
    for seed in sizes.seeds:
        for split in SPLITS:
            for row, how in list_rows(split, sizes).items():
                yield plan_row(split, row, how, seed, votes, sizes)
        if seed == sizes.seeds[0]:  # the share of the belief is chosen by val with one seed
            for weight in WEIGHTS:
                words = f"--targets oof --belief-weight {weight:g}"
                how = ("leakfree", words)
                yield plan_row("leakfree", f"e-oof-{weight:g}", how, seed, votes, sizes)
    yield from plan_budgets(votes, sizes)
    yield from plan_noise(votes, sizes)


def plan_bases(dataset: Path, sizes: Sizes) -> Iterator[Job]:
    """Workspaces: as shipped, and clean with either split, with models within train."""
    clean = [
        f"curate build fer2013={quote(dataset)} -w clean",
        "curate inspect -w clean",
        "curate dedup -w clean",
        f"curate fold --k {sizes.folds} -w clean",
    ]
    yield Job("base/clean", MINUTES["base"], ("rm -rf clean", *clean), makes="clean")
    splits = {"leakfree": "--ratios 60 10 30", "official": "--from-source"}
    for split, how in splits.items():
        copied = (f"rm -rf {split}", f"cp -r clean {split}", f"curate split {how} -w {split}")
        yield Job(f"base/{split}", 1, copied, makes=split)
    for split in splits:
        oof = f"train oof --within train {sizes.oof} -w {split}".replace("  ", " ")
        commands = (oof, f"curate flag -w {split}")
        made = f"{split}/label_errors.csv"
        yield Job(f"base/{split}-oof", MINUTES["oof"], commands, makes=made)
    for split in splits:
        shipped = f"shipped-{split}"
        build = (f"rm -rf {shipped}", clean[0].replace("-w clean", f"-w {shipped}"))
        then = f"python {HERE}/curation_reviewer.py ship {shipped} leakfree"
        then = "curate split --from-source -w shipped-official" if split == "official" else then
        yield Job(f"base/{shipped}", 1, (*build, then), makes=shipped)


def plan_states(split: str, votes: Path, sizes: Sizes) -> Iterator[Job]:
    """Workspaces with decisions: suspects dropped, suggestions accepted, random verdicts."""
    for name, step in (("suspects", "--share 0.1"), ("believed", "--at-least 0.9")):
        state = f"{split}-{name}"
        commands = (*fork(split, state), *decide_by_models(name, state, step))
        yield Job(f"state/{state}", MINUTES["state"], commands, makes=state)
    before, seen = split, 0
    for keys in sizes.posterior_keys:
        state = f"{split}-random-{keys}"
        steps = sit(state, votes, keys - seen, "random")
        yield plan_state(state, fork(before, state), steps, votes)
        before, seen = state, keys
    for keys in sizes.leading_keys:
        state, accepted = f"{split}-random-{keys}", f"{split}-accepted-{keys}"
        step = f"curate decide --accept-suggestions --at-least 0.9 -w {accepted}"
        yield plan_state(accepted, fork(state, accepted), (step,), votes)


def plan_state(state: str, forked: Sequence[str], steps: Sequence[str], votes: Path) -> Job:
    result = f"labels/{state}.json"
    count = f"python {HERE}/curation_reviewer.py labels {state} {quote(votes)} --out {result}"
    commands = (*forked, *steps, count)
    return Job(f"state/{state}", MINUTES["state"], commands, result=result, makes=state)


def fork(before: str, state: str) -> tuple[str, ...]:
    """A copy of a workspace without its runs; the cache can be made again."""
    return (f"rm -rf {state}", f"cp -r {before} {state}", f"rm -rf {state}/runs {state}/.cache")


def decide_by_models(name: str, state: str, step: str) -> tuple[str, str]:
    """Suspects dropped or beliefs accepted, if there are any."""
    made = f"{state}.csv"
    record = f"curate decide --from {made} --by benchmark -w {state}"
    return (
        f"python {HERE}/curation_reviewer.py {name} {state} {step} --out {made}",
        f"if [ $(wc -l < {made}) -gt 1 ]; then {record}; fi",
    )


def sit(state: str, votes: Path, keys: int, order: str) -> tuple[str, ...]:
    """One sitting of the reviewer, and flag again after it."""
    made = f"{state}.csv"
    how = f"--keys {keys} --order {order} --out {made}"
    return (
        f"python {HERE}/curation_reviewer.py judge {state} {quote(votes)} {how}",
        f"curate decide --from {made} --by crowd -w {state}",
        f"curate flag -w {state}",
    )


def list_rows(split: str, sizes: Sizes) -> dict[str, tuple[str, str]]:
    """Row -> the workspace that it trains in, and words for `train run`; the leading rows first."""
    some = [keys for keys in sizes.posterior_keys if keys in sizes.leading_keys]
    rest = [keys for keys in sizes.posterior_keys if keys not in some]
    posterior = "--targets posterior"
    rows = {"a": (f"shipped-{split}", "")}
    rows |= {f"e-posterior-{keys}": (f"{split}-random-{keys}", posterior) for keys in some}
    rows |= {f"d-{keys}": (f"{split}-accepted-{keys}", "") for keys in some}
    rows |= {"d-0": (f"{split}-believed", ""), "e-oof": (split, "--targets oof")}
    rows |= {"b": (split, ""), "c": (f"{split}-suspects", "")}
    rows |= {f"e-posterior-{keys}": (f"{split}-random-{keys}", posterior) for keys in rest}
    rows |= {"f": (split, "--self-distillation 0"), "g": (split, "--class-weights balanced")}
    if split == "leakfree":  # combinations, of which val chooses (h)
        for keys in some:
            state = f"{split}-random-{keys}"
            rows[f"h-plain-{keys}"] = (state, f"{posterior} --self-distillation 0")
            rows[f"h-weights-{keys}"] = (state, f"{posterior} --class-weights sqrt")
    return rows


def plan_row(
    split: str, row: str, how: tuple[str, str], seed: int, votes: Path, sizes: Sizes
) -> Job:
    """Train one model and score it on the rows of the split as it is shipped, or clean."""
    scored = "shipped-official" if split == "official" else "leakfree"
    return plan_model(f"{split}/{row}/s{seed}", *how, seed, (scored, votes), sizes)


def plan_model(
    name: str, state: str, words: str, seed: int, scored: tuple[str, Path], sizes: Sizes
) -> Job:
    """A job of `train run` and its scores on another workspace's rows.

    Parameters
    ----------
    scored : the workspace whose val and test are predicted, and the votes
    """
    run = name.replace("/", "-")
    train = f"train run --name {run} --seed {seed} --epochs {sizes.epochs} {sizes.run} {words}"
    result = f"scores/{run}.json"
    clean = state if state.startswith("noise") else "clean"
    place = f"{state}/runs/{run} {clean} {scored[0]} {quote(scored[1])}"
    score = f"python {HERE}/curation_reviewer.py score {place} --out {result}"
    minutes = MINUTES["noise" if state.startswith("noise") else "train"]
    command = f"{' '.join(train.split())} -w {state}"
    return Job(name, minutes, (command, score), f"{state}/runs/{run}", result)


def plan_budgets(votes: Path, sizes: Sizes) -> Iterator[Job]:
    """The first 0 to 4,000 keys by the queue, at random and in cleanlab's order, on leak-free rows.

    The states at random are those of rows (e'), where they have been made; zero keys are row (b).
    """
    for order in ORDERS:
        before, seen = "leakfree", 0
        for keys in sizes.budgets:
            state = f"leakfree-{order}-{keys}"
            if order != "random" or keys not in sizes.posterior_keys:
                steps = sit(state, votes, keys - seen, order)
                yield plan_state(state, fork(before, state), steps, votes)
            before, seen = state, keys
    # The budgets that show most first: 500 keys last.
    ordered = sorted(sizes.budgets, key=lambda keys: (keys < 1000, keys))
    for seed, order, keys in product(sizes.seeds, ORDERS, ordered):
        name = f"budget/{order}-verdicts-{keys}/s{seed}"
        state, words = f"leakfree-{order}-{keys}", "--targets verdicts"
        yield plan_model(name, state, words, seed, ("leakfree", votes), sizes)


def plan_noise(votes: Path, sizes: Sizes) -> Iterator[Job]:
    """Unanimous rows with flipped labels: five ways to train, scored on the true labels."""
    reviewer = f"python {HERE}/curation_reviewer.py"
    for kind, share in sizes.noise:
        state = f"noise-{kind}-{round(100 * share)}"
        draw = f"{state} --share {share:g} --kind {kind}"
        oof = " ".join(f"train oof --within train {sizes.oof} -w {state}".split())
        commands = (
            f"rm -rf {state}",
            f"{reviewer} flip clean {quote(votes)} {draw}",
            f"curate fold --k {sizes.folds} -w {state}",
            f"curate split --ratios 60 10 30 -w {state}",
            oof,
            f"curate flag -w {state}",
        )
        result = f"{state}/draw.json"
        minutes = MINUTES["noise state"]
        yield Job(f"noise/{state}", minutes, commands, result=result, makes=state)
        # Train loses as many rows as were flipped: what a user who knows the rate would do.
        steps = {"suspects": f"--share {share:g}", "believed": "--at-least 0.9"}
        for name, step in steps.items():
            other = f"{state}-{name}"
            commands = (*fork(state, other), *decide_by_models(name, other, step))
            yield Job(f"noise/{other}", 0.3, commands, makes=other)
    ways = {
        "plain": ("", "--self-distillation 0"),
        "fast": ("", ""),
        "dropped": ("-suspects", ""),
        "accepted": ("-believed", ""),
        "oof": ("", "--targets oof"),
    }
    for seed in sizes.seeds:
        for kind, share in sizes.noise:
            state = f"noise-{kind}-{round(100 * share)}"
            for way, (end, words) in ways.items():
                name = f"noise/{kind}-{round(100 * share)}-{way}/s{seed}"
                yield plan_model(name, state + end, words, seed, (state, votes), sizes)


if __name__ == "__main__":
    main()
