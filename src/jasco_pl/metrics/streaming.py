"""What all metrics here share: states that are sums or lists, so that updates stream and states of separate runs can be merged."""

from __future__ import annotations

from typing import Any

from torchmetrics import Metric


class StreamingMetric(Metric):
    """A metric whose figure after `merge_state` is that of both states.

    torchmetrics 1.9 leaves a figure computed before the merge in its cache and returns it again.
    """

    full_state_update = False
    is_differentiable = False

    def merge_state(self, incoming_state: dict[str, Any] | Metric) -> None:
        """Add the state of another metric of the same class and arguments, or its `metric_state`."""
        super().merge_state(incoming_state)
        self._computed = None
        self._update_count += incoming_state.update_count if isinstance(incoming_state, Metric) else 1
