"""ART's evasion attacks by name, with ART's own parameters, seeded.

The list is plain data, so that it reads quickly; TensorFlow and ART load when an attack is made.
"""

from __future__ import annotations

import inspect
import random
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from artattack.errors import ArtattackError, nearest, unknown
from artattack.validation import parse_number


@dataclass(frozen=True)
class BaselineInfo:
    """One of ART's attacks, and what it takes to run it.

    Attributes:
        name: short name, as benchmark files write it.
        art_class: ART's name of the class.
        reads: what it reads from the source at each step: its gradients, its logits, or only its decisions.
        minimum_norm: whether it looks for the smallest change that flips, instead of staying within `eps`.
        package: a package that ART needs for it and does not install.
        probabilities: whether the formulas of the attack need probabilities where others take logits.
        one_image: whether ART's class takes only one image at a time.
        radius: whether its `eps`, if it has one, is the radius of a ball around the image.
        always_targeted: whether it aims at classes although ART's class has no parameter `targeted`.
        remembers: attributes in which ART's class keeps what it found for the next call.
        parameters: set unless the user sets any of them.
        fixed: set, and not for the user to change.
    """

    name: str
    art_class: str
    reads: Literal["gradients", "logits", "decisions"]
    minimum_norm: bool = False
    package: str | None = None
    probabilities: bool = False
    one_image: bool = False
    radius: bool = True
    always_targeted: bool = False
    remembers: tuple[str, ...] = ()
    parameters: Mapping[str, Any] = field(default_factory=dict)
    fixed: Mapping[str, Any] = field(default_factory=dict)

    @property
    def needs(self) -> str:
        """What the attack needs, in words."""
        words = {"gradients": "gradients", "logits": "logits only", "decisions": "decisions only"}[self.reads]
        if self.minimum_norm:
            words += "; seeks the smallest change"
        return f"{words}; package {self.package}" if self.package else words


# What universal perturbations start for each image: without progress bars, and aiming where it should.
_QUIET_DEEPFOOL = {"attacker": "deepfool", "attacker_params": {"verbose": False}}
_TARGETED_FGSM = {"attacker": "fgsm", "attacker_params": {"targeted": True}}
# Differential evolution; the other choice, CMA-ES, takes its seed from the clock.
_REPRODUCIBLE = {"es": 1}

_BASELINES = (
    BaselineInfo("fgsm", "FastGradientMethod", "gradients"),
    BaselineInfo("bim", "BasicIterativeMethod", "gradients"),
    BaselineInfo("pgd", "ProjectedGradientDescent", "gradients"),
    BaselineInfo("pgd_numpy", "ProjectedGradientDescentNumpy", "gradients"),
    BaselineInfo("pgd_tensorflow", "ProjectedGradientDescentTensorFlowV2", "gradients"),
    BaselineInfo("autopgd", "AutoProjectedGradientDescent", "gradients"),
    BaselineInfo("autocg", "AutoConjugateGradient", "gradients"),
    BaselineInfo("rescaling_autocg", "RescalingAutoConjugateGradient", "gradients"),
    BaselineInfo("autoattack", "AutoAttack", "gradients", package="multiprocess"),
    BaselineInfo("deepfool", "DeepFool", "gradients", minimum_norm=True),
    BaselineInfo("newtonfool", "NewtonFool", "gradients", minimum_norm=True, probabilities=True),
    BaselineInfo("cw_l2", "CarliniL2Method", "gradients", minimum_norm=True),
    BaselineInfo("cw_linf", "CarliniLInfMethod", "gradients", minimum_norm=True),
    BaselineInfo("cw_l0", "CarliniL0Method", "gradients", minimum_norm=True),
    BaselineInfo("elasticnet", "ElasticNet", "gradients", minimum_norm=True),
    BaselineInfo("brendel_bethge", "BrendelBethgeAttack", "gradients", minimum_norm=True, package="numba"),
    BaselineInfo("jsma", "SaliencyMapMethod", "gradients", always_targeted=True),
    BaselineInfo("shadow", "ShadowAttack", "gradients", one_image=True),
    BaselineInfo("wasserstein", "Wasserstein", "gradients", radius=False),
    BaselineInfo("universal", "UniversalPerturbation", "gradients", parameters=_QUIET_DEEPFOOL),
    BaselineInfo(
        "targeted_universal",
        "TargetedUniversalPerturbation",
        "gradients",
        always_targeted=True,
        parameters=_TARGETED_FGSM,
    ),
    BaselineInfo("square", "SquareAttack", "logits"),
    BaselineInfo("simba", "SimBA", "logits", probabilities=True),
    BaselineInfo("vat", "VirtualAdversarialMethod", "logits", probabilities=True, radius=False),
    BaselineInfo("zoo", "ZooAttack", "logits", minimum_norm=True),
    BaselineInfo(
        "spatial",
        "SpatialTransformation",
        "logits",
        remembers=("attack_trans_x", "attack_trans_y", "attack_rot", "fooling_rate"),
    ),
    BaselineInfo("pixel", "PixelAttack", "logits", fixed=_REPRODUCIBLE),
    BaselineInfo("threshold", "ThresholdAttack", "logits", fixed=_REPRODUCIBLE),
    BaselineInfo("boundary", "BoundaryAttack", "decisions", minimum_norm=True),
    BaselineInfo("hopskipjump", "HopSkipJump", "decisions", minimum_norm=True),
    BaselineInfo("geoda", "GeoDA", "decisions", minimum_norm=True),
    BaselineInfo("signopt", "SignOPTAttack", "decisions", minimum_norm=True),
)

