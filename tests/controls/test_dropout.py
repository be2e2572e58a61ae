from __future__ import annotations

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from jasco_pl.controls.conditions import ConditionDropout
from jasco_pl.notation.stretches import runs
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
    ("options", "name"),
    [({"everything": 1.2}, "everything"), ({"each": -0.1}, "each"), ({"exceptions": {"text": 20}}, "text"), ({"stretch": 2}, "stretch")],
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


def test_painting_alone_takes_the_other_controls_away_and_leaves_text_as_it_was() -> None:
    names, options = [*NAMES, "painting"], {"text_alone": 0.2, "exceptions": {"painting": 0.7}}
    before = shares(ConditionDropout(0.1, 0.2, **options), names)[2]
    kept, _, after = shares(ConditionDropout(0.1, 0.2, **options, painting_alone=0.25), names)
    assert torch.equal(after[:, 0], before[:, 0])
    changed = (before != after).any(1)
    alone = after[:, 4] & ~after[:, 1:4].any(1)
    assert alone[changed].all()
    assert float(alone.float().mean()) == pytest.approx(0.9 * 0.8 * (0.25 + 0.75 * 0.3 * 0.2**3), abs=0.015)
    assert kept["painting"] == pytest.approx(0.9 * 0.8 * (0.25 + 0.75 * 0.3), abs=0.015)
    assert kept["chords"] == pytest.approx(0.9 * 0.8 * 0.75 * 0.8, abs=0.015)
    with pytest.raises(UserError, match=r"leaves painting alone \(painting_alone\), and there is none; this model has: text, chords"):
        ConditionDropout(painting_alone=0.25).check(["text", "chords"])


def test_without_stretches_masks_are_those_of_before() -> None:
    sounding = torch.ones(50, 20, dtype=torch.bool)
    dropout = ConditionDropout(text_alone=0.1)
    for name, mask in dropout.draw(NAMES, torch.arange(50), sounding).items():
        assert torch.equal(mask, dropout.draw(NAMES, torch.arange(50))[name])


def test_stretches_are_kept_or_lost_of_local_conditions() -> None:
    frames, names = 100, [*NAMES, "painting"]
    sounding = torch.ones(4000, 120, dtype=torch.bool)
    sounding[:, frames:] = False
    whole = ConditionDropout(0.1, 0.2).draw(names, torch.arange(4000))
    cut = ConditionDropout(0.1, 0.2, stretch=0.4).draw(names, torch.arange(4000), sounding)
    assert torch.equal(cut["text"], whole["text"])
    assert torch.equal(cut["painting"], whole["painting"])
    for name in ("chords", "melody", "drums"):
        inside = cut[name][:, :frames]
        assert not inside[~whole[name]].any()  # nothing that was dropped comes back
        kept = inside[whole[name]]
        parts = [runs(row.numpy()) for row in kept if not row.all()]
        assert len(parts) / len(kept) == pytest.approx(0.4, abs=0.03)
        assert all(1 <= len(part) <= 2 for part in parts)
        shares = torch.tensor([sum(last - first for first, last in part) for part in parts]).double() / frames
        assert (shares.min(), shares.max()) == pytest.approx((0.1, 0.9), abs=0.02)
        assert shares.mean() == pytest.approx(0.5, abs=0.03)
        lost = [part for part in parts if len(part) == 2]  # a stretch in the middle is lost
        assert len(lost) / len(parts) == pytest.approx(0.5 * 2 / 3, abs=0.05)
    assert not torch.equal(cut["chords"][whole["chords"] & whole["drums"]], cut["drums"][whole["chords"] & whole["drums"]])
    alone = ConditionDropout(0.1, 0.2, stretch=0.4).draw(names, torch.arange(7, 8), sounding[:1])["drums"]
    assert torch.equal(alone[0], cut["drums"][7])  # by its own key, whatever the batch


def test_stretches_are_drawn_without_looking_at_values() -> None:
    """Which a CUDA graph could not hold: fake tensors have none."""
    with FakeTensorMode():
        masks = ConditionDropout(text_alone=0.1, stretch=0.4).draw(NAMES, torch.arange(4), torch.ones(4, 20, dtype=torch.bool))
    assert masks["chords"].shape == (4, 20)
