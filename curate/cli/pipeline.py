"""The program `curate`: its stages and reports.

In: the options of a command. Out: the result that its stage returns, printed. `review.py` adds the
commands of review, `publish.py` those of a published curation.
"""

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from curate.cli import publish as publishing
from curate.cli.journal import app as journal_app
from curate.cli.review import add_commands
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
    print_line,
    print_report,
    print_result,
)

app = new_app(
    "Make a face-expression dataset trustworthy: find copies and wrong labels, decide, split "
    "without leaks.\n\n"
    "The usual order: build, inspect, dedup, fold, `train oof`, flag, relabel, split, weights, "
    "`train run`. `curate status` shows the state of a workspace and the next command."
)

Ratios = Annotated[
    tuple[float, float, float] | None,
    typer.Option(
        "--ratios",
        metavar="TRAIN VAL TEST",
        help="Percent or fractions, summing to 100 or 1.",
        show_default="70 15 15",
    ),
]


@app.command()
def build(
    sources: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[NAME=]PATH...",
            help="Datasets as downloaded; none: those of the last build again.",
        ),
    ] = None,
    workspace: WorkspaceDir = DEFAULT_WORKSPACE,
    votes: Annotated[
        Path | None,
        typer.Option(
            help="Crowd votes: FER+'s fer2013new.csv, or a CSV of path and one column of counts "
            "per class."
        ),
    ] = None,
    pixels: Annotated[
        Path | None,
        typer.Option(
            help="fer2013.csv, to join FER+ to JPEG folders; default: the one beside the votes."
        ),
    ] = None,
    labels: Annotated[
        str | None,
        typer.Option(
            metavar="source|ferplus",
            help="Whose label is given: the dataset's own, or the crowd's majority.",
        ),
    ] = None,
    spellings: Annotated[
        list[str] | None,
        typer.Option(
            "--map",
            metavar="NAME=CLASS",
            help="The class of a folder name of your own; repeatable.",
        ),
    ] = None,
    columns: Annotated[
        list[str] | None,
        typer.Option(
            "--column",
            metavar="ROLE=NAME",
            help="Read a CSV of pictures: the column of path, label, split, subject, sequence, "
            "box (x y w h, pixels), corners (left, top, right, bottom; one column or four), "
            "relative_box, relative_corners (shares of the size); repeatable.",
        ),
    ] = None,
    codes: Annotated[
        str | None,
        typer.Option(
            metavar="official|alphabetical|fer2013",
            help="The order of numbered class folders, if in doubt: AffectNet's own, alphabetical, "
            "or FER2013's.",
        ),
    ] = None,
    skipped: Annotated[
        list[str] | None,
        typer.Option(
            "--skip",
            metavar="NAME",
            help="Leave out a label or folder of the dataset, by its own name; repeatable.",
        ),
    ] = None,
    forgotten: Annotated[
        list[str] | None,
        typer.Option(
            "--forget",
            metavar="NAME",
            help="Take the rows of a source of an earlier build out again; repeatable. Decisions "
            "stay in the journal.",
        ),
    ] = None,
    neutral_frames: Annotated[
        int | None,
        typer.Option(
            help="CK+: first frames of a labelled sequence taken as neutral.", show_default="1"
        ),
    ] = None,
    peak_frames: Annotated[
        int | None,
        typer.Option(
            help="CK+: last frames of a labelled sequence taken for its label.", show_default="3"
        ),
    ] = None,
    engine: EngineName = "local",
    workers: Workers = None,
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """List every face image of the datasets, with its label, hashes and size.

    The layout is detected; `curate sources` lists those known. Rows of other sources stay: build
    adds to a workspace, and --forget takes out. Decisions survive a rebuild as long as their images
    do. A dry run prints layout, counts per class and split, and warnings, and opens no picture.
    """
    from curate.sources.options import SourceOptions
    from curate.stages import build as stage
    from curate.workspace.run import run_build
    from curate.workspace.workspace import Workspace

    files = Workspace(workspace)
    reading = SourceOptions(
        spellings or (), columns or (), codes, labels, neutral_frames, peak_frames, skipped or ()
    )
    options = stage.BuildOptions(reading, forgotten or (), votes, pixels, engine, workers)
    build = partial(stage.build, files, sources or [], options, dry_run=dry_run)
    result = run_build(files, build, dry_run=dry_run)
    print_result(result, as_json=as_json, dry_run=dry_run)


