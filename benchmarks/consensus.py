"""What the consensus of several reviewers is worth, and whether it knows how good each of them is.

    python benchmarks/consensus.py crowd WORKSPACE VOTES.csv
    python benchmarks/consensus.py simulated

`crowd` draws three of the ten answers that each photograph of FER+ has, as three reviewers, and
scores what is made of them against the majority of the other seven. The workspace is folded and has
the predictions of `train oof`, whose models learned from the given labels and from no answer. An
answer `unknown` is no verdict, `NF` is a drop; photographs whose seven have no leading class, or
whose three are all unknown, are passed over. `simulated` draws reviewers of known skill. Five draws
each. Writes the sections `consensus-crowd` and `consensus-simulated` of RESULTS.md.
"""

import argparse
import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from posterior import describe, read
from results import RESULTS, describe_machine, replace_section, to_table

from curate.label_issues.consensus import NO_VOTE, find_consensus
from curate.labels import VOCABULARY
from curate.workspace.votes import read_votes, votes_of
from curate.workspace.workspace import Workspace

DRAWS = 5
REVIEWERS = 3
ANSWERS = (*VOCABULARY, "NF", "unknown")  # the classes, a drop, no verdict
VERDICTS = len(VOCABULARY) + 1
TEAMS = ((0.9, 0.8, 0.7), (0.9, 0.75, 0.6, 0.5), (0.95, 0.9, 0.4))
IMAGES = (100, 300, 1000)
SHARES = (0.25, 0.2, 0.15, 0.12, 0.12, 0.1, 0.06)
JUDGED = 0.7  # of the images by each simulated reviewer

Votes = np.ndarray


@dataclass(frozen=True)
class Draw:
    """N photographs with three reviewers each.

    Attributes
    ----------
    votes : (N, 3) number of the verdict, `NO_VOTE` for none
    believed : (N, K) out-of-fold probabilities
    given : (N,) number of the given label
    true : (N,) what most of the other seven answered
    """

    votes: Votes
    believed: np.ndarray
    given: np.ndarray
    true: np.ndarray


Method = Callable[[Draw], np.ndarray]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("part", choices=("crowd", "simulated"))
    parser.add_argument("workspace", type=Path, nargs="?")
    parser.add_argument("votes", type=Path, nargs="?")
    options = parser.parse_args()
    warnings.simplefilter("ignore", UserWarning)  # cleanlab's, on classes without a consensus
    if options.part == "crowd":
        report_crowd(Workspace(options.workspace), options.votes)
    else:
        report_simulated()


# The crowd


def report_crowd(workspace: Workspace, votes_file: Path) -> None:
    folded, classes, evidence = read(workspace)
    votes_at = read_votes(votes_file)
    counts = np.array(
        [
            [votes_of(votes_at.get(path, "")).get(answer, 0) for answer in ANSWERS]
            for path in folded["path"]
        ]
    )
    is_asked = counts.sum(axis=1) == 10
    believed = np.zeros((is_asked.sum(), VERDICTS))
    believed[:, [VOCABULARY.index(name) for name in classes]] = evidence.believed[is_asked]
    given = np.array([VOCABULARY.index(name) for name in folded["given_label"][is_asked]])
    draws = [draw_three(counts[is_asked], believed, given, seed) for seed in range(DRAWS)]
    scores = np.array([score_methods(draw) for draw in draws])  # draws, methods, parts
    means, spreads = 100 * scores.mean(axis=0), 100 * scores.std(axis=0)
    rows = [
        [name, *(f"{mean:.1f} % ± {spread:.1f}" for mean, spread in zip(*pair, strict=True))]
        for name, *pair in zip(METHODS, means, spreads, strict=True)
    ]
    sizes = np.array([[part.sum() for part in parts_of(draw)] for draw in draws])
    images = sizes.mean(axis=0).round().astype(int)
    quality, share = np.mean([compare_quality(draw) for draw in draws], axis=0)
    header = ["three verdicts become one by", "all", "not unanimous", "all three differ"]
    body = (
        f"Measured by `python benchmarks/consensus.py crowd` on FER2013 and FER+: three of the ten "
        f"answers to a photograph are the reviewers, and the figure is the agreement with the "
        f"majority of the other seven; mean and spread of {DRAWS} draws, on about {images[0]:,} "
        f"photographs, {images[1]:,} with verdicts that are not unanimous and {images[2]:,} with "
        f"three different ones; {describe(workspace)}.\n\n{to_table(header, rows)}\n\n"
        f"A reviewer's quality is {quality:.3f} on average, and {share:.3f} of the verdicts are "
        "what most of the other seven answered: people err on the same faces, and errors that they "
        "share count as right."
    )
    write("consensus-crowd", "The consensus of three reviewers", body)


