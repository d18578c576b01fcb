"""The command line of `train`: each command imports its module, calls it once and prints the result.

Here is what trains, and what is looked at before; what is done with a finished run is in `train.cli.runs`.
"""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from curate.console import (
    DEFAULT_WORKSPACE,
    DryRun,
    EngineName,
    Group,
    Json,
    Seed,
    WorkspaceDir,
    new_app,
    print_result,
)
from train.cli.recipe_options import RecipeCommand, recipe_options
from train.cli.runs import add_commands

app = new_app("Train face-expression models on a curated dataset, and score them honestly.")

Precision = Annotated[
    str,
    typer.Option(
        "--precision",
        metavar="auto|float32|mixed_bfloat16",
        help="Number format of training; auto: what this machine is fast in.",
    ),
]
RecipeName = Annotated[
    str,
    typer.Option(
        "--recipe", metavar="RECIPE", help="What to train and how; `train recipes` lists them."
    ),
]
Classes = Annotated[
    str | None,
    typer.Option(
        "--classes",
        metavar="5|7|CLASS,CLASS...",
        help="Train on these classes only; 5: angry, fear, happy, neutral, sad; 7: FER2013's.",
        show_default="the recipe's, or all",
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
    quick: Annotated[
        bool,
        typer.Option(
            "--quick", help="Smaller networks, four epochs: a third of the time, a worse ranking."
        ),
    ] = False,
    k: Annotated[
        int | None, typer.Option("--k", min=2, help="Refuse unless the manifest has so many folds.")
    ] = None,
    seeds: Annotated[
        int, typer.Option(min=1, help="Models of each member with other seeds, averaged.")
    ] = 1,
    model: Annotated[
        str | None,
        typer.Option(metavar="MEMBER", help="Train the jobs of this one of --models only."),
    ] = None,
    fold: Annotated[
        int | None,
        typer.Option(
            min=0, help="Train the jobs of this fold only (another machine may do the others)."
        ),
    ] = None,
    epochs: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Passes of each network over the other folds.",
            show_default="8, more of few rows",
        ),
    ] = None,
    batch_size: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Images per step of each network.",
            show_default="the recipe's, 64 where it is open",
        ),
    ] = None,
    seed: Seed = 0,
    precision: Precision = "auto",
    engine: EngineName = "local",
    workers: Annotated[
        int | None,
        typer.Option(
            "--workers",
            "-j",
            min=1,
            help="Jobs at a time; default one per core and one more, on a GPU one.",
        ),
    ] = None,
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """Predict every folded row by models that never saw its fold, for `curate flag`.

    Each (member, seed, fold) is a job whose result is kept when it is done; a run that was stopped goes on where it was.
    With --model and --fold any scheduler spreads the jobs over machines that share the workspace's .cache/oof.
    """
    from curate.workspace.workspace import Workspace as Files
    from train.oof.command import choose_members, predict_out_of_fold

    chosen = choose_members(models, epochs, batch_size, quick=quick)
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
    print_result(result, as_json=as_json, dry_run=dry_run)


