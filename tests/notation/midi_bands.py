"""Composed pieces, whose melody is known, as MIDI files of bands of many kinds."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from random import Random

import smf

from jasco_pl.compose.composer import compose
from jasco_pl.compose.song import Part, Song

KINDS = (
    "plain",
    "no programs",
    "all pianos",
    "misleading names",
    "one name",
    "named",
    "program changes",
    "words",
    "karaoke",
    "legato",
    "one track",
)
PIECES = 12  # of each edition
_PLAIN = (*range(32), *range(56, 80))  # programs on which a tune is played
_TICKS = 960  # a second: quarter notes of 480 at 120 bpm
_NAMES = ("Neptune strings", "Misleading", "Track 4", "Piano", "Staff-1", "Discotheque", "MIDI out #2", "x", "")


@cache
def pieces(edition: int) -> list[Song]:
    """Composed pieces in which a melody plays over at least two other parts."""
    found = (compose(18, "test", index, edition=edition) for index in range(1000))
    return [song for song, _ in zip((one for one in found if one.melody and len(one.parts) > 2), range(PIECES), strict=False)]


def events(part: Part, channel: int, program: int | None, lasting: float = 1.0) -> list[tuple[int, bytes]]:
    """A part as messages; notes last `lasting` times as long."""
    spans = [(note, round(_TICKS * note.start), round(_TICKS * (note.start + lasting * (note.end - note.start)))) for note in part.events]
    offs = [(off, bytes([0x80 | channel, note.pitch, 0])) for note, _, off in spans]
    ons = [(on, bytes([0x90 | channel, note.pitch, note.velocity])) for note, on, _ in spans]
    return ([] if program is None else [(0, bytes([0xC0 | channel, program]))]) + offs + ons


def band(song: Song, rng: Random, kind: str) -> bytes:
    """A piece as a file: its parts in any order, and what `kind` says."""
    parts = rng.sample(song.parts, len(song.parts))
    tracks: list[list[tuple[int, bytes]]] = []
    for place, part in enumerate(parts):
        drums = part.role == "drums"
        channel = 9 if drums else place if place < 9 else place + 1
        program = None if drums or kind == "no programs" else 0 if kind == "all pianos" else part.program
        played = events(part, channel, program, 1.3 if kind == "legato" and part.role == "melody" else 1.0)
        name = rng.choice(_NAMES) if kind == "misleading names" else song.style if kind == "one name" else ""
        if kind == "named" and part.role == "melody":
            name = rng.choice(("Lead Vocal", "MELODY", "vox 1", "Gesang", "Main Melody"))
        if kind == "program changes":
            half = song.duration / 2
            played = [*played, (round(_TICKS * half), bytes([0xC0 | channel, rng.choice(_PLAIN)]))]
        if kind == "words" and part.role == "melody":
            played = [*played, *((round(_TICKS * note.start), smf.meta(5, b"la")) for note in part.events)]
        tracks.append([(0, smf.meta(3, name.encode())), *played])
    if kind == "karaoke":
        words = [(round(_TICKS * start), smf.meta(1, b"/la")) for _, start, _ in song.melody]
        tracks.insert(0, [(0, smf.meta(3, b"Words")), (0, smf.meta(1, b"@KMIDI KARAOKE FILE")), *words])
    if kind == "one track":
        return smf.smf(smf.chunk([event for track in tracks for event in track], running=True), kind=0)
    return smf.smf(smf.chunk([(0, smf.tempo(500_000))]), *map(smf.chunk, tracks))


def bands(kind: str) -> Iterator[tuple[Song, bytes]]:
    """Every piece as a file of a kind."""
    for edition in (1, 2):
        for number, song in enumerate(pieces(edition)):
            yield song, band(song, Random(f"{kind} {number}"), kind)
