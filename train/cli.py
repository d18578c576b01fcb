"""The command line of `train`: each command imports its module, calls it once and prints the result."""

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
    tell,
)  # fmt: skip
from train.options import RecipeCommand, recipe_options

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
RecipeName = Annotated[
    str, typer.Option("--recipe", metavar="RECIPE", help="What to train and how; `train recipes` lists them.")
]
RowsOption = Annotated[str, typer.Option("--rows", metavar="test|val|train|all", help="Which kept rows to look at.")]
RunArgument = Annotated[
    Path | None, typer.Argument(metavar="[RUN]", help="Folder of a run; none: the newest of the workspace.")
]
RunOption = Annotated[
    Path | None, typer.Option("--run", metavar="DIR", help="Folder of a run; default the newest of the workspace.")
]
Detect = Annotated[bool, typer.Option("--detect/--no-detect", help="Find faces, or take each picture for a face.")]
Classes = Annotated[
    str | None,
    typer.Option(
        "--classes",
        metavar="5|7|CLASS,CLASS...",
        help="Train on these classes only; 5: angry, fear, happy, neutral, sad; 7: FER2013's.",
        show_default="the recipe's, or all",
    ),
]
Tta = Annotated[
    str,
    typer.Option(
        "--tta", metavar="N|flip", help="Views of test-time augmentation; 1: the image; flip: with its mirror."
    ),
]
MergedClasses = Annotated[
    str | None, typer.Option("--classes", metavar="3", help="3: merge the classes into positive, neutral and negative.")
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
        bool, typer.Option("--quick", help="Smaller networks, four epochs: a third of the time, a worse ranking.")
    ] = False,
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
    workers: Annotated[
        int | None,
        typer.Option("--workers", "-j", min=1, help="Jobs at a time; default one per core and one more, on a GPU one."),
    ] = None,
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """Predict every folded row by models that never saw its fold, for `curate flag`.

    Each (member, seed, fold) is a job whose result is kept when it is done; a run that was stopped goes on where it was.
    With --model and --fold any scheduler spreads the jobs over machines that share the workspace's .cache/oof.
    """
    from curate.workspace import Workspace as Files
    from train.oof import choose_members, predict_out_of_fold

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
    tell(result, as_json=as_json, dry_run=dry_run)


@app.command(cls=RecipeCommand)
@recipe_options
def run(
    *,
    workspace: WorkspaceDir = DEFAULT_WORKSPACE,
    recipe: Annotated[
        str | None,
        typer.Option(metavar="RECIPE", help="What to train and how; `train recipes` lists them.", show_default="fast"),
    ] = None,
    classes: Classes = None,
    group: Group = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Seed of everything random.", show_default="0")] = None,
    seeds: Annotated[
        int | None,
        typer.Option(
            min=1, metavar="N", help="Train N models from --seed on; tells mean and spread.", show_default="1"
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
        Path | None, typer.Option(metavar="DIR", help="Folder of runs; default `runs` in the workspace.")
    ] = None,
    name: Annotated[str | None, typer.Option(help="Name of this run; default the UTC time and the recipe.")] = None,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume", help="Go on with the unfinished run of that --name, or the newest one, with its own options."
        ),
    ] = False,
    tensorboard: Annotated[
        bool | None, typer.Option("--tensorboard", help="Write a TensorBoard log into the run.", show_default=False)
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
    from curate.labels import name_view
    from curate.workspace import Workspace as Files
    from train.recipes import choose_view, find_recipe, override
    from train.resume import resume_runs
    from train.run import RunOptions, train_runs

    asked = name_view(classes, group)
    given = {
        "seed": seed, "precision": precision, "tensorboard": tensorboard, "strategy": strategy, "stream": stream,
    }  # fmt: skip
    if resume:
        given |= {"recipe": recipe, "seeds": seeds, "group" if group else "classes": asked.get("view")}
        result = resume_runs(Files(workspace), runs=runs, name=name, given=given, fields=fields, dry_run=dry_run)
    else:
        made = override(find_recipe("fast" if recipe is None else recipe), **fields)
        chosen: dict[str, Any] = {option: value for option, value in given.items() if value is not None}
        chosen |= choose_view(made, classes, group)
        options = RunOptions(**chosen, runs=runs, name=name)
        result = train_runs(Files(workspace), made, options, seeds=seeds or 1, dry_run=dry_run)
    tell(result, as_json=as_json, dry_run=dry_run)


@app.command()
def evaluate(
    run: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="[RUN]...", help="Folders of runs, several as an ensemble; none: the workspace's newest."
        ),
    ] = None,
    workspace: WorkspaceDir = DEFAULT_WORKSPACE,
    rows: RowsOption = "test",
    tta: Tta = "1",
    classes: MergedClasses = None,
    seed: Seed = 0,
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """Score runs: accuracy, F1, calibration, intervals, a table per class and the confusion matrix, beside the run.

    -w may name another workspace than the one the run was trained in. Every read of test rows is counted in the run.
    """
    from curate.workspace import Workspace as Files
    from train.evaluate import evaluate_runs

    result = evaluate_runs(Files(workspace), run or (), rows=rows, tta=tta, classes=classes, seed=seed, dry_run=dry_run)
    tell(result, as_json=as_json, dry_run=dry_run, table=result.table)


