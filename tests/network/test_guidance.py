from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from jasco_pl.network.flow.guidance import Guidance, Term, Written, guided_velocity, parse_guidance
from jasco_pl.system.errors import UserError

LOCAL = ["chords", "melody", "drums"]
ALL = frozenset(["text", *LOCAL])


def read(text: str | dict[str, float], local: list[str] = LOCAL) -> dict[frozenset[str], float]:
    return {term.conditions: pytest.approx(term.weight) for term in parse_guidance(text, local).terms}


def test_the_null_term_takes_what_is_missing_to_one() -> None:
    assert read("all=1.5 text=0.5") == {ALL: 1.5, frozenset(["text"]): 0.5, frozenset(): -1.0}
    assert read("drums=0.25") == {frozenset(["drums"]): 0.25, frozenset(): 0.75}
    assert read("all=3, text=-0.5") == {ALL: 3.0, frozenset(["text"]): -0.5, frozenset(): -1.5}


@pytest.mark.parametrize("text", ["all=1.5 text=0.5", "local=2 text+chords=1.1 melody=-3", "all=1", "text=0", ""])
def test_weights_sum_to_one(text: str) -> None:
    assert sum(term.weight for term in parse_guidance(text, LOCAL).terms) == pytest.approx(1.0)


def test_sets_are_written_in_several_ways() -> None:
    assert set(read("text+chords=2")) == {frozenset(["text", "chords"]), frozenset()}
    assert set(read("local=2")) == {frozenset(LOCAL), frozenset()}
    assert read("text+local=2") == read("all=2") == read({"all": 2.0}) == read({"drums+melody+text+chords": 2})


def test_terms_of_weight_zero_are_left_out() -> None:
    assert read("all=1") == {ALL: 1.0}
    assert read("all=1 text=0") == {ALL: 1.0}
    assert read("all=0.6 text=0.4") == {ALL: 0.6, frozenset(["text"]): 0.4}
    assert read("all=0") == read("") == {frozenset(): 1.0}


@pytest.mark.parametrize("text", ["from=0.05", "over=text", "over=text from=0.05"])
def test_a_guidance_without_a_weight_is_refused(text: str) -> None:
    """It would throw away all that was asked for."""
    with pytest.raises(UserError, match="gives no set of conditions a weight"):
        read(text)


