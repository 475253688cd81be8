"""Images at a budget: the attack's own images if its ball is the budget, otherwise images made or moved there."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from artattack.attacks.baseline_entry import BaselineEntry
from artattack.attacks.momentum_entry import MomentumEntry
from artattack.attacks.style_entry import StyleEntry
from artattack.evaluation.run import run_benchmark

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("models_load_once")]

NAME = "quicknet_tiny"
ATTACKS: list[dict[str, Any]] = [
    {"attack": "pgd", "source": NAME, "eps": 4, "norm": 2, "max_iter": 5},
    {"attack": "mi-fgsm", "source": NAME, "eps": 4, "norm": 2, "max_iter": 5},
    {"attack": "bim", "source": NAME, "eps": "4/255", "max_iter": 3},
    {"attack": "style", "backbone": NAME, "style": "waves", "steps": 3, "budget": "l2=4"},
]


def test_images_stand_at_budgets_and_one_attack_in_one_ball_is_made_once(tmp_path: Path, monkeypatch: Any) -> None:
    anew = []
    for kind in (BaselineEntry, MomentumEntry, StyleEntry):

        def within(self: Any, attack: Any, batch: Any, ball: Any, do: Any = kind.perturb_within) -> Any:
            anew.append(batch.variant.title.split("/")[0] + f" {ball[0]}={ball[1]:.3g}")
            return do(self, attack, batch, ball)

        monkeypatch.setattr(kind, "perturb_within", within)
    given: dict[str, Any] = {"images": {"size": 64, "limit": 2}, "classifiers": NAME, "feature_model": NAME}
    given |= {"style_judges": NAME, "attacks": ATTACKS}
    given["budgets"] = {"l2": [2, 4], "linf": ["4/255"], "ssim": [0.9]}
    records = run_benchmark(given, out=tmp_path / "run")
    assert records["error"].isna().all()
    assert sorted(anew) == sorted(
        ["pgd l2=2", "pgd linf=0.0157", "mi-fgsm l2=2", "mi-fgsm linf=0.0157", "style l2=2", "style linf=0.0157"]
    )

    def rows(attack: str, distance: str | None, budget: float = 0.0) -> Any:
        mine = records[records["attack"] == attack]
        if distance is None:
            return mine[mine["budget"].isna()]
        return mine[(mine["budget_distance"] == distance) & np.isclose(mine["budget"].astype(float), budget)]

    def files(table: Any) -> np.ndarray:
        return np.stack([np.asarray(Image.open(tmp_path / "run" / file)) for file in table["file"]])

    for attack in ("pgd", "mi-fgsm", "bim", "style"):
        for budget in (2.0, 4.0):
            found = rows(attack, "l2", budget)["l2"]
            assert (found <= budget + 1e-9).all()
            assert (found >= 0.99 * budget).all(), attack
        like = rows(attack, "ssim", 0.9)["ssim"]
        assert ((like >= 0.9) & (like <= 0.902)).all(), attack  # moved on, too, where it was nearer
    for attack, ball in (("mi-fgsm", ("l2", 4.0)), ("style", ("l2", 4.0)), ("bim", ("linf", 4 / 255))):
        own, same = rows(attack, None), rows(attack, *ball)
        np.testing.assert_array_equal(files(own), files(same))  # to the bit
        for column in ("flip", "top1_confidence_after", "l2", "seed", "eps_norm", "eps"):
            assert own[column].tolist() == same[column].tolist(), (attack, column)
        assert (set(own["eps_norm"]), set(own["eps"])) == ({ball[0]}, {ball[1]})
