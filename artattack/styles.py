"""Style images: those that come with the package, and any image file."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from artattack.data import data_dir
from artattack.errors import ArtattackError, nearest
from artattack.images import fit, read_image, to_float


def style_names() -> tuple[str, ...]:
    """Return the names of the styles that come with the package."""
    return tuple(sorted(path.stem for path in (data_dir() / "styles").glob("*.png")))


def load_styles(name: str | Path, size: int | tuple[int, int]) -> np.ndarray:
    """Return the style images that a name stands for: one, or those joined by `+`.

    Args:
        name: a style's name, an image file, or several joined by `+`.
        size: side, or (height, width), in pixels; the centre is cut to that shape.

    Returns:
        float32 (S, height, width, 3) in [0, 1].

    Raises:
        ArtattackError: no such style or file.
    """
    whole = Path(name)
    parts = [whole] if whole.is_file() else [Path(part) for part in str(name).split("+")]
    return np.stack([to_float(fit(read_image(_file(part)), size, crop=1.0)) for part in parts])


def _file(name: Path) -> Path:
    bundled = data_dir() / "styles" / f"{name}.png"
    if bundled.parent == data_dir() / "styles" and bundled.is_file():
        return bundled
    if name.suffix or len(name.parts) > 1 or name.exists():
        return name  # reading it says what is wrong with it
    names = style_names()
    raise ArtattackError(
        f"unknown style '{name}'{nearest(str(name), names)} (valid: {', '.join(names)}, or an image file)"
    )
