"""The benchmark file, typed and validated. Every default of the product stands here, but for a distance's budgets."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    Tag,
    ValidationError,
    field_validator,
    model_validator,
)

from artattack.attacks.baselines import baseline_info
from artattack.distances import DISTANCES
from artattack.errors import ArtattackError, nearest
from artattack.inputs.image_sets import image_set_infos
from artattack.inputs.styles import style_names
from artattack.models.registry import model_infos
from artattack.validation import parse_number

CONTROLS = ("noise", "blur", "jpeg", "colour", "blend", "random-backbone")
STYLE_CONTROLS = ("blend", "random-backbone")  # those that need a style, and so a style attack whose it is
OWN_ATTACKS = ("style", *CONTROLS)


def _as_list(value: Any) -> Any:
    return value if isinstance(value, list | tuple) else [value]


Number = Annotated[float, BeforeValidator(lambda value: parse_number(value) if isinstance(value, str) else value)]


def _each_once(names: tuple[str, ...]) -> tuple[str, ...]:
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"'{name}' is there twice")
    return names


Names = Annotated[tuple[str, ...], BeforeValidator(_as_list), Field(min_length=1), AfterValidator(_each_once)]

Numbers = Annotated[tuple[Number, ...], BeforeValidator(_as_list)]


class Strict(BaseModel):
    """Base of every section: unknown keys are errors, values cannot change afterwards."""

    model_config = ConfigDict(extra="forbid", frozen=True, ser_json_inf_nan="constants")


def _distance(value: Any) -> Any:
    """Read `linf=8/255` as a name and a number."""
    if isinstance(value, str):
        name, equals, number = value.partition("=")
        if not equals:
            raise ArtattackError(f"'{value}' is no distance; write one such as linf=8/255 or ssim=0.8")
        return name.strip(), parse_number(number.strip())
    return value


Distance = Annotated[tuple[str, float], BeforeValidator(_distance)]


class Images(Strict):
    """Which images, and the square they are cut to."""

    set: str = Field("samples", description="image set: a name, a folder or a CSV manifest")
    size: int = Field(224, ge=32, description="side of the square images attacked and scored, in pixels")
    crop: float = Field(0.875, gt=0, le=1, description="side of the central square kept, over the short side")
    limit: PositiveInt | None = Field(None, description="at most so many images, evenly spread over the set")
    label_space: str | list[str | int] | None = Field(
        None,
        description="classes of the set, where fewer than ImageNet's: own (those of its labels), a list, or a text "
        "file. Logits are restricted to those shared",
    )


class ModelSpec(Strict):
    """A model under a name of the user's own: a registry name or a local file, and how to use it."""

    model: str = Field(description="a registry name, or the path of a .keras, .h5 or SavedModel file")
    weights: str | None = Field(None, description="imagenet, bundled, random, or a path; default: the model's own")
    preprocessing: str | dict[str, Any] | None = Field(None, description="for a local file: what it expects")
    label_space: str | list[str | int] | None = Field(None, description="for a local file: its classes in order")
    input_size: PositiveInt | None = Field(None, description="side of the images it classifies, in pixels")

    def arguments(self) -> dict[str, Any]:
        """What `artattack.load_model` takes."""
        return {"spec": self.model, **self.model_dump(exclude={"model"})}


