"""Kinds of models by their specification, and the outputs of each, known before loading. No TensorFlow here."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple, get_args
from urllib.parse import urlsplit

from artattack.errors import ArtattackError, one_line
from artattack.models.classifier import Classifier, Gives
from artattack.models.load_options import LoadOptions


class Kind(NamedTuple):
    """A kind of model that Keras does not read.

    Attributes:
        word: prefix of the specification `word:PATH`.
        suffixes: suffixes of files of this kind, which need no prefix.
        gives: outputs of such a model.
        loader: `module:function`, from the path, name or address and `LoadOptions` to the model. The module is imported
            when a model is loaded.
        package: package that reads it and is not installed with artattack; empty for none.
        extra: extra of artattack that installs the package.
        is_file: whether a path follows the prefix.
        has_weights: whether the option `weights` applies; otherwise the file or server holds the weights.
        has_outputs: whether such a network may have several outputs, of which `output` chooses one.
    """

    word: str
    suffixes: tuple[str, ...]
    gives: Gives
    loader: str
    package: str = ""
    extra: str = ""
    is_file: bool = True
    has_weights: bool = False
    has_outputs: bool = True

    def load(self, path: str, options: LoadOptions) -> Classifier:
        """Load a model of this kind.

        Raises:
            ArtattackError: its package cannot be imported, or the model cannot be loaded.
        """
        module, _, function = self.loader.partition(":")
        try:
            load = getattr(import_module(module), function)
        except Exception as error:  # incompatible builds of two packages may raise anything
            why = one_line(error)
            raise ArtattackError(
                f"model '{self.word}:{path}': {self.package or module} cannot be loaded ({why}); packages such as "
                "torch and torchvision must be compatible builds: reinstall both from one source"
            ) from error
        return load(path, options)  # type: ignore[no-any-return]

    @property
    def is_http(self) -> bool:
        """Whether the model is an address on a network."""
        return self.word in ("http", "https")


KINDS = (
    Kind("onnx", (".onnx",), "logits", f"{__package__}.onnx_file:load", "onnxruntime", "onnx"),
    Kind("tflite", (".tflite",), "logits", f"{__package__}.tflite_file:load"),
    Kind("lce", (), "logits", f"{__package__}.lce_file:load", "larq_compute_engine", "lce"),
    Kind("torch", (".pt2", ".pt", ".pth"), "gradients", f"{__package__}.torch_file:load", "torch", "torch"),
    Kind("timm", (), "gradients", f"{__package__}.timm_model:load", "timm", "torch", is_file=False, has_weights=True),
    Kind("http", (), "logits", f"{__package__}.http_model:load", is_file=False, has_outputs=False),
    Kind("https", (), "logits", f"{__package__}.http_model:load", is_file=False, has_outputs=False),
)


def kind_of(spec: str | Path) -> tuple[Kind | None, str]:
    """Return the kind of a model specification, None for Keras, and the rest: the path, address or timm name."""
    word, colon, rest = str(spec).partition(":")
    by_word = next((kind for kind in KINDS if colon and word == kind.word), None)
    if by_word:  # before the suffix: files for Larq Compute Engine end in .tflite, too
        return by_word, rest
    return next((kind for kind in KINDS if Path(str(spec)).suffix.lower() in kind.suffixes), None), str(spec)


def written(what: Gives) -> str:
    """Return the specifications of the kinds that give exactly `what`: `onnx:PATH, ..., http(s)://ADDRESS`."""
    kinds = [kind for kind in KINDS if kind.gives == what]
    words = [f"{kind.word}:{'PATH' if kind.is_file else 'NAME'}" for kind in kinds if not kind.is_http]
    return ", ".join((*words, *(["http(s)://ADDRESS"] if any(kind.is_http for kind in kinds) else [])))


def kind_packages() -> tuple[str, ...]:
    """Return the optional distributions that run models; their versions may change a result."""
    return tuple(kind.package.replace("_", "-") for kind in KINDS if kind.package)


def gives(spec: str | Path, *, defended: bool = False) -> Gives:
    """Return the outputs of a model from its specification alone, whether or not the model exists.

    Args:
        spec: the specification.
        defended: whether the model has defences, which hide its features.
    """
    kind, _ = kind_of(spec)
    found: Gives = kind.gives if kind else "features"
    return "gradients" if defended and found == "features" else found


def check_fit(name: str, has: Gives, needs: Gives, *, defended: bool = False) -> None:
    """Check that a model has the outputs that its role needs.

    Args:
        name: name of the model.
        has: outputs of the model.
        needs: outputs that the role needs.
        defended: whether the model has defences.

    Raises:
        ArtattackError: it lacks them; the message suggests other attacks or models.
    """
    order = get_args(Gives)
    if order.index(has) <= order.index(needs):
        return
    if needs == "features" and defended:
        raise ArtattackError(
            f"model '{name}' has defences, and this role reads layers: give a network without defences"
        )
    if needs == "features":
        raise ArtattackError(
            f"model '{name}' has no readable layers, which this role needs: give a registry model or a Keras file"
        )
    raise ArtattackError(
        f"model '{name}' only predicts, and this role needs gradients: attack it by queries, with square, hopskipjump "
        "or another attack that reads logits or decisions (see `artattack attacks`), or give another source"
    )


def check_kind(spec: str | Path) -> bool:
    """Whether a model specification is of one of the kinds; checks its file, address and package without loading it.

    Raises:
        ArtattackError: the file does not exist, the package is not installed, or the address is invalid.
    """
    kind, path = kind_of(spec)
    if kind is None:
        return False
    if kind.is_file and not Path(path).is_file():
        raise ArtattackError(f"model '{spec}': no such file")
    if kind.is_http:
        _check_address(str(spec))
    if kind.package and find_spec(kind.package) is None:
        raise ArtattackError(f"model '{spec}' needs the package {kind.package}: pip install 'artattack[{kind.extra}]'")
    return True


def _check_address(url: str) -> None:
    """Raise an error for an invalid address, or one with a password, which run.json would store."""
    try:
        parts = urlsplit(url)
        known = bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        known = False
    if not known or url != "".join(url.split()):
        raise ArtattackError(f"model '{url}': not an address, such as https://localhost:8501/v1/models/mine:predict")
    if parts.username is not None:
        raise ArtattackError("the address of a model holds a password, which run.json would store; use `http.token`")
