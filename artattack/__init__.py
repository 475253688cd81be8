"""artattack: how robust is an image classifier to art?

Public names load on first use, so that importing the package stays fast and does not load TensorFlow.
"""

import os
from typing import TYPE_CHECKING

import lazy_loader

from artattack.version import __version__ as __version__

# larq needs Keras 2; TensorFlow reads this once, when it is first imported.
os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

if TYPE_CHECKING:
    from artattack.attacks.style import StyleTransferAttack as StyleTransferAttack
    from artattack.checks import run_checks as run_checks
    from artattack.errors import ArtattackError as ArtattackError
    from artattack.evaluation.extending import extend_run as extend_run
    from artattack.evaluation.run import run_benchmark as run_benchmark
    from artattack.inputs.image_sets import load_images as load_images
    from artattack.models import load_model as load_model
    from artattack.models.fetching import fetch_model as fetch_model
    from artattack.networks.efficiency import measure_models as measure_models
    from artattack.photo.attack import attack_photo as attack_photo
    from artattack.report.survey import make_survey as make_survey
    from artattack.results.answers import add_answers as add_answers
    from artattack.results.between_runs import compare_runs as compare_runs
    from artattack.results.power import plan_survey as plan_survey
    from artattack.results.run_folder import load_run as load_run
    from artattack.studies import run_study as run_study
    from artattack.training.harden import harden as harden
    from artattack.training.painter import train_painter as train_painter

_named, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "attacks.style": ["StyleTransferAttack"],
        "checks": ["run_checks"],
        "errors": ["ArtattackError"],
        "evaluation.extending": ["extend_run"],
        "evaluation.run": ["run_benchmark"],
        "inputs.image_sets": ["load_images"],
        "models": ["load_model"],
        "models.fetching": ["fetch_model"],
        "networks.efficiency": ["measure_models"],
        "photo.attack": ["attack_photo"],
        "report.survey": ["make_survey"],
        "results.answers": ["add_answers"],
        "results.between_runs": ["compare_runs"],
        "results.power": ["plan_survey"],
        "results.run_folder": ["load_run"],
        "studies": ["run_study"],
        "training.harden": ["harden"],
        "training.painter": ["train_painter"],
    },
)


def __getattr__(name: str) -> object:
    """Load a public name; load TensorFlow with Keras 2, and ART, before a class built on them."""
    if name == "StyleTransferAttack":
        from artattack.runtime import load_tensorflow

        load_tensorflow()
    return _named(name)
