"""Altered copies among thousands of faces: precision and recall of methods that find copies.

    python benchmarks/near_duplicates.py ~/data/fer2013 --name FER2013
    python benchmarks/near_duplicates.py --drawn                     faces drawn by `curate demo`
    python benchmarks/near_duplicates.py ~/faces --pairs mine.csv    another method's pairs

One image of each duplicate group of the folder is kept, by `curate dedup` itself, so its copies
among the folder's own faces count for no method (`contact_sheet.py` shows them to the eye; drawn
faces are all kept). Thirteen alterations (`alterations.py`) are planted at a fixed seed, one per
source, and every pair of images that is not a planted copy counts against a method's precision. The
sources are divided into two halves: the bound of the score was chosen on the
first, the table shows the second. `--workspace DIR` keeps the files, `truth.csv` and the tables of
`curate dedup`.
"""

import argparse
import contextlib
import io
import itertools
import shutil
import tempfile
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
from alterations import ALTERATIONS
from results import RESULTS, describe_machine, replace_section, run_command, to_table

from curate.demo.planting import draw_fresh
from curate.duplicates.alignment import LOOK
from curate.duplicates.near_hashes import find_near_hashes
from curate.images.decode import decode_image, to_grey
from curate.workspace.manifest import read_manifest
from curate.workspace.workspace import Workspace

FACES = 16_641
DRAWN = 6000
COPIES = 300  # of each alteration; fewer where the folder is small
Found = set[tuple[str, str]]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, nargs="?")
    parser.add_argument("--drawn", action="store_true")
    parser.add_argument("--name", default="faces")
    parser.add_argument("--workspace", type=Path)
    pairs = "CSV with the file names path_a, path_b of another method"
    parser.add_argument("--pairs", type=Path, help=pairs)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--half", choices=("choose", "report"), default="report")
    options = parser.parse_args()
    with contextlib.ExitStack() as stack:
        root = options.workspace or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        folder = draw_faces(root) if options.drawn else options.folder
        truth = plant(folder, root, options.seed, keep_copies=options.drawn)
        methods = measure(root, sweep=options.half == "choose")
        if options.pairs:
            table = pd.read_csv(options.pairs, dtype=str)
            methods[options.pairs.stem] = to_pairs(*of_columns(table))
        report(methods, truth, options, len(list((root / "faces" / "neutral").iterdir())))


def draw_faces(root: Path) -> Path:
    """The faces of the demo, other people, clean."""
    draw_fresh(root / "drawn", faces=DRAWN, seed=1)
    return root / "drawn"


