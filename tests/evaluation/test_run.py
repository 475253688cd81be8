"""Runs end to end: records against the files written, seeds, failures, and resuming after a kill."""

import hashlib
import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from skimage.color import deltaE_ciede2000, rgb2lab

import artattack.models
from artattack.attacks.budget import match
from artattack.attacks.style_entry import StyleEntry
from artattack.config import Benchmark, parse_benchmark
from artattack.errors import ArtattackError
from artattack.evaluation.run import run_benchmark
from artattack.inputs.image_sets import open_image_set
from artattack.inputs.images import read_image, to_float
from artattack.inputs.labels import class_name
from artattack.models.estimator import to_estimator
from artattack.results.columns import RECORD_COLUMNS
from artattack.results.plain_data import config_hash
from artattack.results.run_folder import RunFolder, load_run

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("models_load_once")]

SIZE = 64  # quicknet_tiny's own: nothing is resized on the way to the network
TINY: dict[str, Any] = {"attack": "style", "backbone": "quicknet_tiny"}
BENCHMARK: dict[str, Any] = {
    "name": "tiny",
    "seed": 3,
    "batch_size": 2,
    "images": {"size": SIZE, "limit": 3},
    "models": {"twin": {"model": "quicknet_tiny"}},
    "classifiers": ["quicknet_tiny", "twin"],
    "attacks": [
        {"attack": "noise", "like": "style"},
        TINY | {"style": ["stained-glass", "waves+art.png"], "steps": 2, "jitter": 3},
        {"attack": "fgsm", "source": "quicknet_tiny", "eps": "8/255"},
    ],
}
QUICK: dict[str, Any] = BENCHMARK | {
    "classifiers": "quicknet_tiny",
    "models": {},
    "attacks": [
        {"attack": "fgsm", "source": "quicknet_tiny", "eps": "8/255", "norm": float("inf")},
        {"attack": "noise", "like": "fgsm"},
    ],
}
KILLED = """
import json, os, signal, sys
from artattack.evaluation import run as benchmark
from artattack.results import run_folder as results

write = results.RunFolder.write_cell

def write_and_die(folder, key, rows):
    write(folder, key, rows)
    if key != "images":
        os.kill(os.getpid(), signal.SIGKILL)

results.RunFolder.write_cell = write_and_die
benchmark.run_benchmark(json.loads(sys.argv[1]), out=sys.argv[2])
"""


