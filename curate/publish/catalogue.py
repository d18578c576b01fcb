"""What each file of a published curation holds, for docs/reference.md; see `curate.catalogue`."""

from curate.catalogue import WrittenFile

_KEY = {
    "pixel_sha256": "hash of the shape and the decoded pixels",
    "given_label": "the label that the data set gives",
    "occurrence": "number among rows of equal pixels and label, from 0, in the order of the source",
}


CURATION: tuple[WrittenFile, ...] = (
    WrittenFile(
        "images.csv",
        "publish",
        "each readable image",
        columns={
            **_KEY,
            "place": "`<source>/<row>` of a pixel table, else `<source>/<file>`",
            "source_split": "train, val or test as shipped, or empty",
            "phash": "64-bit perceptual hash",
            "descriptor": "28 low frequencies, by which altered copies of the data set are matched",
            "group": "the same for copies of one photograph, or empty",
            "subject": "the same for images of one person or sequence, or empty",
            "quality": "finding of `inspect`, or empty",
            "status": "keep or drop",
            "reason": "why it is dropped",
            "copy_of": "place of the kept copy that makes this one redundant",
        },
    ),
    WrittenFile(
        "pairs.csv",
        "publish",
        "each verified pair",
        columns={
            "pixel_sha256_a": "hash of the first image",
            "place_a": "its place",
            "pixel_sha256_b": "hash of the second",
            "place_b": "its place",
            "score": "as in the workspace's pairs.csv",
            "transform": "as in the workspace's pairs.csv",
            "band": "as in the workspace's pairs.csv",
        },
    ),
    WrittenFile(
        "labels.csv",
        "publish",
        "each image that flag has ranked or somebody has decided about",
        columns={
            **_KEY,
            "suspicion_rank": "1 is the most suspect",
            "self_confidence": "what the models believe of the given label, 0 to 1",
            "error_probability": "that the given label is wrong, or empty",
            "suggested_label": "the class believed instead, or empty",
            "issue": "`wrong` or `ambiguous`, or empty",
            "verdict": "of a person: keep, relabel, drop or unsure",
            "verdict_label": "the label of the verdict",
            "verdict_by": "the reviewer",
            "machine_label": "the label of an accepted suggestion",
            "machine_by": "the models that made it",
        },
    ),
    WrittenFile(
        "splits/<split>.csv",
        "publish",
        "each image of one split",
        columns={**_KEY, "label": "the label that counts", "split": "train, val or test"},
    ),
    WrittenFile(
        "withdrawn.csv",
        "publish --withdraw",
        "each withdrawn picture",
        columns={"pixel_sha256": "hash of the picture"},
    ),
    WrittenFile(
        "curation.json",
        "publish",
        "name, version, licence, sources, how each number is made, SHA-256 and rows of every table",
    ),
    WrittenFile("README.md", "a person", "the page of the curation; no command writes it"),
)
