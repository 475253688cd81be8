"""Typed and validated benchmark files, with all defaults except those of attacks and distances."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Any, Literal

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    Field,
    PlainValidator,
    PositiveInt,
    SerializeAsAny,
    ValidationError,
    ValidationInfo,
    field_validator,
)

from artattack.attacks.all_entries import entry_of, is_known
from artattack.attacks.baseline_entry import BaselineEntry
from artattack.attacks.controls import ControlEntry
from artattack.attacks.entries import Entry, needed_models
from artattack.attacks.painter_entry import PainterEntry
from artattack.attacks.style_entry import StyleEntry
from artattack.bound import Bound
from artattack.distances import default_budgets
from artattack.errors import ArtattackError, one_line, unknown
from artattack.inputs.image_sets import image_set_names
from artattack.models.classifier import Gives
from artattack.models.defences import plain_defences
from artattack.models.http_options import HttpOptions
from artattack.models.kinds import gives, kind_of
from artattack.models.registry import model_infos
from artattack.validation import Names, Numbers, Section, as_list, explain, sides

_NONE: Mapping[str, Any] = MappingProxyType({})
SIZES = 32, 4096  # px, smallest and largest side of a run's images
DEFAULT_SIZE = 224  # px


class ImageSettings(Section):
    """The image set and its central crop."""

    set: str = Field("samples", description="image set: a name, a folder or a CSV manifest")
    size: Annotated[int | tuple[int, int] | None, sides(*SIZES)] = Field(
        None,
        description="size of the images attacked and scored, in pixels: a side, or [height, width]; default: "
        "the input size that all classifiers share, or 224 if they differ",
    )
    crop: float = Field(0.875, gt=0, le=1, description="side of the central square kept, over the short side")
    half: Literal["even", "odd"] | None = Field(
        None, description="only the images at even or odd places (0, 1, ...): choose on one half, report on the other"
    )
    limit: PositiveInt | None = Field(None, description="maximum number of images, evenly spread over the set")
    label_space: str | list[str | int] | None = Field(
        None,
        description="classes of the set, where fewer than ImageNet's: own (those of its labels), a list, or a text "
        "file. Logits are restricted to those shared",
    )

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width of the images in pixels; a plan sets them if the file has no `size`."""
        size = DEFAULT_SIZE if self.size is None else self.size
        return (size, size) if isinstance(size, int) else size


class ModelSpec(Section):
    """A model under a name of the user's own: a registry name or a local file, and how to use it."""

    model: str = Field(
        description="a registry name, the path of a file, a kind and a path or name such as onnx:PATH and timm:NAME "
        "(docs/models.md lists them), or the http or https address of a server"
    )
    weights: str | None = Field(None, description="imagenet, bundled, random, or a path; default: the model's own")
    preprocessing: str | dict[str, Any] | None = Field(None, description="preprocessing of a local file")
    label_space: str | list[str | int] | None = Field(
        None, description="label space of a local file: the ImageNet class of each output, in order"
    )
    classes: str | list[str | int | bool] | None = Field(
        None, description="class names of a model with its own classes, in order: a list or a text file"
    )
    input_size: Annotated[int | tuple[int, int] | None, sides(1, 2**15)] = Field(
        None, description="size of the images it classifies, in pixels: a side, or [height, width]"
    )
    outputs: Literal["logits", "probabilities"] | None = Field(
        None, description="for a model that is not Keras': what its outputs are; default: what they look like"
    )
    output: Annotated[int, Field(ge=0, strict=True)] | Annotated[str, Field(min_length=1)] | None = Field(
        None, description="which output to classify with, of a network with several: its name, or its place from 0"
    )
    random: bool = Field(
        False, description="whether the model's answers to an image may vary; they are then averaged over eight draws"
    )
    defences: Annotated[list[dict[str, dict[str, Any]]] | None, BeforeValidator(plain_defences)] = Field(
        None,
        description="defences in front of it, in order: names, or mappings such as {JpegCompression: {quality: 50}}; "
        "`artattack defences` lists them",
    )
    http: HttpOptions | None = Field(None, description="for a server: time-out, tries, rate, batches, token")
    distilled_from: str | None = Field(None, description="teacher of a distilled model")
    family: str | None = Field(
        None,
        description="family of the architecture, such as resnet, which makes two models kin; default: that of the "
        "registry's or timm's architecture, or of the card",
    )

    def arguments(self) -> dict[str, Any]:
        """The arguments of `artattack.load_model`."""
        return {"spec": self.model, **self.model_dump(exclude={"model", "distilled_from", "family"})}

    @property
    def gives(self) -> Gives:
        """The outputs of the model, from its specification alone, whether or not it exists."""
        return gives(self.model, defended=bool(self.defences))


