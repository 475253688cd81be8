"""Train a painter: a network that paints in one pass what the style attack paints by descent."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

import numpy as np
from pydantic import BeforeValidator, Field, NonNegativeFloat, PositiveFloat, PositiveInt, model_validator

from artattack.attacks.options import GUIDE_LOSS, GuideLoss, StyleOptions, check_guide_layers
from artattack.attacks.painter_card import (
    STYLE_SIZE,
    PainterCard,
    PainterFile,
    PainterStyle,
    styles_path,
)
from artattack.bound import Bound, in_words
from artattack.errors import ArtattackError
from artattack.files import sha256_file, write_file
from artattack.inputs.styles import load_styles, style_files, style_names
from artattack.progress import Progress
from artattack.training.crops import (
    Drawing,
    blank_batches,
    check_images,
    cut,
    find_images,
    fresh_batches,
    held_out,
    readable,
)
from artattack.training.data import Array
from artattack.training.examples import Examples, read_examples
from artattack.training.train import Share, begin, in_time
from artattack.validation import Balls, Names, Section, as_list

if TYPE_CHECKING:
    from artattack.training.painter_fitting import PainterTraining

_STYLE = StyleOptions()  # the style loss is the style attack's own
_REACH = 0.7  # share of the ball's radius; less than 1 keeps the style's own texture
_FINE = 0.5  # decay with examples, which show fine strokes; without them, a flatter spectrum paints the backbone's grid
_LOWEST = 1 / 32  # cycles per pixel; coarser changes get no larger gain, which leaves most of the ball to strokes
_CROPS_PER_EPOCH = 1000  # approximate, for a checkpoint about every minute
_MOST_HELD_OUT = 24  # images for the validation loss
_SHOWN = 2  # held-out crops in the sample pictures
_STEPS = 5000
_FEATURES = 30.0  # weight of the guide loss `features`, whose whole range is 2; margins have one of some 60
_BALL = Bound("psnr", 20.0)


class PainterSettings(Section):
    """Settings for training a painter: styles, images, loss and training."""

    style: Names = Field(style_names(), description="styles to learn: names or image files; a+b is a blend")
    images: str = Field(description="a folder of images, subfolders included, or an image set; labels are ignored")
    backbone: str = Field("quicknet_distilled", description="model whose features measure style")
    guide: Annotated[tuple[str, ...], BeforeValidator(as_list)] = Field(
        (), description="classifiers to fool together with painting"
    )
    budget: Balls = Field(
        (),
        description="ball of the paintings: linf=8/255, l2=5 (at the crops' size) or psnr=20 (dB); several in psnr "
        f"teach the painter each of them and those between; default: those of --start; otherwise {_BALL}",
    )
    init: Literal["style", "content"] | None = Field(
        None,
        description="initial image, which the network then changes: style, the photo blended with the style up to the "
        "budget, or content, the photo itself; default: that of --start; otherwise style or, with guides, content",
    )
    reach: PositiveFloat | None = Field(
        None,
        description="largest change that the network makes to the initial image, as a share of the ball's radius; "
        f"default: that of --start with the same init; otherwise {_REACH:g} with init style, no limit with content or "
        "--imitate",
    )
    binary: bool = Field(
        False, description="binarize the residual blocks: 1-bit weights and activations, for Larq Compute Engine"
    )
    start: str | None = Field(None, description="a painter's file with initial weights, of the same styles")
    add_style: bool = Field(
        False, description="add the styles to those of --start, and train their normalization parameters alone"
    )
    size: int = Field(128, ge=32, le=512, multiple_of=4, description="side of the crops in pixels, a multiple of 4")
    steps: PositiveInt = Field(_STEPS, description="number of steps, rounded to whole epochs of some 1000 crops")
    minutes: PositiveFloat | None = Field(
        None, description="time for training: a few timed steps choose the number of steps instead of --steps"
    )
    batch: PositiveInt = Field(8, description="crops per step")
    learning_rate: PositiveFloat = Field(
        0.002, description="initial learning rate of Adam; it falls to 0 along a cosine"
    )
    imitate: str | None = Field(
        None,
        description="folder of a finished run whose style attack, or another painter, has painted photos in each "
        "style: images that the painter learns to match",
    )
    imitate_weight: PositiveFloat = Field(
        10.0,
        description="weight of the difference from the images of --imitate: squared, over their squared change, and in "
        "the energies of frequency bands",
    )
    feature_weight: NonNegativeFloat = Field(
        30.0,
        description="weight of the difference from the images of --imitate in the backbone's features; 0 trains "
        "three times as fast",
    )
    style_weight: NonNegativeFloat | None = Field(
        None, description=f"weight of the style loss; default: {_STYLE.style_weight:g} or, with --imitate, 0"
    )
    tv_weight: NonNegativeFloat | None = Field(
        None,
        description=f"weight of the anisotropic total variation; default: {_STYLE.tv_weight:g} or, with --imitate, 0",
    )
    guide_weight: NonNegativeFloat | None = Field(
        None,
        description="weight of the loss that fools guides; default: 1 or, with the guide loss features, "
        f"{_FEATURES:g}: a cosine similarity changes less than logits",
    )
    guide_loss: GuideLoss = Field("margin", description=GUIDE_LOSS)
    guide_layers: Annotated[tuple[str, ...], BeforeValidator(as_list)] = Field(
        (), description="layers of the guides for the guide loss features; default: their content layers"
    )
    jitter: int = Field(
        _STYLE.jitter, ge=0, le=64, description="maximum random shift of the backbone's input at each step, in pixels"
    )
    decay: NonNegativeFloat | None = Field(
        None,
        description="power of the spectrum that smooths the change; default: that of --start; otherwise "
        f"{_STYLE.decay:g}, with --imitate {_FINE:g} or, with guides, 0: a smooth change hardly fools them",
    )
    held_out: Share = Field(0.05, description="share of the images held out for the validation loss, at most 24 images")
    seed: int = Field(0, ge=0, lt=2**32, description="seed of every random choice")

    @model_validator(mode="after")
    def _with_layers(self) -> Self:
        check_guide_layers(self.guide_loss, self.guide_layers)
        return self

    @property
    def loss(self) -> StyleOptions:
        """The style attack's options with the weights of the loss."""
        given = {"style_weight": self.style_weight, "tv_weight": self.tv_weight}
        usual = {"style_weight": 0.0, "tv_weight": 0.0} if self.imitate else {}
        chosen = usual | {name: weight for name, weight in given.items() if weight is not None}
        weight = self.guide_weight
        if weight is None:
            weight = _FEATURES if self.guide_loss == "features" else 1.0
        guided = {"guide_weight": weight, "guide_loss": self.guide_loss, "guide_layers": self.guide_layers or None}
        return _STYLE.model_copy(update=chosen | guided | {"jitter": self.jitter})


