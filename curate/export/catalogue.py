"""What each file of an export holds, for docs/reference.md; see `curate.catalogue`."""

from curate.catalogue import WrittenFile

_LABELS = {
    "path": "path of the image in manifest.csv",
    "file": "its picture: below the exported folder, or absolute in `export csv`",
    "label": "the label that counts",
    "split": "train, val or test; empty where there is none",
    "box": "only in `export csv`, if some face has one: x y w h of the face in its picture, pixels",
    "subject": "the person, if some image has one; with several sources SOURCE/PERSON",
    "sequence": "the clip of the person, alike",
    "p_<class>": "with `--format ferplus`: soft label, the share of the crowd's votes",
}

EXPORTS: tuple[WrittenFile, ...] = (
    WrittenFile("<table>.csv", "export csv", "the kept images", columns=_LABELS),
    WrittenFile(
        "labels.csv",
        "export folder",
        "the kept images; `curate build labels.csv` reads them with subject and sequence",
        columns={name: what for name, what in _LABELS.items() if name != "box"},
    ),
    WrittenFile(
        "<split>/metadata.csv",
        "export imagefolder",
        "the kept images of one split",
        columns={
            "file_name": "the picture, below the folder of the split",
            "label": _LABELS["label"],
            "manifest_path": _LABELS["path"],
            "subject": _LABELS["subject"],
            "sequence": _LABELS["sequence"],
            "p_<class>": _LABELS["p_<class>"],
        },
    ),
    WrittenFile(
        "<split>/<label>/<picture>", "export folder, imagefolder", "copies of the pictures"
    ),
    WrittenFile("export.json", "export", "the files of the export, which a later one may remove"),
)
