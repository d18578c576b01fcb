"""The steps of `curation_pays.py` that are no command of Candid: a reviewer, planted noise, scores.

    python benchmarks/curation_reviewer.py judge WORKSPACE VOTES --keys 9 --order queue --out k.csv
    python benchmarks/curation_reviewer.py suspects WORKSPACE --share 0.1 --out dropped.csv
    python benchmarks/curation_reviewer.py believed WORKSPACE --at-least 0.9 --out labels.csv
    python benchmarks/curation_reviewer.py ship WORKSPACE CLEAN
    python benchmarks/curation_reviewer.py flip CLEAN VOTES WORKSPACE --share 0.2 --kind symmetric
    python benchmarks/curation_reviewer.py score RUN CLEAN WORKSPACE VOTES --out FILE
    python benchmarks/curation_reviewer.py labels WORKSPACE VOTES --out FILE

VOTES is a table of path and a count per class. The reviewer knows the class that most annotators
chose; he sees voted images of train and val alone, never of test, and images without votes cost him
no key, nor does a copy that is dropped with its image. What he writes is a table for `curate decide
--from`.
"""

import argparse
import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from results import run_command

from curate.files import write_atomically
from curate.label_issues.evidence import gather_evidence
from curate.workspace.journal.decisions import is_machine
from curate.workspace.manifest import table_bytes, write_manifest
from curate.workspace.predictions import PREFIX, class_names, read_predictions
from curate.workspace.votes import choose_majority, read_votes, votes_of
from curate.workspace.workspace import Workspace
from train.evaluation.metrics import score_predictions

SCORES = ("accuracy", "balanced_accuracy", "macro_f1")
KINDS = ("symmetric", "confusions")
ORDERS = ("queue", "random", "cleanlab")
TTA = "flip"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)

    def add(run: Callable[..., Any], places: str, **options: Any) -> None:
        command = commands.add_parser(run.__name__)
        command.set_defaults(run=run)
        for place in places.split():
            command.add_argument(place, type=Path)
        for name, kind in options.items():
            is_choice = isinstance(kind, tuple)
            how = {"choices": kind} if is_choice else {"type": kind}
            command.add_argument(f"--{name.replace('_', '-')}", required=name != "seed", **how)

    add(judge, "workspace votes", keys=int, order=ORDERS, out=Path, seed=int)
    add(suspects, "workspace", share=float, out=Path)
    add(believed, "workspace", at_least=float, out=Path)
    add(ship, "workspace clean")
    add(flip, "clean votes workspace", share=float, kind=KINDS, seed=int)
    add(score, "run_folder clean workspace votes", out=Path)
    add(labels, "workspace votes", out=Path)
    options = vars(parser.parse_args())
    run = options.pop("run")
    options.pop("command")
    if "seed" in options:
        options["seed"] = options["seed"] or 0
    print(run(**options))


def name_majorities(manifest: pd.DataFrame, votes: Path) -> "pd.Series[str]":
    """Per row the answer of most annotators; empty without votes."""
    known = read_votes(votes)
    texts = zip(manifest["path"], manifest["given_label"], strict=True)
    answers = [choose_majority(votes_of(known.get(path, "")), given) for path, given in texts]
    return pd.Series(answers, manifest.index).where(manifest["path"].isin(list(known)), "")


def judge(workspace: Path, votes: Path, keys: int, order: str, out: Path, seed: int) -> str:
    """The next `keys` decisions of the reviewer, in that order of the images."""
    files = Workspace(workspace)
    manifest = files.read()
    majority = name_majorities(manifest, votes)
    decided = {made.path for made in files.read_journal()}
    is_open = (manifest["status"] == "keep") & manifest["split"].isin(["train", "val"])
    is_open &= (majority != "") & ~manifest["path"].isin(list(decided))
    rank = rank_images(files, manifest, order, seed)
    chosen = manifest[is_open].assign(rank=rank[is_open], majority=majority[is_open])
    chosen = chosen.sort_values(["rank", "path"]).head(keys)
    classes = set(manifest["given_label"])
    rows = [
        (row.path, *decide(row.given_label, row.majority, classes)) for row in chosen.itertuples()
    ]
    write_decisions(out, manifest, rows)
    return f"{out}: {len(rows):,} decisions by {order}"


def decide(given: str, majority: str, classes: set[str]) -> tuple[str, str]:
    """Action and label: a class that the data set does not have, and a tie, are no verdict."""
    if majority == "NF":
        return "drop", ""
    if majority not in classes:
        return "unsure", ""
    return ("keep", "") if majority == given else ("relabel", majority)


