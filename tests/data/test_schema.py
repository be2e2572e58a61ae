from __future__ import annotations

from collections import Counter

from jasco_pl.controls import CONTROLS
from jasco_pl.controls.base import Control
from jasco_pl.data.schema import FIELDS, STAGES, STAND_INS


def test_nothing_here_is_the_same_in_a_field_and_in_the_control_that_reads_it():
    """So that what a crop is padded with is a condition that was not given."""
    read = [kind for kind in CONTROLS.values() if kind.from_batch is Control.from_batch]  # painting masks the latents itself
    assert len(read) >= 6
    for kind in read:
        field, nothing = FIELDS[kind.field], kind(**kind.sizes(latent_dim=4, codebook_size=8)).null_frames(1, 1)
        assert (nothing == field.null).all(), kind.name
        assert nothing.is_floating_point() == field.dtype.is_floating_point, kind.name


def test_every_stage_has_a_source_and_fields_of_its_own():
    assert all(stage.hears_recordings() or stage.reads_pieces() for stage in STAGES.values())
    assert max(Counter(field.name for stage in STAGES.values() for field in stage.fields).values()) == 1
    assert {*STAND_INS, *STAND_INS.values()} <= set(FIELDS)
    assert all(FIELDS[field].null == FIELDS[other].null for field, other in STAND_INS.items())
