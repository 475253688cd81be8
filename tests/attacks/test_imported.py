"""Attacks from other packages, by name: found or refused in one line, before any work."""

import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from artattack.attacks.entries import Reading
from artattack.attacks.imported import find_attack, installed_attacks, source_of
from artattack.attacks.imported_entry import ImportedEntry
from artattack.cli import app
from artattack.config import load_benchmark, parse_benchmark, replaced
from artattack.errors import ArtattackError
from artattack.evaluation.plan import make_plan

MODULE = '''
"""Attacks of a research group."""

from artattack.attacks.entries import Entry, Variant


class Brighter:
    """Adds `eps` to each value."""

    def __init__(self, estimator, eps=0.1, *, steps=1, targeted=False):
        self.eps, self.steps, self.targeted = eps, steps, targeted

    def generate(self, x, y=None):
        return x + self.eps


class Plain:
    def __init__(self, estimator, amount):
        self.amount = amount

    def generate(self, x, y=None):
        return x


class AnyParameter:
    def __init__(self, estimator, **options):
        self.options = options

    def generate(self, x, y=None):
        return x


class Needy:
    _estimator_requirements = ("BaseEstimator", "LossGradientsMixin")

    def __init__(self, estimator, name, eps=0.1):
        self.name = name

    def generate(self, x, y=None):
        return x


class NoGenerate:
    def __init__(self, estimator):
        self.estimator = estimator


class NoLabels(NoGenerate):
    def generate(self, x):
        return x


class NoEstimator:
    def generate(self, x, y=None):
        return x


class Darker(Entry):
    share: float = 0.5

    def variants(self, attacks):
        yield Variant(self)


def function(x, y=None):
    return x
'''


@pytest.fixture(autouse=True)
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A temporary package on Python's path, with an entry point as an installed one has."""
    package = tmp_path / "site" / "lab"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "attacks.py").write_text(MODULE)
    (package / "raising.py").write_text("raise RuntimeError('no luck\\ntoday')\n")
    (package / "leaving.py").write_text("import sys\nsys.exit(3)\n")
    (package / "broken.py").write_text("def (:\n")
    (package / "dependent.py").write_text("import no_such_library\n")
    about = tmp_path / "site" / "lab-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: lab\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text("[artattack.attacks]\nbrighter = lab.attacks:Brighter\n")
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.syspath_prepend(tmp_path / "site")
    for name in [name for name in sys.modules if name.split(".")[0] in ("lab", "beside")]:
        monkeypatch.delitem(sys.modules, name)
    yield package
    for name in [name for name in sys.modules if name.split(".")[0] in ("lab", "beside")]:
        del sys.modules[name]


def benchmark(attack: str, **options: Any) -> dict[str, Any]:
    source = {} if attack.endswith("Darker") else {"source": "quicknet_tiny"}
    return {"images": {"size": 32, "limit": 1}, "attacks": [{"attack": attack} | source | options]}


def entry(attack: str, **options: Any) -> Any:
    return parse_benchmark(benchmark(attack, **options)).attacks[0]


def mistake(attack: str, **options: Any) -> str:
    with pytest.raises(ArtattackError) as caught:
        make_plan(parse_benchmark(benchmark(attack, **options)))
    message = str(caught.value)
    assert "\n" not in message
    return message


@pytest.mark.parametrize(
    ("attack", "message"),
    [
        ("nowhere.attacks:Mine", "there is no module 'nowhere': install its package"),
        ("lab.atacks:Brighter", "there is no module 'lab.atacks': install its package"),
        ("lab.attacks:Brihgter", "module lab.attacks has no 'Brihgter'; did you mean 'Brighter'?"),
        ("lab.attacks:function", "function is not a class; an attack is a class that takes an estimator"),
        ("lab.attacks:NoGenerate", "NoGenerate has no method generate; an attack is a class"),
        ("lab.attacks:NoLabels", "NoLabels has a generate that does not take images x and labels y"),
        ("lab.attacks:NoEstimator", "NoEstimator has a constructor that takes no estimator as its first argument"),
        ("lab.raising:Mine", "module lab.raising cannot be imported: RuntimeError: no luck today"),
        ("lab.leaving:Mine", "module lab.leaving cannot be imported: SystemExit: 3"),
        ("lab.broken:Mine", "module lab.broken cannot be imported: SyntaxError"),
        ("lab.dependent:Mine", "module lab.dependent needs 'no_such_library', which is not installed"),
        ("lab/attacks.py:Brighter", "write module and class as my_package.my_module:MyAttack"),
        ("brihgter", "unknown attack 'brihgter'; did you mean 'brighter'?"),
    ],
)
def test_a_class_that_is_no_attack_is_refused(attack: str, message: str) -> None:
    assert message in mistake(attack)


@pytest.mark.parametrize(
    ("attack", "options", "message"),
    [
        ("Brighter", {"epz": 0.1}, "unknown parameter of attack 'Brighter' 'epz'; did you mean 'eps'? (valid: attack,"),
        ("Brighter", {"eps": 8, "eps_norm": "linf"}, "did you mean 8/255?"),
        ("Brighter", {"steps": "3/x"}, "'3/x' is not a number"),
        ("Brighter", {"target": "tench", "targeted": False}, "`targeted` is false"),
        ("Brighter", {"eps_norm": "l3"}, "unknown distance 'l3'"),
        ("Plain", {}, "attack 'Plain' needs its parameter 'amount'"),
        ("Plain", {"amount": 1, "eps_norm": "linf"}, "eps_norm: attack 'Plain' has no number `eps`"),
        ("Plain", {"amount": 1, "target": "tench"}, "target: attack 'Plain' cannot be targeted"),
        ("Needy", {}, "needs its parameter 'name': but 'name' is a key of benchmark files"),
        ("Needy", {"max_queries": 3}, "max_queries is for attacks that read answers alone"),
        ("Darker", {"shaer": 1}, "unknown key 'attacks.0.shaer'; did you mean 'share'?"),
    ],
)
def test_parameters_are_held_against_the_class(attack: str, options: dict[str, Any], message: str) -> None:
    assert message in mistake(f"lab.attacks:{attack}", **options)