@app.command(cls=RecipeCommand)
@recipe_options
def run(
    *,
    workspace: WorkspaceDir = DEFAULT_WORKSPACE,
    recipe: Annotated[
        str | None,
        typer.Option(
            metavar="RECIPE",
            help="What to train and how; `train recipes` lists them.",
            show_default="fast",
        ),
    ] = None,
    classes: Classes = None,
    group: Group = None,
    seed: Annotated[
        int | None, typer.Option(min=0, help="Seed of everything random.", show_default="0")
    ] = None,
    seeds: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="N",
            help="Train N models from --seed on; tells mean and spread.",
            show_default="1",
        ),
    ] = None,
    precision: Annotated[
        str | None,
        typer.Option(
            metavar="auto|float32|mixed_bfloat16",
            help="Number format of training; auto: what this machine is fast in.",
            show_default="auto",
        ),
    ] = None,
    runs: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Folder of runs; default `runs` in the workspace."),
    ] = None,
    name: Annotated[
        str | None, typer.Option(help="Name of this run; default the UTC time and the recipe.")
    ] = None,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume",
            help="Go on with the unfinished run of that --name, or the newest one, with its own options.",
        ),
    ] = False,
    tensorboard: Annotated[
        bool | None,
        typer.Option(
            "--tensorboard", help="Write a TensorBoard log into the run.", show_default=False
        ),
    ] = None,
    strategy: Annotated[
        str | None,
        typer.Option(
            metavar="none|mirrored|multiworker",
            help="Train on all GPUs, or on the workers of TF_CONFIG.",
            show_default="none",
        ),
    ] = None,
    stream: Annotated[
        bool | None,
        typer.Option(
            "--stream",
            help="Read images from the disk in each epoch, as sets over 2 GB always are.",
            show_default=False,
        ),
    ] = None,
    dry_run: DryRun = False,
    as_json: Json = False,
    fields: dict[str, Any],
) -> None:
    """Train one model on the kept rows of split train; split val picks its best epoch, split test is not read.

    Every field of the recipe is an option; what is not given is as the recipe says.
    """
    from curate.labels import name_class_view
    from curate.workspace.workspace import Workspace as Files
    from train.recipes.presets import choose_class_view, find_recipe
    from train.recipes.recipe import override
    from train.training.command import RunOptions
    from train.training.resume import resume_runs
    from train.training.seeds import train_runs

    asked = name_class_view(classes, group)
    given = {
        "seed": seed, "precision": precision, "tensorboard": tensorboard, "strategy": strategy, "stream": stream,
    }  # fmt: skip
    if resume:
        given |= {
            "recipe": recipe,
            "seeds": seeds,
            "group" if group else "classes": asked or None,
        }
        result = resume_runs(
            Files(workspace), runs=runs, name=name, given=given, fields=fields, dry_run=dry_run
        )
    else:
        made = override(find_recipe("fast" if recipe is None else recipe), **fields)
        chosen: dict[str, Any] = {
            option: value for option, value in given.items() if value is not None
        }
        class_view = choose_class_view(made, classes, group)
        options = RunOptions(**chosen, class_view=class_view, runs=runs, name=name)
        result = train_runs(Files(workspace), made, options, seeds=seeds or 1, dry_run=dry_run)
    print_result(result, as_json=as_json, dry_run=dry_run)


@app.command(cls=RecipeCommand)
@recipe_options
def preview(
    *,
    workspace: WorkspaceDir = DEFAULT_WORKSPACE,
    recipe: RecipeName = "fast",
    classes: Classes = None,
    group: Group = None,
    most: Annotated[int, typer.Option(min=1, metavar="N", help="Images on the sheet.")] = 32,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            dir_okay=False,
            help="PNG file; default previews/RECIPE.png in the workspace.",
        ),
    ] = None,
    seed: Seed = 0,
    dry_run: DryRun = False,
    as_json: Json = False,
    fields: dict[str, Any],
) -> None:
    """Draw the first batch of a training as the model will see it, each image under its original."""
    from curate.workspace.workspace import Workspace as Files
    from train.recipes.presets import choose_class_view, find_recipe
    from train.recipes.recipe import override
    from train.training.preview import preview_batch

    made = override(find_recipe(recipe), **fields)
    result = preview_batch(
        Files(workspace),
        made,
        class_view=choose_class_view(made, classes, group),
        seed=seed,
        most=most,
        out=out,
        dry_run=dry_run,
    )
    print_result(result, as_json=as_json, dry_run=dry_run)


@app.command(cls=RecipeCommand)
@recipe_options
def tune(
    *,
    workspace: WorkspaceDir = DEFAULT_WORKSPACE,
    recipe: RecipeName = "fast",
    trials: Annotated[
        int,
        typer.Option(min=1, metavar="N", help="Models to train; the first is the recipe itself."),
    ] = 20,
    classes: Classes = None,
    group: Group = None,
    seed: Seed = 0,
    precision: Precision = "auto",
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            file_okay=False,
            help="Folder; default tuning/RECIPE in the workspace, a new one each time.",
        ),
    ] = None,
    dry_run: DryRun = False,
    as_json: Json = False,
    fields: dict[str, Any],
) -> None:
    """Search learning rate and batch size with Optuna, judged by split val alone; --epochs is the length of a trial."""
    from curate.workspace.workspace import Workspace as Files
    from train.recipes.presets import choose_class_view, find_recipe
    from train.recipes.recipe import override
    from train.training.tune import tune_recipe

    made = override(find_recipe(recipe), **fields)
    result = tune_recipe(
        Files(workspace), made, trials=trials, class_view=choose_class_view(made, classes, group), seed=seed, precision=precision, out=out,
        dry_run=dry_run,
    )  # fmt: skip
    print_result(result, as_json=as_json, dry_run=dry_run)


@app.command()
def recipes(as_json: Json = False) -> None:
    """List the recipes with their source, published result and fields; --json gives the reason of every default too."""
    from train.recipes.presets import list_recipes, show_recipes

    typer.echo(json.dumps(show_recipes(), indent=1) if as_json else list_recipes())


add_commands(app)


def main() -> None:
    """The console script."""
    app(prog_name="train")
