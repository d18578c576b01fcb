"""The sentences of a data set card, for README.md and croissant.json alike.

In: the facts. Out: plain text; what is not known or has not run has a sentence too.
"""

from collections.abc import Sequence

from curate.errors import amount
from curate.pages.render import format_percent
from curate.reports.audit import Leak
from curate.reports.card_facts import CardFacts, Source, count_dropped
from curate.result import format_counts
from curate.review.agreement import Comparison

NOT_KNOWN = (
    "Age, gender, skin tone, origin and health of the persons: not known; no table holds them.",
    "Whether the persons have consented, and to what: not known.",
    "When, where and with which cameras the pictures were taken: not known.",
    "Who gave the labels of the sources, by which instructions and for which pay: not known.",
    "Who maintains the data set, and until when: not known.",
)
SENSITIVE = (
    "The images show faces, which are personal data: a person may be recognised by them. The table "
    "of images has no picture, but its paths may hold what the source wrote there, as a name."
)
SPLIT_NAMES = {"source_split": "the dataset's own split", "split": "the split of 'curate split'"}


def describe_set(facts: CardFacts) -> str:
    """Images, classes and sources in one sentence."""
    status = facts.status
    sources = ", ".join(source.name for source in facts.sources)
    return (
        f"Face images with an expression each, of {sources}: {amount(status.rows, 'image')}, "
        f"{status.kept:,} of them kept by Candid, in {len(facts.classes)} classes."
    )


def describe_source(source: Source) -> str:
    """Where the images of one source come from."""
    layout = f"read as layout {source.layout}" if source.layout else "its layout is not recorded"
    looks = f" ({source.looks_like})" if source.looks_like else ""
    return f"{source.name}: {amount(source.rows, 'image')}, {source.kept:,} kept; {layout}{looks}."


def describe_licence(licence: str | None) -> str:
    """The licence, or that nobody named one."""
    if licence:
        return f"Licence, as named by whoever wrote this card: {licence}."
    return (
        "Licence: unknown. Nobody named one to 'curate card --licence'; each source has terms of "
        "its own."
    )


def describe_annotators(facts: CardFacts) -> list[str]:
    """Annotators per image and their agreement: of the crowd, and of the reviewers."""
    crowd = facts.crowd
    sentences = ["Annotators per image of the sources: not known; they ship one label an image."]
    if crowd:
        sentences = [
            f"Crowd votes: {crowd.rows:,} of {facts.status.rows:,} images have them, "
            f"{crowd.fewest} to {crowd.most} an image (median {crowd.median:g}). The answer with "
            f"most votes has {format_percent(crowd.agreement)} of them in the mean; the given "
            f"label is that answer in {format_percent(crowd.majority)} of these images."
        ]
    if not facts.status.decisions:
        return [*sentences, "Reviewers of this curation: none; no person has decided on an image."]
    count = f"{facts.reviewers} with verdicts of their own"
    has = amount(facts.status.decisions, "image has", "images have")
    decided = f"{has} a person's decision that counts now"
    sentences.append(f"Reviewers of this curation: {count}; {decided}.")
    return [*sentences, *_describe_agreement(facts.comparison)]


def _describe_agreement(found: Comparison) -> list[str]:
    """Cohen's kappa of each pair, nobody named; of three and more, also the agreement of all."""
    sentences = []
    for number, pair in enumerate((each for each in found.pairs if each.images), 1):
        sentences.append(
            f"Pair {number} of reviewers: {amount(pair.images, 'image')} in common, "
            f"{pair.agreed:,} verdicts alike, Cohen's kappa {_number(pair.kappa)}."
        )
    if found.group:
        group = found.group
        sentences.append(
            f"All {group.reviewers} reviewers: Fleiss' kappa {_number(group.fleiss_kappa)} on "
            f"{amount(group.images_of_all, 'image')} that all judged, Krippendorff's alpha "
            f"{_number(group.krippendorff_alpha)} on {group.images_of_two:,} that two and more did."
        )
    if found.disagreements or found.settled:
        sentences.append(
            f"Images on which reviewers disagree: {len(found.disagreements):,}; settled by a "
            f"consensus: {found.settled:,}."
        )
    return sentences


def _number(value: float | None) -> str:
    return "not defined" if value is None else f"{value:.2f}"


