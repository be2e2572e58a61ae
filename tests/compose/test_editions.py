"""Pieces of an edition never change; those of edition 2 have sections that differ, and levels and tempi that move."""

from __future__ import annotations

import hashlib
import json
import re
import statistics
from itertools import pairwise

import pytest
from vocabulary import CHORDS

from jasco_pl.compose.captions import captions, section_captions, wording
from jasco_pl.compose.composer import compose
from jasco_pl.compose.edition import EDITIONS
from jasco_pl.compose.motion import FLOOR
from jasco_pl.compose.pieces import Which, describe
from jasco_pl.compose.song import Passage, Song, generator
from jasco_pl.compose.tables import ABSENT, INSTRUMENTS, KITS, SCENES

HARMONY = {"comp", "second", "pad"}


@pytest.fixture(scope="module")
def varied() -> list[Song]:
    return [compose(1, "train", index, edition=2) for index in range(300)]


def ends(song: Song) -> list[tuple[Passage, float]]:
    return list(zip(song.sections, [*(after.start for after in song.sections[1:]), song.duration], strict=True))


@pytest.mark.parametrize(
    ("edition", "index", "arrangement", "digest"),
    [
        (1, 0, 0, "da6a0affc2ec61e5"),
        (1, 0, 1, "3cef1f13a940bb1c"),
        (1, 7, 0, "fd3d2ede151ed0d3"),
        (1, 7, 1, "b0b860a99dab5009"),
        (1, 31, 0, "bf51e5df15bf1d24"),
        (1, 31, 1, "c76236af9b87cf61"),
        (2, 0, 0, "42c3c61aa2960424"),
        (2, 0, 1, "f1e499593cfa9750"),
        (2, 7, 0, "fad536f629e6c05b"),
        (2, 31, 1, "fd002770bc22a8a4"),
    ],
)
def test_pieces_are_what_they_were(edition: int, index: int, arrangement: int, digest: str) -> None:
    which = Which(2, "test", index, arrangement, edition)
    assert hashlib.sha256(json.dumps(describe(which.compose(), which)).encode()).hexdigest()[:16] == digest


def test_editions_share_no_piece_and_are_pure() -> None:
    assert compose(3, "train", 5, edition=2) == compose(3, "train", 5, edition=2)
    pieces = [
        compose(3, split, index, edition=edition) for split in ("train", "valid", "test") for index in range(4) for edition in EDITIONS
    ]
    assert len({str(song.chords) + str(song.melody) + str(song.drums) for song in pieces}) == len(pieces)


def test_sections_begin_at_zero_follow_each_other_and_are_often_short(varied: list[Song]) -> None:
    lengths = []
    for song in varied:
        assert song.sections[0].start == 0.0
        lengths += [end - passage.start for passage, end in ends(song)]
        assert 20.0 <= song.duration <= 60.0
    assert min(lengths) > 2.5
    assert sum(4 <= length <= 8 for length in lengths) / len(lengths) > 0.3
    # How often ten seconds anywhere in a piece hold a change well inside.
    holds = [
        any(start + 2 < passage.start < start + 8 for passage in song.sections)
        for song in varied
        for start in range(0, int(song.duration) - 10)
    ]
    assert sum(holds) / len(holds) > 0.5


def test_what_is_said_to_play_in_a_section_plays_and_nothing_else(varied: list[Song]) -> None:
    for song in varied:
        for passage, end in ends(song):
            for part in song.parts:
                # Human timing, and a fade that is cut.
                starts = sum(passage.start + 0.05 < event.start < end - 0.05 for event in part.events)
                if part.role in passage.roles:
                    held = any(event.start < end - 0.5 and event.end > passage.start + 0.5 for event in part.events)
                    assert starts or held, (song.style, passage, part.role)
                elif not (part.role == "drums" and passage.lead_out):
                    assert not starts, (song.style, passage, part.role)


def test_instruments_come_and_go(varied: list[Song]) -> None:
    bands = [song for song in varied if not song.layout.endswith("only")]
    assert sum(len({passage.roles for passage in song.sections}) > 1 for song in bands) / len(bands) > 0.85
    for song in varied:
        assert {part.role for part in song.parts} == set().union(*(passage.roles for passage in song.sections))


def test_captions_of_a_section_name_only_what_sounds_in_it(varied: list[Song]) -> None:
    vocabulary = {word: name for name, instrument in INSTRUMENTS.items() for word in instrument.words if len(word) > 4}
    kits = {word for words in KITS.values() for word in words}
    everything = []
    for index, song in enumerate(varied[:150]):
        for passage in song.sections:
            said = {part.name for part in song.parts if part.role in passage.roles}
            words = {word for name in said for word in (INSTRUMENTS[name].words if name in INSTRUMENTS else (name,))}
            words |= set(EDITIONS[2].styles[song.style].words)
            lines = section_captions(song, passage, generator(1, "train", index, "test"))
            assert len(set(lines)) == len(lines) == 3
            everything += lines
            for line in lines:
                rest = line.lower()
                for word in sorted(words, key=len, reverse=True):
                    rest = rest.replace(word.lower(), "")
                assert not [word for word in vocabulary if re.search(rf"\b{re.escape(word.lower())}\b", rest)], line
                if any(word in line for word in ABSENT["drums"]):
                    assert "drums" not in passage.roles, line
                    assert not passage.lead_out, line
                    rest = re.sub(r"no drums|without drums|drumless", "", rest)
                assert not any(re.search(rf"\b{re.escape(word)}\b", rest) for word in kits), line
    assert not [line for line in everything if re.search(r"[{}]|  |None|\ba [aeiou]", line)]
    assert len(set(everything)) > 0.8 * len(everything)


