"""ART's attacks by name: complete, reproducible, with their parameters checked."""

import random
import subprocess
import sys
from importlib.util import find_spec

import numpy as np
import pytest
import tf_keras

from artattack.attacks import art_attacks, baselines
from artattack.attacks.art_attacks import baseline_info, baseline_infos
from artattack.attacks.art_parameters import with_budget
from artattack.attacks.baselines import bounded_by, make_baseline, seeded
from artattack.bound import parse_number
from artattack.errors import ArtattackError
from artattack.models.estimator import to_estimator
from artattack.models.model import Model, Preprocessing

pytestmark = pytest.mark.slow

SIZE, CLASSES, EPS = 8, 4, 8 / 255
X = np.random.default_rng(0).uniform(0.2, 0.8, (3, SIZE, SIZE, 3)).astype(np.float32)


@pytest.fixture(scope="module")
def estimator():
    tf_keras.utils.set_random_seed(0)
    image = tf_keras.Input((SIZE, SIZE, 3))
    y = tf_keras.layers.Conv2D(8, 3, activation="tanh")(image)
    network = tf_keras.Model(image, tf_keras.layers.Dense(CLASSES)(tf_keras.layers.Flatten()(y)))
    preprocessing = Preprocessing((127.5,) * 3, (127.5,) * 3)
    return to_estimator(Model("small", "random", "", False, network, (SIZE, SIZE), preprocessing, None, (), ()))


@pytest.fixture(scope="module")
def seen(estimator):
    return estimator.predict(X).argmax(axis=1)


# Few enough iterations to be quick; enough to draw all random numbers the attack uses.
QUICK = {
    "fgsm": {"eps": "8/255", "num_random_init": 2},
    "bim": {"eps": "8/255", "eps_step": "2/255", "max_iter": 3},
    "pgd": {"eps": "8/255", "eps_step": "2/255", "max_iter": 3, "num_random_init": 1},
    "pgd_numpy": {"eps": "8/255", "eps_step": "2/255", "max_iter": 3, "num_random_init": 1},
    "pgd_tensorflow": {"eps": "8/255", "eps_step": "2/255", "max_iter": 3, "num_random_init": 1},
    "autopgd": {"eps": "8/255", "eps_step": "2/255", "max_iter": 3, "nb_random_init": 2},
    "autocg": {"eps": "8/255", "eps_step": "2/255", "max_iter": 3, "nb_random_init": 2},
    "rescaling_autocg": {"eps": "8/255", "eps_step": "2/255", "max_iter": 3, "nb_random_init": 2},
    "deepfool": {"max_iter": 5},
    "newtonfool": {"max_iter": 3},
    "cw_l2": {"max_iter": 5, "binary_search_steps": 2, "learning_rate": 0.2, "initial_const": 10},
    "cw_linf": {"max_iter": 1},
    "elasticnet": {"max_iter": 5, "binary_search_steps": 2, "learning_rate": 0.2, "initial_const": 10},
    "jsma": {"theta": 0.3, "gamma": 0.2},
    "shadow": {"nb_steps": 2},
    "wasserstein": {"max_iter": 1, "regularization": 100},
    "universal": {"max_iter": 2, "eps": 0.5},
    "targeted_universal": {"max_iter": 2, "eps": 0.5},
    "square": {"eps": "8/255", "max_iter": 5},
    "simba": {"max_iter": 20, "epsilon": 0.2},
    "zoo": {
        "max_iter": 20,
        "use_resize": False,
        "use_importance": False,
        "nb_parallel": 64,
        "learning_rate": 0.2,
    },
    "spatial": {"max_translation": 20, "num_translations": 2, "max_rotation": 20, "num_rotations": 2},
    "pixel": {"th": 3, "max_iter": 2},
    "threshold": {"th": 20, "max_iter": 2},
    "boundary": {"max_iter": 5},
    "hopskipjump": {"max_iter": 1, "max_eval": 20, "init_eval": 5},
    "geoda": {"max_iter": 400, "bin_search_tol": 0.05},
    "signopt": {"query_limit": 100, "max_iter": 3},
}
# cw_l0 and vat work value by value, brendel_bethge compiles for half a minute, autoattack has its own test.
NOT_QUICK = {"cw_l0", "vat", "brendel_bethge", "autoattack"}


def test_quick_runs_cover_the_list():
    assert {info.name for info in baseline_infos()} == set(QUICK) | NOT_QUICK


