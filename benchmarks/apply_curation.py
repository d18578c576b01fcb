"""A published curation of FER2013, applied to FER2013 as CSV, as PNG folders and as JPEG folders.

    python benchmarks/apply_curation.py fer2013_rows.npz fer2013.zip FOLDER

The curation is made of the rows, as a CSV, by the commands that a user types, and published. Then
`curate apply` replays it on three workspaces in which `curate build` alone has run: the CSV, PNG
folders of it (class folders of im<k>.png), and Kaggle's JPEG folders, whose file names have no row.
Each match is compared with the nearest of all rows in pixels: another photograph is one whose
distance is over 2 % larger than that of the nearest row. FOLDER keeps the forms and workspaces; a
killed run goes on where it was. Writes the section `apply` of RESULTS.md.
"""

import argparse
import json
import zipfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
from fer2013_candid import write_table
from results import RESULTS, Run, describe_machine, replace_section, run_command, to_table

from curate.files import write_atomically
from curate.images.decode import Pixels, read_grey
from curate.publish.curation import Curation, read_curation
from curate.publish.descriptor import describe
from curate.publish.match import Match, match_images
from curate.workspace.journal.decisions import list_applied
from curate.workspace.workspace import Workspace

STAGES = ("inspect", "dedup", "split --ratios 70 15 15")
FORMS = {"csv": "fer2013.csv", "png": "PNG folders", "zip": "fer2013.zip (JPEG)"}
FOLDERS = ("angry", "disgusted", "fearful", "happy", "sad", "surprised", "neutral")
NEARER = 1.02  # a row nearer by more is another photograph
BLOCK = 512  # images compared with every row at once: 73 MB of floats
CANDIDATES = 8
ROUNDING = 0.1  # grey levels: of the differences of float32 squares


@dataclass(frozen=True)
class Finding:
    """What applying to one form gave: a line of the table."""

    form: str
    images: int
    counts: dict[str, int]
    seconds: float
    wrong: int
    not_nearest: int
    other_verdict: int
    leaks: str
    again: str
    undone: str


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("rows", type=Path)
    parser.add_argument("archive", type=Path)
    parser.add_argument("folder", type=Path)
    options = parser.parse_args()
    arrays = np.load(options.rows)
    prepare_forms(options.rows, options.archive, options.folder, arrays)
    made = publish(options.folder)
    curation = read_curation(options.folder / "curation")
    findings = []
    for form in FORMS:
        file = options.folder / f"{form}.json"
        if not file.is_file():
            found = apply(form, options.folder, curation, arrays["pixels"])
            write_atomically(file, json.dumps(asdict(found)).encode())
        findings.append(Finding(**json.loads(file.read_text())))
        print(findings[-1], flush=True)
    write(findings, made, curation)


def prepare_forms(rows: Path, archive: Path, folder: Path, arrays: "np.lib.npyio.NpzFile") -> None:
    """The three forms below FOLDER/forms, those that are not there yet."""
    forms = folder / "forms"
    if not (forms / "csv/fer2013.csv").is_file():
        write_table(rows, forms / "csv/fer2013.csv")
    if not (forms / "png").is_dir():
        write_pictures(arrays, forms / "png-unfinished")
        (forms / "png-unfinished").rename(forms / "png")
    if not (forms / "zip").is_dir():
        with zipfile.ZipFile(archive) as opened:
            opened.extractall(forms / "zip-unfinished")
        (forms / "zip-unfinished").rename(forms / "zip")


def write_pictures(arrays: "np.lib.npyio.NpzFile", folder: Path) -> None:
    """train/ and test/ with class folders of im<k>.png, k counted within the class."""
    number: Counter[tuple[str, str]] = Counter()
    for pixels, code, usage in zip(
        arrays["pixels"], arrays["emotion"], arrays["usage"], strict=True
    ):
        place = "train" if usage == "Training" else "test", FOLDERS[code]
        file = folder / place[0] / place[1] / f"im{number[place]}.png"
        number[place] += 1
        file.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(file), pixels)


