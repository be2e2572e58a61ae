"""Measures of generated music. Each file holds one idea: a plain function for one clip, and a `torchmetrics.Metric` that averages it.

The metrics take what extractors heard (frames, onset times, bins) or audio; they never extract chords, onsets or melodies themselves.
"""

from jasco_pl.metrics.bootstrap import bootstrap_interval
from jasco_pl.metrics.chord_iou import ChordIoU, chord_iou
from jasco_pl.metrics.chroma import ChromaSimilarity, chroma_similarity, prominent_pitch_class
from jasco_pl.metrics.hum import HumExcess, click_rate, frame_rate_hum
from jasco_pl.metrics.mel_distance import MelDistance, mel_distance
from jasco_pl.metrics.melody import MelodyAccuracy, PitchClassAccuracy, melody_accuracy, pitch_class_accuracy
from jasco_pl.metrics.onset_f1 import OnsetF1, onset_f1
from jasco_pl.metrics.report import Column, Figure, Row, markdown_table, write_report

__all__ = [
    "ChordIoU",
    "ChromaSimilarity",
    "Column",
    "Figure",
    "HumExcess",
    "MelDistance",
    "MelodyAccuracy",
    "OnsetF1",
    "PitchClassAccuracy",
    "Row",
    "bootstrap_interval",
    "chord_iou",
    "chroma_similarity",
    "click_rate",
    "frame_rate_hum",
    "markdown_table",
    "mel_distance",
    "melody_accuracy",
    "onset_f1",
    "pitch_class_accuracy",
    "prominent_pitch_class",
    "write_report",
]
