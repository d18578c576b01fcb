"""How far a model can agree with a crowd: beside it one annotator, two, and the labels as shipped.

    python benchmarks/ceiling.py VOTES [RUNS.tar.xz]

VOTES is a table of path and ten votes an image. RUNS.tar.xz is what `curation_pays.py --save` kept:
the predictions of its models on the copy-free test images. One annotator is drawn from the ten, or
two who give one answer; everybody is scored against the majority of those who are left, a tie
counted as the share that a coin would win. The sums over all draws are exact; images are counted as
often as the majority left is a class of the data set. Out: the section `ceiling` of
docs/studies.md and docs/ceiling.png.
"""

import argparse
import io
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
from curation_pays import KEPT
from curation_tables import describe_row
from results import ROOT, replace_section, save_figure, to_table

from curate.workspace.votes import CROWD, read_votes, votes_of
from train.evaluation.intervals import DRAWS

STUDIES, PLOT = ROOT / "docs" / "studies.md", ROOT / "docs" / "ceiling.png"
ROWS = ("a", "b", "e-oof", "e-posterior-200", "e-posterior-1000", "e-posterior-2000")
CLASSES = range(CROWD.index("fear") + 1)  # without contempt, unknown and NF
EDGES = (3, 5, 6, 7, 8, 9, 10)
Floats = npt.NDArray[np.float64]
Counts = npt.NDArray[np.int64]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("votes", type=Path)
    parser.add_argument("runs", type=Path, nargs="?", default=KEPT)
    options = parser.parse_args()
    predicted, given = read_predictions(options.runs)
    counts = count_votes(options.votes, given.index)
    one, two = measure_people(counts, 1), measure_people(counts, 2)
    agreed = f"two annotators who agree ({100 * two[1].sum() / one[1].sum():.0f} % of the pairs)"
    rows = [
        ["one annotator", "", *format_share(*one)],
        [agreed, "", *format_share(*two)],
        ["the labels as shipped", "", *format_share(*measure_answers(counts, given))],
    ]
    models: dict[str, tuple[Floats, Floats]] = {}
    for row, seeds in predicted.items():
        scores = [measure_answers(counts, answers) for answers in seeds]
        models[row] = np.mean([right for right, _ in scores], axis=0), scores[0][1]
        rows.append([f"`fast`, {describe_row(row)}", len(seeds), *format_share(*models[row])])
    header = ["who", "seeds", "agrees with the majority of the other annotators, %", "95 %"]
    note = (
        f"`python benchmarks/ceiling.py VOTES`, on {len(given):,} copy-free test images with ten "
        "votes: the models of `curation_pays.py`, each against the majority of nine; two "
        "annotators who give one answer against that of eight."
    )
    replace_section(STUDIES, "ceiling", f"{note}\n\n{to_table(header, rows)}")
    draw_plot(counts, {"one annotator": one, **name_models(models)})
    print(to_table(header, rows))


def read_predictions(file: Path) -> tuple[dict[str, list["pd.Series[str]"]], "pd.Series[str]"]:
    """Row -> the predicted class by path, of each seed; and the given labels."""
    found: dict[str, list[pd.Series[str]]] = {}
    with tarfile.open(file) as archive:
        for row in ROWS:
            wanted = [f"scores/leakfree-{row}-s{seed}-test.csv" for seed in range(3)]
            tables = [read_table(archive, name) for name in wanted if name in archive.getnames()]
            if tables:
                found[row] = [table["predicted"] for table in tables]
                given = tables[0]["label"]
    return found, given


def read_table(archive: tarfile.TarFile, name: str) -> pd.DataFrame:
    """The copy-free images with votes, by path."""
    stream = archive.extractfile(name)
    assert stream is not None
    table = pd.read_csv(io.BytesIO(stream.read()), dtype=str, keep_default_na=False)
    table = table[(table["copy_free"] == "True") & (table["crowd"] != "")]
    return table.set_index("path").sort_index()