class StyleOptions(Strict):
    """Options of the style attack; the same names in Python, benchmark files and on the command line."""

    steps: PositiveInt = Field(60, description="optimiser steps")
    learning_rate: PositiveFloat = Field(0.02, description="size of a step, in image units")
    optimizer: Literal["adam", "lbfgs"] = Field("adam", description="adam, or SciPy's L-BFGS-B, one image at a time")
    init: Literal["content", "noise"] | Path = Field("content", description="start: content, noise or an image file")
    style_weight: float = Field(1.0, ge=0, description="weight of the style loss")
    content_weight: float = Field(1.0, ge=0, description="weight of the content loss; 0 is style only")
    tv_weight: float = Field(0.3, ge=0, description="weight of the anisotropic total variation")
    style_layers: Names | None = Field(None, description="layers for style: names, binary:K, conv:K, binary:*, conv:*")
    style_layer_weights: Numbers | None = Field(None, description="weight of each style layer; default: all alike")
    content_layers: Names | None = Field(None, description="layers for content, named likewise")
    statistics: Literal["gram", "mean-variance", "histogram"] = Field("gram", description="what style is measured by")
    pooling: Literal["max", "average"] = Field("max", description="average: in the place of max pooling")
    surrogate: str | None = Field(
        None, description="gradient through sign(): identity, approx-sign, swish-sign, tanh:T"
    )
    parametrization: Literal["pixel", "fourier"] = Field("pixel", description="what is optimised")
    jitter: NonNegativeInt = Field(0, description="random shift under the network at each step, up to so many pixels")
    budget: Distance | None = Field(None, description="ball held to at every step: linf=8/255 or l2=5")
    match: Distance | None = Field(None, description="distance met at the end: l2=5, linf=8/255, ssim=0.8, delta_e=10")
    mask: Path | None = Field(None, description="image, white where pixels may change")
    style_mask: Path | None = Field(None, description="image, white where the style image counts")
    guide_weight: float = Field(1.0, ge=0, description="weight of the loss that leads guides astray")
    guide_loss: Literal["margin", "cross-entropy"] = Field("margin", description="which loss that is")
    confidence: float = Field(1.0, ge=0, description="logit margin at which the margin loss is content")
    temperature: PositiveFloat = Field(1.0, description="what guides' logits are divided by in that loss")
    views: NonNegativeInt = Field(0, description="random resizes, shifts and noises the guides see at each step")
    target: str | None = Field(None, description="ImageNet class guides are led to; default: away from what they see")
    early_stop: bool = Field(False, description="stop an image once every guide is astray, at the least distance")
    precision: Literal["float32", "bfloat16"] = Field("float32", description="of the convolutions, on a CPU")


class Entry(Strict):
    """What every attack entry has."""

    attack: str = Field(description="style, a control, or an ART attack by short name or class name")
    name: str = Field("", description="what the tables call it; default: the attack's name")

    @model_validator(mode="after")
    def _named(self) -> Self:
        if not self.name:
            object.__setattr__(self, "name", self.attack)
        return self


class StyleEntry(Entry, StyleOptions):
    """Style transfer: one variant for each backbone and style. `a+b` blends two styles."""

    backbone: Names = Field(("quicknet_tiny",), description="models whose features say what style is")
    style: Names = Field(("stained-glass", "waves"), description="styles: names or files")
    guide: Names | None = Field(None, description="classifiers led astray while style is transferred, all at once")

    @property
    def options(self) -> StyleOptions:
        """The options of the attack, without the entry's other keys."""
        return StyleOptions(**{name: getattr(self, name) for name in StyleOptions.model_fields})

    @property
    def parameters(self) -> dict[str, Any]:
        """What the records say of the attack."""
        return {"guide": self.guide, **self.options.model_dump(mode="json")}


class BaselineEntry(Entry):
    """One of ART's evasion attacks, with ART's own parameter names: one variant for each source."""

    model_config = ConfigDict(extra="allow", frozen=True)
    source: Names = Field(description="models whose gradients or outputs the attack reads")

    @field_validator("attack")
    @classmethod
    def _known(cls, attack: str) -> str:
        try:
            baseline_info(attack)
        except ArtattackError as error:
            hint = nearest(attack, OWN_ATTACKS)
            raise ValueError(f"unknown attack '{attack}'{hint}" if hint else str(error)) from error
        return attack

    @property
    def parameters(self) -> dict[str, Any]:
        """ART's parameters, with numbers such as `8/255` read."""
        return {key: _number_or_word(value) for key, value in (self.__pydantic_extra__ or {}).items()}


