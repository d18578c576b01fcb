"""The long tests and all measurements: `make bench`; those on FER2013 (hours) with FER2013=FOLDER.

Not among them: `quality.py`, `label_issues.py`, `independent_model.py`, `posterior.py crowd`,
`consensus.py crowd`, `ferplus_join.py`, `ceiling.py`, `curation_pays.py` (seventeen hours) and
`relabel.py fer2013`, which need crowd votes that Candid does not ship; `posterior.py clean` and
`studies.py` (sixty hours), which need CK+48;
`many_files.py` and `large_set.py`, which draw 300,000 files; `contact_sheet.py`, which needs an
eye; `code_style.py`, `chain_cost.py` and `oof_cost.py`, which compare with an earlier checkout;
what measures nothing by itself: `fer2013_candid.py`, `small_model.py`, `leaderboard.py`; and
`apply_curation.py`, which needs the rows and Kaggle's archive.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent


def main() -> None:
    subprocess.run([sys.executable, "-m", "pytest", "-m", "long"], cwd=HERE.parent, check=True)
    run("demo.py")
    run("split_balance.py")
    run("slices.py")
    run("near_duplicates.py", "--drawn")
    run("planted_errors.py")
    run("posterior.py", "planted")
    run("consensus.py", "simulated")
    run("relabel.py", "kills", "20")
    run("damaged_files.py", "2000")
    run("kills.py", "20")
    run("light_commands.py")
    run("batch_cost.py")
    if len(sys.argv) > 1:
        folder = sys.argv[1]
        with tempfile.TemporaryDirectory() as scratch:
            workspace = str(Path(scratch) / "manifests")
            run("build_profile.py", folder)
            run("leakage.py", folder)
            run("near_duplicates.py", folder, "--name", "FER2013")
            for seed in ("1", "2"):
                run("near_duplicates.py", folder, "--name", f"FER2013, seed {seed}", "--seed", seed)
            run("negatives.py", folder, str(Path(scratch) / "negatives"))
            run("against_cleanvision.py", folder)
            run("indexes.py", folder)
            run("scaling.py", folder)
            run("search_on_ray.py", folder)
            run("search_plan.py")
            run("fer2013_chain.py", folder, "--workspace", workspace)
            run("time_to_accuracy.py", folder)
            recipes = folder, str(Path(scratch) / "recipes")
            for name, seeds in (("fast", "3"), ("long", "3"), ("five-layer", "1")):
                run("recipes.py", *recipes, "--seeds", seeds, "--recipe", name)
            run("recipes.py", *recipes, "--seeds", "1", "--", "--class-weights", "balanced")
            for split in ("clean", "random"):
                of_study = "--recipe", "fernet5-improved", "--classes", "5", "--split", split
                run("recipes.py", *recipes, "--seeds", "1", *of_study)
            run("headline.py")


def run(script: str, *words: str) -> None:
    print(f"$ python benchmarks/{script} {' '.join(words)}", flush=True)
    subprocess.run([sys.executable, str(HERE / script), *words], check=True)


if __name__ == "__main__":
    main()