@dataclass(frozen=True)
class _Material:
    """The images of a training: files to draw crops from, held-out crops, and unreadable files.

    Attributes:
        trained: readable training images.
        held: uint8 (M, S, S, 3), a crop of each held-out image.
        examples: paintings to imitate, without those of held-out images; None without `--imitate`.
        held_examples: crops of the others, as `Examples.crops_of_epoch` yields them.
        validated: number of crops in the validation loss, at least one for each style in each ball.
        unreadable: number of unreadable images.
    """

    trained: list[Path]
    held: Array
    examples: Examples | None
    held_examples: tuple[Array, ...]
    validated: int
    unreadable: int


def plan_painter(settings: PainterSettings) -> list[str]:
    """Return the plan of a training with time estimates, a line for each fact; times a few steps.

    Raises:
        ArtattackError: as for `train_painter`.
    """
    files = find_images(settings.images)
    check_images(files)
    card, begun = _begun(settings)
    backbone = _backbone(settings)
    examples = _examples(settings, backbone, card)
    step = _seconds_of_a_step(settings, training := _compiled(settings, backbone, card, begun, 1), examples)
    crops, per_epoch = _epoch(settings, len(files))
    epochs = _epochs(settings, per_epoch, step)
    weights = settings.loss
    terms = [
        f"{weights.style_weight:g} style through {card.backbone}" * (weights.style_weight > 0),
        f"{weights.guide_weight:g} fooling {', '.join(card.guides)} ({weights.guide_loss})" * bool(card.guides),
        f"{settings.imitate_weight:g} imitating {len(examples.files)} images" if examples else "",
        f"{settings.feature_weight:g} their features" * bool(examples and settings.feature_weight),
    ]
    return [
        f"styles     {', '.join(card.names)}" + f"; trained: {', '.join(_learnt(settings, card))}" * settings.add_style,
        f"images     {len(files)}, {crops} crops of {settings.size} px each in an epoch, none of `samples`",
        f"painter    {training.network.count_params():,} parameters, {_trained(training):,} of them trained",
        f"initial    {card.init_in_words}",
        f"loss       {', '.join(filter(None, terms))}, inside {in_words(card.balls)}",
        f"training   {epochs} epochs of {per_epoch} steps of {settings.batch} crops, {step:.2f} s each: "
        f"{in_time(step * per_epoch * epochs)}",
    ]


