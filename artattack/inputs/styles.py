"""Style images: the package's own, any image file, and images of image sets."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from artattack.errors import ArtattackError, nearest
from artattack.inputs.image_sets import Sample, open_image_set
from artattack.inputs.images import fit, read_image, to_float
from artattack.inputs.paths import data_dir


def style_names() -> tuple[str, ...]:
    """Return the names of the package's own styles."""
    return tuple(sorted(path.stem for path in (data_dir() / "styles").glob("*.png")))


def load_styles(name: str | Path, size: int | tuple[int, int]) -> np.ndarray:
    """Return the images of a style: one image, or several joined by `+`.

    Args:
        name: name of a style, an image file, an image of an image set (`samples:imagenet_00_243`), or several of these
            joined by `+`. The name of an existing file may contain `+`.
        size: side, or (height, width), in pixels; images are cropped to the centre of that shape.

    Returns:
        float32 (S, height, width, 3) in [0, 1].

    Raises:
        ArtattackError: a style or file does not exist, or a file is no image.
    """
    return np.stack([to_float(fit(read_image(file), size, crop=1.0)) for file in style_files(name)])


def style_files(name: str | Path) -> list[Path]:
    """Return the image files of a style name, as in `load_styles`, without checking that they exist.

    Raises:
        ArtattackError: a name is neither a style nor a path nor an image of an image set.
    """
    whole = str(name)
    parts = [whole] if Path(whole).expanduser().is_file() else whole.split("+")
    return [_file(part.strip()) for part in parts]


def words_of_style(name: str) -> set[str]:
    """Return the words of a style name, whole and in parts, that may be paths: all but the package's own styles."""
    return {name, *name.split("+")} - set(style_names())


def near_style(name: str, resolve: Callable[..., Any]) -> str:
    """Return a style name with absolute paths; a known name takes precedence over a file of the same name.

    Args:
        name: as in `load_styles`.
        resolve: function from a path, and names that are not paths, to the absolute path or the same word.
    """
    known = style_names()
    whole: str = resolve(name, *known)
    return whole if whole != name else "+".join(resolve(part, *known) for part in name.split("+"))


def style_class(name: str) -> int | None:
    """Return the ImageNet class of a style image: the label of an image set's image, None for other styles."""
    plain = name in style_names() or "+" in name or Path(name).expanduser().is_file()
    sample = None if plain else _sample(name)
    return sample.label if sample else None


def _sample(name: str) -> Sample | None:
    """Return the image of an image set for `SET:ID`; None for other names."""
    where, colon, image = name.rpartition(":")
    if not colon or len(where) < 2:  # a single letter is a Windows drive
        return None
    samples = {sample.id: sample for sample in open_image_set(where).samples}
    if image not in samples:
        raise ArtattackError(f"style '{name}': no image '{image}' in image set '{where}'{nearest(image, samples)}")
    return samples[image]


def _file(name: str) -> Path:
    names = style_names()
    if name in names:
        return data_dir() / "styles" / f"{name}.png"
    path = Path(name).expanduser()
    if not path.is_file() and (sample := _sample(name)):
        return sample.path
    if name and (path.suffix or len(path.parts) > 1 or path.exists()):
        return path  # reading a missing file raises the error
    raise ArtattackError(
        f"unknown style '{name}'{nearest(name, names)} (valid: {', '.join(names)}, an image file, or SET:IMAGE)"
    )
