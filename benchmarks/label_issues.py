"""How well wrong labels are found: the scores of Candid, cleanlab and FiftyOne against the crowd.

    python benchmarks/label_issues.py WORKSPACE VOTES.csv

WORKSPACE is built without votes, folded, and has the predictions of `train oof`, which all scores
use. An image's label is wrong by the strict rule if at most one of ten annotators gave it and seven
or more gave one other class; medium: five or more; majority: another class leads. The images are
halved by duplicate group: weights were chosen on the first half, figures are of the second. P@1,000
is the precision among the first thousand of the whole ranking, over those of them that have votes
in that half; so is the share of suggestions that are the crowd's leading class. `--also` names
workspaces with models trained otherwise (`train oof --quick`, `--epochs 14`), for the curve of
accuracy against average precision. Writes the section `label-issues` of RESULTS.md and of
docs/fer2013.md.
"""

import argparse
import hashlib
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from cleanlab.rank import get_label_quality_ensemble_scores, get_label_quality_scores
from results import FER2013, RESULTS, describe_machine, replace_section, to_table
from sklearn.metrics import average_precision_score

from curate.label_issues.evidence import gather_evidence
from curate.label_issues.scores import SCORES, Evidence, agree, best_other
from curate.labels import VOCABULARY
from curate.stages.flag import flag
from curate.workspace.predictions import read_predictions
from curate.workspace.receipts import read_receipts
from curate.workspace.votes import read_votes, votes_of
from curate.workspace.workspace import Workspace
from train.oof.command import choose_models

REVIEWED = (500, 1000, 2000)  # ranks down to which precision is measured
DRAWS = 1000  # of the bootstrap
SECTION = "label-issues"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("workspace", type=Path)
    parser.add_argument("votes", type=Path)
    halves = ("first", "second")
    parser.add_argument("--half", choices=halves, default="second", help="first: to choose weights")
    parser.add_argument("--section", default=SECTION, help="of RESULTS.md")
    also = "workspaces with other models, for the curve"
    parser.add_argument("--also", type=Path, nargs="*", default=[], help=also)
    options = parser.parse_args()
    workspace = Workspace(options.workspace)
    manifest, folded, tables, classes = read_workspace(workspace)
    evidence = gather_evidence(folded, list(tables.values()), classes)
    gold = judge_by_crowd(folded, read_votes(options.votes))
    gold["counted"] = gold["counted"] & choose_half(folded, options.half)
    flagged = flag(manifest, list(tables.values())).columns["suggested_label"]
    suggested = flagged[manifest["fold"] != ""].to_numpy()
    scores = score_all(evidence, tables, folded, classes)
    top = np.array(classes)[best_other(evidence.labels, evidence.probs)]
    rows = []
    for name, score in scores.items():
        suggestions = suggested if name.startswith("Candid combined") else top
        rows.append(measure(name, score, suggestions, gold))
    precisions = [f"P@{ranks:,}" for ranks in REVIEWED]
    averages = ["medium AP", "majority AP"]
    header = ["score", "strict AP", *precisions, *averages, "suggestion right @1,000"]
    body = (
        f"{describe_measurement(options.half, gold, tables, evidence)}\n\n"
        f"{to_table(header, rows)}\n\n{compare_with_best_rival(gold, scores)}\n\n"
        "What better models buy, by the combined score:\n\n"
        f"{draw_curve((options.workspace, *options.also), options.votes, options.half)}"
    )
    replace_section(RESULTS, options.section, f"## Finding wrong labels\n\n{body}")
    if options.section == SECTION:
        replace_section(FER2013, SECTION, body)
    print(body)


def read_workspace(
    workspace: Workspace,
) -> tuple[pd.DataFrame, pd.DataFrame, dict[str, pd.DataFrame], list[str]]:
    """The manifest without votes, its folded rows, the predictions by model, and the classes."""
    manifest = workspace.read().assign(votes="")
    folded = manifest[manifest["fold"] != ""].reset_index(drop=True)
    tables = {file.stem: read_predictions(file, manifest) for file in workspace.find_predictions()}
    given = set(folded["given_label"])
    return manifest, folded, tables, [name for name in VOCABULARY if name in given]


