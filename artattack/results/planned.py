"""Planned images of each cell of a run, from run.json, compared with the images in its records."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Any

_SHOWN = 3  # images named in a message


def planned_keys(info: Mapping[str, Any]) -> list[str] | None:
    """Return the keys of a run's cells in the order of its plan, or None for a run that did not note them."""
    plan = info.get("cells")
    if not plan:
        return None
    every = (f"{variant}-{number:04d}" for variant in plan["variants"] for number in range(plan["batches"]))
    left_out = set(plan.get("left_out", ()))
    return [key for key in every if key not in left_out]


def planned_images(info: Mapping[str, Any]) -> dict[str, frozenset[str]]:
    """Return the images of each cell, by its key; empty for a run of a version that did not note them."""
    batches = [frozenset(batch) for batch in (info.get("cells") or {}).get("images", ())]
    return {key: batches[_batch(key)] for key in planned_keys(info) or ()} if batches else {}


def images_by_batch(found: Mapping[str, AbstractSet[str]]) -> dict[str, frozenset[str]]:
    """Return the expected images of each cell, for runs without a recorded plan: all images of any cell of its batch.

    Args:
        found: the images in the records of each cell, by key.
    """
    batches: dict[int, set[str]] = {}
    for key, images in found.items():
        batches.setdefault(_batch(key), set()).update(images)
    return {key: frozenset(batches[_batch(key)]) for key in found}


def amiss(planned: AbstractSet[str], unreadable: AbstractSet[str], found: AbstractSet[str]) -> str:
    """Return a description of missing and additional images of a cell, or "" if it matches the plan.

    Args:
        planned: the planned images of the cell.
        unreadable: images that could not be read, which no cell has.
        found: the images in its records.
    """
    lacks, more = sorted(planned - unreadable - found), sorted(found - (planned - unreadable))
    words = [f"{verb} {_named(images)}" for verb, images in (("lacks", lacks), ("has unplanned", more)) if images]
    return " and ".join(words)


def expected_rows(info: Mapping[str, Any], unreadable: Collection[str]) -> int | None:
    """Return the number of records of a complete run, or None if run.json does not have the plan.

    The number is one for each readable image, cell and classifier, and one for each unreadable image.

    Args:
        info: content of run.json.
        unreadable: the images that could not be read.
    """
    config, keys = info.get("config", {}), planned_keys(info)
    classifiers = config.get("benchmark", {}).get("classifiers")
    if keys is None or not classifiers:
        return None
    planned = planned_images(info)
    if planned:
        images = sum(len(batch.difference(unreadable)) for batch in planned.values())
    elif "images" in config and "left_out" not in info["cells"]:  # it holds the hashes of all files present
        images = len(info["cells"]["variants"]) * len(set(config["images"]).difference(unreadable))
    else:
        return None
    return images * len(classifiers) + len(unreadable)


def _batch(key: str) -> int:
    return int(key.rpartition("-")[2])


def _named(images: Sequence[str]) -> str:
    more = f" and {len(images) - _SHOWN} more" if len(images) > _SHOWN else ""
    return f"{', '.join(images[:_SHOWN])}{more}"
