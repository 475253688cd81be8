"""Benchmark files: defaults, the forms of each value, and one line for each mistake."""

import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image

from artattack.attacks.baseline_entry import BaselineEntry
from artattack.attacks.controls import ControlEntry
from artattack.attacks.options import StyleOptions, parse_options
from artattack.attacks.painter_entry import PainterEntry
from artattack.attacks.style_entry import StyleEntry
from artattack.bound import Bound
from artattack.config import Benchmark, load_benchmark, parse_benchmark
from artattack.errors import ArtattackError

FGSM = {"attack": "fgsm", "source": "quicknet_tiny", "eps": "8/255"}


BOMB = "a: &a [1, 2]\n" + "\n".join(f"{name}: &{name} [{f'*{of}, ' * 99}1]" for of, name in ("ab", "bc", "cd"))


def file(folder: Path, text: str, name: str = "mine.yaml") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def mistake(data: dict[str, Any]) -> str:
    with pytest.raises(ArtattackError) as caught:
        parse_benchmark(data)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_without_a_file_the_default_benchmark() -> None:
    benchmark = load_benchmark(None)
    assert benchmark == Benchmark()
    assert (benchmark.name, benchmark.seed, benchmark.batch_size) == ("default", 0, 10)
    assert (benchmark.images.set, benchmark.images.shape, benchmark.images.limit) == ("samples", (224, 224), None)
    assert benchmark.classifiers == ("quicknet_tiny", "efficientnet_lite0")
    painter, style, pgd, *controls = benchmark.attacks
    assert isinstance(painter, PainterEntry)
    assert isinstance(style, StyleEntry)
    assert painter.budget == style.options.budget == Bound("l2", 20.0)
    assert style.options == StyleOptions(budget=Bound("l2", 20.0), steps=30)
    assert all(isinstance(control, ControlEntry) for control in controls)
    assert [control.attack for control in controls] == ["noise", "blur", "jpeg", "colour", "blend"]
    assert benchmark.budgets == {}
    assert isinstance(pgd, BaselineEntry)
    assert pgd.parameters == {"eps": pytest.approx(8 / 255), "eps_step": pytest.approx(2 / 255), "max_iter": 10}


def test_a_short_file_changes_its_keys_and_nothing_else(tmp_path: Path) -> None:
    benchmark = load_benchmark(file(tmp_path, "seed: 3\nimages: {limit: 2}\n", "a b.yaml"))
    assert benchmark.seed == 3
    assert benchmark.images.limit == 2
    assert benchmark.images.size == Benchmark().images.size
    assert benchmark.attacks == Benchmark().attacks
    assert benchmark.name == "a-b"  # names the run folder


def test_one_word_stands_for_a_list_of_one() -> None:
    benchmark = parse_benchmark(
        {"classifiers": "vgg16", "attacks": [{"attack": "style", "style": "waves", "style_layer_weights": "1/2"}]}
    )
    assert benchmark.classifiers == ("vgg16",)
    entry = benchmark.attacks[0]
    assert isinstance(entry, StyleEntry)
    assert entry.style == ("waves",)
    assert entry.options.style_layer_weights == (0.5,)


@pytest.mark.parametrize(
    ("written", "meant"), [("8/255", 8 / 255), ("1e-3", 0.001), (0.25, 0.25), (3, 3), ("inf", "inf"), ("L2", "L2")]
)
def test_parameters_of_art_are_numbers_quotients_or_words(written: Any, meant: Any) -> None:
    entry = parse_benchmark({"attacks": [{"attack": "pgd", "source": "vgg16", "norm": written}]}).attacks[0]
    assert isinstance(entry, BaselineEntry)
    assert entry.parameters["norm"] == meant


@pytest.mark.parametrize(("written", "meant"), [("linf=8/255", ("linf", 8 / 255)), (["l2", 5], ("l2", 5.0))])
def test_distances_are_a_name_and_a_number(written: Any, meant: tuple[str, float]) -> None:
    assert parse_options({"budget": written, "match": written}).budget == meant


