from __future__ import annotations

import pytest
import torch

from jasco_pl.controls.conditions import ConditionDropout
from jasco_pl.system.errors import UserError

NAMES = ["text", "chords", "melody", "drums"]
DRAWS = 10_000


def shares(dropout: ConditionDropout, names: list[str]) -> tuple[dict[str, float], float, torch.Tensor]:
    """How often each condition is kept, how often none is, and the masks [draws, names]."""
    masks = dropout.draw(names, torch.arange(DRAWS))
    kept = torch.stack([masks[name] for name in names], dim=1)
    return {name: float(masks[name].float().mean()) for name in names}, float((~kept.any(1)).float().mean()), kept


def test_everything_goes_together_and_each_on_its_own() -> None:
    kept, nothing, masks = shares(ConditionDropout(0.2, 0.5), NAMES)
    assert kept == pytest.approx(dict.fromkeys(NAMES, 0.8 * 0.5), abs=0.015)
    assert nothing == pytest.approx(0.2 + 0.8 * 0.5**4, abs=0.015)
    together = float((masks[:, 0] & masks[:, 1]).float().mean())
    assert together == pytest.approx(0.8 * 0.25, abs=0.015)  # independent, but for the shared 20 %


def test_an_exception_for_what_a_model_lacks_is_one_sentence() -> None:
    dropout = ConditionDropout(exceptions={"paintng": 0.7})
    with pytest.raises(UserError, match="exception for the condition 'paintng'; this model has: text, chords, painting"):
        dropout.check(["text", "chords", "painting"])
    ConditionDropout(exceptions={"painting": 0.7, "text": 0.1}).check(["text", "painting"])


@pytest.mark.parametrize(
    ("options", "name"), [({"everything": 1.2}, "everything"), ({"each": -0.1}, "each"), ({"exceptions": {"text": 20}}, "text")]
)
def test_rates_are_probabilities(options: dict, name: str) -> None:
    with pytest.raises(UserError, match=f"dropout of '{name}' is a probability from 0 to 1"):
        ConditionDropout(**options)


def test_exceptions_have_their_own_rate() -> None:
    kept, _, _ = shares(ConditionDropout(exceptions={"text": 0.2, "drums": 0.9}), NAMES)
    expected = {"text": 0.8 * 0.8, "chords": 0.4, "melody": 0.4, "drums": 0.8 * 0.1}
    assert kept == pytest.approx(expected, abs=0.015)


def test_extremes() -> None:
    assert shares(ConditionDropout(0.0, 0.0), NAMES)[0] == dict.fromkeys(NAMES, 1.0)
    assert shares(ConditionDropout(1.0, 0.0), NAMES)[1] == 1.0


def test_a_sample_is_drawn_by_its_key_whatever_the_batch() -> None:
    dropout = ConditionDropout(text_alone=0.1)
    keys = torch.arange(200)
    together = torch.stack(list(dropout.draw(NAMES, keys).values()), dim=1)
    assert torch.equal(torch.cat([torch.stack(list(dropout.draw(NAMES, key[None]).values()), dim=1) for key in keys]), together)
    assert len({tuple(row) for row in together.tolist()}) > 8


def test_text_alone_leaves_the_draws_of_all_others() -> None:
    before = shares(ConditionDropout(0.1, 0.2), NAMES)[2]
    kept, nothing, after = shares(ConditionDropout(0.1, 0.2, text_alone=0.3), NAMES)
    alone = after[:, 0] & ~after[:, 1:].any(1)
    assert float(alone.float().mean()) == pytest.approx(0.9 * (0.3 + 0.7 * 0.8 * 0.2**3), abs=0.015)
    assert kept["chords"] == pytest.approx(0.9 * 0.7 * 0.8, abs=0.015)
    assert nothing == pytest.approx(0.1 + 0.9 * 0.7 * 0.2**4, abs=0.015)
    changed = (before != after).any(1)
    assert alone[changed].all()