def plant(folder: Path, root: Path, seed: int, *, keep_copies: bool) -> pd.DataFrame:
    """Write the faces and the altered copies to `root`; the table of copies."""
    manifest = list_faces(folder, root / "clean", keep_copies=keep_copies)
    rng = np.random.default_rng(seed)
    each = min(COPIES, len(manifest) // 45)
    count = min(len(manifest), FACES - each * len(ALTERATIONS))
    chosen = manifest.iloc[np.sort(rng.choice(len(manifest), count, replace=False))]
    locate = Workspace(root / "clean").locate()
    images = []
    for path, box in zip(chosen["path"], chosen["box"], strict=True):
        images.append(to_grey(decode_image(locate(path).read_bytes(), box)))
    out = root / "faces" / "neutral"
    out.mkdir(parents=True, exist_ok=True)
    for k, image in enumerate(images):
        cv2.imwrite(str(out / f"{k:05d}.png"), image)
    sources = rng.permutation(count)[: each * len(ALTERATIONS)]
    rows = []
    for k, source in enumerate(sources):
        kind = list(ALTERATIONS)[k % len(ALTERATIONS)]
        name = f"{count + k:05d}.png"
        cv2.imwrite(str(out / name), ALTERATIONS[kind](images[source], rng))
        rows.append((f"{source:05d}.png", name, kind))
    truth = pd.DataFrame(rows, columns=["source", "copy", "alteration"])
    truth["half"] = truth["source"].map(half_of)
    truth.to_csv(root / "truth.csv", index=False)
    return truth


def list_faces(folder: Path, workspace: Path, *, keep_copies: bool) -> pd.DataFrame:
    """The readable faces, one of each duplicate group unless `keep_copies`."""
    dedup = ["dedup", "--exact-only"] if keep_copies else ["dedup"]
    one_label = copy_under_one_label(folder, workspace.parent / "one label")
    for words in (["build", f"faces={one_label}"], ["inspect"], dedup):
        run_command(["curate", *words, "-w", str(workspace)])
    manifest = read_manifest(workspace / "manifest.csv")
    group = manifest["duplicate_group"].where(manifest["duplicate_group"] != "", manifest["path"])
    is_face = (manifest["pixel_hash"] != "") & (manifest["quality"] == "")
    return manifest[is_face & ~group.duplicated()]


def copy_under_one_label(folder: Path, target: Path) -> Path:
    """The pictures of a folder under one label, so that copies with two labels are grouped too."""
    (target / "neutral").mkdir(parents=True)
    for k, file in enumerate(sorted(path for path in folder.rglob("*") if path.is_file())):
        shutil.copy(file, target / "neutral" / f"{k:06d}{file.suffix}")
    return target


def half_of(name: str) -> str:
    return "choose" if int(name.split(".")[0]) % 2 else "report"


def measure(root: Path, *, sweep: bool) -> dict[str, Found]:
    """Method -> its pairs of copies, as file names; with `sweep`, Candid's at many bounds."""
    workspace = root / "manifests"
    run_command(["curate", "build", f"b={root / 'faces'}", "-w", str(workspace)])
    run_command(["curate", "dedup", "-w", str(workspace)])
    pairs = pd.read_csv(workspace / "pairs.csv", dtype=str)
    scores = pairs["score"].astype(float)
    manifest = read_manifest(workspace / "manifest.csv")

    def by_hash(bits: int) -> Found:
        blocks = find_near_hashes(list(manifest["phash"]), np.arange(len(manifest)), bits)
        first, second = np.concatenate(list(blocks), axis=1)
        is_pair = first < second
        paths = manifest["path"]
        return to_pairs(paths.iloc[first[is_pair]], paths.iloc[second[is_pair]])

    if sweep:
        found = {}
        for bound in np.arange(LOOK, 0.991, 0.005):
            found[f"score >= {bound:.3f}"] = to_pairs(*of_columns(pairs[scores >= bound]))
        return found
    return {
        "cleanvision (exact and near)": run_cleanvision(root / "faces"),
        "imagehash.phash, distance <= 4": by_hash(4),
        "imagehash.phash, distance <= 10 (imagededup's rule)": by_hash(10),
        "candid, sure": to_pairs(*of_columns(pairs[pairs["band"] == "sure"])),
    }


def run_cleanvision(folder: Path) -> Found:
    from cleanvision import Imagelab

    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        lab = Imagelab(data_path=str(folder))
        lab.find_issues({"exact_duplicates": {}, "near_duplicates": {}})
    groups = lab.info["exact_duplicates"]["sets"] + lab.info["near_duplicates"]["sets"]
    pairs = [pair for group in groups for pair in itertools.combinations(group, 2)]
    return to_pairs([a for a, _ in pairs], [b for _, b in pairs])


def of_columns(table: pd.DataFrame) -> tuple["pd.Series[str]", "pd.Series[str]"]:
    return table["path_a"], table["path_b"]


def to_pairs(first: "pd.Series[str] | list[str]", second: "pd.Series[str] | list[str]") -> Found:
    names = ([path.rpartition("/")[2] for path in paths] for paths in (first, second))
    return {(min(a, b), max(a, b)) for a, b in zip(*names, strict=True)}


def report(
    methods: dict[str, Found], truth: pd.DataFrame, options: argparse.Namespace, faces: int
) -> None:
    half = truth[truth["half"] == options.half]
    every = to_pairs(truth["source"], truth["copy"])
    wanted = to_pairs(half["source"], half["copy"])
    rows, by_kind = [], []
    for name, found in methods.items():
        true = found & wanted
        false = {pair for pair in found - every if half_of(pair[0]) == options.half}
        precision = 100 * len(true) / max(1, len(true) + len(false))
        recall = 100 * len(true) / len(wanted)
        rows.append([name, f"{precision:.2f}", f"{recall:.2f}", len(true), len(false)])
        is_found = half["copy"].isin({copy for _, copy in true})
        recalls = is_found.groupby(half["alteration"]).mean()
        by_kind.append([name, *(f"{100 * share:.1f}" for share in recalls)])
    kinds = sorted(set(half["alteration"]))
    table = to_table(["method", "precision %", "recall %", "copies found", "other pairs"], rows)
    recall_table = to_table(["recall %", *kinds], by_kind)
    print(table, recall_table, sep="\n\n")
    if options.half == "choose":
        return
    name = "drawn faces" if options.drawn else options.name
    pairs = faces * (faces - 1) // 2 - len(truth)
    thinned = ""
    if not options.drawn:
        thinned = (
            " Before, `curate dedup` left one image of each duplicate group: false pairs of its "
            "own are not counted here."
        )
    body = (
        f"Measured by `python benchmarks/near_duplicates.py`: {faces:,} images of {name}, "
        f"{len(truth):,} altered copies of as many sources among them, seed {options.seed}; the "
        f"half of the sources on which no bound was chosen ({len(wanted):,} copies), and the "
        f"{pairs:,} other pairs counted against precision to the half of their first image."
        f"{thinned} {describe_machine()}."
    )
    text = f"## Altered copies: {name}\n\n{body}\n\n{table}\n\n{recall_table}"
    replace_section(RESULTS, f"near-duplicates {name}", text)


if __name__ == "__main__":
    main()
