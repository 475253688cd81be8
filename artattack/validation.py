"""Validate input from files and command lines; report mistakes in one line."""

from __future__ import annotations

import math
import reprlib
from collections.abc import Callable, Iterator
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from artattack.distances import DISTANCES, default_budgets
from artattack.errors import ArtattackError, nearest, unknown

_MISTAKES_SHOWN = 3
_SHORT = reprlib.Repr()  # a value may be as large as a file
_SHORT.maxstring = _SHORT.maxother = 200
_PLAINLY = {  # pydantic's kinds of mistakes in the words of YAML
    "tuple_type": "a list is wanted",
    "dict_type": "a mapping is wanted",
    "model_type": "a mapping is wanted",
    "model_attributes_type": "a mapping is wanted",
    "too_short": "at least one is wanted",
    "finite_number": "a finite number is wanted",
}


def parse_number(text: str) -> float:
    """Read a finite number, or a quotient of two such as `8/255`.

    Raises:
        ArtattackError: the text is neither.
    """
    numerator, slash, denominator = text.partition("/")
    try:
        number = float(numerator) / float(denominator) if slash else float(numerator)
    except (ValueError, ZeroDivisionError):
        number = math.nan
    if not math.isfinite(number):
        raise ArtattackError(f"'{text}' is not a number; write one such as 0.03, 1e-3 or 8/255")
    return number


def as_list(value: Any) -> Any:
    """Return one value as a list of one; lists and tuples stay."""
    return value if isinstance(value, list | tuple) else [value]


def _each_once(names: tuple[str, ...]) -> tuple[str, ...]:
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"'{name}' is there twice")
    return names


def check_distance(distance: tuple[str, float], size: tuple[int, int] | None = None) -> tuple[str, float]:
    """Return a distance, a name and how far, as it is.

    Args:
        distance: a name in `artattack.distances.DISTANCES`, and a number in its unit.
        size: height and width of the images in pixels, where that is known.

    Raises:
        ArtattackError: no such distance, a number outside its range, or one that no two images of that size reach.
    """
    name, target = distance
    if name not in DISTANCES:
        raise unknown("distance", name, DISTANCES)
    if DISTANCES[name].untouched == 1:
        if not 0 < target < 1:
            raise ArtattackError(f"{name}={target:g}: a similarity lies between 0 and 1, and 1 is an untouched image")
    elif not 0 < target < math.inf:
        raise ArtattackError(f"{name}={target:g}: a distance is a finite number above 0")
    elif name == "linf" and target > 1:
        raise ArtattackError(f"linf={target:g}: values lie in [0, 1], and so does a distance{_of_levels(target)}")
    farthest = DISTANCES[name].farthest
    if size and farthest and target > (most := farthest(3 * math.prod(size))):
        raise ArtattackError(
            f"{name}={target:g}: two images of {size[0]} x {size[1]} px with values in [0, 1] are at most {most:.4g} "
            f"apart{_of_levels(target)}"
        )
    return distance


def _of_levels(target: float) -> str:
    """Return a hint for a distance that was written for values in 0..255."""
    return f"; did you mean {target:g}/255?"


def _distance(value: Any) -> Any:
    """Read `linf=8/255` as a name and a number."""
    if isinstance(value, str):
        name, equals, number = value.partition("=")
        if not equals:
            raise ArtattackError(f"'{value}' is no distance; write one such as linf=8/255 or ssim=0.8")
        return name.strip(), parse_number(number.strip())
    return value


def _budgeted(name: str) -> str:
    if name not in default_budgets():
        raise unknown("distance", name, default_budgets())
    return name


def _class_word(value: Any) -> Any:
    """Return a class as it is written, without spaces around it; YAML's 7 and 7.0 are numbers of classes."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, bool) or not isinstance(value, int | str) or not str(value).strip():
        raise ArtattackError("a class is written as its name, its wnid or its index; put names such as yes in quotes")
    return value.strip() if isinstance(value, str) else value


# A class of ImageNet's, by index, wnid or name, or of a model's own: which, is known with the model that is attacked.
ClassWord = Annotated[int | str, BeforeValidator(_class_word)]
ClassText = Annotated[str, BeforeValidator(lambda value: str(_class_word(value)))]  # likewise
Number = Annotated[float, BeforeValidator(lambda value: parse_number(value) if isinstance(value, str) else value)]
Numbers = Annotated[tuple[Number, ...], BeforeValidator(as_list)]
Names = Annotated[tuple[str, ...], BeforeValidator(as_list), Field(min_length=1), AfterValidator(_each_once)]
DistanceName = Annotated[str, AfterValidator(_budgeted)]  # of a distance that images can be brought to
Distance = Annotated[tuple[str, float], BeforeValidator(_distance), AfterValidator(check_distance)]
DistanceOrNone = Annotated[Distance | None, BeforeValidator(lambda value: None if value == "none" else value)]


class Section(BaseModel):
    """Base of every section of a file: unknown keys are errors, numbers are finite, values stay as they are."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, ser_json_inf_nan="constants")


def explain(error: ValidationError, where: Callable[[tuple[Any, ...]], tuple[str, type[BaseModel]]]) -> str:
    """Say in one line what pydantic found wrong: the first mistakes, each with its place and the nearest valid word.

    Args:
        error: pydantic's.
        where: from a path of keys to what people call the place, and the section that a key there belongs to.
    """
    shown = [" ".join(mistake.split()) for mistake in _mistakes(error, where)]  # keys and values may have line breaks
    more = f"; and {len(shown) - _MISTAKES_SHOWN} more" if len(shown) > _MISTAKES_SHOWN else ""
    return "; ".join(shown[:_MISTAKES_SHOWN]) + more


def _mistakes(error: ValidationError, where: Callable[[tuple[Any, ...]], tuple[str, type[BaseModel]]]) -> Iterator[str]:
    mistakes = error.errors()
    for mistake in mistakes:
        path, kind = mistake["loc"], mistake["type"]
        if kind == "too_short" and any(other["loc"][: len(path)] == path != other["loc"] for other in mistakes):
            continue  # pydantic does not count items that are wrong
        place, section = where(path)
        if kind == "extra_forbidden":
            valid = section.model_fields
            yield f"unknown key '{place}'{nearest(str(path[-1]), valid)} (valid: {', '.join(valid)})"
        else:
            message = _PLAINLY.get(kind) or mistake["msg"].removeprefix("Value error, ")
            given = "" if kind in {"missing", "value_error"} else f", not {_SHORT.repr(mistake['input'])}"
            if message[1:2].islower():  # not "ART's"
                message = message[0].lower() + message[1:]
            yield f"{place}: {message}{given}"
