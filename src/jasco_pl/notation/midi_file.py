"""The bytes of a MIDI file -> the events of its tracks (Standard MIDI Files 1.0), as such files are found.

Damage is repaired where what was meant is plain, left out where it matters to no note, and counted either way.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field

from jasco_pl.system.errors import UserError

Event = tuple[int, int, bytes]
"""Tick, status byte, data; of a meta event (status 0xff) its type stands before the data."""

META, END, TEMPO, KEY = 0xFF, 0x2F, 0x51, 0x59
_HEADS = ((b"MThd", 0), (b"RMID", 8), (b"MThd", 128))  # plain, in RIFF (.rmi), behind a MacBinary header
_OTHERS = (  # what is found under a MIDI file's name, and what to do then
    (rb"PK\x03\x04|\x1f\x8b|Rar!|7z\xbc\xaf", "an archive: unpack it, and give the MIDI file in it"),
    (rb"\s*(<!doctype|<html|<head|<\?xml)", "a page of text with markup, as a failed download leaves: fetch the MIDI file itself"),
    (rb"XMF_|FORM....XDIR|FORM....XMID|MUS\x1a", "music in another format than a Standard MIDI File: convert it to one"),
)
_AUDIO = re.compile(rb"RIFF....WAVE|RF64|fLaC|OggS|ID3|\xff[\xfb\xf3\xf2\xfa]|FORM....AIF[FC]", re.DOTALL)
_MOST_VARIABLE = 4  # bytes of a length or a delta time


class _BrokenOffError(Exception):
    """A track ends, or is no MIDI any more, in the middle of an event."""


@dataclass
class MidiFile:
    """Its tracks, in ticks.

    Attributes:
        format: 0 (one track), 1 (tracks that sound together) or 2 (tracks that are pieces of their own).
        ticks: of a quarter note; of a second, where `by_second`.
        by_second: time is counted in ticks of film frames (SMPTE), and tempo says nothing.
        tracks: events in order.
        repairs: what was mended or left out, in words, and how often.
    """

    format: int
    ticks: float
    by_second: bool
    tracks: list[list[Event]]
    repairs: Counter[str] = field(default_factory=Counter)


def is_midi(head: bytes) -> bool:
    """Whether a file that begins so is MIDI, whatever it is called."""
    return any(head[place : place + 4] == mark for mark, place in _HEADS)


def is_audio(head: bytes) -> bool:
    """Whether a file that begins so is a recording."""
    return _AUDIO.match(head) is not None


def parse(content: bytes, name: str) -> MidiFile:
    """Read a MIDI file.

    Args:
        content: all of it.
        name: of the file, for errors.

    Raises:
        UserError: it is none, or nothing in it says how long a beat is.
    """
    place = content.find(b"MThd")
    if place < 0 or not (is_midi(content) or place < 4096):
        raise UserError(f"{name!r} is not a MIDI file that can be read: {_instead(content)}.")
    if len(content) < place + 14:
        raise UserError(f"{name!r} is not a MIDI file that can be read: it ends within its first line, before any track.")
    repairs = Counter[str]()
    if place and not is_midi(content):
        repairs["bytes before the beginning were skipped"] += 1
    length, kind, tracks, division = (
        int.from_bytes(content[place + start : place + stop]) for start, stop in ((4, 8), (8, 10), (10, 12), (12, 14))
    )
    fast = division >> 15
    if fast:
        frames = 256 - (division >> 8)
        ticks = (30000 / 1001 if frames == 29 else float(frames)) * (division & 0xFF)
    else:
        ticks = float(division)
    if not ticks:
        raise UserError(f"MIDI file {name!r} does not say how long a beat lasts (its division is 0), so that no note has a time.")
    head = 8 + length if 6 <= length <= 64 else 14
    found = _tracks(content, place + head, repairs)
    if len(found) != tracks:
        repairs[f"it says {tracks} tracks and has {len(found)}"] += 1
    return MidiFile(kind if kind in (0, 2) else 1, ticks, bool(fast), found, repairs)


def _instead(content: bytes) -> str:
    if not content:
        return "it is empty"
    for pattern, words in _OTHERS:
        if re.match(pattern, content[:64], re.IGNORECASE | re.DOTALL):
            return f"it is {words}"
    return "it lacks the mark (MThd) that such a file begins with"


def _tracks(content: bytes, place: int, repairs: Counter[str]) -> list[list[Event]]:
    tracks: list[list[Event]] = []
    while place + 8 <= len(content):
        mark, start = content[place : place + 4], place + 8
        end = start + int.from_bytes(content[place + 4 : start])
        sure = end == len(content) or content[end : end + 4].isalnum()
        if mark != b"MTrk":
            following = end if mark.isalnum() and sure else content.find(b"MTrk", place + 1)
            if following < 0:
                break
            place = following
            continue
        limit = end
        if not sure:  # the length is wrong, or what follows is no chunk: a track says itself where it ends
            following = content.find(b"MTrk", start)
            limit = following if following >= 0 else len(content)
        events, ended, broken = _events(content[start:limit], repairs)
        if broken:
            repairs[f"track {len(tracks) + 1} breaks off, and what comes before was read"] += 1
        elif not sure and start + ended != end:
            repairs[f"track {len(tracks) + 1} gives a wrong length"] += 1
        tracks.append(events)
        place = limit
    return tracks


def _events(data: bytes, repairs: Counter[str]) -> tuple[list[Event], int, bool]:
    """The events of a track, where they end, and whether it broke off there."""
    events: list[Event] = []
    place = tick = running = 0
    try:
        while place < len(data):
            delta, place = _number(data, place)
            tick += delta
            status = data[place]
            if status >= 0x80:
                place += 1
            elif running:
                status = running
            else:
                raise _BrokenOffError
            if status < 0xF0:
                running = status
                body, place = _take(data, place, 1 if status & 0xE0 == 0xC0 else 2)
                if max(body) > 127:
                    repairs["values over 127 were held at 127"] += 1
                    body = bytes(min(value, 127) for value in body)
            elif status == META:
                kind = data[place]
                size, place = _number(data, place + 1)
                body, place = _take(data, place, size)
                body = bytes([kind]) + body
                if kind == END:
                    events.append((tick, status, body))
                    return events, place, False
            elif status in (0xF0, 0xF7):
                size, place = _number(data, place)
                body, place = _take(data, place, size)
            else:  # messages of the system, which belong on a wire and not in a file
                body, place = _take(data, place, {0xF1: 1, 0xF2: 2, 0xF3: 1}.get(status, 0))
            events.append((tick, status, body))
    except (_BrokenOffError, IndexError):
        return events, place, True
    return events, place, False


def _number(data: bytes, place: int) -> tuple[int, int]:
    """A number of variable length, and where it ends."""
    value = 0
    for _ in range(_MOST_VARIABLE):
        byte = data[place]
        place += 1
        value = value << 7 | byte & 0x7F
        if byte < 0x80:
            return value, place
    raise _BrokenOffError


def _take(data: bytes, place: int, size: int) -> tuple[bytes, int]:
    if place + size > len(data):
        raise _BrokenOffError
    return data[place : place + size], place + size
