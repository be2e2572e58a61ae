"""Standard MIDI Files byte by byte, in every variant and with any damage."""

from __future__ import annotations

from collections.abc import Sequence

END = b"\xff\x2f\x00"


def number(value: int) -> bytes:
    """A number of variable length."""
    out = [value & 0x7F]
    while value := value >> 7:
        out.append(value & 0x7F | 0x80)
    return bytes(reversed(out))


def meta(kind: int, data: bytes = b"") -> bytes:
    return bytes([0xFF, kind]) + number(len(data)) + data


def tempo(microseconds: int) -> bytes:
    return meta(0x51, microseconds.to_bytes(3))


def chunk(events: Sequence[tuple[int, bytes]], *, running: bool = False, end: bytes = END, length: int | None = None) -> bytes:
    """Messages at ticks -> a track; `running` leaves out status bytes that are those before, `length` is what it claims."""
    body, now, status = b"", 0, b""
    for tick, message in sorted(events, key=lambda event: event[0]):
        body += number(tick - now)
        body += message[1:] if running and message[:1] == status else message
        now, status = tick, message[:1] if message[0] < 0xF0 else b""
    body += b"\0" + end if end else b""
    return b"MTrk" + (len(body) if length is None else length).to_bytes(4) + body


def notes(line: Sequence[tuple[int, int, int]], channel: int = 0) -> list[tuple[int, bytes]]:
    """(pitch, tick on, tick off) -> messages; offs stand before ons of their tick."""
    offs = [(off, bytes([0x80 | channel, pitch, 0])) for pitch, _, off in line]
    return offs + [(on, bytes([0x90 | channel, pitch, 90])) for pitch, on, _ in line]


def smf(*tracks: bytes, kind: int = 1, division: int = 480, claims: int | None = None) -> bytes:
    """A file of tracks."""
    many = len(tracks) if claims is None else claims
    return b"MThd" + (6).to_bytes(4) + kind.to_bytes(2) + many.to_bytes(2) + division.to_bytes(2) + b"".join(tracks)


def riff(content: bytes) -> bytes:
    """As .rmi files have it."""
    padded = content + b"\0" * (len(content) % 2)
    data = b"data" + len(content).to_bytes(4, "little") + padded
    return b"RIFF" + (len(data) + 4).to_bytes(4, "little") + b"RMID" + data
