"""The cache of images: equal images of earlier runs are reused, others are not."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import tf_keras
from PIL import Image
from typer.testing import CliRunner

import artattack.models
from artattack.attacks.baseline_entry import BaselineEntry
from artattack.attacks.controls import ControlEntry
from artattack.attacks.entries import Batch, Entry
from artattack.attacks.random_backbone import RandomBackboneEntry
from artattack.attacks.style_entry import StyleEntry
from artattack.cache import Cache, open_cache
from artattack.cli import app
from artattack.config import parse_benchmark
from artattack.evaluation import made_before
from artattack.evaluation.loading import LoadedModels
from artattack.evaluation.made_before import MadeBefore
from artattack.evaluation.plan import make_plan
from artattack.evaluation.run import run_benchmark
from artattack.models import load_model
from artattack.models.ancestry import Kinship
from artattack.results.run_folder import RunFolder

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("models_load_once")]

SIZE = 48
FGSM = {"attack": "fgsm", "source": "quicknet_tiny", "eps": "8/255"}
HOPS = {
    "attack": "hopskipjump",
    "source": "quicknet_tiny",
    "max_iter": 1,
    "max_eval": 4,
    "init_eval": 2,
    "init_size": 9,
}
NOISE = {"attack": "noise", "like": "fgsm"}
BENCHMARK: dict[str, Any] = {
    "seed": 3,
    "batch_size": 2,
    "images": {"size": SIZE, "limit": 3},
    "classifiers": "quicknet_tiny",
    "feature_model": "quicknet_tiny",
    "style_judges": "quicknet_tiny",
    "attacks": [
        FGSM,
        HOPS,
        NOISE,
        {"attack": "style", "backbone": "quicknet_tiny", "style": "waves", "steps": 2},
        {"attack": "random-backbone", "like": "style"},
    ],
    "budgets": {"l2": 2, "ssim": 0.9},
}
SMALL = BENCHMARK | {
    "images": {"size": SIZE, "limit": 2},
    "attacks": [FGSM, HOPS, NOISE, BENCHMARK["attacks"][3]],
    "budgets": {"ssim": 0.9},
}
QUICK = BENCHMARK | {"attacks": [FGSM, NOISE], "budgets": {}}


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cache:
    """A cache of each test's own, instead of none."""
    monkeypatch.setenv("ARTATTACK_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("ARTATTACK_CACHE_SIZE", "100MB")
    opened = open_cache()
    assert opened is not None
    return opened


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the variants that are made anew, a name for each batch."""
    names: list[str] = []
    for kind in (BaselineEntry, ControlEntry, RandomBackboneEntry, StyleEntry):

        def perturb(self: Any, attack: Any, batch: Any, do: Any = kind.perturb) -> Any:
            names.append(batch.variant.title)
            return do(self, attack, batch)

        monkeypatch.setattr(kind, "perturb", perturb)
    return names


def same(found: pd.DataFrame, expected: pd.DataFrame, *but: str) -> None:
    left = [table.drop(columns=["from_cache", *but]).reset_index(drop=True) for table in (found, expected)]
    pd.testing.assert_frame_equal(*left, check_exact=True)


def test_another_classifier_makes_nothing_anew(tmp_path: Path, made: list[str]) -> None:
    first = run_benchmark(SMALL, out=tmp_path / "first")
    assert first["error"].isna().all()
    perturbed = first["kind"] != "clean"
    assert not first.loc[perturbed, "from_cache"].any()
    assert first.loc[~perturbed, "from_cache"].isna().all()
    assert len(made) == 4 * 2  # attacks and controls, and each of them at a budget
    made.clear()
    twin = {"model": "quicknet_tiny", "weights": "random"}
    more = SMALL | {"classifiers": ["quicknet_tiny", "twin"], "models": {"twin": twin}}
    second = run_benchmark(more, out=tmp_path / "second")
    assert made == []
    assert second.loc[second["kind"] != "clean", "from_cache"].all()
    again = second[second["classifier"] == "quicknet_tiny"]
    same(again[again["kind"] != "clean"], first[perturbed])  # flips before rounding, queries and seconds among all
    same(again, first, "seconds")
    one, two = (sorted((tmp_path / name / "images").rglob("*.png")) for name in ("first", "second"))
    assert len(one) == 2 * (1 + 8)
    assert [path.read_bytes() for path in one] == [path.read_bytes() for path in two]


IMAGES = np.random.default_rng(0).integers(0, 256, (2, SIZE, SIZE, 3)).astype(np.float32) / np.float32(255)


def keys(change: dict[str, Any], x: np.ndarray = IMAGES, *, start: np.ndarray = IMAGES) -> dict[str, str | None]:
    """Return the keys of a batch under each variant of the benchmark with a change in it, by the variant's title."""
    plan = make_plan(parse_benchmark(BENCHMARK | change))
    benchmark = plan.benchmark
    names = {name for variant in plan.variants for name in (variant.source, *variant.models_seen) if name}
    models = {name: artattack.models.load_model(**benchmark.spec(name).arguments()) for name in names}
    if benchmark.images.label_space is not None:
        models = {name: model.restricted_to(model.label_space[:3]) for name, model in models.items()}
    before = MadeBefore(Cache(Path("nowhere"), 1), LoadedModels(models, models, Kinship(), None), plan)  # type: ignore[arg-type]
    found = {}
    for variant in plan.variants:
        seeds = tuple(variant.seed(benchmark.seed, image) for image in "ab")
        found[variant.title] = before.key(Batch(variant, x, seeds, None, lambda other: start))  # type: ignore[arg-type]
    return found


@pytest.fixture(scope="module")
def expected() -> dict[str, str | None]:
    return keys({})


def changed(change: dict[str, Any], expected: dict[str, str | None], **how: Any) -> set[str]:
    """Return the attacks any of whose variants a change makes anew."""
    found = keys(change, **how)
    return {title.split()[0] for title in found if found[title] != expected.get(title)}


ALL = {"fgsm/quicknet_tiny", "hopskipjump/quicknet_tiny", "noise", "style/waves/quicknet_tiny"}
ALL |= {"random-backbone/waves/quicknet_tiny"}
STYLE = {"style/waves/quicknet_tiny", "random-backbone/waves/quicknet_tiny"}


def attacks(number: int, **options: Any) -> dict[str, Any]:
    """Return the benchmark's attacks, one of them with other options."""
    entries = list(BENCHMARK["attacks"])
    return {"attacks": [*entries[:number], entries[number] | options, *entries[number + 1 :]]}


def test_each_batch_has_a_key_of_its_own(expected: dict[str, str | None]) -> None:
    perturbed = [key for title, key in expected.items() if title != "clean"]
    assert expected["clean"] is None
    assert all(key is not None and len(key) == 64 for key in perturbed)
    assert len(set(perturbed)) == len(perturbed) == 15
    assert keys({}) == expected


@pytest.mark.parametrize(
    ("change", "anew"),
    [
        ({"name": "other", "parquet": True, "style_judges": "efficientnet_lite0"}, set()),
        ({"classifiers": ["quicknet_tiny", "efficientnet_lite0"]}, set()),
        ({"images": {"limit": 1}, "batch_size": 1}, set()),  # the images and seeds above do not depend on it
        (attacks(0, source=["quicknet_tiny", "efficientnet_lite0"]), {"fgsm/efficientnet_lite0", "noise"}),
        (attacks(0, eps="9/255"), {"fgsm/quicknet_tiny", "noise"}),  # the noise at the new attack's distance
        (attacks(1, max_queries=9), {"hopskipjump/quicknet_tiny"}),
        (attacks(2, distance="ssim"), {"noise"}),
        (attacks(3, steps=3), STYLE),
        (attacks(3, style=["waves", "marble"]), {s.replace("waves", "marble") for s in STYLE}),
        (attacks(3, guide="quicknet_tiny"), STYLE),
        ({"budgets": {"l2": [2]}}, set()),
        ({"seed": 4}, ALL),
        ({"images": {"label_space": [1, 2, 3]}}, ALL - {"noise"}),  # it reads no model
        ({"models": {"quicknet_tiny": {"model": "quicknet_tiny", "weights": "random"}}}, ALL - {"noise"}),
        ({"models": {"quicknet_tiny": {"model": "quicknet_tiny", "preprocessing": "tf"}}}, ALL - {"noise"}),
    ],
)
def test_everything_that_determines_an_image_is_in_its_cache_key(
    change: dict[str, Any], anew: set[str], expected: dict[str, str | None]
) -> None:
    assert changed(change, expected) == anew


def test_images_and_code_are_in_the_cache_key(expected: dict[str, str | None], monkeypatch: pytest.MonkeyPatch) -> None:
    other = IMAGES.copy()
    other[1, 5, 5, 1] = 1 - other[1, 5, 5, 1]
    assert changed({}, expected, x=other) == ALL
    assert changed({}, expected, x=IMAGES[:, :, : SIZE - 1]) == ALL
    found = keys({}, start=other)
    begun = {title for title in found if found[title] != expected[title]}
    assert "fgsm/quicknet_tiny at ssim=0.9" in begun  # moved back along a line from the attack's own image
    assert "noise as fgsm/quicknet_tiny" in begun
    assert "fgsm/quicknet_tiny" not in begun
    assert "noise at l2=2" not in begun
    for name in ("_versions", "_code", "_machine"):
        with monkeypatch.context() as patch:
            patch.setattr(made_before, name, lambda: {"numpy": "another"})
            assert changed({}, expected) == ALL
    monkeypatch.setenv("TF_NUM_INTRAOP_THREADS", "7")
    assert changed({}, expected) == ALL


def test_files_count_by_their_content(tmp_path: Path) -> None:
    style, mask = tmp_path / "art.png", tmp_path / "mask.png"
    pixels = np.full((SIZE, SIZE, 3), 255, np.uint8)
    Image.fromarray(pixels).save(mask)
    Image.fromarray(pixels // 2).save(style)
    painted = {"attacks": [BENCHMARK["attacks"][3] | {"style": str(style), "mask": str(mask)}]}
    found = [keys(painted)]
    assert keys(painted) == found[0]
    for path in (mask, style):
        pixels[: SIZE // 2] //= 3
        Image.fromarray(pixels).save(path)
        found.append(keys(painted))
    assert len({key for keys_ in found for key in keys_.values()} - {None}) == 3 * 3


def test_a_model_counts_by_its_file(tmp_path: Path) -> None:
    layers = tf_keras.layers
    for name, activation in (("a", None), ("b", "tanh")):  # the same weights in another network
        inputs = tf_keras.Input((SIZE, SIZE, 3))
        maps = layers.Conv2D(2, 3, activation=activation, kernel_initializer="ones")(inputs)
        tf_keras.Model(inputs, layers.GlobalAveragePooling2D()(maps)).save(tmp_path / f"{name}.h5")
    found = []
    for name in ("a", "b", "a"):
        mine = {"models": {"mine": {"model": str(tmp_path / f"{name}.h5"), "preprocessing": "unit"}}}
        found.append(keys(mine | {"attacks": [FGSM | {"source": "mine"}], "budgets": {}})["fgsm/mine"])
    assert found[0] == found[2] != found[1]


def test_a_failure_is_not_kept(tmp_path: Path, made: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(self: Entry, attack: Any, batch: Any) -> Any:
        raise RuntimeError("out of luck")

    with monkeypatch.context() as patch:
        patch.setattr(BaselineEntry, "perturb", fail)
        records = run_benchmark(QUICK, out=tmp_path / "run")
        assert (records["error"].notna() == (records["kind"] != "clean")).all()
    resumed = run_benchmark(QUICK, out=tmp_path / "run", resume=True)
    assert made == ["fgsm/quicknet_tiny", "fgsm/quicknet_tiny", *["noise as fgsm/quicknet_tiny"] * 2]
    assert resumed["error"].isna().all()


def test_a_run_that_stops_and_a_cache_that_is_damaged(
    cache: Cache, tmp_path: Path, made: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    write = RunFolder.write_cell

    def stop(folder: RunFolder, key: str, rows: Any) -> None:
        if key.startswith("fgsm"):
            raise KeyboardInterrupt
        write(folder, key, rows)

    with monkeypatch.context() as patch:
        patch.setattr(RunFolder, "write_cell", stop)
        with pytest.raises(KeyboardInterrupt):
            run_benchmark(QUICK, out=tmp_path / "run")
    assert made == ["fgsm/quicknet_tiny"]
    resumed = run_benchmark(QUICK, out=tmp_path / "run", resume=True)
    assert len(made) == 4
    assert resumed["from_cache"].sum() == 2  # the images of the batch that had been made
    made.clear()

    entries = sorted(cache.folder.rglob("*.npz"))
    assert len(entries) == 4
    entries[0].write_bytes(entries[0].read_bytes()[:1000])
    # Whole, but of something else.
    np.savez(entries[1], files=np.zeros((2, 5, 5, 3), np.uint8), words=np.array(b'{"seconds": 1.0, "held_to": null}'))
    np.savez(entries[2], files=np.zeros((2, SIZE, SIZE, 3), np.uint8), words=np.array(b"{}"))
    again = run_benchmark(QUICK, out=tmp_path / "again")
    assert len(made) == 3
    same(again, resumed, "seconds")


def test_a_model_that_is_python_is_asked_again(tmp_path: Path, made: list[str], cache: Cache) -> None:
    def brightness(x: np.ndarray) -> np.ndarray:
        return np.stack([x.mean((1, 2, 3)), 1 - x.mean((1, 2, 3))], 1)

    mine = load_model(brightness, input_size=SIZE)
    square = {"attack": "square", "source": "mine", "eps": 0.1, "max_iter": 2, "max_queries": 3}
    benchmark = QUICK | {"classifiers": ["mine"], "attacks": [square, NOISE | {"like": "square"}]}
    for name in ("first", "second"):
        run_benchmark(benchmark, out=tmp_path / name, models={"mine": mine})
    assert made.count("square/mine") == 4
    assert made.count("noise as square/mine") == 2  # it reads files, and they are the same
    assert cache.size().entries == 2


def test_commands_say_so_and_can_do_without(tmp_path: Path, made: list[str], cache: Cache) -> None:
    file = tmp_path / "quick.json"
    file.write_text(json.dumps(QUICK | {"attacks": [FGSM]}))

    def command(*arguments: str) -> str:
        found = CliRunner().invoke(app, list(arguments))
        assert found.exit_code == 0, found.output + found.stderr
        return found.output

    assert "cache" not in command("run", str(file), "-o", str(tmp_path / "0"), "--no-cache")
    assert not cache.folder.exists()
    assert "Taken from" not in command("run", str(file), "-o", str(tmp_path / "1"), "--budgets=l2=1")
    made.clear()
    # Of nine, three were in the run, made anew; three at the first budget were made by the other run.
    assert "Taken from the cache: 3 of 9 " in command("extend", str(tmp_path / "0"), "--budgets=l2=1,2")
    assert made == ["fgsm/quicknet_tiny at l2=2"] * 2
