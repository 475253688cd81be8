"""Parameters of ART's attacks: names, ART's defaults, default step sizes, and distances.

Importing ART's classes would load TensorFlow, so their signatures are read from the installed source. A dry run thus
finds the same mistakes as a run.
"""

from __future__ import annotations

import ast
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from artattack.attacks.art_attacks import BaselineInfo
from artattack.attacks.options import LARGEST, step_within
from artattack.bound import Bound, parse_number
from artattack.errors import ArtattackError, unknown

# Summary writers write files; worker processes cannot receive a compiled estimator.
_CLOSED = frozenset({"summary_writer", "tensor_board", "parallel_pool_size"})
_NORMS: dict[Any, str] = {math.inf: "linf", "inf": "linf", 1: "l1", "1": "l1", 2: "l2", "2": "l2"}
_SIZES = 10  # radii that FGSM tries with `minimal`, from one step to the whole ball


@cache
def art_defaults(art_class: str) -> Mapping[str, Any]:
    """Return the parameters of one of ART's attacks, without the estimator, with ART's defaults.

    A parameter without a literal default has None.

    Raises:
        ArtattackError: the installed ART has no such class.
    """
    art = find_spec("art")
    places = art.submodule_search_locations if art else None
    for place in places or ():
        for path in sorted((Path(place) / "attacks" / "evasion").rglob("*.py")):
            source = path.read_text(encoding="utf-8")
            if re.search(rf"^class {art_class}\b", source, re.MULTILINE):
                return _signature(ast.parse(source), art_class)
    raise ArtattackError(f"the installed adversarial-robustness-toolbox has no attack {art_class}")


def _signature(module: ast.Module, art_class: str) -> dict[str, Any]:
    classes = (node for node in module.body if isinstance(node, ast.ClassDef) and node.name == art_class)
    made = (node for c in classes for node in c.body if isinstance(node, ast.FunctionDef) and node.name == "__init__")
    arguments = next(made).args
    names = [argument.arg for argument in arguments.args]
    defaults = [None] * (len(names) - len(arguments.defaults)) + [_literal(node) for node in arguments.defaults]
    return dict(list(zip(names, defaults, strict=True))[2:])  # without self and the estimator


def _literal(node: ast.expr) -> Any:
    if isinstance(node, ast.Attribute) and node.attr == "inf":  # np.inf
        return math.inf
    try:
        return ast.literal_eval(node)
    except ValueError:
        return None


def read_parameters(info: BaselineInfo, given: Mapping[str, Any], *, beside: Iterable[str] = ()) -> dict[str, Any]:
    """Return the arguments of ART's class: the user's, validated, over artattack's defaults.

    By default attacks are untargeted and quiet, and `eps_step` is a share of the radius (`default_step`): ART's own
    step, 0.1, is three times a radius of 8/255.

    Args:
        info: the attack.
        given: the user's parameters. Numbers may be written `8/255`.
        beside: further valid keys, for error messages.

    Raises:
        ArtattackError: a parameter is unknown or has the wrong type, or the attack has no ball in the given norm.
    """
    valid = _valid(info)
    values: dict[str, Any] = {name: False for name in ("verbose", "targeted") if name in valid} | dict(info.fixed)
    if not set(info.parameters) & set(given):
        values |= info.parameters
    for key, value in given.items():
        if key not in valid:
            raise unknown(f"parameter of attack '{info.name}'", key, (*valid, *beside))
        values[key] = value if key == "norm" else _read(valid[key], value, f"{key} of attack '{info.name}'")
    if info.norms and "norm" in values:
        if norm_word(values["norm"]) not in info.norms:
            raise ArtattackError(f"norm of attack '{info.name}': {values['norm']!r} is not one of {_balls(info)}")
        values["norm"] = {"1": 1, "2": 2}.get(values["norm"], values["norm"])
    step = default_step(info, values)
    return values if step is None or "eps_step" in given else values | {"eps_step": step}


def default_step(info: BaselineInfo, values: Mapping[str, Any]) -> float | None:
    """Return the default step size of an attack within a ball, in the ball's norm, or None without steps.

    It is 2.5 eps / max_iter, at most eps (Madry et al., ICLR 2018); eps for an attack that shortens its steps; and
    eps / 10 for FGSM with `minimal`, whose balls grow by one step.

    Args:
        info: the attack.
        values: its parameters; missing ones have ART's defaults.
    """
    valid = _valid(info)
    if not info.norms or "eps_step" not in valid:
        return None
    all_values = {**valid, **values}
    eps, count = all_values["eps"], all_values.get("max_iter")
    if not _is_number(eps):
        return None
    if info.shortens:
        return float(eps)
    if count is None:
        return eps / _SIZES if all_values.get("minimal") else None
    return step_within(eps, count) if _is_number(count) and count > 0 else None


def ball(info: BaselineInfo, values: Mapping[str, Any]) -> Bound | None:
    """Return the norm and radius of the ball that an attack with these parameters stays in, or None."""
    if not info.norms:
        return None
    all_values = {**_valid(info), **values}
    norm = norm_word(all_values.get("norm", math.inf))
    if norm is None or norm not in info.norms or not _is_number(all_values["eps"]):
        return None
    return Bound(norm, float(all_values["eps"]))


