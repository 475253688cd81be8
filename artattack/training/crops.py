"""Crops of images to distil from: asked about once and kept, or drawn anew in each epoch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from artattack.errors import ArtattackError
from artattack.files import writing
from artattack.inputs.image_sets import image_set_infos, open_image_set
from artattack.inputs.images import read_image
from artattack.training.data import Array, OnProgress, image_files

if TYPE_CHECKING:
    import tensorflow as tf

    from artattack.models.classifier import Classifier
    from artattack.training.fitting import Course

ASKED = 32  # crops of one question to the teacher
_LEAST_AREA = 0.12  # of a crop, over that of its image
_SHUFFLED = 2048  # fresh crops that are held in memory, out of which the next one is taken
_FEWEST = 3  # images


@dataclass(frozen=True)
class Crops:
    """Crops as the student sees them, and what the teacher says of each.

    Attributes:
        x: uint8 (N, S, S, 3).
        logits: float32 (N, K), of the same crops at the teacher's own size.
        image: int64 (N,), the number of the image that each is of.
    """

    x: Array
    logits: Array
    image: Array

    def rows_of(self, images: Array) -> Array:
        """Return which crops are of some images."""
        return np.flatnonzero(np.isin(self.image, images))


class Drawing(NamedTuple):
    """How crops are drawn.

    Attributes:
        size: (H, W) at which they are cut.
        side: of the crops that the student sees, in pixels.
        crops: of each image.
        colour: by what share brightness, contrast and saturation vary at most.
        seed: every choice follows from it, the image's number and the epoch.
    """

    size: tuple[int, int]
    side: int
    crops: int
    colour: float
    seed: int


def find_images(name: str) -> list[Path]:
    """Return the images of a folder and its subfolders, or of an image set by name or manifest.

    Raises:
        ArtattackError: there are fewer than three.
    """
    path = Path(name).expanduser()
    by_name = {info.name for info in image_set_infos()}
    if name not in by_name and path.is_dir():
        files = list(image_files(path))
    else:
        files = [sample.path for sample in open_image_set(name).samples]
    if len(files) < _FEWEST:
        raise ArtattackError(f"{name}: {len(files)} images; give three or more, better hundreds")
    return files


def ask(
    teacher: Classifier, files: Sequence[Path], drawing: Drawing, kept: Path, on_progress: OnProgress
) -> tuple[Crops, int]:
    """Return crops with the teacher's answers, and how many images could not be read.

    The teacher is asked once: crops and answers are kept in a file, from which they are read where it is whole.

    Args:
        teacher: who is asked, at `drawing.size`.
        files: of the images.
        drawing: how crops are drawn.
        kept: the file.
        on_progress: told how many images are done.

    Raises:
        ArtattackError: no image can be read, or the disk does not take the file.
    """
    if kept.is_file():
        with np.load(kept) as file:
            return Crops(file["x"], file["logits"], file["image"]), int(file["unreadable"])
    x = np.empty((len(files) * drawing.crops, drawing.side, drawing.side, 3), np.uint8)
    numbers = np.empty(len(x), np.int64)
    answers: list[Array] = []
    pending: list[Array] = []
    done = unreadable = 0
    for number, path in enumerate(files):
        on_progress(f"asking {teacher.name}", number, len(files))
        try:
            image = read_image(path)
        except ArtattackError:
            unreadable += 1
            continue
        for crop in _crops_of(image, drawing, (drawing.seed, number)):
            pending.append(crop)
            x[done], numbers[done] = shrunk(crop, drawing.side), number
            done += 1
        while len(pending) >= ASKED:
            answers.append(_answers(teacher, pending[:ASKED]))
            del pending[:ASKED]
    if pending:
        answers.append(_answers(teacher, pending))
    if not done:
        raise ArtattackError(f"none of {len(files)} images to measure or train on could be read")
    found = Crops(x[:done], np.concatenate(answers), numbers[:done])
    with writing(kept) as file:
        np.savez(file, x=found.x, logits=found.logits, image=found.image, unreadable=unreadable)
    return found, unreadable


def readable(files: Sequence[Path], on_progress: OnProgress) -> list[Path]:
    """Return those of some images that can be read.

    Raises:
        ArtattackError: none of them.
    """
    good = []
    for number, path in enumerate(files):
        on_progress("looking through images", number, len(files))
        try:
            read_image(path)
        except ArtattackError:
            continue
        good.append(path)
    if not good:
        raise ArtattackError(f"none of {len(files)} images to train on could be read")
    return good


def fresh_batches(files: Sequence[Path], drawing: Drawing, course: Course, start: int = 0) -> tf.data.Dataset:
    """Return batches of crops of all epochs from one on, in each epoch other crops in another order.

    What an epoch shows follows from the seed and its number alone, so that a training that goes on after a kill sees
    what it would have seen. Images are read anew in each epoch; in memory are at most 2048 crops and an image.

    Args:
        files: images that can be read.
        drawing: how crops are drawn.
        course: how long.
        start: the first epoch.

    Returns:
        Batches of one tensor, float32 (B, S, S, 3) in [-1, 1].
    """
    import tensorflow as tf

    from artattack.training.fitting import steps_of

    n = len(files) * drawing.crops
    batch = min(course.batch, n)

    def draw() -> Iterator[tuple[Array]]:
        for epoch in range(start, course.epochs):
            crops = _shuffled(_epoch(files, drawing, epoch), np.random.default_rng((drawing.seed, 1, epoch)))
            for _ in range(steps_of(n, course.batch)):
                yield (np.stack([next(crops) for _ in range(batch)]),)

    side = drawing.side
    shown = tf.data.Dataset.from_generator(draw, output_signature=(tf.TensorSpec((batch, side, side, 3), tf.uint8),))
    return shown.map(lambda x: (tf.cast(x, tf.float32) / 127.5 - 1,)).prefetch(2)


def _epoch(files: Sequence[Path], drawing: Drawing, epoch: int) -> Iterator[Array]:
    """Yield the crops of an epoch, those of an image one after the other."""
    for number in np.random.default_rng((drawing.seed, 0, epoch)).permutation(len(files)):
        image = read_image(files[number])
        for crop in _crops_of(image, drawing, (drawing.seed, int(number), epoch)):
            yield shrunk(crop, drawing.side)


def _shuffled(crops: Iterator[Array], rng: np.random.Generator) -> Iterator[Array]:
    """Yield crops in a random order, as far as the memory for it goes."""
    held: list[Array] = []
    for crop in crops:
        if len(held) < _SHUFFLED:
            held.append(crop)
            continue
        place = int(rng.integers(_SHUFFLED))
        yield held[place]
        held[place] = crop
    for place in rng.permutation(len(held)):
        yield held[place]


def _answers(teacher: Classifier, crops: Sequence[Array]) -> Array:
    return teacher.predict_finite(np.stack(crops).astype(np.float32) / 255, batch_size=ASKED)


def _crops_of(image: Array, drawing: Drawing, seed: tuple[int, ...]) -> Iterator[Array]:
    rng = np.random.default_rng(seed)
    for _ in range(drawing.crops):
        crop = cut(image, drawing.size, rng)
        yield recoloured(crop, drawing.colour, rng) if drawing.colour else crop


def cut(image: Array, size: tuple[int, int], rng: np.random.Generator) -> Array:
    """Cut out a random part of an image in the shape of `size`, resize it to that, and mirror it half of the time."""
    from PIL import Image

    height, width = image.shape[:2]
    largest = min(height / size[0], width / size[1])
    scale = largest * np.sqrt(rng.uniform(_LEAST_AREA, 1))
    tall, wide = scale * size[0], scale * size[1]
    top, left = rng.uniform(0, max(height - tall, 0)), rng.uniform(0, max(width - wide, 0))
    box = (left, top, min(left + wide, width), min(top + tall, height))
    crop = np.asarray(Image.fromarray(image).resize(size[::-1], Image.Resampling.BICUBIC, box=box))
    return crop[:, ::-1] if rng.integers(2) else crop


def recoloured(crop: Array, share: float, rng: np.random.Generator) -> Array:
    """Change brightness, contrast and saturation, in that order, by factors from 1 - share to 1 + share."""
    from PIL import Image, ImageEnhance

    picture = Image.fromarray(np.ascontiguousarray(crop))
    for change in (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color):
        picture = change(picture).enhance(rng.uniform(1 - share, 1 + share))
    return np.asarray(picture)


def shrunk(crop: Array, side: int) -> Array:
    """Resize a crop to a square."""
    from PIL import Image

    if crop.shape[:2] == (side, side):
        return crop
    return np.asarray(Image.fromarray(np.ascontiguousarray(crop)).resize((side, side), Image.Resampling.LANCZOS))
