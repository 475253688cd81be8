"""The plan: its cells, their order, names and seeds."""

import itertools
import re
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from artattack.attacks.baseline_entry import BaselineEntry
from artattack.attacks.controls import ControlEntry
from artattack.attacks.entries import Variant
from artattack.attacks.style_entry import StyleEntry
from artattack.config import parse_benchmark
from artattack.errors import ArtattackError
from artattack.evaluation.plan import Cell, Plan, make_plan

FGSM = {"attack": "fgsm", "source": ["quicknet_tiny", "efficientnet_lite0"]}
STYLE = {"attack": "style", "style": ["waves", "marble"], "backbone": ["quicknet_tiny", "vgg16"]}


def plan(*attacks: dict[str, Any], **keys: Any) -> Plan:
    return make_plan(parse_benchmark({"attacks": list(attacks), **keys}))


def titles(of: Plan) -> list[str]:
    return [variant.title for variant in of.variants]


def test_controls_follow_the_attacks_they_copy_and_styles_of_a_backbone_are_together() -> None:
    noise = {"attack": "noise", "name": "hiss", "like": "fgsm"}
    assert titles(plan(noise, {"attack": "noise", "like": "style"}, FGSM, STYLE)) == [
        "clean",
        "fgsm/quicknet_tiny",
        "fgsm/efficientnet_lite0",
        "style/waves/quicknet_tiny",
        "style/marble/quicknet_tiny",
        "style/waves/vgg16",
        "style/marble/vgg16",
        "hiss as fgsm/quicknet_tiny",
        "hiss as fgsm/efficientnet_lite0",
        "noise as style/waves/quicknet_tiny",
        "noise as style/marble/quicknet_tiny",
        "noise as style/waves/vgg16",
        "noise as style/marble/vgg16",
    ]


def test_every_image_is_once_in_every_variant_in_batches() -> None:
    planned = plan(FGSM, {"attack": "noise", "like": "fgsm"}, batch_size=8)
    assert len(planned.samples) == 20
    assert len(planned.cells) == 5 * 3  # the untouched, two sources and their controls; 8 + 8 + 4 images
    for variant in planned.variants:
        cells = [cell for cell in planned.cells if cell.variant == variant]
        assert [len(cell.samples) for cell in cells] == [8, 8, 4]
        assert [cell.number for cell in cells] == [0, 1, 2]
        assert tuple(itertools.chain(*(cell.samples for cell in cells))) == planned.samples


def test_the_default_benchmark_counts() -> None:
    planned = make_plan(parse_benchmark({}))
    # The untouched; a painting in one pass, one by descent; pgd of 2 sources; 5 controls, which serve both paintings.
    assert len(planned.variants) == 1 + 2 + 2 + 5
    assert len(planned.cells) == 2 * 10
    keys = [cell.key for cell in planned.cells]
    assert keys[0] == "clean-0000"
    assert keys[2] == "painter--waves--quicknet_distilled-0000"
    assert keys[-1] == "blend--waves--as--style--waves--quicknet_distilled-0001"


def test_controls_that_need_a_style_copy_style_attacks_alone() -> None:
    entries = [FGSM | {"source": "vgg16"}, STYLE | {"style": "waves"}]
    planned = plan(*entries, {"attack": "blend"}, {"attack": "random-backbone"}, {"attack": "jpeg"})
    assert titles(planned)[4:] == [
        "blend/waves as style/waves/quicknet_tiny",
        "blend/waves as style/waves/vgg16",
        "random-backbone/waves/quicknet_tiny as style/waves/quicknet_tiny",
        "random-backbone/waves/vgg16 as style/waves/vgg16",
        "jpeg as fgsm/vgg16",
        "jpeg as style/waves/quicknet_tiny",
        "jpeg as style/waves/vgg16",
    ]


def test_at_budgets_every_attack_and_control_once() -> None:
    entries = [FGSM | {"source": "vgg16"}, STYLE | {"style": "waves"}]
    controls = [{"attack": name} for name in ("noise", "blend", "random-backbone")]
    planned = plan(*entries, *controls, budgets={"l2": [5, 2], "ssim": 0.9})
    at_l2 = [
        "fgsm/vgg16",
        "style/waves/quicknet_tiny",
        "style/waves/vgg16",
        "noise",
        "blend/waves",
        "random-backbone/waves/quicknet_tiny",
        "random-backbone/waves/vgg16",
    ]
    expected = [f"{title} at l2={budget}" for title in at_l2 for budget in (2, 5)]
    expected += [f"{title} at ssim=0.9" for title in at_l2]
    assert titles(planned)[-len(expected) :] == expected
    assert len({variant.key for variant in planned.variants}) == len(planned.variants)
    last = planned.variants[-1]
    assert last.free in planned.variants  # which it starts from
    assert (last.kind, last.free.budget, last.budget) == ("control", None, ("ssim", 0.9))


