"""The command line of `train`: each command imports its module, calls it once and prints the result."""

import json
from pathlib import Path
from typing import Annotated

import typer

from curate.console import (
    DEFAULT_WORKSPACE,
    Classes,
    DryRun,
    EngineName,
    Group,
    Json,
    Seed,
    Workers,
    WorkspaceDir,
    new_app,
    tell,
)  # fmt: skip

app = new_app("Train face-expression models on a curated dataset, and score them honestly.")

Epochs = Annotated[
    int | None, typer.Option("--epochs", min=1, help="Passes over the train rows; default as the recipe says.")
]
BatchSize = Annotated[int | None, typer.Option(min=1, help="Images per step; default as the recipe says.")]
Precision = Annotated[
    str,
    typer.Option(
        "--precision",
        metavar="auto|float32|mixed_bfloat16",
        help="Number format of training; auto: what this machine is fast in.",
    ),
]


@app.command()
def oof(
    workspace: WorkspaceDir = DEFAULT_WORKSPACE,
    models: Annotated[
        str,
        typer.Option(
            metavar="MEMBER[,MEMBER...]",
            help="Recipes, and `hog`, which is no network; one predictions table each.",
            show_default="fast,hog",
        ),
    ] = "fast,hog",
    quick: Annotated[bool, typer.Option("--quick", help="Fewer epochs: a third of the time, a worse ranking.")] = False,
    k: Annotated[int | None, typer.Option("--k", min=2, help="Refuse unless the manifest has so many folds.")] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Models of each member with other seeds, averaged.")] = 1,
    model: Annotated[
        str | None, typer.Option(metavar="MEMBER", help="Train the jobs of this one of --models only.")
    ] = None,
    fold: Annotated[
        int | None, typer.Option(min=0, help="Train the jobs of this fold only (another machine may do the others).")
    ] = None,
    epochs: Epochs = None,
    batch_size: BatchSize = None,
    seed: Seed = 0,
    precision: Precision = "auto",
    engine: EngineName = "local",
    workers: Workers = None,
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """Predict every folded row by models that never saw its fold, for `curate flag`.

    Each (member, seed, fold) is a job whose result is kept when it is done; a run that was stopped goes on where it was.
    With --model and --fold any scheduler spreads the jobs over machines that share the workspace's .cache/oof.
    """
    from curate.errors import UsageError
    from curate.workspace import Workspace as Files
    from train.oof import QUICK_EPOCHS, choose_members, predict_out_of_fold

    if quick and epochs is not None:
        raise UsageError("oof: --quick and --epochs exclude each other: name one")
    chosen = choose_members(models, QUICK_EPOCHS if quick else epochs, batch_size)
    result = predict_out_of_fold(
        Files(workspace),
        chosen,
        seed=seed,
        seeds=seeds,
        model=model,
        fold=fold,
        k=k,
        precision=precision,
        engine_name=engine,
        workers=workers,
        dry_run=dry_run,
    )
    tell(result, as_json=as_json, dry_run=dry_run)


@app.command()
def run(
    workspace: WorkspaceDir = DEFAULT_WORKSPACE,
    recipe: Annotated[
        str, typer.Option(metavar="RECIPE", help="What to train and how; `train recipes` lists them.")
    ] = "fast",
    class_weights: Annotated[
        bool, typer.Option("--class-weights", help="Weigh the loss by class_weights.csv of `curate weights`.")
    ] = False,
    classes: Classes = None,
    group: Group = None,
    epochs: Epochs = None,
    batch_size: BatchSize = None,
    learning_rate: Annotated[
        float | None, typer.Option(help="Peak step size of Adam; default as the recipe says.")
    ] = None,
    schedule: Annotated[
        str | None, typer.Option(metavar="cosine|plateau", help="How the step size falls; default as the recipe says.")
    ] = None,
    seed: Seed = 0,
    precision: Precision = "auto",
    runs: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder of runs; default `runs` in the workspace.")
    ] = None,
    name: Annotated[str | None, typer.Option(help="Name of this run; default the UTC time and the recipe.")] = None,
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """Train one model on the kept rows of split train; split val picks its best epoch, split test is not read."""
    from curate.labels import name_view
    from curate.workspace import Workspace as Files
    from train.recipes import find_recipe, override
    from train.run import train_run

    made = override(
        find_recipe(recipe), epochs=epochs, batch_size=batch_size, learning_rate=learning_rate, schedule=schedule
    )
    result = train_run(
        Files(workspace),
        made,
        use_class_weights=class_weights,
        **name_view(classes, group),
        seed=seed,
        precision=precision,
        runs=runs,
        name=name,
        dry_run=dry_run,
    )
    tell(result, as_json=as_json, dry_run=dry_run)


@app.command()
def evaluate(
    run: Annotated[
        Path | None, typer.Argument(metavar="[RUN]", help="Folder of a run; none: the newest of the workspace.")
    ] = None,
    workspace: WorkspaceDir = DEFAULT_WORKSPACE,
    rows: Annotated[str, typer.Option(metavar="test|val|train|all", help="Which kept rows to score.")] = "test",
    tta: Annotated[
        int, typer.Option(min=1, metavar="N", help="Views of test-time augmentation; 1: the image alone.")
    ] = 1,
    seed: Seed = 0,
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """Score a run: accuracy, F1, a table per class and the confusion matrix, written into the run's folder.

    -w may name another workspace than the one the run was trained in. Every read of test rows is counted in the run.
    """
    from curate.workspace import Workspace as Files
    from train.evaluate import evaluate_run

    result = evaluate_run(Files(workspace), run, rows=rows, views=tta, seed=seed, dry_run=dry_run)
    if result.table and not as_json:
        typer.echo(result.table)
    tell(result, as_json=as_json, dry_run=dry_run)


@app.command()
def recipes(as_json: Json = False) -> None:
    """List the recipes with their fields; --json gives the reason of every default too."""
    from train.recipes import list_recipes, show_recipes

    typer.echo(json.dumps(show_recipes(), indent=1) if as_json else list_recipes())


def main() -> None:
    """The console script."""
    app(prog_name="train")