def test_the_models_section() -> None:
    benchmark = parse_benchmark(
        {
            "models": {"mine": {"model": "net.keras", "preprocessing": "unit", "label_space": [1, "tench"]}},
            "classifiers": ["mine", "vgg16"],
        }
    )
    assert benchmark.spec("mine").arguments() == {
        "spec": "net.keras",
        "weights": None,
        "classes": None,
        "preprocessing": "unit",
        "label_space": [1, "tench"],
        "input_size": None,
        "outputs": None,
        "output": None,
        "random": False,
        "http": None,
        "defences": None,
    }
    assert benchmark.spec("vgg16").arguments()["spec"] == "vgg16"


def test_models_are_named_once_in_order_of_appearance() -> None:
    style = {"attack": "style", "backbone": ["b", "c"], "guide": "g"}
    benchmark = parse_benchmark({"classifiers": ["c", "d"], "attacks": [style, FGSM | {"source": ["s", "b"]}]})
    judges = ("efficientnet_lite2", "efficientnet_lite0")  # of style; the latter's features compare images, too
    assert benchmark.model_names() == ("c", "d", "b", "g", "s", "efficientnet_lite0", "efficientnet_lite2")
    without = benchmark.model_copy(update={"feature_model": "d"})
    assert without.model_names() == ("c", "d", "b", "g", "s", *judges)


@pytest.mark.parametrize(
    ("data", "key", "hint"),
    [
        ({"sede": 1}, "sede", "seed"),
        ({"images": {"sise": 1}}, "images.sise", "size"),
        ({"models": {"mine": {"model": "x", "wheights": "random"}}}, "models.mine.wheights", "weights"),
        ({"attacks": [{"attack": "style", "stepz": 1}]}, "attacks.0.stepz", "steps"),
        ({"attacks": [{"attack": "style"}, {"attack": "noise", "like": "style", "liek": 1}]}, "attacks.1.liek", "like"),
    ],
)
def test_unknown_keys_are_named_with_the_nearest_valid_word(data: dict[str, Any], key: str, hint: str) -> None:
    message = mistake(data)
    assert f"unknown key '{key}'; did you mean '{hint}'?" in message
    assert "(valid: " in message


