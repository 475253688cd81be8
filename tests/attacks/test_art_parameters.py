"""Parameters of ART's attacks, read without ART: names, defaults, steps, distances."""

import inspect
import subprocess
import sys
from importlib.util import find_spec
from typing import Any

import numpy as np
import pytest

from artattack.attacks import baselines
from artattack.attacks.art_attacks import baseline_info, baseline_infos
from artattack.attacks.art_parameters import (
    art_defaults,
    ball,
    can_be_targeted,
    check_parameters,
    distances,
    read_parameters,
    with_budget,
)
from artattack.errors import ArtattackError

EPS = 8 / 255


@pytest.mark.parametrize("info", baseline_infos(), ids=lambda info: info.name)
def test_names_and_defaults_are_those_of_arts_class(info: Any) -> None:
    if info.package and find_spec(info.package) is None:
        pytest.skip(f"{info.package} is not installed")
    _, _, *known = inspect.signature(baselines._art_class(info).__init__).parameters.values()
    assert dict(art_defaults(info.art_class)) == {parameter.name: parameter.default for parameter in known}


def test_reading_them_loads_neither_art_nor_tensorflow() -> None:
    code = (
        "import sys; from artattack.attacks.art_parameters import art_defaults; "
        "assert art_defaults('GeoDA')['norm'] == 2; print({'tensorflow', 'art', 'keras'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


@pytest.mark.parametrize(
    ("attack", "given", "step"),
    [
        ("pgd", {"eps": EPS}, 2.5 * EPS / 100),  # ART's 100 iterations
        ("pgd", {"eps": EPS, "max_iter": 10}, 2 / 255),
        ("pgd", {"eps": "8/255", "max_iter": "10"}, 2 / 255),
        ("pgd", {"eps": EPS, "max_iter": 2}, EPS),  # at most the ball
        ("pgd", {"max_iter": 10}, 0.075),  # of ART's eps, 0.3
        ("pgd_numpy", {"eps": 5, "norm": 2, "max_iter": 25}, 0.5),
        ("pgd_tensorflow", {"eps": EPS, "max_iter": 40}, 0.5 / 255),
        ("bim", {"eps": EPS, "max_iter": 10}, 2 / 255),
        ("pgd", {"eps": EPS, "eps_step": 0.02}, 0.02),
        ("autopgd", {"eps": EPS, "max_iter": 10}, EPS),  # it only shortens them
        ("autocg", {"eps": EPS}, EPS),
        ("rescaling_autocg", {"eps": EPS}, EPS),
        ("fgsm", {"eps": EPS}, None),
        ("fgsm", {"eps": EPS, "minimal": True}, 0.8 / 255),
        ("square", {"eps": EPS}, None),
        ("universal", {"eps": EPS}, None),
        ("wasserstein", {"eps": 0.5}, None),  # a ball in another unit than the step
        ("deepfool", {}, None),
    ],
)
def test_a_step_is_a_share_of_the_ball(attack: str, given: dict[str, Any], step: float | None) -> None:
    found = read_parameters(baseline_info(attack), given).get("eps_step")
    assert found == (None if step is None else pytest.approx(step))


@pytest.mark.parametrize(
    ("attack", "given", "expected"),
    [
        ("fgsm", {}, [("eps", ("linf", 0.3))]),
        ("pgd", {"eps": 8, "eps_step": 2}, [("eps", ("linf", 8.0)), ("eps_step", ("linf", 2.0))]),
        ("pgd", {"eps": 3, "norm": 2, "max_iter": 10}, [("eps", ("l2", 3.0)), ("eps_step", ("l2", 0.75))]),
        ("bim", {"eps": 8, "eps_step": 1}, [("eps", ("linf", 8.0)), ("eps_step", ("linf", 1.0))]),
        ("universal", {}, [("eps", ("linf", 10.0))]),
        ("universal", {"eps": 0.1, "attacker": "pgd", "attacker_params": {"eps": "8", "max_iter": 3}},
         [("eps", ("linf", 0.1)), ("attacker_params.eps", ("linf", 8.0))]),
        ("vat", {"eps": 8}, [("eps", ("l2", 8.0))]),
        ("simba", {"epsilon": 8}, [("epsilon", ("linf", 8.0))]),
        ("jsma", {"theta": -8}, [("theta", ("linf", 8.0))]),
        ("wasserstein", {"eps": 8}, []),
        ("wasserstein", {"eps": 8, "ball": "inf"}, [("eps", ("linf", 8.0))]),
        ("hopskipjump", {}, []),
    ],
)  # fmt: skip
def test_distances_among_parameters(attack: str, given: dict[str, Any], expected: list[Any]) -> None:
    info = baseline_info(attack)
    assert [*distances(info, read_parameters(info, given))] == expected


@pytest.mark.parametrize(
    ("attack", "given", "message"),
    [
        ("fgsm", {"eps": 8}, r"eps of attack 'fgsm': linf=8: values lie in \[0, 1\].*; did you mean 8/255\?"),
        ("pgd", {"eps": EPS, "eps_step": 2}, r"eps_step of attack 'pgd': linf=2: .*; did you mean 2/255\?"),
        ("universal", {}, r"eps of attack 'universal', ART's default: linf=10: .*did you mean 10/255"),
        ("pgd", {"eps": 2000, "norm": 2}, r"l2=2000: two images of 64 x 64 px .* at most 110.9 apart; did you mean 20"),
        ("pgd", {"eps": 0}, r"eps of attack 'pgd': linf=0: a distance is a finite number above 0"),
        ("pgd", {"norm": 3}, r"norm of attack 'pgd': 3 is not one of inf, 1, 2"),
        ("square", {"norm": 1}, r"norm of attack 'square': 1 is not one of inf, 2"),
        ("pgd", {"norm": "l2"}, r"norm of attack 'pgd': 'l2' is not one of"),
        ("vat", {"eps": 200}, r"eps of attack 'vat': l2=200"),
    ],
)
def test_distances_that_no_image_reaches_are_refused(attack: str, given: dict[str, Any], message: str) -> None:
    with pytest.raises(ArtattackError, match=message):
        check_parameters(baseline_info(attack), given, (64, 64))


def test_the_farthest_of_images_of_64_px_is_their_diagonal() -> None:
    info = baseline_info("pgd")
    assert check_parameters(info, {"norm": 2, "eps": 110.8}, (64, 64))["eps"] == 110.8  # sqrt(64 * 64 * 3) = 110.85
    with pytest.raises(ArtattackError, match="at most"):
        check_parameters(info, {"norm": 2, "eps": 110.9}, (64, 64))


@pytest.mark.parametrize(
    ("attack", "parameters", "distance", "expected"),
    [
        ("fgsm", {}, "linf", {"eps": 2.0, "norm": np.inf}),
        ("pgd", {"eps": "8/255", "eps_step": "2/255"}, "l2", {"eps": 2.0, "norm": 2, "eps_step": 0.5}),
        ("pgd", {"eps": 1, "eps_step": 0.1, "max_iter": 3}, "linf", {"max_iter": 3, "eps_step": 0.2}),
        (
            "pgd",
            {"eps_step": 7.0, "max_iter": 10},
            "linf",
            {"eps_step": 0.5},
        ),  # without an eps, nothing it is a share of
        ("square", {}, "l2", {"eps": 2.0, "norm": 2}),
        ("bim", {"max_iter": 20}, "linf", {"eps": 2.0, "eps_step": 0.25}),
    ],
)
def test_a_budget_becomes_eps(attack: str, parameters: dict[str, Any], distance: str, expected: dict[str, Any]) -> None:
    info = baseline_info(attack)
    found = read_parameters(info, with_budget(info, parameters, distance, 2.0))
    assert {name: found[name] for name in expected} == pytest.approx(expected)
    assert ("norm" in found) == (attack != "bim")
    assert ball(info, found) == (distance, 2.0)


def test_which_attacks_lead_to_chosen_classes() -> None:
    led = {info.name for info in baseline_infos() if can_be_targeted(info)}
    assert {"pgd", "boundary", "cw_l2", "jsma", "targeted_universal"} <= led
    assert not led & {"deepfool", "universal", "square", "spatial", "geoda"}
