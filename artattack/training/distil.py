"""Distil a classifier into a binarized network: from its features and logits, or from its answers alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import Field, PositiveInt

from artattack.errors import ArtattackError, unknown
from artattack.files import write_file, writing
from artattack.inputs.image_sets import image_set_infos, open_image_set
from artattack.inputs.images import read_image
from artattack.models.card import Card, card_path, read_card
from artattack.models.registry import model_infos
from artattack.training.data import Array, OnProgress, image_files
from artattack.training.train import Share, begin, in_time, make_optimizer
from artattack.validation import Section

if TYPE_CHECKING:
    from artattack.models.classifier import Classifier

_ASKED = 32  # crops of one question to the teacher
_LATENT = (
    0.25  # of kernels that are +1 and -1 at the start: near enough to 0 to change their sign in a few hundred steps
)
_LEAST_AREA = 0.12  # of a crop, over that of its image


class DistilSettings(Section):
    """Which classifier is imitated, by what, on which images, and how."""

    teacher: str = Field(description="the classifier to imitate: a registry name, a file, or what Python gives it")
    images: str = Field(description="a folder of images, also in subfolders, or an image set; labels are not used")
    logits_only: bool = Field(False, description="ask the teacher for its answers alone, as any classifier has them")
    student: str = Field("quicknet", description="a larq-zoo architecture by its name in `artattack models`")
    start: str | None = Field(
        None, description="a model of that architecture whose weights to begin with; default: the student's if bundled"
    )
    size: int = Field(96, ge=32, le=512, description="side of the crops that the student sees, in pixels")
    crops: PositiveInt = Field(16, description="random crops of each image")
    epochs: PositiveInt = Field(10, description="passes over all crops, at most")
    patience: PositiveInt = Field(5, description="epochs without a better validation loss before training stops")
    batch: PositiveInt = Field(64, description="crops of a step")
    learning_rate: float = Field(0.0015, gt=0, description="of Adam at the start; it falls to 0 with a cosine")
    temperature: float = Field(2.0, gt=0, description="by which logits are divided before they are compared")
    held_out: Share = Field(0.1, description="share of the images whose crops are for stopping and measuring")
    seed: int = Field(0, ge=0, lt=2**32, description="every random choice follows from it")


@dataclass(frozen=True)
class _Crops:
    """Crops as the student sees them, uint8 (N, S, S, 3), what the teacher says of each, (N, K), and parts of them."""

    x: Array
    logits: Array
    image: Array

    def of(self, images: Array) -> tuple[Array, Array]:
        chosen = np.isin(self.image, images)
        return self.x[chosen], self.logits[chosen]


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
    if len(files) < 3:
        raise ArtattackError(f"{name}: {len(files)} images; give three or more, better hundreds")
    return files


def plan_distilling(settings: DistilSettings, teacher: Classifier) -> list[str]:
    """Return what would be done and how long it would take, a line for each fact; tries a few steps to know.

    Raises:
        ArtattackError: as for `distil`.
    """
    from time import perf_counter

    from artattack.training.fitting import batches, seconds_of_a_step, steps_of

    files = find_images(settings.images)
    crops = len(files) * settings.crops
    steps = steps_of(round(crops * (1 - settings.held_out)), settings.batch)
    rng = np.random.default_rng(0)
    few = rng.random((2, *_asked_size(settings, teacher), 3), np.float32)
    logits = teacher.predict(few)  # the first answer takes longer
    begun = perf_counter()
    teacher.predict(few)
    asking = (perf_counter() - begun) / len(few) * crops
    joint = _joint(settings, teacher, settings.epochs * steps)
    x = rng.integers(0, 256, (6 * settings.batch, settings.size, settings.size, 3), np.uint8)
    step = seconds_of_a_step(
        joint.model, batches((x, np.repeat(logits[:1], len(x), 0)), joint.course(settings), augment=False)
    )
    return [
        f"teacher    {teacher.name}, {teacher.classes} classes, asked for {crops} crops of {len(files)} images: about "
        f"{in_time(asking)}",
        f"student    {settings.student}, {joint.student.count_params():,} parameters, at {settings.size} px",
        f"imitates   {'logits' if not joint.pairs else 'logits and ' + ', '.join(b for _, b in joint.pairs)}",
        f"training   up to {settings.epochs} epochs of {steps} steps: up to {in_time(step * steps * settings.epochs)}",
    ]


def distil(
    settings: DistilSettings,
    teacher: Classifier,
    out: Path,
    *,
    resume: bool = False,
    on_progress: OnProgress = lambda *_: None,
) -> Card:
    """Train a binarized network to imitate a classifier, and write student.keras, its card and its history.

    The teacher is asked once about each of a fixed set of crops, at its own input size: what it says is kept in the
    folder. With features, its layers for style are imitated besides, through 1x1 convolutions from the nearest sum at
    the end of a residual branch to the teacher's channels; these are standardised, and squared differences averaged.
    For that the teacher sees the student's crops at their size.

    Args:
        settings: what and how.
        teacher: the classifier that `settings.teacher` names.
        out: folder to write to.
        resume: go on with the training in it, from the last whole epoch.
        on_progress: told what is under way.

    Returns:
        The student's card, which says how often it agrees with its teacher on images that it was not trained on.

    Raises:
        ArtattackError: no such images or architecture, the teacher's features cannot be read, the folder holds another
            training, or no epoch has a finite loss.
    """
    from artattack.training import fitting
    from artattack.training.networks import save_network, sizes
    from artattack.training.writing import rate, write_card

    files = find_images(settings.images)
    _check(settings, teacher)
    if settings.start:
        _student(settings, teacher.classes)  # which finds a start of another architecture before anything is written
    begin(out, settings, resume)
    path = out / "student.keras"
    done = read_card(path) if path.is_file() else None
    if done is not None and done.facts:
        return done
    crops, unreadable = _ask(settings, teacher, files, out / ".crops.npz", on_progress)
    readable = np.unique(crops.image)
    held = np.random.default_rng(settings.seed).permutation(readable)[
        : max(1, round(settings.held_out * len(readable)))
    ]
    trained, measured = crops.of(np.setdiff1d(readable, held)), crops.of(held)
    steps = fitting.steps_of(len(trained[0]), settings.batch)
    joint = _joint(settings, teacher, settings.epochs * steps)
    course, work = joint.course(settings), out / ".student"
    history = fitting.fit(
        joint.model,
        lambda start: fitting.batches(trained, course, augment=False, start=start),
        steps,
        fitting.whole(measured, settings.batch),
        course,
        work,
        "distilling",
        on_progress,
    )
    size = sizes(joint.student)
    save_network(joint.student, path)
    info = _architecture(settings.student)
    card = Card(
        title=f"{info.name} distilled from {teacher.name}" + ", from its answers alone" * settings.logits_only,
        preprocessing=info.preprocessing,
        label_space=teacher.label_space,
        classes=() if teacher.label_space else tuple(map(str, range(teacher.classes))),
        style_layers=("activation:0", "sum:3", "sum:7", "sum:11")
        if info.source == "sota.QuickNet"
        else info.style_layers,
        content_layers=info.content_layers,
        distilled_from=settings.teacher,
    )
    write_file(card_path(path), card.model_dump_json().encode())  # by which the file is opened for measuring
    best = history.to_dict("records")[int(history["val_loss"].to_numpy().argmin())]
    facts: dict[str, Any] = {
        "teacher_asked_for": "logits" if settings.logits_only else "logits and features",
        "teacher_sha256": teacher.weights_sha256,
        "questions": len(crops.x),
        **_agreement(path, *measured, rate),
        **{f"unexplained_{layer}": round(float(best[f"val_{layer}"]), 3) for _, layer in joint.pairs},
        **size,
        "bytes_of_file": path.stat().st_size,
        "data": Path(settings.images).name,
        "images_trained_on": len(readable) - len(held),
        "images_measured_on": len(held),
        "unreadable": unreadable,
        "epochs": len(history),
        "best_epoch": int(best["epoch"]) + 1,
        "minutes": round(float(history["seconds"].sum()) / 60, 2),
        "settings": settings.model_dump(mode="json", exclude={"teacher", "images", "start"})
        | {"start": Path(settings.start).name if settings.start else None},
    }
    history.to_csv(path.with_suffix(".csv"), index=False)
    card = card.model_copy(update={"facts": facts})
    write_card(card, path)
    fitting.clear(work)
    (out / ".crops.npz").unlink(missing_ok=True)
    return card


def _check(settings: DistilSettings, teacher: Classifier) -> None:
    _architecture(settings.student)
    if not settings.logits_only and teacher.gives != "features":
        raise ArtattackError(
            f"teacher '{teacher.name}' has no layers that can be read; imitate its answers alone, by --logits-only"
        )


def _architecture(name: str) -> Any:
    """Return the row of a larq-zoo architecture."""
    infos = {info.name: info for info in model_infos() if info.family in ("larq_zoo", "bundled")}
    if name not in infos:
        raise unknown("architecture of a student", name, infos)
    return infos[name]


# Crops and answers


def _asked_size(settings: DistilSettings, teacher: Classifier) -> tuple[int, int]:
    """Return the size at which crops are cut: the teacher's own, or the student's where that is larger."""
    height, width = teacher.input_size
    return max(height, settings.size), max(width, settings.size)


def _ask(
    settings: DistilSettings, teacher: Classifier, files: Sequence[Path], kept: Path, on_progress: OnProgress
) -> tuple[_Crops, int]:
    """Return crops with the teacher's answers, from the file where they are kept if it is whole, and failed images."""
    if kept.is_file():
        with np.load(kept) as file:
            return _Crops(file["x"], file["logits"], file["image"]), int(file["unreadable"])
    crops: list[Array] = []
    images: list[int] = []
    answers: list[Array] = []
    pending: list[Array] = []
    unreadable = 0
    for number, path in enumerate(files):
        on_progress(f"asking {teacher.name}", number, len(files))
        try:
            image = read_image(path)
        except ArtattackError:
            unreadable += 1
            continue
        rng = np.random.default_rng((settings.seed, number))
        for _ in range(settings.crops):
            crop = _crop(image, _asked_size(settings, teacher), rng)
            pending.append(crop)
            crops.append(_shrunk(crop, settings.size))
            images.append(number)
        while len(pending) >= _ASKED:
            answers.append(_answers(teacher, pending[:_ASKED]))
            del pending[:_ASKED]
    if pending:
        answers.append(_answers(teacher, pending))
    if len(set(images)) < 2:
        raise ArtattackError(f"{settings.images}: fewer than two images could be read")
    found = _Crops(np.stack(crops), np.concatenate(answers), np.array(images))
    with writing(kept) as file:
        np.savez(file, x=found.x, logits=found.logits, image=found.image, unreadable=unreadable)
    return found, unreadable