def distances(info: BaselineInfo, values: Mapping[str, Any]) -> Iterator[tuple[str, Bound]]:
    """Yield the name of each parameter that is a distance, and the distance.

    Args:
        info: the attack.
        values: the result of `read_parameters`; a missing radius has ART's default.
    """
    valid = _valid(info)
    norm = "norm" if "norm" in valid else "linf"
    named = {"eps": norm, "eps_step": norm} if info.norms else info.distances
    for parameter, said_by in named.items():
        value = values.get(parameter, valid.get(parameter) if parameter == "eps" else None)
        distance = norm_word(values.get(said_by, valid[said_by])) if said_by in valid else said_by
        if distance and _is_number(value):
            yield parameter, Bound(distance, abs(value) if parameter == "theta" else value)  # JSMA darkens if below 0
    inner = values.get("attacker_params")
    for parameter in ("eps", "eps_step"):  # of a universal perturbation's inner attack
        if isinstance(inner, Mapping) and _is_number(inner.get(parameter)):
            within = norm_word(inner.get("norm", math.inf))
            if within:
                yield f"attacker_params.{parameter}", Bound(within, inner[parameter])


def check_parameters(info: BaselineInfo, given: Mapping[str, Any], size: tuple[int, int] | None) -> dict[str, Any]:
    """Return the result of `read_parameters`, with all distances validated.

    Args:
        info: the attack.
        given: the user's parameters, as for `read_parameters`.
        size: (height, width) of the images in pixels, or None if unknown.

    Raises:
        ArtattackError: as for `read_parameters`, or a distance is out of range or larger than any image reaches.
    """
    values = read_parameters(info, given)
    for parameter, distance in distances(info, values):
        try:
            distance.checked(size)
        except ArtattackError as error:
            whose = "" if parameter in given or "." in parameter else ", ART's default"
            raise ArtattackError(f"{parameter} of attack '{info.name}'{whose}: {error}") from None
    return values


def with_budget(info: BaselineInfo, given: Mapping[str, Any], distance: str, budget: float) -> dict[str, Any]:
    """Return an attack's parameters with the budget as its `eps`.

    The norm follows from the distance. An `eps_step` given together with `eps` keeps its ratio to it; otherwise
    `default_step` applies.

    Args:
        info: the attack.
        given: the user's parameters, as for `read_parameters`.
        distance: one of the attack's `norms`.
        budget: the bound, in image units.
    """
    changed: dict[str, Any] = dict(given) | {"eps": budget}
    if "norm" in _valid(info):
        changed["norm"] = next(norm for norm, word in _NORMS.items() if word == distance)
    step = changed.pop("eps_step", None)
    if step is not None and "eps" in given:
        changed["eps_step"] = _number(step) / _number(given["eps"]) * budget
    return changed


def norm_word(norm: Any) -> str | None:
    """Return the name of the distance for one of ART's norms, such as `inf` or 2, or None."""
    return _NORMS.get(norm) if isinstance(norm, str | int | float) else None


def can_be_targeted(info: BaselineInfo) -> bool:
    """Return whether an attack can be targeted."""
    return info.always_targeted or "targeted" in _valid(info)


def _valid(info: BaselineInfo) -> dict[str, Any]:
    """Return the parameters that the user may set, with ART's defaults."""
    closed = _CLOSED | info.fixed.keys()
    return {name: default for name, default in art_defaults(info.art_class).items() if name not in closed}


def _balls(info: BaselineInfo) -> str:
    return ", ".join(str(norm) for norm, word in _NORMS.items() if word in info.norms and not isinstance(norm, str))


def _is_number(value: Any) -> bool:
    return (
        isinstance(value, int | float)
        and not isinstance(value, bool)
        and (isinstance(value, int) or math.isfinite(value))
    )


def _number(value: Any) -> float:
    return parse_number(value) if isinstance(value, str) else float(value)


def _read(default: Any, value: Any, what: str) -> Any:
    """Return a value as the type of its default, because ART's checks distinguish int from float."""
    if isinstance(value, Mapping):
        return {
            key: _read(0.0, inner, f"{what}: {key}") if _starts_as_number(inner) else inner
            for key, inner in value.items()
        }
    if isinstance(default, bool) or not isinstance(default, int | float) or isinstance(value, bool):
        return value
    if isinstance(value, str):
        try:
            value = parse_number(value)
        except ArtattackError as error:
            raise ArtattackError(f"{what}: {error}") from None
    if not isinstance(value, int | float):
        return value
    if isinstance(default, float):
        return float(max(-LARGEST, min(value, LARGEST)))  # whole numbers may be too large for a float
    if not isinstance(value, int) and not float(value).is_integer():
        raise ArtattackError(f"{what}: {value} is not a whole number")
    return int(value)


def _starts_as_number(value: Any) -> bool:
    return isinstance(value, str) and value[:1].isdigit()
