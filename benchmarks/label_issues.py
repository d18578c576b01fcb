"""How well wrong labels are found: our scores, cleanlab's and FiftyOne's, on the same predictions, against the crowd.

    python benchmarks/label_issues.py WORKSPACE VOTES.csv     (built, folded, `train oof` done; without votes in it)

An image's label is wrong by the strict rule if at most one of ten annotators gave it and seven or more gave one other class;
medium: five or more; majority: another class leads. The votes are halved by photograph: weights were chosen on the first
half, figures are of the second. P@1,000 is the precision among the first thousand of the whole ranking, over those of them
that have votes in that half; so is the share of suggestions that are the class which leads among
the crowd. `--also` names workspaces whose members were trained otherwise (`train oof --quick`, `--epochs 14`), for the curve
of accuracy against average precision. Writes the section `label-issues` of RESULTS.md and of the README.
"""

import argparse
import hashlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from cleanlab.rank import get_label_quality_ensemble_scores, get_label_quality_scores
from results import README, RESULTS, describe_machine, replace_section, to_table
from sklearn.metrics import average_precision_score

from curate.label_issues.scores import SCORES, Evidence, agree, best_other
from curate.labels import VOCABULARY
from curate.stages.flag import flag, gather_evidence
from curate.workspace.predictions import read_predictions
from curate.workspace.receipts import read_receipts
from curate.workspace.votes import read_votes, votes_of
from curate.workspace.workspace import Workspace
from train.oof.command import choose_members

LOOKS = (500, 1000, 2000)
DRAWS = 1000  # of the bootstrap
SECTION = "label-issues"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("workspace", type=Path)
    parser.add_argument("votes", type=Path)
    parser.add_argument(
        "--half", choices=("first", "second"), default="second", help="the first is for choosing"
    )
    parser.add_argument("--section", default=SECTION, help="of RESULTS.md")
    parser.add_argument(
        "--also",
        type=Path,
        nargs="*",
        default=[],
        help="workspaces with other members, for the curve",
    )
    options = parser.parse_args()
    workspace = Workspace(options.workspace)
    manifest = workspace.read().assign(votes="")
    tables = {file.stem: read_predictions(file, manifest) for file in workspace.find_predictions()}
    folded = manifest[manifest["fold"] != ""].reset_index(drop=True)
    classes = [name for name in VOCABULARY if name in set(folded["given_label"])]
    evidence = gather_evidence(folded, list(tables.values()), classes)
    gold = judge_by_crowd(folded, read_votes(options.votes))
    gold["counted"] = gold["counted"] & choose_half(folded, options.half)
    suggested = (
        flag(manifest, list(tables.values()))
        .columns["suggested_label"][manifest["fold"] != ""]
        .to_numpy()
    )
    scores = score_all(evidence, list(tables), folded, list(tables.values()), classes)
    top = np.array(classes)[best_other(evidence.labels, evidence.probs)]
    rows = [
        measure(name, score, suggested if name.startswith("Candid combined") else top, gold)
        for name, score in scores.items()
    ]
    ours = scores["Candid combined"]
    rivals = {name: score for name, score in scores.items() if name.startswith("cleanlab")}
    best = max(
        rivals, key=lambda name: average_precision(gold["strict"], rivals[name], gold["counted"])
    )
    header = [
        "score",
        "strict AP",
        *(f"P@{looks:,}" for looks in LOOKS),
        "medium AP",
        "majority AP",
        "suggestion right @1,000",
    ]
    accuracy = ", ".join(
        f"{name} {100 * agree(member, evidence.labels):.1f} %"
        for name, member in zip(tables, evidence.members, strict=True)
    )
    body = (
        f"Measured by `python benchmarks/label_issues.py` on the {options.half} half of the votes at hand "
        f"({gold['counted'].sum():,} images; strict {gold['strict'][gold['counted']].sum():,}, medium "
        f"{gold['medium'][gold['counted']].sum():,}, majority {gold['majority'][gold['counted']].sum():,}); "
        f"{describe_machine()}. Members, with their agreement with the given labels: {accuracy}. In brackets 95 % of {DRAWS:,} "
        f"bootstrap draws.\n\n{to_table(header, rows)}\n\n"
        + "\n".join(
            f"Strict AP of Candid combined less that of {name}: {compare(gold, ours, score)}."
            for name, score in rivals.items() if name == best
        )
    )  # fmt: skip
    roots = (options.workspace, *options.also)
    points = dict.fromkeys(
        tuple(point) for root in roots for point in trace(root, options.votes, options.half)
    )
    header = [
        "members",
        "they and the copies agree with the given labels",
        "strict AP",
        "majority AP",
    ]
    curve = to_table(header, list(points))
    body += f"\n\nWhat better members buy, by the combined score:\n\n{curve}"
    replace_section(RESULTS, options.section, f"## Finding wrong labels\n\n{body}")
    if options.section == SECTION:
        replace_section(README, SECTION, body)
    print(body)