def draw_three(counts: np.ndarray, believed: np.ndarray, given: np.ndarray, seed: int) -> Draw:
    """Three answers of each photograph, where the other seven have a leading class."""
    rng = np.random.default_rng(seed)
    three = np.array([rng.multivariate_hypergeometric(row, REVIEWERS) for row in counts])
    seven = counts - three
    order = np.sort(seven, axis=1)
    true = seven.argmax(axis=1)
    leads = (order[:, -1] > order[:, -2]) & (true < len(VOCABULARY))
    used = leads & (three[:, :VERDICTS].sum(axis=1) > 0)
    votes = np.array([rng.permutation(np.repeat(np.arange(len(ANSWERS)), row)) for row in three])
    votes = np.where(votes < VERDICTS, votes, NO_VOTE)
    return Draw(votes[used], believed[used], given[used], true[used])


def parts_of(draw: Draw) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(N,) each: all, those whose verdicts differ, those with three different ones."""
    kinds = was_given(draw.votes).sum(axis=1)
    return np.ones(len(kinds), bool), kinds > 1, kinds == REVIEWERS


def score_methods(draw: Draw) -> list[list[float]]:
    """(methods, parts) agreement with the other seven."""
    found = [method(draw) == draw.true for method in METHODS.values()]
    return [[float(right[part].mean()) for part in parts_of(draw)] for right in found]


def compare_quality(draw: Draw) -> tuple[float, float]:
    """The mean quality of the three, and the share of their verdicts that the seven confirm."""
    quality = find_consensus(draw.votes, VERDICTS, draw.believed).quality
    is_right = draw.votes == draw.true[:, None]
    return float(quality.mean()), float(is_right[draw.votes != NO_VOTE].mean())


def was_given(votes: Votes) -> np.ndarray:
    """(N, K) whether a reviewer gave this verdict."""
    return (votes[..., None] == np.arange(VERDICTS)).any(axis=1)


def by_models(draw: Draw) -> np.ndarray:
    return draw.believed.argmax(axis=1)


def by_majority(draw: Draw) -> np.ndarray:
    """The most frequent verdict; of tied ones the given label, else one by chance."""
    counts = (draw.votes[..., None] == np.arange(VERDICTS)).sum(axis=1)
    is_label = np.arange(VERDICTS) == draw.given[:, None]
    chance = np.random.default_rng(0).random(counts.shape) / 4
    return (counts + 0.5 * is_label * (counts > 0) + chance).argmax(axis=1)


def by_crowdlab(draw: Draw) -> np.ndarray:
    from cleanlab.multiannotator import get_label_quality_multiannotator

    floored = np.maximum(draw.believed, 1e-6)
    found = get_label_quality_multiannotator(
        np.where(draw.votes == NO_VOTE, np.nan, draw.votes),
        floored / floored.sum(axis=1, keepdims=True),
        consensus_method="best_quality",
        return_detailed_quality=False,
        return_annotator_stats=False,
        verbose=False,
    )
    return found["label_quality"]["consensus_label"].to_numpy()


def by_votes(draw: Draw) -> np.ndarray:
    return choose_given(draw, find_consensus(draw.votes, VERDICTS).probs)


def by_consensus(draw: Draw) -> np.ndarray:
    return choose_given(draw, find_consensus(draw.votes, VERDICTS, draw.believed).probs)


def choose_given(draw: Draw, probs: np.ndarray) -> np.ndarray:
    """The most probable verdict that some reviewer gave, as `curate decide --consensus` does."""
    return np.where(was_given(draw.votes), probs, -1).argmax(axis=1)


METHODS: dict[str, Method] = {
    "the models alone": by_models,
    "the plain majority": by_majority,
    "cleanlab's CROWDLAB, `best_quality`": by_crowdlab,
    "`--consensus`, verdicts alone": by_votes,
    "`--consensus`, with the models": by_consensus,
}


# Simulated reviewers


def report_simulated() -> None:
    rows = []
    for team in TEAMS:
        for images in IMAGES:
            draws = [measure_team(team, images, seed) for seed in range(DRAWS)]
            errors = [f"{100 * error:.1f}" for error in np.mean(draws, axis=0)]
            rows.append([", ".join(map(str, team)), f"{images:,}", *errors])
    header = ["skills", "images", "`quality`, verdicts alone", "`quality`, with a model",
              "CROWDLAB's `annotator_quality`"]  # fmt: skip
    body = (
        "Measured by `python benchmarks/consensus.py simulated`: reviewers who are right as often "
        f"as their skill says and else name another class at random, {len(SHARES)} classes, "
        f"{JUDGED:.0%} of the images judged by each; a model that is right in two of three. The "
        "figures are the mean difference between a reviewer's quality and the true share of right "
        "verdicts, in percentage points, on the images that two or more judged; mean of "
        f"{DRAWS} draws; {describe_machine()}.\n\n{to_table(header, rows)}"
    )
    write("consensus-simulated", "Reviewers of known skill", body)


def measure_team(team: tuple[float, ...], images: int, seed: int) -> list[float]:
    """Mean error of each reviewer's quality: by verdicts, with a model, by CROWDLAB."""
    from cleanlab.multiannotator import get_label_quality_multiannotator

    true, votes, believed = draw_team(team, images, seed)
    share = [(votes[:, r] == true)[votes[:, r] != NO_VOTE].mean() for r in range(len(team))]
    found = get_label_quality_multiannotator(
        np.where(votes == NO_VOTE, np.nan, votes), believed, verbose=False
    )
    qualities = (
        find_consensus(votes, len(SHARES)).quality,
        find_consensus(votes, len(SHARES), believed).quality,
        found["annotator_stats"].sort_index()["annotator_quality"].to_numpy(),
    )
    return [float(np.abs(quality - share).mean()) for quality in qualities]


def draw_team(
    team: tuple[float, ...], images: int, seed: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(N,) true classes, (N, R) verdicts, (N, K) probabilities, where two or more judged."""
    rng = np.random.default_rng(seed)
    classes = len(SHARES)
    true = rng.choice(classes, images, p=SHARES)
    shape = (images, len(team))
    other = (true[:, None] + rng.integers(1, classes, shape)) % classes
    votes = np.where(rng.random(shape) < team, true[:, None], other)
    votes[rng.random(shape) > JUDGED] = NO_VOTE
    logits = 2.2 * np.eye(classes)[true] + 0.9 * rng.gumbel(size=(images, classes))
    powers = np.exp(logits)
    used = (votes != NO_VOTE).sum(axis=1) > 1
    return true[used], votes[used], (powers / powers.sum(axis=1, keepdims=True))[used]


def write(section: str, title: str, body: str) -> None:
    replace_section(RESULTS, section, f"## {title}\n\n{body}")
    print(body)


if __name__ == "__main__":
    sys.exit(main())
