"""Measures of generated music: plain functions for one clip, and `torchmetrics` classes that gather over clips and processes.

`ClipFigures` takes the figures of clips to their mean and its interval; `FrechetDistance` and `KernelDistance` compare sets of embeddings.
The evaluation and the validation of a training compute through these.

The functions take what extractors heard (frames, onset times, bins), what an embedder made of the audio (`metrics.embedders`), or audio;
they never extract chords, onsets or embeddings themselves. `docs/metrics.md` lists all of them.
"""

from jasco_pl.metrics.distances import ClipFigures, FrechetDistance, KernelDistance, clap_score, kernel_distance, label_kl
from jasco_pl.metrics.following import (
    chord_accuracy,
    chord_iou,
    chroma_similarity,
    melody_accuracy,
    melody_similarity,
    onset_f1,
    pitch_class_accuracy,
)
from jasco_pl.metrics.reconstruction import click_rate, frame_rate_hum, mel_distance
from jasco_pl.metrics.report import Column, Figure, Row, bootstrap_interval, markdown_table, write_report

__all__ = [
    "ClipFigures",
    "Column",
    "Figure",
    "FrechetDistance",
    "KernelDistance",
    "Row",
    "bootstrap_interval",
    "chord_accuracy",
    "chord_iou",
    "chroma_similarity",
    "clap_score",
    "click_rate",
    "frame_rate_hum",
    "kernel_distance",
    "label_kl",
    "markdown_table",
    "mel_distance",
    "melody_accuracy",
    "melody_similarity",
    "onset_f1",
    "pitch_class_accuracy",
    "write_report",
]
