"""The table of what prompts name and what is heard."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jasco_pl.metrics.probe import Agreement, Probe, agreement
from jasco_pl.metrics.probe_data import Clips
from jasco_pl.metrics.prompts import named
from jasco_pl.metrics.report import aligned_table

LEARNT = "what the probe learnt from, cross-validated"


def table(probe: Probe, learnt: Sequence[str], rows: Iterable[Clips]) -> tuple[str, list[dict[str, Any]]]:
    """Markdown and JSON: style and instruments in the pieces that the probe learnt from (their prompts), then in every row, in two ways."""
    lines = [["clips", "style heard", "chance", "x chance", "p", "instruments heard", "chance", "x chance", "p"]]
    found: list[dict[str, Any]] = []

    def add(name: str, prompts: Sequence[str], heard: tuple[NDArray[np.bool_], NDArray[np.bool_]]) -> None:
        wanted = probe.wanted([named(prompt) for prompt in prompts])
        style, families = (agreement(*pair) for pair in zip(wanted, heard, strict=True))
        lines.append([name, *_cells(style), *_cells(families)])
        labels = (probe.styles, probe.families)
        words = {
            label: {"named": int(of[:, k].sum()), "heard": int(it[:, k].sum()), "both": int((of & it)[:, k].sum())}
            for known, of, it in zip(labels, wanted, heard, strict=True)
            for k, label in enumerate(known)
        }
        found.append({"name": name, "style": _plain(style), "instruments": _plain(families), "words": words})

    add(LEARNT, learnt, (probe.cross_validated_styles, probe.cross_validated_families))
    for clips in rows:
        add(clips.name, clips.prompts, probe.hear(clips.features, among_each_other=False))
        add(f"{clips.name}, among each other", clips.prompts, probe.hear(clips.features, among_each_other=True))
    return aligned_table(lines), found


def _cells(found: Agreement | None) -> list[str]:
    if found is None:
        return ["–"] * 4
    half = (found.high - found.low) / 2
    return [f"{found.share:.3f} ± {half:.3f} ({found.clips})", f"{found.chance:.3f}", f"{found.times:.1f}", f"{found.p:.4f}"]


def _plain(found: Agreement | None) -> dict[str, Any] | None:
    return None if found is None else {**asdict(found), "times": found.times if found.chance else None}