@pytest.mark.parametrize("name", QUICK)
def test_a_seed_repeats_an_attack(estimator, seen, name):
    attack = make_baseline(name, estimator, QUICK[name], seed=7)
    y = (seen + 1) % CLASSES if attack.targeted else seen
    random_state, numpy_state = random.getstate(), np.random.get_state()[1].copy()
    first = attack.generate(X, y)
    assert first.shape == X.shape
    assert first.dtype == np.float32
    assert first.min() >= 0
    assert first.max() <= 1
    assert random.getstate() == random_state
    np.testing.assert_array_equal(np.random.get_state()[1], numpy_state)
    np.random.seed(99)
    random.seed(99)
    np.testing.assert_array_equal(attack.generate(X, y), first)
    np.testing.assert_array_equal(make_baseline(name, estimator, QUICK[name], seed=7).generate(X, y), first)
    if "eps" in QUICK[name] and "universal" not in name:
        assert 0 < np.abs(first - X).max() <= EPS + 1e-6
    else:
        assert np.abs(first - X).max() > 0


@pytest.mark.parametrize("name", [name for name in QUICK if "universal" not in name])
def test_an_image_does_not_depend_on_its_batch(estimator, seen, name):
    """Neither on its neighbours, nor on how many there are, nor on its place among them."""
    attack = make_baseline(name, estimator, QUICK[name])
    y = (seen + 1) % CLASSES if attack.targeted else None
    together = attack.generate(X, y, seeds=[1, 2, 3])
    for i in range(len(X)):
        alone = attack.generate(X[i : i + 1], None if y is None else y[i : i + 1], seeds=[i + 1])
        np.testing.assert_allclose(alone[0], together[i], atol=1e-6)
    turned = attack.generate(X[::-1], None if y is None else y[::-1], seeds=[3, 2, 1])
    np.testing.assert_allclose(turned[::-1], together, atol=1e-6)


def test_universal_perturbations_say_that_they_depend_on_the_batch():
    assert {info.name for info in baseline_infos() if info.together == "whole"} == {"universal", "targeted_universal"}
    for info in baseline_infos():
        assert ("one perturbation for a batch" in info.needs) == (info.together == "whole")