def trace(root: Path, votes: Path, half: str) -> list[list[str]]:
    """Per set of members of a workspace: what they are, how often they agree with the given labels, and what they find."""
    workspace = Workspace(root)
    manifest = workspace.read().assign(votes="")
    folded = manifest[manifest["fold"] != ""].reset_index(drop=True)
    classes = [name for name in VOCABULARY if name in set(folded["given_label"])]
    tables = {file.stem: read_predictions(file, manifest) for file in workspace.find_predictions()}
    gold = judge_by_crowd(folded, read_votes(votes))
    counted = gold["counted"] & choose_half(folded, half)
    models = read_receipts(root)["oof"]["options"]
    points = []
    for names in (
        ([name] for name in tables)
        if len(tables) == 1
        else (*([name] for name in tables), list(tables))
    ):
        evidence = gather_evidence(folded, [tables[name] for name in names], classes)
        score = SCORES["combined"](evidence)
        told = " + ".join(
            f"{name}{tell_training(models['models'][name], models['seeds'])}" for name in names
        )
        agreement = agree(evidence.believed, evidence.labels)
        found = [
            f"{average_precision(gold[rule], score, counted):.3f}"
            for rule in ("strict", "majority")
        ]
        points.append([told, f"{100 * agreement:.1f} %", *found])
    return points


def tell_training(member: dict[str, Any], seeds: int) -> str:
    words = [f"{seeds} seeds"] if seeds > 1 else []
    if "oof_epochs" in member:
        words.append(f"{member['oof_epochs']} epochs")
        if tuple(member["widths"]) != choose_members(member["name"])[0].widths:
            words.append(f"{'/'.join(map(str, member['widths']))} channels")
    return f" ({', '.join(words)})" if words else ""


def judge_by_crowd(folded: pd.DataFrame, votes: dict[str, str]) -> dict[str, np.ndarray]:
    """Per row: whether it has votes (`counted`), whether its label is wrong by each rule, and the class that leads."""
    counts = np.array(
        [
            [votes_of(votes.get(path, "")).get(name, 0) for name in VOCABULARY]
            for path in folded["path"]
        ]
    )
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
    """Rows whose photograph falls into that half; copies stay together."""
    photograph = folded["duplicate_group"].where(folded["duplicate_group"] != "", folded["path"])
    first = np.array([hashlib.sha256(name.encode()).digest()[0] < 128 for name in photograph])
    return first if half == "first" else ~first


def score_all(
    evidence: Evidence,
    names: list[str],
    folded: pd.DataFrame,
    tables: list[pd.DataFrame],
    classes: list[str],
) -> dict[str, np.ndarray]:
    """Name -> (N,) score, higher is more suspect."""
    labels, mean = evidence.labels, evidence.probs
    has_margins = np.isfinite(evidence.margin_auc).any()
    scores = {
        f"Candid {name}": score(evidence)
        for name, score in SCORES.items()
        if name != "margin_auc" or has_margins
    }
    for name, table in zip(names, tables, strict=True) if len(names) > 1 else ():
        scores[f"Candid combined, {name} alone"] = SCORES["combined"](
            gather_evidence(folded, [table], classes)
        )
    for method in ("self_confidence", "normalized_margin", "confidence_weighted_entropy"):
        scores[f"cleanlab {method}"] = -get_label_quality_scores(labels, mean, method=method)
    if len(names) > 1:
        members = list(evidence.members)
        ensemble = get_label_quality_ensemble_scores(
            labels, members, method="normalized_margin", verbose=False
        )
        scores["cleanlab ensemble, normalized_margin"] = -np.asarray(ensemble)
    scores["FiftyOne mistakenness"] = mistakenness(labels, mean)
    return scores


def mistakenness(labels: np.ndarray, probs: np.ndarray) -> np.ndarray:
    """FiftyOne's formula for classification with logits (fiftyone.brain `compute_mistakenness`): certainty of the prediction,
    negative where it agrees with the label.
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
    for looks in LOOKS:
        seen = order[:looks][counted[order[:looks]]]
        precision.append(f"{gold['strict'][seen].mean():.3f}")
    seen = order[:1000][counted[order[:1000]]]
    seen = seen[suggested[seen] != ""]
    right = (suggested[seen] == gold["leads"][seen]).mean()
    low, high = np.quantile(
        bootstrap(counted, lambda rows: average_precision_score(gold["strict"][rows], score[rows])),
        (0.025, 0.975),
    )
    strict = f"{average_precision(gold['strict'], score, counted):.3f} ({low:.3f} to {high:.3f})"
    others = [
        f"{average_precision(gold[rule], score, counted):.3f}" for rule in ("medium", "majority")
    ]
    return [name, strict, *precision, *others, f"{right:.2f}"]


def compare(gold: dict[str, np.ndarray], ours: np.ndarray, theirs: np.ndarray) -> str:
    strict = gold["strict"]
    drawn = bootstrap(
        gold["counted"],
        lambda rows: (
            average_precision_score(strict[rows], ours[rows])
            - average_precision_score(strict[rows], theirs[rows])
        ),
    )
    low, high = np.quantile(drawn, (0.025, 0.975))
    return f"{np.mean(drawn):+.3f} ({low:+.3f} to {high:+.3f})"


def bootstrap(counted: np.ndarray, value: Callable[[np.ndarray], float]) -> np.ndarray:
    rows, random = np.flatnonzero(counted), np.random.default_rng(0)
    return np.array([value(random.choice(rows, len(rows))) for _ in range(DRAWS)])


if __name__ == "__main__":
    sys.exit(main())
