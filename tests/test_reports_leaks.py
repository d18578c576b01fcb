"""The leaked rows one by one: beside their nearest copy, as a table and as a page."""

import pandas as pd
from tables import make_manifest

from curate.reports.leaks import LEAK_COLUMNS, list_leaks
from curate.workspace.workspace import Workspace

PAIRS = ["path_a", "path_b", "score", "transform", "band"]


def test_a_worked_example_by_hand():
    group = {"duplicate_group": "s/000.png", "given_label": "sad"}
    manifest = make_manifest(
        [
            {**group, "source_split": "train"},
            {**group, "source_split": "test"},
            {**group, "source_split": "val", "given_label": "fear"},
            {**group, "source_split": "test"},
            {"source_split": "test", "given_label": "sad"},
        ]
    )
    pairs = pd.DataFrame(
        [
            ("s/000.png", "s/001.png", "0.9900", "mirror", "sure"),
            ("s/000.png", "s/002.png", "0.9500", "none", "look"),
            ("s/001.png", "s/002.png", "0.9910", "none", "sure"),
            ("s/001.png", "s/003.png", "1.0000", "identical", "sure"),
        ],
        columns=PAIRS,
    )
    found = list_leaks(manifest, pairs)
    assert list(found.columns) == LEAK_COLUMNS
    assert found.to_numpy().tolist() == [
        [
            "source_split",
            "test",
            "s/001.png",
            "sad",
            "s/000.png",
            "sad",
            "near",
            "0.9900",
            "mirror",
            "true",
        ],
        ["source_split", "val", "s/002.png", "fear", "s/000.png", "sad", "group", "", "", "false"],
        ["source_split", "test", "s/003.png", "sad", "s/000.png", "sad", "group", "", "", "true"],
    ]


def test_the_audit_writes_the_table_and_the_page_on_demand(curate, finished: Workspace):
    plain = curate("audit", "-w", finished.root)
    assert not (finished.root / "audit.html").exists()
    assert not (finished.root / "leaks.csv").exists()
    told = curate("audit", "--html", "--csv", "-w", finished.root)
    assert told.exit_code == 0
    assert told.stdout.splitlines()[-1] == plain.stdout.splitlines()[-1]
    table = pd.read_csv(finished.root / "leaks.csv", dtype=str, keep_default_na=False)
    leaked = set(table.loc[table["split"] == "source_split", "path"])
    assert "tiny/test/happy/copy.png" in leaked
    assert "tiny/test/sad/0.png" in leaked
    assert not (table["split"] == "split").any()  # ours leaks nothing
    page = (finished.root / "audit.html").read_text()
    assert page.count("<figure") == 2 * len(table)
    assert "whose nearest copy in train has" in page


def test_a_missing_pairs_table_says_what_to_do(curate, finished: Workspace):
    finished.pairs.unlink()
    failed = curate("audit", "--csv", "-w", finished.root)
    assert failed.exit_code == 1
    assert "holds no verified pairs: run `curate dedup` again" in failed.stderr
