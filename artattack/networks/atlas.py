"""An activation atlas: pictures of the features that channels respond to, with similar channels side by side.

After Carter et al., "Activation Atlas", Distill 2019; each picture here shows a channel, not an average activation.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from artattack.errors import ArtattackError
from artattack.inputs.images import save_png, to_uint8
from artattack.runtime import load_tensorflow

_GAP = 2  # px between pictures
_LEAST = 4  # minimum number of pictures to arrange


class Atlas(NamedTuple):
    """Pictures of channels on a square grid.

    Attributes:
        picture: uint8 (H, W, 3).
        layer: the layer's specification.
        channels: channel at each place, int (rows, columns); -1 for an empty place.
    """

    picture: np.ndarray
    layer: str
    channels: np.ndarray


def make_atlas(
    backbone: str,
    *,
    layer: str | None = None,
    channels: int = 64,
    size: int = 96,
    steps: int = 60,
    seed: int = 0,
    out: Path | None = None,
    on_progress: Callable[[str, int, int], None] = lambda what, done, total: None,
) -> Atlas:
    """Draw a picture of each channel of a layer, and arrange the pictures by the similarity of their activations.

    Args:
        backbone: name of a registry model.
        layer: one of its layers, as a specification; by default its last style layer.
        channels: maximum number of channels, evenly spread over the layer.
        size: side of each picture, in pixels.
        steps: steps of the optimizer.
        seed: seed of every random choice.
        out: PNG to write.
        on_progress: called with the current step, steps done and total steps.

    Raises:
        ArtattackError: the model or layer does not exist, or the atlas has fewer than four channels.
    """
    from artattack.models.registry import load_registered, model_info

    info = model_info(backbone)
    load_tensorflow()
    from artattack.networks.channels import ChannelObjective, visualise_channels

    layer = layer or info.style_layers[-1]
    objective = ChannelObjective(load_registered(backbone), layer)
    n = min(channels, objective.channels)
    if n < _LEAST:
        raise ArtattackError(f"an atlas needs at least {_LEAST} channels, not {n}")
    chosen = [k * objective.channels // n for k in range(n)]
    done = 0

    def on_steps(more: int) -> None:
        nonlocal done
        done += more
        on_progress(f"channels of {layer}", done, steps * n)

    images = visualise_channels(objective, chosen, size=size, steps=steps, seed=seed, on_steps=on_steps)
    seen = np.concatenate([np.asarray(objective.activations(image[None])) for image in images])
    grid = arrange(seen, seed)
    picture = np.full((*(len(grid) * (size + _GAP) - _GAP,) * 2, 3), 255, np.uint8)
    for (row, column), place in np.ndenumerate(grid):
        if place >= 0:
            top, left = row * (size + _GAP), column * (size + _GAP)
            picture[top : top + size, left : left + size] = to_uint8(images[place])
    if out:
        save_png(out, picture)
    return Atlas(picture, layer, np.where(grid >= 0, np.array(chosen)[grid], -1))


def arrange(vectors: np.ndarray, seed: int = 0) -> np.ndarray:
    """Place vectors on a square grid so that vectors of similar direction are neighbours.

    t-SNE (van der Maaten & Hinton, JMLR 2008) maps the standardised vectors to the plane. The assignment with the
    smallest total squared movement maps them from the plane to the grid.

    Args:
        vectors: (N, D), N at least 4.
        seed: seed of t-SNE.

    Returns:
        int (S, S), with the smallest S such that S * S >= N: index of the vector at each place, -1 for an empty place.
    """
    from scipy.optimize import linear_sum_assignment
    from scipy.spatial.distance import cdist
    from sklearn.manifold import TSNE

    n = len(vectors)
    standard = (vectors - vectors.mean(0)) / (vectors.std(0) + 1e-6)
    tsne = TSNE(perplexity=min(30.0, (n - 1) / 3), metric="cosine", init="random", random_state=seed)
    plane = tsne.fit_transform(standard)
    low, high = plane.min(0), plane.max(0)
    plane = (plane - low) / np.maximum(high - low, 1e-9)
    side = int(np.ceil(np.sqrt(n)))
    places = np.stack(np.meshgrid(np.arange(side), np.arange(side), indexing="ij"), -1).reshape(-1, 2)
    which, where = linear_sum_assignment(cdist(plane, places / max(side - 1, 1), "sqeuclidean"))
    grid = np.full(side * side, -1)
    grid[where] = which
    return grid.reshape(side, side)
