from __future__ import annotations

import numpy as np
import pytest
import torch

from jasco_pl.system.errors import UserError
from jasco_pl.training.vocoder.remade import Remade, remake


def test_remade_latents_are_those_of_the_recordings_but_for_what_the_model_makes_of_them(make_module, tmp_path, write_tiny_shards) -> None:
    model = make_module().model.eval()
    samples = {sample.id: sample.tensors["latents"].float().numpy() for sample in write_tiny_shards(tmp_path / "set", samples=6)}
    errors = []
    for name, earliest in (("late", 0.89), ("early", 0.0)):
        remake(model, str(tmp_path / "set"), tmp_path / name, crops=6, batch=2, earliest=earliest)
        files = sorted((tmp_path / name).glob("*.remade.npz"))
        assert len(files) == 6
        distances = []
        for path in files:
            recording, start = path.name.removesuffix(".remade.npz").split("@")
            read = Remade(tmp_path / name).read(tmp_path / f"{recording}.mix.flac", 0.0)
            assert read is not None
            latents, first = read
            assert first == int(start)
            whole = samples[recording][first : first + len(latents)]
            assert np.isfinite(latents).all()
            distances.append(np.abs(latents[: len(whole)] - whole).mean())
        errors.append(np.mean(distances))
    assert errors[0] < 0.5 * errors[1]
    assert Remade(tmp_path / "late").read(tmp_path / "another.mix.flac", 0.0) is None
    with pytest.raises(UserError, match="no flow time to begin at"):
        remake(model, str(tmp_path / "set"), tmp_path / "none", crops=2, earliest=0.95)
    assert torch.is_grad_enabled()
