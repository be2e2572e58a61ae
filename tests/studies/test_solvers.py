from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from matplotlib.image import imread
from torch import Tensor

from jasco_pl.cli import main
from jasco_pl.network.flow.solver import Field
from jasco_pl.studies import solvers as module
from jasco_pl.studies.solvers import SolverBench, fit_times, runge_kutta, solver_distances

FITTED = [0.0, 0.03, 0.08, 0.2, 1.0]


def bending(z: Tensor, t: Tensor) -> Tensor:
    """z(1) = exp(1 - exp(-20)) z(0), most of it in the first tenth."""
    return 20 * torch.exp(-20 * t) * z


@pytest.fixture
def problem(monkeypatch: pytest.MonkeyPatch) -> None:
    def field_of(items: slice) -> Field:
        return bending

    monkeypatch.setattr(module, "_problem", lambda bench: (field_of, torch.ones(3, 2, 4, dtype=torch.float64), FITTED))


def test_runge_kutta_converges_with_the_fourth_power() -> None:
    exact, start = math.exp(1 - math.exp(-20)), torch.ones(1, 1, 1, dtype=torch.float64)
    errors = [abs(float(runge_kutta(lambda z, t: bending(z, t.double()), start, steps)) - exact) for steps in (12, 24)]
    assert errors[1] < 1e-4
    assert math.log2(errors[0] / errors[1]) > 3.5


def test_distances_begin_with_how_far_the_reference_is_converged(problem: None) -> None:
    bench = SolverBench("any", "any", evaluations=(4, 8), methods=("midpoint",), tolerances=(1e-3,))
    found = list(solver_distances(bench))
    names = [(one.solver, one.evaluations) for one in found]
    assert names[:5] == [
        ("Runge-Kutta 4, half of its steps", 48),
        ("midpoint, uniform", 4),
        ("midpoint, fitted", 4),
        ("midpoint, uniform", 8),
        ("midpoint, fitted", 8),
    ]
    assert found[-1].solver == "dopri5"
    assert found[0].mean < 1e-3
    assert all(len(one.items) == 3 for one in found)
    assert found[4].mean < found[3].mean


def test_times_are_fitted_to_where_the_velocity_bends(problem: None) -> None:
    times = fit_times(SolverBench("any", "any"), parts=8)
    assert (times[0], times[-1], len(times)) == (0.0, 1.0, 9)
    assert times == sorted(times)
    assert times[5] < 0.2 < times[7]


def test_the_command_writes_a_table_a_plot_and_all_figures(problem: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    image, figures = tmp_path / "plot.png", tmp_path / "all.json"
    options = ["--evaluations", "4", "8", "--image", str(image), "--json", str(figures)]
    assert main(["bench", "solvers", *options]) == 0
    assert "| midpoint, fitted" in capsys.readouterr().out
    assert image.read_bytes()[:4] == b"\x89PNG"
    assert {one["solver"] for one in json.loads(figures.read_text())["distances"]} >= {"euler, uniform", "dopri5"}
    assert main(["bench", "solvers", "--fit"]) == 0
    assert capsys.readouterr().out.startswith('"times": [0.0, ')


def test_what_was_heard_is_drawn_beside_the_distances(problem: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def row(solver: str, chords: float, conditions: str = "all controls") -> dict[str, Any]:
        figures = {"chord_iou": {"mean": chords, "low": chords - 0.1, "high": chords + 0.1, "count": 3}}
        figures["frechet_musicnn"] = {"mean": 20 * chords, "low": None, "high": None, "count": 15}
        return {"name": conditions, "conditions": conditions, "checkpoint": "any", "solver": solver, "figures": figures}

    rows = [row("midpoint 10", 0.6), row("midpoint 4, fitted", 0.5), row("midpoint 6, fitted", 0.6), row("midpoint 9", 0.1, "no control")]
    one = {"guidance": "all=2", "solver": {}, "seconds": 10.0, "seed": 0}
    settings = {"source": "x", "about": "y", "clips": 3, "matrix": [one, one]}
    results = {"settings": settings, "rows": rows, "columns": [{"key": "chord_iou", "title": "chord IoU", "digits": 3}]}
    (tmp_path / "results.json").write_text(json.dumps(results))
    assert {kind: sorted(counts) for kind, counts in module.heard_in([results]).items()} == {
        "midpoint, fitted": [8, 12],
        "midpoint, uniform": [18, 20],
    }
    plain, wide = tmp_path / "plain.png", tmp_path / "wide.png"
    options = ["bench", "solvers", "--evaluations", "4", "--json", str(tmp_path / "all.json")]
    assert main([*options, "--image", str(plain)]) == 0
    assert main([*options, "--image", str(wide), "--evaluation", str(tmp_path)]) == 0
    assert imread(wide).shape[1] == 2 * imread(plain).shape[1]
    (tmp_path / "results.json").write_text(json.dumps(results | {"rows": rows[3:]}))
    capsys.readouterr()
    assert main([*options, "--image", str(wide), "--evaluation", str(tmp_path)]) == 2
    assert "has a row of all controls" in capsys.readouterr().err


@pytest.mark.parametrize("options", [["--evaluations", "5"], ["--evaluations", "0"], ["--limit", "0"], ["--reference-steps", "1"]])
def test_what_cannot_be_measured_is_one_sentence(options: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "solvers", *options]) == 2
    assert len(capsys.readouterr().err.strip().splitlines()) == 1
