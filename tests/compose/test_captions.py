from __future__ import annotations

import re

from jasco_pl.compose.captions import captions, tempo_words
from jasco_pl.compose.song import Song, generator
from jasco_pl.compose.tables import INSTRUMENTS, KITS, STYLES


def written(song: Song, index: int) -> list[str]:
    return captions(song, generator(1, "train", index, "captions"))


def test_every_piece_has_five_or_six_different_captions(songs: list[Song]) -> None:
    everything = []
    for index, song in enumerate(songs):
        lines = written(song, index)
        assert 5 <= len(set(lines)) == len(lines) <= 6
        everything += lines
    assert len(set(everything)) > 0.85 * len(everything)
    lengths = [len(line.split()) for line in everything]
    assert min(lengths) <= 4
    assert max(lengths) >= 20
    assert not [line for line in everything if re.search(r"[{}]|  |None|\ba [aeiou]", line)]


def test_captions_name_only_what_sounds(songs: list[Song]) -> None:
    vocabulary = {word: name for name, instrument in INSTRUMENTS.items() for word in instrument.words if len(word) > 5}
    drums = {word for words in KITS.values() for word in words}
    for index, song in enumerate(songs):
        playing = {part.name for part in song.parts}
        said_by_players = {word for name in playing for word in (INSTRUMENTS[name].words if name in INSTRUMENTS else (name,))}
        said_by_players |= set(STYLES[song.style].words)
        for line in written(song, index):
            rest = line.lower()
            for word in sorted(said_by_players, key=len, reverse=True):
                rest = rest.replace(word.lower(), "")
            strangers = [word for word in vocabulary if re.search(rf"\b{re.escape(word.lower())}\b", rest)]
            assert not strangers, (line, strangers)
            if not song.drums:
                rest = re.sub(r"no drums|without drums|drumless|melody or drums", "", rest)
                assert not any(re.search(rf"\b{re.escape(word)}\b", rest) for word in drums), line


def test_tempo_key_and_metre_are_true(songs: list[Song]) -> None:
    numbers = keys = 0
    for index, song in enumerate(songs):
        for line in written(song, index):
            for number in re.findall(r"(\d+) (?:bpm|BPM|beats)", line):
                numbers += 1
                assert int(number) == song.bpm
            for key in re.findall(r"\b([A-G][#b]? (?:major|minor))\b", line):
                keys += 1
                assert key == song.key
            for meter in re.findall(r"\b([346]/[48])\b", line):
                assert meter == song.meter
    assert numbers > 300
    assert keys > 300


def test_solos_say_so(songs: list[Song]) -> None:
    for index, song in enumerate(songs):
        if song.layout == "drums only":
            assert all(re.search(r"drum|808|brush|percussion|beat", line.lower()) for line in written(song, index))
            assert not any("major" in line or "minor" in line for line in written(song, index))


def test_tempo_words_rise() -> None:
    assert "slow" in tempo_words(60)
    assert "mid-tempo" in tempo_words(110)
    assert "very fast" in tempo_words(170)
