"""Sizes of images: the default size, wide pictures from the file to the report, and enlarged images."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
import tf_keras
from PIL import Image
from typer.testing import CliRunner

from artattack.cli import app
from artattack.config import parse_benchmark
from artattack.errors import ArtattackError
from artattack.evaluation.extending import extend_run
from artattack.evaluation.plan import make_plan, sized
from artattack.evaluation.run import run_benchmark
from artattack.inputs.images import image_size, read_image
from artattack.models import load_model
from artattack.models.wanted_size import agreed_size, wanted_size
from artattack.report import write_report
from artattack.results.run_folder import load_run

pytestmark = pytest.mark.usefixtures("models_load_once", "eager")

WIDE = (48, 144)


def network(size: tuple[int | None, int | None] = WIDE, keras: Any = tf_keras) -> Any:
    """Three classes: how red, green and blue the right half of an image is; a convolution that keeps it comes first."""
    inputs = keras.Input((*size, 3))
    convolution = keras.layers.Conv2D(3, 1, use_bias=False, name="convolution")
    x = convolution(inputs)
    if size[1]:
        x = keras.layers.Cropping2D(((0, 0), (size[1] // 2, 0)))(x)
    made = keras.Model(inputs, keras.layers.GlobalAveragePooling2D()(x))
    convolution.set_weights([10 * np.eye(3, dtype=np.float32)[None, None]])
    return made


@pytest.fixture(scope="module")
def wide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("wide") / "wide.keras"
    network().save(path)
    return path


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Photos of 96 x 288 px, grey at the left, with the colour that they are called after at the right."""
    rng = np.random.default_rng(0)
    for k, name in enumerate(("red", "green", "blue")):
        pixels = rng.integers(90, 130, (96, 288, 3))
        pixels[:, 144:, k] += 80
        (tmp_path / "photos" / name).mkdir(parents=True)
        Image.fromarray(pixels.astype(np.uint8)).save(tmp_path / "photos" / name / f"{name}.png")
    return tmp_path / "photos"


def benchmark(photos: Path, wide: Path, **keys: Any) -> dict[str, Any]:
    return {
        "images": {"set": str(photos), "crop": 1.0},
        "models": {"wide": {"model": str(wide), "preprocessing": "unit", "classes": ["red", "green", "blue"]}},
        "classifiers": ["wide"],
        "feature_model": "quicknet_tiny",
        "attacks": [],
        **keys,
    }


@pytest.mark.slow
def test_a_network_for_wide_pictures_is_attacked_and_scored_at_its_size(
    photos: Path, wide: Path, tmp_path: Path
) -> None:
    style = {"attack": "style", "backbone": "quicknet_tiny", "style": "waves", "steps": 2, "budget": "l2=3"}
    attacks = [
        style,
        {**style, "name": "guided", "guide": "wide", "parametrization": "pixel", "budget": None},
        {"attack": "mi-fgsm", "source": "wide", "eps": "8/255", "max_iter": 2, "transforms": "di"},
        {"attack": "pgd", "source": "wide", "eps": 0.4, "max_iter": 2},  # which flips
        {"attack": "square", "source": "wide", "eps": "8/255", "max_iter": 4, "p_init": 0.2},  # ART's have to fit in
        *({"attack": control, "like": "style"} for control in ("blur", "jpeg", "colour", "blend")),
        {"attack": "noise"},
    ]
    records = run_benchmark(
        benchmark(photos, wide, attacks=attacks, budgets={"l2": [2]}, style_judges=["quicknet_distilled"]),
        out=tmp_path / "run",
    )
    assert records["error"].dropna().tolist() == []
    clean = records[records["kind"] == "clean"]
    assert clean["correct_before"].all()  # squares cut the colours off, or stretch them
    files = [tmp_path / "run" / file for file in records["file"].dropna().unique()]
    assert len(files) > 3 * len(attacks)
    assert {read_image(file).shape for file in files} == {(*WIDE, 3)}
    assert load_run(tmp_path / "run").info["config"]["benchmark"]["images"]["size"] == [48, 144]
    # A distance by hand: the files of PGD against the originals.
    row = records.query("attack == 'pgd' and budget.isna()", engine="python").iloc[0]
    after = read_image(tmp_path / "run" / row["file"])
    before = read_image(tmp_path / "run" / "images" / "original" / f"{row['image']}.png")
    expected = np.sqrt((((after.astype(float) - before) / 255) ** 2).sum())
    assert row["l2"] == pytest.approx(expected, rel=1e-5)
    page = write_report(load_run(tmp_path / "run")).read_text()
    assert "at 48 x 144 px" in page
    assert 'style="--ratio: 3.0"' in page


