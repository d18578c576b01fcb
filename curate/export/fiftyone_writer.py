"""Writes one FiftyOne dataset: `python -m curate.export.fiftyone_writer ORDER.json`, started by `dataset` alone."""

import json
import sys
from pathlib import Path
from typing import Any

import fiftyone as fo

SOFT = "p_"


def main() -> None:
    """The dataset with its images, in place of an earlier one."""
    work = json.loads(Path(sys.argv[1]).read_bytes())
    dataset = fo.Dataset("curated")
    dataset.add_samples([_new_sample(row) for row in work["rows"]], progress=False)
    dataset.export(
        export_dir=work["target"],
        dataset_type=fo.types.FiftyOneDataset,
        export_media=True,
        overwrite=True,
        progress=False,
    )


def _new_sample(row: dict[str, Any]) -> fo.Sample:
    """One kept image: label, split as a tag, the face's box where its picture holds several, soft labels if asked for."""
    soft = {
        name.removeprefix(SOFT): float(value)
        for name, value in row.items()
        if name.startswith(SOFT)
    }
    return fo.Sample(
        filepath=row["file"],
        path=row["path"],
        label=fo.Classification(label=row["label"]),
        tags=[row["split"]] if row["split"] else [],
        box=[int(value) for value in row["box"].split()] or None,
        **({"soft_label": soft} if soft else {}),
    )


if __name__ == "__main__":
    main()
