"""Sanity checks of an evaluation: do the attacks on a classifier work, so that its robustness figures are credible?

docs/checks.md lists the checks and the reasons for them. Importing this package loads neither TensorFlow nor pandas.
"""

from typing import TYPE_CHECKING

import lazy_loader

if TYPE_CHECKING:
    from artattack.checks.checking import all_sound as all_sound
    from artattack.checks.checking import check_models as check_models
    from artattack.checks.checking import run_checks as run_checks
    from artattack.checks.checking import write_checks as write_checks
    from artattack.checks.targets import targets_by_name as targets_by_name
    from artattack.checks.targets import targets_of_run as targets_of_run

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "checking": ["all_sound", "check_models", "run_checks", "write_checks"],
        "targets": ["targets_by_name", "targets_of_run"],
    },
)