def _answers(teacher: Classifier, crops: Sequence[Array]) -> Array:
    return teacher.predict_finite(np.stack(crops).astype(np.float32) / 255, batch_size=_ASKED)


def _crop(image: Array, size: tuple[int, int], rng: np.random.Generator) -> Array:
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


def _shrunk(crop: Array, side: int) -> Array:
    from PIL import Image

    if crop.shape[:2] == (side, side):
        return crop
    return np.asarray(Image.fromarray(np.ascontiguousarray(crop)).resize((side, side), Image.Resampling.LANCZOS))


def _agreement(path: Path, x: Array, logits: Array, rate: Any) -> dict[str, Any]:
    """Return how often the student's file, opened as users open it, sees what the teacher sees."""
    from scipy.special import log_softmax

    from artattack.models import load_model

    own = load_model(path).predict(x.astype(np.float32) / 255)
    teacher_class = logits.argmax(axis=1)
    nearest = np.argsort(-own, axis=1)[:, :5]
    taught, learnt = log_softmax(logits.astype(np.float64), axis=1), log_softmax(own.astype(np.float64), axis=1)
    return {
        "agrees_with_teacher": rate(int((own.argmax(axis=1) == teacher_class).sum()), len(x)),
        "teachers_class_among_five": rate(int((nearest == teacher_class[:, None]).any(axis=1).sum()), len(x)),
        "kl_divergence": round(float((np.exp(taught) * (taught - learnt)).sum(axis=1).mean()), 3),
        "measured_on": "crops of images that were held out, and by which training was stopped",
    }


