"""Files of audio and waveforms: decoding, resampling, levels, recordings of any length."""

from jasco_pl.audio.files import AUDIO_SUFFIXES, SAMPLE_RATE, loudness_normalize, read_audio, resample, write_audio

__all__ = ["AUDIO_SUFFIXES", "SAMPLE_RATE", "loudness_normalize", "read_audio", "resample", "write_audio"]
