from __future__ import annotations

import pytest
import torch

from jasco_pl.metrics.distances import clap_score
from jasco_pl.system.errors import UserError


def test_is_the_cosine_whatever_the_lengths() -> None:
    audio = torch.tensor([[2.0, 0.0], [1.0, 1.0], [0.0, -3.0]])
    text = torch.tensor([[5.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    assert clap_score(audio, text).tolist() == pytest.approx([1.0, 0.5**0.5, -1.0])


def test_pairs_must_match() -> None:
    with pytest.raises(UserError, match="no pairs"):
        clap_score(torch.zeros(2, 4), torch.zeros(3, 4))