def rank_images(
    files: Workspace, manifest: pd.DataFrame, order: str, seed: int
) -> "pd.Series[float]":
    """Smaller is earlier: the queue of `curate relabel`, a random order, or cleanlab's."""
    if order == "queue":
        return pd.to_numeric(manifest["issue_rank"]).fillna(np.inf)
    if order == "random":
        keys = [hashlib.sha256(f"{seed} {path}".encode()).hexdigest() for path in manifest["path"]]
        return pd.Series(keys, manifest.index).rank()
    from cleanlab.rank import get_label_quality_ensemble_scores

    folded, evidence, _ = read_evidence(files, manifest)
    quality = get_label_quality_ensemble_scores(
        evidence.labels, list(evidence.model_probs), method="normalized_margin", verbose=False
    )
    return pd.Series(quality, folded.index).reindex(manifest.index).fillna(np.inf)


def read_evidence(files: Workspace, manifest: pd.DataFrame) -> tuple[pd.DataFrame, Any, list[str]]:
    """The folded rows, with their numbers in the manifest, what models show, and the classes."""
    tables = [read_predictions(file, manifest) for file in files.find_predictions()]
    classes = [name for name in class_names(tables[0]) if name in set(manifest["given_label"])]
    folded = manifest[manifest["fold"] != ""]
    return folded, gather_evidence(folded.reset_index(drop=True), tables, classes), classes


def suspects(workspace: Path, share: float, out: Path) -> str:
    """Drop the most suspect rows of split train, a share of it.

    The least suspect one of a class stays: a model would not know the class without it.
    """
    manifest = Workspace(workspace).read()
    train = manifest[(manifest["split"] == "train") & (manifest["status"] == "keep")]
    ranked = train.assign(rank=pd.to_numeric(train["issue_rank"]).fillna(np.inf))
    ranked = ranked.sort_values(["rank", "path"])
    last = ranked.groupby("label")["path"].last()
    chosen = ranked[~ranked["path"].isin(last)].head(round(share * len(train)))
    write_decisions(out, manifest, [(path, "drop", "") for path in chosen["path"]])
    return f"{out}: {len(chosen):,} of {len(train):,} rows of train dropped"


def believed(workspace: Path, at_least: float, out: Path) -> str:
    """Relabel the rows of train and val of which the models believe another class so much."""
    files = Workspace(workspace)
    manifest = files.read()
    folded, evidence, classes = read_evidence(files, manifest)
    best = np.array(classes)[evidence.believed.argmax(axis=1)]
    is_sure = (evidence.believed.max(axis=1) >= at_least) & (best != folded["given_label"])
    is_sure &= (folded["status"] == "keep") & folded["split"].isin(["train", "val"])
    rows = [
        (path, "relabel", label)
        for path, label, sure in zip(folded["path"], best, is_sure, strict=True)
        if sure
    ]
    write_decisions(out, manifest, rows)
    return f"{out}: {len(rows):,} rows relabelled by the models alone"


def ship(workspace: Path, clean: Path) -> str:
    """A workspace without dedup gets the split of a clean one; what that dropped goes to train."""
    files = Workspace(workspace)
    split = Workspace(clean).read().set_index("path")["split"]
    manifest = files.read()
    manifest["split"] = manifest["path"].map(split.where(split != "", "train"))
    write_manifest(files.manifest, manifest)
    return f"{workspace}: {(manifest['split'] == 'train').sum():,} rows of train, copies too"


def flip(clean: Path, votes: Path, workspace: Path, share: float, kind: str, seed: int) -> str:
    """A workspace of the images with unanimous votes, so large a share of the labels flipped.

    `symmetric`: to any other class; `confusions`: to a class as often as this data set's labels
    take it where the crowd sees the true one. The draw is named by its SHA-256.
    """
    files, before = Workspace(workspace), Workspace(clean)
    manifest = before.read()
    majority = name_majorities(manifest, votes)
    names = sorted(set(manifest["given_label"]))
    confusions = pd.crosstab(majority, manifest["given_label"]).reindex(names)[names].to_numpy()
    known = read_votes(votes)
    is_unanimous = [len(votes_of(known.get(path, ""))) == 1 for path in manifest["path"]]
    is_chosen = np.array(is_unanimous) & majority.isin(names) & (manifest["status"] == "keep")
    is_chosen &= manifest["duplicate_group"] == ""
    rows = manifest[is_chosen].reset_index(drop=True)
    truth = majority[is_chosen].map(names.index).to_numpy()
    given = flip_labels(truth, confusions if kind == "confusions" else None, share, seed, names)
    rows["given_label"] = rows["label"] = given
    for column in ("fold", "split", "self_confidence", "issue_rank", "issue", "suggested_label"):
        rows[column] = ""
    files.root.mkdir(parents=True, exist_ok=True)
    write_manifest(files.manifest, rows)
    shutil.copy(before.sources, files.sources)
    drawn = hashlib.sha256("\n".join(rows["path"] + "\t" + rows["given_label"]).encode())
    changed = float(np.mean(given != np.array(names)[truth]))
    record = {"rows": len(rows), "flipped": changed, "sha256": drawn.hexdigest()}
    write_json(files.root / "draw.json", record)
    return json.dumps(record)