def _section_of(value: Any, context: Mapping[str, Any]) -> type[Entry]:
    """Return the class of entry that plain data describe, from the value of their key `attack`."""
    attack = value.get("attack") if isinstance(value, dict) else None
    if not isinstance(attack, str):
        return BaselineEntry  # its validation raises the error
    return entry_of(attack, context.get("attacks", {}), context.get("base"))


def _entry(value: Any, info: ValidationInfo) -> Entry:
    if isinstance(value, Entry):
        return value
    return _section_of(value, info.context or {}).model_validate(value, context=info.context)


if TYPE_CHECKING:
    AttackEntry = Entry
else:  # the key `attack` decides on the kind, for validation and serialization
    AttackEntry = Annotated[SerializeAsAny[Entry], PlainValidator(_entry)]

_DEFAULT_BALL = Bound("l2", 20.0)  # farther out nearly every image flips; the painter shares the style's controls
_DEFAULT_ATTACKS: tuple[Entry, ...] = (
    PainterEntry(attack="painter", style=("waves",), budget=_DEFAULT_BALL),
    StyleEntry(attack="style", style=("waves",), budget=_DEFAULT_BALL, steps=30),
    BaselineEntry(
        attack="pgd", source=("quicknet_tiny", "efficientnet_lite0"), eps="8/255", eps_step="2/255", max_iter=10
    ),
    *(ControlEntry(attack=name, like=("style",)) for name in ("noise", "blur", "jpeg", "colour", "blend")),
)


def _budgets(value: Any) -> Any:
    """Parse `l2`, `[l2, ssim]` or `{l2: [5, 10]}`; a distance without budgets gets its default budgets."""
    if isinstance(value, str | list | tuple):
        value = dict.fromkeys(map(str, as_list(value)))
    if not isinstance(value, dict):
        return value
    defaults = default_budgets()
    for name in value:
        if name not in defaults:
            raise unknown("distance", str(name), defaults)
    return {name: defaults[name] if budgets is None else budgets for name, budgets in value.items()}


def _in_range(budgets: dict[str, tuple[float, ...]]) -> dict[str, tuple[float, ...]]:
    for name, numbers in budgets.items():
        if not numbers:
            raise ValueError(f"{name}: at least one budget is wanted")
        for number in numbers:
            Bound(name, number).checked()
    return {name: tuple(sorted(set(numbers))) for name, numbers in budgets.items()}


Budgets = Annotated[dict[str, Numbers], BeforeValidator(_budgets), AfterValidator(_in_range)]


_VALUES = 100_000  # maximum number of values in a benchmark file
_BENCHMARKS = Path(__file__).with_name("benchmarks")


class Benchmark(Section):
    """A whole benchmark: images, classifiers, attacks. With no file, the default one."""

    name: str = Field("default", pattern=r"^[\w.-]+$", description="names the run folder")
    seed: int = Field(0, ge=0, lt=2**32, description="seed of every random choice")
    batch_size: PositiveInt = Field(10, description="number of images attacked at once")
    images: ImageSettings = ImageSettings()
    models: dict[str, ModelSpec] = Field(
        {}, description="your own models, by name; or the path of a benchmark file, whose models are meant"
    )
    classifiers: Names = Field(("quicknet_tiny", "efficientnet_lite0"), description="models that are scored")
    attacks: tuple[AttackEntry, ...] = Field(
        _DEFAULT_ATTACKS, description="attacks and controls; an empty list scores the untouched images"
    )
    budgets: Budgets = Field({}, description="distances, and the budgets that all attacks and controls are scaled to")
    style_judges: Names = Field(
        ("efficientnet_lite2", "efficientnet_lite0"),
        description="models that recognise styles; each judges attacks that read no model with a common ancestor",
    )
    feature_model: str = Field("efficientnet_lite0", description="model whose features compare images")
    parquet: bool = Field(False, description="write records.parquet beside records.csv, for large runs")

    @field_validator("attacks")
    @classmethod
    def _together(cls, attacks: tuple[Entry, ...]) -> tuple[Entry, ...]:
        names = [entry.name for entry in attacks]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"two entries are called '{name}': give each its own `name`")
        if "clean" in names:
            raise ValueError("'clean' is the name of the untouched images: give the entry another `name`")
        for entry in attacks:
            entry.check_beside(attacks)
        return attacks

    def spec(self, name: str) -> ModelSpec:
        """Return the specification of a model by its name: the user's own, or a registry model."""
        return self.models.get(name) or ModelSpec(model=name)

    def model_names(self) -> tuple[str, ...]:
        """Return all models of the benchmark, each once, in order of appearance."""
        judges = self.style_judges if self.styles() else ()
        return tuple(dict.fromkeys((*self.classifiers, *needed_models(self.attacks), self.feature_model, *judges)))

    def styles(self) -> tuple[str, ...]:
        """Return the styles of all entries, each once, in order of appearance."""
        return tuple(dict.fromkeys(style for entry in self.attacks for style in entry.styles()))