def describe_measurement(
    half: str, gold: dict[str, np.ndarray], tables: dict[str, pd.DataFrame], evidence: Evidence
) -> str:
    """The images with votes, the wrong labels by each rule, the machine, the models."""
    counted = gold["counted"]
    wrong = {rule: gold[rule][counted].sum() for rule in ("strict", "medium", "majority")}
    rules = ", ".join(f"{rule} {count:,}" for rule, count in wrong.items())
    agreements = []
    for name, probs in zip(tables, evidence.model_probs, strict=True):
        agreements.append(f"{name} {100 * agree(probs, evidence.labels):.1f} %")
    return (
        f"Measured by `python benchmarks/label_issues.py` on the {half} half of the votes at hand "
        f"({counted.sum():,} images; {rules}); {describe_machine()}. Models, with their agreement "
        f"with the given labels: {', '.join(agreements)}. In brackets 95 % of {DRAWS:,} bootstrap "
        "draws."
    )


def compare_with_best_rival(gold: dict[str, np.ndarray], scores: dict[str, np.ndarray]) -> str:
    """The difference between our combined score and the best score of cleanlab."""
    rivals = [name for name in scores if name.startswith("cleanlab")]
    precision = {
        name: average_precision(gold["strict"], scores[name], gold["counted"]) for name in rivals
    }
    best = max(rivals, key=lambda name: precision[name])
    difference = compare(gold, scores["Candid combined"], scores[best])
    return f"Strict AP of Candid combined minus that of {best}: {difference}."


def draw_curve(roots: Sequence[Path], votes: Path, half: str) -> str:
    """A table of the models of several workspaces: their agreement and their precision."""
    points: dict[tuple[str, ...], None] = {}
    for root in roots:
        points |= dict.fromkeys(map(tuple, trace(root, votes, half)))
    agreement = "they and the copies agree with the given labels"
    return to_table(["models", agreement, "strict AP", "majority AP"], list(points))


def trace(root: Path, votes: Path, half: str) -> list[list[str]]:
    """Per set of models of a workspace: their names, their agreement, their average precision."""
    _, folded, tables, classes = read_workspace(Workspace(root))
    gold = judge_by_crowd(folded, read_votes(votes))
    counted = gold["counted"] & choose_half(folded, half)
    options = read_receipts(root)["oof"]["options"]
    sets = [[name] for name in tables]
    if len(tables) > 1:
        sets.append(list(tables))
    points = []
    for names in sets:
        evidence = gather_evidence(folded, [tables[name] for name in names], classes)
        score = SCORES["combined"](evidence)
        described = [
            name + describe_training(options["models"][name], options["seeds"]) for name in names
        ]
        agreement = agree(evidence.believed, evidence.labels)
        found = [
            f"{average_precision(gold[rule], score, counted):.3f}"
            for rule in ("strict", "majority")
        ]
        points.append([" + ".join(described), f"{100 * agreement:.1f} %", *found])
    return points


def describe_training(model: dict[str, Any], seeds: int) -> str:
    """In brackets: the number of seeds, the epochs, and the widths if they are not the default."""
    words = [f"{seeds} seeds"] if seeds > 1 else []
    if "oof_epochs" in model:
        words.append(f"{model['oof_epochs']} epochs")
        if tuple(model["widths"]) != choose_models(model["name"])[0].widths:
            words.append(f"{'/'.join(map(str, model['widths']))} channels")
    return f" ({', '.join(words)})" if words else ""


def judge_by_crowd(folded: pd.DataFrame, votes: dict[str, str]) -> dict[str, np.ndarray]:
    """Per row: whether it has votes, whether its label is wrong by each rule, the leading class.

    Keys are `counted`, `strict`, `medium`, `majority` and `leads` ("" where the given label leads).
    """
    votes_by_row = [votes_of(votes.get(path, "")) for path in folded["path"]]
    counts = np.array([[row.get(name, 0) for name in VOCABULARY] for row in votes_by_row])
    given = np.array([VOCABULARY.index(label) for label in folded["given_label"]])
    rows = np.arange(len(folded))
    own, others = counts[rows, given], counts.copy()
    others[rows, given] = -1
    best = others.max(axis=1)
    return {
        "counted": folded["path"].isin(set(votes)).to_numpy(),
        "strict": (own <= 1) & (best >= 7),
        "medium": (own <= 1) & (best >= 5),
        "majority": best > own,
        "leads": np.where(best > own, np.array(VOCABULARY)[others.argmax(axis=1)], ""),
    }