@pytest.fixture(scope="module")
def benchmark(tmp_path_factory: pytest.TempPathFactory) -> Benchmark:
    """The benchmark above, with a style of the user's own."""
    folder = tmp_path_factory.mktemp("styles")
    stripes = np.tile(np.uint8([255, 0, 0, 255]), (SIZE, SIZE // 4))
    Image.fromarray(stripes).save(folder / "art.png")
    return parse_benchmark(BENCHMARK, base=folder)


@pytest.fixture(scope="module")
def run(benchmark: Benchmark, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    out = tmp_path_factory.mktemp("run") / "tiny"
    run_benchmark(benchmark, out=out)
    return load_run(out)


@pytest.fixture(scope="module")
def told() -> list[tuple[str, int, int]]:
    """Progress messages of the quick run."""
    return []


@pytest.fixture(scope="module")
def quick(told: list[tuple[str, int, int]], tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    out = tmp_path_factory.mktemp("run") / "quick"
    run_benchmark(QUICK, out=out, on_progress=lambda *what: told.append(what))
    return load_run(out)


def timeless(records: pd.DataFrame) -> pd.DataFrame:
    return records.drop(columns="seconds")


def pixels(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        assert (image.format, image.mode, image.size) == ("PNG", "RGB", (SIZE, SIZE))
        return np.asarray(image).astype(np.float64) / 255


def styles(benchmark: Benchmark) -> tuple[str, ...]:
    return next(entry.style for entry in benchmark.attacks if isinstance(entry, StyleEntry))


def test_a_row_for_each_image_attack_and_classifier(benchmark: Benchmark, run: RunFolder) -> None:
    records = run.records
    assert records["error"].isna().all()
    assert list(records.columns) == list(RECORD_COLUMNS)
    painted = [f"style/{style}/quicknet_tiny" for style in styles(benchmark)]
    expected = [
        (attack, image.id, classifier)
        for attack in ("clean//", *painted, "fgsm//quicknet_tiny", *(f"noise// as {title}" for title in painted))
        for image in (open_image_set("samples").samples[i] for i in (0, 6, 13))
        for classifier in ("quicknet_tiny", "twin")
    ]
    attacks = records["attack"] + "/" + records["style"].fillna("") + "/" + records["source"].fillna("")
    attacks += (" as " + records["matched_to"]).fillna("")
    assert list(zip(attacks, records["image"], records["classifier"], strict=True)) == expected
    assert len(run.summary) == 6 * 2
    assert (run.summary["n"] == 3).all()


def test_the_untouched_images_are_rows_like_others(run: RunFolder) -> None:
    clean = run.records[run.records["kind"] == "clean"]
    assert (clean["file"] == "images/original/" + clean["image"] + ".png").all()
    assert not clean["flip"].any()
    assert (clean[["l0", "l1", "l2", "linf", "confidence_shift", "kl_divergence", "feature_distance"]] == 0).all(
        axis=None
    )
    assert (clean["ssim"] == 1).all()
    rows = run.summary[run.summary["kind"] == "clean"]
    assert (rows["clean_accuracy"].fillna(-1) == rows["robust_accuracy"].fillna(-1)).all()
    assert (rows["flips"] == 0).all()


def test_originals_and_adversarial_images_are_written_as_png(run: RunFolder) -> None:
    originals = {path.stem: pixels(path) for path in (run.images / "original").iterdir()}
    assert sorted(originals) == sorted(run.records["image"].unique())
    assert len(set(run.records["file"])) == 6 * 3
    files = {path.relative_to(run.path).as_posix() for path in run.images.glob("*/*")}
    assert files == set(run.records["file"])


def test_distances_agree_with_the_files(run: RunFolder) -> None:
    for row in run.records.itertuples():
        original, adversarial = pixels(run.images / "original" / f"{row.image}.png"), pixels(run.path / row.file)
        change = adversarial - original
        assert row.delta_e == pytest.approx(deltaE_ciede2000(rgb2lab(original), rgb2lab(adversarial)).mean(), abs=1e-4)
        assert pd.isna(row.ms_ssim)  # images of 64 px have too few scales
        assert row.l0 == np.count_nonzero(change)
        assert row.l1 == pytest.approx(np.abs(change).sum(), abs=1e-4)
        assert row.l2 == pytest.approx(np.sqrt((change**2).sum()), abs=1e-5)
        assert row.linf == pytest.approx(np.abs(change).max(), abs=1e-6)
    fgsm = run.records[run.records["attack"] == "fgsm"]
    assert (fgsm["linf"] - 8 / 255).abs().max() < 1e-12  # to the last of 8 bits, in float64


def test_noise_stands_at_the_distance_of_the_style_it_copies(benchmark: Benchmark, run: RunFolder) -> None:
    records = run.records[run.records["classifier"] == "twin"]
    for style in styles(benchmark):
        l2 = records[records["style"] == style].set_index("image")["l2"]
        noise = records[records["matched_to"] == f"style/{style}/quicknet_tiny"].set_index("image")["l2"]
        assert (noise <= l2 + 1e-9).all()
        assert noise.to_numpy() == pytest.approx(l2.to_numpy(), rel=1e-3)
        assert l2.max() > 1
    files = {}
    for row in records[records["attack"] == "noise"].itertuples():
        files[row.file] = pixels(run.path / row.file) - pixels(run.images / "original" / f"{row.image}.png")
    moved = [change.ravel() for change in files.values() if change.any()]
    alike = np.corrcoef(moved) - np.eye(len(moved))
    assert np.abs(alike).max() < 0.1  # each image has noise of its own


def test_scores_agree_with_scoring_the_files(run: RunFolder) -> None:
    import tensorflow as tf

    model = artattack.models.load_model("quicknet_tiny")
    space = model.label_space
    assert space is not None
    files = [*(run.images / "original").iterdir(), *(run.path / file for file in run.records["file"].unique())]
    x = tf.constant(np.stack([pixels(file) for file in files]), tf.float32)
    logits = model.network(model.preprocessing(x), training=False).numpy().astype(np.float64)
    odds = np.exp(logits - logits.max(axis=1, keepdims=True))
    probabilities = dict(zip(files, odds / odds.sum(axis=1, keepdims=True), strict=True))

    for row in run.records.itertuples():
        before, after = probabilities[run.images / "original" / f"{row.image}.png"], probabilities[run.path / row.file]
        for p, said, name, confidence, top5 in (
            (before, row.top1_class_before, row.top1_name_before, row.top1_confidence_before, row.top5_before),
            (after, row.top1_class_after, row.top1_name_after, row.top1_confidence_after, row.top5_after),
        ):
            best = np.argsort(-p)[:5]
            assert said == space[best[0]]
            assert name == class_name(space[best[0]])
            assert confidence == pytest.approx(p.max(), abs=1e-5)
            assert [guess[0] for guess in json.loads(top5)] == [space[i] for i in best]
        assert row.flip == (before.argmax() != after.argmax())
        assert row.confidence_shift == pytest.approx(after[before.argmax()] - before.max(), abs=1e-5)
        label = int(row.image.rsplit("_", 1)[1])  # foolbox names its images so
        assert (row.true_class, row.true_name) == (label, class_name(label))
        assert row.in_label_space == (label in space)
        if label in space:
            assert row.true_confidence_before == pytest.approx(before[space.index(label)], abs=1e-5)
            assert row.true_confidence_after == pytest.approx(after[space.index(label)], abs=1e-5)
            assert row.correct_before == (space[before.argmax()] == label)
        else:
            assert pd.isna(row.true_confidence_before)
            assert pd.isna(row.correct_before)
        assert pd.isna(row.success) or row.correct_before


def test_run_json_records_the_settings_and_the_versions(benchmark: Benchmark, run: RunFolder) -> None:
    info = run.info
    assert info["status"] == "finished"
    assert info["config"]["benchmark"] == benchmark.model_dump(mode="json")
    assert info["config"]["benchmark"]["seed"] == 3
    assert info["config_hash"] == config_hash(info["config"])
    assert info["image_set"]["name"] == "samples"
    files = {sample.id: sample.path for sample in open_image_set("samples").samples}
    hashes = info["config"]["images"]
    assert hashes == {name: hashlib.sha256(files[name].read_bytes()).hexdigest() for name in hashes}
    assert set(hashes) == set(run.records["image"])
    art = Path(styles(benchmark)[1].removeprefix("waves+"))
    assert info["config"]["files"] == {str(art): hashlib.sha256(art.read_bytes()).hexdigest()}
    model = artattack.models.load_model("quicknet_tiny")
    said = {"weights": "bundled", "sha256": model.weights_sha256, "binary": True, "classes": 200}
    models = info["config"]["models"]
    for helper in ("efficientnet_lite0", "efficientnet_lite2"):  # in whose features images and styles are compared
        assert models.pop(helper)["classes"] == 1000
    assert models == {"quicknet_tiny": said, "twin": said}
    machine = info["machine"]
    assert machine["cores"] >= 1
    assert machine["processor"]
    repeatable = "on processors with the same features, with as many threads, in batches of the same size"
    assert machine["gpus"] or machine["repeatable"] == repeatable
    assert {"artattack", "python", "tensorflow", "larq", "adversarial-robustness-toolbox"} <= info["versions"].keys()


def test_the_same_seed_gives_the_same_and_another_seed_other_noise(quick: RunFolder, tmp_path: Path) -> None:
    again, other = (run_benchmark(QUICK | {"seed": seed}, out=tmp_path / f"{seed}") for seed in (3, 4))
    pd.testing.assert_frame_equal(timeless(quick.records), timeless(again))
    assert set(quick.records["seed"]).isdisjoint(other["seed"])
    for attack, same in (("fgsm", True), ("noise", False)):
        for file in again.loc[again["attack"] == attack, "file"]:
            image = (quick.path / file).read_bytes()
            assert image == (tmp_path / "3" / file).read_bytes()
            assert same == (image == (tmp_path / "4" / file).read_bytes())


def test_parameters_are_json_which_has_no_infinity(quick: RunFolder) -> None:
    parameters = quick.records.loc[quick.records["attack"] == "fgsm", "parameters"]
    assert {json.loads(text)["norm"] for text in parameters} == {"inf"}


def test_folders_unlabelled_images_and_files_that_are_none(tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    rng = np.random.default_rng(0)
    for name in ("a", "c"):
        Image.fromarray(rng.integers(0, 256, (80, 90, 3), np.uint8)).save(photos / f"{name}.png")
    (photos / "b.jpg").write_text("no image")
    records = run_benchmark(QUICK | {"images": {"set": str(photos), "size": SIZE}}, out=tmp_path / "run")
    bad = records[records["error"].notna()]
    assert list(bad["image"]) == ["b"]
    assert "b.jpg: not an image of a known format" in bad["error"].iloc[0]
    assert bad[["attack", "classifier", "flip", "l2"]].isna().all(axis=None)
    good = records[records["error"].isna()]
    assert list(good["image"]) == ["a", "c"] * 3
    nothing_known = ["true_class", "true_name", "true_confidence_before", "correct_before", "success", "in_label_space"]
    assert good[nothing_known].isna().all(axis=None)
    assert good["flip"].notna().all()
    summary = load_run(tmp_path / "run").summary
    fgsm = summary[summary["attack"] == "fgsm"].iloc[0]
    assert (fgsm["n"], fgsm["n_labelled"]) == (2, 0)
    assert fgsm["flips"] == good.loc[good["attack"] == "fgsm", "flip"].sum()
    assert pd.isna(fgsm["success_rate"])


def test_a_set_without_any_image_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_text("no image")
    with pytest.raises(ArtattackError, match=r"no image can be read: .*a\.jpg: not an image"):
        run_benchmark(QUICK | {"images": {"set": str(tmp_path)}}, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_an_attack_that_raises_becomes_records_that_say_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from art.attacks.evasion import FastGradientMethod

    works = FastGradientMethod.generate
    calls = iter([True])

    def generate(*args: Any, **kwargs: Any) -> Any:
        if next(calls, False):
            raise RuntimeError("out of\npaint")
        return works(*args, **kwargs)

    monkeypatch.setattr(FastGradientMethod, "generate", generate)
    records = run_benchmark(QUICK, out=tmp_path / "run")
    assert len(records) == 3 * 3  # none is missing
    failed = records[records["error"].notna()]
    assert list(failed["attack"]) == ["fgsm", "fgsm", "noise", "noise"]
    assert (
        list(failed["error"])
        == ["RuntimeError: out of paint"] * 2 + ["'fgsm/quicknet_tiny', which this starts from, failed"] * 2
    )
    assert failed[["flip", "l2", "file", "seconds"]].isna().all(axis=None)
    assert failed[["image", "image_sha256", "true_class", "classifier", "seed"]].notna().all(axis=None)
    log = (tmp_path / "run" / "errors.log").read_text()
    assert "fgsm--quicknet_tiny-0000" in log
    assert "Traceback (most recent call last)" in log
    assert "RuntimeError: out of\npaint" in log
    again = run_benchmark(QUICK, out=tmp_path / "run", resume=True)  # what failed is done again
    assert again["error"].isna().all()


@pytest.mark.parametrize(
    ("attack", "message"),
    [
        ({"attack": "fgsm", "source": "quicknet_tiny", "epz": 1}, r"attacks.0 \(fgsm\): .*'epz'.*'eps'"),
        ({"attack": "fgsm", "source": "quicknet_tiny", "eps": -1}, r"attacks.0 \(fgsm\).eps: linf=-1"),
        (TINY | {"style_layers": "binary:99"}, "attack 'style' of 'quicknet_tiny': .*binary:99"),
        ({"attack": "style", "target": "tench"}, "attack 'style' .*target: .*no guide"),
    ],
)
def test_mistakes_that_fail_every_cell_are_found_before_any_work(
    tmp_path: Path, attack: dict[str, Any], message: str
) -> None:
    with pytest.raises(ArtattackError, match=message):
        run_benchmark(QUICK | {"attacks": [attack]}, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.usefixtures("quick")
def test_progress_counts_the_cells(told: list[tuple[str, int, int]]) -> None:
    assert told == [
        ("loading quicknet_tiny", 0, 6),
        ("loading efficientnet_lite0", 0, 6),
        ("clean", 0, 6),
        ("clean", 1, 6),
        ("fgsm/quicknet_tiny", 2, 6),
        ("fgsm/quicknet_tiny", 3, 6),
        ("noise as fgsm/quicknet_tiny", 4, 6),
        ("noise as fgsm/quicknet_tiny", 5, 6),
        ("done", 6, 6),
    ]


def test_a_killed_run_goes_on_and_ends_like_one_that_was_not(quick: RunFolder, tmp_path: Path) -> None:
    process = subprocess.run([sys.executable, "-c", KILLED, json.dumps(QUICK), str(tmp_path)], check=False)
    assert process.returncode == -signal.SIGKILL
    stopped = load_run(tmp_path)
    assert stopped.info["status"] == "running"
    with pytest.raises(ArtattackError, match=r"not finished .* resume it"):
        _ = stopped.records
    cell = tmp_path / "cells" / "clean-0000.json"
    assert sorted(path.name for path in cell.parent.iterdir()) == [cell.name, "images.json", "logits-0000.npz"]
    written = cell.stat().st_mtime_ns
    records = run_benchmark(QUICK, out=tmp_path, resume=True)
    pd.testing.assert_frame_equal(timeless(records), timeless(quick.records))
    assert cell.stat().st_mtime_ns == written  # not done twice
    assert load_run(tmp_path).info["status"] == "finished"
    assert len(load_run(tmp_path).info["resumed"]) == 1


def test_cells_do_not_depend_on_those_before(benchmark: Benchmark, run: RunFolder, tmp_path: Path) -> None:
    out = tmp_path / "copy"
    shutil.copytree(run.path, out)
    second_batches = list(out.glob("cells/*-0001.json"))
    assert len(second_batches) == 6
    for cell in second_batches:
        cell.unlink()
    records = run_benchmark(benchmark, out=out, resume=True)
    pd.testing.assert_frame_equal(timeless(records), timeless(run.records))


def test_a_run_is_resumed_only_as_it_was_and_never_overwritten(quick: RunFolder, tmp_path: Path) -> None:
    out = tmp_path / "copy"
    shutil.copytree(quick.path, out)
    with pytest.raises(ArtattackError, match=r"copy: holds a run already \(finished"):
        run_benchmark(QUICK, out=out)
    with pytest.raises(ArtattackError, match=r"another config: benchmark.seed was 3, now 4"):
        run_benchmark(QUICK | {"seed": 4}, out=out, resume=True)
    with pytest.raises(ArtattackError, match="no run to resume"):
        run_benchmark(QUICK, out=tmp_path / "absent", resume=True)
    again = run_benchmark(QUICK, out=out, resume=True)
    pd.testing.assert_frame_equal(again, quick.records)  # with the seconds of then: nothing was done again


def test_a_run_is_not_resumed_with_another_picture_in_the_file_of_a_style(benchmark: Benchmark, run: RunFolder) -> None:
    art = Path(styles(benchmark)[1].removeprefix("waves+"))
    before = art.read_bytes()
    try:
        Image.new("RGB", (SIZE, SIZE), "blue").save(art)
        with pytest.raises(ArtattackError, match=r"another config: files\..*art\.png was"):
            run_benchmark(benchmark, out=run.path, resume=True)
    finally:
        art.write_bytes(before)


# ---- at budgets

WAVES: dict[str, Any] = TINY | {"style": "waves", "steps": 3, "content_weight": 0, "tv_weight": 0}
COMPARED: dict[str, Any] = QUICK | {
    "images": {"size": SIZE, "limit": 2},
    "feature_model": "quicknet_tiny",  # no other network is loaded
    "style_judges": "quicknet_tiny",
    "budgets": {"l2": [0.5, 1], "ssim": 0.9},
    "attacks": [
        WAVES,
        WAVES | {"name": "shrunk", "at_budgets": "shrunk"},
        {"attack": "fgsm", "source": "quicknet_tiny", "eps": "8/255"},
        {"attack": "deepfool", "source": "quicknet_tiny", "max_iter": 2},
        {"attack": "noise", "like": "fgsm"},
        {"attack": "blur", "like": "fgsm", "distance": "ssim"},
        {"attack": "jpeg", "like": "fgsm", "distance": "linf"},
        {"attack": "colour", "like": "fgsm", "distance": "delta_e"},
        {"attack": "blend", "like": "style"},
        {"attack": "random-backbone", "like": "style"},
    ],
}


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    out = tmp_path_factory.mktemp("run") / "compared"
    run_benchmark(COMPARED, out=out)
    return load_run(out)


def test_everything_stands_at_its_budget(compared: RunFolder) -> None:
    records = compared.records
    assert records["error"].isna().all()
    at = records[records["budget"].notna()]
    assert len(at) == 10 * 3 * 2
    l2, ssim = at[at["budget_distance"] == "l2"], at[at["budget_distance"] == "ssim"]
    assert (l2["l2"] <= l2["budget"] + 1e-9).all()
    assert (ssim["ssim"] >= ssim["budget"] - 1e-9).all()
    # Controls go as far as it takes (a colour shift in coarse steps of the 8-bit grid), and so does what has an eps;
    # others go no farther than they went alone.
    reaches = l2[((l2["kind"] == "control") & (l2["attack"] != "colour")) | (l2["attack"] == "fgsm")]
    assert (reaches["l2"] > 0.9 * reaches["budget"]).all()
    free = records[records["budget"].isna() & (records["attack"] == "shrunk")].set_index("image")["l2"]
    shrunk = l2[l2["attack"] == "shrunk"]
    assert shrunk["l2"].to_numpy() == pytest.approx(np.minimum(shrunk["budget"], shrunk["image"].map(free)), rel=0.03)


def test_style_is_painted_inside_the_ball_or_moved_back_along_a_line(compared: RunFolder) -> None:
    def images_of(name: str, budget: tuple[str, float] | None) -> np.ndarray:
        chosen = compared.records[compared.records["attack"] == name]
        distance = chosen["budget_distance"]
        here = distance.isna() if budget is None else (distance == budget[0]) & (chosen["budget"] == budget[1])
        return to_float(np.stack([read_image(compared.path / file) for file in chosen.loc[here, "file"]]))

    x = images_of("clean", None)
    seen = artattack.load_model("quicknet_tiny")
    options = {name: value for name, value in WAVES.items() if name not in ("attack", "style", "backbone")}
    for radius in (0.5, 1.0):
        at = compared.records.query("attack == 'style' and budget_distance == 'l2' and budget == @radius")
        attack = artattack.StyleTransferAttack(
            to_estimator(seen, input_shape=x.shape[1:]),
            styles="waves",
            seed=int(at["seed"].iloc[0]),
            budget=f"l2={radius}",
            **options,
        )
        inside = images_of("style", ("l2", radius))
        assert np.abs(inside - attack.generate(x)).max() <= 1.0 / 255  # rounded to 8 bits, and into the ball
        line = match(x, images_of("shrunk", None), radius)
        assert (images_of("shrunk", ("l2", radius)) == line).all()
        assert (inside != line).any()
    by_ssim = images_of("style", ("ssim", 0.9))  # no ball to be held to
    assert (by_ssim == match(x, images_of("style", None), 0.9, "ssim")).all()


def test_an_attack_of_its_own_distance_is_there_from_that_distance_on(compared: RunFolder) -> None:
    records = compared.records[compared.records["attack"] == "deepfool"]
    free = records[records["budget"].isna()].set_index("image")["l2"]
    at = records[records["budget_distance"] == "l2"]
    reached = at["image"].map(free) <= at["budget"]
    assert (at["l2"] == at["image"].map(free).where(reached, 0.0)).all()


def test_controls_copy_the_distance_they_are_told(compared: RunFolder) -> None:
    records = compared.records[compared.records["budget"].isna()].set_index(["attack", "image"])
    copied = {"noise": "l2", "blur": "ssim", "jpeg": "linf", "colour": "delta_e"}
    for control, distance in copied.items():
        mine, theirs = records.loc[control, distance], records.loc["fgsm", distance]
        assert mine.to_numpy() == pytest.approx(theirs.to_numpy(), rel=0.06), control
    for control in ("blend", "random-backbone"):
        assert records.loc[control, "l2"].to_numpy() == pytest.approx(records.loc["style", "l2"].to_numpy(), rel=0.01)
        assert set(records.loc[control, "style"]) == {"waves"}
    assert set(records.loc["random-backbone", "source_weights"]) == {"random"}
    assert set(records.loc["style", "source_weights"]) == {"bundled"}
    assert records["style_distance_after"].notna().groupby("attack").all().to_dict() == {
        name: name in ("style", "shrunk") for name in records.index.unique("attack")
    }
    style = records.loc["style"]
    assert (style["style_distance_after"] < style["style_distance_before"]).all()


def test_tables_of_a_run_at_budgets(compared: RunFolder) -> None:
    assert set(compared.curves["budget_distance"]) == {"l2", "ssim"}
    assert len(compared.areas) == 10 * 2
    for name in ("controls", "pooled", "pairs", "judges", "areas"):
        written = pd.read_csv(compared.path / f"{name}.csv")
        table = getattr(compared, name)
        assert list(written.columns) == list(table.columns)
        assert len(written) == len(table)
        assert len(table) > 0 or name == "pooled"  # of several styles or classifiers, which this run does not have
    at_budgets = compared.controls[compared.controls["budget"].notna()]
    alone = at_budgets["verdict"] == "no control"  # where attack and controls do not stand at one distance
    assert at_budgets["left_out"][alone].notna().all()
    assert (at_budgets["controls"][~alone] > 0).all()
    assert (~alone).any()


def test_logits_are_restricted_to_the_classes_of_the_set(tmp_path: Path) -> None:
    space = artattack.models.load_model("quicknet_tiny").label_space
    assert space is not None
    declared = [*reversed(space[:3]), 0]  # three of its classes, in another order, and perhaps one of others
    images = {"size": SIZE, "limit": 2, "label_space": declared}
    records = run_benchmark(QUICK | {"images": images}, out=tmp_path / "run")
    shared = set(declared) & set(space)
    assert set(records["classes"]) == {len(shared)}
    assert set(records["top1_class_before"]) <= shared
    for guesses in records["top5_before"]:
        assert sum(confidence for _, _, confidence in json.loads(guesses)) == pytest.approx(1)
    own = run_benchmark(QUICK | {"images": images | {"label_space": "own"}}, out=tmp_path / "own")
    labels = {sample.label for sample in open_image_set("samples").samples}
    assert set(own["classes"]) == {len(labels & set(space))}
    with pytest.raises(ArtattackError, match=r"'quicknet_tiny' has 1 classes of images\.label_space"):
        run_benchmark(QUICK | {"images": images | {"label_space": [space[0]]}}, out=tmp_path / "other")


def test_parquet_holds_the_same_records(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow", reason="parquet needs pyarrow: pip install artattack[parquet]")
    records = run_benchmark(QUICK | {"parquet": True}, out=tmp_path / "run")
    again = pd.read_parquet(tmp_path / "run" / "records.parquet")
    pd.testing.assert_frame_equal(again.astype(RECORD_COLUMNS), records)