def test_a_limit_spreads_evenly_over_the_set() -> None:
    everything = plan(FGSM).samples
    assert plan(FGSM, images={"limit": 4}).samples == (everything[0], everything[5], everything[10], everything[15])
    assert plan(FGSM, images={"limit": 3}).samples == (everything[0], everything[6], everything[13])
    assert plan(FGSM, images={"limit": 99}).samples == everything


def seeds_of(of: Plan, run_seed: int = 0) -> dict[tuple[str, str], int]:
    return {(v.key, sample.id): v.seed(run_seed, sample.id) for v in of.variants for sample in of.samples}


def test_seeds_differ_by_variant_and_image_and_depend_on_no_other() -> None:
    control = {"attack": "noise", "like": "fgsm"}
    alone = plan(FGSM, control, batch_size=3, images={"limit": 7})
    beside = plan(STYLE, FGSM | {"source": FGSM["source"][::-1]}, control)
    seeds = seeds_of(beside)
    assert {key: seed for key, seed in seeds_of(alone).items() if key in seeds} == seeds_of(alone)
    own = [seed for (key, _), seed in seeds.items() if not key.startswith("style")]
    assert len(set(own)) == len(own)
    assert all(0 <= seed < 2**32 for seed in seeds.values())
    assert not set(seeds.values()) & set(seeds_of(beside, run_seed=1).values())


def test_the_images_of_a_style_attack_share_a_seed() -> None:
    """Its steps are one program for a batch: with a seed of its own, an image would depend on its batch."""
    seeds = seeds_of(plan(STYLE, {"attack": "random-backbone"}))
    by_variant = {key: {seed for (other, _), seed in seeds.items() if other == key} for key, _ in seeds}
    assert all(len(found) == 1 for key, found in by_variant.items() if key != "clean")
    assert len(set.union(*by_variant.values())) == 20 + 2 * 2 * 2


def test_each_cell_names_those_that_must_be_done_before() -> None:
    entries = [FGSM | {"source": "vgg16"}, STYLE | {"style": "waves", "backbone": "vgg16"}]
    entries += [{"attack": "deepfool", "source": "vgg16"}, {"attack": "bim", "source": "vgg16"}]
    entries += [{"attack": "noise", "like": "fgsm"}, {"attack": "random-backbone"}]
    planned = plan(*entries, batch_size=20, budgets={"l2": 1, "linf": 0.1})
    needs = {cell.variant.title: cell.needs for cell in planned.cells}
    shrunk = plan(entries[1] | {"at_budgets": "shrunk"}, entries[-1], batch_size=20, budgets={"l2": 1})
    needs_of_shrunk = {cell.variant.title: cell.needs for cell in shrunk.cells}
    first, style = "clean-0000", "style--waves--vgg16-0000"
    untrained = "random-backbone--waves--vgg16--as--style--waves--vgg16-0000"
    assert needs["clean"] == ()
    for attack in ("fgsm/vgg16", "style/waves/vgg16", "fgsm/vgg16 at l2=1", "bim/vgg16 at linf=0.1", "noise at l2=1"):
        assert needs[attack] == (first,), attack
    assert needs["noise as fgsm/vgg16"] == (first, "fgsm--vgg16-0000")
    assert needs["random-backbone/waves/vgg16 as style/waves/vgg16"] == (first, style)
    assert needs["style/waves/vgg16 at l2=1"] == (first,)  # painted inside
    assert needs["random-backbone/waves/vgg16 at l2=1"] == (first,)
    assert needs_of_shrunk["style/waves/vgg16 at l2=1"] == (first, style)
    assert needs_of_shrunk["random-backbone/waves/vgg16 at l2=1"] == (first, untrained)
    assert needs["deepfool/vgg16 at l2=1"] == (first, "deepfool--vgg16-0000")
    assert needs["bim/vgg16 at l2=1"] == (first, "bim--vgg16-0000")  # which keeps to linf only
    done: set[str] = set()
    for cell in planned.cells:
        assert set(cell.needs) <= done
        done.add(cell.key)


