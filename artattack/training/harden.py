"""Harden a classifier against paint: fine-tune it on painted copies, towards its own answers on untouched images."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from importlib import import_module
from itertools import repeat
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Protocol, Self

import numpy as np
from pydantic import AfterValidator, Field, PositiveInt, model_validator

from artattack.errors import ArtattackError
from artattack.files import write_file
from artattack.inputs.images import read_image, to_float, to_uint8
from artattack.models.card import Card, card_path, read_card
from artattack.progress import Progress
from artattack.training.crops import Drawing, check_images, crops_of_epoch, cut, find_images, held_out, readable
from artattack.training.data import Array
from artattack.training.painted_copies import Copies, Paint
from artattack.training.train import Share, begin, course_of, in_time
from artattack.validation import Section

if TYPE_CHECKING:
    import pandas as pd

    from artattack.models.classifier import Classifier
    from artattack.training.fitting import Course

SUFFIXES = {"keras_hardening": ".keras", "torch_hardening": ".pt"}
_MEASURED = 256  # maximum number of held-out crops for early stopping and measuring
_SHARES = (0.25, 0.5, 0.75, 1.0)  # of the trained weights, in averages with the untouched ones

# ((crops, painted copies), logits of the untouched network): float32 (N, H, W, 3) in [0, 1], twice, and (N, K)
Example = tuple[tuple[Array, Array], Array]


class Trainer(Protocol):
    """A network in training.

    Attributes:
        parameters: number of parameters.
        weights: all floating-point weights of the network; writable. Those of one bit are latent.
    """

    parameters: int
    weights: list[Array]

    def step(self, example: Example) -> float:
        """Train on a batch, and return its loss."""

    def loss(self, example: Example) -> float:
        """Return the mean loss of a batch."""

    def fit(
        self,
        examples: Callable[[int], Iterator[Example]],
        steps: int,
        validation: Sequence[Example],
        course: Course,
        work: Path,
        on_progress: Progress,
    ) -> pd.DataFrame:
        """Train, or resume training; see `artattack.training.fitting.fit`."""

    def save(self, path: Path) -> None:
        """Write the network, from preprocessed images to logits."""


def _in_order(distances: tuple[float, float]) -> tuple[float, float]:
    if not 0 < distances[0] <= distances[1] < np.inf:
        raise ValueError("two distances above 0, the smaller first")
    return distances


class HardenSettings(Section):
    """Settings for hardening: model, images, painter and training."""

    model: str = Field(description="the classifier to harden: a registry name, or a file of Keras or PyTorch")
    images: str = Field(description="a folder of images, subfolders included, or an image set; labels are ignored")
    painter: str | None = Field(None, description="file of a painter; default: the bundled one")
    styles: tuple[str, ...] = Field((), description="styles to train on; default: all others of the painter")
    held_out_styles: tuple[str, ...] = Field(
        (), description="styles for early stopping and measuring alone; default: the painter's last style"
    )
    distances: Annotated[tuple[float, float], AfterValidator(_in_order)] = Field(
        (10.0, 40.0), description="smallest and largest L2 of a painted copy; each copy draws its own in between"
    )
    painted_weight: float = Field(1.0, gt=0, le=100, description="weight of painted copies against untouched images")
    crops: PositiveInt = Field(2, description="random crops per image and epoch")
    epochs: PositiveInt = Field(10, description="maximum number of passes over all images")
    patience: PositiveInt = Field(3, description="epochs without a better validation loss before training stops")
    batch: PositiveInt = Field(16, description="crops per step")
    learning_rate: float = Field(
        0.0001, gt=0, description="initial learning rate of Adam; it falls to 0 along a cosine"
    )
    temperature: float = Field(1.0, gt=0, description="divisor of the logits in the loss")
    held_out: Share = Field(0.1, description="share of the images held out for early stopping and for measuring")
    seed: int = Field(0, ge=0, lt=2**32, description="seed of every random choice")

    @model_validator(mode="after")
    def _apart(self) -> Self:
        if both := sorted(set(self.styles) & set(self.held_out_styles)):
            raise ValueError(f"style '{both[0]}' is to train on and held out; name it once")
        return self


def plan_hardening(settings: HardenSettings, model: Classifier, paint: Paint) -> list[str]:
    """Return the plan of a hardening with time estimates, a line for each fact; times a few steps.

    Raises:
        ArtattackError: as for `harden`.
    """
    from artattack.training.fitting import seconds_of_a_step, steps_of

    files = find_images(settings.images)
    check_images(files)
    copies = _copies(settings, paint)
    held, trained = _split(settings, len(files))
    steps = steps_of(len(trained) * settings.crops, settings.batch)
    trainer = _trainer(settings, model, settings.epochs * steps)
    rng = np.random.default_rng(0)
    x = rng.integers(0, 256, (settings.batch, *model.input_size, 3), np.uint8)
    step = seconds_of_a_step(lambda x: trainer.step(_example(model, copies, x, rng)), repeat((x,)))
    return [
        f"model      {model.name}, {model.classes} classes, {trainer.parameters:,} parameters",
        f"images     {len(files)}, {len(held)} of them held out for measuring",
        f"styles     {', '.join(copies.trained)}; held out: {', '.join(copies.held_out)}",
        f"training   up to {settings.epochs} epochs of {steps} steps of {settings.batch} crops and their painted "
        f"copies: up to {in_time(step * steps * settings.epochs)}",
    ]


def harden(
    settings: HardenSettings,
    model: Classifier,
    paint: Paint,
    out: Path,
    *,
    resume: bool = False,
    on_progress: Progress = lambda *_: None,
) -> Card:
    """Fine-tune a classifier on painted copies of images, and write hardened.keras or .pt, its card and its history.

    The loss of a crop x with a painted copy p is KL(f(x) || g(x)) + w KL(f(x) || g(p)), with the untouched network f,
    the hardened one g and `painted_weight` w; both terms are divided by 1 + w. It needs no labels. The consistency of
    answers under changes follows AugMix (Hendrycks et al., ICLR 2020). Training on painted images follows
    Stylized-ImageNet (Geirhos et al., ICLR 2019). The network trains in evaluation mode: batch normalization keeps its
    statistics, so that untouched and painted images share them, and there is no dropout. In the end, its weights are
    averaged with the untouched ones; see `average_weights`.

    Args:
        settings: settings.
        model: the classifier that `settings.model` names.
        paint: the painter that `settings.painter` names.
        out: output folder.
        resume: resume the training in the folder from its last complete epoch.
        on_progress: called with the current step and progress.

    Returns:
        The hardened network's card, with its flips before and after on held-out images in held-out styles.

    Raises:
        ArtattackError: the images or a style do not exist, the model is no network of Keras 2 or PyTorch, the folder
            holds another training, or no epoch has a finite loss.
    """
    from artattack.training import fitting
    from artattack.training.card_writing import classes_of, course_facts, write_card

    files = find_images(settings.images)
    check_images(files)
    copies = _copies(settings, paint)
    held, trained = _split(settings, len(files))
    path = out / f"hardened{SUFFIXES[_library(model)]}"
    begin(out, settings, resume)
    done = read_card(path) if path.is_file() else None
    if done is not None and done.facts:
        return done
    to_train_on = readable([files[n] for n in trained], on_progress)
    to_measure = readable([files[n] for n in held], on_progress)
    measured = _held_out(settings, model, copies, to_measure)
    steps = fitting.steps_of(len(to_train_on) * settings.crops, settings.batch)
    trainer = _trainer(settings, model, settings.epochs * steps)
    untouched = trainer.weights
    validation = [measured.example(start, settings.batch) for start in range(0, len(measured.crops), settings.batch)]
    history = trainer.fit(
        lambda start: _examples(settings, model, copies, to_train_on, start),
        steps,
        validation,
        course_of(settings),
        out / ".hardening",
        on_progress,
    )
    share = average_weights(trainer, untouched, validation)
    trainer.save(path)
    trained_model: Any = model  # a Keras or PyTorch model, which has preprocessing
    card = Card(
        title=f"{model.name} hardened on painted images",
        preprocessing=asdict(trained_model.preprocessing),
        input_size=model.input_size,
        **classes_of(model),
        style_layers=getattr(model, "style_layers", ()),
        content_layers=getattr(model, "content_layers", ()),
        distilled_from=settings.model,
    )
    write_file(card_path(path), card.model_dump_json().encode())  # needed to open the file for measuring
    facts: dict[str, Any] = {
        **_before_and_after(path, measured),
        "styles_trained_on": list(copies.trained),
        "styles_measured_on": list(copies.held_out),
        "l2_of_painted_copies": list(settings.distances),
        "share_of_trained_weights": share,
        "model_sha256": model.weights_sha256,
        "painter": Path(settings.painter).name if settings.painter else "bundled",
        "bytes_of_file": path.stat().st_size,
        "data": Path(settings.images).name,
        "images_trained_on": len(to_train_on),
        "images_measured_on": len(to_measure),
        "unreadable": len(files) - len(to_train_on) - len(to_measure),
        **course_facts(history),
        "settings": settings.model_dump(mode="json", exclude={"model", "images", "painter"}),
    }
    history.to_csv(path.with_suffix(".csv"), index=False)
    card = card.model_copy(update={"facts": facts})
    write_card(card, path)
    fitting.clear(out / ".hardening")
    return card


def average_weights(trainer: Trainer, untouched: list[Array], validation: Sequence[Example]) -> float:
    """Average trained weights with untouched ones, at the share of trained weights with the lowest validation loss.

    Averages keep more of the untouched network's accuracy on other images (WiSE-FT: Wortsman et al., Robust Fine-Tuning
    of Zero-Shot Models, CVPR 2022).

    Args:
        trainer: the trained network; it gets the averages.
        untouched: its weights before training.
        validation: batches.

    Returns:
        The share, one of a quarter, a half, three quarters and 1.
    """
    trained = trainer.weights

    def mixed(share: float) -> list[Array]:
        if share == 1:
            return trained
        pairs = zip(untouched, trained, strict=True)
        return [((1 - share) * old + share * new).astype(old.dtype) for old, new in pairs]

    losses = {}
    for share in _SHARES:
        trainer.weights = mixed(share)
        loss = sum(trainer.loss(example) * len(example[1]) for example in validation)
        losses[share] = loss if np.isfinite(loss) else np.inf
    best = min(losses, key=losses.__getitem__)
    trainer.weights = mixed(best)
    return best


def _trainer(settings: HardenSettings, model: Classifier, steps: int) -> Trainer:
    """Return the trainer of a model, from `keras_hardening` or `torch_hardening`."""
    trainer: Trainer = import_module(f"{__package__}.{_library(model)}").Hardening(model, settings, steps)
    return trainer


def _library(model: Classifier) -> str:
    network = getattr(model, "network", None)
    kinds = {f"{kind.__module__.partition('.')[0]}.{kind.__name__}" for kind in type(network).__mro__}
    if "tf_keras.Model" in kinds:
        return "keras_hardening"
    if "artattack.TorchNetwork" in kinds:
        return "torch_hardening"
    raise ArtattackError(
        f"model '{model.name}' cannot be trained here: hardening takes networks of Keras 2 (registry names, .keras and "
        ".h5 files) and of PyTorch (torch: and timm:)"
    )


def _copies(settings: HardenSettings, paint: Paint) -> Copies:
    return Copies.of(paint, settings.styles, settings.held_out_styles, settings.distances)


def _split(settings: HardenSettings, count: int) -> tuple[list[int], list[int]]:
    """Return the indices of images held out, and of those to train on."""
    numbers = np.arange(count)
    held = held_out(numbers, settings.held_out, settings.seed)
    return sorted(held.tolist()), np.setdiff1d(numbers, held).tolist()


def _example(
    model: Classifier, copies: Copies, x: Array, rng: np.random.Generator, *, held_out: bool = False
) -> Example:
    """Return the example of uint8 crops (N, H, W, 3), each with a painted copy."""
    untouched = to_float(x)
    painted = copies.drawn(untouched, rng, held_out=held_out)
    return (untouched, painted), model.predict_finite(untouched, batch_size=len(x))


def _examples(
    settings: HardenSettings, model: Classifier, copies: Copies, files: Sequence[Path], start: int
) -> Iterator[Example]:
    """Yield the batches of all epochs from `start` on; seed and epoch alone determine them."""
    from artattack.training.fitting import steps_of

    count = len(files) * settings.crops
    batch = min(settings.batch, count)
    drawing = _drawing(settings, model)
    for epoch in range(start, settings.epochs):
        rng = np.random.default_rng((settings.seed, 2, epoch))
        crops = crops_of_epoch(files, drawing, epoch)
        for _ in range(steps_of(count, settings.batch)):
            yield _example(model, copies, np.stack([next(crops) for _ in range(batch)]), rng)


@dataclass(frozen=True)
class _Measured:
    """Held-out crops.

    Attributes:
        crops: uint8 (N, H, W, 3), the crops.
        painted: uint8 (N, H, W, 3), their painted copies.
        logits: (N, K), the untouched network's logits for the crops.
        before: (N, K), the untouched network's logits for the painted copies.
        photos: (N,), index of the image of each crop.
    """

    crops: Array
    painted: Array
    logits: Array
    before: Array
    photos: Array

    def example(self, start: int, batch: int) -> Example:
        """Return a batch of crops, from the crop at `start` on."""
        rows = slice(start, start + batch)
        return (to_float(self.crops[rows]), to_float(self.painted[rows])), self.logits[rows]


def _held_out(settings: HardenSettings, model: Classifier, copies: Copies, files: Sequence[Path]) -> _Measured:
    """Return held-out crops, painted in held-out styles; the same in every epoch."""
    each = max(1, min(settings.crops, _MEASURED // len(files)))
    crops, photos = [], []
    for number, path in enumerate(files[:_MEASURED]):
        image, places = read_image(path), np.random.default_rng((settings.seed, 3, number))
        crops += [cut(image, model.input_size, places) for _ in range(each)]
        photos += [number] * each
    rng = np.random.default_rng((settings.seed, 4))
    painted, logits, before = [], [], []
    for start in range(0, len(crops), settings.batch):
        x = np.stack(crops[start : start + settings.batch])
        (_, drawn), answers = _example(model, copies, x, rng, held_out=True)
        painted.append(to_uint8(drawn))
        logits.append(answers)
        before.append(model.predict_finite(drawn, batch_size=len(x)))
    of_all = [np.concatenate(parts) for parts in (painted, logits, before)]
    return _Measured(np.stack(crops), of_all[0], of_all[1], of_all[2], np.array(photos))


def _before_and_after(path: Path, measured: _Measured) -> dict[str, Any]:
    """Return the flip rates on held-out painted crops before and after hardening, and on the untouched crops after it.

    A flip is an answer that differs from the untouched network's answer for the untouched crop.
    """
    from artattack.models import load_model
    from artattack.training.card_writing import rate

    hardened = load_model(path)
    own = measured.logits.argmax(axis=1)

    def changed(answers: Array) -> dict[str, float]:
        return rate(answers.argmax(axis=1) != own, measured.photos)

    return {
        "flips_before": changed(measured.before),
        "flips_after": changed(hardened.predict(to_float(measured.painted))),
        "answers_changed_without_paint": changed(hardened.predict(to_float(measured.crops))),
        "measured_on": "crops of held-out images in held-out styles, which also chose the epoch and the share",
    }


def _drawing(settings: HardenSettings, model: Classifier) -> Drawing:
    return Drawing(model.input_size, None, settings.crops, 0.0, settings.seed)
