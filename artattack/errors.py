"""The one error and the one warning users see, and the nearest valid word for a wrong one."""

import sys
import warnings
from collections.abc import Iterable

from rapidfuzz import fuzz, process


class ArtattackError(ValueError):
    """Something the user can put right: one line that says what is wrong, where, and what to do."""


class DiskError(ArtattackError):
    """The disk does not take or give a file: whatever comes next would not be kept either."""


_LONGEST = 500  # characters of another library's message


def one_line(error: BaseException, *, typed: bool = False) -> str:
    """Return what an exception says on one line; libraries' messages may be pages long.

    Args:
        error: it. Of an OSError, the system's words count.
        typed: whether the exception's type stands first, unless it is an ArtattackError.
    """
    system = isinstance(error, OSError) and not typed and error.strerror
    message = " ".join((system or str(error)).split())
    if typed and not isinstance(error, ArtattackError):
        message = f"{type(error).__name__}: {message}" if message else ""
    message = message or type(error).__name__
    return message if len(message) <= _LONGEST else f"{message[:_LONGEST]}..."


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
