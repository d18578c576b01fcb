"""The ten laws of the design, over random tables.

Law 9 (killed at any moment) is in test_workspace_killed, law 8 also in
test_stages_dry_and_second_runs.
"""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tables import CLASSES, make_manifest, manifests

from curate.stages import dedup, flag, fold, split, weights
from curate.workspace.invariants import broken_laws, group_keys
from curate.workspace.journal.decisions import Decision, new_decisions, undo_batch
from curate.workspace.journal.verdicts import current_decisions, derive_verdicts
from curate.workspace.manifest import NAMES, check_rows, owned_by, write_manifest
from curate.workspace.receipts import StageResult
from curate.workspace.run import apply_result, run_stage
from curate.workspace.workspace import Workspace

Stage = Callable[[pd.DataFrame], StageResult]

near_pairs = st.lists(st.tuples(st.integers(0, 23), st.integers(0, 23)), max_size=12)
decided = st.lists(
    st.tuples(
        st.integers(0, 23),
        st.sampled_from(["keep", "relabel", "drop", "unsure", "undo"]),
        st.sampled_from(CLASSES),
    ),
    max_size=12,
)


def group_stage(near: list[tuple[int, int]]) -> Stage:
    """dedup with given verified pairs in place of pictures."""

    def run(manifest: pd.DataFrame) -> StageResult:
        readable = set(np.flatnonzero(manifest["pixel_hash"] != ""))
        pairs = [(a, b) for a, b in near if a != b and {a, b} <= readable]
        return StageResult("", columns=dedup.group_duplicates(manifest, pairs))

    return run


def fold_stage(manifest: pd.DataFrame) -> StageResult:
    """fold where two units exist, else nothing folded."""
    rows = manifest[manifest["pixel_hash"] != ""]
    units = (
        fold.link_rows([key.reset_index(drop=True) for key in group_keys(rows).values()])
        if len(rows)
        else []
    )
    return (
        fold.fold(manifest, 2, seed=1)
        if len(set(units)) > 1
        else StageResult("", columns=manifest[["fold"]].assign(fold=""))
    )


def flag_stage(manifest: pd.DataFrame) -> StageResult:
    """flag on probabilities that depend on the path alone."""
    folded = manifest[manifest["fold"] != ""]
    probs = [
        np.random.default_rng(int(sha, 16) % 2**32).dirichlet([1, 1, 1]) for sha in folded["sha256"]
    ]
    table = pd.DataFrame(np.array(probs).reshape(-1, 3), columns=[f"p_{name}" for name in CLASSES])
    return flag.flag(manifest, [table])


def split_stage(manifest: pd.DataFrame) -> StageResult:
    """split where a row is kept."""
    if not (manifest["status"] == "keep").any():
        return StageResult("", columns=manifest[["split"]].assign(split=""))
    return split.split(manifest, (70, 15, 15), seed=3)


def source_split_stage(manifest: pd.DataFrame) -> StageResult:
    """split as shipped."""
    return split.split(manifest, from_source=True)


def stages(near: list[tuple[int, int]]) -> dict[str, Stage]:
    return {
        "dedup": group_stage(near),
        "fold": fold_stage,
        "flag": flag_stage,
        "split": split_stage,
    }


def run_chain(
    manifest: pd.DataFrame,
    near: list[tuple[int, int]],
    journal: list[Decision] | None = None,
) -> pd.DataFrame:
    for name, stage in stages(near).items():
        manifest = apply_result(manifest, stage(manifest), name, journal or [])
    return manifest


def write_journal(manifest: pd.DataFrame, wanted: list[tuple[int, str, str]]) -> list[Decision]:
    """A journal, one batch a decision; an undo voids the batch before it."""
    journal: list[Decision] = []
    for row, action, label in wanted:
        if action == "undo":
            journal += undo_batch(journal, journal[-1].batch, by="t") if journal else []
        else:
            path = manifest["path"].iat[row % len(manifest)]
            if manifest["pixel_hash"].iat[row % len(manifest)] == "" and action in (
                "keep",
                "relabel",
            ):
                continue  # refused: nobody can have seen it
            journal += new_decisions(manifest, [(path, action, label)], by="t")
    return journal


@given(manifests(), near_pairs, decided)
def test_law_1_no_stage_adds_or_loses_a_row(manifest, near, wanted):
    journal = write_journal(manifest, wanted)
    after = run_chain(derive_verdicts(manifest, journal), near, journal)
    assert list(after["path"]) == list(manifest["path"])
    assert list(after.columns) == list(NAMES)
    assert after[list(owned_by("build"))].equals(manifest[list(owned_by("build"))])
    check_rows(after)


@given(manifests(), near_pairs, decided)
def test_law_2_apply_twice_is_apply_once(manifest, near, wanted):
    journal = write_journal(manifest, wanted)
    once = derive_verdicts(run_chain(manifest, near), journal)
    assert derive_verdicts(once, journal).equals(once)


@given(manifests(), near_pairs, decided, st.integers(0, 11))
def test_law_3_the_undo_of_a_batch_restores_the_table_exactly(manifest, near, wanted, row):
    before_journal = write_journal(manifest, wanted)
    before = derive_verdicts(run_chain(manifest, near), before_journal)
    is_readable = before["pixel_hash"].iat[row % len(before)] != ""
    decided = (before["path"].iat[row % len(before)], "relabel" if is_readable else "drop", "sad")
    batch = new_decisions(before, [decided], by="t")
    journal = before_journal + batch
    undone = journal + undo_batch(journal, batch[0].batch, by="t")
    assert derive_verdicts(derive_verdicts(before, journal), undone).equals(before)
    redone = undone + undo_batch(undone, undone[-1].batch, by="t")
    assert derive_verdicts(before, redone).equals(derive_verdicts(before, journal))