def test_names_of_the_same_set_add_up() -> None:
    assert read("all=1.5 text=0.5", []) == {frozenset(["text"]): 2.0, frozenset(): -1.0}
    assert read("local=1 chords=0.5", ["chords"]) == {frozenset(["chords"]): 1.5, frozenset(): -0.5}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("all", "'all' is not NAME=WEIGHT"),
        ("all=much", "'all=much' is not NAME=WEIGHT"),
        ("all=nan", "'all' the weight nan"),
        ("text=inf", "'text' the weight inf"),
        ("bass=1", "condition 'bass'; this model has: all, local, text, chords, melody, drums"),
        ("text+=1", "condition ''"),
        ("text=1 text=2", "'text' twice"),
        ("all=2 from=0.1 from=0.2", "'from' twice"),
        ("all=2 from=1", "from flow time 1, where a number from 0 to below 1 is accepted"),
        ("all=2 from=-0.1", "from flow time -0.1"),
        ("all=2 from=nan", "from flow time nan"),
        ("all=2 from=start", "'from=start' is not NAME=WEIGHT, as in 'all=1.5 text=0.5', nor over=SET or from=TIME"),
        ("all=2 over=bass", "condition 'bass'"),
        ("all=2 over=text over=chords", "'over' twice"),
        ("all=2 over=2", "condition '2'"),
        ("all=2 over=all", "over=all leaves nothing to exaggerate"),
        ("all=2 from=", "'from=' is not NAME=WEIGHT"),
        ("text+chords=1 chords+text=2", "'chords\\+text' twice"),
    ],
)
def test_what_cannot_be_read_is_one_sentence(text: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        parse_guidance(text, LOCAL)


class Counted:
    """A velocity that tells its rows apart: row r of term k is z + 10^k, and remembers how it was called."""

    def __init__(self) -> None:
        self.rows: list[int] = []
        self.times: list[list[float]] = []
        self.seen: list[set[frozenset[str]]] = []

    def __call__(self, terms: tuple[Term, ...]) -> Callable[[Tensor, Tensor], Tensor]:
        def velocity(z: Tensor, t: Tensor) -> Tensor:
            self.rows.append(z.shape[0])
            self.times.append(t.tolist())
            self.seen.append({term.conditions for term in terms})
            return z + (10.0 ** torch.arange(len(terms))).repeat_interleave(z.shape[0] // len(terms))[:, None, None]

        return velocity


def test_terms_are_evaluated_in_one_batch_and_weighted() -> None:
    velocity = Counted()
    z = torch.arange(2 * 3 * 4.0).view(2, 3, 4)
    out = guided_velocity(velocity, parse_guidance("all=1.5 text=0.5", LOCAL))(z, torch.tensor(0.25))
    # equation 4: 1.5 (z + 1) + 0.5 (z + 10) - 1 (z + 100)
    torch.testing.assert_close(out, z + 1.5 + 5.0 - 100.0)
    assert velocity.rows == [6]
    assert velocity.times == [[0.25] * 6]


@pytest.mark.parametrize(("text", "rows"), [("all=1.5 text=0.5", 3), ("all=2", 2), ("all=1", 1), ("all=1 text=0", 1), ("all=0", 1)])
def test_only_terms_with_a_weight_cost_rows(text: str, rows: int) -> None:
    velocity = Counted()
    guided_velocity(velocity, parse_guidance(text, LOCAL))(torch.zeros(5, 2, 2), torch.tensor(0.0))
    assert velocity.rows == [5 * rows]


def test_a_single_weighted_term_is_weighted() -> None:
    out = guided_velocity(Counted(), Guidance((Term(ALL, 0.5),)))(torch.zeros(1, 2, 2), torch.tensor(0.0))
    assert out.flatten().tolist() == [0.5] * 4


def test_before_its_start_guidance_is_one_row_of_all_that_is_named() -> None:
    velocity = Counted()
    field = guided_velocity(velocity, parse_guidance("text+chords=2 drums=0.5 from=0.05", LOCAL))
    z = torch.randn(2, 3, 4)
    for time in (0.0, 0.0499, 0.05, 0.9):
        out = field(z, torch.tensor(time))
        # 2 (z + 1) + 0.5 (z + 10) - 1.5 (z + 100) from the start on
        torch.testing.assert_close(out, z + (1.0 if time < 0.05 else 2.0 + 5.0 - 150.0), atol=1e-4, rtol=1e-5)
    assert velocity.rows == [2, 2, 6, 6]
    named, drums = frozenset(["text", "chords"]), frozenset(["drums"])
    assert velocity.seen[:2] == [{named | drums}] * 2
    assert velocity.seen[2:] == [{named, drums, frozenset()}] * 2


def test_a_start_is_read_from_words_and_mappings_and_none_is_zero() -> None:
    assert parse_guidance("all=2, from=0.05", LOCAL) == parse_guidance({"all": 2, "from": 0.05}, LOCAL)
    assert parse_guidance("from=0 all=2", LOCAL) == parse_guidance("all=2", LOCAL)
    assert parse_guidance("all=2 from=0.05", LOCAL).terms == parse_guidance("all=2", LOCAL).terms


def test_the_reference_may_see_a_set() -> None:
    text = frozenset(["text"])
    assert parse_guidance("all=2.5 over=text", LOCAL).terms == (Term(ALL, 2.5), Term(text, -1.5, reference=True))
    assert parse_guidance("all=1.5 text=0.5 over=text", LOCAL).terms == (Term(ALL, 1.5), Term(text, 0.5), Term(text, -1.0, reference=True))
    assert parse_guidance("all=1 over=text", LOCAL).terms == (Term(ALL, 1.0),)
    chords = frozenset(["text", "chords"])  # what the reference sees every set sees
    assert parse_guidance("chords=2 over=text", LOCAL).terms == (Term(chords, 2.0), Term(text, -1.0, reference=True))


@pytest.mark.parametrize("text", ["all=2.5", "all=1.5 text=0.5 over=text", "all=2 over=text from=0.05", "from=0.1 chords=1, all=2"])
def test_a_guidance_is_written_as_it_was_read(text: str) -> None:
    assert parse_guidance(str(Written.read(text)), LOCAL) == parse_guidance(text, LOCAL)