def test_an_attack_s_own_ball_is_not_attacked_in_twice() -> None:
    """Where a budget is the ball that images are in already, they start from there; in any other ball, anew."""
    pgd = {"attack": "pgd", "source": "vgg16", "norm": 2, "eps": 10}
    bim = {"attack": "bim", "source": "vgg16", "eps": "8/255"}
    mi = {"attack": "mi-fgsm", "source": "vgg16", "eps": 10, "norm": 2}
    style = {"attack": "style", "style": "waves", "backbone": "vgg16", "budget": "l2=10"}
    entries = [pgd, bim, mi, style, {"attack": "random-backbone"}]
    planned = plan(*entries, batch_size=20, budgets={"l2": [5, 10], "linf": [8 / 255]})
    own = {cell.variant.title for cell in planned.cells if len(cell.needs) == 2 and cell.variant.budget}
    assert own == {
        "pgd/vgg16 at l2=10",
        "bim/vgg16 at l2=5",  # which keeps to linf: moved along a line
        "bim/vgg16 at l2=10",
        "bim/vgg16 at linf=0.0313725",
        "mi-fgsm/vgg16 at l2=10",
        "style/waves/vgg16 at l2=10",
        "random-backbone/waves/vgg16 at l2=10",
    }
    for cell in planned.cells:
        if cell.variant.title in own:
            assert cell.needs[1] == Cell(cell.variant.free, 0, cell.samples).key
            assert cell.variant.entry.passes_of(cell.variant) == 0


def style_file(folder: Path, name: str = "art.png") -> str:
    folder.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (4, 4), "red").save(folder / name, format="PNG")
    return str(folder / name)


def test_seeds_do_not_depend_on_the_folder_one_works_in(tmp_path: Path) -> None:
    here, there = (plan({"attack": "style", "style": style_file(tmp_path / name)}) for name in ("here", "there"))
    assert set(seeds_of(here, 5).values()) == set(seeds_of(there, 5).values())


def test_two_files_of_one_name_have_folders_of_their_own(tmp_path: Path) -> None:
    styles = [style_file(tmp_path / "a"), style_file(tmp_path / "b"), style_file(tmp_path / "a", "art_png")]
    planned = plan({"attack": "style", "style": styles}, {"attack": "noise", "like": "style"})
    assert len(planned.variants) == 7
    assert len({variant.key for variant in planned.variants}) == 7
    assert "art-png" in planned.variants[1].key
    assert tmp_path.name not in planned.variants[1].key


WORDS = st.one_of(
    st.text(min_size=1, max_size=6),
    st.text(min_size=100, max_size=300),
    st.sampled_from(["a", "b", "A", "a-b", "a--b", "a/b", "as", "a+b", "b+a", "style", "..", "-", ".", "~/a.png"]),
    st.sampled_from(["/x/a.png", "/y/a.png", "NUL", "ä", "é"]),
)


def variants_of(names: Sequence[str], styles: Sequence[str], sources: Sequence[str]) -> list[Variant]:
    """All kinds of entries a benchmark may have under these words; the names of its entries differ."""
    found: list[Variant] = []
    for number, name in enumerate(names):
        if number % 3 == 0:
            entry = StyleEntry(attack="style", name=name)
            found += [Variant(entry, style, source) for style in styles for source in sources]
        elif number % 3 == 1:
            found += [Variant(BaselineEntry(attack="fgsm", name=name, source="x"), source=s) for s in sources]
        else:
            found += [Variant(ControlEntry(attack="noise", name=name, like="x"), matched=v) for v in found if v.style]
    return found


@settings(deadline=None)
@given(*(st.lists(WORDS, min_size=2, max_size=4, unique=True) for _ in range(3)))
def test_keys_are_unique_and_safe_for_any_names(names: list[str], styles: list[str], sources: list[str]) -> None:
    variants = variants_of(names, styles, sources)
    keys = [Cell(variant, 0, ()).key for variant in variants]
    assert len({key.lower() for key in keys}) == len(variants)
    for key in keys:
        assert re.fullmatch(r"[\w.+-]+", key, re.ASCII)
        assert len(key) < 200
        assert Path(f"{key}.json").stem == key
        assert not key.startswith(".")