def test_geoda_neither_reads_nor_writes_where_one_works(estimator, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.save(f"2d_dct_basis_10_{SIZE}.npy", np.full((SIZE * SIZE, 100), np.nan))  # ART would load it
    attack = make_baseline("geoda", estimator, QUICK["geoda"], seed=1)
    found = attack.generate(X)
    assert np.isfinite(found).all()
    assert [path.name for path in tmp_path.iterdir()] == [f"2d_dct_basis_10_{SIZE}.npy"]
    (tmp_path / f"2d_dct_basis_10_{SIZE}.npy").unlink()
    np.testing.assert_array_equal(attack.generate(X), found)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", QUICK)
def test_no_attack_touches_the_working_directory(estimator, seen, name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    attack = make_baseline(name, estimator, QUICK[name], seed=1)
    attack.generate(X[:1], (seen[:1] + 1) % CLASSES if attack.targeted else None)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["shadow", "pgd", "square", "deepfool"])
def test_an_untargeted_attack_stays_one(estimator, seen, name):
    """ART's ShadowAttack, given labels, would aim at them, and go on doing so."""
    attack = make_baseline(name, estimator, QUICK[name], seed=3)
    unlabelled = attack.generate(X)
    np.testing.assert_array_equal(attack.generate(X, seen), unlabelled)
    assert attack.targeted is False
    np.testing.assert_array_equal(attack.generate(X), unlabelled)


def test_shadow_leads_away_from_the_predicted_class(estimator, seen):
    """The class seen loses, on the mean; aimed at, it would gain."""
    attack = make_baseline(
        "shadow", estimator, {"nb_steps": 100, "lambda_tv": 0.0, "lambda_c": 0.0, "lambda_s": 0.0}, 1
    )
    before, after = (estimator.predict(x)[np.arange(3), seen] for x in (X, attack.generate(X, seen)))
    assert (after - before).mean() < 0


@pytest.mark.parametrize("name", ["autopgd", "square", "boundary", "hopskipjump", "signopt", "pixel"])
def test_another_seed_gives_another_result(estimator, seen, name):
    results = [make_baseline(name, estimator, QUICK[name], seed=s).generate(X, seen) for s in (1, 2)]
    assert not np.array_equal(*results)


def test_without_a_seed_the_caller_seeds(estimator, seen):
    attack = make_baseline("hopskipjump", estimator, QUICK["hopskipjump"])
    results = []
    for seed in (1, 1, 2):
        with seeded(seed):
            results.append(attack.generate(X, seen))
    np.testing.assert_array_equal(results[0], results[1])
    assert not np.array_equal(results[0], results[2])


@pytest.mark.parametrize("name", ["cw_l2", "deepfool", "boundary", "hopskipjump", "signopt"])
def test_minimum_norm_attacks_flip(estimator, seen, name):
    assert baseline_info(name).minimum_norm
    found = make_baseline(name, estimator, QUICK[name] | {"max_iter": 10}, seed=0).generate(X, seen)
    assert (estimator.predict(found).argmax(axis=1) != seen).any()


def test_fgsm_moves_every_value_by_eps_up_the_loss(estimator, seen):
    found = make_baseline("fgsm", estimator, {"eps": "8/255"}, seed=0).generate(X, seen)
    np.testing.assert_allclose(found - X, EPS * np.sign(estimator.loss_gradient(X, seen)), atol=1e-6)


def test_targeted_pgd_moves_towards_its_targets(estimator, seen):
    targets = (seen + 1) % CLASSES
    attack = make_baseline("pgd", estimator, {"eps": 0.5, "eps_step": 0.1, "max_iter": 20, "targeted": True}, seed=0)
    np.testing.assert_array_equal(estimator.predict(attack.generate(X, targets)).argmax(axis=1), targets)


def test_spatial_searches_again_for_new_images(estimator, seen):
    attack = make_baseline("spatial", estimator, QUICK["spatial"], seed=0)
    attack.generate(X[:1], seen[:1])
    fresh = make_baseline("spatial", estimator, QUICK["spatial"], seed=0)
    np.testing.assert_array_equal(attack.generate(X, seen), fresh.generate(X, seen))


def test_autoattack_runs_quietly(estimator, capfd):
    pytest.importorskip("multiprocess", reason="ART's AutoAttack imports multiprocess")
    attack = make_baseline("autoattack", estimator, {"eps": "8/255", "eps_step": "2/255"}, seed=0)
    for inner in attack.attacks:
        inner.set_params(max_iter=3)
    capfd.readouterr()
    found = attack.generate(X, estimator.predict(X).argmax(axis=1))
    assert "%" not in capfd.readouterr().err
    assert 0 < np.abs(found - X).max() <= EPS + 1e-6


def test_listing_does_not_load_tensorflow_or_art():
    code = (
        "import sys; from artattack.attacks.art_attacks import baseline_infos; "
        "assert baseline_infos(); print({'tensorflow', 'art', 'keras'} & set(sys.modules))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "set()"


def test_every_attack_of_art_is_listed_or_refused():
    from art.attacks import EvasionAttack, evasion

    in_art = {n for n, c in vars(evasion).items() if isinstance(c, type) and issubclass(c, EvasionAttack)}
    ours = {info.art_class for info in baseline_infos()} | set(art_attacks._REFUSED)
    if find_spec("numba") is None:
        ours.remove("BrendelBethgeAttack")  # ART lists it only where numba is installed
    assert in_art == ours


def test_needs_in_words():
    assert baseline_info("PGD").needs == "gradients"
    assert baseline_info("SquareAttack").needs == "logits only"
    assert baseline_info("boundary").needs == "decisions only; seeks the smallest change"


@pytest.mark.parametrize(
    ("name", "parameters", "message"),
    [
        ("pdg", {}, r"unknown attack 'pdg'; did you mean 'pgd'\? \(valid: autoattack, "),
        ("ProjectedGradientDecent", {}, "did you mean 'ProjectedGradientDescent'"),
        ("MomentumIterativeMethod", {}, "switched it off for TensorFlow"),
        ("FeatureAdversariesTensorFlowV2", {}, "Sequential networks only"),
        ("adversarialpatch", {}, "ART's AdversarialPatch cannot be used here: it paints a patch"),
        ("ProjectedGradientDescentPyTorch", {}, "PyTorch only; use pgd"),
        ("pgd", {"epss": 1}, "unknown parameter of attack 'pgd' 'epss'; did you mean 'eps'"),
        ("pgd", {"summary_writer": True}, "unknown parameter"),
        ("pixel", {"es": 0}, "unknown parameter"),
        ("pgd", {"eps": "8//255"}, "eps of attack 'pgd': '8//255' is not a number"),
        ("pgd", {"max_iter": 2.5}, "max_iter of attack 'pgd': 2.5 is not a whole number"),
        ("pgd", {"max_iter": float("inf")}, "not a whole number"),
        ("pgd", {"eps": -1}, "eps of attack 'pgd': linf=-1: a distance is a finite number above 0"),
        ("autopgd", {"loss_type": "nonsense"}, "attack 'autopgd' does not accept .* loss_type"),
    ],
)
def test_unusable_attacks_give_one_line(estimator, name, parameters, message):
    with pytest.raises(ArtattackError, match=message) as caught:
        make_baseline(name, estimator, parameters, seed=0)
    assert "\n" not in str(caught.value)


def test_parameters_take_the_kind_art_expects(estimator):
    given = {"eps": 1, "eps_step": "2/255", "max_iter": "10", "norm": "inf", "num_random_init": 2.0}
    attack = make_baseline("pgd", estimator, given, seed=0)
    assert (attack.eps, attack.eps_step, attack.max_iter) == (1.0, 2 / 255, 10)
    assert [type(v) for v in (attack.eps, attack.max_iter, attack.num_random_init)] == [float, int, int]
    assert attack.norm == "inf"


def test_attacks_are_untargeted_and_quiet_unless_asked(estimator):
    for name in ("boundary", "signopt", "pgd"):  # the first two are targeted in ART
        attack = make_baseline(name, estimator, {}, seed=0)
        assert attack.targeted is False
        assert attack.verbose is False
    assert make_baseline("boundary", estimator, {"targeted": True, "verbose": True}, seed=0).targeted


@pytest.mark.parametrize("name", ["pgd", "jsma"])
def test_targeted_attacks_ask_for_targets(estimator, name):
    attack = make_baseline(name, estimator, {} if name == "jsma" else {"targeted": True}, seed=0)
    with pytest.raises(ArtattackError, match="is targeted: give generate the classes y"):
        attack.generate(X)


@pytest.mark.parametrize("labels", [[0, 1, CLASSES], [0, 1, -1]])
def test_labels_must_be_outputs_of_the_source(estimator, labels):
    with pytest.raises(ArtattackError, match=r"labels must be in 0\.\.3"):
        make_baseline("fgsm", estimator, {}, seed=0).generate(X, np.array(labels))


def test_seeded_makes_unseeded_generators_follow_and_leaves_the_global_ones():
    np.random.seed(5)
    random.seed(5)
    untouched = np.random.rand(), random.random()
    np.random.seed(5)
    random.seed(5)
    original, draws = np.random.RandomState, []
    for seed in (1, 1, 2):
        with seeded(seed):
            draws.append((np.random.RandomState().rand(), np.random.rand(), random.random()))
            assert np.random.RandomState(3).rand() == original(3).rand()
    assert draws[0] == draws[1]
    assert all(a != b for a, b in zip(draws[0], draws[2], strict=True))
    assert np.random.RandomState is original
    assert (np.random.rand(), random.random()) == untouched


def test_seeded_restores_after_an_error():
    original = np.random.RandomState
    with pytest.raises(KeyError), seeded(0):
        raise KeyError
    assert np.random.RandomState is original


@pytest.mark.parametrize(
    ("text", "value"), [("8/255", 8 / 255), (" 3 / 4 ", 0.75), ("1e-3", 0.001), ("-2", -2.0), ("10", 10.0)]
)
def test_parse_number(text, value):
    assert parse_number(text) == value


@pytest.mark.parametrize("text", ["", "8//255", "8/0", "eight", "nan", "inf", "1/2/3", "/2", "0x10"])
def test_parse_number_refuses_nonsense(text):
    with pytest.raises(ArtattackError, match="is not a number"):
        parse_number(text)


def test_the_norms_of_balls_are_those_that_arts_classes_keep(estimator):
    """Those that seek the least change, or whose eps is no radius, have none."""
    import inspect

    for info in baseline_infos():
        if info.package and find_spec(info.package) is None:
            continue
        parameters = inspect.signature(baselines._art_class(info).__init__).parameters
        if info.norms:
            assert "eps" in parameters, info.name
            assert info.norms == ("linf",) or "norm" in parameters, info.name
            assert not info.minimum_norm, info.name
    assert {info.name for info in baseline_infos() if info.norms == ("linf",)} == {"bim"}


@pytest.mark.parametrize("name", [info.name for info in baseline_infos() if info.norms and info.name != "autoattack"])
def test_attacks_stay_in_the_ball_they_say(estimator, seen, name):
    for norm, order, radius in (("linf", np.inf, 0.05), ("l2", 2, 0.6)):
        if norm not in baseline_info(name).norms:
            continue
        parameters = with_budget(baseline_info(name), QUICK[name], norm, radius)
        attack = make_baseline(name, estimator, parameters, seed=1)
        assert bounded_by(attack) == (norm, radius)
        moved = attack.generate(X, (seen + 1) % CLASSES if attack.targeted else None) - X
        lengths = [np.linalg.norm(change.ravel(), order) for change in moved]
        assert max(lengths) <= radius * (1 + 1e-4), (norm, lengths)


def test_an_eps_left_to_art_is_a_ball_too(estimator):
    assert bounded_by(make_baseline("pgd", estimator, {})) == ("linf", 0.3)  # ART's default
    assert bounded_by(make_baseline("fgsm", estimator, {"norm": 2.0, "eps": 3})) == ("l2", 3.0)
    for name in ("deepfool", "wasserstein", "vat", "boundary", "spatial"):
        assert bounded_by(make_baseline(name, estimator, {})) is None