def train_painter(
    settings: PainterSettings, out: Path, *, resume: bool = False, on_progress: Progress = lambda *_: None
) -> PainterCard:
    """Train a painter, and write painter.keras, its card, its history and, if it blends, the picture of its styles.

    Without `imitate`, the loss of each crop is that of the style attack: style through the backbone, geometric mean
    over its style layers, under random shifts, total variation and, with guides, the loss that fools them. With
    `imitate`, it is the difference between paintings of crops and the style attack's images of them, in pixels, in the
    energies of frequency bands and in the backbone's features; these images show textures that the style loss does not
    teach a network. `style_weight`, `tv_weight` and guides add the other terms.
    Steps take the styles in turn, each in every ball, one for each crop. `samples/` shows held-out crops in each style
    while the painter trains. A killed training resumes from its last complete epoch, with the results of an
    uninterrupted one.

    Args:
        settings: settings.
        out: output folder.
        resume: resume the training in the folder, if it holds one.
        on_progress: called with the current step and progress.

    Returns:
        The painter's card.

    Raises:
        ArtattackError: a style, model or image does not exist, images are among the bundled samples, the folder holds
            another training, or no epoch has a finite loss.
    """
    files = find_images(settings.images)
    check_images(files)
    card, begun = _begun(settings)
    begin(out, settings, resume)
    path = out / "painter.keras"
    if path.is_file():
        done = PainterFile(path).card
        if done.facts:
            return done
    from artattack.training import fitting
    from artattack.training.painter_fitting import Pictures

    backbone = _backbone(settings)
    material = _read(settings, backbone, card, files, on_progress)
    crops, per_epoch = _epoch(settings, len(material.trained))
    work = out / ".painter"

    def timed() -> float:
        on_progress("timing a few steps", 0, 1)
        return _seconds_of_a_step(settings, _compiled(settings, backbone, card, begun, 1), material.examples)

    epochs = _chosen_epochs(settings, per_epoch, work, timed)
    training = _compiled(settings, backbone, card, begun, epochs * per_epoch)
    course = fitting.Course(epochs, settings.batch, epochs, settings.seed)
    drawing = Drawing((settings.size, settings.size), settings.size, crops, 0.0, settings.seed)
    shown = np.arange(material.validated)
    turns = (shown % card.rows_of(len(settings.style))).astype(np.int32)
    validation = (material.held[shown % len(material.held)], turns, *material.held_examples)

    def batches(start: int) -> Any:
        if training.reads_crops:
            shown = fresh_batches(material.trained, drawing, course, start, _CROPS_PER_EPOCH)
        else:
            shown = blank_batches(settings.batch, settings.size)  # reading photos would take longer than a step
        if material.examples:
            shown = material.examples.beside(shown, settings.size, course, per_epoch, start)
        return shown.map(lambda *tensors: (tensors,))  # Keras gives a step a single tuple

    history = fitting.fit(
        training,
        batches,
        per_epoch,
        fitting.whole(validation, settings.batch),
        course,
        work,
        "painting",
        _with_time_left(on_progress),
        [Pictures(training, material.held[:_SHOWN], card.names, out / "samples")],
    )
    return _written(settings, training, history, material, path, work)