def choose_half(folded: pd.DataFrame, half: str) -> np.ndarray:
    """(N,) bool, rows of that half; the rows of a duplicate group are in the same one."""
    group = folded["duplicate_group"].where(folded["duplicate_group"] != "", folded["path"])
    first = np.array([hashlib.sha256(name.encode()).digest()[0] < 128 for name in group])
    return first if half == "first" else ~first


def score_all(
    evidence: Evidence,
    tables: dict[str, pd.DataFrame],
    folded: pd.DataFrame,
    classes: list[str],
) -> dict[str, np.ndarray]:
    """Name -> (N,) score, higher is more suspect; `tables` are the predictions by model."""
    labels, mean = evidence.labels, evidence.probs
    has_margins = np.isfinite(evidence.margin_auc).any()
    scores = {}
    for name, score in SCORES.items():
        if name != "margin_auc" or has_margins:
            scores[f"Candid {name}"] = score(evidence)
    if len(tables) > 1:
        for name, table in tables.items():
            alone = gather_evidence(folded, [table], classes)
            scores[f"Candid combined, {name} alone"] = SCORES["combined"](alone)
    for method in ("self_confidence", "normalized_margin", "confidence_weighted_entropy"):
        scores[f"cleanlab {method}"] = -get_label_quality_scores(labels, mean, method=method)
    if len(tables) > 1:
        probs_by_model = list(evidence.model_probs)
        ensemble = get_label_quality_ensemble_scores(
            labels, probs_by_model, method="normalized_margin", verbose=False
        )
        scores["cleanlab ensemble, normalized_margin"] = -np.asarray(ensemble)
    scores["FiftyOne mistakenness"] = mistakenness(labels, mean)
    return scores


def mistakenness(labels: np.ndarray, probs: np.ndarray) -> np.ndarray:
    """(N,) FiftyOne's formula for classification with logits, in [0, 1].

    The certainty of the prediction, negative where it agrees with the label
    (fiftyone.brain `compute_mistakenness`).
    """
    entropy = -(probs * np.log(np.maximum(probs, 1e-12))).sum(axis=1)
    wrong = np.where(probs.argmax(axis=1) == labels, -1.0, 1.0)
    return 0.5 * (wrong * np.exp(-entropy) + 1)


def average_precision(wrong: np.ndarray, score: np.ndarray, counted: np.ndarray) -> float:
    return float(average_precision_score(wrong[counted], score[counted]))


def measure(
    name: str, score: np.ndarray, suggested: np.ndarray, gold: dict[str, np.ndarray]
) -> list[str]:
    counted = gold["counted"]
    order = np.argsort(-score, kind="stable")
    precision = []
    for ranks in REVIEWED:
        first = order[:ranks]
        precision.append(f"{gold['strict'][first[counted[first]]].mean():.3f}")
    first = order[:1000]
    first = first[counted[first] & (suggested[first] != "")]
    right = (suggested[first] == gold["leads"][first]).mean()
    drawn = bootstrap(
        counted, lambda rows: average_precision_score(gold["strict"][rows], score[rows])
    )
    low, high = np.quantile(drawn, (0.025, 0.975))
    strict = f"{average_precision(gold['strict'], score, counted):.3f} ({low:.3f} to {high:.3f})"
    others = [
        f"{average_precision(gold[rule], score, counted):.3f}" for rule in ("medium", "majority")
    ]
    return [name, strict, *precision, *others, f"{right:.2f}"]


def compare(gold: dict[str, np.ndarray], ours: np.ndarray, theirs: np.ndarray) -> str:
    """Mean and 95 % interval of the difference in strict average precision."""
    strict = gold["strict"]

    def measure_difference(rows: np.ndarray) -> float:
        ours_on_rows = average_precision_score(strict[rows], ours[rows])
        return ours_on_rows - average_precision_score(strict[rows], theirs[rows])

    drawn = bootstrap(gold["counted"], measure_difference)
    low, high = np.quantile(drawn, (0.025, 0.975))
    return f"{np.mean(drawn):+.3f} ({low:+.3f} to {high:+.3f})"


def bootstrap(counted: np.ndarray, value: Callable[[np.ndarray], float]) -> np.ndarray:
    rows, random = np.flatnonzero(counted), np.random.default_rng(0)
    return np.array([value(random.choice(rows, len(rows))) for _ in range(DRAWS)])


if __name__ == "__main__":
    sys.exit(main())
