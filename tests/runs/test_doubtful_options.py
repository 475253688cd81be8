"""Valid but probably unintended options get a one-line warning in every interface; impossible ones are refused."""

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from artattack import cli
from artattack.attacks.options import StyleOptions
from artattack.config import parse_benchmark
from artattack.errors import ArtattackError
from artattack.evaluation.run import run_benchmark

pytestmark = pytest.mark.usefixtures("models_load_once")

TOO_MUCH = (
    "tv_weight: 100000 beside 10 for style and content lets total variation dominate the loss; the default is 0.1"
)


def artattack_says(*arguments: str | Path) -> Result:
    return CliRunner().invoke(cli.app, list(map(str, arguments)), prog_name="artattack")


def test_total_variation_is_doubtful_above_thirty_times_style_and_content() -> None:
    assert StyleOptions().doubt() is None
    assert StyleOptions(tv_weight=300).doubt() is None  # of 10 for style: exactly thirty times
    assert StyleOptions(tv_weight=300.1).doubt() is not None
    assert StyleOptions(tv_weight=300.1, content_weight=1).doubt() is None
    assert StyleOptions(tv_weight=0.1 * 1e6).doubt() == TOO_MUCH
    assert StyleOptions(style_weight=0, tv_weight=1).doubt() is None  # guides may be all it is for


@pytest.mark.parametrize(
    ("attack", "doubted"),
    [
        ({"attack": "pgd", "eps": "8/255", "eps_step": 0.1}, True),
        ({"attack": "pgd", "eps": "8/255", "eps_step": "8/255"}, False),
        ({"attack": "pgd", "eps": "8/255"}, False),
        ({"attack": "bim", "eps_step": 0.4}, True),  # ART's eps is 0.3
        ({"attack": "autopgd", "eps": 0.1, "eps_step": 0.2}, False),  # as in its paper
        ({"attack": "autopgd", "eps": 0.1, "eps_step": 0.21}, True),
        ({"attack": "fgsm", "eps": 0.1, "eps_step": 0.2}, False),  # which takes none
        ({"attack": "mi-fgsm", "eps": 0.1, "eps_step": 0.2}, True),
    ],
    ids=str,
)
def test_a_step_longer_than_the_ball_is_doubtful(attack: dict[str, Any], doubted: bool) -> None:
    (entry,) = parse_benchmark({"attacks": [attack | {"source": "quicknet_tiny"}]}).attacks
    said = [*entry.doubts()]
    assert len(said) == doubted
    assert all(f"attack '{attack['attack']}': eps_step: steps of" in line for line in said)


def test_a_run_says_so_once_for_each_attack(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    attacks = [
        {"attack": "style", "name": name, "style": ["waves", "marble"], "tv_weight": weight}
        for name, weight in (("fine", 0.1), ("much", 1e5))
    ]
    file.write_text(json.dumps({"attacks": attacks}))
    done = artattack_says("run", file, "--dry-run")
    assert done.exit_code == 0
    assert done.stderr == f"artattack: warning: attack 'much': {TOO_MUCH}\n"


def test_so_does_a_run_from_python() -> None:
    class SeenError(Exception):
        pass

    def stop(plan: Any) -> None:
        raise SeenError

    with pytest.warns(UserWarning, match=f"attack 'style': {TOO_MUCH}") as said, pytest.raises(SeenError):
        run_benchmark({"attacks": [{"attack": "style", "tv_weight": 1e5}]}, on_plan=stop)
    assert len(said) == 1
    assert said[0].filename == __file__


@pytest.mark.parametrize(("weight", "warning"), [("100000", f"artattack: warning: {TOO_MUCH}\n"), ("0.1", "")])
def test_so_does_the_attack_on_one_photo(
    weight: str, warning: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def paint(*_: Any, **__: Any) -> Any:
        raise ArtattackError("painting was reached")

    Image.new("RGB", (40, 40)).save(tmp_path / "photo.png")
    monkeypatch.setattr("artattack.photo.attack.attack_photo", paint)
    arguments = ["attack", tmp_path / "photo.png", "-s", "waves", "-o", tmp_path / "o.png", "--tv-weight", weight]
    assert artattack_says(*arguments).stderr == warning + "artattack: painting was reached\n"


def test_a_lost_minus_sign_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(json.dumps({"attacks": [{"attack": "style", "tv_weight": -0.1}]}))
    for arguments in (["run", file], ["attack", "x.png", "-s", "waves", "-o", "o.png", "--tv-weight", "-0.1"]):
        done = artattack_says(*arguments)
        assert done.exit_code == 2
        assert "tv_weight: input should be greater than or equal to 0" in done.stderr
        assert len(done.stderr.splitlines()) == 1