def benchmark_names() -> tuple[str, ...]:
    """Return the names of the package's benchmark files."""
    return tuple(sorted(file.stem for file in _BENCHMARKS.glob("*.yaml")))


def load_benchmark(path: Path | None, attacks: Mapping[str, Any] = _NONE) -> Benchmark:
    """Read a benchmark file, or return the default benchmark for None.

    Paths in the file may be relative to it. A name of `benchmark_names` loads the package's file, even if a local file
    has this name. An attack named by `module:Class` imports the module.

    Args:
        path: the file, or a name of `benchmark_names`.
        attacks: classes of attacks given as Python objects, by their names in the file.

    Raises:
        ArtattackError: the file cannot be read or is invalid; the message has the first mistakes in one line.
    """
    if path is None:
        return Benchmark()
    if str(path) in benchmark_names():
        path = _BENCHMARKS / f"{path}.yaml"
    elif not path.suffix and len(path.parts) == 1 and not path.exists():
        raise unknown("benchmark", str(path), [*benchmark_names(), "a file.yaml"])
    data = _read(path)
    data.setdefault("name", re.sub(r"[^\w.-]+", "-", path.stem))
    return parse_benchmark(data, where=str(path), base=path.parent, attacks=attacks)


def _read(path: Path) -> dict[str, Any]:
    """Return the plain data of a benchmark file.

    Raises:
        ArtattackError: the file cannot be read, or is not a YAML mapping.
    """
    try:
        data = yaml.load(path.read_text(encoding="utf-8"), _Loader)
        if _count(data, {}) > _VALUES:
            raise yaml.YAMLError(f"aliases make it more than {_VALUES} values")
    except OSError as error:
        raise ArtattackError(f"{path}: cannot be read: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise ArtattackError(f"{path}{_explain_yaml(error)}") from error
    if not isinstance(data, dict):
        raise ArtattackError(f"{path}: a benchmark file is a mapping with keys {', '.join(Benchmark.model_fields)}")
    return data


class _Loader(yaml.SafeLoader):
    """YAML loader that rejects duplicate keys instead of keeping the last one."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise yaml.constructor.ConstructorError(None, None, "a key is one word", key.start_mark)
            if key.value in seen:
                raise yaml.constructor.ConstructorError(None, None, f"key '{key.value}' is there twice", key.start_mark)
            seen.add(key.value)
        return super().construct_mapping(node, deep)


def _count(value: Any, counted: dict[int, float]) -> float:
    """Return the number of values in a YAML node, with aliases expanded."""
    if not isinstance(value, dict | list):
        return 1
    if id(value) not in counted:
        counted[id(value)] = math.inf  # for an alias that contains itself
        items = value.values() if isinstance(value, dict) else value
        counted[id(value)] = 1 + sum(_count(item, counted) for item in items)
    return counted[id(value)]


def _explain_yaml(error: Exception) -> str:
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark:
        return f", line {error.problem_mark.line + 1}: not valid YAML: {error.problem}"
    return f": not valid YAML: {one_line(error)}"


def parse_benchmark(
    data: dict[str, Any], *, where: str = "benchmark", base: Path = Path(), attacks: Mapping[str, Any] = _NONE
) -> Benchmark:
    """Validate a benchmark given as plain data, with paths relative to `base`; otherwise as `load_benchmark`."""
    _check_given(attacks)
    context = {"attacks": attacks, "base": base}
    lent: dict[str, ModelSpec] = {}  # with paths that are resolved already
    if isinstance(data.get("models"), str):
        lent = _models_of(base / data["models"], where)
        data = data | {"models": {}}
    try:
        benchmark = Benchmark.model_validate(data, context=context)
    except ValidationError as error:
        raise ArtattackError(f"{where}: {explain(error, partial(_place, data, context))}") from error
    unused = set(attacks) - {entry.attack for entry in benchmark.attacks}
    if unused:
        raise ArtattackError(f"attacks: '{min(unused)}' is given, but no entry of the benchmark names it")
    benchmark = _resolved(benchmark, base)
    return benchmark.model_copy(update={"models": benchmark.models | lent})


def _models_of(path: Path, where: str) -> dict[str, ModelSpec]:
    """Return the models of a benchmark file that another one, `where`, refers to.

    Raises:
        ArtattackError: the file cannot be read, is invalid, has no models, or refers to a third file.
    """
    given = _read(path).get("models")
    if not isinstance(given, dict):
        raise ArtattackError(f"{where}: models: {path} has no mapping `models` of its own")
    return parse_benchmark({"models": given}, where=str(path), base=path.parent).models


def _check_given(attacks: Mapping[str, Any]) -> None:
    """Raise ArtattackError for a class of an attack whose name has another meaning."""
    for name in attacks:
        if ":" in name or is_known(name) or name == "clean":
            raise ArtattackError(
                f"attacks: '{name}' is the name of another attack already; give the class another name"
            )


def replaced(
    benchmark: Benchmark,
    *,
    seed: int | None = None,
    limit: int | None = None,
    budgets: Mapping[str, Any] | None = None,
    attacks: Mapping[str, Any] = _NONE,
) -> Benchmark:
    """Return a benchmark with the given seed, maximum number of images and budgets replaced.

    Raises:
        ArtattackError: a value is invalid.
    """
    given = benchmark.model_dump(mode="json")
    if seed is not None:
        given["seed"] = seed
    if limit is not None:
        given["images"]["limit"] = limit
    if budgets:
        given["budgets"] = dict(budgets)
    return (
        benchmark
        if (seed, limit, budgets or None) == (None,) * 3
        else parse_benchmark(given, where="command line", attacks=attacks)
    )


def _place(data: dict[str, Any], context: Mapping[str, Any], path: tuple[Any, ...]) -> tuple[str, type[BaseModel]]:
    """Return a readable name for a path of keys, and the section that the last key belongs to."""
    named = ".".join(map(str, path)) or "file"
    match path[:-1]:
        case ("images", *_):
            return named, ImageSettings
        case ("models", _, "http", *_):
            return named, HttpOptions
        case ("models", *_):
            return named, ModelSpec
        case ("attacks", int(number), *_):
            return named, _section_of(data["attacks"][number], context)
        case _:
            return named, Benchmark


def _resolved(benchmark: Benchmark, base: Path) -> Benchmark:
    """Return the benchmark with paths resolved relative to `base`; names come before files of the same name."""

    def near(path: Any, *names: str) -> Any:
        if not path or path in names or Path(path).is_absolute() or not (base / path).exists():
            return path
        return type(path)(base / path)

    def near_model(word: str) -> str:
        kind, path = kind_of(word)
        whole = str(near(path, *(info.name for info in model_infos())))
        return f"{kind.word}:{whole}" if kind and whole != path else word if kind else whole

    update = {"set": near(benchmark.images.set, *image_set_names())}
    if isinstance(benchmark.images.label_space, str):
        update["label_space"] = near(benchmark.images.label_space, "imagenet", "own")
    images = benchmark.images.model_copy(update=update)
    models = {
        name: spec.model_copy(
            update={
                "model": near_model(spec.model),
                "weights": near(spec.weights, "imagenet", "bundled", "random"),
            }
            | ({"label_space": near(spec.label_space, "imagenet")} if isinstance(spec.label_space, str) else {})
            | ({"classes": near(spec.classes)} if isinstance(spec.classes, str) else {})
        )
        for name, spec in benchmark.models.items()
    }
    attacks = tuple(entry.near(near) for entry in benchmark.attacks)
    return benchmark.model_copy(update={"images": images, "models": models, "attacks": attacks})
