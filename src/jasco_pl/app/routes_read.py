"""What the page asks while something is being typed: the model's outline, chord lines, patterns."""

from __future__ import annotations

import io
from typing import Any

import soundfile
import torch
from fastapi import APIRouter
from fastapi.responses import Response

from jasco_pl.app.asking import OPTIONS
from jasco_pl.app.chord_line import live, transposed
from jasco_pl.app.dependencies import ServingNow
from jasco_pl.app.drums import render
from jasco_pl.app.schema import MOST_CHORDS, MOST_TEXT, VOICES, Beat, ChordLine, Transposition
from jasco_pl.controls.inputs import INPUTS
from jasco_pl.generation.outline import MAX_SECONDS
from jasco_pl.network.flow.config import QUALITIES, SolverConfig
from jasco_pl.network.flow.guidance import Written
from jasco_pl.notation.melody import BINS, LOWEST_MIDI

_RATE = 32000


def read_router() -> APIRouter:
    """Its routes."""
    router = APIRouter(prefix="/api", tags=["reading"])

    @router.get("/model")
    def model(serving: ServingNow) -> dict[str, Any]:
        """What the loaded model takes, how long its clips are, and what this server allows."""
        outline, engine, limits = serving.outline, serving.engine, serving.limits
        taken = {name for name in outline.controls if name in INPUTS}
        controls = {option: any(INPUTS[name].option.name == option for name in taken) for option in OPTIONS}
        return {
            "state": "failed" if engine.failure else "loading" if engine.jasco is None else "ready",
            "error": engine.failure,
            "checkpoint": serving.checkpoint,
            "controls": {**controls, "beat": "beat" in taken},
            "guidance": serving.guidance,
            "guidance_of_all": dict(Written.read(serving.guidance).weights).get("all"),
            "seconds": outline.learnt,
            "most_seconds": MAX_SECONDS,
            "qualities": {name: SolverConfig.of(name, serving.fitted).steps for name in QUALITIES},
            "voices": list(VOICES),
            "lowest_pitch": LOWEST_MIDI,
            "highest_pitch": LOWEST_MIDI + BINS - 1,
            "limits": {
                "takes": limits.takes,
                "upload_mib": limits.upload_bytes >> 20,
                "upload_seconds": limits.upload_seconds,
                "keep_hours": limits.keep_hours,
                "text": MOST_TEXT,
                "chords": MOST_CHORDS,
            },
        }

    @router.post("/chords")
    def chords(line: ChordLine) -> dict[str, Any]:
        """Read a chord line: its changes and a lane, or what is wrong with it, where, and what is near."""
        return live(line)

    @router.post("/chords/transpose")
    def transpose(asked: Transposition) -> dict[str, Any]:
        """Move a chord line by semitones."""
        return transposed(asked)

    @router.post("/pattern", response_class=Response)
    def pattern(beat: Beat) -> Response:
        """One turn of a drum pattern as a WAV file."""
        sound = torch.from_numpy(render(beat.pattern, beat.bpm, _RATE))
        file = io.BytesIO()
        soundfile.write(file, sound.numpy(), _RATE, format="WAV", subtype="PCM_16")
        return Response(file.getvalue(), media_type="audio/wav")

    return router