def count_votes(file: Path, paths: Sequence[str]) -> Counts:
    """(N, 10) votes of each answer."""
    votes = read_votes(file)
    return np.array([[votes_of(votes[path]).get(name, 0) for name in CROWD] for path in paths])


def share_majority(counts: Counts) -> Floats:
    """(N, 10) which answers have the most votes: 1 divided among those that tie."""
    is_most = counts == counts.max(axis=1, keepdims=True)
    shares: Floats = is_most / is_most.sum(axis=1, keepdims=True)
    return shares


def measure_people(counts: Counts, people: int) -> tuple[Floats, Floats]:
    """Annotators who give one answer, against the majority of the others, over all draws.

    Returns
    -------
    (N,) expected share of agreement times its weight, and (N,) the weight: how often so many give
    one answer and the majority of the others is a class
    """
    right, weight = np.zeros(len(counts)), np.zeros(len(counts))
    for answer in range(len(CROWD)):
        rest, odds = counts.copy(), np.ones(len(counts))
        for _ in range(people):
            odds *= rest[:, answer] / rest.sum(axis=1)
            rest[:, answer] -= 1
        drawn = odds > 0
        majority = share_majority(rest[drawn])[:, CLASSES]
        if answer in CLASSES:
            right[drawn] += odds[drawn] * majority[:, answer]
        weight[drawn] += odds[drawn] * majority.sum(axis=1)
    return right, weight


def measure_answers(counts: Counts, answers: "pd.Series[str]") -> tuple[Floats, Floats]:
    """`measure_people` for answers from outside, against the majority of nine."""
    total = counts.sum(axis=1)
    column = answers.map(CROWD.index).to_numpy()
    right, weight = np.zeros(len(counts)), np.zeros(len(counts))
    for left_out in range(len(CROWD)):
        rest, odds = counts.copy(), counts[:, left_out] / total
        rest[:, left_out] -= 1
        majority = share_majority(rest)[:, CLASSES]
        right += odds * majority[np.arange(len(counts)), column]
        weight += odds * majority.sum(axis=1)
    return right, weight


def format_share(right: Floats, weight: Floats) -> list[str]:
    """The share in percent, and 95 % of a bootstrap over the images."""
    random = np.random.default_rng(0)
    drawn = (random.integers(0, len(right), len(right)) for _ in range(DRAWS))
    shares = [100 * right[rows].sum() / weight[rows].sum() for rows in drawn]
    low, high = np.percentile(shares, (2.5, 97.5))
    return [f"{100 * right.sum() / weight.sum():.1f}", f"{low:.1f} to {high:.1f}"]


def name_models(models: Mapping[str, tuple[Floats, Floats]]) -> dict[str, tuple[Floats, Floats]]:
    """The two models of the plot."""
    shown = {
        "b": "model, labels as shipped",
        "e-posterior-2000": "model, posterior, 2,000 verdicts",
    }
    return {text: models[row] for row, text in shown.items() if row in models}


def draw_plot(counts: Counts, curves: Mapping[str, tuple[Floats, Floats]]) -> None:
    """Agreement by how many of the ten chose the most frequent answer."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    most = np.digitize(counts.max(axis=1), EDGES[1:])
    figure, axes = pyplot.subplots(figsize=(6.4, 4))
    numbers = np.arange(len(EDGES))
    for name, (right, weight) in curves.items():
        shares = [100 * right[most == k].sum() / weight[most == k].sum() for k in numbers]
        axes.plot(numbers, shares, marker="o", label=name)
    names = [f"{low} to {high - 1}" if high - low > 1 else f"{low}"
             for low, high in zip(EDGES, (*EDGES[1:], 11), strict=True)]  # fmt: skip
    sizes = [int((most == k).sum()) for k in numbers]
    axes.set_xticks(numbers, [f"{name}\n{size:,}" for name, size in zip(names, sizes, strict=True)])
    axes.set(xlabel="of ten annotators, with the most frequent answer; images", ylim=(0, 100))
    axes.set_ylabel("agrees with the other annotators, %")
    axes.legend()
    save_figure(figure, PLOT)


if __name__ == "__main__":
    main()
