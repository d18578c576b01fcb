"""A small model as ONNX, trained on the clean split of FER2013, with its model card.

    python benchmarks/small_model.py fer2013.csv FOLDER [--epochs 24]

Curates the table (fer2013.csv or fer2013_rows.npz) in FOLDER/manifests, publishes the splits into
FOLDER/curation, trains `fast` with narrow stages on the clean one, and writes FOLDER/model.onnx,
FOLDER/classes.txt and FOLDER/MODEL_CARD.md. The score on the card is printed by
`examples/score_checkpoint.py`, which reads the ONNX file and knows nothing of Candid. What is
finished is not run again, and an interrupted training is resumed.
"""

import argparse
import json
import shutil
import sys
from pathlib import Path
from typing import Any

from fer2013_candid import CLEAN, DIGITS, NAME, VERSION, is_done, write_table
from results import ROOT, Run, run_command, to_table

from curate.files import write_atomically
from train.runs.folder import METRICS, is_unfinished

# A quarter of the parameters of `fast`, so that the file stays below 2 MB.
WIDTHS = "24,48,96,96"
RUN = "small"
SCORE = ROOT / "examples" / "score_checkpoint.py"
PUBLISHED = ROOT / "manifests" / "fer2013" / "curation.json"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("table", type=Path, help="fer2013.csv, or fer2013_rows.npz")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--epochs", type=int, help="default: those of `fast`")
    options = parser.parse_args()
    folder, table = options.folder, options.table
    if table.suffix == ".npz":
        table = folder / "fer2013.csv"
        if not table.is_file():
            write_table(options.table, table)
    env = {"CURATE_WORKSPACE": str(folder / "manifests")}
    curate(table, folder, env)
    training = ["train", "run", "--recipe", "fast", "--widths", WIDTHS, "--name", RUN]
    training += ["--epochs", str(options.epochs)] if options.epochs else []
    run = folder / "manifests" / "runs" / RUN
    if not (run / METRICS).is_file():
        resumed = ["train", "run", "--resume", "--name", RUN]
        run_command(resumed if is_unfinished(run) else training, env=env)
    run_command(["train", "export", str(run), "--format", "onnx"], env=env)
    for name in ("model.onnx", "classes.txt"):
        shutil.copy(run / "export" / name, folder / name)
    scored = score(folder, table)
    card = describe(folder, run, training, scored)
    write_atomically(folder / "MODEL_CARD.md", card.encode())
    print(f"{scored.stdout}\n{folder / 'model.onnx'}, {folder / 'MODEL_CARD.md'}")


def curate(table: Path, folder: Path, env: dict[str, str]) -> None:
    """The workspace with its clean split, and the published split in FOLDER/curation."""
    splitting = ["curate", "split", "--ratios", "70", "15", "15"]
    build = ["curate", "build", f"fer2013={table}"]
    for words in (build, ["curate", "inspect"], ["curate", "dedup"], splitting):
        if not is_done(words, folder / "manifests", env):
            run_command(words, env=env)
    publish = ["curate", "publish", str(folder / "curation"), "--digits", DIGITS]
    run_command([*publish, "--name", NAME, "--version", VERSION], env=env)


def score(folder: Path, table: Path, *more: str) -> Run:
    """Score the ONNX file on the test of the clean split."""
    split = folder / "curation" / "splits" / f"{CLEAN}.csv"
    words = [str(SCORE), str(folder / "model.onnx"), str(table), str(split), *more]
    return run_command([sys.executable, *words])


def describe(folder: Path, run: Path, training: list[str], scored: Run) -> str:
    """The model card."""
    record, metrics = read_json(run / "recipe.json"), read_json(run / METRICS)
    curation = read_json(folder / "curation" / "curation.json")
    parts = curation["splits"][CLEAN]
    rows = [[part, f"{count:,}"] for part, count in parts.items()]
    machine = record["machine"]["processor"]
    megabytes = (folder / "model.onnx").stat().st_size / 1e6
    where = f"a FER2013 split `{CLEAN}` of one's own"
    if is_published(curation):
        where = f"`{CLEAN}` of {NAME} {VERSION} (manifests/fer2013)"
    return CARD.format(
        size=record["recipe"]["size"],
        classes=", ".join(record["classes"]),
        megabytes=f"{megabytes:.1f}",
        training=" ".join(training),
        epochs=metrics["epochs"],
        best=metrics["best_epoch"],
        minutes=f"{metrics['seconds'] / 60:.1f}",
        machine=machine,
        version=record["versions"]["candid-fer"],
        seed=record["seed"],
        where=where,
        split=curation["tables"][f"splits/{CLEAN}.csv"]["sha256"],
        parts=to_table(["part", "images"], rows),
        score=scored.stdout,
        clean=CLEAN,
    )


def is_published(curation: dict[str, Any]) -> bool:
    """Whether the split is byte by byte that of the repository."""
    name = f"splits/{CLEAN}.csv"
    if not PUBLISHED.is_file():
        return False
    return bool(read_json(PUBLISHED)["tables"].get(name) == curation["tables"][name])


def read_json(file: Path) -> dict[str, Any]:
    values: dict[str, Any] = json.loads(file.read_text())
    return values


CARD = """# A small model of seven expressions

A convolutional network in ONNX, {megabytes} MB, for research on face expressions and as an example.

- input: (N, {size}, {size}, 1) uint8 grey faces, 0-255, framed as FER2013's
- output: (N, K) probabilities of {classes} (`classes.txt`)

## Score

On the test part of {where}, which has no known copy of a photograph of train or val:

```
{score}
```

The score again, from the ONNX file alone, and the model again:

    python examples/score_checkpoint.py examples/small_model/model.onnx fer2013.csv \\
        manifests/fer2013/splits/{clean}.csv
    python benchmarks/small_model.py fer2013.csv FOLDER

## Training

    {training}

Candid {version}, seed {seed}, {epochs} epochs of which val chose number {best}, {minutes} minutes
on {machine}. The split has the SHA-256 `{split}`.

{parts}

## Limits

FER2013's labels began as search words, and crowds often see another expression; its faces are grey,
cropped and small, and nobody knows who is on them. The expression on a
photograph is not what a person feels: decide nothing about a person by this model. Its errors per
age, sex and skin colour are not known.

## Licence

The weights are under Apache-2.0, as Candid is. FER2013's own terms hold for its pictures.
"""


if __name__ == "__main__":
    main()
