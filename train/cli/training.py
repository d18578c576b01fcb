"""The commands of `train` that train, or that show a training before it begins.

The commands that use a finished run are in `train.cli.runs`.
"""

import itertools
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from typer.core import TyperCommand

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
from train.cli.recipe_options import add_recipe_options
from train.cli.report import card, report
from train.cli.runs import add_commands

if TYPE_CHECKING:
    from curate.workspace.workspace import Workspace

app = new_app("Train face-expression models on a curated dataset, and score them honestly.")

Precision = Annotated[
    str,
    typer.Option(
        "--precision",
        metavar="auto|float32|mixed_bfloat16",
        help="Number format of training; auto: what this machine is fast in.",
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
# The value of an option that is given without one.
IMPLIED_VALUES = {"--class-weights": "workspace"}


class RecipeCommand(TyperCommand):
    """A command with an option whose value may be left out, which Typer does not support."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Insert the implied value of `--class-weights` where none follows."""
        filled = []
        for word, following in itertools.zip_longest(args, args[1:], fillvalue="-"):
            filled.append(word)
            if word in IMPLIED_VALUES and following.startswith("-"):
                filled.append(IMPLIED_VALUES[word])
        return super().parse_args(ctx, filled)


@app.command()
def oof(
    workspace: WorkspaceDir = DEFAULT_WORKSPACE,
    models: Annotated[
        str,
        typer.Option(
            metavar="MODEL[,MODEL...]",
            help="Recipes, and `hog`, which is not a network; one predictions table each.",
            show_default="fast,hog",
        ),
    ] = "fast,hog",
    quick: Annotated[
        bool,
        typer.Option(
            "--quick",
            help="Smaller networks, four epochs, two of 240,000 rows: a third of the time, a worse "
            "ranking.",
        ),
    ] = False,
    k: Annotated[
        int | None, typer.Option("--k", min=2, help="Refuse unless the manifest has so many folds.")
    ] = None,
    seeds: Annotated[
        int, typer.Option(min=1, help="Models of each kind with other seeds, averaged.")
    ] = 1,
    model: Annotated[
        str | None,
        typer.Option(metavar="MODEL", help="Train the jobs of this one of --models only."),
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
            show_default="the recipe's, more of few rows",
        ),
    ] = None,
    batch_size: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Images per step of each network.",
            show_default="the recipe's; where it is open, 128, or 64 of few rows",
        ),
    ] = None,
    within: Annotated[
        Literal["train"] | None,
        typer.Option(
            metavar="train",
            help="Learn from split train alone, as `train run --targets` needs it.",
            show_default="all folded rows",
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

    Each (model, seed, fold) is a job whose result is kept when it is done; a run that was stopped
    goes on where it was. With --model and --fold any scheduler spreads the jobs over machines that
    share the workspace's .cache/oof.
    """
    from curate.workspace.workspace import Workspace as Files
    from train.oof.command import OofOptions, choose_models, predict_out_of_fold

    chosen = choose_models(models, epochs, batch_size, quick=quick)
    options = OofOptions(
        seed=seed,
        seeds=seeds,
        model=model,
        fold=fold,
        k=k,
        precision=precision,
        engine_name=engine,
        workers=workers,
        within=within or "",
    )
    result = predict_out_of_fold(Files(workspace), chosen, options, dry_run=dry_run)
    print_result(result, as_json=as_json, dry_run=dry_run)


@app.command(cls=RecipeCommand)
@add_recipe_options
def run(
    ctx: typer.Context,
    *,
    workspace: WorkspaceDir = DEFAULT_WORKSPACE,
    recipe: str,
    classes: Classes = None,
    group: Group = None,
    seed: Seed = 0,
    seeds: Annotated[
        int,
        typer.Option(
            min=1, metavar="N", help="Train N models from --seed on; print mean and spread."
        ),
    ] = 1,
    precision: Precision = "auto",
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
            help="Go on with the unfinished run of that --name, or the newest one, with its own "
            "options.",
        ),
    ] = False,
    tensorboard: Annotated[
        bool, typer.Option("--tensorboard", help="Write a TensorBoard log into the run.")
    ] = False,
    strategy: Annotated[
        str,
        typer.Option(
            metavar="none|mirrored|multiworker",
            help="Train on all GPUs, or on the workers of TF_CONFIG.",
        ),
    ] = "none",
    stream: Annotated[
        bool,
        typer.Option(
            "--stream",
            help="Read images from the disk in each epoch, as sets over 2 GB always are.",
        ),
    ] = False,
    dry_run: DryRun = False,
    as_json: Json = False,
    **fields: Any,
) -> None:
    """Train one model on the kept rows of split train; split val picks its best epoch.

    Split test is not read. Every field of the recipe is an option; one that is not given has the
    recipe's value.
    """
    files = _open_split(workspace, needs_split=not resume)

    from train.recipes.presets import RECIPES
    from train.recipes.recipe import choose_class_view, override
    from train.training.command import train_run
    from train.training.plan import RunOptions
    from train.training.series import resume_runs, train_series

    if resume:
        requested = _select_given(ctx)
        result = resume_runs(files, requested, runs=runs, name=name, dry_run=dry_run)
    else:
        changed = override(RECIPES[recipe], **fields)
        options = RunOptions(
            class_view=choose_class_view(changed, classes, group),
            seed=seed,
            precision=precision,
            runs=runs,
            name=name,
            tensorboard=tensorboard,
            strategy=strategy,
            stream=stream,
        )
        if seeds > 1:
            result = train_series(files, changed, options, seeds, dry_run=dry_run)
        else:
            result = train_run(files, changed, options, dry_run=dry_run)
    print_result(result, as_json=as_json, dry_run=dry_run)


def _open_split(workspace: Path, *, needs_split: bool = True) -> "Workspace":
    """The workspace, which must have a split: looked at before what trains is imported for seconds.

    Raises
    ------
    ManifestError  if there is no manifest, or it has no split
    """
    from curate.workspace.invariants import require_split
    from curate.workspace.workspace import Workspace

    files = Workspace(workspace)
    if needs_split:
        require_split(files.read())
    return files


def _select_given(ctx: typer.Context) -> dict[str, Any]:
    """The options that the user gave, without those that have their default."""
    given = {}
    for name, value in ctx.params.items():
        source = ctx.get_parameter_source(name)
        if source is not None and not source.name.startswith("DEFAULT"):
            given[name] = value
    return given


@app.command(cls=RecipeCommand)
@add_recipe_options
def preview(
    *,
    workspace: WorkspaceDir = DEFAULT_WORKSPACE,
    recipe: str,
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
    **fields: Any,
) -> None:
    """Draw the first batch of a training as the model will see it, under the original images."""
    files = _open_split(workspace)

    from train.recipes.presets import RECIPES
    from train.recipes.recipe import choose_class_view, override
    from train.training.preview import preview_batch

    changed = override(RECIPES[recipe], **fields)
    result = preview_batch(
        files,
        changed,
        class_view=choose_class_view(changed, classes, group),
        seed=seed,
        most=most,
        out=out,
        dry_run=dry_run,
    )
    print_result(result, as_json=as_json, dry_run=dry_run)


@app.command(cls=RecipeCommand)
@add_recipe_options
def tune(
    *,
    workspace: WorkspaceDir = DEFAULT_WORKSPACE,
    recipe: str,
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
    resume: Annotated[
        bool,
        typer.Option(
            "--resume",
            help="Go on with the search that was broken off in --out, or with the newest one of "
            "the recipe; all options but --trials as they were.",
        ),
    ] = False,
    dry_run: DryRun = False,
    as_json: Json = False,
    **fields: Any,
) -> None:
    """Search learning rate and batch size with Optuna, judged by split val alone.

    With --targets oof the weight of the belief too. --epochs is the length of a trial.
    """
    files = _open_split(workspace)

    from train.recipes.presets import RECIPES
    from train.recipes.recipe import choose_class_view, override
    from train.training.tune import TuneOptions, tune_recipe

    changed = override(RECIPES[recipe], **fields)
    options = TuneOptions(
        trials=trials,
        class_view=choose_class_view(changed, classes, group),
        seed=seed,
        precision=precision,
        out=out,
        resumes=resume,
    )
    result = tune_recipe(files, changed, options, dry_run=dry_run)
    print_result(result, as_json=as_json, dry_run=dry_run)


@app.command()
def recipes(as_json: Json = False) -> None:
    """List the recipes with their source, published result and fields.

    --json adds the reason of every default.
    """
    from train.recipes.presets import list_recipes, recipes_to_json

    typer.echo(json.dumps(recipes_to_json(), indent=1) if as_json else list_recipes())


add_commands(app)
app.command()(report)
app.command()(card)


def main() -> None:
    """The console script."""
    app(prog_name="train")
