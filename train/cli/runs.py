"""The commands of `train` that use a finished run.

They score it, explain it, predict faces with it, and export it.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from curate.console import DEFAULT_WORKSPACE, DryRun, Json, Seed, WorkspaceDir, print_result

if TYPE_CHECKING:
    from curate.workspace.workspace import Workspace

RowsOption = Annotated[
    str, typer.Option("--rows", metavar="test|val|train|all", help="Which kept rows to use.")
]
RunArgument = Annotated[
    Path | None,
    typer.Argument(metavar="[RUN]", help="Folder of a run; none: the newest of the workspace."),
]
RunOption = Annotated[
    Path | None,
    typer.Option(
        "--run", metavar="DIR", help="Folder of a run; default the newest of the workspace."
    ),
]
Detect = Annotated[
    bool, typer.Option("--detect/--no-detect", help="Find faces, or take each picture for a face.")
]
DetectorName = Annotated[
    Literal["libfacedetection", "mtcnn"],
    typer.Option("--detector", help="Who finds the faces; mtcnn is the extra of this name."),
]
Tta = Annotated[
    str,
    typer.Option(
        "--tta",
        metavar="N|flip",
        help="Views of test-time augmentation; 1: the image; flip: with its mirror.",
    ),
]
MergedClasses = Annotated[
    str | None,
    typer.Option(
        "--classes", metavar="3", help="3: merge the classes into positive, neutral and negative."
    ),
]


def open_with_run(workspace: Path, run: Path | Sequence[Path] | None) -> "Workspace":
    """The workspace, in which a finished run must lie if none is named.

    That is looked at first of all, for what scores and explains runs takes seconds to import.

    Raises
    ------
    RunError  if there is none
    """
    from curate.workspace.workspace import Workspace
    from train.runs.find import find_newest_run

    files = Workspace(workspace)
    if not run:
        find_newest_run(files.root / "runs")
    return files


def evaluate(
    run: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="[RUN]...",
            help="Folders of runs, several as an ensemble; none: the workspace's newest.",
        ),
    ] = None,
    workspace: WorkspaceDir = DEFAULT_WORKSPACE,
    rows: RowsOption = "test",
    tta: Tta = "1",
    classes: MergedClasses = None,
    by: Annotated[
        list[str] | None,
        typer.Option(
            "--by",
            metavar="COLUMN|TABLE.csv",
            help="Score slices too, by label, source, subject, agreement (of votes), size, "
            "brightness, sharpness, contrast, or the columns of a table keyed by path; repeatable.",
        ),
    ] = None,
    worst: Annotated[
        bool,
        typer.Option(
            "--worst",
            help="Show slices of label, source, brightness, sharpness, contrast that are worse "
            "than chance would have them.",
        ),
    ] = False,
    seed: Seed = 0,
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """Score runs: accuracy, F1, calibration, intervals, scores per class, confusion matrix.

    The files are written into the run. -w may name another workspace than the one the run was
    trained in. Every read of test rows is counted in the run. The intervals of slices, and which
    are worse, are corrected for their number.
    """
    files = open_with_run(workspace, run)

    from train.evaluation.evaluate import evaluate_runs
    from train.evaluation.slice_columns import SliceOptions

    result = evaluate_runs(
        files,
        run or (),
        rows=rows,
        tta=tta,
        classes=classes,
        seed=seed,
        slices=SliceOptions(by or (), worst),
        dry_run=dry_run,
    )
    print_result(result, as_json=as_json, dry_run=dry_run)


def compare(
    first: Annotated[Path, typer.Argument(metavar="A", help="Folder of an evaluated run.")],
    second: Annotated[Path, typer.Argument(metavar="B", help="Folder of another one.")],
    workspace: Annotated[
        Path | None,
        typer.Option(
            "--workspace",
            "-w",
            metavar="DIR",
            help="Where both were evaluated; default where each was trained.",
        ),
    ] = None,
    rows: RowsOption = "test",
    seed: Seed = 0,
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """Test whether run B is better than run A by more than chance.

    McNemar's test, on the rows on which both were scored.
    """
    from curate.workspace.workspace import Workspace
    from train.evaluation.compare import compare_runs

    result = compare_runs(
        first,
        second,
        workspace=Workspace(workspace) if workspace else None,
        rows=rows,
        seed=seed,
        dry_run=dry_run,
    )
    print_result(result, as_json=as_json, dry_run=dry_run)


def occlude(
    run: RunArgument = None,
    workspace: WorkspaceDir = DEFAULT_WORKSPACE,
    rows: RowsOption = "test",
    classes: MergedClasses = None,
    patch: Annotated[
        int | None,
        typer.Option(
            metavar="PIXELS", help="Side of the sliding patch; default a quarter of the input."
        ),
    ] = None,
    sample: Annotated[
        int, typer.Option(min=1, metavar="N", help="Most rows that the patch slides over.")
    ] = 500,
    seed: Seed = 0,
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """Score a run with forehead, eyes, or nose and mouth hidden, and with a sliding patch.

    `train run --train-mask eyes` trains under a mask.
    """
    files = open_with_run(workspace, run)

    from train.explain.occlude import occlude_run

    result = occlude_run(
        files,
        run,
        rows=rows,
        classes=classes,
        patch=patch,
        sample=sample,
        seed=seed,
        dry_run=dry_run,
    )
    print_result(result, as_json=as_json, dry_run=dry_run)


def saliency(
    run: RunArgument = None,
    workspace: WorkspaceDir = DEFAULT_WORKSPACE,
    rows: RowsOption = "test",
    per_class: Annotated[
        int, typer.Option(min=1, metavar="N", help="Faces of each class in its mean map.")
    ] = 32,
    seed: Seed = 0,
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """Draw saliency maps of a run: gradient, SmoothGrad, Grad-CAM, and the mean map of each class.

    The summary tests the maps: it gives the probability of the label with the pixels hidden that a
    map marks most, and with those that the map of another face of the class marks.
    """
    files = open_with_run(workspace, run)

    from train.explain.saliency import map_saliency

    result = map_saliency(files, run, rows=rows, per_class=per_class, seed=seed, dry_run=dry_run)
    print_result(result, as_json=as_json, dry_run=dry_run)


def embed(
    run: RunArgument = None,
    workspace: WorkspaceDir = DEFAULT_WORKSPACE,
    rows: RowsOption = "test",
    most: Annotated[int, typer.Option(min=5, metavar="N", help="Most faces to lay out.")] = 2000,
    seed: Seed = 0,
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """Lay out the last features of a run in the plane.

    Coloured by its classes, and by positive, neutral and negative.
    """
    files = open_with_run(workspace, run)

    from train.explain.embed import embed_run

    result = embed_run(files, run, rows=rows, most=most, seed=seed, dry_run=dry_run)
    print_result(result, as_json=as_json, dry_run=dry_run)


def predict(
    images: Annotated[
        list[Path],
        typer.Argument(
            metavar="IMAGE|FOLDER...", help="Pictures, and folders: every picture below each."
        ),
    ],
    workspace: WorkspaceDir = DEFAULT_WORKSPACE,
    run: RunOption = None,
    detect: Detect = True,
    detector: DetectorName = "libfacedetection",
    classes: MergedClasses = None,
    tta: Tta = "flip",
    seed: Seed = 0,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            file_okay=False,
            help="Write predictions.csv and the pictures with boxes there.",
        ),
    ] = None,
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """Find the faces of pictures and predict their expressions by a run.

    It recognises the expression that an annotator would name, not what a person feels. The EU AI
    Act forbids emotion recognition in workplace and education; docs/cards.md has the intended use.
    """
    files = open_with_run(workspace, run)

    from train.faces.predict import predict_images
    from train.faces.predictor import PredictorOptions

    options = PredictorOptions(run=run, classes=classes, tta=tta, seed=seed)
    result = predict_images(
        files,
        images,
        options,
        detector=detector if detect else None,
        out=out,
        dry_run=dry_run,
    )
    print_result(result, as_json=as_json, dry_run=dry_run)


def timeline(
    video: Annotated[
        Path, typer.Argument(metavar="VIDEO", help="A video that OpenCV reads, such as MP4 or AVI.")
    ],
    workspace: WorkspaceDir = DEFAULT_WORKSPACE,
    run: RunOption = None,
    per_second: Annotated[
        float, typer.Option(metavar="N", help="Sampled frames per second of video.")
    ] = 5.0,
    smooth: Annotated[
        float,
        typer.Option(
            metavar="SECONDS", help="Average a face's probabilities so far to either side; 0: not."
        ),
    ] = 1.0,
    detect: Detect = True,
    detector: DetectorName = "libfacedetection",
    classes: MergedClasses = None,
    tta: Tta = "flip",
    seed: Seed = 0,
    annotate: Annotated[
        bool, typer.Option("--annotate", help="Write the video with boxes and words too.")
    ] = False,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", file_okay=False, help="Folder; default timelines/VIDEO in the run's."
        ),
    ] = None,
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """Predict the expressions of every face of a video over time: timeline.csv, timeline.png.

    It recognises the expression that an annotator would name, not what a person feels. The EU AI
    Act forbids emotion recognition in workplace and education; docs/cards.md has the intended use.
    """
    files = open_with_run(workspace, run)

    from train.faces.predictor import PredictorOptions
    from train.faces.timeline import TimelineOptions, make_timeline

    predictor = PredictorOptions(run=run, classes=classes, tta=tta, seed=seed)
    options = TimelineOptions(
        per_second=per_second,
        smooth=smooth,
        detector=detector if detect else None,
        annotate=annotate,
    )
    result = make_timeline(files, video, predictor, options, out=out, dry_run=dry_run)
    print_result(result, as_json=as_json, dry_run=dry_run)


def export(
    run: RunArgument = None,
    workspace: WorkspaceDir = DEFAULT_WORKSPACE,
    file_format: Annotated[
        str,
        typer.Option("--format", metavar="keras|saved_model|tflite|onnx", help="Form of the file."),
    ] = "keras",
    out: Annotated[
        Path | None,
        typer.Option(metavar="DIR", file_okay=False, help="Folder; default `export` in the run's."),
    ] = None,
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """Write the best model of a run for use without Candid.

    Checks that the file gives the same probabilities.

    It recognises the expression that an annotator would name, not what a person feels. The EU AI
    Act forbids emotion recognition in workplace and education; docs/cards.md has the intended use.
    """
    files = open_with_run(workspace, run)

    from train.export.command import export_run

    result = export_run(files, run, file_format=file_format, out=out, dry_run=dry_run)
    print_result(result, as_json=as_json, dry_run=dry_run)


def add_commands(app: typer.Typer) -> None:
    """Add the commands of this module to the program."""
    for command in (evaluate, compare, occlude, saliency, embed, predict, timeline, export):
        app.command()(command)
