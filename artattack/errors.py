"""The one error and the one warning users see, and the nearest valid word for a wrong one."""

import sys
import warnings
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


def warn_caller(doubt: str) -> None:
    """Warn of a doubt, at the line outside this package that asked for the work."""
    level, frame = 1, sys._getframe()
    while frame.f_back and frame.f_globals.get("__name__", "").partition(".")[0] == __package__:
        level, frame = level + 1, frame.f_back
    warnings.warn(doubt, UserWarning, stacklevel=level)
