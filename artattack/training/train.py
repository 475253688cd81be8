"""Train the 2020 study's network at one bit, in float and at any precision between, on labelled images."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, PositiveInt

from artattack.errors import ArtattackError
from artattack.files import write_file
from artattack.inputs.labels import LabelSpace, class_index
from artattack.models.card import Card, card_path, read_card
from artattack.progress import Progress
from artattack.training.data import LabelledImages, count_images, read_labelled
from artattack.training.networks import FLOAT, Precision, check_size, parse_precision
from artattack.validation import Section, as_list

if TYPE_CHECKING:
    from artattack.training.fitting import Course
    from artattack.training.painted_copies import Copies

Share = Annotated[float, Field(gt=0, lt=1)]


def _each_checked(precisions: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(str(parse_precision(text)) for text in precisions))


class TrainSettings(Section):
    """Settings for training: data, precisions, network and optimizer."""

    data: str = Field(description="a folder with a subfolder per class, an .npz file, or CIFAR-10 in Python batches")
    precisions: Annotated[
        tuple[str, ...], BeforeValidator(as_list), Field(min_length=1), AfterValidator(_each_checked)
    ] = Field(
        ("w1a1", "float"),
        description="one network per precision: float, or bits of weights and activations such as w1a8",
    )
    size: int = Field(32, ge=16, le=512, description="side of images in pixels, a multiple of 8")
    width: float = Field(1.0, gt=0, le=4, description="factor on the study's numbers of filters and units")
    optimizer: Literal["adam", "bop"] = Field(
        "adam", description="optimizer of one-bit weights: adam on latent weights, or bop, which flips signs"
    )
    learning_rate: float = Field(0.002, gt=0, description="initial learning rate of Adam; it falls to 0 along a cosine")
    epochs: PositiveInt = Field(60, description="maximum number of epochs")
    patience: PositiveInt = Field(20, description="epochs without a better validation loss before training stops")
    batch: PositiveInt = Field(64, description="images per step")
    with_art: str | None = Field(
        None,
        description="painter's file, or bundled: half of each batch, drawn at random, is painted in all its styles but "
        "the last, which measures",
    )
    augment: bool = Field(True, description="mirror images and shift them by up to an eighth")
    held_out: Share = Field(0.2, description="share held out for measuring, if the data define no test images")
    validation: Share = Field(0.1, description="share of the rest used for early stopping")
    seed: int = Field(0, ge=0, lt=2**32, description="seed of every random choice")


def plan_training(settings: TrainSettings) -> list[str]:
    """Return the plan of a training with time estimates, a line for each fact; times a few steps.

    Raises:
        ArtattackError: the data do not exist, or a setting is invalid.
    """
    import numpy as np

    from artattack.training.fitting import batches, seconds_of_a_step, steps_of

    check_size(settings.size)
    classes, images, own = count_images(Path(settings.data))
    kept = images if own else images * (1 - settings.held_out)
    steps = steps_of(round(kept * (1 - settings.validation)), settings.batch)
    rng = np.random.default_rng(0)
    x = rng.integers(0, 256, (8 * settings.batch, settings.size, settings.size, 3), np.uint8)
    y = rng.integers(0, len(classes), len(x))
    lines = [
        f"data       {images} images of {len(classes)} classes"
        + (f", {own} more for measuring" if own else f", {settings.held_out:.0%} of them held out for measuring"),
        f"training   up to {settings.epochs} epochs of {steps} steps of {settings.batch} images, {settings.size} px",
    ]
    for text in settings.precisions:
        network = _compiled(settings, len(classes), parse_precision(text), steps)
        taken = seconds_of_a_step(network.train_on_batch, batches((x, y), course_of(settings), settings.augment))
        lines.append(
            f"{text:10} {network.count_params():,} parameters, up to {in_time(taken * steps * settings.epochs)}"
        )
    return lines


def train(
    settings: TrainSettings, out: Path, *, resume: bool = False, on_progress: Progress = lambda *_: None
) -> list[Card]:
    """Train a network for each precision, and write NAME.keras, its card NAME.json and NAME.md, and NAME.csv.

    Accuracy is measured on the written file, opened as users open it, and on images that neither training nor early
    stopping has seen.

    Args:
        settings: settings.
        out: output folder.
        resume: resume the training in the folder from its last complete epoch.
        on_progress: called with the current step and progress.

    Returns:
        The cards, in the order of the precisions.

    Raises:
        ArtattackError: the data do not exist, a setting is invalid, or the folder holds another training.
    """
    check_size(settings.size)
    count_images(Path(settings.data))
    copies = _copies(settings)
    begin(out, settings, resume)
    images = read_labelled(
        Path(settings.data),
        settings.size,
        held_out=settings.held_out,
        validation=settings.validation,
        seed=settings.seed,
        on_progress=on_progress,
    )
    return [
        _train_one(settings, parse_precision(text), images, copies, out, on_progress) for text in settings.precisions
    ]


def begin(out: Path, settings: Section, resume: bool) -> None:
    """Write a training's settings into its folder, or check them against the settings there.

    Raises:
        ArtattackError: the folder holds other files, a training with other settings or, without `resume`, any training;
            or its settings cannot be read.
    """
    path, given = out / "settings.json", json.loads(settings.model_dump_json())
    if path.is_file():
        try:
            there = json.loads(path.read_bytes())
        except (OSError, ValueError) as error:
            raise ArtattackError(f"{path}: cannot be read: {error}") from error
        if not resume:
            raise ArtattackError(f"{out} already holds a training: name another folder, or add --resume")
        told = there if isinstance(there, dict) else {}
        changed = [key for key in given if key not in told or told[key] != given[key]]
        if changed:
            other = f"with another {changed[0]}: give the same value, or"
            older = f"by another version, without {changed[0]}:"
            raise ArtattackError(f"{out} was trained {other if changed[0] in told else older} name another folder")
    elif out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ArtattackError(f"{out} exists and holds no training: name another folder")
    else:
        write_file(path, (json.dumps(given, indent=2) + "\n").encode())


def _train_one(
    settings: TrainSettings,
    precision: Precision,
    images: LabelledImages,
    copies: Copies | None,
    out: Path,
    on_progress: Progress,
) -> Card:
    from artattack.training import fitting
    from artattack.training.card_writing import course_facts, rate, write_card
    from artattack.training.networks import save_network, sizes
    from artattack.training.painted_copies import with_copies

    path = out / f"{precision}.keras"
    done = read_card(path) if path.is_file() else None
    if done is not None:
        return done
    course, work = course_of(settings), out / f".{precision}"
    steps = fitting.steps_of(len(images.train[1]), settings.batch)
    network = _compiled(settings, len(images.classes), precision, steps)

    def shown(start: int) -> Any:
        plain = fitting.batches(images.train, course, settings.augment, start)
        return plain if copies is None else with_copies(plain, copies, settings.seed, start * steps)

    history = fitting.fit(
        network,
        shown,
        steps,
        fitting.whole(images.validation, settings.batch),
        course,
        work,
        f"training {precision}",
        on_progress,
    )
    size = sizes(network)
    save_network(network, path)
    space = _label_space(images.classes)
    opened = {"preprocessing": "tf", "label_space": space, "classes": images.classes}
    layers = {"style_layers": ("conv:1", "conv:2", "conv:3", "conv:5"), "content_layers": ("conv:3",)}
    card = Card(title=f"BinaryNet, {_in_words(precision)}", family="binarynet", **opened, **layers)
    write_file(card_path(path), card.model_dump_json().encode())  # needed to open the file for measuring
    right = _classes_seen(path, images.test[0]) == images.test[1]
    painted = {} if copies is None else _on_paint(path, images.test, copies, settings)
    facts: dict[str, Any] = {
        "precision": str(precision),
        "weight_bits": precision.weights,
        "activation_bits": precision.activations,
        "accuracy": rate(right),
        **painted,
        **size,
        "bytes_of_file": path.stat().st_size,
        "data": Path(settings.data).name,
        "images_trained_on": len(images.train[1]),
        "images_to_stop_by": len(images.validation[1]),
        "images_measured_on": len(images.test[1]),
        "measured_on": "the data's own test images" if images.own_test else "held-out images of the data",
        "unreadable": len(images.unreadable),
        **course_facts(history),
        "settings": settings.model_dump(mode="json", exclude={"data", "precisions", "with_art"})
        | {"with_art": settings.with_art and Path(settings.with_art).name},
    }
    history.to_csv(path.with_suffix(".csv"), index=False)
    card = card.model_copy(update={"facts": facts})
    write_card(card, path)
    fitting.clear(work)
    return card


def _copies(settings: TrainSettings) -> Copies | None:
    """Return settings for painted copies: all styles but the painter's last, as far as L2 10 to 40 at 224 px.

    Raises:
        ArtattackError: the painter cannot be read, or has one style.
    """
    from artattack.training.painted_copies import Copies, painter_of

    if settings.with_art is None:
        return None
    low, high = (distance * settings.size / 224 for distance in (10.0, 40.0))
    return Copies.of(painter_of(settings.with_art), (), (), (low, high))


def _on_paint(path: Path, test: tuple[Any, Any], copies: Copies, settings: TrainSettings) -> dict[str, Any]:
    """Return a network's accuracy on test images painted in the held-out style."""
    import numpy as np

    from artattack.inputs.images import to_float, to_uint8
    from artattack.training.card_writing import rate

    painted = to_uint8(copies.drawn(to_float(test[0]), np.random.default_rng((settings.seed, 6)), held_out=True))
    return {
        "accuracy_painted": rate(_classes_seen(path, painted) == test[1]),
        "styles_trained_on": list(copies.trained),
        "styles_measured_on": list(copies.held_out),
    }


