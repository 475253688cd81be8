"""docs/analyses.ipynb: its code runs, and its text agrees with a small run made by hand."""

import ast
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from artattack.results.run_folder import RunFolder

NOTEBOOK = Path(__file__).resolve().parents[1] / "docs" / "analyses.ipynb"


def rows(flips: str, classifier: str, l2: float, **values: Any) -> list[dict[str, Any]]:
    """Records with a letter for each image: flipped (x), not (.), failed (e)."""
    return [
        {
            "image": f"i{number}",
            "classifier": classifier,
            "l2": l2,
            **({"error": "out of memory"} if letter == "e" else {"flip": letter == "x"}),
            **({} if letter == "e" else {"confidence_shift": -0.5 if letter == "x" else -0.1}),
            **values,
        }
        for number, letter in enumerate(flips)
    ]


PGD = {"kind": "baseline", "attack": "pgd", "source": "lite0"}
STYLE = {"kind": "style", "attack": "style", "style": "waves", "source": "bnn"}
NOISE = {"kind": "control", "attack": "noise", "matched_to": "style/waves/bnn"}
RECORDS = [
    {"image": "unreadable", "error": "no image"},
    *rows("....", "bnn", 0, kind="clean", attack="clean"),
    *rows("....", "lite0", 0, kind="clean", attack="clean"),
    *rows("xxxx", "bnn", 8, **PGD),
    *rows("xx..", "lite0", 8, **PGD),
    *rows("x...", "bnn", 30, **STYLE),
    *rows("x.x.", "lite0", 30, **STYLE),
    *rows("....", "lite0", 30, **NOISE),
    *rows("xxxx", "lite0", 2, **PGD, budget_distance="l2", budget=2.0),
]


def run_notebook(folder: Path, records: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Run every code cell in a checkout whose reference run holds the records.

    Returns:
        The names the cells have left, and under "shown" what Jupyter would display after each, the last expression.
    """
    run = RunFolder.create(folder / "results" / "reference", {"config": {}})
    run.write_cell("all", records)
    run.finish(["all"])
    monkeypatch.chdir(folder)
    names: dict[str, Any] = {"shown": []}
    for cell in json.loads(NOTEBOOK.read_text())["cells"]:
        if cell["cell_type"] == "code":
            *statements, last = ast.parse("".join(cell["source"])).body
            assert isinstance(last, ast.Expr)
            exec(compile(ast.Module(statements, []), cell["id"], "exec"), names)
            names["shown"].append(eval(compile(ast.Expression(last.value), cell["id"], "eval"), names))
    return names


def test_the_cells_describe_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    names = run_notebook(tmp_path, RECORDS, monkeypatch)
    counts, rates, agreement, by_distance, controls = names["shown"]
    assert counts.to_dict() == {"image": 4, "variant": 2, "classifier": 2}
    assert rates[["variant", "classifier", "flip_rate"]].values.tolist()[0] == ["pgd/lite0", "bnn", 1]
    assert len(rates) == 5  # not the untouched images, not the budget
    assert (rates["flip_rate_low"].iloc[0], rates["flip_rate_high"].iloc[0]) == (0.51, 1)  # 4 / (4 + 1.96**2)
    assert capsys.readouterr().out == "lite0: all attacks flip ['i0'], none flips ['i3']\n"
    assert agreement.index.tolist() == ["pgd/lite0", "style/waves/bnn"]
    np.testing.assert_array_equal(agreement, np.eye(2))  # xx.. and x.x. say nothing of one another
    assert by_distance.loc[("lite0", "baseline")]["mean"].tolist() == [-0.3]
    assert [str(index) for index in by_distance.loc[("lite0", "style")].index] == ["(20.0, 40.0]"]
    assert by_distance["count"].tolist() == [4, 4, 4, 4]
    (control,) = controls.to_dict("records")
    assert (control["variant"], control["control"]) == ("style/waves/bnn", "noise as style/waves/bnn")
    assert (control["flip_rate"], control["difference"], control["p_holm"]) == (0.5, 0.5, 0.5)  # 2 * (1/2)**2
    assert control["verdict"] == "no better"


def test_the_cells_run_where_images_failed_and_nothing_flips(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    records = rows(".e..", "lite0", 3, **PGD) + rows("...e", "lite0", 3, **STYLE)
    names = run_notebook(tmp_path, records, monkeypatch)
    assert names["flipped_by_all"] == []
    assert names["flipped_by_none"] == ["i0", "i2"]
    assert all(map(math.isnan, names["agreement"].to_numpy().ravel()))
    assert isinstance(names["judged"], pd.DataFrame)


def test_it_is_a_notebook_of_the_current_format_without_outputs() -> None:
    notebook = json.loads(NOTEBOOK.read_text())
    assert (notebook["nbformat"], notebook["nbformat_minor"]) == (4, 5)
    ids = [cell["id"] for cell in notebook["cells"]]
    assert len(set(ids)) == len(ids)
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            assert cell["outputs"] == []
            assert cell["execution_count"] is None