def test_unknown_options_are_named_with_the_nearest_valid_word() -> None:
    with pytest.raises(ArtattackError, match=r"unknown key 'stepz'; did you mean 'steps'\?"):
        parse_options({"stepz": 1})


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ({"seed": -1}, "seed: .*greater than or equal to 0, not -1"),
        ({"seed": 2**32}, "seed: "),
        ({"batch_size": 0}, "batch_size: .*greater than 0, not 0"),
        ({"name": "a/b"}, "name: "),
        ({"images": {"size": 31}}, "images.size: .*from 32 to 4096, not 31"),
        ({"images": {"size": 100_000}}, "images.size: .*from 32 to 4096, not 100000"),
        ({"images": {"crop": 1.5}}, "images.crop: .*not 1.5"),
        ({"images": "samples"}, "images: a mapping is wanted, not 'samples'"),
        ({"models": {"mine": {}}}, "models.mine.model: field required"),
        ({"attacks": {"attack": "style"}}, "attacks: a list is wanted"),
        ({"attacks": ["style"]}, "attacks.0: a mapping is wanted, not 'style'"),
        ({"attacks": [{"attack": "fgsm", "source": []}]}, "attacks.0.source: at least one"),
        ({"attacks": [{"attack": "style", "steps": "many"}]}, "attacks.0.steps: .*not 'many'"),
        ({"attacks": [{"attack": "style", "tv_weight": float("nan")}]}, "attacks.0.tv_weight: "),
        ({"attacks": [{"attack": "style", "optimizer": "sgd"}]}, "attacks.0.optimizer: .*'adam' or 'lbfgs'"),
        ({"attacks": [{"attack": "style", "budget": "l2:5"}]}, "attacks.0.budget: 'l2:5' is no distance.*linf=8/255"),
        ({"attacks": [{"attack": "style", "match": "l2=5/0"}]}, "attacks.0.match: '5/0' is not a number"),
        ({"attacks": [{"attack": "noise"}]}, "attacks: 'noise' needs an attack whose distance it copies"),
        ({"attacks": [FGSM, {"attack": "blend"}]}, "attacks: 'blend' needs an attack whose distance it copies"),
        (
            {"attacks": [FGSM, {"attack": "blend", "like": "fgsm"}]},
            r"'blend' is like 'fgsm', which is not one of \(none\)",
        ),
        ({"attacks": [FGSM | {"name": "clean"}]}, "'clean' is the name of the untouched images"),
        ({"attacks": [FGSM], "budgets": "l3"}, "budgets: unknown distance 'l3' .*valid: delta_e, l2, linf"),
        ({"attacks": [FGSM], "budgets": ["simm"]}, "budgets: unknown distance 'simm'; did you mean 'ssim'"),
        ({"attacks": [FGSM], "budgets": {"l2": [0, 1]}}, "budgets: l2=0: a distance is a finite number above 0"),
        ({"attacks": [FGSM], "budgets": {"l2": ["much"]}}, "budgets.l2.0: 'much' is not a number"),
        ({"attacks": [{"attack": "stile"}]}, "attacks.0: unknown attack 'stile'; did you mean 'style'?"),
        ({"attacks": [FGSM | {"attack": "fgms"}]}, "attacks.0: unknown attack 'fgms'; did you mean 'fgsm'?"),
        ({"attacks": [FGSM | {"attack": "AdversarialPatch"}]}, "attacks.0.attack: .*cannot be used here"),
        ({"attacks": [{"attack": "noise", "like": "stile"}]}, "attacks: 'noise' is like 'stile', which is not one of"),
        (
            {"attacks": [FGSM, {"attack": "noise", "like": "fgsm"}, {"attack": "noise", "name": "n", "like": "noise"}]},
            "attacks: 'n' is like 'noise', which is not one of fgsm",
        ),
    ],
)
def test_wrong_values_are_named(data: dict[str, Any], words: str) -> None:
    assert re.search(words, mistake(data)), mistake(data)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ({"attacks": [FGSM, FGSM | {"eps": 1}]}, "two entries are called 'fgsm'"),
        ({"attacks": [FGSM, FGSM | {"attack": "pgd", "name": "fgsm"}]}, "two entries are called 'fgsm'"),
        ({"classifiers": ["vgg16", "vgg16"]}, "classifiers: 'vgg16' is there twice"),
        ({"attacks": [{"attack": "style", "style": ["waves", "waves"]}]}, "attacks.0.style: 'waves' is there twice"),
        ({"attacks": [{"attack": "style", "backbone": ["a", "b", "a"]}]}, "attacks.0.backbone: 'a' is there twice"),
        ({"attacks": [FGSM | {"source": ["a", "a"]}]}, "attacks.0.source: 'a' is there twice"),
    ],
)
def test_duplicates_are_named(data: dict[str, Any], words: str) -> None:
    assert words in mistake(data)