DEFAULT_BUDGETS = {name: distance.budgets for name, distance in DISTANCES.items() if distance.budgets}


def _budgeted(name: str) -> str:
    """Accept the name of a distance that images can be brought to."""
    if name not in DEFAULT_BUDGETS:
        hint = nearest(name, DEFAULT_BUDGETS)
        raise ValueError(f"unknown distance '{name}'{hint} (one of {', '.join(DEFAULT_BUDGETS)})")
    return name


class ControlEntry(Entry):
    """A perturbation with no adversary in it, at the distance of other entries' perturbations, image by image."""

    like: Names | None = Field(None, description="entries whose distance it copies; default: all it can")
    distance: Annotated[str, AfterValidator(_budgeted)] = Field("l2", description="which distance that is")

    @property
    def parameters(self) -> dict[str, Any]:
        """What the records say of the control."""
        return {"distance": self.distance}


class CleanEntry(Entry):
    """The images as they are, so that natural mistakes stand beside the attacks. Part of every benchmark."""

    attack: Literal["clean"] = "clean"

    @property
    def parameters(self) -> dict[str, Any]:
        """What the records say: nothing."""
        return {}


def _number_or_word(value: Any) -> Any:
    if isinstance(value, str) and value[:1].isdigit():
        return parse_number(value)
    return value


def _kind(value: Any) -> str:
    attack = value.get("attack") if isinstance(value, dict) else getattr(value, "attack", None)
    return "style" if attack == "style" else "control" if attack in CONTROLS else "baseline"


AttackEntry = Annotated[
    Annotated[StyleEntry, Tag("style")]
    | Annotated[ControlEntry, Tag("control")]
    | Annotated[BaselineEntry, Tag("baseline")],
    Discriminator(_kind),
]

_DEFAULT_SOURCES = ("quicknet_tiny", "efficientnet_lite0")
_DEFAULT_ATTACKS: tuple[Any, ...] = (
    StyleEntry(attack="style"),
    BaselineEntry(attack="fgsm", source=_DEFAULT_SOURCES, eps="8/255"),
    BaselineEntry(attack="pgd", source=_DEFAULT_SOURCES, eps="8/255", eps_step="2/255", max_iter=10),
    ControlEntry(attack="noise"),
    *(ControlEntry(attack=name, like="style") for name in ("blur", "jpeg", "colour", "blend")),
)


def _budgets(value: Any) -> Any:
    """Read `l2`, `[l2, ssim]` or `{l2: [5, 10]}`; a distance without budgets gets the default ones."""
    if isinstance(value, str | list | tuple):
        value = dict.fromkeys(map(str, _as_list(value)))
    if not isinstance(value, dict):
        return value
    for name in value:
        _budgeted(str(name))
    return {name: DEFAULT_BUDGETS[name] if budgets is None else budgets for name, budgets in value.items()}


def _ascending(budgets: tuple[float, ...]) -> tuple[float, ...]:
    if not budgets or min(budgets) <= 0:
        raise ValueError("budgets are numbers above 0")
    return tuple(sorted(set(budgets)))


Budgets = Annotated[dict[str, Annotated[Numbers, AfterValidator(_ascending)]], BeforeValidator(_budgets)]


