"""What a clip was asked for, as music: the drum part in its time, its key, and a sheet for MIDI and for the tags of a WAV."""

from __future__ import annotations

import itertools

import numpy as np
from torch import Tensor

from jasco_pl import __version__
from jasco_pl.audio.wav_tags import Tags
from jasco_pl.controls.adherence import ONSETS
from jasco_pl.controls.audio import Drums
from jasco_pl.extract.classical import onset_times
from jasco_pl.extract.heard import Heard
from jasco_pl.extract.key import key_by
from jasco_pl.generation.jasco import Clip
from jasco_pl.notation import harmony
from jasco_pl.notation.beats import read_meter
from jasco_pl.notation.chords.numerals import named_key
from jasco_pl.notation.melody import bins_to_notes
from jasco_pl.notation.midi_writer import Sheet, key_name
from jasco_pl.notation.stretches import runs
from jasco_pl.notation.timed_text import written

_LEAST = 0.01  # seconds, half a frame: what is shorter is rounding
_LEAST_CHORDS = 3  # different ones, for them to say a key


def drum_part(clip: Clip) -> Heard | None:
    """The drum part as the clip was to follow it, heard while it holds; None without one."""
    wav = _drum_waveform(clip)
    if wav is None:
        return None
    heard = Heard(wav, clip.sample_rate)
    if (part := clip.part(ONSETS)) is not None:
        heard.onsets = part.times(heard.onsets)
    return heard


def _drum_waveform(clip: Clip) -> Tensor | None:
    """[1, S] as long as the clip."""
    if clip.request.drums is None:
        return None
    wav, _ = Drums.waveform(vars(clip.request), clip.sample_rate, clip.audio.shape[-1])
    return wav


def chords_of(clip: Clip) -> list[tuple[str, float, float]]:
    """The chords with their start and end in seconds, while they hold."""
    seconds = clip.audio.shape[-1] / clip.sample_rate
    ends = [*(change.start for change in clip.changes[1:]), seconds]
    spans = [(change.label, change.start, min(end, seconds)) for change, end in zip(clip.changes, ends, strict=False)]
    mask = clip.during.get("chords")
    if mask is not None:
        rate = len(mask) / seconds
        holds = [(first / rate, last / rate) for first, last in runs(mask)]
        spans = [(label, max(start, first), min(end, last)) for label, start, end in spans for first, last in holds]
    return [span for span in spans if span[2] - span[1] > _LEAST]


def key_of(clip: Clip) -> tuple[int, bool] | None:
    """The key that was asked for: its tonic, and whether it is minor."""
    key = None if clip.request.key is None else named_key(clip.request.key)
    return None if key is None else (key.tonic, key.minor)


def likely_key(clip: Clip) -> tuple[int, bool] | None:
    """The key of the chords, where they are several and one stands out (`extract.key`); a guess, which is no more than a comment."""
    chords = chords_of(clip)
    if len({label for label, _, _ in chords}) < _LEAST_CHORDS:
        return None
    weights = [(end - start) * harmony.pitch_classes(harmony.index(label)) for label, start, end in chords]
    return key_by(np.sum(weights, axis=0))


def tags_of(clip: Clip) -> Tags:
    """For the clip's WAV."""
    request, chords, key, likely = clip.request, chords_of(clip), key_of(clip), likely_key(clip)
    asked = {
        "chords": " ".join(f"{label}@{start:.6g}" for label, start, _ in chords),
        "key": key_name(key) if key else f"{key_name(likely)} (by the chords)" if likely else "",
        "bpm": "" if request.bpm is None else f"{request.bpm:g}, {request.meter}",
        "seed": str(request.seed),
    }
    count, unit = map(int, request.meter.split("/"))
    return Tags(
        None if request.bpm is None else request.bpm * read_meter(request.meter)[1],
        (count, unit),
        key[0] if key else None,
        [(label, start) for label, start, _ in chords],
        (
            ("INAM", written(request.text)),
            ("ICMT", "; ".join(f"{name}: {said}" for name, said in asked.items() if said)),
            ("ISFT", f"JASCO-PL {__version__}"),
        ),
        bool(request.loop),
    )


def sheet_of(clip: Clip) -> Sheet:
    """Chords, melody and drum onsets that were asked for."""
    seconds = clip.audio.shape[-1] / clip.sample_rate
    bins = clip.asked.get("melody")
    drums, part = _drum_waveform(clip), clip.part(ONSETS)
    hits = np.zeros(0) if drums is None else onset_times(drums, clip.sample_rate)  # with one at 0, which figures do not count
    return Sheet(
        seconds,
        melody=[] if bins is None else bins_to_notes(np.asarray(bins), len(bins) / seconds),
        chords=chords_of(clip),
        drums=[float(time) for time, _ in itertools.groupby(hits if part is None else part.times(hits))],
        bpm=clip.request.bpm,
        meter=clip.request.meter,
        key=key_of(clip),
        title=written(clip.request.text),
    )