@app.command()
def compare(
    first: Annotated[Path, typer.Argument(metavar="A", help="Folder of an evaluated run.")],
    second: Annotated[Path, typer.Argument(metavar="B", help="Folder of another one.")],
    workspace: Annotated[
        Path | None,
        typer.Option(
            "--workspace", "-w", metavar="DIR", help="Where both were evaluated; default where each was trained."
        ),
    ] = None,
    rows: RowsOption = "test",
    seed: Seed = 0,
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """Tell whether run B is better than run A by more than chance: McNemar's test on the rows both were scored on."""
    from curate.workspace import Workspace as Files
    from train.compare import compare_runs

    result = compare_runs(
        first, second, workspace=Files(workspace) if workspace else None, rows=rows, seed=seed, dry_run=dry_run
    )
    tell(result, as_json=as_json, dry_run=dry_run)


@app.command()
def occlude(
    run: RunArgument = None,
    workspace: WorkspaceDir = DEFAULT_WORKSPACE,
    rows: RowsOption = "test",
    classes: MergedClasses = None,
    patch: Annotated[
        int | None, typer.Option(metavar="PIXELS", help="Side of the sliding patch; default a quarter of the input.")
    ] = None,
    sample: Annotated[int, typer.Option(min=1, metavar="N", help="Most rows that the patch slides over.")] = 500,
    seed: Seed = 0,
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """Score a run with forehead, eyes, or nose and mouth hidden, and map what a sliding patch costs.

    `train run --train-mask eyes` trains under a mask.
    """
    from curate.workspace import Workspace as Files
    from train.occlude import occlude_run

    result = occlude_run(
        Files(workspace), run, rows=rows, classes=classes, patch=patch, sample=sample, seed=seed, dry_run=dry_run
    )
    tell(result, as_json=as_json, dry_run=dry_run, table=result.table)


@app.command()
def saliency(
    run: RunArgument = None,
    workspace: WorkspaceDir = DEFAULT_WORKSPACE,
    rows: RowsOption = "test",
    per_class: Annotated[int, typer.Option(min=1, metavar="N", help="Faces of each class in its mean map.")] = 32,
    seed: Seed = 0,
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """Draw which pixels a run looks at: gradient, SmoothGrad and Grad-CAM of faces, and the mean map of each class.

    The table says what each map is worth: how the probability of the label falls when the pixels are hidden that the map marks
    most, and when those are that the map of another face of the class marks.
    """
    from curate.workspace import Workspace as Files
    from train.saliency import map_saliency

    result = map_saliency(Files(workspace), run, rows=rows, per_class=per_class, seed=seed, dry_run=dry_run)
    tell(result, as_json=as_json, dry_run=dry_run, table=result.table)


@app.command()
def embed(
    run: RunArgument = None,
    workspace: WorkspaceDir = DEFAULT_WORKSPACE,
    rows: RowsOption = "test",
    most: Annotated[int, typer.Option(min=5, metavar="N", help="Most faces to lay out.")] = 2000,
    seed: Seed = 0,
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """Lay out the last features of a run in the plane, coloured by its classes and by positive, neutral and negative."""
    from curate.workspace import Workspace as Files
    from train.embed import embed_run

    result = embed_run(Files(workspace), run, rows=rows, most=most, seed=seed, dry_run=dry_run)
    tell(result, as_json=as_json, dry_run=dry_run)


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
        typer.Option(metavar="FILE", dir_okay=False, help="PNG file; default previews/RECIPE.png in the workspace."),
    ] = None,
    seed: Seed = 0,
    dry_run: DryRun = False,
    as_json: Json = False,
    fields: dict[str, Any],
) -> None:
    """Draw the first batch of a training as the model will see it, each image under its original."""
    from curate.workspace import Workspace as Files
    from train.preview import preview_batch
    from train.recipes import choose_view, find_recipe, override

    made = override(find_recipe(recipe), **fields)
    result = preview_batch(
        Files(workspace), made, **choose_view(made, classes, group), seed=seed, most=most, out=out, dry_run=dry_run
    )
    tell(result, as_json=as_json, dry_run=dry_run)


@app.command()
def predict(
    images: Annotated[list[Path], typer.Argument(metavar="IMAGE...", help="Pictures.")],
    workspace: WorkspaceDir = DEFAULT_WORKSPACE,
    run: RunOption = None,
    detect: Detect = True,
    classes: MergedClasses = None,
    tta: Tta = "flip",
    seed: Seed = 0,
    out: Annotated[
        Path | None,
        typer.Option(metavar="DIR", file_okay=False, help="Write predictions.csv and the pictures with boxes there."),
    ] = None,
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """Find the faces of pictures and tell their expressions by a run."""
    from curate.workspace import Workspace as Files
    from train.predict import predict_images

    result = predict_images(
        Files(workspace), images, run=run, detect=detect, classes=classes, tta=tta, seed=seed, out=out, dry_run=dry_run
    )
    tell(result, as_json=as_json, dry_run=dry_run, table=result.table)


@app.command()
def timeline(
    video: Annotated[Path, typer.Argument(metavar="VIDEO", help="A video that OpenCV reads, such as MP4 or AVI.")],
    workspace: WorkspaceDir = DEFAULT_WORKSPACE,
    run: RunOption = None,
    per_second: Annotated[float, typer.Option(metavar="N", help="Frames to look at per second of video.")] = 5.0,
    smooth: Annotated[
        float, typer.Option(metavar="SECONDS", help="Average a face's probabilities so far to either side; 0: not.")
    ] = 1.0,
    detect: Detect = True,
    classes: MergedClasses = None,
    tta: Tta = "flip",
    seed: Seed = 0,
    annotate: Annotated[bool, typer.Option("--annotate", help="Write the video with boxes and words too.")] = False,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", file_okay=False, help="Folder; default timelines/VIDEO in the run's.")
    ] = None,
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """Tell the expressions of every face of a video over time: timeline.csv and timeline.png."""
    from curate.workspace import Workspace as Files
    from train.timeline import make_timeline

    result = make_timeline(
        Files(workspace), video, run=run, per_second=per_second, smooth=smooth, detect=detect, classes=classes, tta=tta,
        seed=seed, annotate=annotate, out=out, dry_run=dry_run,
    )  # fmt: skip
    tell(result, as_json=as_json, dry_run=dry_run)


@app.command(cls=RecipeCommand)
@recipe_options
def tune(
    *,
    workspace: WorkspaceDir = DEFAULT_WORKSPACE,
    recipe: RecipeName = "fast",
    trials: Annotated[
        int, typer.Option(min=1, metavar="N", help="Models to train; the first is the recipe itself.")
    ] = 20,
    classes: Classes = None,
    group: Group = None,
    seed: Seed = 0,
    precision: Precision = "auto",
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", file_okay=False, help="Folder; default tuning/RECIPE in the workspace, a new one each time."
        ),
    ] = None,
    dry_run: DryRun = False,
    as_json: Json = False,
    fields: dict[str, Any],
) -> None:
    """Search learning rate and batch size with Optuna, judged by split val alone; --epochs is the length of a trial."""
    from curate.workspace import Workspace as Files
    from train.recipes import choose_view, find_recipe, override
    from train.tune import tune_recipe

    made = override(find_recipe(recipe), **fields)
    result = tune_recipe(
        Files(workspace), made, trials=trials, **choose_view(made, classes, group), seed=seed, precision=precision, out=out,
        dry_run=dry_run,
    )  # fmt: skip
    tell(result, as_json=as_json, dry_run=dry_run)


@app.command()
def export(
    run: RunArgument = None,
    workspace: WorkspaceDir = DEFAULT_WORKSPACE,
    file_format: Annotated[
        str, typer.Option("--format", metavar="keras|saved_model|tflite|onnx", help="Form of the file.")
    ] = "keras",
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", file_okay=False, help="Folder; default `export` in the run's.")
    ] = None,
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """Write the best model of a run for use without Candid, and check that the file gives the same probabilities."""
    from curate.workspace import Workspace as Files
    from train.export import export_run

    result = export_run(Files(workspace), run, file_format=file_format, out=out, dry_run=dry_run)
    tell(result, as_json=as_json, dry_run=dry_run)


@app.command()
def recipes(as_json: Json = False) -> None:
    """List the recipes with their source, published result and fields; --json gives the reason of every default too."""
    from train.recipes import list_recipes, show_recipes

    typer.echo(json.dumps(show_recipes(), indent=1) if as_json else list_recipes())


def main() -> None:
    """The console script."""
    app(prog_name="train")
