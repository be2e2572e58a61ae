"""CUDA graphs: work whose kernels are all launched at once (https://pytorch.org/docs/stable/notes/cuda.html#cuda-graphs)."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import cache

import torch

WARM_UP = 3
"""How often work is done before it is captured: libraries choose kernels, compile and allocate."""


@cache
def _side(device: torch.device) -> torch.cuda.Stream:
    """One: each has memory of its own."""
    return torch.cuda.Stream(device)


def aside(work: Callable[[], object], device: torch.device, times: int = 1) -> None:
    """Do work on a stream of its own, as is asked for before a capture."""
    current, side = torch.cuda.current_stream(device), _side(device)
    side.wait_stream(current)
    with torch.cuda.stream(side):
        for _ in range(times):
            work()
    current.wait_stream(side)


def captured(work: Callable[[], object], what: str) -> torch.cuda.CUDAGraph | None:
    """Work as a graph, not done yet; None, and a warning about `what`, where it cannot be captured: kernel by kernel it is the same."""
    graph, current = torch.cuda.CUDAGraph(), torch.cuda.current_stream()
    try:
        with torch.cuda.graph(graph, capture_error_mode="thread_local"):  # other threads may go on using the GPU
            work()
    except RuntimeError as error:
        torch.cuda.set_stream(current)  # which a capture that was broken off does not do
        warnings.warn(f"{what} cannot be captured as a CUDA graph: {str(error).splitlines()[0]}.", stacklevel=2)
        return None
    return graph
