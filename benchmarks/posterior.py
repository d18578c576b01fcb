"""What verdicts buy: labels by the class posterior against the number of verdicts.

    python benchmarks/posterior.py crowd WORKSPACE VOTES.csv
    python benchmarks/posterior.py clean WORKSPACE
    python benchmarks/posterior.py planted [--faces 1000]

Each workspace is folded and has the predictions of `train oof`. `crowd` lets the crowd's majority
be the person (images without one leading class are passed over): verdicts are drawn from one half
of the photographs, at random, by the review queue, or half and half, and every figure is of the
other half. `clean` is a data set whose labels are all right, as CK+48: the person confirms each.
`planted` draws faces and plants wrong labels. Five draws each. An image's label is the most
probable class. Writes the sections `posterior-crowd`, `posterior-clean` and `posterior-planted` of
RESULTS.md.
"""

import argparse
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from label_issues import choose_half, describe_training
from planted_errors import plant, prepare, true_labels
from results import RESULTS, describe_machine, replace_section, to_table
from sklearn.metrics import balanced_accuracy_score, f1_score

from curate.demo.planting import draw_fresh
from curate.label_issues.evidence import Verdicts, gather_evidence
from curate.label_issues.posterior import NO_VERDICT
from curate.label_issues.scores import SCORES, Evidence, agree, best_other
from curate.labels import VOCABULARY
from curate.stages.flag import fit_beside_rule
from curate.workspace.predictions import read_predictions
from curate.workspace.receipts import read_receipts
from curate.workspace.votes import choose_majority, read_votes, votes_of
from curate.workspace.workspace import Workspace

DRAWS = 5
VERDICTS = (200, 500, 1000, 2000, 5000)
FEW = (50, 200, 500)
DESIGNS = {"at random": 0.0, "most suspect": 1.0, "half and half": 0.5}
# Each draw has this share of the judged half, so that those of the most suspect differ too.
AVAILABLE = 0.8
HEADER = ("agreement", "macro F1", "balanced accuracy", "log-loss", "used by flag")
# A person who calls the first class by the name of the second, and how many they judge.
CONFUSED = ("fear", "surprise")
CONFUSED_VERDICTS = 200


@dataclass(frozen=True)
class Faces:
    """N images, and what the person calls them.

    Attributes
    ----------
    folded : rows of the manifest
    evidence : what the models believe of them
    suspicion, pair : (N,) the score of the queue, the pair of given and suggested class
    true : (N,) class index, `NO_VERDICT` where nobody knows
    pool, test : (N,) bool, rows that may be judged, rows that are measured
    """

    folded: pd.DataFrame
    evidence: Evidence
    suspicion: np.ndarray
    pair: np.ndarray
    true: np.ndarray
    pool: np.ndarray
    test: np.ndarray


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("part", choices=("crowd", "clean", "planted"))
    parser.add_argument("workspace", type=Path, nargs="?")
    parser.add_argument("votes", type=Path, nargs="?")
    parser.add_argument("--faces", type=int, default=1000)
    options = parser.parse_args()
    if options.part == "crowd":
        report_crowd(Workspace(options.workspace), options.votes)
    elif options.part == "clean":
        report_clean(Workspace(options.workspace))
    else:
        report_planted(options.faces)


def report_crowd(workspace: Workspace, votes_file: Path) -> None:
    """The table of the crowd."""
    folded, classes, evidence = read(workspace)
    votes_at = read_votes(votes_file)
    named = [choose_majority(votes_of(votes_at.get(path, ""))) for path in folded["path"]]
    true = number(named, classes)
    is_first = choose_half(folded, "first")
    faces = to_faces(folded, evidence, true, is_first, ~is_first)
    rows = [("0, given labels", *measure(one_hot(evidence.labels, classes), faces), "")]
    rows += [("0, the models alone", *measure(evidence.believed, faces), "")]
    for many in VERDICTS:
        rows += [(f"{many:,} {design}", *average(faces, many, design)) for design in DESIGNS]
    table = to_table(["verdicts", *HEADER], rows)
    body = (
        f"Measured by `python benchmarks/posterior.py crowd` on {faces.test.sum():,} images of one "
        f"half of the photographs, with verdicts from the other half; {describe(workspace)}. Mean "
        f"and spread of {DRAWS} draws.\n\n{table}\n\n{compare_with_given(faces)}"
    )
    write("posterior-crowd", "The class posterior: what verdicts buy", body)