def _begun(settings: PainterSettings) -> tuple[PainterCard, PainterFile | None]:
    """Return the card of the painter to train, without facts, and the painter that it starts from, if any."""
    begun = PainterFile(settings.start) if settings.start else None
    if settings.add_style and begun is None:
        raise ArtattackError("--add-style: give the painter to add styles to, with --start")
    if not (settings.loss.style_weight or settings.imitate or (settings.guide and settings.loss.guide_weight)):
        raise ArtattackError("--style-weight: 0 leaves nothing to learn; give a weight above 0, --imitate or --guide")
    imitated = begun is not None and begun.card.facts.get("images_imitated", 0) > 0 and not settings.add_style
    if imitated and settings.imitate is None and settings.style_weight is None:
        raise ArtattackError(
            f"--start: '{settings.start}' has learnt from examples; give --imitate, to learn from examples again, "
            "or --style-weight, to change it by the style loss"
        )
    balls = _balls(settings, begun)
    learnt = tuple(_style(word) for word in settings.style)
    styles = (*begun.card.styles, *learnt) if begun and settings.add_style else learnt
    names = [style.name for style in styles]
    for name in names:
        if names.count(name) > 1:
            raise ArtattackError(f"--style: '{name}' would be there twice; rename one of the files")
    if begun and not settings.add_style and [s.sha256 for s in begun.card.styles] != [s.sha256 for s in styles]:
        raise ArtattackError(
            f"--start: '{settings.start}' has the styles {', '.join(begun.card.names)}; give the same, or --add-style"
        )
    if begun and settings.decay not in (None, begun.card.decay):
        raise ArtattackError(f"--start: '{settings.start}' has decay {begun.card.decay:g}; give the same")
    init, reach = _initial(settings, begun)
    if init == "style" and balls[0].distance == "l2":
        same = balls[0].as_psnr(3 * settings.size**2)
        raise ArtattackError(
            f"--budget: blending with the style needs a ball for images of every size: psnr={same:.4g} is {balls[0]} "
            f"at {settings.size} px; or give --init content"
        )
    if begun and settings.add_style:
        for name, given, own in (
            ("init", init, begun.card.init),
            ("reach", reach, begun.card.reach),
            ("budget", in_words(balls), in_words(begun.card.balls)),
        ):
            if given != own:
                raise ArtattackError(f"--{name}: '{settings.start}' has {own}; give the same with --add-style")
    if begun and begun.card.binary != settings.binary:
        kind, say = ("binarized", "give") if begun.card.binary else ("float", "leave out")
        raise ArtattackError(f"--start: '{settings.start}' has {kind} blocks; {say} --binary")
    kind = "1-bit painter" if settings.binary else "Painter"
    count = f"{len(styles)} style{'s' * (len(styles) != 1)}"
    title = f"{kind} of {count} through {Path(settings.backbone).name}, inside {in_words(balls)}"
    card = PainterCard(
        title=title,
        styles=styles,
        backbone=settings.backbone,
        guides=tuple(dict.fromkeys((*(begun.card.guides if begun else ()), *settings.guide))),
        balls=balls,
        init=init,
        reach=reach,
        binary=settings.binary,
        decay=_decay(settings, begun),
        lowest=begun.card.lowest if begun else _LOWEST,
    )
    return card, begun


