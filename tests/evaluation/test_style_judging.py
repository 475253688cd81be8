"""Style judges: their distances, their judgements, and the choice of independent networks."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import artattack.models
from artattack.attacks.baseline_entry import BaselineEntry
from artattack.attacks.entries import Variant
from artattack.attacks.style_entry import StyleEntry
from artattack.config import parse_benchmark
from artattack.errors import ArtattackError
from artattack.evaluation.plan import make_plan
from artattack.evaluation.run import run_benchmark
from artattack.evaluation.style_judging import NO_JUDGE, StyleJudge, StyleJudges
from artattack.inputs.images import read_image, to_float
from artattack.inputs.styles import load_styles, style_names
from artattack.models.ancestry import Kinship
from artattack.models.model import Model
from artattack.results.judgements import NO_STYLE, from_json
from artattack.results.run_folder import load_run

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("models_load_once", "eager")]

SIZE = 64
BANK = ("waves", "marble", "waves+marble")


@pytest.fixture(scope="module")
def lite0() -> Model:
    return artattack.models.load_model("efficientnet_lite0")


@pytest.fixture(scope="module")
def judge(lite0: Model) -> StyleJudge:
    return StyleJudge(lite0, BANK, (SIZE, SIZE))


def test_distances_are_those_of_gram_matrices(judge: StyleJudge, lite0: Model) -> None:
    """By NumPy, from the layers of stride 2, 4 and 8 of the network as Keras runs it; stride 16 does not count."""
    import tf_keras

    layers = ["block2a_expand_relu6", "block3a_expand_relu6", "block4a_expand_relu6"]
    network = artattack.models.network.rebuild(lite0.network, layers, input_shape=(SIZE, SIZE, 3))
    assert isinstance(network, tf_keras.Model)

    def grams(images: np.ndarray) -> list[np.ndarray]:
        outputs = network((255 * images - 127) / 128, training=False)
        flat = [np.asarray(f).reshape(len(images), -1, f.shape[-1]).astype(np.float64) for f in outputs]
        return [np.einsum("npc,npd->ncd", f, f) / f.shape[1] for f in flat]

    x = np.random.default_rng(0).random((3, SIZE, SIZE, 3)).astype(np.float32)
    own = grams(x)
    expected = np.zeros((3, 3))
    for s, name in enumerate(BANK):
        for mine, style in zip(own, grams(load_styles(name, SIZE)), strict=True):
            target = style.mean(0)  # a blend is the mean of its styles' statistics
            expected[:, s] += ((mine - target) ** 2).sum((1, 2)) / (target**2).sum() / 3
    np.testing.assert_allclose(judge.distances(x), expected, rtol=1e-4)


def test_a_style_is_nearest_to_itself(lite0: Model) -> None:
    styles = np.concatenate([load_styles(name, SIZE) for name in style_names()])
    distances = StyleJudge(lite0, style_names(), (SIZE, SIZE)).distances(styles)
    assert distances.argmin(1).tolist() == list(range(6))
    np.testing.assert_allclose(np.diag(distances), 0, atol=1e-6)


def test_a_judge_needs_style_layers(lite0: Model) -> None:
    from dataclasses import replace

    with pytest.raises(ArtattackError, match="'efficientnet_lite0' has no default style layers"):
        StyleJudge(replace(lite0, style_layers=()), BANK, (SIZE, SIZE))


def chosen(attack: dict[str, Any], *, control: str | None = None, **keys: Any) -> list[str]:
    """Return who judges the first variant of an attack, or of a control that copies it."""
    entries = [{"attack": "style", "style": "waves"} | attack] + ([{"attack": control}] if control else [])
    given = {"attacks": entries, "style_judges": ["efficientnet_lite2", "efficientnet_lite0"]} | keys
    benchmark = parse_benchmark(given)
    variants = make_plan(benchmark).variants
    models = {
        name: artattack.models.load_model(benchmark.spec(name).model)
        for name in (*benchmark.model_names(), *keys.get("models", {}))
    }
    teachers = {n: s.distilled_from for n, s in benchmark.models.items() if s.distilled_from}
    kinship = Kinship(teachers, weights={name: model.weights_sha256 for name, model in models.items()})
    judges = StyleJudges(models, benchmark.style_judges, kinship, style_names(), (SIZE, SIZE))
    return list(judges.independent_of(variants[2 if control else 1]))


def test_judges_are_all_but_the_relatives_of_the_models_read() -> None:
    lite0, lite2 = "efficientnet_lite0", "efficientnet_lite2"
    assert chosen({}) == [lite2, lite0]
    assert chosen({"backbone": lite0}) == [lite2]
    assert chosen({"backbone": lite2}) == [lite0]
    assert chosen({"guide": [lite2, "quicknet_tiny"]}) == [lite0]
    assert chosen({"backbone": lite2, "guide": lite0}) == []
    # Nor under another name, nor the teacher of what it read.
    models: dict[str, Any] = {"alias": {"model": lite2}}
    assert chosen({"backbone": "alias"}, models=models) == [lite0]
    student: dict[str, Any] = {"student": {"model": "quicknet_tiny", "distilled_from": lite2}}
    assert chosen({"backbone": "student"}, models=student) == [lite0]
    # Nor a student of what it read, or of its teacher, through any number of teachers.
    models = {"student": {"model": "quicknet_tiny", "distilled_from": lite0}}
    assert chosen({"backbone": lite0}, models=models, style_judges=["student", lite2]) == [lite2]
    models |= {"second": {"model": "quicknet_tiny", "weights": "random", "distilled_from": "student"}}
    assert chosen({"backbone": "second"}, models=models, style_judges=[lite0, lite2]) == [lite2]
    assert chosen({"backbone": "efficientnet_lite0"}, models=models, style_judges=["second"]) == []
    # Controls are judged by the judge of what they are compared with.
    assert chosen({"backbone": lite2}, control="noise") == [lite0]
    assert chosen({"backbone": lite2}, control="random-backbone") == [lite0]


def test_every_judge_speaks_and_may_find_no_style(lite0: Model) -> None:
    """Untouched, an image has no style, whichever it is least unlike; painted over with waves it has that one."""
    tiny = artattack.models.load_model("quicknet_tiny")
    models = {"efficientnet_lite0": lite0, "quicknet_tiny": tiny}
    kinship = Kinship(
        {"quicknet_distilled": "efficientnet_lite1"},
        {**dict.fromkeys(("efficientnet_lite0", "efficientnet_lite1"), "mobilenet")},
    )
    judges = StyleJudges(models, [*models], kinship, style_names(), (SIZE, SIZE))
    strokes, waves = (load_styles(name, SIZE) for name in ("brushstrokes", "waves"))
    entry = StyleEntry(attack="style", backbone=("quicknet_distilled",))
    said = judges.columns(
        Variant(entry, "waves", "quicknet_distilled"), np.concatenate([strokes] * 2), np.concatenate([strokes, waves])
    )
    assert said["style_judge"] == ["efficientnet_lite0"] * 2
    assert said["style_nearest"] == [NO_STYLE, "waves"]
    assert said["style_identified"] == [False, True]
    assert said["style_nearest_before"] == ["brushstrokes"] * 2
    for n, nearest in enumerate([NO_STYLE, "waves"]):
        first, second = from_json(said["style_judgements"][n])
        assert [(told.judge, told.relation) for told in (first, second)] == [
            ("efficientnet_lite0", "kin"),
            ("quicknet_tiny", "unrelated"),
        ]
        assert {(told.style, told.nearest, told.nearest_before) for told in (first, second)} == {
            ("waves", nearest, "brushstrokes")
        }
        assert first.after == pytest.approx(said["style_seen_after"][n], abs=1e-6)
    assert (
        judges.columns(
            Variant(BaselineEntry(attack="fgsm", source="quicknet_tiny"), source="quicknet_tiny"), strokes, waves
        )
        == {}
    )


def test_records_and_summary_name_the_judge_and_the_recognised_style(tmp_path: Path) -> None:
    tiny: dict[str, Any] = {"attack": "style", "backbone": "quicknet_tiny"}
    attacks = [
        tiny | {"style": ["waves", "marble"], "steps": 2, "init": "noise"},
        tiny | {"name": "all-read", "style": "waves", "steps": 1, "guide": "efficientnet_lite0"},
        {"attack": "blend", "like": "style"},
        {"attack": "fgsm", "source": "quicknet_tiny", "eps": "2/255"},
    ]
    records = run_benchmark(
        {
            "images": {"size": SIZE, "limit": 2},
            "classifiers": ["quicknet_tiny", "efficientnet_lite0"],
            "style_judges": "efficientnet_lite0",
            "attacks": attacks,
        },
        out=tmp_path / "run",
    )
    assert records["error"].isna().all()
    judged = records[records["style_identified"].notna()]
    assert set(judged["attack"]) == {"style", "blend"}
    assert set(judged["style_judge"]) == {"efficientnet_lite0"}
    assert (judged["style_chance"] == 1 / 6).all()
    assert (judged["style_identified"] == (judged["style_nearest"] == judged["style"])).all()
    assert (records.loc[records["attack"] == "all-read", "style_judge"] == NO_JUDGE).all()
    assert records.loc[records["attack"].isin(["clean", "fgsm"]), "style_judge"].isna().all()
    # The untouched photo's nearest style is the same under each attack, and what recognition has to beat.
    nearest = judged.groupby("image")["style_nearest_before"].agg(lambda names: sorted({*names}))
    judge = StyleJudge(artattack.models.load_model("efficientnet_lite0"), style_names(), (SIZE, SIZE))
    for image, names in nearest.items():
        photo = read_image(tmp_path / "run" / "images" / "original" / f"{image}.png")
        assert names == [style_names()[int(judge.distances(to_float(photo)[np.newaxis]).argmin())]]
    assert (judged["style_identified_before"] == (judged["style_nearest_before"] == judged["style"])).all()
    seen = records.groupby(["attack", "classifier"])["classifier_seen"].first()
    assert pd.isna(seen["clean", "quicknet_tiny"])
    assert {pair: bool(value) for pair, value in seen.dropna().items()} == {
        ("style", "quicknet_tiny"): True,
        ("style", "efficientnet_lite0"): False,
        ("all-read", "quicknet_tiny"): True,
        ("all-read", "efficientnet_lite0"): True,
        ("blend", "quicknet_tiny"): False,
        ("blend", "efficientnet_lite0"): False,
        ("fgsm", "quicknet_tiny"): True,
        ("fgsm", "efficientnet_lite0"): False,
    }
    relations = records.groupby(["attack", "classifier"])["classifier_relation"].first()
    assert pd.isna(relations["clean", "quicknet_tiny"])
    assert dict(relations.dropna()) == {
        ("style", "quicknet_tiny"): "seen",
        ("style", "efficientnet_lite0"): "unrelated",
        ("all-read", "quicknet_tiny"): "seen",
        ("all-read", "efficientnet_lite0"): "seen",
        ("blend", "quicknet_tiny"): "unrelated",
        ("blend", "efficientnet_lite0"): "unrelated",
        ("fgsm", "quicknet_tiny"): "seen",
        ("fgsm", "efficientnet_lite0"): "unrelated",
    }
    summary = load_run(tmp_path / "run").summary
    judges = load_run(tmp_path / "run").judges
    assert judges[["attack", "style", "judge", "n"]].values.tolist() == [
        [attack, style, "efficientnet_lite0", 2] for attack in ("style", "blend") for style in ("waves", "marble")
    ]
    for row in summary[summary["attack"] == "style"].itertuples():
        own = judged[(judged["style"] == row.style) & (judged["classifier"] == row.classifier)]
        own = own[own["attack"] == "style"]
        assert (row.styles_judged, row.styles_identified) == (2, own["style_identified"].sum())
        assert row.style_identified_rate == own["style_identified"].mean()
        assert row.mean_style_seen_after == pytest.approx(own["style_seen_after"].mean())