def publish(folder: Path) -> list[Run]:
    """The workspace of the CSV, and its curation."""
    env = {"CURATE_WORKSPACE": str(folder / "source")}
    runs = []
    if not (folder / "source/receipts/split.json").is_file():
        runs.append(run_command(["curate", "build", f"fer2013={folder / 'forms/csv'}"], env=env))
        runs += [run_command(["curate", *stage.split()], env=env) for stage in STAGES]
    runs.append(run_command(["curate", "publish", str(folder / "curation")], env=env))
    run_command(["curate", "publish", str(folder / "curation"), "--check"], env=env)
    return runs


def apply(form: str, folder: Path, curation: Curation, pixels: Pixels) -> Finding:
    """Build one form, apply, apply again, judge every match by its pixels, undo."""
    workspace = Workspace(folder / f"ws-{form}")
    env = {"CURATE_WORKSPACE": str(workspace.root), "CURATE_BY": "benchmark"}
    words = ["curate", "apply", str(folder / "curation"), "--json"]
    if not workspace.manifest.is_file():
        run_command(["curate", "build", f"fer2013={folder / 'forms' / form}"], env=env)
    for line in list_applied(workspace.read_journal()):  # of a run that was killed
        run_command(["curate", "undo", line.batch], env=env)
    before = workspace.manifest.read_bytes()
    run = run_command(words, env=env)
    counts = json.loads(run.stdout)
    applied = workspace.manifest.read_bytes()
    second = json.loads(run_command(words, env=env).stdout)
    is_unchanged = workspace.manifest.read_bytes() == applied and not second["batch"]
    audit = run_command(["curate", "audit"], env=env).stdout.splitlines()[-1]
    faces, match = match_faces(workspace, curation)
    source = Workspace(folder / "source").read()
    wrong, not_nearest = judge(faces, match, curation, pixels)
    other = compare_verdicts(workspace, match, curation, source)
    run_command(["curate", "undo", counts["batch"]], env=env)
    is_restored = workspace.manifest.read_bytes() == before
    return Finding(
        FORMS[form],
        len(faces),
        counts,
        run.wall_seconds,
        wrong,
        not_nearest,
        other,
        audit.rpartition("; split: ")[2],
        "nothing changed" if is_unchanged else "CHANGED",
        "byte for byte" if is_restored else "OTHER BYTES",
    )


def match_faces(workspace: Workspace, curation: Curation) -> tuple[Pixels, Match]:
    """Every face of the workspace, and the row of images.csv that apply gives it."""
    manifest, locate = workspace.read(), workspace.locate()
    faces = np.stack([read_grey(locate(path)) for path in manifest["path"]])
    steps = describe(faces)
    found = match_images(manifest, curation.images, curation.digits, lambda rows: steps[rows])
    return faces, found


def judge(faces: Pixels, match: Match, curation: Curation, pixels: Pixels) -> tuple[int, int]:
    """How many matched images show another photograph, and how many have a nearer row at all."""
    places = curation.images["place"].str.rpartition("/")[2].astype(int).to_numpy()
    matched = np.flatnonzero(match.is_matched)
    given = pixels[places[match.row[matched]]]
    other = (given != faces[matched]).any(axis=(1, 2))
    distance = measure(faces[matched[other]], given[other])
    least = find_least(faces[matched[other]], pixels)
    return int((distance > NEARER * least).sum()), int((distance > least).sum())