@given(manifests(), near_pairs, st.randoms())
def test_law_4_shuffled_pairs_and_rows_give_the_same_output(manifest, near, random):
    expected = run_chain(manifest, near)
    shuffled = [
        pair[::-1] if random.random() < 0.5 else pair for pair in random.sample(near, len(near))
    ]
    assert run_chain(manifest, shuffled).equals(expected)
    order = random.sample(range(len(manifest)), len(manifest))
    again = manifest.iloc[order].sort_values("path", kind="stable", ignore_index=True)
    assert run_chain(again, near).equals(expected)


@given(manifests(), near_pairs, decided, st.booleans())
def test_law_5_no_group_subject_or_sequence_crosses_a_fold_or_a_split(
    manifest, near, wanted, from_source
):
    journal = write_journal(manifest, wanted)
    after = run_chain(derive_verdicts(manifest, journal), near, journal)
    if from_source and (after["status"] == "keep").any():
        after = apply_result(after, source_split_stage(after), "split", journal)
    for part, rows in (("fold", after), ("split", after[after["status"] == "keep"])):
        rows = rows[rows[part] != ""]
        for key in group_keys(rows).values():
            assert (rows[key != ""].groupby(key[key != ""])[part].nunique() <= 1).all()
    assert broken_laws(after) == []


@given(manifests(), near_pairs, decided, decided)
def test_law_6_a_redundant_copy_points_to_a_kept_row_with_the_same_label(
    manifest, near, wanted, later
):
    journal = write_journal(manifest, wanted)
    after = run_chain(derive_verdicts(manifest, journal), near, journal)
    journal = journal + write_journal(after, later)
    after = derive_verdicts(after, journal).set_index("path")
    copies = after[after["reason"].isin(["exact_copy", "near_copy"])]
    for _, row in copies.iterrows():
        original = after.loc[row["duplicate_of"]]
        assert (original["status"], original["label"]) == ("keep", row["label"])


@given(manifests(), near_pairs, decided)
def test_law_7_a_human_decision_survives_every_rerun_of_every_stage(manifest, near, wanted):
    journal = write_journal(manifest, wanted)
    after = run_chain(
        run_chain(derive_verdicts(manifest, journal), near, journal), [], journal
    ).set_index("path")
    standing = current_decisions(manifest, journal).by_path
    for path, decision in standing.items():
        if decision.action == "unsure":
            assert after.at[path, "reason"] != "human"
            continue
        given = manifest.set_index("path").at[path, "given_label"]
        assert after.at[path, "reason"] == "human"
        assert after.at[path, "status"] == ("drop" if decision.action == "drop" else "keep")
        assert after.at[path, "label"] == (
            decision.label if decision.action == "relabel" else given
        )


def read_folder(folder: Path) -> dict[str, bytes]:
    return {
        str(file.relative_to(folder)): file.read_bytes()
        for file in sorted(folder.rglob("*"))
        if file.is_file()
    }


@settings(max_examples=8)
@given(manifests(), near_pairs, st.booleans())
def test_laws_8_and_10_a_dry_run_writes_nothing_and_a_second_run_changes_no_byte(
    tmp_path_factory, manifest, near, dry_first
):
    root = tmp_path_factory.mktemp("laws")
    workspace = Workspace(root)
    write_manifest(workspace.manifest, manifest)
    for name, stage in stages(near).items():
        if dry_first:
            before = read_folder(root)
            run_stage(workspace, name, stage, input_columns=("given_label",), dry_run=True)
            assert read_folder(root) == before
        run_stage(workspace, name, stage, input_columns=("given_label",))
    if (workspace.read()["status"] == "keep").any():
        run_stage(workspace, "weights", weights.weights, input_columns=weights.INPUT_COLUMNS)
    first = read_folder(root)
    for name, stage in stages(near).items():
        run_stage(workspace, name, stage, input_columns=("given_label",))
    assert read_folder(root) == first
    shutil.rmtree(root)


def test_a_stage_that_writes_a_column_of_another_is_our_bug():
    manifest = make_manifest([{}, {}])
    with pytest.raises(AssertionError, match="does not own"):
        apply_result(manifest, StageResult("", columns=manifest[["label"]]), "split", [])


def test_a_torn_law_is_named_with_the_stage_that_mends_it():
    manifest = make_manifest([{"pixels": "a"}, {"pixels": "a"}])
    manifest = apply_result(manifest, group_stage([])(manifest), "dedup", [])
    torn = manifest.assign(fold=["0", "1"], split=["train", ""])
    torn = derive_verdicts(torn.assign(duplicate_of="", duplicate_kind=""), [])
    assert broken_laws(torn) == [
        "1 duplicate_group crosses a fold (first: s/000.png); run `curate fold` again",
        "1 kept row has no split (first: s/001.png); run `curate split` again",
    ]


def test_a_replaced_batch_name_keeps_two_people_apart():
    manifest = make_manifest([{}])
    first, second = (
        new_decisions(manifest, [("s/000.png", "drop", "")], by=name)[0] for name in "ab"
    )
    assert first.batch != second.batch
    assert replace(first, batch=second.batch, by="b", at=second.at) == second
