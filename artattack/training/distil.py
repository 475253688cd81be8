"""Distil a classifier into a binarized network: from its features and logits, or from its logits alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import Field, PositiveInt

from artattack.errors import ArtattackError
from artattack.files import write_file
from artattack.models.ancestry import family_of
from artattack.models.card import Card, card_path, read_card
from artattack.progress import Progress
from artattack.training.crops import Drawing, ask, find_images, fresh_batches, held_out, readable
from artattack.training.data import Array
from artattack.training.imitation import Joint, architecture, build_joint, build_student, unexplained
from artattack.training.train import Share, begin, course_of, in_time
from artattack.validation import Section

if TYPE_CHECKING:
    import tensorflow as tf

    from artattack.models.classifier import Classifier
    from artattack.training.fitting import Course

_MEASURED = 4096  # maximum number of validation crops in memory when training crops are drawn fresh


class DistilSettings(Section):
    """Settings for distillation: teacher, student, images and training."""

    teacher: str = Field(description="the classifier to imitate: a registry name, a file, or a Python function")
    images: str = Field(description="a folder of images, subfolders included, or an image set; labels are ignored")
    logits_only: bool = Field(False, description="imitate the logits alone, which any classifier gives")
    student: str = Field(
        "quicknet", description="the student's larq-zoo architecture, by its name in `artattack models`"
    )
    start: str | None = Field(
        None, description="a model of that architecture with initial weights; default: the student's own if bundled"
    )
    size: int = Field(96, ge=32, le=512, description="side of the crops that the student sees, in pixels")
    crops: PositiveInt = Field(
        16, description="random crops per image; new ones in each epoch when features are imitated"
    )
    colour: float = Field(
        0.0, ge=0, le=0.9, description="largest relative change of the crops' brightness, contrast and saturation"
    )
    epochs: PositiveInt = Field(10, description="maximum number of passes over all images")
    patience: PositiveInt = Field(5, description="epochs without a better validation loss before training stops")
    batch: PositiveInt = Field(64, description="crops per step")
    learning_rate: float = Field(
        0.0015, gt=0, description="initial learning rate of Adam; it falls to 0 along a cosine"
    )
    temperature: float = Field(2.0, gt=0, description="divisor of the logits in the loss")
    held_out: Share = Field(0.1, description="share of the images held out for early stopping and for measuring")
    seed: int = Field(0, ge=0, lt=2**32, description="seed of every random choice")


@dataclass(frozen=True)
class _Material:
    """Training batches for a student, and held-out crops for early stopping and measuring.

    Attributes:
        shown: function from a first epoch to the batches of all epochs from it on.
        crops: crops per epoch.
        questions: crops for which the teacher was queried before training.
        x: uint8 (N, S, S, 3), held-out crops.
        logits: float32 (N, K), the teacher's logits for `x` at its own input size.
        photos: int64 (N,), index of the image of each crop.
        images: numbers of training images and of held-out images.
        unreadable: number of unreadable images.
    """

    shown: Callable[[int], tf.data.Dataset]
    crops: int
    questions: int
    x: Array
    logits: Array
    photos: Array
    images: tuple[int, int]
    unreadable: int


def plan_distilling(settings: DistilSettings, teacher: Classifier) -> list[str]:
    """Return the plan of a distillation with time estimates, a line for each fact; times a few steps.

    Raises:
        ArtattackError: as for `distil`.
    """
    from time import perf_counter

    import tensorflow as tf

    from artattack.training.fitting import seconds_of_a_step, steps_of

    files = find_images(settings.images)
    _check(settings, teacher)
    crops = len(files) * settings.crops
    steps = steps_of(round(crops * (1 - settings.held_out)), settings.batch)
    rng = np.random.default_rng(0)
    few = rng.random((2, *_asked_size(settings, teacher), 3), np.float32)
    logits = teacher.predict(few)  # the first call is slower
    begun = perf_counter()
    teacher.predict(few)
    asked = crops if settings.logits_only else min(_MEASURED, round(crops * settings.held_out))
    asking = (perf_counter() - begun) / len(few) * asked
    joint = _joint(settings, teacher, settings.epochs * steps)
    x = rng.uniform(-1, 1, (settings.batch, settings.size, settings.size, 3)).astype(np.float32)
    given = (x, np.repeat(logits[:1], len(x), 0)) if settings.logits_only else (x,)
    step = seconds_of_a_step(joint.model.train_on_batch, tf.data.Dataset.from_tensors(given).repeat())
    drawn = "" if settings.logits_only else ", new crops in each epoch"
    return [
        f"teacher    {teacher.name}, {teacher.classes} classes, queried for {asked} crops of {len(files)} images"
        f"{' beforehand' * bool(drawn)}: about {in_time(asking)}",
        f"student    {settings.student}, {joint.student.count_params():,} parameters, at {settings.size} px",
        f"imitates   {'logits' if not joint.pairs else 'logits and ' + ', '.join(b for _, b in joint.pairs)}{drawn}",
        f"training   up to {settings.epochs} epochs of {steps} steps: up to {in_time(step * steps * settings.epochs)}",
    ]


def distil(
    settings: DistilSettings,
    teacher: Classifier,
    out: Path,
    *,
    resume: bool = False,
    on_progress: Progress = lambda *_: None,
) -> Card:
    """Train a binarized network to imitate a classifier, and write student.keras, its card and its history.

    With logits alone, the teacher is queried once for each of a fixed set of crops, at its own input size; the folder
    stores its logits. With features, each epoch draws new crops, and the teacher sees them at the student's size. The
    student imitates the teacher's logits and style layers: 1x1 convolutions map the nearest residual sums to the
    teacher's standardised channels, and the loss is the mean squared difference.

    Args:
        settings: settings.
        teacher: the classifier that `settings.teacher` names.
        out: output folder.
        resume: resume the training in the folder from its last complete epoch.
        on_progress: called with the current step and progress.

    Returns:
        The student's card, with its agreement with the teacher on held-out images.

    Raises:
        ArtattackError: the images or architecture do not exist, the teacher's features cannot be read, the folder
            holds another training, or no epoch has a finite loss.
    """
    from artattack.training import fitting
    from artattack.training.card_writing import classes_of, course_facts, rate, write_card
    from artattack.training.networks import save_network, sizes

    files = find_images(settings.images)
    _check(settings, teacher)
    if settings.start:  # rejects another architecture before anything is written
        build_student(settings.student, settings.start, settings.size, teacher.classes)
    begin(out, settings, resume)
    path, kept = out / "student.keras", out / ".crops.npz"
    done = read_card(path) if path.is_file() else None
    if done is not None and done.facts:
        return done
    course, work = course_of(settings), out / ".student"
    material = (_kept if settings.logits_only else _fresh)(settings, teacher, files, kept, course, on_progress)
    steps = fitting.steps_of(material.crops, settings.batch)
    joint = _joint(settings, teacher, settings.epochs * steps)
    measured = (material.x, material.logits) if settings.logits_only else (material.x,)
    history = fitting.fit(
        joint.model,
        material.shown,
        steps,
        fitting.whole(measured, settings.batch),
        course,
        work,
        "distilling",
        on_progress,
    )
    size = sizes(joint.student)
    save_network(joint.student, path)
    info = architecture(settings.student)
    card = Card(
        title=f"{info.name} distilled from {teacher.name}" + ", from its logits alone" * settings.logits_only,
        preprocessing=info.preprocessing,
        **classes_of(teacher),
        style_layers=("activation:0", "sum:3", "sum:7", "sum:11")
        if info.source == "sota.QuickNet"
        else info.style_layers,
        content_layers=info.content_layers,
        distilled_from=settings.teacher,
        family=family_of(info.name),
    )
    write_file(card_path(path), card.model_dump_json().encode())  # needed to open the file for measuring
    seen = 0 if settings.logits_only else len(history) * steps * min(settings.batch, material.crops)
    shares = unexplained(joint, material.x, settings.batch) if joint.pairs else {}
    facts: dict[str, Any] = {
        "teacher_asked_for": "logits" if settings.logits_only else "logits and features",
        "teacher_sha256": teacher.weights_sha256,
        "questions": material.questions + seen,
        **_agreement(path, material, rate),
        **{f"unexplained_{layer}": round(share, 3) for layer, share in shares.items()},
        **size,
        "bytes_of_file": path.stat().st_size,
        "data": Path(settings.images).name,
        "images_trained_on": material.images[0],
        "images_measured_on": material.images[1],
        "unreadable": material.unreadable,
        **course_facts(history),
        "settings": settings.model_dump(mode="json", exclude={"teacher", "images", "start"})
        | {"start": Path(settings.start).name if settings.start else None},
    }
    history.to_csv(path.with_suffix(".csv"), index=False)
    card = card.model_copy(update={"facts": facts})
    write_card(card, path)
    fitting.clear(work)
    kept.unlink(missing_ok=True)
    return card


def _check(settings: DistilSettings, teacher: Classifier) -> None:
    architecture(settings.student)
    if not settings.logits_only and teacher.gives != "features":
        raise ArtattackError(
            f"teacher '{teacher.name}' has no readable layers; imitate its logits alone with --logits-only"
        )


def _asked_size(settings: DistilSettings, teacher: Classifier) -> tuple[int, int]:
    """Return the size of crops as cut: per side, the larger of the teacher's and the student's."""
    height, width = teacher.input_size
    return max(height, settings.size), max(width, settings.size)


def _drawing(settings: DistilSettings, size: tuple[int, int]) -> Drawing:
    return Drawing(size, settings.size, settings.crops, settings.colour, settings.seed)


def _kept(
    settings: DistilSettings,
    teacher: Classifier,
    files: list[Path],
    kept: Path,
    course: Course,
    on_progress: Progress,
) -> _Material:
    """Query the teacher once for the crops of all images, and hold them in memory."""
    from artattack.training.fitting import batches

    crops, unreadable = ask(teacher, files, _drawing(settings, _asked_size(settings, teacher)), kept, on_progress)
    numbers = np.unique(crops.image)
    if len(numbers) < 2:
        raise ArtattackError(f"{settings.images}: fewer than two images can be read")
    held = held_out(numbers, settings.held_out, settings.seed)
    trained, measured = crops.rows_of(np.setdiff1d(numbers, held)), crops.rows_of(held)
    return _Material(
        lambda start: batches((crops.x, crops.logits), course, augment=False, start=start, rows=trained),
        len(trained),
        len(crops.x),
        crops.x[measured],
        crops.logits[measured],
        crops.image[measured],
        (len(numbers) - len(held), len(held)),
        unreadable,
    )


def _fresh(
    settings: DistilSettings,
    teacher: Classifier,
    files: list[Path],
    kept: Path,
    course: Course,
    on_progress: Progress,
) -> _Material:
    """Query the teacher for the held-out crops; training crops are drawn on demand."""
    held = set(held_out(np.arange(len(files)), settings.held_out, settings.seed).tolist())
    trained = readable([path for n, path in enumerate(files) if n not in held], on_progress)
    to_measure = [path for n, path in enumerate(files) if n in held][:_MEASURED]
    plain = _drawing(settings, _asked_size(settings, teacher))._replace(
        crops=max(1, min(settings.crops, _MEASURED // len(to_measure))), colour=0.0
    )
    crops, unreadable = ask(teacher, to_measure, plain, kept, on_progress)
    measured = len(np.unique(crops.image))
    drawing = _drawing(settings, (settings.size, settings.size))
    return _Material(
        lambda start: fresh_batches(trained, drawing, course, start),
        len(trained) * settings.crops,
        len(crops.x),
        crops.x,
        crops.logits,
        crops.image,
        (len(trained), measured),
        unreadable + len(files) - len(held) - len(trained),
    )


def _joint(settings: DistilSettings, teacher: Classifier, steps: int) -> Joint:
    return build_joint(
        teacher,
        student=settings.student,
        start=settings.start,
        size=settings.size,
        features=not settings.logits_only,
        temperature=settings.temperature,
        learning_rate=settings.learning_rate,
        steps=steps,
        seed=settings.seed,
    )


def _agreement(path: Path, material: _Material, rate: Any) -> dict[str, Any]:
    """Return the agreement of the student's file, opened as users open it, with the teacher."""
    from scipy.special import log_softmax

    from artattack.models import load_model

    logits = material.logits
    own = load_model(path).predict(material.x.astype(np.float32) / 255)
    teacher_class = logits.argmax(axis=1)
    nearest = np.argsort(-own, axis=1)[:, :5]
    taught, learnt = log_softmax(logits.astype(np.float64), axis=1), log_softmax(own.astype(np.float64), axis=1)
    return {
        "agrees_with_teacher": rate(own.argmax(axis=1) == teacher_class, material.photos),
        "teachers_class_among_five": rate((nearest == teacher_class[:, None]).any(axis=1), material.photos),
        "kl_divergence": round(float((np.exp(taught) * (taught - learnt)).sum(axis=1).mean()), 3),
        "measured_on": "crops of held-out images, also used for early stopping",
    }