# Networks


@dataclass(frozen=True)
class _Joint:
    """The student to be kept, and the network around it that is trained."""

    student: Any
    model: Any
    pairs: tuple[tuple[str, str], ...]

    def course(self, settings: DistilSettings) -> Any:
        from artattack.training.fitting import Course

        return Course(settings.epochs, settings.batch, settings.patience, settings.seed)


def _joint(settings: DistilSettings, teacher: Any, steps: int) -> _Joint:
    """Build the student, and a network from its images to losses: of logits, and of features where they are imitated.

    Images come in [-1, 1], and each network's preprocessing is applied within.
    """
    import tensorflow as tf
    import tf_keras

    from artattack.models.model import parse_preprocessing

    _check(settings, teacher)
    tf_keras.utils.set_random_seed(settings.seed)
    student = _student(settings, teacher.classes)
    pairs = () if settings.logits_only else _pairs(student, teacher, settings.size)
    shape = (settings.size, settings.size, 3)
    image = tf_keras.Input(shape, name="image")
    expected = parse_preprocessing(_architecture(settings.student).preprocessing)
    names = [name for name, _ in pairs]
    inner = tf_keras.Model(
        student.input,
        [*(student.get_layer(name).output for name in names), student.layers[-1].input],
        name="student",
    )
    outputs = inner(expected((image + 1) / 2))
    *features, logits = outputs if isinstance(outputs, list | tuple) else [outputs]
    model = tf_keras.Model(image, logits, name="distilling")
    if pairs:
        from artattack.models.network import rebuild

        reader = rebuild(teacher.network, [layer for _, layer in pairs], input_shape=shape)
        wanted = reader(teacher.preprocessing((image + 1) / 2), training=False)
        wanted = wanted if isinstance(wanted, list | tuple) else [wanted]
        for own, target, (_, layer) in zip(features, wanted, pairs, strict=True):
            difference = _difference(own, target, layer)
            model = _with_loss(model, difference, layer)
    temperature = settings.temperature

    def imitation(taught: Any, learnt: Any) -> Any:
        """Kullback-Leibler divergence of softened probabilities, on the scale of its gradient (Hinton et al., 2015)."""
        target = tf.nn.log_softmax(taught / temperature)
        return temperature**2 * tf.reduce_sum(tf.exp(target) * (target - tf.nn.log_softmax(learnt / temperature)), -1)

    model.compile(optimizer=make_optimizer(settings.learning_rate, steps), loss=imitation)
    return _Joint(student, model, pairs)


