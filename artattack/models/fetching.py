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
_LEAST = 0.1  # least accuracy on the photos; the weakest published network is right on a third of ImageNet's


class Fetched(NamedTuple):
    """Weights on this machine, and the network's predictions for the bundled photos with them.

    Attributes:
        name: registry name of the model.
        path: the file with the weights.
        sha256: hash of the file.
        downloaded: whether this call downloaded or copied the file.
        right: number of photos classified correctly.
        photos: number of photos.
        wrong: id, true class and predicted class of each photo classified wrongly, as text.
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
    """Fetch a model's published ImageNet weights, unless present, and try the network on the bundled photos.

    The library that publishes a network downloads the weights to its own folder below `~/.keras` and verifies their
    checksum. keras.applications has no checksum for some networks; for these, the photos are the check.

    Args:
        name: a model of the registry whose weights must be downloaded (`model_infos`).
        source: copy of the weights file to use instead of the download; its checksum is verified likewise.
        on_progress: called with a description of each step before the step.

    Returns:
        The path of the weights, and the results on the photos.

    Raises:
        ArtattackError: the model does not exist or needs no download, the download fails, or the network classifies
            fewer than a tenth of the photos correctly. A new file that cannot be used is deleted.
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
        raise ArtattackError(f"model '{name}': '{source}' does not hold the published weights: {error}") from error
    tell(f"trying {name} on the bundled photos")
    right, photos, wrong = _tried(model)
    if right < _LEAST * photos:
        if not was_there:
            path.unlink(missing_ok=True)
        raise ArtattackError(
            f"model '{name}' is right on {right} of {photos} photos: '{path}' does not hold its published weights; "
            f"{'delete it to download it again' if was_there else 'the file was deleted'}"
        )
    return Fetched(name, path, sha256_file(path), not was_there, right, photos, wrong)


def missing_weights(names: dict[str, str | None]) -> list[str]:
    """Return the models whose weights must be downloaded first.

    Args:
        names: map from a registry name or other model specification to the requested weights, None for the default.
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
