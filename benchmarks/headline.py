"""The few figures of the README, taken from the tables that the other scripts have written.

    python benchmarks/headline.py

In: the sections `near-duplicates FER2013`, `label-issues`, `recipes` and `posterior-crowd` of
RESULTS.md, `leakage` and `fer2013` of docs/fer2013.md. Out: the sections `facts` and `headline` of
the README. A figure whose table is missing ends the script; none is typed here.
"""

import re
from pathlib import Path

from results import FER2013, README, RESULTS, match_section, read_table, replace_section, to_table

HEADER = ("on FER2013", "with Candid", "otherwise", "`python benchmarks/…`")
VERDICTS = "200 at random"


def main() -> None:
    replace_section(README, "facts", describe_facts())
    replace_section(README, "headline", to_table(HEADER, list_rows()))


def list_rows() -> list[tuple[str, ...]]:
    """The rows of the table."""
    compare = (compare_copies, compare_leaks, compare_suspects, compare_labels, compare_scores)
    return [each() for each in compare]


def describe_facts() -> str:
    """What is wrong with FER2013, in three figures."""
    rows, surplus = find(FER2013, "leakage", r"dedup: ([\d,]+) rows, .*? ([\d,]+) surplus images")
    leaked, held_out = find_leaks("leakage", "source_split")
    agreement = read_rows("posterior-crowd")["0, given labels"][1]
    return (
        f"On FER2013 {share(surplus, rows)} of the images are surplus copies of others. Of the "
        f"official val and test images {share(leaked, held_out)} have a copy in train. The "
        f"majority of ten annotators agrees with {agreement} of its labels. Whoever splits such "
        "data at random, or trusts its labels, publishes scores that do not hold."
    ).replace(". ", ".\n")


def compare_copies() -> tuple[str, ...]:
    """Altered copies found, and how many of the pairs are true."""
    rows = read_rows("near-duplicates FER2013")
    ours = rows["candid, sure"]
    other = rows["imagehash.phash, distance <= 10 (imagededup's rule)"]
    what = "altered copies found; found pairs that are copies"
    others = f"{other[2]} %; {other[1]} %, imagededup's pHash"
    return what, f"{ours[2]} %; {ours[1]} %", others, "near_duplicates.py"


def compare_leaks() -> tuple[str, ...]:
    """Val and test images with a copy in train: of the official split, and of ours."""
    official, of_official = find_leaks("leakage", "source_split")
    ours, of_ours = find_leaks("fer2013", "split")
    what = "val and test images with a known copy in train"
    as_shipped = f"{official} of {of_official}, official split"
    return what, f"{ours} of {of_ours}", as_shipped, "fer2013_chain.py, leakage.py"


def compare_suspects() -> tuple[str, ...]:
    """Wrong labels by the strict rule among the first thousand of a ranking."""
    rows = read_rows("label-issues")
    column = 3
    best = max(
        (name for name in rows if name.startswith("cleanlab")), key=lambda n: rows[n][column]
    )
    ours, other = (f"{100 * float(rows[n][column]):.0f} %" for n in ("Candid combined", best))
    what = "wrong labels among the 1,000 most suspect"
    return what, ours, f"{other}, {best.replace('_', ' ')}", "label_issues.py"


def compare_labels() -> tuple[str, ...]:
    """Labels that agree with the crowd, before and after two hundred verdicts."""
    rows = read_rows("posterior-crowd")
    what = "labels that agree with ten annotators, after 200 verdicts"
    return what, rows[VERDICTS][1], f"{rows['0, given labels'][1]} as given", "posterior.py"


def compare_scores() -> tuple[str, ...]:
    """What a model scores on the official test images, and on those without a copy in train."""
    row = next(row for row in read_table(RESULTS, "recipes") if row[0] == "long")
    what = "accuracy of one model (`long`)"
    ours = f"{row[11]} % where no copy is in train"
    return what, ours, f"{row[8]} %, official test", "recipes.py"


def read_rows(section: str) -> dict[str, list[str]]:
    """First cell -> row, of the first table of a section of RESULTS.md."""
    found: dict[str, list[str]] = {}
    for row in read_table(RESULTS, section):
        found.setdefault(row[0], row)
    if not found:
        raise SystemExit(f"RESULTS.md has no section {section}: run the script that writes it")
    return found


def find_leaks(section: str, split: str) -> tuple[str, str]:
    """How many val and test rows of a split have a copy in train, and of how many."""
    pattern = rf" {split}: ([\d,]+) of ([\d,]+) val and test rows have a copy in train"
    return find(FER2013, section, pattern)


def find(file: Path, section: str, pattern: str) -> tuple[str, str]:
    """The two groups of a pattern in a section."""
    found = match_section(section).search(file.read_text())
    match = re.search(pattern, found[0]) if found else None
    if not match:
        raise SystemExit(f"{file.name}: section {section} has no `{pattern}`")
    return match[1], match[2]


def share(part: str, whole: str) -> str:
    """`6,552`, `35,887` -> `18.3 %`."""
    return f"{100 * int(part.replace(',', '')) / int(whole.replace(',', '')):.1f} %"


if __name__ == "__main__":
    main()
