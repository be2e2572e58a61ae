from __future__ import annotations

from collections import Counter
from itertools import pairwise

from vocabulary import ALL_CHORDS, CHORDS

from jasco_pl.compose.composer import compose
from jasco_pl.compose.parts import Span, comp_part, voicing
from jasco_pl.compose.perform import Clock, monophonic
from jasco_pl.compose.song import Chord, Event, Song, generator


def chord_at(song: Song, time: float) -> str:
    return next(label for label, start in reversed(song.chords) if start <= time + 1e-9)


def test_every_chord_type_occurs_on_every_root(songs: list[Song]) -> None:
    heard = {label for song in songs for label, _ in song.chords}
    assert set(CHORDS) - heard == set()
    assert heard - set(CHORDS) == {"N"}


def test_styles_metres_tempi_and_keys_are_many(songs: list[Song]) -> None:
    assert len({song.style for song in songs}) >= 10
    assert {song.meter for song in songs} == {"4/4", "3/4", "6/8"}
    assert len({song.key for song in songs}) == 24
    tempi = [song.bpm for song in songs]
    assert min(tempi) >= 60
    assert max(tempi) <= 180
    assert min(tempi) < 70
    assert max(tempi) > 160
    assert all(20.0 <= song.duration <= 60.0 for song in songs)
    assert len({part.name for song in songs for part in song.parts if part.role != "drums"}) > 50


def test_parts_are_left_out_as_often_as_intended(songs: list[Song]) -> None:
    roles = [{part.role for part in song.parts} for song in songs]
    assert 0.18 < sum("drums" not in has for has in roles) / len(songs) < 0.36
    assert 0.2 < sum("melody" not in has for has in roles) / len(songs) < 0.4
    assert {"melody only", "chords only", "drums only"} <= {song.layout for song in songs}
    for song, has in zip(songs, roles, strict=True):
        assert bool(song.melody) == ("melody" in has)
        assert bool(song.drums) == ("drums" in has)
        assert (song.chords == [("N", 0.0)]) == ("comp" not in has)
        assert has


def test_melody_is_monophonic_in_range_and_what_is_played(songs: list[Song]) -> None:
    for song in songs:
        for pitch, start, end in song.melody:
            assert 43 <= pitch <= 95
            assert 0 <= start < end <= song.duration
        assert all(first[2] <= second[1] for first, second in pairwise(song.melody))
        played = [(event.pitch, event.start, event.end) for part in song.parts if part.role == "melody" for event in part.events]
        assert played == song.melody


def test_melody_moves_by_step_and_rests(songs: list[Song]) -> None:
    tunes = [song.melody for song in songs if len(song.melody) > 10]
    steps = [abs(b[0] - a[0]) for tune in tunes for a, b in pairwise(tune)]
    assert sum(step <= 4 for step in steps) / len(steps) > 0.75
    assert max(steps) <= 12
    rests = sum(b[1] - a[2] > 0.25 for tune in tunes for a, b in pairwise(tune)) / len(steps)
    assert 0.05 < rests < 0.5


def test_chords_start_at_zero_rise_and_last_at_least_a_third_of_a_second(songs: list[Song]) -> None:
    for song in songs:
        assert song.chords[0][1] == 0.0
        times = [start for _, start in song.chords]
        assert all(b - a > 0.3 for a, b in pairwise(times))
        assert times[-1] < song.duration
        assert all(a[0] != b[0] for a, b in pairwise(song.chords))


def test_what_is_played_at_a_change_is_the_annotated_chord(songs: list[Song]) -> None:
    for song in songs[:150]:
        for part in song.parts:
            if part.role not in ("comp", "second", "pad", "bass"):
                continue
            for event in part.events:
                middle = (event.start + event.end) / 2
                chord = CHORDS[chord_at(song, middle)]
                assert event.pitch % 12 in {*chord.tones, chord.bass}, (song.style, part.role, event, chord.label)


def test_the_lowest_note_at_a_change_is_the_annotated_bass(songs: list[Song]) -> None:
    right = total = 0
    for song in songs[:150]:
        harmony = [event for part in song.parts if part.role in ("comp", "second", "pad", "bass") for event in part.events]
        for label, start in song.chords:
            struck = [event.pitch for event in harmony if abs(event.start - start) < 0.06]
            if label != "N" and struck and min(struck) < 50:
                total += 1
                right += min(struck) % 12 == CHORDS[label].bass
    assert total > 500
    assert right / total > 0.98


def test_drum_hits_and_beats_are_sorted_and_inside(songs: list[Song]) -> None:
    for song in songs:
        times = [time for _, time, _ in song.drums]
        assert times == sorted(times)
        assert all(0 <= time < song.duration for time in times)
        assert all(0 < velocity <= 1 for _, _, velocity in song.drums)
        size = {"4/4": 4, "3/4": 3, "6/8": 2}[song.meter]
        assert [number for _, number in song.beats] == [i % size + 1 for i in range(len(song.beats))]
        assert abs((song.beats[-1][0] - song.beats[0][0]) - (len(song.beats) - 1) * 60 / song.bpm) < 1e-6
        kicks = [time for name, time, _ in song.drums if name == "kick" and time > 0.05]
        if song.style == "house" and song.drums:
            # Four on the floor: kicks lie on beats, up to human timing.
            near = [min(abs(time - beat) for beat, _ in song.beats) < 0.04 for time in kicks]
            assert sum(near) / len(near) > 0.8


def test_composing_is_a_pure_function_and_splits_are_disjoint() -> None:
    assert compose(3, "train", 5) == compose(3, "train", 5)
    pieces = [compose(seed, split, index) for seed in (3, 4) for split in ("train", "valid", "test") for index in range(4)]
    keys = Counter(str(song.chords) + str(song.melody) + str(song.drums) for song in pieces)
    assert max(keys.values()) == 1
    assert len({generator(seed, split, 0, "song").random() for seed in range(50) for split in ("train", "valid", "test")}) == 150


def test_swing_delays_the_middle_of_the_pulse_only() -> None:
    clock = Clock(60, 2 / 3, sixteenths=False)
    assert [round(clock(position), 6) for position in (0.0, 0.5, 1.0, 3.5)] == [0.0, 0.666667, 1.0, 3.666667]
    straight = Clock(120, 0.5, sixteenths=True)
    assert abs(straight(1.75) - 0.875) < 1e-9


def test_monophonic_cuts_overlaps_and_drops_slivers() -> None:
    events = [Event(60, 0.0, 1.0, 90), Event(62, 0.5, 0.9, 90), Event(64, 0.52, 1.5, 90)]
    assert [(event.pitch, round(event.end, 3)) for event in monophonic(events)] == [(60, 0.49), (64, 1.5)]


def test_voicing_holds_all_tones_near_the_centre() -> None:
    for chord in ALL_CHORDS:
        pitches = voicing(chord, 60, None)
        assert {pitch % 12 for pitch in pitches} == set(chord.tones)
        assert all(45 < pitch < 77 for pitch in pitches)


def test_without_a_bass_the_comping_plays_the_bass_tone() -> None:
    notes = comp_part([Span(Chord(0, "/3"), 0.0, 4.0)], "held", "4/4", 4, generator(0, "train", 0, "x"), centre=60, with_bass=True)
    lowest = min(notes, key=lambda note: note.pitch)
    assert lowest.pitch % 12 == 4
    assert lowest.pitch < 50
