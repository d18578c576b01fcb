"""`curate flag --independent`: an outside model counts by its skill, unless it knows the labels."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import call_curate, predict
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score

from curate.demo.drawing import draw_face
from curate.demo.people import EXPRESSIONS
from curate.errors import PredictionsError
from curate.images.hog import describe_gradients
from curate.label_issues.evidence import gather_evidence
from curate.label_issues.independent import calibrate_to_labels, complete_classes, describe_leak
from curate.label_issues.scores import agree, weigh_models
from curate.stages.flag import flag
from curate.workspace.manifest import empty_manifest, write_manifest
from curate.workspace.predictions import PREFIX, read_independent, write_predictions
from curate.workspace.workspace import Workspace

CLASSES = 5
UNKNOWN = np.full(2000, np.nan)


def draw_labels(noise: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """2,000 true classes, and given ones of which so large a share is another class."""
    random = np.random.default_rng(seed)
    truth = random.integers(0, CLASSES, 2000)
    is_wrong = random.random(2000) < noise
    return truth, np.where(is_wrong, (truth + random.integers(1, CLASSES, 2000)) % CLASSES, truth)


def believe(classes: np.ndarray, skill: float, seed: int, confidence: float = 0.8) -> np.ndarray:
    """(N, K) of a model that sees so large a share of the classes."""
    random = np.random.default_rng(seed)
    others = random.integers(0, CLASSES, len(classes))
    seen = np.where(random.random(len(classes)) < skill, classes, others)
    probs = np.full((len(classes), CLASSES), (1 - confidence) / (CLASSES - 1))
    probs[np.arange(len(classes)), seen] = confidence
    return probs


@pytest.mark.parametrize("noise", [0.1, 0.3])
@pytest.mark.parametrize("known", [1.0, 0.9])
def test_a_model_that_learned_the_labels_is_found(noise: float, known: float) -> None:
    truth, given = draw_labels(noise)
    members = [believe(truth, 0.8, seed) for seed in (1, 2)]
    leaky = believe(given, known, 3)
    reason = describe_leak(given, members, leaky, UNKNOWN)
    assert reason.startswith(f"agrees with {100 * agree(leaky, given):.1f} % of the given labels, ")
    assert "that those are sure are wrong" in reason


@pytest.mark.parametrize("noise", [0.1, 0.3])
@pytest.mark.parametrize("skill", [0.2, 0.8, 0.9, 1.0])
def test_an_independent_model_is_not_refused_however_well_it_sees(
    noise: float, skill: float
) -> None:
    truth, given = draw_labels(noise)
    members = [believe(truth, 0.8, seed) for seed in (1, 2)]
    assert describe_leak(given, members, believe(truth, skill, 3), UNKNOWN) == ""


def test_without_wrong_labels_verdicts_clear_a_model_that_sees_all() -> None:
    truth, given = draw_labels(0.0)
    members = [believe(truth, 0.6, 1)]
    perfect = believe(truth, 1.0, 2)
    assert describe_leak(given, members, perfect, UNKNOWN) != ""
    judged = np.where(np.arange(2000) < 200, 0.0, np.nan)
    assert describe_leak(given, members, perfect, judged) == ""
    # Where people find a third of the labels wrong, nobody honest agrees with all of them.
    judged[:67] = 1.0
    assert describe_leak(given, members, perfect, judged) != ""
    assert describe_leak(given, [], perfect, UNKNOWN) == ""


def test_against_weak_models_of_few_images_a_good_one_is_not_refused() -> None:
    truth, given = draw_labels(0.1)
    weak = [np.full((2000, CLASSES), 0.15) + 0.1 * believe(truth, 0.2, 1)]
    for skill, is_leak in ((0.6, False), (1.0, True)):
        assert (describe_leak(given, weak, believe(given, skill, 2), UNKNOWN) != "") == is_leak


def test_classes_that_the_model_does_not_have_are_believed_as_the_others_do() -> None:
    pooled = np.array([[0.2, 0.3, 0.5], [0.0, 0.0, 1.0]])
    own = np.array([[0.75, 0.25, 0.0], [0.0, 0.0, 0.0]])
    completed = complete_classes(own, np.array([True, True, False]), pooled)
    # Half is left for the first two classes, at 3 : 1.
    assert completed.tolist() == [[0.375, 0.125, 0.5], [0, 0, 1]]
    assert complete_classes(own, np.array([True] * 3), None)[0].tolist() == [0.75, 0.25, 0]


def test_an_overconfident_model_is_calibrated_to_the_frequencies_here() -> None:
    truth, _ = draw_labels(0.0)
    rare = np.where((truth == 0) & (np.arange(2000) % 4 > 0), 1, truth)
    probs = believe(rare, 0.5, 1, confidence=0.999)
    calibrated = calibrate_to_labels(probs, rare)
    assert calibrated.mean(axis=0) == pytest.approx(np.bincount(rare) / 2000, abs=0.005)
    sure = calibrated.max(axis=1)
    right = calibrated.argmax(axis=1) == rare
    assert sure.mean() == pytest.approx(right.mean(), abs=0.02)
    by_library = LogisticRegression(C=1e6).fit(np.log(np.maximum(probs, 1e-3)), rare)
    ours = -np.log(calibrated[np.arange(2000), rare]).mean()
    theirs = -by_library.predict_log_proba(np.log(np.maximum(probs, 1e-3)))[
        np.arange(2000), rare
    ].mean()
    assert theirs - 1e-6 <= ours <= theirs + 0.01  # a full matrix can only fit more


def draw_people(identities: range, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Every fourth HOG feature of drawn people, one face per expression and person; the classes."""
    faces = [
        draw_face(expression, identity=person, seed=seed + 31 * person + k, intensity=0.5)
        for person in identities
        for k, expression in enumerate(EXPRESSIONS)
    ]
    labels = np.tile(np.arange(len(EXPRESSIONS)), len(identities))
    return describe_gradients(np.stack(faces), (8,))[:, ::4], labels