def report_clean(workspace: Workspace) -> None:
    """Agreement with labels that are all right, which a posterior must not lower."""
    folded, classes, evidence = read(workspace)
    every = np.ones(len(folded), bool)
    faces = to_faces(folded, evidence, evidence.labels, every, every)
    rows = [("0, the models alone", *measure(evidence.believed, faces), "")]
    rows += [(f"{many:,} at random", *average(faces, many, "at random")) for many in FEW]
    harm = measure_confusion(faces, classes)
    body = (
        f"Measured by `python benchmarks/posterior.py clean` on {len(folded):,} images whose given "
        f"labels the person confirms, on those not judged; {describe(workspace)}. Mean and spread "
        f"of {DRAWS} draws; the given labels agree with 100 %.\n\n"
        f"{to_table(['verdicts', *HEADER], rows)}\n\n{harm}"
    )
    write("posterior-clean", "The class posterior: labels that are right already", body)


def report_planted(faces_drawn: int) -> None:
    """Drawn faces with wrong labels: agreement with the true ones."""
    rows = []
    with tempfile.TemporaryDirectory() as scratch:
        clean = Path(scratch) / "clean"
        draw_fresh(clean, faces=faces_drawn, seed=0)
        for share in (0.05, 0.2):
            root = Path(scratch) / f"planted-{share}"
            names = plant(clean, root, share, 0)
            workspace = Workspace(root / "manifests")
            prepare(workspace, root / "faces", 0)
            folded, classes, evidence = read(workspace)
            every = np.ones(len(folded), bool)
            true = number(true_labels(folded, names).tolist(), classes)
            faces = to_faces(folded, evidence, true, every, every)
            start = f"{share:.0%} planted, "
            given = measure(one_hot(evidence.labels, classes), faces)
            rows.append((f"{start}0, given labels", *given, ""))
            for many in FEW:
                found = average(faces, many, "at random")
                rows.append((f"{start}{many:,} at random", *found))
    body = (
        f"Measured by `python benchmarks/posterior.py planted` on {faces_drawn:,} drawn faces, "
        f"`hog` alone, on the images not judged; {describe_machine()}. Mean and spread of {DRAWS} "
        f"draws.\n\n{to_table(['verdicts', *HEADER], rows)}"
    )
    write("posterior-planted", "The class posterior: planted wrong labels", body)


def read(workspace: Workspace) -> tuple[pd.DataFrame, list[str], Evidence]:
    """The folded rows without votes, the classes, the evidence of all predictions."""
    manifest = workspace.read().assign(votes="")
    folded = manifest[manifest["fold"] != ""].reset_index(drop=True)
    tables = [read_predictions(file, manifest) for file in workspace.find_predictions()]
    classes = [name for name in VOCABULARY if name in set(folded["given_label"])]
    return folded, classes, gather_evidence(folded, tables, classes)


def to_faces(
    folded: pd.DataFrame,
    evidence: Evidence,
    true: np.ndarray,
    pool: np.ndarray,
    test: np.ndarray,
) -> Faces:
    other = best_other(evidence.labels, evidence.believed)
    pair = evidence.labels * evidence.probs.shape[1] + other
    suspicion = SCORES["combined"](evidence).round(9)
    known = true != NO_VERDICT
    return Faces(folded, evidence, suspicion, pair, true, pool & known, test & known)


def number(names: Sequence[str], classes: Sequence[str]) -> np.ndarray:
    """(N,) class index of each name, `NO_VERDICT` for any other."""
    return np.array([classes.index(name) if name in classes else NO_VERDICT for name in names])


def one_hot(labels: np.ndarray, classes: Sequence[str]) -> np.ndarray:
    return np.eye(len(classes))[labels]


def average(faces: Faces, many: int, design: str) -> list[str]:
    """Mean and spread of the figures over the draws, and how often flag would use the posterior."""
    figures, used = [], 0
    for draw in range(DRAWS):
        judged = choose_judged(faces, many, design, draw)
        posterior, is_of_use = fit(faces, judged, faces.true)
        figures.append(score(posterior, faces, judged))
        used += is_of_use
    means, spreads = np.mean(figures, axis=0), np.std(figures, axis=0)
    formats = zip(
        means, spreads, (100, 1, 1, 1), ("{:.1f} %", "{:.3f}", "{:.3f}", "{:.3f}"), strict=True
    )
    texts = [
        f"{form.format(mean * factor)} ± {form.removesuffix(' %').format(spread * factor)}"
        for mean, spread, factor, form in formats
    ]
    return [*texts, f"{used} of {DRAWS}"]


