"""What a model from outside adds to `curate flag`, and whether one that knows the labels is found.

    python benchmarks/independent_model.py WORKSPACE VOTES.csv CK48

WORKSPACE is built without votes, folded, and has the predictions of `train oof`; CK48 is the folder
of CK+48, another data set, without a neutral face. The outside model is `hog` of `train oof`,
trained on CK48 alone; the leaky one is `hog` trained on all rows of WORKSPACE, those that it then
predicts too. Average precision is that of `label_issues.py`, on the second half of the votes.
Writes the section `independent` of RESULTS.md.
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
from label_issues import average_precision, choose_half, judge_by_crowd, read_workspace
from results import RESULTS, describe_machine, replace_section, run_command, to_table

from curate.errors import PredictionsError
from curate.label_issues.error_model import collect_verdicts
from curate.label_issues.evidence import gather_evidence
from curate.label_issues.independent import add_independent
from curate.label_issues.scores import SCORES, Evidence, agree, weigh_models
from curate.workspace.predictions import PREFIX
from curate.workspace.votes import read_votes
from curate.workspace.workspace import Workspace
from train.data.dataset import Examples, encode_labels, list_classes, load_images
from train.oof.hog_model import Hog, fit_and_predict

Probs = npt.NDArray[np.float64]


class NoBar:
    """A progress bar that shows nothing."""

    def update(self, steps: int) -> None:
        """Nothing."""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for place in ("workspace", "votes", "ck48"):
        parser.add_argument(place, type=Path)
    options = parser.parse_args()
    workspace = Workspace(options.workspace)
    _, folded, tables, classes = read_workspace(workspace)
    evidence = gather_evidence(folded, list(tables.values()), classes)
    gold = judge_by_crowd(folded, read_votes(options.votes))
    counted = gold["counted"] & choose_half(folded, "second")
    faces = load_images(workspace, folded)[np.arange(len(folded))]
    with tempfile.TemporaryDirectory() as scratch:
        run_command(["curate", "build", f"ck={options.ck48}", "-w", scratch])
        other = Workspace(Path(scratch))
        manifest = other.read()
        elsewhere = load_images(other, manifest)[np.arange(len(manifest))]
    outside = predict(elsewhere, manifest["given_label"], faces)
    leaky = predict(faces, folded["given_label"], faces)
    rows = [measure("`train oof` alone", evidence, gold["strict"], counted)]
    for name, table in (("CK+48", outside), ("leaky", leaky)):
        table.insert(0, "path", folded["path"].to_numpy())
        named = f"with `hog` of {name}"
        try:
            verdicts = collect_verdicts(folded)
            joined, _ = add_independent(evidence, {f"{name}.csv": table}, classes, verdicts)
            rows.append(measure(named, joined, gold["strict"], counted))
        except PredictionsError as error:
            rows.append([named, "", "", f"refused: {str(error).split(': it evidently')[0]}"])
    header = ["models", "strict AP", "agreement of the last, weight", "verdict of flag"]
    body = (
        f"Measured by `python benchmarks/independent_model.py` on {describe_machine()}; "
        f"{counted.sum():,} images with votes.\n\n{to_table(header, rows)}"
    )
    replace_section(RESULTS, "independent", f"## A model from outside\n\n{body}")
    print(body)


def predict(
    faces: npt.NDArray[np.uint8], labels: "pd.Series[str]", wanted: npt.NDArray[np.uint8]
) -> pd.DataFrame:
    """p_<class> of the wanted faces by `hog`, trained on other faces, or the same."""
    classes = list_classes(labels)
    both = np.concatenate([faces, wanted])
    rows = np.arange(len(faces))
    targets = encode_labels(labels, classes, "labels")
    train = Examples(both, rows, targets, np.ones(len(rows), np.float32))
    held_out = np.arange(len(faces), len(both))
    model = Hog(components=min(500, len(faces) // 2))
    probs = fit_and_predict(model, train, held_out, len(classes), (0,), NoBar())
    return pd.DataFrame(probs, columns=[PREFIX + name for name in classes])


def measure(
    name: str, evidence: Evidence, strict: npt.NDArray[np.bool_], counted: npt.NDArray[np.bool_]
) -> list[str]:
    """The average precision with these models; agreement and weight of the last of them."""
    found = average_precision(strict, SCORES["combined"](evidence), counted)
    last = agree(evidence.model_probs[-1], evidence.labels)
    weight = weigh_models(evidence.labels, evidence.model_probs)[-1]
    return [name, f"{found:.4f}", f"{100 * last:.1f} %, {weight:.2f}", "taken"]


if __name__ == "__main__":
    main()