def _classes_seen(path: Path, x: Any) -> Any:
    from artattack.models import load_model

    return load_model(path).predict(x.astype("float32") / 255).argmax(axis=1)


def _label_space(classes: Sequence[str]) -> LabelSpace | None:
    """Return the ImageNet classes with these wnids or names; None if one is no ImageNet class or just a number."""
    try:
        found = tuple(class_index(name) for name in classes if not name.isdigit())
    except ArtattackError:
        return None
    return LabelSpace(found) if len(set(found)) == len(classes) else None


def course_of(settings: Any) -> Course:
    """Return the course of a training whose settings have `epochs`, `batch`, `patience` and `seed`."""
    from artattack.training.fitting import Course

    return Course(settings.epochs, settings.batch, settings.patience, settings.seed)


def _compiled(settings: TrainSettings, classes: int, precision: Precision, steps: int) -> Any:
    """Build and compile a network; the seed determines its initial weights."""
    import tf_keras

    from artattack.training.networks import build_network

    by_bop = settings.optimizer == "bop" and precision.weights == 1
    tf_keras.utils.set_random_seed(settings.seed)
    network = build_network(settings.size, classes, settings.width, precision, latent=not by_bop)
    network.compile(
        optimizer=make_optimizer(settings.learning_rate, settings.epochs * steps, by_bop=by_bop),
        loss="sparse_categorical_crossentropy",
        metrics=["accuracy"],
    )
    return network


