from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from jasco_pl.controls.adherence import CHORDS, MELODY, ONSETS
from jasco_pl.metrics.following import LOWEST_MIDI, chord_iou, melody_accuracy, onset_f1
from jasco_pl.notation import harmony
from jasco_pl.pages.lanes import FREE, NEAR, RIGHT, WRONG, Labels

SECONDS, FRAMES = 4.0, 200


def time_of(stretches: list[list], *verdicts: int) -> float:
    return sum(stretch[-2] - stretch[-3] for stretch in stretches if stretch[-1] in verdicts)


def steps(draw: np.random.Generator, low: int, high: int) -> NDArray[np.int64]:
    """Labels that stay for a while."""
    return np.repeat(draw.integers(low, high, 20), FRAMES // 20)


@pytest.mark.parametrize("seed", range(5))
def test_chords_are_judged_as_the_metric_does(seed: int) -> None:
    draw = np.random.default_rng(seed)
    asked = steps(draw, 0, 16)
    heard = np.where(steps(draw, 0, 3) > 0, asked, steps(draw, 0, 16))
    heard[50:90] = harmony.N
    lane = CHORDS.judged(CHORDS.lane.written(asked), {"chords": CHORDS.lane.written(heard)}, SECONDS)
    for verdicts, level in (((RIGHT,), "exact"), ((RIGHT, NEAR), "triad")):
        share = time_of(lane["heard"], *verdicts) / SECONDS
        assert share / (2 - share) == pytest.approx(chord_iou(heard, asked, level))
    assert [stretch[1] for stretch in lane["asked"]] == [start for _, start in harmony.frames_to_changes(asked)]
    assert lane["heard"][0][1] == 0
    assert lane["heard"][-1][2] == SECONDS


def test_nothing_right_can_be_played_to_an_unknown_chord() -> None:
    lane = CHORDS.judged([["UNK", 0.0], ["Bb", 2.0]], {"chords": [["Bb", 0.0]]}, SECONDS)
    assert [stretch[0] for stretch in lane["asked"]] == ["?", "B♭"]
    assert lane["heard"] == [["B♭", 0.0, 2.0, FREE], ["B♭", 2.0, 4.0, RIGHT]]


@pytest.mark.parametrize("seed", range(5))
def test_a_melody_is_judged_as_the_metric_does_in_any_octave(seed: int) -> None:
    draw = np.random.default_rng(seed)
    asked = np.where(steps(draw, 0, 4) > 0, steps(draw, 5, 40), -1)
    heard = np.where(steps(draw, 0, 3) > 0, asked, steps(draw, 0, 53))
    heard = np.where((heard >= 12) & (steps(draw, 0, 2) > 0), heard - 12, heard)

    def notes(bins: NDArray[np.int64]) -> list[list[float]]:
        return [[int(pitch) + LOWEST_MIDI, frame / 50, (frame + 1) / 50] for frame, pitch in enumerate(bins) if pitch >= 0]

    whole = MELODY.judged(notes(asked), {"melody": notes(heard)}, SECONDS)
    classes = [[pitch % 12, *times] for pitch, *times in notes(heard)]
    folded = MELODY.judged(notes(asked), {"melody": [], "pitch_classes": classes}, SECONDS)
    for lane, octaves in ((whole, True), (folded, False)):
        voiced = sum(off - on for _, on, off in lane["asked"])
        assert time_of(lane["heard"], RIGHT) / voiced == pytest.approx(melody_accuracy(heard, asked))
        assert lane["octaves"] is octaves
    rights = [note for note in folded["heard"] if note[-1] == RIGHT]
    asked_of = {round(on * 50): pitch for pitch, on, _ in notes(asked)}
    assert rights
    assert all(asked_of[round(on * 50)] == pitch for pitch, on, _, _ in rights)  # it lies on the note it agrees with
    assert max(abs(note[0] - whole_note) for note in folded["heard"] for whole_note in [asked_of.get(round(note[1] * 50), note[0])]) <= 6


def test_onsets_are_judged_as_the_metric_does() -> None:
    asked, heard = [0.5, 1.0, 1.5, 2.0, 3.9], [0.54, 1.06, 1.49, 1.52, 2.0, 2.5]
    lane = ONSETS.judged(asked, {"onsets": heard}, SECONDS)
    hits = [verdict == RIGHT for _, verdict in lane["heard"]]
    assert hits == [True, False, True, False, True, False] or hits == [True, False, False, True, True, False]
    assert [verdict for _, verdict in lane["asked"]] == [RIGHT, WRONG, RIGHT, RIGHT, WRONG]
    assert 2 * sum(hits) / (len(asked) + len(heard)) == pytest.approx(onset_f1(heard, asked))


def test_silence_is_wrong() -> None:
    assert CHORDS.judged([["C", 0.0]], {}, SECONDS)["heard"] == [["–", 0.0, SECONDS, WRONG]]
    assert MELODY.judged([[71, 0, 1]], {}, SECONDS)["heard"] == []
    onsets = ONSETS.judged([1.0], {}, SECONDS)
    assert onsets["heard"] == []
    assert onsets["asked"] == [[1.0, WRONG]]


def test_labels_of_any_vocabulary() -> None:
    lane = Labels("form", ["none", "verse", "chorus"], nothing=0)
    asked, heard = np.repeat([1, 2, 3], 50), np.repeat([1, 1, 2], 50)
    assert lane.written(asked) == [["verse", 0.0], ["chorus", 1.0], ["", 2.0]]  # what lies beyond the vocabulary was not asked for
    assert lane.judged(lane.written(asked), [["verse", 0.5]], 2.0)["heard"] == [
        ["none", 0.0, 0.5, WRONG],
        ["verse", 0.5, 1.0, RIGHT],
        ["verse", 1.0, 2.0, WRONG],
    ]
    assert lane.verdicts(asked, heard).tolist() == [RIGHT] * 50 + [WRONG] * 50 + [FREE] * 50


def test_labels_that_were_not_asked_for_leave_a_gap() -> None:
    side = np.full(150, harmony.NULL)
    side[50:100] = harmony.index("C")
    written = CHORDS.lane.written(side)
    assert written == [["", 0.0], ["C", 1.0], ["", 2.0]]
    lane = CHORDS.lane.judged(written, [["C", 0.0]], 3.0)
    assert lane["asked"] == [["C", 1.0, 2.0]]
    assert [verdict for *_, verdict in lane["heard"]] == [FREE, RIGHT, FREE]