_PATCH = "it paints a patch or sticker, which no distance budget describes"
_PYTORCH = "it runs on PyTorch only"
_DETECTOR = "it attacks object detectors"
_AUDIO = "it attacks speech recognisers"
_REFUSED = {
    "MomentumIterativeMethod": "ART has switched it off for TensorFlow; use pgd",
    "FeatureAdversariesTensorFlowV2": "ART reads features of Sequential networks only; use style",
    "FeatureAdversariesNumpy": "ART reads features of Sequential networks only; use style",
    "AdversarialPatch": _PATCH,
    "AdversarialPatchNumpy": _PATCH,
    "AdversarialPatchTensorFlowV2": _PATCH,
    "GRAPHITEBlackbox": _PATCH,
    "LaserAttack": "it needs a laser generator, which a benchmark file cannot hold",
    "AdversarialPatchPyTorch": _PYTORCH,
    "AdversarialTexturePyTorch": _PYTORCH,
    "CompositeAdversarialAttackPyTorch": _PYTORCH,
    "FeatureAdversariesPyTorch": _PYTORCH,
    "GRAPHITEWhiteboxPyTorch": _PYTORCH,
    "ImperceptibleASRPyTorch": _PYTORCH,
    "OverTheAirFlickeringPyTorch": _PYTORCH,
    "OverloadPyTorch": _PYTORCH,
    "ProjectedGradientDescentPyTorch": f"{_PYTORCH}; use pgd",
    "CarliniWagnerASR": _AUDIO,
    "ImperceptibleASR": _AUDIO,
    "DPatch": _DETECTOR,
    "RobustDPatch": _DETECTOR,
    "SNAL": _DETECTOR,
    "FrameSaliencyAttack": "it attacks video classifiers",
    "MalwareGDTensorFlow": "it attacks malware detectors",
    "LowProFool": "it attacks tables",
    "DecisionTreeAttack": "it attacks decision trees",
    "HighConfidenceLowUncertainty": "it attacks Gaussian processes",
}

_NAMES = [name for info in _BASELINES for name in (info.name, info.art_class)]
_BY_NAME = {name.lower(): info for info in _BASELINES for name in (info.name, info.art_class)}
_REFUSED_BY_NAME = {name.lower(): (name, why) for name, why in _REFUSED.items()}


def baseline_infos() -> tuple[BaselineInfo, ...]:
    """Return ART's attacks that run here."""
    return _BASELINES


