"""Examples for a painter to imitate: the images of a run's style attack or painter, beside their originals."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from artattack.attacks.painter_card import PainterFile
from artattack.bound import ROUNDING, Bound
from artattack.errors import ArtattackError
from artattack.inputs.image_sets import hashes_of
from artattack.inputs.images import read_image
from artattack.training.crops import held_out
from artattack.training.data import Array

if TYPE_CHECKING:
    import pandas as pd
    import tensorflow as tf

    from artattack.training.fitting import Course


@dataclass(frozen=True)
class Examples:
    """Images of attacks in several styles, beside their originals, all of one size.

    Attributes:
        files: for each image, its original's file and that of its painting in each turn: in each style, inside each
            ball.
        hashes: SHA-256 of each image's file before it was cropped.
        size: (H, W) of the images.
    """

    files: tuple[tuple[Path, ...], ...]
    hashes: tuple[str, ...]
    size: tuple[int, int]

    def parted(self, held: Collection[str], share: float, seed: int) -> tuple[Examples, Examples]:
        """Return the examples to train on and those to validate with, at least one of each if there are two images.

        Args:
            held: SHA-256 of the images that the training holds out.
            share: share of the images to hold out if none of them is in `held`.
            seed: seed of that choice.
        """
        places = [place for place, sha in enumerate(self.hashes) if sha in held]
        places = places or held_out(np.arange(len(self.files)), share, seed).tolist()
        rest = [place for place in range(len(self.files)) if place not in places]
        return self._at(rest), self._at(places)

    def _at(self, places: Sequence[int]) -> Examples:
        return Examples(tuple(self.files[k] for k in places), tuple(self.hashes[k] for k in places), self.size)

    def crops_of_epoch(
        self, side: int, batch: int, steps: int, seed: int, epoch: int
    ) -> Iterator[tuple[Array, Array, Array, Array]]:
        """Yield the batches of an epoch, each in new random places; seed and epoch alone determine them.

        Crop i of step t, counted from the start of training, shows turn (t B + i) mod T.

        Args:
            side: side of the crops in pixels.
            batch: crops per batch, B.
            steps: batches per epoch.
            seed: seed of the training.
            epoch: number of the epoch.

        Yields:
            Crops of originals and of paintings, uint8 (B, side, side, 3), their turns, int32 (B,), and their upper
            left corners in the images, int32 (B, 2).
        """
        rng = np.random.default_rng((seed, 6, epoch))
        count = len(self.files[0]) - 1
        order: list[int] = []
        for step in range(epoch * steps, (epoch + 1) * steps):
            turns = (step * batch + np.arange(batch)) % count
            corners = np.stack([rng.integers(0, length - side + 1, batch) for length in self.size], 1)
            pairs = []
            for turn, (top, left) in zip(turns, corners, strict=True):
                order = order or rng.permutation(len(self.files)).tolist()
                files = self.files[order.pop()]
                pairs.append([read_image(f)[top : top + side, left : left + side] for f in (files[0], files[1 + turn])])
            originals, paintings = (np.stack(images) for images in zip(*pairs, strict=True))
            yield originals, paintings, turns.astype(np.int32), corners.astype(np.int32)

    def beside(self, shown: tf.data.Dataset, side: int, course: Course, steps: int, start: int) -> tf.data.Dataset:
        """Return batches of training images with a batch of examples beside each.

        Args:
            shown: batches of one tensor, of all epochs from `start` on.
            side: side of the crops in pixels.
            course: length of training.
            steps: batches per epoch.
            start: first epoch.

        Returns:
            Tuples of the tensor and of the four arrays of `crops_of_epoch`.
        """
        import tensorflow as tf

        def draw() -> Iterator[tuple[Array, ...]]:
            for epoch in range(start, course.epochs):
                yield from self.crops_of_epoch(side, course.batch, steps, course.seed, epoch)

        shape = (course.batch, side, side, 3)
        images, turns = tf.TensorSpec(shape, tf.uint8), tf.TensorSpec(shape[:1], tf.int32)
        corners = tf.TensorSpec((course.batch, 2), tf.int32)
        drawn = tf.data.Dataset.from_generator(draw, output_signature=(images, images, turns, corners)).prefetch(2)
        return tf.data.Dataset.zip((shown, drawn)).map(lambda x, example: (*x, *example))


def read_examples(run: str, styles: Sequence[str], balls: Sequence[Bound], side: int, backbone_sha256: str) -> Examples:
    """Return the images of a style attack or a painter in a finished run's folder, as examples for a painter.

    A ball's examples are the images of the attack that has the ball as its budget or, without one, of the only attack
    whose images all lie inside it.

    Args:
        run: the folder.
        styles: styles as benchmark files name them, in the order of the painter's.
        balls: balls of the painter's paintings, from large to small.
        side: side of the crops to take, in pixels.
        backbone_sha256: weights of the painter's backbone, which its card names as the model that it learnt from.

    Raises:
        ArtattackError: the folder holds no finished run, a style has no images inside a ball or those of several
            attacks, fewer than two images have every style, they are smaller than the crops, their originals are
            bundled samples, the attack read another model than the backbone, or its painter's file is gone.
    """
    from artattack.results.records import at_own_distance, attacks_of
    from artattack.results.run_folder import load_run

    if balls[0].distance == "l2":
        raise ArtattackError("--imitate: crops need a ball for images of every size; give --budget in psnr or linf")
    folder = load_run(run)
    records = at_own_distance(attacks_of(folder.records))
    made = records[(records["kind"] == "style") & records["error"].isna()]
    made = made[made["classifier"] == made["classifier"].iloc[0]] if len(made) else made
    entries = {entry["name"]: entry for entry in folder.info["config"]["benchmark"]["attacks"]}
    budgets = {name: Bound(*entry["budget"]) for name, entry in entries.items() if entry.get("budget")}
    columns = [
        _images_in(made[made["style"] == style], run, style, ball, budgets) for style in styles for ball in balls
    ]
    samples = hashes_of("samples")
    for rows in columns:
        _check_reading(folder.info["config"].get("models", {}), entries, rows.iloc[0], run, backbone_sha256)
        if rows["image_sha256"].isin(list(samples)).any():
            raise ArtattackError(f"--imitate: {run}: the bundled samples measure painters; attack other photos")
    hashes = columns[0]["image_sha256"]
    shared = [image for image in hashes.index if all(image in rows.index for rows in columns)]
    if len(shared) < 2:
        raise ArtattackError(f"--imitate: {run}: fewer than two images were attacked in every style")
    files = tuple(
        (
            folder.original(image),
            *(folder.path / str(rows.at[image, "file"]) for rows in columns),
        )
        for image in shared
    )
    height, width = read_image(files[0][0]).shape[:2]
    if min(height, width) < side:
        raise ArtattackError(
            f"--imitate: {run}: its images have {height} x {width} px, and crops have {side}: lower --size"
        )
    return Examples(files, tuple(hashes[shared]), (height, width))


def _images_in(rows: pd.DataFrame, run: str, style: str, ball: Bound, budgets: Mapping[str, Bound]) -> pd.DataFrame:
    """Return the records of the images in a style for a ball, by image; `budgets` are the attacks' own."""
    keys = rows["attack"].str.cat(rows["source"], " through ")
    attacks = {str(name): own for name, own in rows.groupby(keys, sort=False)}
    inside = [name for name, own in attacks.items() if _inside(own, ball).all()]
    found = [name for name in inside if ball.equals(budgets.get(attacks[name]["attack"].iloc[0]))] or inside
    if len(found) == 1:
        return attacks[found[0]].set_index("image")
    if not attacks:
        wrong = "the run has no images in it"
    elif not found:
        wrong = f"no attack's images all lie inside {ball}"
    else:
        wrong = f"several attacks' images lie inside {ball}: {', '.join(found)}"
    raise ArtattackError(f"--imitate: {run}: style '{style}': {wrong}; run one style attack with `budget: {ball}`")


