"""How much quicker the salience network is than the straightforward one, and whether both say the same.

Both take turns on the same input, so that a busy machine slows both; the best of the turns counts. Random weights do: the time does not
depend on them.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import torch

from jasco_pl.extract import salience_network as hcqt
from jasco_pl.extract.salience import CHUNK, FIRST_BIN
from jasco_pl.extract.salience_network import BELOW, SalienceNetwork


def compare(frames: int = CHUNK, turns: int = 5) -> dict[str, float]:
    """Seconds of wall time and of CPU time for `frames` frames of both, their ratios, and the largest difference of salience."""
    network = SalienceNetwork()
    whole = torch.rand(1, 6, hcqt.BINS, frames, generator=torch.Generator().manual_seed(0))
    lowest = FIRST_BIN - BELOW
    tasks: dict[str, Callable[[], torch.Tensor]] = {
        "straightforward": lambda: network.straightforward(whole),
        "quick": lambda: network(whole[:, :, lowest:]),
    }
    best: dict[str, float] = {}
    results = {}
    with torch.inference_mode():
        for _ in range(turns):
            for name, task in tasks.items():
                wall, cpu = time.perf_counter(), time.process_time()
                results[name] = task()
                for kind, seconds in (("wall", time.perf_counter() - wall), ("cpu", time.process_time() - cpu)):
                    best[f"{name} {kind}"] = min(best.get(f"{name} {kind}", seconds), seconds)
    for kind in ("wall", "cpu"):
        best[f"ratio {kind}"] = best[f"straightforward {kind}"] / best[f"quick {kind}"]
    used = slice(BELOW, None)
    best["difference"] = float((results["quick"][:, used] - results["straightforward"][:, FIRST_BIN:]).abs().max())
    return best