def find_least(faces: Pixels, pixels: Pixels) -> np.ndarray:
    """(M,) the distance of each face from the nearest of all rows.

    Means of 4 x 4 pixels are never farther apart than the pixels: where the nearest rows by them
    hold one that is nearer than the last of them by its means, no other row can be nearer. The
    few faces left are compared with every row.
    """
    least = np.zeros(len(faces), np.float32)
    thumbs = pool(pixels)
    for start in range(0, len(faces), BLOCK):
        block = faces[start : start + BLOCK]
        squares = compare_squares(pool(block), thumbs)
        near = np.argpartition(squares, CANDIDATES - 1, axis=1)[:, :CANDIDATES]
        last = np.sqrt(np.take_along_axis(squares, near, 1).max(axis=1).clip(0))
        found = np.stack([measure(block, pixels[column]) for column in near.T]).min(axis=0)
        for k in np.flatnonzero(found > last - ROUNDING):
            found[k] = measure(block[k][None], pixels).min()
        least[start : start + BLOCK] = found
    return least


def pool(images: Pixels) -> np.ndarray:
    """(N, 48, 48) -> (N, 144) means of 4 x 4 pixels."""
    return images.reshape(-1, 12, 4, 12, 4).mean(axis=(2, 4), dtype=np.float32).reshape(-1, 144)


def compare_squares(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """(M, N) mean squared differences of (M, D) and (N, D)."""
    squares = (first**2).sum(axis=1)[:, None] + (second**2).sum(axis=1)[None]
    return (squares - 2 * first @ second.T) / first.shape[1]


def measure(first: Pixels, second: Pixels) -> np.ndarray:
    """(M,) root mean square differences in grey levels."""
    return np.sqrt(((first.astype(np.float32) - second) ** 2).mean(axis=(1, 2)))


def compare_verdicts(
    workspace: Workspace, match: Match, curation: Curation, source: pd.DataFrame
) -> int:
    """How many matched images have another status, label, finding or part than their row."""
    columns = ["status", "label", "quality", "split"]
    row_of = {int(path.rpartition("/")[2][:-4]): k for k, path in enumerate(source["path"])}
    places = curation.images["place"].str.rpartition("/")[2].astype(int)
    rows = [row_of[place] for place in places.to_numpy()[match.row[match.is_matched]]]
    here = workspace.read()[match.is_matched][columns].to_numpy()
    return int((here != source[columns].to_numpy()[rows]).any(axis=1).sum())


def write(findings: Sequence[Finding], made: Sequence[Run], curation: Curation) -> None:
    header = [
        "form", "images", "matched", "by pixels", "lossy", "ambiguous", "unmatched",
        "other photograph", "a nearer row", "other given label", "other verdict", "leaks after",
        "second apply", "undo", "seconds",
    ]  # fmt: skip
    rows = []
    for each in findings:
        share = 100 * each.counts["matched"] / each.images
        states = [each.counts[name] for name in ("exact", "lossy", "ambiguous", "unmatched")]
        judged = [each.wrong, each.not_nearest, each.counts["other_label"], each.other_verdict]
        rows.append(
            [
                each.form, f"{each.images:,}", f"{share:.2f} %", *[f"{n:,}" for n in states],
                *judged, each.leaks, each.again, each.undone, f"{each.seconds:.0f}",
            ]
        )  # fmt: skip
    seconds = made[-1].wall_seconds
    splits = "; ".join(
        f"`{name}` train {parts['train']:,}, val {parts['val']:,}, test {parts['test']:,}"
        for name, parts in curation.record["splits"].items()
    )
    body = (
        "Measured by `python benchmarks/apply_curation.py fer2013_rows.npz fer2013.zip FOLDER` on "
        f"{describe_machine()}. The curation: {len(curation.images):,} images, "
        f"{len(curation.tables['pairs.csv']):,} pairs, published in {seconds:.0f} s; {splits}. "
        "Other photograph: some row is over 2 % nearer in pixels than the one that the image was "
        "given. Other given label: than that of the row; such an image keeps its own, and so has "
        "another verdict. Other verdict: status, label, finding or part is not that of the row. "
        "Ambiguous: several rows fit, and the image is left out."
    )
    table = to_table(header, rows)
    replace_section(RESULTS, "apply", f"## A published curation, applied\n\n{body}\n\n{table}")
    print(table)


if __name__ == "__main__":
    main()
