"""Pretrained and classical extractors: what is heard in audio. Used by data preparation, evaluation and generation alike."""