def describe_machines(facts: CardFacts) -> str:
    """Labels that a machine gave."""
    labels = facts.status.machine_labels
    if not labels:
        return "Labels given by a machine without a look: none."
    right, total = facts.status.machine_right, sum(labels.values())
    expected = "" if right is None else f"; about {right:,} of them right by the class posterior"
    return f"Labels given by a machine without a look: {total:,}{expected}."


def describe_errors(facts: CardFacts) -> str:
    """The estimated number of wrong labels, with its interval if there is one."""
    errors = facts.status.errors
    if facts.state_of("flag") == "never" or not errors:
        return "Wrong labels: not estimated; 'curate flag' has not run."
    stale = _note_stale(facts, "flag")
    if "errors_left" not in errors:
        return (
            f"Wrong labels: the models call {errors['errors']['count']:,} given labels wrong. This "
            "has no interval: no random sample was judged ('curate relabel --random 200', then "
            f"'curate flag').{stale}"
        )
    left, right = errors["errors_left"], errors.get("right")
    text = (
        f"Wrong labels: about {left['count']:,} of the kept labels that no person has decided "
        f"(95 % interval {left['low']:,} to {left['high']:,})"
    )
    if right:
        now = right["now"]
        text += (
            f"; {now['count']:,} of {right['rows']:,} kept labels are expected to be right "
            f"({now['low']:,} to {now['high']:,})"
        )
    return f"{text}, as the reviewers would label them.{stale}"


def describe_copies(facts: CardFacts) -> str:
    """Copies, and copies under two labels."""
    if facts.state_of("dedup") == "never":
        return "Copies: not searched; 'curate dedup' has not run."
    exact, near = (count_dropped(facts, [name]) for name in ("exact_copy", "near_copy"))
    return (
        f"Copies: {exact:,} exact and {near:,} near copies were dropped; "
        f"{facts.conflicts:,} images are in groups of copies under two given "
        f"labels.{_note_stale(facts, 'dedup')}"
    )


def describe_leaks(facts: CardFacts) -> list[str]:
    """Held-out images with a copy in train, by split, or why they are not known."""
    if facts.no_leaks:
        return [f"Leaks: not known. {facts.no_leaks}"]
    found = []
    for split, name in SPLIT_NAMES.items():
        leaks = [leak for leak in facts.leaks if leak.split == split]
        if leaks:
            found.append(_describe_leak(leaks, name))
    return found


def _describe_leak(leaks: Sequence[Leak], name: str) -> str:
    rows, copies, exact = (
        sum(getattr(leak, key) for leak in leaks) for key in ("rows", "copies", "exact")
    )
    share = f" ({format_percent(copies / rows)})" if rows else ""
    return (
        f"Leaks in {name}: {copies:,} of {rows:,} val and test images{share} have a copy in train, "
        f"{exact:,} of them an exact one."
    )


def describe_faces(facts: CardFacts) -> str:
    """Images without a face to see."""
    if facts.state_of("inspect") == "never":
        return "Images without a face to see: not searched; 'curate inspect' has not run."
    findings = format_counts(dict(sorted(facts.qualities.items()))) or "none found"
    return f"Images without a face to see: {findings}.{_note_stale(facts, 'inspect')}"


def describe_subjects(facts: CardFacts) -> str:
    """Whether persons are known, who must not cross a split."""
    if facts.subjects:
        return (
            f"Persons named by the sources: {facts.subjects:,}; no split of 'curate split' parts "
            "the images of one."
        )
    return "Persons: the sources name none, so a person may be in several splits."


def describe_reads(facts: CardFacts) -> str:
    """How often the test images were read to score a model of this workspace."""
    if not facts.reads:
        return "Reads of test: none by a run of this workspace."
    total = sum(count for _, count in facts.reads)
    return f"Reads of test: {total:,}, by {amount(len(facts.reads), 'run')} of this workspace."


def describe_sizes(facts: CardFacts) -> str:
    """The sides of the images."""
    if facts.sides is None:
        return "Size of the images: not known; none can be read."
    low, high = facts.sides
    return f"Sides of the faces: {low} to {high} pixels." if low < high else f"Sides: {low} pixels."


def _note_stale(facts: CardFacts, stage: str) -> str:
    """A further sentence if an input of the stage has changed since it ran."""
    stale = f" An input has changed since: run 'curate {stage}' again."
    return stale if facts.state_of(stage) == "stale" else ""
