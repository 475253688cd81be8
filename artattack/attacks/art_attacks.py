"""ART's evasion attacks, with their requirements and behaviour. Plain data, without TensorFlow or ART."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import Any, Literal

from artattack.errors import ArtattackError, nearest


@dataclass(frozen=True)
class BaselineInfo:
    """One of ART's attacks.

    Attributes:
        name: short name, for benchmark files.
        art_class: name of ART's class.
        reads: output of the source that each step reads: gradients, logits, or only decisions.
        minimum_norm: whether the attack seeks the smallest change that flips, instead of staying within `eps`.
        package: a package that ART needs for the attack and does not install.
        probabilities: whether the attack's formulas need probabilities where other attacks take logits.
        together: how the attack treats a batch. `apart`: images are independent, so that a batch is fast and safe
            unless the attack draws at random; `one by one`: ART's class draws at random, decides for the whole batch or
            accepts a single image, so each image is attacked alone; `whole`: all images of a batch share one
            perturbation.
        norms: norms of the balls with radius `eps`; empty if the attack has no `eps`, or one with another meaning.
        distances: further parameters that are distances: from each parameter to the name of the distance or, if the
            user chooses the distance, to the parameter that names it. `eps` and `eps_step` of a ball need no entry.
        shortens: whether the attack only ever shortens its step, so that the first step is `eps`.
        always_targeted: whether the attack is targeted although ART's class has no parameter `targeted`.
        ignores_labels: whether ART's class treats given labels as targets although the attack is untargeted.
        remembers: attributes in which ART's class keeps results for the next call.
        parameters: default parameters, used unless the user sets any of them.
        fixed: parameters that the user cannot change.
    """

    name: str
    art_class: str
    reads: Literal["gradients", "logits", "decisions"]
    minimum_norm: bool = False
    package: str | None = None
    probabilities: bool = False
    together: Literal["apart", "one by one", "whole"] = "one by one"
    norms: tuple[str, ...] = ()
    distances: Mapping[str, str] = field(default_factory=dict)
    shortens: bool = False
    always_targeted: bool = False
    ignores_labels: bool = False
    remembers: tuple[str, ...] = ()
    parameters: Mapping[str, Any] = field(default_factory=dict)
    fixed: Mapping[str, Any] = field(default_factory=dict)

    @property
    def needs(self) -> str:
        """The attack's requirements, in words."""
        words = {"gradients": "gradients", "logits": "logits only", "decisions": "decisions only"}[self.reads]
        if self.minimum_norm:
            words += "; seeks the smallest change"
        if self.together == "whole":
            words += "; one perturbation for a batch"
        return f"{words}; package {self.package}" if self.package else words


# The inner attack of universal perturbations: without progress bars, and targeted where the outer attack is.
_QUIET_DEEPFOOL = {"attacker": "deepfool", "attacker_params": {"verbose": False}}
_TARGETED_FGSM = {"attacker": "fgsm", "attacker_params": {"targeted": True}}
# Differential evolution; the other choice, CMA-ES, takes its seed from the clock.
_REPRODUCIBLE = {"es": 1}

_ALL = ("linf", "l2", "l1")
_BASELINES = (
    BaselineInfo("fgsm", "FastGradientMethod", "gradients", together="apart", norms=_ALL),
    BaselineInfo("bim", "BasicIterativeMethod", "gradients", together="apart", norms=("linf",)),
    BaselineInfo("pgd", "ProjectedGradientDescent", "gradients", together="apart", norms=_ALL),
    BaselineInfo("pgd_numpy", "ProjectedGradientDescentNumpy", "gradients", together="apart", norms=_ALL),
    BaselineInfo("pgd_tensorflow", "ProjectedGradientDescentTensorFlowV2", "gradients", together="apart", norms=_ALL),
    BaselineInfo("autopgd", "AutoProjectedGradientDescent", "gradients", norms=_ALL, shortens=True),
    BaselineInfo("autocg", "AutoConjugateGradient", "gradients", norms=_ALL, shortens=True),
    BaselineInfo("rescaling_autocg", "RescalingAutoConjugateGradient", "gradients", norms=_ALL, shortens=True),
    BaselineInfo("autoattack", "AutoAttack", "gradients", norms=_ALL, shortens=True, package="multiprocess"),
    BaselineInfo("deepfool", "DeepFool", "gradients", minimum_norm=True),
    BaselineInfo("newtonfool", "NewtonFool", "gradients", minimum_norm=True, probabilities=True),
    BaselineInfo("cw_l2", "CarliniL2Method", "gradients", minimum_norm=True),
    BaselineInfo("cw_linf", "CarliniLInfMethod", "gradients", minimum_norm=True),
    BaselineInfo("cw_l0", "CarliniL0Method", "gradients", minimum_norm=True),
    BaselineInfo("elasticnet", "ElasticNet", "gradients", minimum_norm=True),
    BaselineInfo("brendel_bethge", "BrendelBethgeAttack", "gradients", minimum_norm=True, package="numba"),
    BaselineInfo("jsma", "SaliencyMapMethod", "gradients", distances={"theta": "linf"}, always_targeted=True),
    BaselineInfo("shadow", "ShadowAttack", "gradients", ignores_labels=True),
    BaselineInfo("wasserstein", "Wasserstein", "gradients", distances={"eps": "ball", "eps_step": "norm"}),
    BaselineInfo(
        "universal", "UniversalPerturbation", "gradients", together="whole", norms=_ALL, parameters=_QUIET_DEEPFOOL
    ),
    BaselineInfo(
        "targeted_universal",
        "TargetedUniversalPerturbation",
        "gradients",
        together="whole",
        norms=_ALL,
        always_targeted=True,
        parameters=_TARGETED_FGSM,
    ),
    BaselineInfo("square", "SquareAttack", "logits", norms=("linf", "l2")),
    BaselineInfo("simba", "SimBA", "logits", probabilities=True, distances={"epsilon": "linf"}),
    BaselineInfo("vat", "VirtualAdversarialMethod", "logits", probabilities=True, distances={"eps": "l2"}),
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
    "MomentumIterativeMethod": "ART has switched it off for TensorFlow; use mi-fgsm",
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
    """Return the entry of an attack, by its short name or ART's class name, ignoring case.

    Raises:
        ArtattackError: there is no such attack, or it does not run here, for the reason in the message.
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


def attack_words() -> tuple[str, ...]:
    """Return all names of ART's attacks: short names and class names."""
    return (*_NAMES, *_REFUSED)
