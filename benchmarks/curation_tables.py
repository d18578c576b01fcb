"""The tables and the plot of `curation_pays.py --write`, from the finished jobs of its folder.

In: FOLDER/results.jsonl and the predictions in FOLDER/scores. Out: the sections `curation-pays` and
`noise-bench` of RESULTS.md, the first table in the README where it has such a section, and
docs/curation-pays.png. Rows that did not win are there too. A row without its third seed, or
without (a), shows what there is.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from curation_choice import count_keys, score_rows
from jobs import read_done
from results import (
    README,
    RESULTS,
    ROOT,
    describe_machine,
    match_section,
    replace_section,
    save_figure,
    to_table,
)

from train.evaluation.intervals import DRAWS, compare_mcnemar

PLOT = ROOT / "docs" / "curation-pays.png"
# Normal quantiles: of a two-sided test at 5 %, and of a power of 80 %.
TWO_SIDED, POWER = 1.96, 0.84
ABOUT = {
    "a": "as shipped, copies too",
    "b": "without copies",
    "c": "without copies and the most suspect 10 %",
    "d-0": "without copies, labels that the models believe by .9",
    "e-oof": "without copies, `--targets oof`",
    "f": "without copies, self-distillation off",
    "g": "without copies, `--class-weights balanced`",
}
PATTERNS = {
    r"d-(\d+)": "{} random verdicts, suggestions accepted at .9",
    r"e-oof-([\d.]+)": "without copies, `--targets oof --belief-weight {}`",
    r"e-posterior-(\d+)": "{} random verdicts, `--targets posterior`",
    r"h-plain-(\d+)": "{} random verdicts, posterior, self-distillation off",
    r"h-weights-(\d+)": "{} random verdicts, posterior, `--class-weights sqrt`",
}
SUMMARY = (
    "a", "b", "d-0", "e-oof", "d-200", "e-posterior-200", "e-posterior-1000", "e-posterior-2000",
    "h-weights-1000",
)  # fmt: skip
MEASURES = ("accuracy", "balanced_accuracy", "macro_f1")
Floats = npt.NDArray[np.float64]


def write_tables(folder: Path) -> None:
    """Write all sections that the finished jobs allow, and the plot."""
    done = read_done(folder)
    models = group_models(done)
    parts = [
        f"`python benchmarks/curation_pays.py`: {name_machines(done)}. Mean and standard deviation "
        "over seeds, percent; the gain against (a) with 95 % of a paired bootstrap over images, of "
        "the mean over the seeds; McNemar's p of the first seed."
    ]
    for split in ("leakfree", "official"):
        if split in models:
            shown = format_rows(folder, models[split])
            parts += [f"### {split}\n\n{shown}", choose_best(folder, split, models[split])]
    if "budget" in models:
        parts.append(f"### Keys by their order\n\n{format_budgets(done, models['budget'])}")
    states = {
        name: line["result"]
        for name, line in done.items()
        if name.startswith("state/") and "keys" in line.get("result", {})
    }
    parts.append(f"### Labels\n\n{format_labels(states)}")
    replace_section(RESULTS, "curation-pays", "## What curation buys\n\n" + "\n\n".join(parts))
    if match_section("curation-pays").search(README.read_text()):
        replace_section(README, "curation-pays", format_summary(folder, models["leakfree"]))
    noise = format_noise(done)
    if noise:
        replace_section(RESULTS, "noise-bench", f"## Planted noise\n\n{noise}")
    draw_plot(models.get("leakfree", {}), PLOT)
    print("\n\n".join(parts), noise, sep="\n\n")


def name_machines(done: Mapping[str, Any]) -> str:
    """What trained the models, how many, and where the rest was done."""
    trained = Counter(line["machine"] for line in done.values() if "machine" in line)
    counts = [f"{count:,} trainings on {machine}" for machine, count in trained.most_common()]
    return "; ".join([*counts, f"out-of-fold models and verdicts on {describe_machine()}"])


def group_models(done: Mapping[str, Any]) -> dict[str, dict[str, list[Any]]]:
    """Split, `budget` or `noise` -> row, by its keys -> the lines of its seeds."""
    found: dict[str, dict[str, list[Any]]] = defaultdict(lambda: defaultdict(list))
    for name, line in sorted(done.items()):
        parts = name.split("/")
        if len(parts) == 3:
            found[parts[0]][parts[1]].append(line)
    return {
        group: {row: rows[row] for row in sorted(rows, key=lambda row: (count_keys(row), row))}
        for group, rows in found.items()
    }


def describe_row(row: str) -> str:
    """What the row is, in words."""
    if row in ABOUT:
        return ABOUT[row]
    matches = ((re.fullmatch(pattern, row), text) for pattern, text in PATTERNS.items())
    return next((text.format(match[1]) for match, text in matches if match), row)


def format_rows(folder: Path, rows: Mapping[str, list[Any]]) -> str:
    """The table of one split, in the order of the rows of the plan, and what its test can show."""
    header = ["row", "seeds"]
    header += [f"crowd {name.replace('_', ' ')}" for name in MEASURES]
    header += ["official labels, copy-free", "official labels, all"]
    header += ["gain against (a) by the crowd", "McNemar p"]
    table, smallest = [], ""
    for row, lines in rows.items():
        cells: list[object] = [f"{row}: {describe_row(row)}", len(lines)]
        cells += [spread(lines, "crowd", name) for name in MEASURES]
        cells += [spread(lines, "copy_free", "accuracy"), spread(lines, "official", "accuracy")]
        gain = compare_rows(folder, rows["a"], lines) if row != "a" and "a" in rows else None
        cells += [gain["text"], f"{gain['p']:.2g}"] if gain else ["", ""]
        table.append(cells)
        smallest = gain["smallest"] if gain and not smallest else smallest
    return f"{to_table(header, table)}\n\n{smallest}"


def format_summary(folder: Path, rows: Mapping[str, list[Any]]) -> str:
    """The table of the README: the rows that matter most."""
    header = ["trained on", "agrees with the crowd", "macro F1"]
    header += ["official labels", "gain by the crowd"]
    table = []
    for row in (name for name in SUMMARY if name in rows):
        lines = rows[row]
        gain = compare_rows(folder, rows["a"], lines)["text"] if row != "a" else ""
        scores = [spread(lines, "crowd", "accuracy"), spread(lines, "crowd", "macro_f1")]
        table.append([describe_row(row), *scores, spread(lines, "copy_free", "accuracy"), gain])
    images = rows["a"][0]["result"]["test"]["crowd"]["rows"]
    return (
        f"Scored on the {images:,} test images with ten votes of a leak-free 60/10/30 split, "
        f"percent, {len(rows['a'])} seeds.\n\n" + to_table(header, table)
    )


def spread(lines: Sequence[Any], labels: str, name: str) -> str:
    """Mean and sample standard deviation over the seeds, percent."""
    scores = [line["result"]["test"].get(labels, {}).get(name) for line in lines]
    values = 100 * np.array([score for score in scores if score is not None])
    if not len(values):
        return ""
    return f"{values.mean():.1f}" + (f" ± {values.std(ddof=1):.1f}" if len(values) > 1 else "")


def read_right(folder: Path, line: Any) -> "pd.Series[float]":
    """Path -> 1 where the prediction is the crowd's class, of the copy-free rows with votes."""
    file = folder / "scores" / f"{line['job'].replace('/', '-')}-test.csv"
    table = pd.read_csv(file, keep_default_na=False).set_index("path")
    is_free = table["copy_free"].astype(str) == "True"
    counted = table[is_free & table["crowd"].isin([*table["label"], *table["predicted"]])]
    return (counted["predicted"] == counted["crowd"]).astype(float)


