"""Measures of generated music: plain functions for one clip, and `torchmetrics` classes that gather over clips and processes.

`ClipFigures` takes the figures of clips to their mean and its interval; `FrechetDistance` and `KernelDistance` compare sets of embeddings.
The evaluation and the validation of a training compute through these.

The functions take what extractors heard (frames, onset times, bins), what an embedder made of the audio (`metrics.embedders`), or audio;
they never extract chords, onsets or embeddings themselves. `docs/metrics.md` lists all of them.
"""
