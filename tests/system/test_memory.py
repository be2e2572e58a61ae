from __future__ import annotations

import sys

import pytest
import torch

from jasco_pl.system.environment import processor
from jasco_pl.system.memory import forget_peak, peak


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="other systems do not count it so")
def test_the_peak_is_what_was_held_at_once_since_it_was_forgotten() -> None:
    cpu, block = torch.device("cpu"), 2**28
    forget_peak(cpu)
    before = peak(cpu)
    held = torch.ones(block, dtype=torch.uint8)
    with_block = peak(cpu)
    del held
    released = peak(cpu)
    if before is None or with_block is None or released is None:
        pytest.skip("this kernel does not tell")
    assert min(with_block, released) - before > 0.9 * block
    forget_peak(cpu)
    after = peak(cpu)
    assert after is not None
    assert after < with_block - 0.5 * block


def test_the_processor_is_one_line() -> None:
    assert "\n" not in processor()
