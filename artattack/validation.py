"""Validate input from files and command lines; report mistakes in one line."""

from __future__ import annotations

import reprlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from artattack.bound import Bound, in_words, parse_number
from artattack.distances import default_budgets
from artattack.errors import ArtattackError, nearest, unknown

_MISTAKES_SHOWN = 3
_SHORT = reprlib.Repr()  # a value may be as large as a file
_SHORT.maxstring = _SHORT.maxother = 200
_PLAINLY = {  # pydantic's error types in YAML's terms
    "tuple_type": "a list is wanted",
    "dict_type": "a mapping is wanted",
    "model_type": "a mapping is wanted",
    "model_attributes_type": "a mapping is wanted",
    "too_short": "at least one is wanted",
    "finite_number": "a finite number is wanted",
}


def as_list(value: Any) -> Any:
    """Return a single value as a list; lists and tuples are returned unchanged."""
    return value if isinstance(value, list | tuple) else [value]


def _each_once(names: tuple[str, ...]) -> tuple[str, ...]:
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"'{name}' is there twice")
    return names


def _distance(value: Any) -> Any:
    """Parse `linf=8/255` into a name and a number."""
    return Bound.parse(value) if isinstance(value, str) else value


def _as_bounds(value: Any) -> Any:
    """Return one bound, as text or as a pair, as a list; a list of bounds is returned unchanged."""
    is_pair = isinstance(value, list | tuple) and len(value) == 2 and isinstance(value[1], int | float)
    return [value] if is_pair else as_list(value)


def _in_order(balls: tuple[Bound, ...]) -> tuple[Bound, ...]:
    for ball in balls:
        ball.as_ball()
    if len(balls) > 1 and any(ball.distance != "psnr" for ball in balls):
        raise ArtattackError(f"{in_words(balls)}: several balls have to be in psnr")
    if len({ball.value for ball in balls}) < len(balls):
        raise ArtattackError(f"{in_words(balls)}: one is there twice")
    return tuple(sorted(balls, key=lambda ball: ball.value))


def _budgeted(name: str) -> str:
    if name not in default_budgets():
        raise unknown("distance", name, default_budgets())
    return name


def _class_word(value: Any) -> Any:
    """Return a class as stripped text; YAML's 7 and 7.0 are class numbers."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, bool) or not isinstance(value, int | str) or not str(value).strip():
        raise ArtattackError("a class is written as its name, its wnid or its index; put names such as yes in quotes")
    return value.strip() if isinstance(value, str) else value


# An ImageNet class by index, wnid or name, or a class of the attacked model, which resolves it later.
ClassWord = Annotated[int | str, BeforeValidator(_class_word)]
ClassText = Annotated[str, BeforeValidator(lambda value: str(_class_word(value)))]  # likewise
Number = Annotated[float, BeforeValidator(lambda value: parse_number(value) if isinstance(value, str) else value)]
Numbers = Annotated[tuple[Number, ...], BeforeValidator(as_list)]
Names = Annotated[tuple[str, ...], BeforeValidator(as_list), Field(min_length=1), AfterValidator(_each_once)]
DistanceName = Annotated[str, AfterValidator(_budgeted)]  # name of a distance with budgets
if TYPE_CHECKING:
    Distance = Bound
    Balls = tuple[Bound, ...]
else:  # text, or a name and a number
    _PAIR = Annotated[tuple[str, float], BeforeValidator(_distance)]
    Distance = Annotated[_PAIR, AfterValidator(lambda pair: Bound(*pair).checked())]
    # balls to project images onto, from large to small; several are in psnr
    Balls = Annotated[tuple[Distance, ...], BeforeValidator(_as_bounds), AfterValidator(_in_order)]
DistanceOrNone = Annotated[Distance | None, BeforeValidator(lambda value: None if value == "none" else value)]


def sides(least: int, most: int) -> BeforeValidator:
    """Return a validator of a size in pixels, a side or [height, width]; it turns two equal sides into one number.

    Args:
        least: smallest valid side.
        most: largest valid side.
    """

    def read(value: Any) -> Any:
        given = value if isinstance(value, list | tuple) else (value, value)
        whole = all(isinstance(side, int) and not isinstance(side, bool) for side in given)
        if value is not None and not (len(given) == 2 and whole and all(least <= side <= most for side in given)):
            raise ValueError(
                f"a size is a side or [height, width], in whole pixels from {least} to {most}, not {_SHORT.repr(value)}"
            )
        return value if value is None or given[0] != given[1] else given[0]

    return BeforeValidator(read)


class Section(BaseModel):
    """Base of every section of a file: unknown keys are errors, numbers are finite, values stay as they are."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, ser_json_inf_nan="constants")


def explain(error: ValidationError, where: Callable[[tuple[Any, ...]], tuple[str, type[BaseModel]]]) -> str:
    """Return pydantic's first errors in one line, each with its place and the nearest valid word.

    Args:
        error: the error from pydantic.
        where: function from a path of keys to a readable place, and the section that a key there belongs to.
    """
    shown = [" ".join(mistake.split()) for mistake in _mistakes(error, where)]  # keys and values may have line breaks
    more = f"; and {len(shown) - _MISTAKES_SHOWN} more" if len(shown) > _MISTAKES_SHOWN else ""
    return "; ".join(shown[:_MISTAKES_SHOWN]) + more


def _mistakes(error: ValidationError, where: Callable[[tuple[Any, ...]], tuple[str, type[BaseModel]]]) -> Iterator[str]:
    mistakes = error.errors()
    for mistake in mistakes:
        path, kind = mistake["loc"], mistake["type"]
        if kind == "too_short" and any(other["loc"][: len(path)] == path != other["loc"] for other in mistakes):
            continue  # pydantic does not count invalid items
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