def _with_loss(model: Any, difference: Any, name: str) -> Any:
    model.add_loss(difference)
    model.add_metric(difference, name=name)
    return model


def _difference(own: Any, target: Any, layer: str) -> Any:
    """Return the mean squared difference of a 1x1 map of one feature map from another, standardised by channel.

    It is the share of the target's variance that the map leaves unexplained. The larger map is averaged to the size of
    the smaller.
    """
    import tensorflow as tf
    import tf_keras

    layers = tf_keras.layers
    side = min(own.shape[1], target.shape[1])

    def brought(x: Any) -> Any:
        return x if x.shape[1] == side else tf.image.resize(x, (side, side), method="area")

    standard = layers.BatchNormalization(momentum=0.9, center=False, scale=False, name=f"{layer}_standardised")(
        brought(target)
    )
    mapped = layers.Conv2D(target.shape[-1], 1, name=f"{layer}_map")(brought(own))
    return tf.reduce_mean(tf.square(mapped - tf.stop_gradient(standard)))


def _pairs(student: Any, teacher: Any, size: int) -> tuple[tuple[str, str], ...]:
    """Return for each of the teacher's layers for style the student's sum that it is imitated from.

    That is the deepest of the sums whose maps are the nearest in size.
    """
    from artattack.models.network import is_sum, layer_names, rebuild

    sums = [layer for layer in student.layers if is_sum(layer)]
    if not sums:
        raise ArtattackError("the student has no residual sums to imitate features from; distil by --logits-only")
    layers = layer_names(teacher.network, teacher.style_layers)
    reader = rebuild(teacher.network, list(layers), input_shape=(size, size, 3))
    shapes = reader.output_shape if isinstance(reader.output_shape, list) else [reader.output_shape]
    pairs = []
    for name, shape in zip(layers, shapes, strict=True):
        far = [abs(np.log(layer.output_shape[1] / shape[1])) for layer in sums]
        deepest = len(sums) - 1 - int(np.argmin(far[::-1]))
        pairs.append((sums[deepest].name, name))
    return tuple(pairs)


def _student(settings: DistilSettings, classes: int) -> Any:
    """Build the student for training, with the weights of the model that it starts from where their shapes agree."""
    from dataclasses import replace

    from artattack.models import larq_zoo, load_model
    from artattack.training.networks import binary_kernels

    info = _architecture(settings.student)
    student = larq_zoo.build(replace(info, input_size=(settings.size, settings.size)), "random", classes)
    start = settings.start or (settings.student if info.family == "bundled" else None)
    if start is None:
        return student
    given = load_model(start)
    if given.gives != "features":
        raise ArtattackError(f"start '{start}' has no weights that can be read")
    layers = [layer for layer in given.network.layers if layer.weights]  # type: ignore[attr-defined]
    own = [layer for layer in student.layers if layer.weights]
    if [type(layer) for layer in layers] != [type(layer) for layer in own]:
        raise ArtattackError(f"start '{start}' is not of the architecture {settings.student}; name a model that is")
    for layer, other in zip(own, layers, strict=True):
        if [w.shape for w in layer.weights] == [w.shape for w in other.weights]:
            layer.set_weights(other.get_weights())
    for variable, _ in binary_kernels(student):
        values = variable.numpy()
        if (np.abs(values) == 1).all():
            variable.assign(_LATENT * values)
    return student
