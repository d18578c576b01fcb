"""Images without a face to see, sampled over the kinds of finding."""

from dataclasses import dataclass

import pandas as pd

from curate.reports.album import Album, Records, to_records
from curate.reports.sampling import take_over_kinds

SHOWN = 24


@dataclass(frozen=True)
class Degenerate:
    """Finding -> images, and some of them as records with `image`."""

    counts: dict[str, int]
    images: Records


def show_degenerate(manifest: pd.DataFrame, album: Album) -> Degenerate:
    """The images that inspect found, some of each kind."""
    found = manifest[manifest["quality"] != ""]
    counts = {str(name): int(count) for name, count in found["quality"].value_counts().items()}
    chosen = take_over_kinds(to_records(found), lambda row: row["quality"], SHOWN)
    images = [{**row, "image": album.show(row["path"])} for row in chosen]
    return Degenerate(dict(sorted(counts.items())), images)
