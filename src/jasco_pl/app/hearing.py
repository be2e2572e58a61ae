"""How far a take follows what was asked for: lanes for the page, and a sentence for each."""

from __future__ import annotations

from typing import Any

from jasco_pl.extract.heard import Heard
from jasco_pl.generation.asked import Asked
from jasco_pl.generation.jasco import Clip
from jasco_pl.pages.lanes import FREE, NEAR, RIGHT


def listen(clip: Clip) -> tuple[dict[str, Any], list[str]]:
    """Lanes by name, as `Lane.judged` writes them, and how far each agrees, in words."""
    asked, heard = Asked(clip), Heard(clip.audio, clip.sample_rate)
    seconds = clip.audio.shape[-1] / clip.sample_rate
    lanes, words = {}, []
    for adherence, side in asked.sides.items():
        if (why := adherence.missing()) is not None:
            words.append(f"{adherence.name}: not compared. {why}")
            continue
        judged = adherence.judged(adherence.lane.written(side), adherence.written(heard, side), seconds)
        lanes[adherence.name] = judged
        words.append(f"{adherence.name}: {in_words(judged)}")
    return lanes, words


def in_words(lane: dict[str, Any]) -> str:
    """What a lane shows, for who does not read it."""
    if lane["kind"] == "events":
        asked = [verdict for _, verdict in lane["asked"]]
        hit = sum(verdict == RIGHT for verdict in asked)
        more = sum(verdict not in (RIGHT, FREE) for _, verdict in lane["heard"])
        return f"{hit} of {len(asked)} hits as asked" + (f", and {more} more that were not asked for" if more else "")
    if lane["kind"] == "notes":
        wanted = sum(end - start for _, start, end in lane["asked"])
        right = sum(end - start for _, start, end, verdict in lane["heard"] if verdict == RIGHT)
        return f"{_percent(right, wanted)} of its time the note that was asked for" + ("" if lane.get("octaves") else ", in any octave")
    if lane["kind"] == "labels":
        told = [(end - start, verdict) for _, start, end, verdict in lane["heard"] if verdict != FREE]
        every = sum(length for length, _ in told)
        right = sum(length for length, verdict in told if verdict == RIGHT)
        near = sum(length for length, verdict in told if verdict == NEAR)
        return f"{_percent(right, every)} of the time as asked" + (f", {_percent(right + near, every)} with its triad" if near else "")
    told = [verdict for _, verdict in lane["heard"] if verdict != FREE]
    return f"{_percent(sum(verdict == RIGHT for verdict in told), len(told))} of the time as asked"


def _percent(part: float, whole: float) -> str:
    return f"{100 * part / whole:.0f} %" if whole else "0 %"
