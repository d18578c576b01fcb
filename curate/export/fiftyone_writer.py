"""Writes one FiftyOne dataset: `python -m curate.export.fiftyone_writer ORDER.json`.

Comes in: the order, a JSON object with `target` (folder) and `rows`. Goes out: the dataset in the
folder. Started by `export.fiftyone` alone, in an environment of its own.
"""

import json
import sys
from pathlib import Path
from typing import Any

import fiftyone as fo

SOFT = "p_"  # prefix of the columns with soft labels


def main() -> None:
    """Write the dataset with its images, in place of an earlier one."""
    order = json.loads(Path(sys.argv[1]).read_bytes())
    dataset = fo.Dataset("curated")
    dataset.add_samples([_new_sample(row) for row in order["rows"]], progress=False)
    dataset.export(
        export_dir=order["target"],
        dataset_type=fo.types.FiftyOneDataset,
        export_media=True,
        overwrite=True,
        progress=False,
    )


def _new_sample(row: dict[str, Any]) -> fo.Sample:
    """One kept image.

    The split is a tag; `box` is the face in a picture of several; soft labels if the row has some.
    """
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
