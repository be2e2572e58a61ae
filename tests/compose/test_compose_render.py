"""The audio is checked against the annotation: what is written must be what is heard."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import scipy.signal
from vocabulary import ALL_CHORDS, CHORDS

from jasco_pl.compose.composer import compose
from jasco_pl.compose.render import SAMPLE_RATE, Renderer, produce, room
from jasco_pl.compose.song import Chord, Event, Part, Song
from jasco_pl.compose.tables import INSTRUMENTS
from jasco_pl.system.errors import UserError


@pytest.fixture(scope="module", params=[1, 2])
def pieces(request: pytest.FixtureRequest) -> list[Song]:
    songs = (compose(5, "valid", index, edition=request.param) for index in range(60))
    return [song for song in songs if song.layout == "drums, melody" and song.duration < 32][:4]


@pytest.fixture(scope="module")
def produced(renderer: Renderer, pieces: list[Song]) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    return [produce(renderer, song, np.random.default_rng(number)) for number, song in enumerate(pieces)]


def chroma(audio: np.ndarray, low: float = 110.0, high: float = 1400.0) -> np.ndarray:
    """Magnitude a pitch class, over all of `audio`."""
    spectrum = np.abs(np.fft.rfft(audio * np.hanning(len(audio)), 1 << 16))
    frequency = np.fft.rfftfreq(1 << 16, 1 / SAMPLE_RATE)
    keep = (frequency > low) & (frequency < high)
    pitch = 69 + 12 * np.log2(frequency[keep] / 440.0)
    close = np.abs(pitch - np.round(pitch)) < 0.3
    return np.bincount(np.round(pitch[close]).astype(int) % 12, spectrum[keep][close] ** 1.0, minlength=12)


def fit(chord: Chord, profile: np.ndarray) -> float:
    tones = list({*chord.tones, chord.bass})
    return float(profile[tones].mean() - np.delete(profile, tones).mean())


def test_the_annotated_chord_is_heard_in_the_drumless_stem(
    pieces: list[Song], produced: list[tuple[np.ndarray, np.ndarray, np.ndarray]]
) -> None:
    rng = np.random.default_rng(0)
    better, transposed, total = 0, 0, 0
    for song, (_, _, drumless) in zip(pieces, produced, strict=True):
        for (label, start), (_, end) in zip(song.chords, [*song.chords[1:], ("N", song.duration - 0.8)], strict=True):
            if label == "N" or end - start < 0.4:
                continue
            profile = chroma(drumless[int((start + 0.05) * SAMPLE_RATE) : int(min(end, start + 1.8) * SAMPLE_RATE)] / 32768)
            chord = CHORDS[label]
            other = ALL_CHORDS[rng.integers(192)]
            better += fit(chord, profile) >= fit(other, profile)
            fits = [fit(Chord(root, chord.kind), profile) for root in range(12)]
            transposed += fits[chord.root] >= max(fits) - 1e-9
            total += 1
    assert total >= 30
    assert better / total > 0.93  # a wrong annotation gives 0.5
    assert transposed / total > 0.75  # a wrong annotation gives 0.083


def test_drum_hits_are_heard_where_they_are_annotated(
    pieces: list[Song], produced: list[tuple[np.ndarray, np.ndarray, np.ndarray]]
) -> None:
    heard = total = 0
    for song, (_, drums, _) in zip(pieces, produced, strict=True):
        power = (drums / 32768) ** 2
        times = np.array([time for _, time, _ in song.drums])
        for name, time, velocity in song.drums:
            # A hat may fall together with the stroke; anything shortly before would still be ringing.
            together = times[np.abs(times - time) < 0.025]
            before = np.sum((times > time - 0.12) & (times < together.min()))
            if name not in ("kick", "snare", "rim", "clap") or velocity < 0.5 or time < 0.1 or before:
                continue
            first, last = round(together.min() * SAMPLE_RATE), round(together.max() * SAMPLE_RATE)
            total += 1
            heard += power[first : last + 1000].mean() > 1.5 * power[first - 900 : first - 20].mean()
    assert total >= 80
    assert heard / total > 0.95


def test_stems_add_up_and_nothing_clips_or_is_silent(pieces: list[Song], produced: list[tuple[np.ndarray, np.ndarray, np.ndarray]]) -> None:
    for song, (mix, drums, drumless) in zip(pieces, produced, strict=True):
        assert mix.dtype == drums.dtype == drumless.dtype == np.int16
        assert len(mix) == len(drums) == len(drumless) == round(song.duration * SAMPLE_RATE)
        np.testing.assert_array_equal(mix.astype(int), drums.astype(int) + drumless)
        assert max(np.abs(stem.astype(int)).max() for stem in (mix, drums, drumless)) <= 0.97 * 32768
        level = 20 * np.log10(np.sqrt(np.mean((mix / 32768) ** 2)))
        assert -36 < level < -10
        assert abs(np.mean(mix / 32768)) < 1e-3


def test_a_piece_without_drums_is_as_loud_as_others(renderer: Renderer) -> None:
    song = next(song for song in (compose(5, "valid", index) for index in range(60)) if song.layout == "no drums, no melody")
    for seed in range(3):
        mix, drums, _ = produce(renderer, song, np.random.default_rng(seed))
        assert not drums.any()
        level = 20 * np.log10(np.sqrt(np.mean((mix / 32768) ** 2)))
        # The level drawn, or as loud as the peak allows.
        assert -24.5 < level < -12.5 or np.abs(mix.astype(int)).max() > 0.95 * 32767


@pytest.mark.parametrize("name", ["flute", "violin", "saw lead", "alto sax", "vibraphone", "nylon guitar", "trumpet", "voice", "clarinet"])
def test_a_lead_sounds_at_the_annotated_pitch(renderer: Renderer, pieces: list[Song], name: str) -> None:
    instrument = INSTRUMENTS[name]
    pitches = [instrument.low + 4, (instrument.low + instrument.high) // 2, instrument.high - 4]
    events = [Event(pitch, 0.1 + 0.6 * number, 0.6 + 0.6 * number, 95) for number, pitch in enumerate(pitches)]
    part = Part("melody", name, instrument.program, 0.0, events)
    _, audio = renderer.render(replace(pieces[0], parts=[part], duration=2.0))
    for number, pitch in enumerate(pitches):
        start = round((0.25 + 0.6 * number) * SAMPLE_RATE)
        assert abs(pitch_of(audio[start : start + 6400]) - pitch) < 0.5


def pitch_of(audio: np.ndarray) -> float:
    """MIDI pitch by autocorrelation: the shortest lag whose peak is nearly as high as the highest."""
    lags = scipy.signal.correlate(audio, audio, method="fft")[len(audio) - 1 :]
    lags = lags[:1200] / lags[0]
    peaks, _ = scipy.signal.find_peaks(lags[:1000], height=0.0)
    best = next(peak for peak in peaks if peak > 10 and lags[peak] > 0.85 * lags[peaks[peaks > 10]].max())
    a, b, c = lags[best - 1 : best + 2]
    return float(69 + 12 * np.log2(SAMPLE_RATE / (best + 0.5 * (a - c) / (a - 2 * b + c)) / 440))


def test_a_song_sounds_the_same_whatever_was_rendered_before(renderer: Renderer, pieces: list[Song]) -> None:
    first = renderer.render(pieces[0])
    # Break off in the middle of a loud passage: its voices must not be heard in what follows.
    renderer.render(replace(pieces[1], parts=[part for part in pieces[1].parts if part.role == "comp"], duration=3.3))
    for before, after in zip(first, renderer.render(pieces[0]), strict=True):
        np.testing.assert_array_equal(before, after)


def test_rooms_differ_and_start_with_the_direct_sound() -> None:
    responses = [room(np.random.default_rng(seed)) for seed in range(12)]
    assert len({len(response) for response in responses}) > 4
    for response in responses:
        assert np.isfinite(response).all()
        assert np.abs(response).argmax() < 4


def test_a_file_that_is_no_soundfont_is_refused(tmp_path: Path) -> None:
    wrong = tmp_path / "font.sf2"
    wrong.write_text("not a font")
    with pytest.raises(UserError, match=r"font\.sf2"):
        Renderer(wrong)