def flip_labels(
    truth: np.ndarray, confusions: np.ndarray | None, share: float, seed: int, names: list[str]
) -> np.ndarray:
    """(N,) names; exactly the share of the rows, rounded, gets another class."""
    random, classes = np.random.default_rng((seed, round(1000 * share))), len(names)
    odds = np.ones((classes, classes)) if confusions is None else np.nan_to_num(confusions) + 1e-3
    odds = np.where(np.eye(classes, dtype=bool), 0.0, odds)
    given = truth.copy()
    for row in random.permutation(len(truth))[: round(share * len(truth))]:
        weights = odds[truth[row]]
        given[row] = random.choice(classes, p=weights / weights.sum())
    return np.array(names)[given]


def score(run_folder: Path, clean: Path, workspace: Path, votes: Path, out: Path) -> str:
    """Predict val and test of a workspace by a run, and score the test.

    Parameters
    ----------
    clean : the workspace after dedup: which images have a copy
    workspace : whose kept rows of test and val are scored; its labels are the official ones
    out : JSON; the predictions are written beside it
    """
    copies = Workspace(clean).read()
    in_group = set(copies.loc[copies["duplicate_group"] != "", "path"])
    record: dict[str, Any] = {}
    for rows in ("val", "test"):
        words = ["train", "evaluate", str(run_folder), "--rows", rows, "--tta", TTA, "--json"]
        done = json.loads(run_command([*words, "-w", str(workspace)]).stdout)
        table = pd.read_csv(Path(done["folder"]) / "predictions.csv", keep_default_na=False)
        table["crowd"] = name_majorities(table.assign(given_label=table["label"]), votes)
        table["copy_free"] = ~table["path"].isin(in_group)
        record[rows] = score_table(table)
        classes = table.loc[:, [not name.startswith(PREFIX) for name in table]]
        write_atomically(out.with_name(f"{out.stem}-{rows}.csv"), table_bytes(classes))
    write_json(out, record)
    return json.dumps(record["test"])


def score_table(table: pd.DataFrame) -> dict[str, dict[str, float]]:
    """`official` labels of all rows, `copy_free` ones, and the `crowd` on the latter with votes."""
    classes = class_names(table)
    free = table[table["copy_free"]]
    chosen = {
        "official": (table, "label"),
        "copy_free": (free, "label"),
        "crowd": (free[free["crowd"].isin(classes)], "crowd"),
    }
    found = {}
    for name, (rows, column) in chosen.items():
        if not rows.empty:
            targets = rows[column].map(classes.index).to_numpy()
            scores = score_predictions(targets, rows[[PREFIX + k for k in classes]].to_numpy())
            found[name] = {key: scores[key] for key in ("rows", *SCORES)}
    return found


def labels(workspace: Path, votes: Path, out: Path) -> str:
    """How many labels of voted rows of train and val are the crowd's: given, now, by posterior."""
    files = Workspace(workspace)
    manifest = files.read()
    majority = name_majorities(manifest, votes)
    is_counted = majority.isin(list(set(manifest["given_label"])))
    is_counted &= manifest["split"].isin(["train", "val"]) & (manifest["status"] == "keep")
    rows, wanted = manifest[is_counted], majority[is_counted]
    lines = [made for made in files.read_journal() if made.path and not is_machine(made.by)]
    keys = len({made.path for made in lines})
    record: dict[str, Any] = {
        "keys": keys,
        "rows": len(rows),
        "given": int((rows["given_label"] == wanted).sum()),
        "label": int((rows["label"] == wanted).sum()),
    }
    if files.posterior.is_file():
        table = pd.read_csv(files.posterior).set_index("path").loc[rows["path"]]
        names = class_names(table)
        best = np.array(names)[table[[PREFIX + name for name in names]].to_numpy().argmax(axis=1)]
        best = np.where(rows["reason"] == "human", rows["label"], best)
        record["posterior"] = int((best == wanted.to_numpy()).sum())
    write_json(out, record)
    return json.dumps(record)


def write_decisions(out: Path, manifest: pd.DataFrame, rows: list[tuple[str, str, str]]) -> None:
    """The table of `curate decide --from`; the copies of a dropped image, else kept, go with it."""
    dropped = [path for path, action, _ in rows if action == "drop"]
    copies = manifest.loc[manifest["duplicate_of"].isin(dropped), "path"]
    every = {path: (path, action, label) for path, action, label in rows}
    every |= {path: (path, "drop", "") for path in copies if path not in every}
    table = pd.DataFrame(list(every.values()), columns=["path", "action", "label"])
    write_atomically(out, table_bytes(table))


def write_json(out: Path, record: dict[str, Any]) -> None:
    out.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(out, (json.dumps(record, indent=1) + "\n").encode())


if __name__ == "__main__":
    main()
