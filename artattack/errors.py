"""The error and the warning that users see, and the nearest valid word for a wrong one."""

import sys
import warnings
from collections.abc import Iterable

from rapidfuzz import fuzz, process


class ArtattackError(ValueError):
    """A mistake that the user can correct: one line with the mistake, its place and the remedy."""

    def __str__(self) -> str:
        """Return the line, with escapes for control characters, which names in a user's files may contain."""
        return "".join(c if c.isprintable() else repr(c)[1:-1] for c in super().__str__())


class DiskError(ArtattackError):
    """A file cannot be written or read, so a run cannot continue: later files would fail, too."""


_LONGEST = 500  # maximum number of characters of another library's message


def one_line(error: BaseException, *, typed: bool = False) -> str:
    """Return an exception's message in one line; libraries' messages may be pages long.

    Args:
        error: the exception. For an OSError, the line is the system's message.
        typed: whether the line begins with the exception's type, unless it is an ArtattackError.
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
    """Warn of a doubt; the warning points to the line outside this package that called it."""
    level, frame = 1, sys._getframe()
    while frame.f_back and frame.f_globals.get("__name__", "").partition(".")[0] == __package__:
        level, frame = level + 1, frame.f_back
    warnings.warn(doubt, UserWarning, stacklevel=level)