def test_the_default_size_is_the_input_size_of_all_classifiers(wide: Path, photos: Path) -> None:
    def size(*classifiers: str, **keys: Any) -> Any:
        return sized(parse_benchmark(benchmark(photos, wide, **keys, classifiers=classifiers))).images.size

    assert size("wide") == make_plan(parse_benchmark(benchmark(photos, wide))).benchmark.images.size == WIDE
    assert size("quicknet_tiny") == 64
    assert size("quicknet_tiny", "efficientnet_lite0") == 224  # 64 and 224
    assert size("quicknet_tiny", "efficientnet_lite1") == 224  # 64 and 240
    assert size("efficientnet_lite1") == 240
    assert size("wide", images={"set": str(photos), "size": 96}) == 96
    named = {"small": {"model": "quicknet_tiny", "input_size": [32, 48]}}
    assert size("small", models=named) == (32, 48)
    tiny = {"tiny": {"model": "quicknet_tiny", "input_size": 16}}
    assert size("tiny", models=tiny) == 32  # attacks want 32 px
    given = {"mine": load_model(lambda x: x.mean((1, 2)), input_size=(40, 56), name="mine")}
    plan = sized(parse_benchmark(benchmark(photos, wide, models={}, classifiers=["mine"])), given)
    assert plan.images.size == (40, 56)
    assert agreed_size([]) is agreed_size([WIDE, None]) is agreed_size([WIDE, (144, 48)]) is None


def test_the_size_that_a_file_wants_is_read_without_loading_it(tmp_path: Path) -> None:
    import keras

    network().save(tmp_path / "two.keras")
    network().save(tmp_path / "two.h5")
    network().save(tmp_path / "saved")
    network(keras=keras).save(tmp_path / "three.keras")
    content = tf.lite.TFLiteConverter.from_keras_model(network()).convert()
    (tmp_path / "net.tflite").write_bytes(content)
    for name in ("two.keras", "two.h5", "saved", "three.keras", "net.tflite", "net.tflite"):
        assert wanted_size(str(tmp_path / name)) == WIDE, name
    assert wanted_size(f"lce:{tmp_path / 'net.tflite'}") == WIDE
    network((None, None)).save(tmp_path / "any.keras")
    (tmp_path / "broken.keras").write_bytes(b"PK")
    (tmp_path / "broken.tflite").write_bytes(content[:100])
    for name in ("any.keras", "broken.keras", "broken.tflite", "absent.keras"):
        assert wanted_size(str(tmp_path / name)) is None, name
    assert wanted_size("no such model") is wanted_size("https://localhost/models/mine:predict") is None