@pytest.mark.filterwarnings("ignore:lbfgs failed to converge")
def test_a_model_of_other_drawn_people_helps_and_one_of_these_is_refused() -> None:
    features, truth = draw_people(range(40), 0)
    random = np.random.default_rng(5)
    is_wrong = random.random(len(truth)) < 0.15
    given = np.where(is_wrong, (truth + random.integers(1, 7, len(truth))) % 7, truth)
    manifest = empty_manifest([f"a/{k:03d}.png" for k in range(len(truth))])
    folds = np.arange(len(truth)) // 7 % 3
    manifest["given_label"] = np.array(EXPRESSIONS)[given]
    manifest["label"], manifest["status"] = manifest["given_label"], "keep"
    manifest["pixel_hash"], manifest["fold"] = "0", folds.astype(str)

    def fit(rows: np.ndarray, labels: np.ndarray, strength: float) -> LogisticRegression:
        return LogisticRegression(C=strength, max_iter=100).fit(rows, labels)

    def to_table(probs: np.ndarray) -> pd.DataFrame:
        table = pd.DataFrame(probs, columns=[PREFIX + name for name in EXPRESSIONS])
        return table.assign(path=manifest["path"], fold="", model="net")

    probs = np.zeros((len(truth), 7))
    for fold in range(3):
        model = fit(features[folds != fold], given[folds != fold], 0.1)
        probs[folds == fold] = model.predict_proba(features[folds == fold])
    other = fit(*draw_people(range(100, 140), 9), 0.1).predict_proba(features)
    known = fit(features, given, 100.0).predict_proba(features)
    assert agree(known, given) > 0.95

    def score(independent: dict[str, pd.DataFrame]) -> float:
        ranks = flag(manifest, [to_table(probs)], independent=independent).columns["issue_rank"]
        return float(average_precision_score(is_wrong, -ranks.astype(int)))

    assert score({"other.csv": to_table(other)}) > score({}) + 0.02
    with pytest.raises(PredictionsError, match=r"^known.csv: agrees with .* evidently knows the"):
        score({"known.csv": to_table(known)})
    evidence = gather_evidence(manifest, [to_table(probs), to_table(other)], EXPRESSIONS)
    weights = weigh_models(evidence.labels, evidence.model_probs)
    assert weights[1] > weights[0] == pytest.approx(1 - weights[1])


def write_outside(workspace: Workspace, file: Path, columns: tuple[str, ...] = ()) -> Path:
    """A table of path and probabilities alone, of the classes of the tiny faces or of some."""
    manifest = workspace.read()
    names = columns or tuple(sorted(set(manifest["given_label"])))
    table = manifest[["path"]].assign(**{PREFIX + name: 1 / len(names) for name in names})
    file.parent.mkdir(parents=True, exist_ok=True)
    table.to_csv(file, index=False)
    return file