class Benchmark(Strict):
    """A whole benchmark: images, classifiers, attacks. With no file, the default one."""

    name: str = Field("default", pattern=r"^[\w.-]+$", description="names the run folder")
    seed: int = Field(0, ge=0, lt=2**32, description="every random choice follows from it")
    batch_size: PositiveInt = Field(10, description="images attacked at once")
    images: Images = Images()
    models: dict[str, ModelSpec] = Field({}, description="models of one's own, by the name used below")
    classifiers: Names = Field(_DEFAULT_SOURCES, description="models that are scored")
    attacks: tuple[AttackEntry, ...] = Field(_DEFAULT_ATTACKS, min_length=1)
    compare: Budgets = Field({}, description="distances and budgets at which all attacks and controls are compared")
    feature_model: str = Field("efficientnet_lite0", description="model in whose features images are compared")
    parquet: bool = Field(False, description="write records.parquet beside records.csv, for large runs")

    @field_validator("attacks")
    @classmethod
    def _distinct(cls, attacks: tuple[Entry, ...]) -> tuple[Entry, ...]:
        names = [entry.name for entry in attacks]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"two entries are called '{name}': give each a `name` of its own")
        if "clean" in names:
            raise ValueError("'clean' is the name of the untouched images: give the entry another `name`")
        for entry in attacks:
            if not isinstance(entry, ControlEntry):
                continue
            kind = StyleEntry if entry.attack in STYLE_CONTROLS else StyleEntry | BaselineEntry
            others = [other.name for other in attacks if isinstance(other, kind)]
            for name in entry.like or ():
                if name not in others:
                    raise ValueError(
                        f"'{entry.name}' is like '{name}', which is none of {', '.join(others) or '(none)'}"
                    )
            if not others:
                raise ValueError(f"'{entry.name}' needs an attack whose distance it copies, and there is none")
        return attacks

    def spec(self, name: str) -> ModelSpec:
        """Return the specification behind a model's name: the user's own, or the registry's."""
        return self.models.get(name) or ModelSpec(model=name)

    def model_names(self) -> tuple[str, ...]:
        """Return every model the benchmark uses, each once, in order of appearance."""
        used = list(self.classifiers)
        for entry in self.attacks:
            for role in ("backbone", "guide", "source"):
                used += getattr(entry, role, None) or ()
        used.append(self.feature_model)
        return tuple(dict.fromkeys(used))


