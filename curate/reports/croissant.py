"""croissant.json: the data set for machines, in Croissant 1.1 with responsible-AI fields and PROV.

In: the facts of a card and the bytes of its table of images. Out: JSON-LD. Google's dataset search
and the library `mlcroissant` read it. What nobody named (url, creator, date) is left out, though
the specification wants it: nothing is made up.

References
----------
Croissant Format Specification 1.1, MLCommons 2025; Croissant RAI 1.0, 2024; PROV-O, W3C 2013
"""

import hashlib
import json
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from curate.catalogue import CARD_COLUMNS, WORKSPACE
from curate.pages.cards import INTENDED_USE
from curate.reports import card_sentences as sentences
from curate.reports.card_facts import CardFacts, Source, Stage

VERSIONS = ("http://mlcommons.org/croissant/1.1", "http://mlcommons.org/croissant/RAI/1.0")
IMAGES_FILE = "images.csv"
# Stages that read the table of images and change nothing in it.
AFTERWARDS = ("weights", "run", "evaluate")
# Columns of images.csv -> what they mean.
IMAGE_COLUMNS = {name: WORKSPACE[0].columns[name] for name in CARD_COLUMNS}
# As the specification's appendix and mlcroissant 1.1 have it, with PROV.
CONTEXT = {
    "@language": "en", "@vocab": "https://schema.org/", "arrayShape": "cr:arrayShape",
    "citeAs": "cr:citeAs", "column": "cr:column", "conformsTo": "dct:conformsTo",
    "containedIn": "cr:containedIn", "cr": "http://mlcommons.org/croissant/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"}, "dct": "http://purl.org/dc/terms/",
    "description": {"@container": "@language"}, "equivalentProperty": "cr:equivalentProperty",
    "examples": {"@id": "cr:examples", "@type": "@json"}, "extract": "cr:extract",
    "field": "cr:field", "fileObject": "cr:fileObject", "fileProperty": "cr:fileProperty",
    "fileSet": "cr:fileSet", "format": "cr:format", "includes": "cr:includes",
    "isArray": "cr:isArray", "isLiveDataset": "cr:isLiveDataset", "jsonPath": "cr:jsonPath",
    "key": "cr:key", "md5": "cr:md5", "name": {"@container": "@language"},
    "parentField": "cr:parentField", "path": "cr:path", "prov": "http://www.w3.org/ns/prov#",
    "rai": "http://mlcommons.org/croissant/RAI/", "recordSet": "cr:recordSet",
    "references": "cr:references", "regex": "cr:regex", "repeated": "cr:repeated",
    "replace": "cr:replace", "samplingRate": "cr:samplingRate", "sc": "https://schema.org/",
    "separator": "cr:separator", "source": "cr:source", "subField": "cr:subField",
    "transform": "cr:transform",
}  # fmt: skip


@dataclass(frozen=True)
class CardOptions:
    """What only a person knows of the data set; None where nobody named it.

    Attributes
    ----------
    name : None for the names of the sources
    published : a day, as 2026-11-26
    """

    name: str | None = None
    licence: str | None = None
    cite: str | None = None
    url: str | None = None
    creator: str | None = None
    published: str | None = None


def describe_croissant(facts: CardFacts, options: CardOptions, images: bytes) -> bytes:
    """The file, indented JSON.

    Parameters
    ----------
    images : the bytes of images.csv, which lies beside it
    """
    named = {
        "citeAs": options.cite,
        "url": options.url,
        "creator": options.creator and {"@type": "sc:Person", "name": options.creator},
        "datePublished": options.published,
    }
    record = {
        "@context": CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": list(VERSIONS),
        "name": options.name or facts.name,
        "description": sentences.describe_set(facts),
        "license": options.licence or "unknown",
        **{key: value for key, value in named.items() if value},
        "keywords": ["facial expression recognition", *(each.name for each in facts.classes)],
        "distribution": [_describe_file(images)],
        "recordSet": [_describe_images(), _describe_classes(facts)],
        **_describe_responsibility(facts),
        "prov:wasDerivedFrom": [_describe_source(source) for source in facts.sources],
        "prov:wasGeneratedBy": [
            _describe_activity(stage)
            for stage in facts.stages
            if stage.state != "never" and stage.name not in AFTERWARDS
        ],
    }
    return (json.dumps(record, indent=1, ensure_ascii=False) + "\n").encode()