def _balls(settings: PainterSettings, begun: PainterFile | None) -> tuple[Bound, ...]:
    """Return the balls of a training, from large to small."""
    return settings.budget or (begun.card.balls if begun else (_BALL,))


def _initial(settings: PainterSettings, begun: PainterFile | None) -> tuple[Literal["style", "content"], float | None]:
    """Return the initial image, and the reach of the network's change to it."""
    init = settings.init or (begun.card.init if begun else "content" if settings.guide else "style")
    if settings.reach is not None:
        return init, settings.reach
    if begun and init == begun.card.init:
        return init, begun.card.reach
    return init, _REACH if init == "style" and not settings.imitate else None


def _decay(settings: PainterSettings, begun: PainterFile | None) -> float:
    if settings.decay is not None:
        return settings.decay
    if begun:
        return begun.card.decay
    return 0.0 if settings.guide else _FINE if settings.imitate else _STYLE.decay


def _style(word: str) -> PainterStyle:
    files = style_files(word)
    load_styles(word, (8, 8))  # says what is wrong with an image
    name = word if word in style_names() else "+".join(file.stem for file in files)
    return PainterStyle(name=name, sha256=tuple(sha256_file(file) for file in files))


def _learnt(settings: PainterSettings, card: PainterCard) -> tuple[str, ...]:
    """Return the names of the styles that a training learns."""
    return card.names[-len(settings.style) :]


def _backbone(settings: PainterSettings) -> Any:
    """Load the model whose features measure style."""
    from artattack.models import load_model

    backbone = load_model(settings.backbone)
    if backbone.gives != "features":
        raise ArtattackError(f"backbone '{settings.backbone}' has no readable layers")
    return backbone


def _compiled(
    settings: PainterSettings, backbone: Any, card: PainterCard, begun: PainterFile | None, steps: int
) -> PainterTraining:
    """Build and compile a painter with its loss; the seed determines its initial weights."""
    import tensorflow as tf
    import tf_keras

    from artattack.attacks.guidance import Guidance
    from artattack.attacks.objective import Objective
    from artattack.attacks.painter_network import Painter, build_network, style_layers, with_rows
    from artattack.inputs.images import to_float, to_uint8
    from artattack.models import load_model
    from artattack.training.painter_fitting import PainterTraining
    from artattack.training.train import make_optimizer

    tf_keras.utils.set_random_seed(settings.seed)
    count = len(card.styles)
    learnt = range(count - len(settings.style), count)
    if begun is None:
        network = build_network(card.rows, binary=settings.binary)
    else:
        old = Painter(begun).network
        mixes = np.eye(count, len(begun.card.styles), dtype=np.float32)
        mixes[len(begun.card.styles) :] = 1.0 / len(begun.card.styles)  # new styles start at the mean of the others
        of_balls = [begun.card.ball_for(ball, 3 * settings.size**2)[1] for ball in card.balls]
        network = with_rows(old, np.kron(mixes, of_balls))
        if settings.add_style:
            for layer in network.layers:
                layer.trainable = layer in style_layers(network)
    objective = Objective(backbone, _STYLE)
    likeness = None
    if settings.imitate and settings.feature_weight:
        layers = tuple(backbone.style_layers)
        likeness = Objective(backbone, StyleOptions(style_weight=0, content_weight=1, content_layers=layers))
    styles = [load_styles(word, STYLE_SIZE) for word in settings.style]
    each = [objective.style_targets(tf.constant(images)) for images in styles]
    guides: list[Any] = [load_model(name) for name in settings.guide]
    shown = None
    if card.init == "style":
        kept = begun.read_styles() if begun and settings.add_style else None
        means = np.stack([images.mean(0) for images in styles])
        means = to_float(to_uint8(means))  # as in the file
        shown = means if kept is None else np.concatenate([kept, means])
    training = PainterTraining(
        network,
        card.model_copy(update={"backbone_sha256": backbone.weights_sha256}),
        learnt=tuple(learnt),
        objective=objective,
        targets=[tf.concat(layer, 0) for layer in zip(*each, strict=True)],
        styles=shown,
        guides=guides,
        guidance=Guidance(guides, settings.loss) if guides else None,
        options=settings.loss,
        imitate_weight=settings.imitate_weight,
        feature_weight=settings.feature_weight,
        likeness=likeness,
        size=settings.size,
        seed=settings.seed,
    )
    training.compile(optimizer=make_optimizer(settings.learning_rate, steps))
    return training


