"""Crops of images for distillation: a fixed set with stored teacher logits, or fresh crops in each epoch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from artattack.errors import ArtattackError
from artattack.files import sha256_file, writing
from artattack.inputs.image_sets import hashes_of, image_set_names, open_image_set
from artattack.inputs.images import read_image
from artattack.progress import Progress
from artattack.training.data import Array, image_files

if TYPE_CHECKING:
    import tensorflow as tf

    from artattack.models.classifier import Classifier
    from artattack.training.fitting import Course

ASKED = 32  # crops in one query to the teacher
_LEAST_AREA = 0.12  # smallest crop area, as a share of the image's area
_SHUFFLED = 2048  # size of the shuffle buffer, in fresh crops
_FEWEST = 3  # minimum number of images


@dataclass(frozen=True)
class Crops:
    """Crops at the student's size, with the teacher's logits.

    Attributes:
        x: uint8 (N, S, S, 3).
        logits: float32 (N, K), the teacher's logits for the same crops at its own input size.
        image: int64 (N,), the index of each crop's image.
    """

    x: Array
    logits: Array
    image: Array

    def rows_of(self, images: Array) -> Array:
        """Return the indices of the crops cut from the given images."""
        return np.flatnonzero(np.isin(self.image, images))


class Drawing(NamedTuple):
    """Settings for drawing crops.

    Attributes:
        size: (H, W) of each crop as cut, in pixels.
        side: side of the crops that the student sees, in pixels; None keeps them as cut.
        crops: crops per image.
        colour: largest relative change of brightness, contrast and saturation.
        seed: seed; it determines every random choice, together with the image's index and the epoch.
    """

    size: tuple[int, int]
    side: int | None
    crops: int
    colour: float
    seed: int

    @property
    def seen(self) -> tuple[int, int]:
        """(H, W) of the crops that the student sees."""
        return self.size if self.side is None else (self.side, self.side)


def find_images(name: str) -> list[Path]:
    """Return the images in a folder and its subfolders, or in an image set given by name or manifest.

    Raises:
        ArtattackError: there are fewer than three images.
    """
    path = Path(name).expanduser()
    if name not in image_set_names() and path.is_dir():
        files = list(image_files(path))
    else:
        files = [sample.path for sample in open_image_set(name).samples]
    if len(files) < _FEWEST:
        raise ArtattackError(f"{name}: {len(files)} images; give at least three, preferably hundreds")
    return files


def check_images(files: Sequence[Path]) -> None:
    """Check that no training image is one of the bundled samples, which measure trained networks.

    Files are compared by their SHA-256, whatever their names.

    Raises:
        ArtattackError: a training image is a bundled sample.
    """
    samples = hashes_of("samples")
    for file in files:
        try:
            known = sha256_file(file) in samples
        except ArtattackError:  # reading it later says what is wrong with it
            continue
        if known:
            raise ArtattackError(
                f"{file} is one of the bundled samples, which measure what is trained: take it out of the images"
            )


def held_out(numbers: Array, share: float, seed: int) -> Array:
    """Return the images held out for early stopping and measuring.

    Args:
        numbers: (N,) indices of images.
        share: share of the images to hold out; at least one image is.
        seed: seed of the choice.
    """
    count = max(1, round(share * len(numbers)))
    return np.random.default_rng(seed).permutation(numbers)[:count]


def ask(
    teacher: Classifier, files: Sequence[Path], drawing: Drawing, kept: Path, on_progress: Progress
) -> tuple[Crops, int]:
    """Return crops with the teacher's logits, and the number of unreadable images.

    The teacher is queried once. A file stores crops and logits; if it exists, they are read from it.

    Args:
        teacher: classifier to query, at `drawing.size`.
        files: image files.
        drawing: settings for drawing crops.
        kept: file that stores crops and logits.
        on_progress: called with the number of images done.

    Raises:
        ArtattackError: no image can be read, or the file cannot be written.
    """
    if kept.is_file():
        with np.load(kept) as file:
            return Crops(file["x"], file["logits"], file["image"]), int(file["unreadable"])
    x = np.empty((len(files) * drawing.crops, *drawing.seen, 3), np.uint8)
    numbers = np.empty(len(x), np.int64)
    answers: list[Array] = []
    pending: list[Array] = []
    done = unreadable = 0
    for number, path in enumerate(files):
        on_progress(f"querying {teacher.name}", number, len(files))
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
        raise ArtattackError(f"cannot read any of the {len(files)} images to measure or train on")
    found = Crops(x[:done], np.concatenate(answers), numbers[:done])
    with writing(kept) as file:
        np.savez(file, x=found.x, logits=found.logits, image=found.image, unreadable=unreadable)
    return found, unreadable


def readable(files: Sequence[Path], on_progress: Progress) -> list[Path]:
    """Return the readable images among the given ones.

    Raises:
        ArtattackError: no image can be read.
    """
    good = []
    for number, path in enumerate(files):
        on_progress("checking images", number, len(files))
        try:
            read_image(path)
        except ArtattackError:
            continue
        good.append(path)
    if not good:
        raise ArtattackError(f"cannot read any of the {len(files)} images to train on")
    return good


def fresh_batches(
    files: Sequence[Path], drawing: Drawing, course: Course, start: int = 0, most: int | None = None
) -> tf.data.Dataset:
    """Return batches of crops of all epochs from `start` on; each epoch draws new crops in a new order.

    The seed and the epoch's number alone determine the crops, so resumed training sees the crops that uninterrupted
    training would see. Each epoch rereads the images; memory holds at most 2048 crops and one image.

    Args:
        files: readable image files.
        drawing: settings for drawing crops.
        course: length of training.
        start: first epoch.
        most: largest number of images in one epoch, chosen at random in each; by default all.

    Returns:
        Batches of one tensor, float32 (B, S, S, 3) in [-1, 1].
    """
    import tensorflow as tf

    from artattack.training.fitting import steps_of

    images = min(len(files), most or len(files))
    n = images * drawing.crops
    batch = min(course.batch, n)

    def draw() -> Iterator[tuple[Array]]:
        for epoch in range(start, course.epochs):
            crops = crops_of_epoch(files, drawing, epoch, images)
            for _ in range(steps_of(n, course.batch)):
                yield (np.stack([next(crops) for _ in range(batch)]),)

    shown = tf.data.Dataset.from_generator(draw, output_signature=(tf.TensorSpec((batch, *drawing.seen, 3), tf.uint8),))
    return shown.map(lambda x: (tf.cast(x, tf.float32) / 127.5 - 1,)).prefetch(2)


def blank_batches(batch: int, side: int) -> tf.data.Dataset:
    """Return endless batches in the form of `fresh_batches`, of zeros, for a loss that reads no crops."""
    import tensorflow as tf

    return tf.data.Dataset.from_tensors((tf.zeros((batch, side, side, 3)),)).repeat()


def crops_of_epoch(files: Sequence[Path], drawing: Drawing, epoch: int, images: int | None = None) -> Iterator[Array]:
    """Yield the crops of an epoch, uint8 (H, W, 3), in random order; seed and epoch alone determine them.

    Args:
        files: readable image files.
        drawing: settings for drawing crops.
        epoch: number of the epoch.
        images: number of images of the epoch; by default all.
    """
    rng = np.random.default_rng((drawing.seed, 1, epoch))
    yield from _shuffled(_epoch(files, drawing, epoch, len(files) if images is None else images), rng)


def _epoch(files: Sequence[Path], drawing: Drawing, epoch: int, images: int) -> Iterator[Array]:
    """Yield the crops of an epoch, image by image."""
    for number in np.random.default_rng((drawing.seed, 0, epoch)).permutation(len(files))[:images]:
        image = read_image(files[number])
        for crop in _crops_of(image, drawing, (drawing.seed, int(number), epoch)):
            yield shrunk(crop, drawing.side)


def _shuffled(crops: Iterator[Array], rng: np.random.Generator) -> Iterator[Array]:
    """Yield crops in random order, within a shuffle buffer."""
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
    """Cut a random crop, resize it to `size`, and mirror it with probability 1/2.

    Args:
        image: uint8 (H, W, 3).
        size: height and width of the result in pixels; the crop has their ratio.
        rng: source of the draws.
    """
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
    """Scale brightness, contrast and saturation of a crop by random factors, in that order.

    Args:
        crop: uint8 (H, W, 3).
        share: largest relative change; each factor lies between 1 - share and 1 + share.
        rng: source of the draws.
    """
    from PIL import Image, ImageEnhance

    picture = Image.fromarray(np.ascontiguousarray(crop))
    for change in (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color):
        picture = change(picture).enhance(rng.uniform(1 - share, 1 + share))
    return np.asarray(picture)


def shrunk(crop: Array, side: int | None) -> Array:
    """Resize a crop to a square of a side in pixels; for None, return it unchanged."""
    from PIL import Image

    if side is None or crop.shape[:2] == (side, side):
        return crop
    return np.asarray(Image.fromarray(np.ascontiguousarray(crop)).resize((side, side), Image.Resampling.LANCZOS))