def load_benchmark(path: Path | None) -> Benchmark:
    """Read a benchmark file, or return the default benchmark for None.

    Paths in the file may be relative to it.

    Raises:
        ArtattackError: the file cannot be read or something in it is wrong; one line for the first mistakes.
    """
    if path is None:
        return Benchmark()
    try:
        data = yaml.load(path.read_text(encoding="utf-8"), _Loader)
    except OSError as error:
        raise ArtattackError(f"{path}: cannot be read: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise ArtattackError(f"{path}{_yaml_mistake(error)}") from error
    if not isinstance(data, dict):
        raise ArtattackError(f"{path}: a benchmark file is a mapping with keys {', '.join(Benchmark.model_fields)}")
    data.setdefault("name", re.sub(r"[^\w.-]+", "-", path.stem))
    return parse_benchmark(data, where=str(path), base=path.parent)


class _Loader(yaml.SafeLoader):
    """YAML in which a key that is there twice is a mistake, not silently the last one."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key, _ in node.value:
            if key.value in seen:
                raise yaml.constructor.ConstructorError(None, None, f"key '{key.value}' is there twice", key.start_mark)
            if isinstance(key, yaml.ScalarNode):
                seen.add(key.value)
        return super().construct_mapping(node, deep)


def _yaml_mistake(error: Exception) -> str:
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark:
        return f", line {error.problem_mark.line + 1}: not valid YAML: {error.problem}"
    return f": not valid YAML: {' '.join(str(error).split())}"


def parse_benchmark(data: dict[str, Any], *, where: str = "benchmark", base: Path = Path()) -> Benchmark:
    """Validate a benchmark given as plain data, with paths relative to `base`; errors as in `load_benchmark`."""
    try:
        benchmark = Benchmark.model_validate(data)
    except ValidationError as error:
        raise ArtattackError(f"{where}: {_first(explain(error, Benchmark))}") from error
    return _resolved(benchmark, base)


def parse_options(values: dict[str, Any]) -> StyleOptions:
    """Validate options of the style attack given as plain data; errors as in `load_benchmark`."""
    try:
        return StyleOptions.model_validate(values)
    except ValidationError as error:
        raise ArtattackError(_first(explain(error, StyleOptions))) from error


def _first(mistakes: Iterator[str]) -> str:
    shown = [" ".join(mistake.split()) for mistake in mistakes]  # keys and values may have line breaks
    more = f"; and {len(shown) - _SHOWN} more" if len(shown) > _SHOWN else ""
    return "; ".join(shown[:_SHOWN]) + more


_SHOWN = 3  # mistakes told at once
_PLAINLY = {  # pydantic's kinds of mistakes in the words of YAML
    "tuple_type": "a list is wanted",
    "dict_type": "a mapping is wanted",
    "model_type": "a mapping is wanted",
    "model_attributes_type": "a mapping is wanted",
    "too_short": "at least one is wanted",
}


def explain(error: ValidationError, root: type[BaseModel]) -> Iterator[str]:
    """Yield one phrase for each mistake pydantic found in a `root`: where, what, and the nearest valid word."""
    mistakes = error.errors()
    for mistake in mistakes:
        path, kind = mistake["loc"], mistake["type"]
        if kind == "too_short" and any(other["loc"][: len(path)] == path != other["loc"] for other in mistakes):
            continue  # pydantic does not count items that are wrong
        where = ".".join(str(part) for i, part in enumerate(path) if path[0] != "attacks" or i != 2) or "file"
        if kind == "extra_forbidden":
            valid = _section(path[:-1], root).model_fields
            yield f"unknown key '{where}'{nearest(str(path[-1]), valid)} (valid: {', '.join(valid)})"
        else:
            message = _PLAINLY.get(kind) or mistake["msg"].removeprefix("Value error, ")
            given = "" if kind in {"missing", "value_error"} else f", not {mistake['input']!r}"
            yield f"{where}: {message[0].lower()}{message[1:]}{given}"


_TAGS: dict[Any, type[BaseModel]] = {"style": StyleEntry, "control": ControlEntry, "baseline": BaselineEntry}


def _section(path: tuple[Any, ...], root: type[BaseModel]) -> type[BaseModel]:
    """Return the section of the file that a path of keys leads to."""
    match path:
        case ():
            return root
        case ("images", *_):
            return Images
        case ("models", *_):
            return ModelSpec
        case _:
            return _TAGS[path[-1]]


def _resolved(benchmark: Benchmark, base: Path) -> Benchmark:
    """Return the benchmark with paths relative to `base` made whole; a name wins over a file called the same."""

    def near(path: Any, *names: str) -> Any:
        if not path or path in names or Path(path).is_absolute() or not (base / path).exists():
            return path
        return type(path)(base / path)

    update = {"set": near(benchmark.images.set, *(info.name for info in image_set_infos()))}
    if isinstance(benchmark.images.label_space, str):
        update["label_space"] = near(benchmark.images.label_space, "imagenet", "own")
    images = benchmark.images.model_copy(update=update)
    models = {
        name: spec.model_copy(
            update={
                "model": near(spec.model, *(info.name for info in model_infos())),
                "weights": near(spec.weights, "imagenet", "bundled", "random"),
            }
            | ({"label_space": near(spec.label_space, "imagenet")} if isinstance(spec.label_space, str) else {})
        )
        for name, spec in benchmark.models.items()
    }
    attacks = tuple(_entry_near(entry, near) for entry in benchmark.attacks)
    return benchmark.model_copy(update={"images": images, "models": models, "attacks": attacks})


def _entry_near(entry: Any, near: Callable[..., Any]) -> Any:
    if not isinstance(entry, StyleEntry):
        return entry
    known = style_names()
    styles = tuple(
        whole if (whole := near(style, *known)) != style else "+".join(near(part, *known) for part in style.split("+"))
        for style in entry.style
    )
    files = {name: near(getattr(entry, name), "content", "noise") for name in ("init", "mask", "style_mask")}
    return entry.model_copy(update={"style": styles} | files)
