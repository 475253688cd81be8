"""Published weights, fetched once and tried on the bundled photos. No TensorFlow at import."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from artattack.errors import ArtattackError
from artattack.files import sha256_file
from artattack.models.info import ModelInfo
from artattack.models.registry import load_registered, model_info, model_infos
from artattack.runtime import load_tensorflow

if TYPE_CHECKING:
    from artattack.models.model import Model

_PHOTOS = "samples"
_LEAST = 0.1  # share of the photos that published weights are right on; the weakest network knows a third of ImageNet's


class Fetched(NamedTuple):
    """Weights that are on this machine, and how well the network recognises the bundled photos with them.

    Attributes:
        name: registry name of the model.
        path: the file with the weights.
        sha256: of the file.
        downloaded: whether the file came now; False if it was there.
        right: number of photos whose class is the most likely one.
        photos: number of photos.
        wrong: of each other photo its name, its class and the class that the network sees.
    """

    name: str
    path: Path
    sha256: str
    downloaded: bool
    right: int
    photos: int
    wrong: tuple[tuple[str, str, str], ...]


def fetch_model(
    name: str, source: str | Path | None = None, *, on_progress: Callable[[str], None] | None = None
) -> Fetched:
    """Fetch a model's published ImageNet weights, unless they are there, and try the network on the bundled photos.

    The library that publishes a network downloads its weights, to its own place below `~/.keras`, and compares their
    checksum with the one it knows. keras.applications knows none for some networks; there the photos are the check.

    Args:
        name: a model of the registry whose weights are a download (`model_infos`).
        source: a copy of the weights file to take instead of the download; its checksum is compared likewise.
        on_progress: called with each step before it is taken.

    Returns:
        Where the weights lie, and the photos that the network is right on.

    Raises:
        ArtattackError: no such model, nothing to download for it, the download failed, or a network that is right on
            fewer than a tenth of the photos. A file that came and cannot be used does not stay.
    """
    info = model_info(name)
    if not info.download:
        able = ", ".join(other.name for other in model_infos() if other.download)
        raise ArtattackError(f"model '{name}' needs {info.needs}; weights are downloaded for {able}")
    tell = on_progress or (lambda step: None)
    path, was_there = info.download_path, info.download_path.is_file()
    if source is not None and not was_there:
        tell(f"copying {source}")
        _copy(Path(source), path)
    tell(f"loading {name}" if was_there or source is not None else f"downloading {name}")
    try:
        load_tensorflow()
        model = load_registered(name, "imagenet")
    except ArtattackError as error:
        if was_there or source is None:
            raise
        path.unlink(missing_ok=True)
        raise ArtattackError(f"model '{name}': '{source}' holds other weights than those published: {error}") from error
    tell(f"trying {name} on the bundled photos")
    right, photos, wrong = _tried(model)
    if right < _LEAST * photos:
        if not was_there:
            path.unlink(missing_ok=True)
        raise ArtattackError(
            f"model '{name}' is right on {right} of {photos} photos: '{path}' does not hold its published weights; "
            f"{'delete it, and it is downloaded anew' if was_there else 'it is deleted'}"
        )
    return Fetched(name, path, sha256_file(path), not was_there, right, photos, wrong)


def missing_weights(names: dict[str, str | None]) -> list[str]:
    """Return the models, from registry names to their weights, whose weights have to be downloaded first.

    Args:
        names: registry names or other models' words, and the weights that are asked for, None for the default.
    """
    known: dict[str, ModelInfo] = {info.name: info for info in model_infos()}
    return [
        name
        for name, weights in names.items()
        if name in known
        and known[name].download
        and (weights or known[name].default_weights) == "imagenet"
        and not known[name].available
    ]


def _copy(source: Path, path: Path) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, path)
    except OSError as error:
        path.unlink(missing_ok=True)
        raise ArtattackError(f"'{source}' cannot be copied to '{path}': {error.strerror}") from error


def _tried(model: Model) -> tuple[int, int, tuple[tuple[str, str, str], ...]]:
    from artattack.inputs.image_sets import load_images
    from artattack.inputs.labels import IMAGENET, class_name

    images = load_images(_PHOTOS, size=model.input_size)
    space = IMAGENET if model.label_space is None else model.label_space
    seen = [space[k] for k in model.predict(images.x).argmax(1)]
    pairs = [(id_, int(true), int(said)) for id_, true, said in zip(images.ids, images.y, seen, strict=True)]
    wrong = tuple((id_, class_name(true), class_name(said)) for id_, true, said in pairs if true != said)
    return len(pairs) - len(wrong), len(pairs), wrong