def compare_rows(folder: Path, before: Sequence[Any], after: Sequence[Any]) -> dict[str, Any]:
    """The gain of the mean over the seeds, paired by image, and what the test could show."""
    old = pd.concat([read_right(folder, line) for line in before], axis=1)
    new = pd.concat([read_right(folder, line) for line in after], axis=1)
    both = old.index.intersection(new.index)
    gain = (new.loc[both].mean(axis=1) - old.loc[both].mean(axis=1)).to_numpy()
    low, high = bootstrap_mean(gain)
    first_old, first_new = old.loc[both].iloc[:, 0] > 0, new.loc[both].iloc[:, 0] > 0
    won, lost = int((first_new & ~first_old).sum()), int((first_old & ~first_new).sum())
    smallest = (TWO_SIDED + POWER) * np.sqrt((won + lost) / len(both) / len(both))
    return {
        "text": f"{100 * gain.mean():+.1f} ({100 * low:+.1f} to {100 * high:+.1f})",
        "p": compare_mcnemar(won, lost),
        "smallest": f"One seed on these {len(both):,} images shows a difference of "
        f"{100 * smallest:.1f} points with a power of 80 % (the models differ on "
        f"{100 * (won + lost) / len(both):.0f} % of them).",
    }


def bootstrap_mean(values: Floats) -> tuple[float, float]:
    """95 % of the mean over drawn rows."""
    random = np.random.default_rng(0)
    means = [random.choice(values, len(values)).mean() for _ in range(DRAWS)]
    low, high = np.percentile(means, (2.5, 97.5))
    return float(low), float(high)