def test_wording_holds_every_word_of_all_captions(varied: list[Song]) -> None:
    known = set(re.findall(r"[\w#/-]+", " ".join(wording()).lower()))
    for index, song in enumerate(varied):
        rng = generator(1, "train", index, "words")
        for line in [*captions(song, rng), *(line for passage in song.sections for line in section_captions(song, passage, rng))]:
            assert set(re.findall(r"[\w#/-]+", line.lower())) <= known, line


def test_chords_sound_where_they_are_annotated(varied: list[Song]) -> None:
    for song in varied[:150]:
        assert song.chords[0][1] == 0.0
        assert all(b[1] - a[1] > 0.3 and a[0] != b[0] for a, b in pairwise(song.chords))
        for part in song.parts:
            if part.role in ("melody", "drums"):
                continue
            for event in part.events:
                middle = (event.start + event.end) / 2
                label = next(label for label, start in reversed(song.chords) if start <= middle + 1e-9)
                assert label != "N", (song.style, part.role, event)
                assert event.pitch % 12 in {*CHORDS[label].tones, CHORDS[label].bass}
        for (label, start), (_, end) in pairwise([*song.chords, ("", song.duration - 1.5)]):
            sounds = any(
                event.start < end - 0.1 and event.end > start + 0.1 for part in song.parts if part.role in HARMONY for event in part.events
            )
            assert sounds == (label != "N") or end - start < 0.5, (song.style, label, start)


def test_the_lowest_note_at_a_change_is_the_annotated_bass_whoever_plays(varied: list[Song]) -> None:
    right = total = 0
    for song in varied[:150]:
        events = [event for part in song.parts if part.role in HARMONY | {"bass"} for event in part.events]
        for label, start in song.chords:
            struck = [event.pitch for event in events if abs(event.start - start) < 0.06]
            if label != "N" and struck and min(struck) < 50:
                total += 1
                right += min(struck) % 12 == CHORDS[label].bass
    assert total > 500
    assert right / total > 0.97


def test_levels_have_a_range_worth_following(varied: list[Song]) -> None:
    ranges = []
    for song in varied:
        times, levels = zip(*song.dynamics, strict=True)
        assert list(times) == sorted(times)
        assert max(levels) == 0.0 or song.dynamics[-1][1] == FLOOR
        assert min(levels) >= FLOOR
        ranges.append(max(levels) - min(levels))
    assert 0.05 < sum(size < 1 for size in ranges) / len(ranges) < 0.25  # some stay as even as edition 1
    assert statistics.median(ranges) > 10
    assert sum(size > 18 for size in ranges) / len(ranges) > 0.2


def test_tempi_move_around_the_annotated_one_and_beats_with_them(varied: list[Song]) -> None:
    even = 0
    for song in varied:
        lengths = [b[0] - a[0] for a, b in pairwise(song.beats)]
        assert min(lengths) > 0
        assert abs(statistics.median(lengths) * song.bpm / 60 - 1) < 0.02
        even += max(lengths) - min(lengths) < 1e-3
        kicks = [time for name, time, _ in song.drums if name == "kick" and time > 0.1]
        if song.style == "house" and kicks:
            near = [min(abs(time - beat) for beat, _ in song.beats) < 0.04 for time in kicks]
            assert sum(near) / len(near) > 0.7
    assert 0.25 < even / len(varied) < 0.75


def test_another_band_keeps_all_controls(varied: list[Song]) -> None:
    differ = 0
    for index in range(30):
        song, other = varied[index], compose(1, "train", index, arrangement=1, edition=2)
        assert (song.chords, song.melody, song.drums, song.beats) == (other.chords, other.melody, other.drums, other.beats)
        assert (song.dynamics, song.duration) == (other.dynamics, other.duration)
        assert [(passage.start, passage.name) for passage in song.sections] == [(passage.start, passage.name) for passage in other.sections]
        differ += {part.name for part in song.parts} != {part.name for part in other.parts}
    assert differ > 24


def test_drums_lie_far_behind_in_a_share_of_pieces(varied: list[Song]) -> None:
    levels = [part.level for song in varied for part in song.parts if part.role == "drums"]
    assert -20 <= min(levels) < -17
    assert 0.2 < sum(level < -7 for level in levels) / len(levels) < 0.5


def test_kinds_of_section_all_occur(varied: list[Song]) -> None:
    assert {passage.name for song in varied for passage in song.sections} == set(SCENES)


def test_words_of_a_style_are_its_own() -> None:
    styles = EDITIONS[2].styles
    words = [word for style in styles.values() for word in style.words]
    assert len(set(words)) == len(words)
    assert not {mood for style in styles.values() for mood in style.moods} & set(words)
