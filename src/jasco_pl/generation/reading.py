"""What a request says, taken to the frames of a clip."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch

from jasco_pl.controls import CONTROLS, Control, all_options
from jasco_pl.controls.base import FrameGrid, Option
from jasco_pl.controls.contradictions import contradictions
from jasco_pl.controls.during import read_during, said
from jasco_pl.controls.options import DURING, WHOLE
from jasco_pl.generation.outline import lacking
from jasco_pl.generation.request import Clip, Request
from jasco_pl.generation.variation import read_source
from jasco_pl.generation.whole import check_whole, loop_notes
from jasco_pl.notation.timed_text import read_prompt
from jasco_pl.system.errors import UserError

if TYPE_CHECKING:
    from jasco_pl.generation.jasco import Jasco


def read_request(jasco: Jasco, request: Request, frames: int) -> Clip:
    """What `Jasco.read` says."""
    check_whole(vars(request))
    clip = Clip(torch.zeros(1, 0), jasco.codec.sample_rate, torch.zeros(0), request, {})
    spans, told = read_prompt(request.text, frames, jasco.codec.frame_rate)
    clip.notes += [*told, *jasco.text_encoder.remarks(spans), *contradictions(request.text, vars(request))]
    grid = FrameGrid(frames, jasco.codec, jasco.model.normalize, jasco.frames(jasco.model.config.seconds), levels=jasco.compat is None)
    for kind in CONTROLS.values():
        asked = _asked_of(request, kind)
        shared = any(kind.option in other.details for other in CONTROLS.values())
        if asked[kind.option.name] is not None and kind.option.name not in jasco.accepts and not shared:
            raise lacking(kind.name, jasco.model.controls.names)
        kind.check(asked)
    used = {option.name for option in WHOLE}
    options = list(dict.fromkeys(kind.option.name for kind in CONTROLS.values()))
    asking = [name for name in options if name in jasco.accepts and getattr(request, name) is not None]
    written = getattr(request, DURING.name)
    during = {} if written is None else read_during(written, options, asking, grid)
    for name, control in jasco.model.controls.by_name.items():
        asked = _asked_of(request, control)
        if asked[control.option.name] is not None:
            used |= asked.keys() if asked.get("fit_loop") else {option.name for option in control.options()}
            reading = control.read(asked, grid)
            clip.asked[name] = reading.raw
            if (mask := during.get(control.option.name)) is not None:
                clip.during[name] = mask
                clip.asked[name] = control.drop(torch.as_tensor(reading.raw)[None], torch.from_numpy(mask)[None])[0].numpy()
            clip.notes += reading.notes
            clip.changes += reading.changes
            clip.recording = clip.recording if reading.recording is None else reading.recording
    if idle := [name for name, option in all_options().items() if name not in used and _said(request, option)]:
        clip.notes.append(f"nothing in this model follows {' and '.join(idle)} here: {_followers(idle)}")
    clip.notes += loop_notes(vars(request), grid.seconds)
    clip.notes += [said(during, asking, grid.frame_rate)] if during else []
    vary, loop = request.vary, request.loop
    if jasco.compat and (vary is not None or loop):
        raise UserError(f"audiocraft has no {'loops' if loop else 'variations'}: leave out compat='audiocraft', or what asks for that.")
    if vary is not None:
        clip.source = read_source(vars(request), grid, clip.notes)
    if frames > grid.learnt and jasco.compat:
        clip.notes.append(f"made in one piece beyond the {jasco.model.config.seconds:g} s that the model has learnt, as audiocraft does")
    return clip


def _asked_of(request: Request, control: Control | type[Control]) -> dict[str, Any]:
    """What a request says to a control: the values of its options, and of those that it heeds, by name."""
    return {option.name: getattr(request, option.name) for option in (*control.options(), *control.heeds)}


def _said(request: Request, option: Option) -> bool:
    """Whether a request says something of its own."""
    value = getattr(request, option.name)
    return value is not None and (option.default is None or value != option.default)


def _followers(options: Sequence[str]) -> str:
    """Which controls would follow some options of a request, in words."""
    return ", ".join(kind.name for kind in CONTROLS.values() if {option.name for option in kind.options()} & set(options)) + " would"