def choose_best(folder: Path, split: str, rows: Mapping[str, list[Any]]) -> str:
    """(h): the row that val chooses, with nobody's keys and with each number of keys.

    Nothing is chosen among rows of which one has no score.
    """
    chosen = []
    for keys, scores in sorted(score_rows(folder, split, rows).items()):
        if np.isnan(list(scores.values())).any():
            left = f"not chosen here: the posterior of {split}-random-{keys} is missing"
            chosen.append([keys, left, "", "", "", ""])
            continue
        best = max(scores, key=lambda row: scores[row])
        gain = compare_rows(folder, rows["a"], rows[best])["text"] if "a" in rows else ""
        crowd = spread(rows[best], "crowd", "accuracy"), spread(rows[best], "crowd", "macro_f1")
        official = spread(rows[best], "copy_free", "accuracy")
        chosen.append([keys, f"{best}: {describe_row(best)}", *crowd, official, gain])
    header = ["verdicts", "(h), by val", "crowd accuracy", "crowd macro F1"]
    return to_table([*header, "official labels, copy-free", "gain against (a)"], chosen)


def format_budgets(done: Mapping[str, Any], rows: Mapping[str, list[Any]]) -> str:
    """Order and number of keys -> the crowd's accuracy, and errors corrected per thousand keys."""
    table = []
    for row, lines in sorted(rows.items(), key=lambda item: item[0].split("-")[:2]):
        order, targets, keys = row.split("-")
        state = done.get(f"state/leakfree-{order}-{keys}", {}).get("result")
        corrected = format_corrected(state, "label") if state else ""
        scores = [spread(lines, "crowd", name) for name in MEASURES]
        table.append([order, targets, keys, len(lines), *scores, corrected])
    header = ["order", "targets", "keys", "seeds", *MEASURES, "errors corrected per 1,000 keys"]
    return to_table(header, table)


def format_corrected(state: Mapping[str, int], which: str) -> str:
    if not state.get("keys") or which not in state:
        return ""
    return f"{1000 * (state[which] - state['given']) / state['keys']:.0f}"


def format_labels(states: Mapping[str, Mapping[str, int]]) -> str:
    """Labels of voted rows of train and val that are the crowd's, and what a thousand keys set."""
    table = []
    for name, state in states.items():
        shares = [
            f"{100 * state[k] / state['rows']:.1f}" if k in state else ""
            for k in ("given", "label", "posterior")
        ]
        corrected = [format_corrected(state, which) for which in ("label", "posterior")]
        table.append(
            [name.removeprefix("state/"), state["keys"], state["rows"], *shares, *corrected]
        )
    header = ["state", "decisions", "voted rows", "given, %", "labels, %", "posterior, %"]
    return to_table([*header, "labels corrected per 1,000", "by posterior"], table)


def format_noise(done: Mapping[str, Any]) -> str:
    """Accuracy on the true labels by noise and way of training, and the digest of each draw."""
    models = group_models(done).get("noise", {})
    ways = ("plain", "fast", "dropped", "accepted", "oof")
    states = sorted({row.rsplit("-", 1)[0] for row in models})
    table = []
    for state in states:
        draw = done.get(f"noise/noise-{state}", {}).get("result", {})
        cells = [spread(models.get(f"{state}-{way}", []), "crowd", "accuracy") for way in ways]
        table.append([state, draw.get("rows", ""), *cells, f"`{draw.get('sha256', '')[:16]}`"])
    body = (
        "`python benchmarks/curation_pays.py`: images on which all annotators agree, a share of "
        "their labels flipped, symmetrically or along the confusions of annotators; a leak-free "
        "split of 60/10/30, 12 epochs; accuracy on the true labels of test, percent, mean and "
        "standard deviation over seeds; the draw by its SHA-256. plain: cross-entropy alone; fast: "
        "with self-distillation; dropped: without as many of the most suspect rows as were "
        "flipped; accepted: labels that the models believe by .9; oof: `--targets oof`."
    )
    table_text = to_table(["flipped, %", "images", *ways, "draw"], table)
    return f"{body}\n\n{table_text}" if table else ""


def draw_plot(rows: Mapping[str, list[Any]], file: Path) -> None:
    """Accuracy by the crowd and by the official labels against the number of random keys."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    named = {0: "b"} | {
        int(row.rsplit("-", 1)[1]): row for row in rows if row.startswith("e-posterior-")
    }
    keys = sorted(number for number, row in named.items() if row in rows)
    if not keys:
        return
    figure, axes = pyplot.subplots(figsize=(6, 4))
    for labels, what in (("crowd", "the crowd's majority"), ("copy_free", "the official labels")):
        values = [
            100 * np.array([line["result"]["test"][labels]["accuracy"] for line in rows[named[k]]])
            for k in keys
        ]
        means = [value.mean() for value in values]
        errors = [value.std(ddof=1) if len(value) > 1 else 0.0 for value in values]
        axes.errorbar(keys, means, errors, marker="o", capsize=3, label=f"by {what}")
    axes.set(xlabel="verdicts on random images", ylabel="accuracy, copy-free test, %")
    axes.set_title("fast trained on the class posterior")
    axes.legend()
    save_figure(figure, file)
