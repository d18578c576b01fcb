"""What the tests of dataset layouts share: trees of drawn faces, and a build of one."""

from collections.abc import Iterable
from pathlib import Path

from PIL import Image

from curate.demo.drawing import draw_face
from curate.sources.layout import Listing, detect_layout
from curate.sources.listing import list_faces
from curate.sources.options import SourceOptions, check_options, merge_options, parse_options
from curate.stages import build as stage
from curate.workspace.receipts import BuildResult
from curate.workspace.workspace import Workspace


def draw(root: Path, *names: str, size: int = 48) -> Path:
    """Draw a different face under each name."""
    for k, name in enumerate(names):
        file = root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(draw_face("happy", k % 9, k, size=size)).save(file)
    return root


def write(file: Path, *lines: str) -> Path:
    """Write the lines, each with a line break."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join(f"{line}\n" for line in lines))
    return file


def build(root: Path, **options: object) -> BuildResult:
    """Build the source `s` in a workspace beside it; `options` are those of `SourceOptions`."""
    reading = SourceOptions(**options)  # type: ignore[arg-type]
    workspace = Workspace(root.parent / "ws")
    return stage.build(workspace, [f"s={root}"], stage.BuildOptions(reading, workers=1))


def list_source(root: Path, **options: object) -> Listing:
    """What `build` lists of a dataset; `options` are those of `SourceOptions`."""
    reading = SourceOptions(**options)  # type: ignore[arg-type]
    check_options(reading)
    return list_faces(detect_layout(root), root, parse_options(merge_options(reading, {}), None))


def labels_of(listing: Listing) -> dict[str, str]:
    """Path -> given label and split of the source."""
    return {row.path: f"{row.given_label} {row.source_split}".strip() for row in listing.rows}


def values_of(built: BuildResult, *columns: str) -> dict[str, object]:
    """path without its source -> the value of the column, or of several in one string."""
    rows = built.rows.assign(path=built.rows["path"].str.removeprefix("s/"))
    values = rows[columns[0]] if len(columns) == 1 else rows[list(columns)].agg(" ".join, axis=1)
    return dict(zip(rows["path"], values, strict=True))


def assert_layout(root: Path, name: str) -> None:
    """The tree is detected as this layout, by no layout that is tried before."""
    assert name == detect_layout(root).NAME


def pixel_lines(codes: Iterable[int], usages: Iterable[str] | None = None) -> list[str]:
    """Lines of a pixel table: emotion,pixels[,Usage]."""
    lines = []
    usage = iter(usages or ())
    for k, code in enumerate(codes):
        pixels = " ".join(map(str, draw_face("sad", k % 9, k).ravel()))
        cells = [str(code), pixels]
        if usages:
            cells.append(next(usage))
        lines.append(",".join(cells))
    return lines