def make_optimizer(learning_rate: float, steps: int, *, by_bop: bool = False) -> Any:
    """Return Adam with a cosine decay to 0, optionally combined with larq's Bop for one-bit weights.

    Bop's threshold and initial rate are those of its paper (Helwegen et al., 2019) for CIFAR-10; its rate decays
    along a cosine, too.
    """
    import larq as lq
    import tf_keras

    schedule = tf_keras.optimizers.schedules.CosineDecay
    adam = tf_keras.optimizers.legacy.Adam(schedule(learning_rate, steps))  # larq's optimizers need the legacy class
    if not by_bop:
        return adam
    bop = lq.optimizers.Bop(threshold=1e-8, gamma=schedule(1e-3, steps, alpha=0.1))
    return lq.optimizers.CaseOptimizer((lq.optimizers.Bop.is_binary_variable, bop), default_optimizer=adam)


def _in_words(precision: Precision) -> str:
    def bits(number: int) -> str:
        return "float" if number == FLOAT else f"{number}-bit"

    return (
        "float"
        if str(precision) == "float"
        else f"{bits(precision.weights)} weights, {bits(precision.activations)} activations"
    )


def in_time(seconds: float) -> str:
    """Format a duration in a suitable unit."""
    return (
        f"{seconds:.0f} s"
        if seconds < 100
        else f"{seconds / 60:.0f} min"
        if seconds < 6000
        else f"{seconds / 3600:.1f} h"
    )