def _describe_file(images: bytes) -> dict[str, Any]:
    return {
        "@type": "cr:FileObject",
        "@id": IMAGES_FILE,
        "name": IMAGES_FILE,
        "description": "One row an image, without its pixels.",
        "contentUrl": IMAGES_FILE,
        "contentSize": f"{len(images)} B",
        "encodingFormat": "text/csv",
        "sha256": hashlib.sha256(images).hexdigest(),
    }


def _describe_images() -> dict[str, Any]:
    """The record set of images.csv."""
    fields = []
    for name, meaning in IMAGE_COLUMNS.items():
        field = {
            "@type": "cr:Field",
            "@id": f"images/{name}",
            "name": name,
            "description": meaning,
            "dataType": ["sc:Text", "cr:Label"] if name == "label" else "sc:Text",
            "source": {"fileObject": {"@id": IMAGES_FILE}, "extract": {"column": name}},
        }
        fields.append(field)
    return {
        "@type": "cr:RecordSet",
        "@id": "images",
        "name": "images",
        "key": {"@id": "images/path"},
        "field": fields,
    }


def _describe_classes(facts: CardFacts) -> dict[str, Any]:
    """The record set of the class shares, with its records."""
    kinds = {"class": "sc:Text", "given": "sc:Integer", "kept": "sc:Integer"}
    fields = [
        {"@type": "cr:Field", "@id": f"classes/{name}", "name": name, "dataType": kind}
        for name, kind in kinds.items()
    ]
    data = [
        {"classes/class": each.name, "classes/given": each.given, "classes/kept": each.kept}
        for each in facts.classes
    ]
    return {
        "@type": "cr:RecordSet",
        "@id": "classes",
        "name": "classes",
        "description": "Images given as each class, and images kept under it.",
        "key": {"@id": "classes/class"},
        "field": fields,
        "data": data,
    }


def _describe_responsibility(facts: CardFacts) -> dict[str, Any]:
    """The fields of Croissant RAI: the sentences of the card."""
    demographics, consent, capture, annotators, maintenance = sentences.NOT_KNOWN
    shares = ", ".join(f"{each.name} {100 * each.kept_share:.1f} %" for each in facts.classes)
    return {
        "rai:dataCollection": " ".join(sentences.describe_source(each) for each in facts.sources),
        "rai:dataCollectionMissingData": capture,
        "rai:dataPreprocessingProtocol": [
            f"{stage.command}: {'has not run' if stage.state == 'never' else stage.state}"
            for stage in facts.stages
        ],
        "rai:dataAnnotationProtocol": [annotators, sentences.describe_machines(facts)],
        "rai:dataAnnotationAnalysis": sentences.describe_annotators(facts)[1:],
        "rai:annotationsPerItem": sentences.describe_annotators(facts)[0],
        "rai:annotatorDemographics": [annotators],
        "rai:dataBiases": [f"Shares of the classes among the kept images: {shares}.", demographics],
        "rai:dataLimitations": [
            sentences.describe_errors(facts),
            sentences.describe_copies(facts),
            *sentences.describe_leaks(facts),
            sentences.describe_faces(facts),
            sentences.describe_subjects(facts),
            sentences.describe_reads(facts),
        ],
        "rai:dataUseCases": list(INTENDED_USE[:1]),
        "rai:dataSocialImpact": " ".join(INTENDED_USE[1:]),
        "rai:personalSensitiveInformation": [sentences.SENSITIVE, consent],
        "rai:dataReleaseMaintenancePlan": maintenance,
    }


def _describe_source(source: Source) -> dict[str, Any]:
    return {
        "@id": f"urn:candid:source:{quote(source.name, safe='')}",
        "@type": "prov:Entity",
        "prov:label": sentences.describe_source(source),
    }


def _describe_activity(stage: Stage) -> dict[str, Any]:
    """A stage that ran, and the program that ran it."""
    options = json.dumps(stage.options, sort_keys=True, ensure_ascii=False)
    return {
        "@id": f"urn:candid:stage:{stage.name}",
        "@type": "prov:Activity",
        "prov:label": f"{stage.command} with {options}; {stage.state}",
        "prov:endedAtTime": stage.at,
        "prov:wasAssociatedWith": {
            "@type": "prov:SoftwareAgent",
            "prov:label": f"candid-fer {stage.version}".rstrip(),
        },
    }
