"""card: a data set card, README.md, with croissant.json and the table of images that it describes.

In: a workspace, and what only a person knows of the data set. Out: a folder to send. Every figure
is of the workspace's tables and receipts, so the same workspace gives the same bytes. The parts are
those of datasheets.

References
----------
T. Gebru et al., Datasheets for Datasets, Communications of the ACM 2021
"""

import re
from datetime import date
from pathlib import Path

from curate.errors import UsageError, shorten
from curate.files import write_atomically
from curate.pages.cards import CARD, INTENDED_USE, mark_card, name_licence, require_own_card
from curate.pages.render import render_card
from curate.reports import card_sentences as sentences
from curate.reports.card_facts import CardFacts, gather_facts
from curate.reports.croissant import IMAGE_COLUMNS, IMAGES_FILE, CardOptions, describe_croissant
from curate.reports.snapshot import Snapshot
from curate.result import Result
from curate.workspace.manifest import export_bytes
from curate.workspace.workspace import Workspace

COMMAND = "curate card"
CROISSANT = "croissant.json"
# Hugging Face's names of sizes: below this many rows.
SIZES = (
    (1_000, "n<1K"),
    (10_000, "1K<n<10K"),
    (100_000, "10K<n<100K"),
    (1_000_000, "100K<n<1M"),
    (10_000_000, "1M<n<10M"),
)


def write_card(
    workspace: Workspace, options: CardOptions, *, out: Path | None = None, dry_run: bool = False
) -> Result:
    """Write README.md, croissant.json and images.csv.

    Parameters
    ----------
    out : the folder; None for `card` in the workspace

    Raises
    ------
    UsageError  if the day is none, or the page no web address
    ManifestError  if there is no manifest
    WorkspaceError  if the folder holds a README.md of somebody else, or a receipt is damaged
    """
    _require_valid(options)
    folder = out or workspace.root / "card"
    require_own_card(folder, COMMAND)
    snapshot = Snapshot(workspace.root)
    facts = gather_facts(snapshot)
    images = export_bytes(snapshot.read()[list(IMAGE_COLUMNS)])
    files = {
        IMAGES_FILE: images,
        CROISSANT: describe_croissant(facts, options, images),
        CARD: format_card(facts, options).encode(),
    }
    changed = [
        name for name in files if not dry_run and write_atomically(folder / name, files[name])
    ]
    never = [stage.name for stage in facts.stages if stage.state == "never"]
    missing = f"; not run: {', '.join(never)}" if never else ""
    name = options.name or facts.name
    summary = f"card: {name}, {facts.status.rows:,} images{missing} -> {folder / CARD}"
    counts = {"folder": str(folder), "changed": changed, "not_run": never}
    return Result(summary, counts)


def _require_valid(options: CardOptions) -> None:
    """Raise UsageError unless the day is a day and the page can be opened in a browser."""
    if options.published is not None:
        try:
            is_day = date.fromisoformat(options.published).isoformat() == options.published
        except ValueError:
            is_day = False
        if not is_day:
            raise UsageError(
                f"--published {shorten(options.published)}: must be a day, as 2026-11-26"
            )
    if options.url is not None and not re.fullmatch(r"https?://[^\s/]+\S*", options.url):
        raise UsageError(f"--url {shorten(options.url)}: must begin with https:// or http://")


def format_card(facts: CardFacts, options: CardOptions) -> str:
    """The text of README.md."""
    return render_card(
        "curate.reports",
        "card.md.j2",
        mark=mark_card(COMMAND),
        name=options.name or facts.name,
        licence=name_licence(options.licence),
        licence_name=options.licence or "",
        size=next((name for most, name in SIZES if facts.status.rows < most), "n>10M"),
        facts=facts,
        about=sentences.describe_set(facts),
        sections=list_sections(facts, options),
        not_known=sentences.NOT_KNOWN,
        intended_use=INTENDED_USE,
        images_file=IMAGES_FILE,
        croissant_file=CROISSANT,
    )


def list_sections(facts: CardFacts, options: CardOptions) -> dict[str, list[str]]:
    """Part of the datasheet -> its sentences."""
    named = {
        "Creator": options.creator,
        "Web page": options.url,
        "Published": options.published,
        "To be cited as": options.cite,
    }
    return {
        "composition": [
            sentences.describe_sizes(facts),
            sentences.describe_subjects(facts),
            sentences.describe_faces(facts),
            sentences.describe_copies(facts),
            *sentences.describe_leaks(facts),
        ],
        "collection": [sentences.describe_source(source) for source in facts.sources],
        "labelling": [
            *sentences.describe_annotators(facts),
            sentences.describe_machines(facts),
            sentences.describe_errors(facts),
        ],
        "uses": [sentences.describe_reads(facts)],
        "distribution": [
            sentences.describe_licence(options.licence),
            *(f"{what}: {text or 'nobody named it'}." for what, text in named.items()),
        ],
    }
