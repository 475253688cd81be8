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
from artattack.training.data import LabelledImages, OnProgress, count_images, read_labelled
from artattack.training.networks import FLOAT, Precision, check_size, parse_precision
from artattack.validation import Section, as_list

if TYPE_CHECKING:
    from artattack.training.fitting import Course

Share = Annotated[float, Field(gt=0, lt=1)]


def _each_checked(precisions: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(str(parse_precision(text)) for text in precisions))


class TrainSettings(Section):
    """What is trained, on what, and how."""

    data: str = Field(description="a folder with a subfolder a class, an .npz file, or CIFAR-10 in Python batches")
    precisions: Annotated[
        tuple[str, ...], BeforeValidator(as_list), Field(min_length=1), AfterValidator(_each_checked)
    ] = Field(("w1a1", "float"), description="a network for each: float, or bits of weights and activations: w1a8")
    size: int = Field(32, ge=16, le=512, description="side of images in pixels, a multiple of 8")
    width: float = Field(1.0, gt=0, le=4, description="filters and units, times the study's")
    optimizer: Literal["adam", "bop"] = Field(
        "adam", description="of one-bit weights: adam, on latent weights, or bop, which flips signs; Adam for the rest"
    )
    learning_rate: float = Field(0.002, gt=0, description="of Adam at the start; it falls to 0 with a cosine")
    epochs: PositiveInt = Field(60, description="at most")
    patience: PositiveInt = Field(20, description="epochs without a better validation loss before training stops")
    batch: PositiveInt = Field(64, description="images of a step")
    augment: bool = Field(True, description="mirror images, and shift them by up to an eighth")
    held_out: Share = Field(0.2, description="share kept for measuring, where the data do not say which images are")
    validation: Share = Field(0.1, description="share of the rest that says when to stop")
    seed: int = Field(0, ge=0, lt=2**32, description="every random choice follows from it")