def test_a_long_list_of_mistakes_is_cut_short() -> None:
    message = mistake({"seed": -1, "batch_size": 0, "name": "", "classifiers": [], "attacks": ["x"]})
    assert message.endswith("; and 2 more")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("images: [1\nseed: 2", r"mine.yaml, line 2: not valid YAML: "),
        ("seed: 1\nseed: 2", "mine.yaml, line 2: not valid YAML: key 'seed' is there twice"),
        ("images:\n  size: 64\n  size: 65", "mine.yaml, line 3: .*key 'size' is there twice"),
        ("", "mine.yaml: a benchmark file is a mapping with keys name, seed"),
        ("- style", "mine.yaml: a benchmark file is a mapping"),
        ("1: 2", "mine.yaml: 1: keys should be strings"),
        ("seed: !!python/object/apply:os.getcwd []", "mine.yaml, line 1: not valid YAML: "),
        (BOMB, "aliases make it more than 100000 values"),
        ("attacks: &a [*a]", "aliases make it more than"),
        ("seed: \x00", "mine.yaml: not valid YAML: "),
        ("a: " + "[" * 5000, "mine.yaml: not valid YAML: "),
    ],
)
def test_files_that_are_no_benchmark(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(ArtattackError) as caught:
        load_benchmark(file(tmp_path, text))
    assert "\n" not in str(caught.value)
    assert re.search(words, str(caught.value))


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ArtattackError, match=r"absent.yaml: cannot be read: No such file"):
        load_benchmark(tmp_path / "absent.yaml")
    with pytest.raises(ArtattackError, match="cannot be read: Is a directory"):
        load_benchmark(tmp_path)
    (tmp_path / "latin.yaml").write_bytes("name: \xe9".encode("latin-1"))
    with pytest.raises(ArtattackError, match=r"latin.yaml: not valid YAML: 'utf-8' codec"):
        load_benchmark(tmp_path / "latin.yaml")


YAML = """
images: {set: photos}
models:
  mine: {model: net.keras, weights: w.h5, label_space: classes.txt}
  theirs: {model: vgg16, weights: imagenet, label_space: imagenet}
classifiers: [mine]
attacks:
  - attack: style
    style: [art.png, waves, art.png+waves, waves+sub/art.png, a+b.png, /absent/x.png]
    init: start.png
    mask: mask.png
"""
FILES = ("net.keras", "w.h5", "classes.txt", "art.png", "sub/art.png", "a+b.png", "start.png", "mask.png", "photos/x")
NAMES = ("waves", "vgg16", "imagenet", "content", "style")  # of ours; files called the same do not stand for them


def test_paths_are_relative_to_the_file_and_names_stay_names(tmp_path: Path) -> None:
    for name in (*FILES, *NAMES):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    benchmark = load_benchmark(file(tmp_path, YAML))
    assert benchmark.images.set == str(tmp_path / "photos")
    mine, theirs = benchmark.models["mine"], benchmark.models["theirs"]
    assert mine.model == str(tmp_path / "net.keras")
    assert mine.weights == str(tmp_path / "w.h5")
    assert mine.label_space == str(tmp_path / "classes.txt")
    assert (theirs.model, theirs.weights, theirs.label_space) == ("vgg16", "imagenet", "imagenet")
    entry = benchmark.attacks[0]
    assert isinstance(entry, StyleEntry)
    art = str(tmp_path / "art.png")
    assert entry.style == (
        art,
        "waves",
        f"{art}+waves",
        f"waves+{tmp_path / 'sub' / 'art.png'}",
        str(tmp_path / "a+b.png"),
        "/absent/x.png",
    )
    assert (entry.init, entry.mask, entry.style_mask) == (tmp_path / "start.png", tmp_path / "mask.png", None)
    default = load_benchmark(file(tmp_path, "attacks: [{attack: style}]")).attacks[0]
    assert isinstance(default, StyleEntry)
    assert default.init == "style"


def test_models_of_another_file_keep_its_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "nets" / "nets").mkdir(parents=True)
    for folder in ("nets", "nets/nets"):
        (tmp_path / folder / "net.keras").touch()
    (tmp_path / "nets" / "models.yaml").write_text("models: {mine: {model: net.keras, family: resnet}}\nseed: 5\n")
    path = file(tmp_path, "models: nets/models.yaml\nclassifiers: mine\nattacks: []\n")
    mine = load_benchmark(path).models["mine"]
    assert (mine.model, mine.family) == (str(tmp_path / "nets" / "net.keras"), "resnet")
    assert load_benchmark(path).seed == 0  # models alone are taken over
    monkeypatch.chdir(tmp_path)  # where a path relative to the file could be resolved a second time
    assert load_benchmark(Path(path.name)).models["mine"].model == str(Path("nets/net.keras"))
    assert parse_benchmark({"models": "nets/models.yaml"}).models == load_benchmark(Path(path.name)).models