@pytest.mark.parametrize(
    ("keys", "attack", "message"),
    [
        ({"classifiers": "quicknet_tny"}, FGSM, r"classifiers: unknown model 'quicknet_tny'; did you mean 'quicknet_t"),
        ({"classifiers": "quicknet_distilled"}, FGSM, "classifiers: model 'quicknet_distilled' is a backbone only"),
        ({"style_judges": "vgg15"}, STYLE, "style_judges: unknown model 'vgg15'"),
        ({}, FGSM | {"source": "vgg15"}, r"attacks.0 \(fgsm\): unknown model 'vgg15'; did you mean"),
        ({}, STYLE | {"backbone": "vgg15"}, r"attacks.0 \(style\): unknown model 'vgg15'"),
        ({}, STYLE | {"guide": "a.h5", "name": "n"}, r"attacks.0 \(n\): model 'a.h5': no such file"),
        ({}, STYLE | {"style": "wavs"}, r"attacks.0 \(style\): unknown style 'wavs'; did you mean 'waves'"),
        ({}, STYLE | {"style": "waves+wavs"}, "unknown style 'wavs'"),
        ({}, STYLE | {"style": "absent.png"}, r"absent.png: no such file"),
        ({}, FGSM | {"eps": 8}, r"attacks.0 \(fgsm\).eps: linf=8: .*; did you mean 8/255\?"),
        ({}, FGSM | {"attack": "square", "eps": 8}, r"attacks.0 \(square\).eps: linf=8: "),
        ({}, FGSM | {"attack": "pgd", "eps": 0.1, "eps_step": 2}, r"\(pgd\).eps_step: linf=2: .*; did you mean 2/255"),
        ({}, FGSM | {"attack": "mi-fgsm", "eps": 500, "norm": 2}, r"\(mi-fgsm\).eps: l2=500: two images of 224 x 224"),
        ({"images": {"size": 32}}, FGSM | {"eps": 60, "norm": 2}, "l2=60: two images of 32 x 32 px .* at most 55.43"),
        ({}, STYLE | {"budget": "l2=400"}, r"attacks.0 \(style\).budget: l2=400: two images of 224 x 224 px"),
        ({}, STYLE | {"learning_rate": 5}, r"attacks.0 \(style\).learning_rate: linf=5"),
        ({"budgets": {"l2": [5, 400]}}, FGSM, "budgets.l2: l2=400: two images of 224 x 224 px"),
        ({}, FGSM | {"targets": 7}, r"unknown parameter of attack 'fgsm' 'targets'; did you mean 'target"),
        ({}, FGSM | {"target_class": 7}, r"unknown parameter of attack 'fgsm' 'target_class'; did you mean 'target"),
        ({}, FGSM | {"y": [7]}, "unknown parameter of attack 'fgsm' 'y'"),
        ({}, FGSM | {"epps": 0.1}, "unknown parameter of attack 'fgsm' 'epps'; did you mean 'eps'"),
        ({}, FGSM | {"max_iter": 3}, "unknown parameter of attack 'fgsm' 'max_iter'"),
        ({}, FGSM | {"attack": "deepfool", "target": 7}, "target: attack 'deepfool' cannot be targeted"),
        ({}, FGSM | {"target": 7, "targeted": False}, "target: `targeted` is false; set it to true"),
        (
            {},
            FGSM | {"attack": "mi-fgsm", "eps": 0.1, "target": 7, "targeted": False},
            "target: `targeted` is false; set it to true",
        ),
        ({}, FGSM | {"target": 1000}, r"attacks.0 \(fgsm\): target: no ImageNet class '1000'"),
        ({}, FGSM | {"target": "tenhc"}, r"target: no ImageNet class 'tenhc'; did you mean 'tench'"),
        ({}, FGSM | {"target": True}, r"attacks.0.target: a class is written as its name"),
        ({}, STYLE | {"guide": "quicknet_tiny", "target": "tenhc"}, r"target: no ImageNet class 'tenhc'; did you mean"),
        ({}, FGSM | {"eps": "8/25x"}, r"attacks.0 \(fgsm\): '8/25x' is not a number"),
        ({"images": {"set": "smples"}}, FGSM, "'smples'; did you mean 'samples'"),
    ],
)
def test_mistyped_names_are_found_before_any_work(keys: dict[str, Any], attack: dict[str, Any], message: str) -> None:
    with pytest.raises(ArtattackError, match=message):
        plan(attack, **keys)


def test_a_model_of_ones_own_goes_by_its_name() -> None:
    models = {"mine": {"model": "vgg16", "weights": "random"}}
    assert titles(plan(FGSM | {"source": "mine"}, models=models, classifiers="mine")) == ["clean", "fgsm/mine"]
    with pytest.raises(ArtattackError, match="unknown model 'vg16'; did you mean 'vgg16'"):
        plan(FGSM, models={"mine": {"model": "vg16"}}, classifiers="mine")


@pytest.mark.parametrize(("gigabytes", "batch_size", "doubted"), [(2, 20, True), (2, 10, False), (3, 20, False)])
def test_a_batch_that_may_not_fit_into_memory_is_doubted(
    gigabytes: int, batch_size: int, doubted: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("psutil.virtual_memory", lambda: SimpleNamespace(total=gigabytes * 1e9))
    told = f"batch_size: 20 images of 224 x 224 px at once may take 2 GB of memory, and this machine has {gigabytes}"
    doubts = plan(FGSM, batch_size=batch_size).doubts  # 1.2 GB, and 20 x 224 x 224 kB = 1.0 GB or half of it
    assert [told in doubt for doubt in doubts] == [True] * doubted