def plan_training(settings: TrainSettings) -> list[str]:
    """Return what would be trained and how long it would take, a line for each fact; trains a few steps to know.

    Raises:
        ArtattackError: there is no such data, or a setting makes no sense.
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
        + (f", {own} more to measure by" if own else f", {settings.held_out:.0%} of them to measure by"),
        f"training   up to {settings.epochs} epochs of {steps} steps of {settings.batch} images, {settings.size} px",
    ]
    for text in settings.precisions:
        network = _compiled(settings, len(classes), parse_precision(text), steps)
        taken = seconds_of_a_step(network, batches((x, y), _course(settings), settings.augment))
        lines.append(
            f"{text:10} {network.count_params():,} parameters, up to {in_time(taken * steps * settings.epochs)}"
        )
    return lines


def train(
    settings: TrainSettings, out: Path, *, resume: bool = False, on_progress: OnProgress = lambda *_: None
) -> list[Card]:
    """Train a network for each precision, and write NAME.keras, its card NAME.json and NAME.md, and NAME.csv.

    Accuracy is that of the file, opened as a user opens it, on images that neither training nor stopping has seen.

    Args:
        settings: what and how.
        out: folder to write to.
        resume: go on with the training in it, from the last whole epoch.
        on_progress: told what is under way.

    Returns:
        The cards, in the order of the precisions.

    Raises:
        ArtattackError: there is no such data, a setting makes no sense, or the folder holds another training.
    """
    check_size(settings.size)
    count_images(Path(settings.data))
    begin(out, settings, resume)
    images = read_labelled(
        Path(settings.data),
        settings.size,
        held_out=settings.held_out,
        validation=settings.validation,
        seed=settings.seed,
        on_progress=on_progress,
    )
    return [_train_one(settings, parse_precision(text), images, out, on_progress) for text in settings.precisions]


def begin(out: Path, settings: Section, resume: bool) -> None:
    """Write the settings of a training into its folder, or check that they are those of the training in it.

    Raises:
        ArtattackError: the folder is in use or holds a training of other settings.
    """
    path, given = out / "settings.json", json.loads(settings.model_dump_json())
    if path.is_file():
        try:
            there = json.loads(path.read_bytes())
        except (OSError, ValueError) as error:
            raise ArtattackError(f"{path}: cannot be read: {error}") from error
        if not resume:
            raise ArtattackError(f"{out} holds a training: name another folder, or go on with it by --resume")
        changed = [key for key in given if there.get(key) != given[key]] if isinstance(there, dict) else list(given)
        if changed:
            raise ArtattackError(
                f"{out} was trained with another {changed[0]}: ask for the same, or name another folder"
            )
    elif out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ArtattackError(f"{out} is there and holds no training: name another folder")
    else:
        write_file(path, (json.dumps(given, indent=2) + "\n").encode())


def _train_one(
    settings: TrainSettings, precision: Precision, images: LabelledImages, out: Path, on_progress: OnProgress
) -> Card:
    from artattack.training import fitting
    from artattack.training.networks import save_network, sizes
    from artattack.training.writing import rate, write_card

    path = out / f"{precision}.keras"
    done = read_card(path) if path.is_file() else None
    if done is not None:
        return done
    course, work = _course(settings), out / f".{precision}"
    steps = fitting.steps_of(len(images.train[1]), settings.batch)
    network = _compiled(settings, len(images.classes), precision, steps)
    history = fitting.fit(
        network,
        lambda start: fitting.batches(images.train, course, settings.augment, start),
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
    card = Card(title=f"BinaryNet, {_in_words(precision)}", **opened, **layers)
    write_file(card_path(path), card.model_dump_json().encode())  # by which the file is opened for measuring
    right = int((_classes_seen(path, images.test[0]) == images.test[1]).sum())
    best = history.to_dict("records")[int(history["val_loss"].to_numpy().argmin())]
    facts: dict[str, Any] = {
        "precision": str(precision),
        "weight_bits": precision.weights,
        "activation_bits": precision.activations,
        "accuracy": rate(right, len(images.test[1])),
        **size,
        "bytes_of_file": path.stat().st_size,
        "data": Path(settings.data).name,
        "images_trained_on": len(images.train[1]),
        "images_to_stop_by": len(images.validation[1]),
        "images_measured_on": len(images.test[1]),
        "measured_on": "the data's own test images" if images.own_test else "images of the data that were held out",
        "unreadable": len(images.unreadable),
        "epochs": len(history),
        "best_epoch": int(best["epoch"]) + 1,
        "minutes": round(float(history["seconds"].sum()) / 60, 2),
        "settings": settings.model_dump(mode="json", exclude={"data", "precisions"}),
    }
    history.to_csv(path.with_suffix(".csv"), index=False)
    card = card.model_copy(update={"facts": facts})
    write_card(card, path)
    fitting.clear(work)
    return card


def _classes_seen(path: Path, x: Any) -> Any:
    from artattack.models import load_model

    return load_model(path).predict(x.astype("float32") / 255).argmax(axis=1)


def _label_space(classes: Sequence[str]) -> LabelSpace | None:
    """Return ImageNet's classes by their wnid or name, or None if one is no such class; numbers may be anything's."""
    try:
        found = tuple(class_index(name) for name in classes if not name.isdigit())
    except ArtattackError:
        return None
    return found if len(set(found)) == len(classes) else None


def _course(settings: TrainSettings) -> Course:
    from artattack.training.fitting import Course

    return Course(settings.epochs, settings.batch, settings.patience, settings.seed)


def _compiled(settings: TrainSettings, classes: int, precision: Precision, steps: int) -> Any:
    """Build a network with its optimiser, each drawn from the seed."""
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
    """Return Adam whose rate falls to 0 with a cosine, with larq's Bop for one-bit weights or without.

    Bop's threshold and rate are those of its paper (Helwegen et al., 2019) for CIFAR-10, the rate falling alike.
    """
    import larq as lq
    import tf_keras

    schedule = tf_keras.optimizers.schedules.CosineDecay
    adam = tf_keras.optimizers.legacy.Adam(schedule(learning_rate, steps))  # larq's optimisers are of that kind
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
    """Say a time in the unit that suits it."""
    return (
        f"{seconds:.0f} s"
        if seconds < 100
        else f"{seconds / 60:.0f} min"
        if seconds < 6000
        else f"{seconds / 3600:.1f} h"
    )