def baseline_info(name: str) -> BaselineInfo:
    """Return what is known of an attack, by its short name or ART's class name, in any case.

    Raises:
        ArtattackError: there is no such attack, or it does not run here; the message says why.
    """
    key = name.lower()
    if key in _REFUSED_BY_NAME:
        art_name, why = _REFUSED_BY_NAME[key]
        raise ArtattackError(f"ART's {art_name} cannot be used here: {why}")
    if key not in _BY_NAME:
        valid = ", ".join(sorted(info.name for info in _BASELINES))
        raise ArtattackError(f"unknown attack '{name}'{nearest(name, _NAMES)} (valid: {valid})")
    info = _BY_NAME[key]
    if info.package and find_spec(info.package) is None:
        raise ArtattackError(f"attack '{info.name}' needs the package '{info.package}': pip install {info.package}")
    return info


def make_baseline(name: str, estimator: Any, parameters: Mapping[str, Any], seed: int | None = None) -> Any:
    """Return one of ART's evasion attacks, ready to `generate`.

    Args:
        name: short name or ART's class name.
        estimator: what the attack reads: an `ArtEstimator`, or another ART classifier.
        parameters: of ART's class, by ART's names. Numbers may be written `8/255`. What is not given takes
            ART's value, except that attacks are untargeted and without progress bars.
        seed: every random choice of `generate` follows from it, and each call starts from it again. Without
            one, call `generate` within `seeded`.

    Returns:
        An `art.attacks.EvasionAttack` whose `generate(x, y=None)` takes images (N, H, W, 3) in [0, 1] and
        labels, one-hot (N, K) or indices (N,) of the source's outputs, and returns images alike, float32.
        Where its `targeted` is True it aims at `y` and cannot do without; `art.utils.random_targets` draws
        some. It raises ArtattackError for labels it cannot use.

    Raises:
        ArtattackError: the attack, a parameter or its value is not usable.
    """
    info = baseline_info(name)
    art_class = _art_class(info)
    values = _values(info, art_class, parameters)
    try:
        attack = art_class(_readable(info, estimator), **values)
    except (ValueError, TypeError, AssertionError, LookupError, NotImplementedError) as error:
        what = " ".join(str(error).split()) or type(error).__name__
        raise ArtattackError(f"attack '{info.name}' does not accept {dict(parameters)}: {what}") from error
    for inner in getattr(attack, "attacks", ()):  # AutoAttack makes attacks of its own
        if hasattr(inner, "verbose"):
            inner.verbose = False
    attack.targeted = attack.targeted or info.always_targeted
    attack.generate = _Generate(info, attack, seed)
    return attack


def at_budget(name: str, parameters: Mapping[str, Any], distance: str, budget: float) -> dict[str, Any] | None:
    """Return an attack's parameters with the budget as its `eps`, or None if it has no such bound.

    The norm follows from the distance. A step size given with an eps keeps its share of it; one that is not given is
    a quarter of the budget, where ART's own would be larger than a small ball.

    Args:
        name: short name or ART's class name.
        parameters: as `make_baseline` takes them.
        distance: `linf` or `l2` bound attacks; others none.
        budget: the bound, in image units.
    """
    info = baseline_info(name)
    valid = {parameter.name for parameter in _known(_art_class(info))}
    norms = {"linf": np.inf, "l2": 2}
    if info.minimum_norm or not info.radius or "eps" not in valid or distance not in norms:
        return None
    changed: dict[str, Any] = dict(parameters) | {"eps": budget}
    if "norm" in valid:
        changed["norm"] = norms[distance]
    elif distance != "linf":
        return None
    if "eps_step" in valid:
        share = 0.25
        if {"eps", "eps_step"} <= parameters.keys():
            share = _number(parameters["eps_step"]) / _number(parameters["eps"])
        changed["eps_step"] = share * budget
    return changed


