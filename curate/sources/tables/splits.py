"""Words for train, val and test in the datasets' tables, in any case.

FER2013's own are Training, PublicTest (validation) and PrivateTest (test).
"""

from collections.abc import Mapping
from pathlib import Path

from curate.sources.fer2013 import USAGES
from curate.sources.folder import SPLIT_NAMES, split_of

# The words of a column `Usage`.
USAGE_WORDS: Mapping[str, str] = {
    **{usage.lower(): split for usage, split in USAGES.items()},
    **{word: SPLIT_NAMES[word] for word in ("train", "val", "valid", "validation", "dev", "test")},
}


def usage_split(word: str) -> str:
    """The split of a word of a column `Usage`; empty for an unknown word."""
    return USAGE_WORDS.get(word.lower(), "")


def word_split(word: str) -> str:
    """The split of a word of any column of splits, as of a folder; empty for an unknown word."""
    return usage_split(word) or ("" if "/" in word or not word else split_of(Path(word)))