def choose_judged(faces: Faces, many: int, design: str, draw: int) -> np.ndarray:
    """Numbers of the rows that the person judges."""
    random = np.random.default_rng(draw)
    pool = random.permutation(np.flatnonzero(faces.pool))
    available = pool[: max(round(AVAILABLE * len(pool)), min(many, len(pool)))]
    suspects = round(DESIGNS[design] * min(many, len(available)))
    first = available[np.argsort(-faces.suspicion[available], kind="stable")][:suspects]
    others = available[~np.isin(available, first)][: many - suspects]
    return np.concatenate([first, others])


def fit(faces: Faces, judged: np.ndarray, named: np.ndarray) -> tuple[np.ndarray, bool]:
    """The posterior after these verdicts, as flag fits it, and whether flag would use it."""
    classes = np.full(len(named), NO_VERDICT)
    classes[judged] = named[judged]
    is_wrong = np.where(classes == NO_VERDICT, np.nan, classes != faces.evidence.labels)
    verdicts = Verdicts(is_wrong, classes)
    found = fit_beside_rule(faces.evidence, faces.suspicion, faces.pair, verdicts)
    if found is None:  # too few errors among the verdicts: the labels stay
        return np.eye(faces.evidence.probs.shape[1])[faces.evidence.labels], False
    return found.probs, found.is_of_use


def score(probs: np.ndarray, faces: Faces, judged: np.ndarray) -> tuple[float, ...]:
    """Agreement, macro F1, balanced accuracy, log-loss of the measured rows without a verdict."""
    is_measured = faces.test.copy()
    is_measured[judged] = False
    true, own = faces.true[is_measured], probs[is_measured]
    label = own.argmax(axis=1)
    loss = -np.log(np.maximum(own[np.arange(len(true)), true], 1e-3)).mean()
    return (
        float((label == true).mean()),
        float(f1_score(true, label, average="macro")),
        float(balanced_accuracy_score(true, label)),
        float(loss),
    )


def measure(probs: np.ndarray, faces: Faces) -> list[str]:
    """The figures of one table without draws; no log-loss of hard labels."""
    agreement, macro_f1, balanced, loss = score(probs, faces, np.array([], int))
    is_hard = bool((probs.max(axis=1) == 1).all())
    loss_text = "" if is_hard else f"{loss:.3f}"
    return [f"{100 * agreement:.1f} %", f"{macro_f1:.3f}", f"{balanced:.3f}", loss_text]


def compare_with_given(faces: Faces) -> str:
    """How far the labels leave the given ones, and so those of everybody who is scored by them."""
    judged = choose_judged(faces, 500, "at random", 0)
    probs, _ = fit(faces, judged, faces.true)
    alike = (probs.argmax(axis=1) == faces.evidence.labels)[faces.test].mean()
    return (
        f"Whose convention: after 500 random verdicts the most probable classes are the given "
        f"labels in {100 * alike:.1f} % of the images. A model that learns them is right more "
        "often by the crowd, and less often by the given labels."
    )


def measure_confusion(faces: Faces, classes: Sequence[str]) -> str:
    """What becomes of right labels if the person takes one class for another."""
    wrong, taken_for = CONFUSED
    named = faces.true.copy()
    named[named == classes.index(wrong)] = classes.index(taken_for)
    judged = choose_judged(faces, CONFUSED_VERDICTS, "at random", 0)
    probs, is_of_use = fit(faces, judged, named)
    use = "uses" if is_of_use else "does not use"
    return (
        f"Where it harms: one person who calls every {wrong} {taken_for} has judged "
        f"{CONFUSED_VERDICTS} of these images. flag {use} the posterior, which agrees with "
        f"{100 * score(probs, faces, judged)[0]:.1f} % of the labels of all images not judged."
    )


def describe(workspace: Workspace) -> str:
    """The models with their agreement with the given labels, and the machine."""
    _, _, evidence = read(workspace)
    models = read_receipts(workspace.root)["oof"]["options"]["models"]
    names = [file.stem for file in workspace.find_predictions()]
    described = []
    for name, probs in zip(names, evidence.model_probs, strict=True):
        trained = describe_training(models[name], 1) if name in models else ""
        described.append(f"{name}{trained} {100 * agree(probs, evidence.labels):.1f} %")
    agreement = ", ".join(described)
    return f"models, with their agreement with the given labels: {agreement}; {describe_machine()}"


def write(section: str, title: str, body: str) -> None:
    replace_section(RESULTS, section, f"## {title}\n\n{body}")
    print(body)


if __name__ == "__main__":
    sys.exit(main())
