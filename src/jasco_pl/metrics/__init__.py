"""Measures of generated music. Each file holds one idea: a plain function for one clip, and a `torchmetrics.Metric` that averages it.

The metrics take what extractors heard (frames, onset times, bins), what an embedder made of the audio (`metrics.embedders`), or audio; they
never extract chords, onsets or embeddings themselves. `docs/metrics.md` lists all of them.
"""

from jasco_pl.metrics.chords import ChordAccuracy, ChordIoU, chord_accuracy, chord_iou
from jasco_pl.metrics.chroma import ChromaSimilarity, chroma_similarity, prominent_pitch_class
from jasco_pl.metrics.distances import FrechetDistance, Gaussian, KernelDistance, frechet_distance, kernel_distance
from jasco_pl.metrics.labels import ClapScore, LabelKL, clap_score, label_kl
from jasco_pl.metrics.melody import (
    MelodyAccuracy,
    MelodySimilarity,
    PitchClassAccuracy,
    melody_accuracy,
    melody_similarity,
    pitch_class_accuracy,
)
from jasco_pl.metrics.onset_f1 import OnsetF1, onset_f1
from jasco_pl.metrics.reconstruction import HumExcess, MelDistance, click_rate, frame_rate_hum, mel_distance
from jasco_pl.metrics.report import Column, Figure, Row, bootstrap_interval, markdown_table, write_report
from jasco_pl.metrics.speed import FunctionEvaluations, RealTimeFactor

__all__ = [
    "ChordAccuracy",
    "ChordIoU",
    "ChromaSimilarity",
    "ClapScore",
    "Column",
    "Figure",
    "FrechetDistance",
    "FunctionEvaluations",
    "Gaussian",
    "HumExcess",
    "KernelDistance",
    "LabelKL",
    "MelDistance",
    "MelodyAccuracy",
    "MelodySimilarity",
    "OnsetF1",
    "PitchClassAccuracy",
    "RealTimeFactor",
    "Row",
    "bootstrap_interval",
    "chord_accuracy",
    "chord_iou",
    "chroma_similarity",
    "clap_score",
    "click_rate",
    "frame_rate_hum",
    "frechet_distance",
    "kernel_distance",
    "label_kl",
    "markdown_table",
    "mel_distance",
    "melody_accuracy",
    "melody_similarity",
    "onset_f1",
    "pitch_class_accuracy",
    "prominent_pitch_class",
    "write_report",
]
