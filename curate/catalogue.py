"""What each file that a program writes holds, for docs/reference.md and manifests/README.md.

Here are the files of a workspace; those of an export, a curation and a run are in
`curate.export.catalogue`, `curate.publish.catalogue` and `train.runs.catalogue`. Tests compare them
with what the programs write.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class WrittenFile:
    """One file, or the files of one kind.

    Attributes
    ----------
    name : path below the folder; `<…>` stands for any text
    writer : the command
    holds : what is in it, half a sentence
    deletion : what is lost if it is deleted; empty for a file that no command of ours needs
    columns : of a table, name -> meaning; `p_<class>` stands for one column a class
    """

    name: str
    writer: str
    holds: str
    deletion: str = ""
    columns: Mapping[str, str] = field(default_factory=dict)


_PROBABILITY = {"p_<class>": "probability of each class; they sum to 1 in a row"}
_AGAIN = "yes; its command makes it again"
_MANIFEST = {
    "path": "key: `<source>/<path under its folder>`; `#k` after it for the k-th face of a picture",
    "sha256": "of the file's bytes, for which alone a decision holds",
    "pixel_hash": "SHA-256 of shape and decoded pixels; empty if unreadable",
    "phash": "64-bit perceptual hash, equal to `imagehash.phash`; empty if unreadable",
    "width": "pixels of the face; empty if unreadable",
    "height": "pixels of the face; empty if unreadable",
    "box": "`x y w h` of the face in its picture, where the dataset gives one",
    "given_label": "the dataset's label as a canonical class; never changes",
    "source_label": "the label as shipped",
    "source_split": "train, val or test as shipped, or empty",
    "subject": "id of the person, where known; a subject never crosses folds or splits",
    "sequence": "id of the sequence, where known; it never crosses folds or splits",
    "votes": "JSON of crowd votes per class (`unknown` and `NF` too), where given",
    "quality": "`unreadable`, `blank`, `black_and_white`, `low_information`, `unlike_faces`",
    "duplicate_group": "first path of the group of copies, or empty",
    "duplicate_of": "the kept copy that makes this one redundant, or empty",
    "duplicate_kind": "`exact` or `near`; set where `duplicate_of` is",
    "label_conflict": "`true` where the group holds two given labels",
    "fold": "0 to K-1, or empty",
    "self_confidence": "what the models believe of the given label, 0 to 1; lower is more suspect",
    "issue_rank": "1 is the most suspect",
    "suggested_label": "the class believed most, if no other class is believed half as much",
    "issue": "`wrong` or `ambiguous` among the most suspect, or empty",
    "label": "the label that counts: the given one, a person's, or an accepted suggestion",
    "status": "`keep` or `drop`",
    "reason": "`human`, `machine` (an accepted suggestion), `unreadable`, `degenerate`, "
    "`exact_copy`, `near_copy`, or empty (kept as given)",
    "split": "train, val or test; a row that is dropped later no longer counts",
}

# Of the table that a data set card describes.
CARD_COLUMNS = ("path", "sha256", "given_label", "label", "status", "reason", "split")

WORKSPACE: tuple[WrittenFile, ...] = (
    WrittenFile(
        "manifest.csv",
        "build, then each stage",
        "one row per face image: every fact and verdict",
        "yes; `curate build` and the stages make it again",
        _MANIFEST,
    ),
    WrittenFile(
        "decisions.jsonl",
        "relabel, decide, undo, merge, apply",
        "the journal of human decisions, append-only",
        "**no: the only file that cannot be computed**",
    ),
    WrittenFile(
        "verdicts.json",
        "each writer of the manifest",
        "which journal the verdicts of the manifest were derived from, and their digest",
        "yes, but then a lost undo is not noticed",
    ),
    WrittenFile(
        "pairs.csv",
        "dedup, apply",
        "the verified copies",
        _AGAIN,
        {
            "path_a": "the first image of the pair, by path",
            "path_b": "the second",
            "score": "how equal the aligned pictures are, up to 1",
            "transform": "how the second was brought onto the first",
            "band": "`sure`: a copy; `look`: a person should look",
        },
    ),
    WrittenFile(
        "predictions/<model>.csv",
        "train oof, or any model of yours",
        "what a model believes of images that it did not learn from",
        _AGAIN,
        {
            "path": "path of the image",
            "model": "name of the model",
            "fold": "the fold that the model did not see, as in manifest.csv",
            **_PROBABILITY,
            "margin_auc": "how far ahead the given label was while the models learned the image",
            "within": "with `--within train`: `train` where the models learned, else empty",
        },
    ),
    WrittenFile(
        "predictions/posterior.csv",
        "flag",
        "what a person would call each image, learned from the verdicts",
        _AGAIN,
        {
            "path": "path of the image",
            **_PROBABILITY,
            "within": "if all predictions have it: `train` where models or verdicts learned",
        },
    ),
    WrittenFile(
        "issues.csv",
        "flag",
        "why each image has its rank",
        _AGAIN,
        {
            "path": "path of the image",
            "issue_rank": "1 is the most suspect",
            "given_label": "the label that the data set gives",
            "suggested_label": "the class believed instead, or empty",
            "issue": "`wrong` or `ambiguous` among the most suspect, or empty",
            "error_probability": "that the given label is wrong; empty before there are verdicts",
            "score": "what the images are ranked by; higher is more suspect",
            "margin": "belief in the given class less that in the best other one, -1 to 1",
            "members_against": "models that name another class, `2 of 3`",
            "pair_prior": "mean probability of the other class among images of this given label",
            "copies": "verified copies of the image",
            "copies_against": "those of them under another label",
            "margin_auc": "how far ahead the given label was while models learned the image",
            "verdict": "`wrong` or `right`, by a person or the crowd; empty without a verdict",
        },
    ),
    WrittenFile(
        "label_errors.csv",
        "flag",
        "estimated label errors per pair of classes",
        _AGAIN,
        {
            "given_label": "the label that the data set gives",
            "suggested_label": "what it should be",
            "low": "lower end of the interval, images",
            "count": "estimate, images",
            "high": "upper end of the interval, images",
        },
    ),
    WrittenFile(
        "class_weights.csv",
        "weights",
        "the weight of each class in the loss",
        _AGAIN,
        {
            "class": "name of the class",
            "count": "kept images of it in split train",
            "weight": "its factor; the mean weight of an image is 1",
        },
    ),
    WrittenFile(
        "map.csv",
        "train oof",
        "the map of the set that `curate report` draws",
        _AGAIN,
        {
            "path": "path of the image",
            "x": "its place across, 0 to 1; the unit means nothing",
            "y": "its place down",
        },
    ),
    WrittenFile(
        "leaks.csv",
        "audit --csv",
        "each held-out image that has a copy in train",
        _AGAIN,
        {
            "split": "which split leaks: `source_split` or `split`",
            "part": "val or test",
            "path": "the held-out image",
            "label": "its label",
            "copy": "its nearest copy in train",
            "copy_label": "the label of the copy",
            "kind": "exact, near, or group where both are copies of a third image only",
            "score": "of the verified pair, as in pairs.csv; empty for a group",
            "transform": "of the verified pair, as in pairs.csv; empty for a group",
            "same_label": "true or false",
        },
    ),
    WrittenFile("audit.html", "audit --html", "the leaks side by side", _AGAIN),
    WrittenFile("report.html", "report", "one page to look at", _AGAIN),
    WrittenFile("card/README.md", "card", "the data set card, for Hugging Face", _AGAIN),
    WrittenFile("card/croissant.json", "card", "the card for machines: Croissant 1.1", _AGAIN),
    WrittenFile(
        "card/images.csv",
        "card",
        "the images that the card describes, without pictures",
        _AGAIN,
        {name: _MANIFEST[name] for name in CARD_COLUMNS},
    ),
    WrittenFile(
        "sources.json",
        "build",
        "source name, where its images lie, its layout, how it was asked to be read",
        "yes; name the folders again",
    ),
    WrittenFile(
        "receipts/<stage>.json",
        "each stage, last of all",
        "options, what it read and wrote (SHA-256), counts, seconds, versions",
        "yes, but the stage counts as never run: run it again",
    ),
    WrittenFile(
        "images/<source>/<picture>",
        "build",
        "pictures made from pixel tables",
        "yes; `curate build` makes them again",
    ),
    WrittenFile(
        "runs/<run>/<file>",
        "train run, train evaluate and others",
        "a run and its scores",
        "yes, and with it how often its test was read",
    ),
    WrittenFile("previews/<recipe>.png", "train preview", "the first batch of a training", _AGAIN),
    WrittenFile("tuning/<recipe>/<file>", "train tune", "the trials of a search", _AGAIN),
    WrittenFile(
        "applied/<batch>/<file>",
        "apply",
        "what a curation has replaced, for the undo of the batch",
        "yes, but then an undo of the batch leaves the facts",
    ),
    WrittenFile(
        ".cache/<file>",
        "every command",
        "what can be made again: decoded pixels, finished folds, parts of an unfinished build, the "
        "index of a large workspace",
        "yes",
    ),
)
