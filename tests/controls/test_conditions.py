from __future__ import annotations

import torch

from jasco_pl.controls import CONTROLS, Chords, Drums, Melody, all_options, stored_fields
from jasco_pl.controls.conditions import Conditions, ControlSet, drop_text
from jasco_pl.controls.options import DURING, WHOLE
from jasco_pl.data.schema import FIELDS
from jasco_pl.notation.timed_text import ALWAYS


def controls() -> ControlSet:
    drums = Drums(codebook_size=10, codebook_dim=6)
    drums.codebook.copy_(torch.randn(10, 6))
    return ControlSet({"chords": Chords(), "melody": Melody(), "drums": drums})


def conditions(batch: int = 3, frames: int = 8) -> Conditions:
    local = {
        "chords": torch.randint(0, 194, (batch, frames)),
        "melody": torch.randint(-1, 53, (batch, frames)),
        "drums": torch.randint(0, 10, (batch, frames)),
    }
    mask = torch.arange(5) < torch.tensor([[5], [2], [3]])[:batch]
    return Conditions(local, torch.randn(batch, 5, 4) * mask[..., None], mask)


def test_registry_knows_controls_by_their_names_and_each_states_its_contract() -> None:
    for name, kind in CONTROLS.items():
        assert kind.name == name
        control = kind(**kind.sizes(6, 10))
        raw = control.null_frames(2, 3)
        assert (raw.dtype, raw.shape) == (control.dtype, (2, 3, *control.frame_shape))
        assert control(raw).shape == (2, 3, control.channels)


def test_options_of_one_name_are_one_option() -> None:
    """Controls that follow the same thing share it; no other may take its name, nor that of another flag of `jasco generate`."""
    assert {option for control in CONTROLS.values() for option in control.options()} == set(all_options().values()) - set(WHOLE)
    assert all_options()["during"] is DURING
    assert not {"text", "seed"} & set(all_options())


def test_training_reads_the_fields_of_the_controls() -> None:
    assert stored_fields(["chords", "melody", "drums"]) == ["chords", "melody", "codes_drums"]
    assert stored_fields(["drumless", "painting", "drums_bandpass", "mix"]) == ["codes_drumless", "codes_drums_bandpass", "codes_mix"]
    assert stored_fields([]) == stored_fields(["painting"]) == []  # latents are read in any case
    assert set(stored_fields(CONTROLS)) < set(FIELDS)


def test_projections_stand_side_by_side_in_order() -> None:
    wanted, given = controls(), conditions()
    out = wanted(given)
    assert wanted.channels == 16 + 16 + 2
    assert wanted.names == ["chords", "melody", "drums"]
    parts = [wanted[name](given.local[name]) for name in wanted.names]
    torch.testing.assert_close(out, torch.cat(parts, dim=-1))
    assert ControlSet({"drums": wanted["drums"], "chords": wanted["chords"]}).names == ["drums", "chords"]  # type: ignore[dict-item]


def test_no_controls_at_all() -> None:
    given = conditions()
    wanted = ControlSet({})
    assert (wanted.names, wanted.channels) == ([], 0)
    assert wanted(given).shape == (3, 1, 0)
    kept = wanted.only(given, frozenset())
    assert not kept.text.any()


def test_keep_drops_single_conditions_of_single_samples() -> None:
    wanted, given = controls(), conditions()
    masks = {"chords": torch.tensor([True, False, True]), "drums": torch.tensor([False, False, True])}
    kept = wanted.keep(given, masks)
    assert torch.equal(kept.local["chords"][[0, 2]], given.local["chords"][[0, 2]])
    assert (kept.local["chords"][1] == 194).all()
    assert (kept.local["drums"][:2] == -1).all()
    assert torch.equal(kept.local["drums"][2], given.local["drums"][2])
    assert torch.equal(kept.local["melody"], given.local["melody"])  # not named: kept
    assert torch.equal(kept.text, given.text)
    assert (given.local["chords"] < 194).all()  # the batch itself is untouched