def _trained(training: PainterTraining) -> int:
    return sum(math.prod(variable.shape) for variable in training.network.trainable_variables)


def _epoch(settings: PainterSettings, images: int) -> tuple[int, int]:
    """Return the crops of each image in an epoch, and the steps of an epoch."""
    from artattack.training.fitting import steps_of

    shown = min(images, _CROPS_PER_EPOCH)
    crops = max(1, round(_CROPS_PER_EPOCH / shown))
    crops = max(1, min(crops, settings.steps * settings.batch // shown))  # a short training has one short epoch
    return crops, steps_of(shown * crops, settings.batch)


def _epochs(settings: PainterSettings, per_epoch: int, seconds: float) -> int:
    steps = settings.steps if settings.minutes is None else 60 * settings.minutes / seconds
    return max(1, round(steps / per_epoch))


def _chosen_epochs(settings: PainterSettings, per_epoch: int, work: Path, timed: Callable[[], float]) -> int:
    """Return the number of epochs; with `minutes`, steps are timed once, and a resumed training keeps the number.

    Args:
        settings: settings.
        per_epoch: steps of an epoch.
        work: folder that keeps the number.
        timed: function that returns the seconds of a step.
    """
    if settings.minutes is None:
        return _epochs(settings, per_epoch, 0.0)
    kept = work / "epochs.json"
    if not kept.is_file():
        write_file(kept, json.dumps(_epochs(settings, per_epoch, timed())).encode())
    return int(json.loads(kept.read_bytes()))


def _seconds_of_a_step(settings: PainterSettings, training: PainterTraining, examples: Examples | None) -> float:
    import tensorflow as tf

    from artattack.training.fitting import seconds_of_a_step

    x = np.random.default_rng(0).uniform(-1, 1, (settings.batch, settings.size, settings.size, 3)).astype(np.float32)
    beside = next(examples.crops_of_epoch(settings.size, settings.batch, 1, settings.seed, 0)) if examples else ()
    return seconds_of_a_step(training.train_on_batch, tf.data.Dataset.from_tensors(((x, *beside),)).repeat())


def _read(
    settings: PainterSettings, backbone: Any, card: PainterCard, files: list[Path], on_progress: Progress
) -> _Material:
    """Split images into training and held-out ones, and cut the held-out crops."""
    from artattack.inputs.images import read_image

    good = readable(files, on_progress)
    if len(good) < 2:
        raise ArtattackError(f"{settings.images}: fewer than two images can be read")
    most = min(_MOST_HELD_OUT, len(good) - 1)
    held = set(held_out(np.arange(len(good)), settings.held_out, settings.seed)[:most].tolist())
    side = (settings.size, settings.size)
    crops = [
        cut(read_image(path), side, np.random.default_rng((settings.seed, 2, number)))
        for number, path in enumerate(good)
        if number in held
    ]
    trained = [path for number, path in enumerate(good) if number not in held]
    unreadable = len(files) - len(good)
    validated = max(len(crops), card.rows_of(len(settings.style)))
    examples = _examples(settings, backbone, card)
    if examples is None:
        return _Material(trained, np.stack(crops), None, (), validated, unreadable)
    hashes = {sha256_file(good[number]) for number in held}
    trained_on, validating = examples.parted(hashes, settings.held_out, settings.seed)
    shown = next(validating.crops_of_epoch(settings.size, validated, 1, settings.seed, 0))
    return _Material(trained, np.stack(crops), trained_on, shown, validated, unreadable)


def _examples(settings: PainterSettings, backbone: Any, card: PainterCard) -> Examples | None:
    """Return the paintings to imitate, if any."""
    if settings.imitate is None:
        return None
    return read_examples(settings.imitate, settings.style, card.balls, settings.size, backbone.weights_sha256)


def _with_time_left(on_progress: Progress) -> Progress:
    """Return a callback that adds the time left, from the pace since the first call."""
    first: list[tuple[float, int]] = []

    def told(what: str, done: int, total: int) -> None:
        first.extend([(perf_counter(), done)] * (not first))
        begun, before = first[0]
        left = (perf_counter() - begun) / (done - before) * (total - done) if done > before else math.nan
        on_progress(f"{what}, {in_time(left)} left" if left == left else what, done, total)

    return told


def _written(
    settings: PainterSettings, training: PainterTraining, history: Any, material: _Material, path: Path, work: Path
) -> PainterCard:
    """Write the painter, its card and its history, and measure the written file on the held-out crops."""
    from artattack.attacks.painter_network import Painter
    from artattack.inputs.images import save_png, to_uint8
    from artattack.training import fitting
    from artattack.training.card_writing import course_facts, write_painter_card
    from artattack.training.networks import save_network

    save_network(training.network, path)
    card = training.card
    if training.styles is not None:
        save_png(styles_path(path), to_uint8(np.concatenate(training.styles, 1)))
    write_painter_card(card, path)  # needed to open the file for measuring
    painter = Painter(PainterFile(path))
    steps = len(history) * _epoch(settings, len(material.trained))[1]
    named = {"start": settings.start, "imitate": settings.imitate}
    facts: dict[str, Any] = {
        "style_distance": _measured(painter, training, material.held),
        "measured_on": "held-out crops of the validation loss",
        "trained_styles": list(_learnt(settings, card)),
        "parameters": int(training.network.count_params()),
        "bytes_of_file": path.stat().st_size,
        "data": Path(settings.images).name,
        "images_trained_on": len(material.trained),
        "images_measured_on": len(material.held),
        "images_imitated": len(material.examples.files) if material.examples else 0,
        "unreadable": material.unreadable,
        "crops": steps * settings.batch,
        **course_facts(history),
        "settings": settings.model_dump(mode="json", exclude={"images", "start", "style"})
        | {name: Path(path).name if path else None for name, path in named.items()},
    }
    history.to_csv(path.with_suffix(".csv"), index=False)
    card = card.model_copy(update={"facts": facts})
    write_painter_card(card, path)
    fitting.clear(work)
    return card


def _measured(painter: Any, training: PainterTraining, held: Array) -> dict[str, dict[str, float]]:
    """Return the mean style distance of held-out crops to each trained style, before and after painting.

    A painter of several balls paints inside each, and the facts name it.
    """
    x = held.astype(np.float32) / 255
    found = {}
    for number, place in enumerate(training.learnt):
        targets = [layer[number : number + 1] for layer in training.targets]
        mix = np.eye(len(painter.card.styles), dtype=np.float32)[place]
        before = float(training.objective.style_distance(x, targets).mean())
        for ball in painter.card.balls:
            after = float(training.objective.style_distance(painter.paint(x, mix, ball), targets).mean())
            inside = f" inside {ball}" if len(painter.card.balls) > 1 else ""
            found[painter.card.names[place] + inside] = {"before": round(before, 3), "after": round(after, 3)}
    return found