def test_an_entry_of_a_class_with_arts_contract() -> None:
    found = entry("lab.attacks:Brighter", eps="8/255", eps_norm="linf", steps=3)
    assert isinstance(found, ImportedEntry)
    assert (found.name, found.kind, found.own_ball) == ("Brighter", "baseline", ("linf", 8 / 255))
    assert found.parameters == {"eps": 8 / 255, "eps_norm": "linf", "steps": 3}
    (variant,) = found.variants(())
    assert variant.label == "Brighter/quicknet_tiny"
    assert variant.reads == (Reading("quicknet_tiny", "logits"),)
    # The default, 0.1, is the class's own.
    assert entry("lab.attacks:Brighter", eps_norm="l2").own_ball == ("l2", 0.1)
    assert entry("lab.attacks:Brighter").own_ball is None
    plan = make_plan(parse_benchmark(benchmark("lab.attacks:AnyParameter", whatever="x")))
    assert plan.variants[1].entry.parameters == {"whatever": "x"}
    assert next(entry("lab.attacks:Needy", name="n").variants(())).reads[0].what == "gradients"


def test_an_entry_of_ones_own_is_validated_and_written_as_itself() -> None:
    parsed = parse_benchmark(benchmark("lab.attacks:Darker", share=0.25))
    (found,) = parsed.attacks
    assert type(found).__name__ == "Darker"
    written = parsed.model_dump(mode="json")["attacks"]
    assert written == [{"attack": "lab.attacks:Darker", "name": "Darker", "share": 0.25}]
    assert replaced(parsed, seed=3).attacks == parsed.attacks
    assert found.code is sys.modules["lab.attacks"].Darker


def test_an_entry_point_is_listed_without_importing_it_and_stands_for_its_class() -> None:
    assert installed_attacks()["brighter"] == "lab.attacks:Brighter"
    found = CliRunner().invoke(app, ["attacks"])
    assert "lab.attacks:Brighter" in found.output
    assert "lab.attacks" not in sys.modules
    assert entry("brighter", eps=0.2).code is sys.modules["lab.attacks"].Brighter
    assert entry("brighter").name == "brighter"


def test_a_module_beside_the_benchmark_file(tmp_path: Path, lab: Path) -> None:
    folder = tmp_path / "benchmarks"
    folder.mkdir()
    (folder / "beside.py").write_text((lab / "attacks.py").read_text())
    (folder / "mine.yaml").write_text("attacks: [{attack: 'beside:Brighter', source: quicknet_tiny}]\n")
    found = load_benchmark(folder / "mine.yaml").attacks[0]
    assert source_of(found.code).name == "beside.Brighter"
    assert source_of(found.code).folder == str(folder.resolve())


def test_a_class_given_as_an_object(lab: Path) -> None:
    mine = find_attack("lab.attacks:Brighter", {})
    data = benchmark("mine", eps=0.2)
    assert parse_benchmark(data, attacks={"mine": mine}).attacks[0].name == "mine"
    with pytest.raises(ArtattackError, match=r"attacks: 'other' is given, but no entry of the benchmark names it"):
        parse_benchmark(data, attacks={"mine": mine, "other": mine})
    with pytest.raises(ArtattackError, match=r"attacks: 'pgd' is the name of another attack already"):
        parse_benchmark(data, attacks={"mine": mine, "pgd": mine})
    with pytest.raises(ArtattackError, match=r"attack 'mine': Nothing has no method generate"):
        parse_benchmark(data, attacks={"mine": type("Nothing", (), {})})


def test_code_is_known_by_its_files(lab: Path) -> None:
    source = source_of(find_attack("lab.attacks:Brighter", {}))
    assert source.name == "lab.attacks.Brighter"
    assert source.folder == str(lab.parent)
    # Another file of the package may decide images, too.
    (lab / "helpers.py").write_text("AMOUNT = 2\n")
    source_of.cache_clear()
    changed = source_of(find_attack("lab.attacks:Brighter", {}))
    assert changed.sha256 == source.sha256
    assert changed.package_sha256 != source.package_sha256
    in_a_notebook = type("Mine", (), {"__module__": "__nowhere__"})
    assert source_of(in_a_notebook)[1:] == (None, None, None)


def test_a_dry_run_finds_a_mistake(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("attacks: [{attack: brighter, source: quicknet_tiny, epz: 1}]\n")
    found = CliRunner().invoke(app, ["run", str(file), "--dry-run"])
    assert found.exit_code == 2
    assert "did you mean 'eps'?" in found.stderr
    file.write_text("images: {limit: 1}\nattacks: [{attack: brighter, source: quicknet_tiny}]\n")
    found = CliRunner().invoke(app, ["run", str(file), "--dry-run"])
    assert found.exit_code == 0, found.stderr
    assert "brighter/quicknet_tiny" in found.output
