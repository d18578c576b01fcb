"""Persons in file names: JAFFE, KDEF, CK+ and RaFD name theirs, in whatever folder the file lies.

    KA.AN1.39.tiff              JAFFE: person KA, expression AN
    AF01ANS.JPG                 KDEF: session A, person F01, expression AN, angle S
    S010_004_00000017.png       CK+: person S010, sequence 004
    Rafd090_01_Caucasian_female_angry_frontal.jpg     RaFD: person 01, expression angry

Comes in: a file name. Goes out: the person, and the sequence or expression where the name has it.
"""

import re
from dataclasses import dataclass

_CODES = "AF|AN|DI|FE|HA|NE|SA|SU"
# What copies append to a name: another suffix, a number, `_aug`.
_REST = r"(?![A-Za-z0-9]).*"
_JAFFE = re.compile(rf"([A-Z]{{2}})[._-]({_CODES})[0-9][._-][0-9]+{_REST}", re.IGNORECASE)
_KDEF = re.compile(rf"[AB]([FM][0-9]{{2}})({_CODES})(?:S|HL|HR|FL|FR)(?![A-Za-z]).*", re.IGNORECASE)
_CKPLUS = re.compile(rf"(S[0-9]{{2,3}})_([0-9]{{3}})_[0-9]+{_REST}", re.IGNORECASE)
_RAFD = re.compile(r"Rafd[0-9]+_([0-9]{2})_[a-z]+_[a-z]+_([a-z]+)_[a-z]+\..*", re.IGNORECASE)


@dataclass(frozen=True)
class Person:
    """Who a picture shows by its name; `sequence` and `expression` are empty where unnamed."""

    subject: str
    sequence: str = ""
    expression: str = ""


def find_person(name: str) -> Person | None:
    """The person that a file name has; None if it has none of these forms."""
    if match := _CKPLUS.fullmatch(name):
        return Person(match[1].upper(), sequence=match[2])
    for pattern in (_JAFFE, _KDEF):
        if match := pattern.fullmatch(name):
            return Person(match[1].upper(), expression=match[2].upper())
    if match := _RAFD.fullmatch(name):
        return Person(match[1], expression=match[2].lower())
    return None