@pytest.mark.parametrize(
    ("other", "words"),
    [
        ("seed: 1", "other.yaml has no mapping `models` of its own"),
        ("models: other.yaml", "other.yaml has no mapping `models` of its own"),
        ("models: {mine: {modle: net.keras}}", "other.yaml: models.mine.model: field required"),
        ("models: [", "other.yaml, line 1: not valid YAML"),
        (None, "other.yaml: cannot be read"),
    ],
)
def test_models_of_a_bad_file_are_one_line(other: str | None, words: str, tmp_path: Path) -> None:
    if other is not None:
        (tmp_path / "other.yaml").write_text(other)
    with pytest.raises(ArtattackError) as error:
        load_benchmark(file(tmp_path, "models: other.yaml\n"))
    assert words in str(error.value)
    assert "\n" not in str(error.value)


def test_a_recorded_benchmark_reads_back_unchanged(tmp_path: Path) -> None:
    Image.new("L", (4, 4), 255).save(tmp_path / "mask.png")
    written = """
    seed: 7
    images: {set: samples, size: 64, limit: 3}
    models: {mine: {model: vgg16, weights: random, label_space: [0, tench], preprocessing: {mean: [1, 2, 3]}}}
    classifiers: [mine]
    attacks:
      - {attack: style, mask: mask.png, budget: linf=8/255, match: [ssim, 0.8], style_layer_weights: [1, 1/3]}
      - {attack: style, name: other, backbone: mine, guide: [mine], target: tench, early_stop: yes}
      - {attack: noise, like: other}
      - {attack: pgd, source: mine, eps: 8/255, norm: .inf, max_iter: 3}
    """
    benchmark = load_benchmark(file(tmp_path, written))
    assert parse_benchmark(benchmark.model_dump(mode="json")) == benchmark
    assert parse_benchmark(Benchmark().model_dump(mode="json")) == Benchmark()


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("l2", {"l2": (2.5, 5.0, 10.0, 20.0, 40.0)}),
        (["l2", "ssim"], {"l2": (2.5, 5.0, 10.0, 20.0, 40.0), "ssim": (0.4, 0.6, 0.8, 0.9, 0.95, 0.99)}),
        ({"linf": ["8/255", "4/255", "8/255"], "delta_e": 3}, {"linf": (4 / 255, 8 / 255), "delta_e": (3.0,)}),
        ({}, {}),
    ],
)
def test_budgets_are_read_sorted_and_once(written: Any, read: dict[str, tuple[float, ...]]) -> None:
    assert parse_benchmark({"attacks": [FGSM], "budgets": written}).budgets == read


@settings(deadline=None)
@given(
    st.dictionaries(
        st.sampled_from([*Benchmark.model_fields, "x"]),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
            lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
            max_leaves=6,
        ),
    )
)
@example({"models": "\x1e"})
def test_any_data_are_a_benchmark_or_give_one_line(data: dict[str, Any]) -> None:
    message = "nothing wrong"
    try:
        parse_benchmark(data)
    except ArtattackError as error:
        message = str(error)
    assert len(message.splitlines()) == 1


def test_the_readmes_benchmark_file_is_one(tmp_path: Path) -> None:
    readme = Path(__file__).resolve().parents[1] / "README.md"
    blocks = re.findall(r"```yaml\n(.*?)```", readme.read_text(encoding="utf-8"), re.DOTALL)
    assert blocks
    for block in blocks:
        load_benchmark(file(tmp_path, block))


def test_no_attacks_leave_the_untouched_images() -> None:
    assert parse_benchmark({"attacks": []}).attacks == ()