def test_the_size_that_onnx_and_torch_files_want(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    program = torch.export.export(torch.nn.AdaptiveAvgPool2d(1), (torch.zeros(1, 3, *WIDE),))
    torch.export.save(program, tmp_path / "net.pt2")
    assert wanted_size(str(tmp_path / "net.pt2")) == WIDE
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    make, kinds = onnx.helper, onnx.TensorProto
    for name, shape in (("first", ("N", 3, *WIDE)), ("last", (1, *WIDE, 3))):
        graph = make.make_graph(
            [make.make_node("Identity", ["image"], ["same"])],
            "network",
            [make.make_tensor_value_info("image", kinds.FLOAT, shape)],
            [make.make_tensor_value_info("same", kinds.FLOAT, shape)],
        )
        model = make.make_model(graph, opset_imports=[make.make_opsetid("", 13)])
        model.ir_version = 8
        onnx.save(model, tmp_path / f"{name}.onnx")
        assert wanted_size(f"onnx:{tmp_path / f'{name}.onnx'}") == WIDE


@pytest.mark.parametrize("size", [31, 4097, 64.5, True, "wide", [48], [48, 144, 3], [48, 16], [48, "144"], {"h": 48}])
def test_an_invalid_size_is_refused(size: Any) -> None:
    with pytest.raises(
        ArtattackError, match=r"images\.size: a size is a side or \[height, width\], in whole pixels from 32"
    ):
        parse_benchmark({"images": {"size": size}})


def test_a_square_has_one_side() -> None:
    assert parse_benchmark({"images": {"size": [64, 64]}}) == parse_benchmark({"images": {"size": 64}})


@pytest.mark.parametrize(
    ("pixels", "size", "crop", "doubt"),
    [
        ((32, 32), 224, 0.875, "images of 32 x 32 px are enlarged 8 times to 224 x 224 px"),
        ((64, 48), 224, 1.0, "images of 64 x 48 px are enlarged 4.67 times to 224 x 224 px"),  # 224 / 48
        ((64, 64), 112, 0.875, "enlarged 2 times"),
        ((65, 65), 112, 0.875, ""),
        ((32, 32), 32, 0.875, ""),
        ((48, 144), [96, 96], 1.0, "enlarged 2 times to 96 x 96 px"),
        ((48, 144), [48, 144], 1.0, ""),
    ],
)
def test_images_that_are_enlarged_are_doubted(
    pixels: tuple[int, int], size: Any, crop: float, doubt: str, tmp_path: Path
) -> None:
    height, width = pixels
    for k in range(3):
        Image.new("RGB", (width, height), "red").save(tmp_path / f"n01440764_{k}.png")
    Image.new("RGB", (500, 500), "red").save(tmp_path / "n01440764_large.png")  # one large image says nothing
    (tmp_path / "n01440764_broken.png").write_bytes(b"no image")
    images = {"set": str(tmp_path), "size": size, "crop": crop}
    doubts = [line for line in make_plan(parse_benchmark({"images": images})).doubts if line.startswith("images.size")]
    assert (doubt in doubts[0]) if doubt else not doubts


def test_a_photo_lying_on_its_side_has_the_size_that_it_is_seen_at(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by 90 degrees
    Image.new("RGB", (20, 50)).save(tmp_path / "turned.jpg", exif=exif)
    assert image_size(tmp_path / "turned.jpg") == (20, 50) == read_image(tmp_path / "turned.jpg").shape[:2]
    assert image_size(tmp_path / "absent.jpg") is None


def test_images_of_another_shape_than_a_classifier_wants_are_doubted(photos: Path, wide: Path, tmp_path: Path) -> None:
    square = benchmark(photos, wide) | {"images": {"set": str(photos), "size": 96}}
    with pytest.warns(
        UserWarning, match=r"'wide' wants images of 48 x 144 px and gets 96 x 96 px, stretched: say .*\[48"
    ):
        run_benchmark(square, out=tmp_path / "run")


def test_a_run_goes_on_at_its_size(photos: Path, wide: Path, tmp_path: Path) -> None:
    own = benchmark(photos, wide)
    first = run_benchmark(own | {"images": own["images"] | {"size": [32, 96]}}, out=tmp_path / "run")
    again = run_benchmark(own, out=tmp_path / "run", resume=True)  # which would choose 48 x 144 by itself
    pd.testing.assert_frame_equal(first, again)
    more = extend_run(tmp_path / "run", own | {"attacks": [{"attack": "fgsm", "source": "wide", "eps": 0.01}]})
    assert len(more) == 2 * len(first)
    assert load_run(tmp_path / "run").info["config"]["benchmark"]["images"]["size"] == [32, 96]


def test_a_photo_is_painted_at_the_size_that_its_classifiers_want(photos: Path, wide: Path, tmp_path: Path) -> None:
    card = {"title": "wide", "preprocessing": "unit", "classes": ["red", "green", "blue"]}
    wide.with_suffix(".json").write_text(json.dumps(card))
    try:
        words = ["attack", photos / "red" / "red.png", "-s", "waves", "-c", wide, "--steps", 1, "-o"]
        for options, size in (([], WIDE), (["--size", "40x64"], (40, 64))):
            done = CliRunner().invoke(app, [*map(str, [*words, tmp_path / "out.png"]), *options])
            assert done.exit_code == 0, done.output
            assert read_image(tmp_path / "out.png").shape[:2] == size
        refused = CliRunner().invoke(app, [*map(str, [*words, tmp_path / "out.png"]), "--size", "40x64x3"])
        assert "height and width as in 48x144" in refused.output
    finally:
        wide.with_suffix(".json").unlink()
