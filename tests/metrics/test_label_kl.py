from __future__ import annotations

import math

import pytest
import torch

from jasco_pl.metrics.distances import label_kl
from jasco_pl.system.errors import UserError

REFERENCE = torch.tensor([0.5, 0.25, 0.25])
GENERATED = torch.tensor([0.25, 0.5, 0.25])


def test_is_the_divergence_of_the_generated_from_the_reference() -> None:
    """p log(p / q), p the reference: audiocraft's direction."""
    generated = torch.tensor([0.7, 0.2, 0.1])
    expected = 0.5 * math.log(0.5 / 0.7) + 0.25 * math.log(0.25 / 0.2) + 0.25 * math.log(0.25 / 0.1)
    assert label_kl(generated, REFERENCE).item() == pytest.approx(expected, abs=1e-5)
    assert label_kl(REFERENCE, generated).item() != pytest.approx(expected, abs=1e-2)


def test_the_same_labels_give_0() -> None:
    assert label_kl(REFERENCE, REFERENCE).item() == pytest.approx(0, abs=1e-5)


def test_a_label_that_the_generated_lacks_stays_finite() -> None:
    assert label_kl(torch.tensor([0.0, 1.0]), torch.tensor([1.0, 0.0])).item() == pytest.approx(-math.log(1e-6))


def test_what_is_no_distribution_is_refused() -> None:
    with pytest.raises(UserError, match="softmax"):
        label_kl(torch.tensor([0.9, 0.9]), torch.tensor([0.5, 0.5]))
    with pytest.raises(UserError, match="shapes"):
        label_kl(torch.ones(1), REFERENCE)