def _check_reading(
    models: Mapping[str, Any], entries: Mapping[str, Any], row: pd.Series[Any], run: str, backbone_sha256: str
) -> None:
    """Raise ArtattackError if an attack read other models than a backbone: the painter's card would not name them."""
    source = row["source"]
    if models.get(source, {}).get("sha256") != backbone_sha256:
        raise ArtattackError(
            f"--imitate: {run}: its attack '{row['attack']}' reads {source}; give that model as --backbone"
        )
    if _guides_of(entries[row["attack"]], run):
        raise ArtattackError(f"--imitate: {run}: its attack '{row['attack']}' has guides; imitate one without")


def _guides_of(entry: Mapping[str, Any], run: str) -> Sequence[str]:
    """Return the guides of a style attack, or those of a painter's training.

    Raises:
        ArtattackError: the painter's file is gone.
    """
    if "painter" not in entry:
        return entry.get("guide") or ()
    try:
        return PainterFile(entry["painter"]).card.guides
    except ArtattackError as error:
        raise ArtattackError(f"--imitate: {run}: {error}") from error


def _inside(rows: pd.DataFrame, ball: Bound) -> Array:
    """Return whether images lie inside a ball of `linf` or `psnr`, (N,) bool."""
    from artattack.results.standing import moved

    return moved(rows[ball.distance], ball.distance) <= moved([ball.value], ball.distance) + ROUNDING
