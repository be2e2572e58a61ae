from __future__ import annotations

import pytest

from jasco_pl.cli import main
from jasco_pl.data.columns import Columns
from jasco_pl.data.index import COLUMNS, INDEX, open_index, parse_index
from jasco_pl.studies import bench_index
from jasco_pl.studies.bench_index import IndexCost, index_costs, simulate
from jasco_pl.system.errors import UserError


def test_a_simulated_index_is_the_same_in_both_forms(tmp_path):
    simulate(tmp_path, 50)
    parsed = parse_index((tmp_path / INDEX).read_bytes(), "simulated")
    columns = open_index(tmp_path)
    assert len(columns) == 50
    assert columns.path == tmp_path / COLUMNS
    assert all((columns.arrays[name] == array).all() for name, array in parsed.arrays.items() if name != "about")
    assert Columns.open(tmp_path / COLUMNS).counts.tolist() == [16, 16, 16, 2]


class Sent:
    """The end of a pipe that a process would write to."""

    def send(self, cost: IndexCost) -> None:
        self.cost = cost

    def close(self) -> None:
        pass


def test_columns_open_sooner_than_json(tmp_path):
    simulate(tmp_path, 20_000)
    costs = {}
    for form in (COLUMNS, INDEX):
        bench_index._measure(sent := Sent(), tmp_path, form, [0, 1], 16, 8)
        costs[form] = sent.cost
    assert costs[COLUMNS].bytes < costs[INDEX].bytes == (tmp_path / INDEX).stat().st_size
    assert 3 * costs[COLUMNS].open < costs[INDEX].open
    assert all(list(cost.memory) == [0, 1] for cost in costs.values())


@pytest.mark.slow
def test_the_command_prints_both_forms(capsys):
    assert main(["bench", "data", "--simulate", "20000", "--workers", "0", "1"]) == 0
    lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in capsys.readouterr().out.splitlines() if line.startswith("|")]
    assert lines[0] == ["index", "file", "opened", "order", "resumed", "peak", "own memory, 0 workers", "own memory, 1 workers"]
    assert [row[0] for row in lines[2:]] == [COLUMNS, INDEX]
    columns, text = ([float(cell.removesuffix(" MB")) for cell in row[-2:]] for row in lines[2:])
    for ours, theirs in zip(columns, text, strict=True):  # in processes of their own, which have no freed memory to take it from
        assert theirs > ours + 5


def test_what_cannot_be_simulated_is_one_sentence(monkeypatch):
    with pytest.raises(UserError, match="must be positive"):
        next(index_costs(0, [0], 16, 8))
    monkeypatch.setattr(bench_index, "_free", lambda: 10**9)
    with pytest.raises(UserError, match=r"1000000 samples as JSON may take 2\.5 GB of memory; 1\.0 GB are free"):
        next(index_costs(10**6, [0], 16, 8))