def _number(value: Any) -> float:
    return parse_number(value) if isinstance(value, str) else float(value)


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Make the random choices of ART's attacks follow from a seed, and leave the generators as they were.

    ART's attacks draw from Python's and NumPy's global generators; HopSkipJump and BoundaryAttack also make
    `np.random.RandomState()`, which takes its seed from the system unless it is replaced, as here.
    """
    python_state, numpy_state = random.getstate(), np.random.get_state()
    unseeded = np.random.RandomState

    class Seeded(unseeded):  # type: ignore[valid-type, misc]
        def __init__(self, seed: Any = None) -> None:
            super().__init__(np.random.randint(2**32, dtype=np.uint32) if seed is None else seed)

    random.seed(seed)
    np.random.seed(seed)
    np.random.RandomState = Seeded  # type: ignore[misc]
    try:
        yield
    finally:
        np.random.RandomState = unseeded  # type: ignore[misc]
        random.setstate(python_state)
        np.random.set_state(numpy_state)


class _Generate:
    """An attack's `generate`, seeded, with its labels checked."""

    def __init__(self, info: BaselineInfo, attack: Any, seed: int | None) -> None:
        self._info = info
        self._attack = attack
        self._generate = attack.generate
        self._seed = seed

    def __call__(self, x: NDArray[Any], y: NDArray[Any] | None = None, **kwargs: Any) -> NDArray[Any]:
        x = np.asarray(x, np.float32)
        labels = None if y is None else self._one_hot(np.asarray(y))
        if labels is None and self._attack.targeted:
            raise ArtattackError(f"attack '{self._info.name}' is targeted: give generate the classes y to aim at")
        for found in self._info.remembers:
            setattr(self._attack, found, None)
        with nullcontext() if self._seed is None else seeded(self._seed):
            if not self._info.one_image:
                return np.asarray(self._generate(x, labels, **kwargs), np.float32)
            adversarial = [
                self._generate(x[i : i + 1], None if labels is None else labels[i : i + 1], **kwargs)
                for i in range(len(x))
            ]
            return np.asarray(np.concatenate(adversarial), np.float32)

    def _one_hot(self, y: NDArray[Any]) -> NDArray[Any]:
        if y.ndim == 2 and y.shape[1] > 1:
            return y
        classes = self._attack.estimator.nb_classes
        y = y.reshape(-1)
        if not ((y >= 0) & (y < classes)).all():
            raise ArtattackError(
                f"attack '{self._info.name}': labels must be in 0..{classes - 1}, the source's outputs"
            )
        return np.asarray(np.eye(classes, dtype=np.float32)[y.astype(int)])


def _art_class(info: BaselineInfo) -> Any:
    import artattack  # noqa: F401  (chooses Keras 2 before TensorFlow loads)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # ART says that PyTorch is absent
        from art.attacks import evasion
    return getattr(evasion, info.art_class)


def _readable(info: BaselineInfo, estimator: Any) -> Any:
    """Return the estimator, giving probabilities instead of logits to the attacks that need them."""
    from artattack.models.estimator import ArtEstimator, to_estimator

    if not (info.probabilities and isinstance(estimator, ArtEstimator)):
        return estimator
    return to_estimator(
        estimator.artattack_model,
        input_shape=estimator.input_shape,
        temperature=estimator.temperature,
        probabilities=True,
    )


def _known(art_class: Any) -> list[inspect.Parameter]:
    """Return what ART's class takes besides the estimator.

    From its signature, not `attack_params`: that names a few parameters which the class does not take.
    """
    _, _, *known = inspect.signature(art_class.__init__).parameters.values()  # without self and the estimator
    return known


def _values(info: BaselineInfo, art_class: Any, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of ART's class: the user's, checked and read, over our own."""
    # Summary writers write files; worker processes cannot receive a compiled estimator.
    closed = {"summary_writer", "tensor_board", "parallel_pool_size", *info.fixed}
    valid = {parameter.name: parameter.default for parameter in _known(art_class) if parameter.name not in closed}
    values = {name: False for name in ("verbose", "targeted") if name in valid} | dict(info.fixed)
    if not set(info.parameters) & set(parameters):
        values |= info.parameters
    for key, value in parameters.items():
        if key not in valid:
            raise unknown(f"parameter of attack '{info.name}'", key, valid)
        values[key] = _like(valid[key], value, f"{key} of attack '{info.name}'") if key != "norm" else value
    return values


def _like(default: Any, value: Any, what: str) -> Any:
    """Return a value as the kind of number its default is, because ART's checks tell int from float."""
    if isinstance(default, bool) or not isinstance(default, int | float) or isinstance(value, bool):
        return value
    if isinstance(value, str):
        try:
            value = parse_number(value)
        except ArtattackError as error:
            raise ArtattackError(f"{what}: {error}") from None
    if not isinstance(value, int | float):
        return value
    if isinstance(default, float):
        return float(value)
    if not float(value).is_integer():
        raise ArtattackError(f"{what}: {value} is not a whole number")
    return int(value)
