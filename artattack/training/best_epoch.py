"""The best epoch of a training, and the epochs since; epochs without a finite loss are never best."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np


def best_epoch(losses: Iterable[float]) -> int | None:
    """Return the index of the first epoch with the lowest finite validation loss, or None without one."""
    found = np.array(list(losses), float)
    return int(np.nanargmin(np.where(np.isfinite(found), found, np.nan))) if np.isfinite(found).any() else None


def epochs_since_best(losses: Iterable[float]) -> int:
    """Return the number of epochs after the best one; without a finite loss, all of them."""
    known = list(losses)
    best = best_epoch(known)
    return len(known) if best is None else len(known) - 1 - best
