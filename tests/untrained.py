"""Networks that were never trained, for tests."""

from __future__ import annotations

import torch
from torch import nn


def stir(model: nn.Module) -> None:
    """Move what starts at zero away from it, so that the model obeys its conditions in some way."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
