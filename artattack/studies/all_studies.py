"""All studies, in the order in which they are listed."""

from __future__ import annotations

from artattack.errors import unknown
from artattack.studies import (
    architectures,
    art_attack,
    content_layers,
    cue_conflict,
    pooling,
    precision,
    shape_bias,
    style_layers,
    tv,
    weights,
)
from artattack.studies.study import Study

_IN_ORDER = (
    tv.STUDY,
    style_layers.STUDY,
    content_layers.STUDY,
    pooling.STUDY,
    architectures.STUDY,
    art_attack.STUDY,
    precision.STUDY,
    weights.STUDY,
    cue_conflict.STUDY,
    shape_bias.STUDY,
)
_STUDIES = {study.name: study for study in _IN_ORDER}


def studies() -> tuple[Study, ...]:
    """Return all studies."""
    return tuple(_STUDIES.values())


def find_study(name: str) -> Study:
    """Return the study of a name.

    Raises:
        ArtattackError: no study has that name.
    """
    if name not in _STUDIES:
        raise unknown("study", name, _STUDIES)
    return _STUDIES[name]