def test_flag_takes_an_independent_table_from_anywhere_once(
    finished: Workspace, tmp_path: Path
) -> None:
    file = write_outside(finished, tmp_path / "outside.csv", ("happy", "sad"))
    done = call_curate("flag", "--independent", file, "-w", finished.root)
    assert done.exit_code == 0, done.output
    assert "over 2 models" in done.stdout
    receipt = (finished.root / "receipts/flag.json").read_text()
    assert "outside.csv" in receipt
    inside = write_outside(finished, finished.predictions / "outside.csv")
    done = call_curate("flag", "--independent", inside, "-w", finished.root)
    assert "over 2 models" in done.stdout


def test_an_independent_model_alone_needs_no_folds(finished: Workspace, tmp_path: Path) -> None:
    manifest = finished.read().assign(fold="", self_confidence="", issue_rank="", issue="")
    write_manifest(finished.manifest, manifest.assign(suggested_label=""))
    for table in finished.predictions.glob("*.csv"):
        table.unlink()
    file = write_outside(finished, tmp_path / "outside.csv")
    done = call_curate("flag", "--independent", file, "-w", finished.root)
    assert done.exit_code == 0, done.output
    assert "outside.csv was not compared with out-of-fold models" in done.stderr
    readable = (manifest["pixel_hash"] != "").sum()
    assert (finished.read()["issue_rank"] != "").sum() == readable
    few = write_outside(finished, tmp_path / "few.csv", ("happy", "sad"))
    done = call_curate("flag", "--independent", few, "-w", finished.root)
    assert done.exit_code == 1
    assert done.stderr.startswith("curate: few.csv: no column for p_angry, p_disgust, p_fear")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda table: table.iloc[2:], "outside.csv: 2 rows missing (first: "),
        (lambda table: table.assign(fold="1"), "outside.csv: has folds, so its model was trained"),
        (lambda table: table.assign(p_happy="?"), "rows hold no probability"),
        (lambda table: table[["path"]].assign(p_contempt=1), "predicts no class of this manifest"),
    ],
)
def test_an_independent_table_that_does_not_fit_is_refused(
    finished: Workspace, tmp_path: Path, damage, message: str
) -> None:
    file = write_outside(finished, tmp_path / "outside.csv")
    damage(pd.read_csv(file)).to_csv(file, index=False)
    with pytest.raises(PredictionsError) as caught:
        read_independent(file, finished.read())
    assert message in str(caught.value)


def test_a_leak_is_named_by_the_command_and_nothing_is_written(
    finished: Workspace, tmp_path: Path
) -> None:
    manifest = finished.read()
    names = sorted(set(manifest["given_label"]))
    predict(finished)
    noisy = manifest[manifest["fold"] != ""]
    table = pd.read_csv(finished.predictions / "net.csv")
    random = np.random.default_rng(0)
    table[[PREFIX + name for name in names]] = random.dirichlet(np.ones(len(names)), len(table))
    write_predictions(finished.predictions / "net.csv", table)
    leaky = noisy[["path"]].assign(
        **{PREFIX + name: (noisy["given_label"] == name).astype(float) for name in names}
    )
    leaky.to_csv(tmp_path / "leaky.csv", index=False)
    before = finished.manifest.read_bytes()
    words = ("flag", "--independent", tmp_path / "leaky.csv", "-w", finished.root)
    done = call_curate(*words)
    assert done.exit_code == 1
    assert done.stderr.startswith("curate: leaky.csv: agrees with 100.0 % of the given labels")
    assert "`curate relabel --random 200`" in done.stderr
    assert finished.manifest.read_bytes() == before


def test_a_posterior_of_independent_models_alone_has_learned_from_the_verdicts_only() -> None:
    truth, given = draw_labels(0.3)
    names = np.array(EXPRESSIONS[:CLASSES])
    manifest = empty_manifest([f"a/{k:04d}.png" for k in range(2000)]).assign(
        given_label=names[given], label=names[given], status="keep", pixel_hash="0"
    )
    manifest["votes"] = [f'{{"{name}":7}}' if k % 4 else "" for k, name in enumerate(names[truth])]
    table = pd.DataFrame(believe(truth, 0.9, 1), columns=[PREFIX + name for name in names])
    result = flag(manifest, [], independent={"net.csv": table.assign(path=manifest["path"])})
    within = result.tables["predictions/posterior.csv"]["within"]
    assert ((within == "train") == (manifest["votes"] != "")).all()
