"""The commands `train`, `distil`, `harden` and `train-painter`; the settings classes describe their options."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from pydantic import BaseModel, ValidationError
from rich.console import Console

from artattack.attacks.options import GuideLoss
from artattack.commands.options import examples
from artattack.commands.printing import complain, say, show_progress
from artattack.errors import ArtattackError
from artattack.training.distil import DistilSettings
from artattack.training.harden import HardenSettings, plan_hardening
from artattack.training.painted_copies import painter_of
from artattack.training.painter import PainterSettings
from artattack.training.train import TrainSettings
from artattack.validation import explain

if TYPE_CHECKING:
    from artattack.attacks.painter_card import PainterCard
    from artattack.models.card import Card
    from artattack.models.classifier import Classifier
    from artattack.training.painted_copies import Paint

_TRAIN, _DISTIL, _PAINTER = TrainSettings.model_fields, DistilSettings.model_fields, PainterSettings.model_fields
_HARDEN = HardenSettings.model_fields
_SINGULAR = {"precisions": "precision", "styles": "style", "held_out_styles": "held_out_style"}
_SHOWN = (
    "accuracy",
    "accuracy_painted",
    "style_distance",
    "flips_before",
    "flips_after",
    "answers_changed_without_paint",
    "agrees_with_teacher",
    "teachers_class_among_five",
    "parameters",
    "bytes",
    "bytes_as_float32",
    "minutes",
)

Out = Annotated[Path, typer.Option("-o", "--out", help="Folder to write to.")]
Resume = Annotated[bool, typer.Option("--resume", help="Resume the training in --out.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Estimate the cost from a few steps; write nothing.")]


def _in_help(fields: Any, name: str) -> str:
    text = str(fields[name].description)
    return f"{text[0].upper()}{text[1:]}."


def _of(fields: Any, name: str) -> Any:
    return typer.Option(_flag(name), help=_in_help(fields, name))


@examples(
    "artattack train photos/ -o nets",
    "artattack train cifar-10-batches-py.tar.gz --dry-run -o nets",
    "artattack train photos/ --precision w1a1 --precision w4a4 --precision float -o nets",
    "artattack attack cat.jpg -s waves --backbone nets/w1a1.keras -o painted.png",
)
def train(
    data: Annotated[str, typer.Argument(help=_in_help(_TRAIN, "data"))],
    out: Out = Path("trained"),
    precisions: Annotated[list[str], _of(_TRAIN, "precisions")] = list(_TRAIN["precisions"].default),  # noqa: B006
    size: Annotated[int, _of(_TRAIN, "size")] = _TRAIN["size"].default,
    width: Annotated[float, _of(_TRAIN, "width")] = _TRAIN["width"].default,
    optimizer: Annotated[Literal["adam", "bop"], _of(_TRAIN, "optimizer")] = _TRAIN["optimizer"].default,
    learning_rate: Annotated[float, _of(_TRAIN, "learning_rate")] = _TRAIN["learning_rate"].default,
    epochs: Annotated[int, _of(_TRAIN, "epochs")] = _TRAIN["epochs"].default,
    patience: Annotated[int, _of(_TRAIN, "patience")] = _TRAIN["patience"].default,
    batch: Annotated[int, _of(_TRAIN, "batch")] = _TRAIN["batch"].default,
    with_art: Annotated[str | None, _of(_TRAIN, "with_art")] = None,
    augment: Annotated[bool, typer.Option(help=_in_help(_TRAIN, "augment"))] = _TRAIN["augment"].default,
    held_out: Annotated[float, _of(_TRAIN, "held_out")] = _TRAIN["held_out"].default,
    validation: Annotated[float, _of(_TRAIN, "validation")] = _TRAIN["validation"].default,
    seed: Annotated[int, _of(_TRAIN, "seed")] = _TRAIN["seed"].default,
    resume: Resume = False,
    dry_run: DryRun = False,
) -> None:
    """Train a binarized network and its float twin on labelled images, by the 2020 study's recipe.

    The path of a written file, NAME.keras with a card beside it, works as backbone, source and classifier.
    """
    given = {name: value for name, value in locals().items() if name in _TRAIN}
    settings = _checked(TrainSettings, given)
    same = ["artattack", "train", data, *_options(settings, {"data"})]

    def work(on_progress: Any) -> list[Card]:
        from artattack.training import train as training

        return training.train(settings, out, resume=resume, on_progress=on_progress)

    if dry_run:
        from artattack.training.train import plan_training

        _load_tensorflow()
        _print_plan(plan_training(settings))
        return
    _carry_out(work, out, same)


@examples(
    "artattack distil efficientnet_lite0 --images photos/ -o student",
    "artattack distil onnx:mine.onnx --preprocessing tf --images photos/ --logits-only -o surrogate",
)
def distil(
    teacher: Annotated[str, typer.Argument(help="The classifier to imitate: a name of `artattack models` or a file.")],
    images: Annotated[str, _of(_DISTIL, "images")],
    out: Out = Path("distilled"),
    logits_only: Annotated[bool, _of(_DISTIL, "logits_only")] = False,
    student: Annotated[str, _of(_DISTIL, "student")] = _DISTIL["student"].default,
    start: Annotated[str | None, _of(_DISTIL, "start")] = None,
    size: Annotated[int, _of(_DISTIL, "size")] = _DISTIL["size"].default,
    crops: Annotated[int, _of(_DISTIL, "crops")] = _DISTIL["crops"].default,
    colour: Annotated[float, _of(_DISTIL, "colour")] = _DISTIL["colour"].default,
    epochs: Annotated[int, _of(_DISTIL, "epochs")] = _DISTIL["epochs"].default,
    patience: Annotated[int, _of(_DISTIL, "patience")] = _DISTIL["patience"].default,
    batch: Annotated[int, _of(_DISTIL, "batch")] = _DISTIL["batch"].default,
    learning_rate: Annotated[float, _of(_DISTIL, "learning_rate")] = _DISTIL["learning_rate"].default,
    temperature: Annotated[float, _of(_DISTIL, "temperature")] = _DISTIL["temperature"].default,
    held_out: Annotated[float, _of(_DISTIL, "held_out")] = _DISTIL["held_out"].default,
    seed: Annotated[int, _of(_DISTIL, "seed")] = _DISTIL["seed"].default,
    preprocessing: Annotated[str | None, typer.Option(help="Preprocessing of a teacher from a file.")] = None,
    label_space: Annotated[str | None, typer.Option(help="Label space of a teacher from a file, in order.")] = None,
    input_size: Annotated[int | None, typer.Option(help="Side of the teacher's input images, in pixels.")] = None,
    outputs: Annotated[
        Literal["logits", "probabilities"] | None, typer.Option(help="Outputs of a teacher that is not a Keras model.")
    ] = None,
    output: Annotated[
        str | None, typer.Option(help="Output of a teacher with several: its name, or its place from 0.")
    ] = None,
    resume: Resume = False,
    dry_run: DryRun = False,
) -> None:
    """Distil a classifier into a binarized network, from features and logits or, with --logits-only, logits alone.

    The path of the written file, student.keras with a card beside it, works as backbone, source and classifier.
    """
    given = {name: value for name, value in locals().items() if name in _DISTIL}
    settings = _checked(DistilSettings, given)
    opened = {
        "preprocessing": preprocessing,
        "label_space": label_space,
        "input_size": input_size,
        "outputs": outputs,
        "output": output,
    }
    same = ["artattack", "distil", teacher, *_options(settings, {"teacher"})]
    same += [f"{_flag(name)}={value}" for name, value in opened.items() if value is not None]

    def load() -> Classifier:
        _load_tensorflow()
        from artattack.models import load_model

        return load_model(teacher, **opened)  # type: ignore[arg-type]

    def work(on_progress: Any) -> list[Card]:
        from artattack.training import distil as distilling

        on_progress(f"loading {teacher}", 0, 1)
        return [distilling.distil(settings, load(), out, resume=resume, on_progress=on_progress)]

    if dry_run:
        from artattack.training.distil import plan_distilling

        _print_plan(plan_distilling(settings, load()))
        return
    _carry_out(work, out, same)


@examples(
    "artattack train-painter --images photos/ --minutes 60 -o painter",
    "artattack train-painter --images photos/ --style mine.png --style waves --dry-run -o mine",
    "artattack train-painter --images photos/ --start painter/painter.keras --add-style --style mine.png -o more",
    "artattack attack photo.jpg --style waves --painter painter/painter.keras -o painted.png",
)
def train_painter(
    images: Annotated[str, _of(_PAINTER, "images")],
    out: Out = Path("painter"),
    style: Annotated[list[str], _of(_PAINTER, "style")] = list(_PAINTER["style"].default),  # noqa: B006
    backbone: Annotated[str, _of(_PAINTER, "backbone")] = _PAINTER["backbone"].default,
    guide: Annotated[list[str], _of(_PAINTER, "guide")] = [],  # noqa: B006
    budget: Annotated[list[str], _of(_PAINTER, "budget")] = [],  # noqa: B006
    init: Annotated[Literal["style", "content"] | None, _of(_PAINTER, "init")] = None,
    reach: Annotated[float | None, _of(_PAINTER, "reach")] = None,
    binary: Annotated[bool, _of(_PAINTER, "binary")] = False,
    start: Annotated[str | None, _of(_PAINTER, "start")] = None,
    add_style: Annotated[bool, _of(_PAINTER, "add_style")] = False,
    size: Annotated[int, _of(_PAINTER, "size")] = _PAINTER["size"].default,
    steps: Annotated[int, _of(_PAINTER, "steps")] = _PAINTER["steps"].default,
    minutes: Annotated[float | None, _of(_PAINTER, "minutes")] = None,
    batch: Annotated[int, _of(_PAINTER, "batch")] = _PAINTER["batch"].default,
    learning_rate: Annotated[float, _of(_PAINTER, "learning_rate")] = _PAINTER["learning_rate"].default,
    imitate: Annotated[str | None, _of(_PAINTER, "imitate")] = None,
    imitate_weight: Annotated[float, _of(_PAINTER, "imitate_weight")] = _PAINTER["imitate_weight"].default,
    feature_weight: Annotated[float, _of(_PAINTER, "feature_weight")] = _PAINTER["feature_weight"].default,
    style_weight: Annotated[float | None, _of(_PAINTER, "style_weight")] = None,
    tv_weight: Annotated[float | None, _of(_PAINTER, "tv_weight")] = None,
    guide_weight: Annotated[float | None, _of(_PAINTER, "guide_weight")] = None,
    guide_loss: Annotated[GuideLoss, _of(_PAINTER, "guide_loss")] = _PAINTER["guide_loss"].default,
    guide_layers: Annotated[list[str], _of(_PAINTER, "guide_layers")] = [],  # noqa: B006
    jitter: Annotated[int, _of(_PAINTER, "jitter")] = _PAINTER["jitter"].default,
    decay: Annotated[float | None, _of(_PAINTER, "decay")] = None,
    held_out: Annotated[float, _of(_PAINTER, "held_out")] = _PAINTER["held_out"].default,
    seed: Annotated[int, _of(_PAINTER, "seed")] = _PAINTER["seed"].default,
    resume: Resume = False,
    dry_run: DryRun = False,
) -> None:
    """Train a painter: a small network that paints any image in one pass, in any of the styles it has learnt.

    The written painter.keras, with the files beside it, is the painter of the attack `painter` and of `artattack
    attack`.
    """
    given = {name: value for name, value in locals().items() if name in _PAINTER}
    settings = _checked(PainterSettings, given)
    same = ["artattack", "train-painter", *_options(settings, set())]

    def work(on_progress: Any) -> list[PainterCard]:
        from artattack.training import painter

        return [painter.train_painter(settings, out, resume=resume, on_progress=on_progress)]

    if dry_run:
        from artattack.training.painter import plan_painter

        _load_tensorflow()
        _print_plan(plan_painter(settings))
        return
    _carry_out(work, out, same)


@examples(
    "artattack harden efficientnet_lite0 --images photos/ -o hardened",
    "artattack harden mine.h5 --preprocessing imagenet --images photos/ --painter painter/painter.keras -o hardened",
    "artattack harden efficientnet_lite0 --images photos/ --dry-run -o hardened",
)
def harden(
    model: Annotated[str, typer.Argument(help="The classifier to harden: a name of `artattack models` or a file.")],
    images: Annotated[str, _of(_HARDEN, "images")],
    out: Out = Path("hardened"),
    painter: Annotated[str | None, _of(_HARDEN, "painter")] = None,
    styles: Annotated[list[str], _of(_HARDEN, "styles")] = [],  # noqa: B006
    held_out_styles: Annotated[list[str], _of(_HARDEN, "held_out_styles")] = [],  # noqa: B006
    distances: Annotated[tuple[float, float], _of(_HARDEN, "distances")] = _HARDEN["distances"].default,
    painted_weight: Annotated[float, _of(_HARDEN, "painted_weight")] = _HARDEN["painted_weight"].default,
    crops: Annotated[int, _of(_HARDEN, "crops")] = _HARDEN["crops"].default,
    epochs: Annotated[int, _of(_HARDEN, "epochs")] = _HARDEN["epochs"].default,
    patience: Annotated[int, _of(_HARDEN, "patience")] = _HARDEN["patience"].default,
    batch: Annotated[int, _of(_HARDEN, "batch")] = _HARDEN["batch"].default,
    learning_rate: Annotated[float, _of(_HARDEN, "learning_rate")] = _HARDEN["learning_rate"].default,
    temperature: Annotated[float, _of(_HARDEN, "temperature")] = _HARDEN["temperature"].default,
    held_out: Annotated[float, _of(_HARDEN, "held_out")] = _HARDEN["held_out"].default,
    seed: Annotated[int, _of(_HARDEN, "seed")] = _HARDEN["seed"].default,
    preprocessing: Annotated[str | None, typer.Option(help="Preprocessing of a model from a file.")] = None,
    label_space: Annotated[str | None, typer.Option(help="Label space of a model from a file, in order.")] = None,
    input_size: Annotated[int | None, typer.Option(help="Side of the model's input images, in pixels.")] = None,
    resume: Resume = False,
    dry_run: DryRun = False,
) -> None:
    """Harden a classifier against paint: fine-tune it on painted copies of images, without labels.

    The path of the written file, hardened.keras or hardened.pt with its card, is a classifier and a source.
    """
    given = {name: value for name, value in locals().items() if name in _HARDEN}
    settings = _checked(HardenSettings, given)
    opened = {"preprocessing": preprocessing, "label_space": label_space, "input_size": input_size}
    same = ["artattack", "harden", model, *_options(settings, {"model"})]
    same += [f"{_flag(name)}={value}" for name, value in opened.items() if value is not None]

    def load() -> tuple[Classifier, Paint]:
        _load_tensorflow()
        from artattack.models import load_model

        return load_model(model, **opened), painter_of(settings.painter)  # type: ignore[arg-type]

    def work(on_progress: Any) -> list[Card]:
        from artattack.training import harden as hardening

        on_progress(f"loading {model}", 0, 1)
        return [hardening.harden(settings, *load(), out, resume=resume, on_progress=on_progress)]

    if dry_run:
        _print_plan(plan_hardening(settings, *load()))
        return
    _carry_out(work, out, same)


def _checked(section: Any, given: dict[str, Any]) -> Any:
    try:
        return section.model_validate(given)
    except ValidationError as error:

        def place(path: tuple[Any, ...]) -> tuple[str, type[BaseModel]]:
            return _flag(str(path[0])) if path else "settings", section

        raise ArtattackError(explain(error, place)) from error


def _options(settings: BaseModel, arguments: set[str]) -> list[str]:
    """Return the options that reproduce the settings, without those at their default."""
    words: list[str] = []
    for name, field in type(settings).model_fields.items():
        value = getattr(settings, name)
        flag = _flag(name)
        if name in arguments or value == field.default:
            continue
        if isinstance(value, bool):
            words.append(flag if value else flag.replace("--", "--no-", 1))
        else:
            words += [f"{flag}={item}" for item in (value if isinstance(value, tuple) else (value,))]
    return words


def _flag(name: str) -> str:
    """Return the option of a setting; a repeatable option has a singular name."""
    return f"--{_SINGULAR.get(name, name).replace('_', '-')}"


def _load_tensorflow() -> None:
    from artattack.runtime import load_tensorflow

    load_tensorflow()


def _carry_out(work: Callable[[Any], Sequence[Card | PainterCard]], out: Path, same: list[str]) -> None:
    """Train, then print the results."""
    try:
        with show_progress() as on_progress:
            on_progress("starting", 0, 1)
            _load_tensorflow()
            cards = work(on_progress)
    except KeyboardInterrupt as error:
        again = shlex.join([*same, "--resume", "--out", str(out)])
        complain(f"interrupted; to go on: {again}" if (out / "settings.json").exists() else "interrupted")
        raise typer.Exit(130) from error
    console = Console()
    from artattack.training.card_writing import in_words

    for card in cards:
        say(console, card.title, "bold")
        for name in _SHOWN:
            if name in card.facts:
                say(console, f"  {name.replace('_', ' ')}: {in_words(card.facts[name])}")
        packed, plain = (card.facts.get(name, 0) for name in ("bytes", "bytes_as_float32"))
        if packed < plain:
            say(console, f"  size against float: {plain / packed:.1f} times smaller")
    say(console, f"Written: {out}  (.keras files, each with its card beside it)")


def _print_plan(lines: list[str]) -> None:
    console = Console()
    for line in lines:
        say(console, line)
