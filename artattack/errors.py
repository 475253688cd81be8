"""The one error users see, and the nearest valid word for it."""

from collections.abc import Iterable

from rapidfuzz import fuzz, process


class ArtattackError(ValueError):
    """Something the user can put right: one line that says what is wrong, where, and what to do."""


class DiskError(ArtattackError):
    """The disk does not take or give a file: whatever comes next would not be kept either."""


def nearest(word: str, valid: Iterable[str]) -> str:
    """Return `; did you mean 'X'?` for the valid word most like `word`, or an empty string."""
    match = process.extractOne(word.lower(), list(valid), scorer=fuzz.ratio, score_cutoff=60)
    return f"; did you mean '{match[0]}'?" if match else ""


def unknown(kind: str, word: str, valid: Iterable[str]) -> ArtattackError:
    """Build the error for a name that is not in a list of valid ones."""
    names = sorted(valid)
    return ArtattackError(f"unknown {kind} '{word}'{nearest(word, names)} (valid: {', '.join(names)})")