def test_keep_drops_single_frames_of_every_control() -> None:
    for name, kind in CONTROLS.items():
        control = kind(**kind.sizes(6, 10))
        raw, null = torch.zeros(2, 3, *control.frame_shape, dtype=control.dtype), control.null_frames(2, 3)
        mask = torch.tensor([[True, False, True], [False, False, True]])
        kept = control.drop(raw, mask)
        assert torch.equal(kept[mask], raw[mask]), name
        assert torch.equal(kept[~mask].nan_to_num(-7), null[~mask].nan_to_num(-7)), name


def test_null_frames_of_audio_are_null_before_the_blur() -> None:
    """A cut inside a window leaves the mean of what is kept of it and zeros."""
    drums = Drums(codebook_size=10, codebook_dim=6)
    drums.codebook.copy_(torch.randn(10, 6))
    raw, mask = torch.randint(0, 10, (1, 6)), torch.tensor([[True, True, False, False, False, False]])
    with torch.no_grad():
        out = drums(drums.drop(raw, mask))
        mean = drums.codebook[raw[0, :2]].sum(dim=0) / 3
        torch.testing.assert_close(out[0, 0], drums.projection(mean))
        torch.testing.assert_close(out[0, 3:], drums(drums.null_frames(1, 3))[0])


def test_dropped_text_is_one_zero_state() -> None:
    given = conditions()
    text, mask = drop_text(given.text, given.text_mask, torch.tensor([False, True, False]))
    assert mask.tolist() == [[True] + [False] * 4, [True, True] + [False] * 3, [True] + [False] * 4]
    assert not text[0].any()
    assert not text[2].any()
    assert torch.equal(text[1], given.text[1])


def test_texts_over_time_are_cut_with_their_frames_and_dropped_with_their_states() -> None:
    wanted, given = controls(), conditions()
    assert given.window(2, 5).text_frames is None
    given.text_frames = torch.tensor([[0, 4], [4, 6], [6, 8], [6, 8], [6, 8]]).expand(3, -1, -1).clone()
    part = given.window(3, 7)
    assert part.local["melody"].shape == (3, 4)
    assert part.text_frames[0].tolist() == [[-3, 1], [1, 3], [3, 5], [3, 5], [3, 5]]
    assert given.items(slice(1, 2)).text_frames.tolist() == [[[0, 4], [4, 6]]]
    kept = wanted.keep(given, {"text": torch.tensor([False, True, False])})
    assert kept.text_frames[:, 0].tolist() == [[0, ALWAYS], [0, 4], [0, ALWAYS]]
    assert torch.equal(wanted.keep(given, {"chords": torch.zeros(3, dtype=torch.bool)}).text_frames, given.text_frames)
    assert torch.equal(wanted.only(given, frozenset(["text"])).text_frames, given.text_frames)
    assert given.to("cpu").text_frames is not None


def test_only_keeps_what_a_guidance_term_names() -> None:
    wanted, given = controls(), conditions()
    seen = wanted.only(given, frozenset(["text", "melody"]))
    assert torch.equal(seen.local["melody"], given.local["melody"])
    assert (seen.local["chords"] == 194).all()
    assert (seen.local["drums"] == -1).all()
    assert torch.equal(seen.text, given.text)
    nothing = wanted.only(given, frozenset())
    assert (nothing.local["melody"] == -1).all()
    assert nothing.text_mask.sum(1).tolist() == [1, 1, 1]


def test_items_leave_the_padding_of_the_others_behind() -> None:
    given = conditions()
    one = given.items(slice(1, 2))
    assert one.text.shape == (1, 2, 4)
    assert one.text_mask.tolist() == [[True, True]]
    assert torch.equal(one.text[0], given.text[1, :2])
    assert torch.equal(one.local["melody"], given.local["melody"][1:2])
    assert given.items(slice(None)).text.shape == (3, 5, 4)
