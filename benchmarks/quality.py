"""What `curate inspect` finds, against the crowd's verdict that an image shows no face.

    python benchmarks/quality.py WORKSPACE      (built with --votes and inspected)

An image shows no face if all ten annotators voted so (NF = 10), and perhaps none if five or more
did.
"""

import argparse
import json
from pathlib import Path

from results import RESULTS, describe_machine, replace_section, to_table

from curate.workspace.manifest import QUALITIES
from curate.workspace.workspace import Workspace


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("workspace", type=Path)
    manifest = Workspace(parser.parse_args().workspace).read()
    voted = manifest[manifest["votes"] != ""]
    not_a_face = voted["votes"].map(lambda text: json.loads(text).get("NF", 0))
    rows = []
    for name in (*QUALITIES, "any"):
        found = voted["quality"] != "" if name == "any" else voted["quality"] == name
        surely = int((found & (not_a_face == 10)).sum())
        perhaps = int((found & (not_a_face >= 5)).sum())
        every = int((not_a_face == 10).sum())
        rows.append([name, int(found.sum()), surely, perhaps, f"{100 * surely / every:.0f} %"])
    votes = ["no face (10 of 10)", "no face (5 of 10)", "recall of the 10 of 10"]
    table = to_table(["finding", "images with votes", *votes], rows)
    body = (
        f"Measured by `python benchmarks/quality.py` on {len(voted):,} images with votes; "
        f"{describe_machine()}."
    )
    replace_section(RESULTS, "quality", f"## Images without a face\n\n{body}\n\n{table}")
    print(table)


if __name__ == "__main__":
    main()
