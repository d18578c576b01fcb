"""The fields of curation.json: its name, its sources, how its tables are to be read.

In: the options of the user, an earlier curation in the folder, a manifest. Out: plain values of
JSON.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from curate.publish.curation import read_record
from curate.publish.descriptor import explain_descriptor
from curate.publish.schema import DIGITS, HASH_RULE, OCCURRENCE_RULE, RECORD, SCHEMA
from curate.sources.layout import LAYOUTS, load_layout
from curate.workspace.manifest import sources_of
from curate.workspace.receipts import list_versions

VERSION = "1.0"
LICENCE = "CC0-1.0"


@dataclass(frozen=True)
class PublishOptions:
    """What the user names of the curation; None: as in the curation that is there, or a default.

    Attributes
    ----------
    digits : of the pixel hashes in the tables, 16 to 64
    withdrawn : pixel hashes to be added to withdrawn.csv
    workers : processes that read the pictures
    """

    name: str | None = None
    version: str | None = None
    licence: str | None = None
    cite: str | None = None
    digits: int | None = None
    withdrawn: Sequence[str] = ()
    workers: int | None = None


def describe_curation(
    folder: Path, options: PublishOptions, sources: Sequence[str]
) -> dict[str, Any]:
    """The fields of the record that the user or an earlier publishing has set."""
    old = read_record(folder) if (folder / RECORD).is_file() else {}
    program = {"candid-fer": list_versions(["candid-fer"]).get("candid-fer", "")}
    known = {"name": "+".join(sorted(sources)), "version": VERSION, "licence": LICENCE, **old}
    chosen = {
        name: getattr(options, name) or known[name] for name in ("name", "version", "licence")
    }
    title = f"{chosen['name']} {chosen['version']}"
    # A citation of the earlier name or version is not one of this.
    cite = known.get("cite", "") if title in known.get("cite", "") else ""
    generated = f"{title}, a curation made with Candid {program['candid-fer']}".rstrip()
    digits = options.digits or known.get("pixel_sha256", {}).get("digits", DIGITS)
    return {
        "schema": SCHEMA,
        **chosen,
        "cite": options.cite or cite or generated,
        "program": program,
        "pixel_sha256": {"digits": digits, "of": HASH_RULE},
        "occurrence": OCCURRENCE_RULE,
        "descriptor": explain_descriptor(),
    }


def count_sources(manifest: pd.DataFrame, layouts: Mapping[str, str]) -> dict[str, Any]:
    """Source -> its layout, how it is recognised, rows, and rows per split and class."""
    found = {}
    for name, rows in manifest.groupby(sources_of(manifest["path"])):
        layout = layouts.get(str(name), "")
        counts: dict[str, dict[str, int]] = {}
        for (split, label), of_class in rows.groupby(["source_split", "given_label"]):
            counts.setdefault(str(split), {})[str(label)] = len(of_class)
        found[str(name)] = {
            "layout": layout,
            "recognised_by": load_layout(layout).RECOGNISED_BY if layout in LAYOUTS else "",
            "rows": len(rows),
            "unreadable": int((rows["pixel_hash"] == "").sum()),
            "counts": counts,
        }
    return found


def count_decisions(labels: pd.DataFrame) -> dict[str, int]:
    """Images with a current decision of a person, and of a machine."""
    people, machines = (labels[name] != "" for name in ("verdict", "machine_label"))
    return {"human": int(people.sum()), "machine": int(machines.sum())}