@app.command()
def sources(
    name: Annotated[
        str | None, typer.Argument(metavar="[LAYOUT]", help="Draw the folder tree of this one.")
    ] = None,
    as_json: Json = False,
) -> None:
    """List the dataset layouts that build knows: the files of each, and how build recognises it."""
    from curate.sources.layout import format_layouts, list_layouts

    text = "" if as_json else format_layouts(name)
    print_report({"layouts": list_layouts()}, text, as_json=as_json)


@app.command()
def inspect(
    workspace: WorkspaceDir = DEFAULT_WORKSPACE,
    engine: EngineName = "local",
    workers: Workers = None,
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """Find the images that show no face, and drop them.

    Kinds: unreadable, blank, black-and-white, almost no information, unlike the other faces.
    `curate decide PATH --keep` restores one that can be read. A dry run prints a sample.
    """
    from curate.stages import inspect as stage
    from curate.workspace.run import run_stage
    from curate.workspace.workspace import Workspace

    files = Workspace(workspace)
    cache = None if dry_run else files.cache
    compute = partial(
        stage.inspect, locate=files.locate(), cache=cache, engine_name=engine, workers=workers
    )
    result = run_stage(
        files, "inspect", compute, input_columns=stage.INPUT_COLUMNS, dry_run=dry_run
    )
    notes = stage.sample_lines(result) if dry_run else []
    print_result(result, as_json=as_json, dry_run=dry_run, notes=notes)


@app.command()
def dedup(
    workspace: WorkspaceDir = DEFAULT_WORKSPACE,
    near: Annotated[
        bool,
        typer.Option(
            "--near/--exact-only", help="Find altered copies too, or pixel-identical ones only."
        ),
    ] = True,
    sure: Annotated[
        float | None,
        typer.Option(
            min=0.92, max=1, help="Score from which a pair counts as copies.", show_default="0.975"
        ),
    ] = None,
    only_new: Annotated[
        bool,
        typer.Option(
            "--only-new",
            help="Compare the images added since the last run with all; repeat no old comparison.",
        ),
    ] = False,
    memory: Annotated[
        float,
        typer.Option(
            min=0.25,
            help="GB for thumbnails and candidates; the index takes 0.3 KB an image more.",
        ),
    ] = 4,
    engine: EngineName = "local",
    workers: Workers = None,
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """Find the copies of an image: exact ones by hash, altered ones by neighbourhood and alignment.

    Zoomed, shifted, rotated, mirrored, relit, re-encoded or watermarked copies are found. Of the
    copies under one label the best is kept. A copy under another label is never dropped: it is a
    label conflict. Verified pairs go to pairs.csv, `sure` ones and those to `look` at. After a kill
    the next run continues where this one was.
    """
    from curate.duplicates import copies
    from curate.duplicates.pairs import SearchOptions
    from curate.errors import UsageError
    from curate.stages import dedup as stage
    from curate.workspace.run import run_stage
    from curate.workspace.workspace import Workspace

    files = Workspace(workspace)
    if only_new and not near:
        raise UsageError(
            "dedup: --only-new and --exact-only exclude each other: exact copies take no comparison"
        )
    options: dict[str, Any] = {"near": near, "sure": sure or copies.SURE}
    search = SearchOptions(engine, workers, None if dry_run else files.cache, int(memory * 2**30))
    since = files.cache if only_new else None
    compute = partial(
        stage.dedup, locate=files.locate(), new_since=since, options=search, **options
    )
    result = run_stage(
        files, "dedup", compute, input_columns=stage.INPUT_COLUMNS, options=options, dry_run=dry_run
    )
    print_result(result, as_json=as_json, dry_run=dry_run)


@app.command()
def fold(
    k: Annotated[int, typer.Option("--k", help="Number of folds.")] = 5,
    seed: Seed = 0,
    workspace: WorkspaceDir = DEFAULT_WORKSPACE,
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """Cut the images into K stratified folds for out-of-fold predictions.

    All images of a duplicate group, and all of a subject, are in one fold.
    """
    from curate.duplicates.pair_table import describe_unknown_copies
    from curate.stages import fold as stage
    from curate.workspace.run import run_stage
    from curate.workspace.workspace import Workspace

    options: dict[str, Any] = {"k": k, "seed": seed}
    files = Workspace(workspace)

    def fold_noting_copies(manifest: Any) -> Any:
        found = stage.fold(manifest, **options)
        notes = describe_unknown_copies(files, manifest, stage.COPIES_UNKNOWN, stage.NEAR_UNKNOWN)
        return replace(found, notes=[*found.notes, *notes])

    result = run_stage(
        files,
        "fold",
        fold_noting_copies,
        input_columns=stage.INPUT_COLUMNS,
        options=options,
        dry_run=dry_run,
    )
    print_result(result, as_json=as_json, dry_run=dry_run)


@app.command()
def flag(
    predictions: Annotated[
        list[Path] | None,
        typer.Option(
            help="Predictions tables; repeatable; default: all of the workspace's predictions/."
        ),
    ] = None,
    independent: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FILE",
            help="Predictions (path, p_<class>…) of a model never trained on this data set; it "
            "needs no folds; repeatable.",
        ),
    ] = None,
    score: Annotated[
        Literal["combined", "margin", "self_confidence", "margin_auc"],
        typer.Option(help="What ranks the images."),
    ] = "combined",
    precision: Annotated[
        float,
        typer.Option(min=0.05, max=0.99, help="Share of the marked labels that should be wrong."),
    ] = 0.5,
    workspace: WorkspaceDir = DEFAULT_WORKSPACE,
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """Rank the images by how much out-of-fold models doubt their label, and mark the wrong labels.

    Reads the tables of `train oof`, or of any model: path, model, fold, p_<class>… per row. A wrong
    label gets another one as suggestion. Decisions and crowd votes turn the score into a
    probability: judge a random sample of 200 and run flag again; it then estimates how many labels
    are wrong, and ranks the rest by what it learned.
    issues.csv has the reasons of each rank, label_errors.csv the errors per pair of classes.
    """
    from curate.stages import flag as stage
    from curate.workspace.run import run_stage
    from curate.workspace.workspace import Workspace

    files = Workspace(workspace)
    outside = independent or []
    tables = predictions or files.find_predictions(besides=outside)
    options: dict[str, Any] = {"score": score, "precision": precision}
    root = files.root
    compute = partial(stage.flag_tables, root=root, files=tables, independent=outside, **options)
    named = {"predictions": predictions or [], "independent": outside}
    options |= {name: list(map(str, files)) for name, files in named.items() if files}
    result = run_stage(
        files,
        "flag",
        compute,
        input_columns=stage.INPUT_COLUMNS,
        inputs=[*tables, *outside],
        options=options,
        dry_run=dry_run,
    )
    print_result(result, as_json=as_json, dry_run=dry_run)


@app.command()
def split(
    ratios: Ratios = None,
    from_source: Annotated[
        bool, typer.Option("--from-source", help="Keep the dataset's own split instead.")
    ] = False,
    by_subject: Annotated[
        bool,
        typer.Option(
            "--by-subject",
            help="Refuse if a kept image has no subject: people could be in two parts then.",
        ),
    ] = False,
    classes: Classes = None,
    group: Group = None,
    seed: Seed = 0,
    workspace: WorkspaceDir = DEFAULT_WORKSPACE,
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """Split the kept images into train, val and test, stratified by class.

    All images of a duplicate group, and all of a subject, are in one part.
    """
    from curate.duplicates.pair_table import describe_unknown_copies
    from curate.stages import split as stage
    from curate.workspace.class_views import name_class_view
    from curate.workspace.run import run_stage
    from curate.workspace.workspace import Workspace

    class_view = name_class_view(classes, group)
    options: dict[str, Any] = {"ratios": ratios, "from_source": from_source, "seed": seed}
    options |= {"by_subject": True} if by_subject else {}
    files = Workspace(workspace)

    def split_noting_copies(manifest: Any) -> Any:
        found = stage.split(manifest, **options, class_view=class_view)
        notes = describe_unknown_copies(files, manifest, stage.COPIES_UNKNOWN, stage.NEAR_UNKNOWN)
        return replace(found, notes=[*found.notes, *notes])

    result = run_stage(
        files,
        "split",
        split_noting_copies,
        input_columns=stage.INPUT_COLUMNS,
        options=options | ({"view": class_view} if class_view else {}),
        dry_run=dry_run,
    )
    print_result(result, as_json=as_json, dry_run=dry_run)


@app.command()
def weights(
    scheme: Annotated[
        Literal["balanced", "sqrt", "effective"],
        typer.Option(help="How strongly rare classes count."),
    ] = "balanced",
    classes: Classes = None,
    group: Group = None,
    workspace: WorkspaceDir = DEFAULT_WORKSPACE,
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """Weight the classes of the train split for the loss of `train run --class-weights`."""
    from curate.stages import weights as stage
    from curate.workspace.class_views import name_class_view
    from curate.workspace.run import run_stage
    from curate.workspace.workspace import Workspace

    class_view = name_class_view(classes, group)
    result = run_stage(
        Workspace(workspace),
        "weights",
        partial(stage.weights, scheme=scheme, class_view=class_view),
        input_columns=stage.INPUT_COLUMNS,
        options={"scheme": scheme} | ({"view": class_view} if class_view else {}),
        dry_run=dry_run,
    )
    print_result(result, as_json=as_json, dry_run=dry_run)


@app.command()
def audit(
    workspace: WorkspaceDir = DEFAULT_WORKSPACE,
    html: Annotated[
        bool, typer.Option("--html", help="Write audit.html: leaked images beside their copies.")
    ] = False,
    csv: Annotated[
        bool, typer.Option("--csv", help="Write leaks.csv: every leaked row with its nearest copy.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Count the val and test images that have a copy in train, in the source's split and in ours.

    A model has trained on the copies, so its score on these images is too high. `train evaluate`
    prints its accuracy with and without them.
    """
    from curate.reports import audit as stage
    from curate.reports.leaks import write_leaks
    from curate.workspace.workspace import Workspace

    files = Workspace(workspace)
    leaks = stage.audit_workspace(files)
    written = write_leaks(files, page=html, table=csv)
    lines = [stage.format_audit(leaks), *written, stage.summarize_audit(leaks)]
    print_report(stage.audit_rows(leaks), "\n".join(lines), as_json=as_json)


@app.command()
def status(workspace: WorkspaceDir = DEFAULT_WORKSPACE, as_json: Json = False) -> None:
    """Show what the workspace holds, which stage is stale, and which command comes next."""
    from curate.reports import status as stage
    from curate.reports.status_text import format_status
    from curate.workspace.workspace import Workspace

    state = stage.read_status(Workspace(workspace))
    print_report(stage.status_as_dict(state), format_status(state), as_json=as_json)


@app.command()
def check(
    workspace: WorkspaceDir = DEFAULT_WORKSPACE,
    files: Annotated[
        bool, typer.Option("--files", help="Also hash every image file again.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Verify every law of the design; exit code 3 and a list when one is broken."""
    from curate.reports import check as stage
    from curate.workspace.invariants import require_no_broken_law
    from curate.workspace.workspace import Workspace

    findings = stage.check_workspace(Workspace(workspace), files=files)
    if as_json:
        print_report(findings, "", as_json=True)
    require_no_broken_law(findings)
    if not as_json:
        print_line("check: every law holds")


@app.command()
def report(
    workspace: WorkspaceDir = DEFAULT_WORKSPACE,
    images: Annotated[
        bool,
        typer.Option(
            "--images/--no-images",
            help="Show faces, or none, where the dataset's licence forbids pictures.",
        ),
    ] = True,
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """Write report.html: what was kept and dropped and why.

    One page without scripts or requests: class balance, leaks side by side, copies, label
    conflicts, suspect labels, errors by pair, who decided what, a map of the set, what to do next.
    """
    from curate.reports import report as stage
    from curate.workspace.workspace import Workspace

    result = stage.report(Workspace(workspace), has_images=images, dry_run=dry_run)
    print_result(result, as_json=as_json, dry_run=dry_run)


@app.command()
def demo(
    folder: Annotated[
        Path, typer.Argument(help="New folder for the drawn faces and their workspace.")
    ] = Path("candid-demo"),
    faces: Annotated[int, typer.Option(min=300, help="Number of drawn faces.")] = 2500,
    seed: Seed = 0,
) -> None:
    """Draw a dataset with planted copies and wrong labels, run the whole chain on it, and compare.

    It needs no data: every command of both programs runs as a user would run it. The last lines
    compare what was found with what was planted, and the test accuracy before and after curation.
    """
    from curate.demo import command as stage

    print_result(stage.demo(folder, faces=faces, seed=seed), as_json=False)


add_commands(app)
publishing.add_commands(app)
app.add_typer(journal_app, name="journal")


def main() -> None:
    """The console script."""
    app(prog_name="curate")
