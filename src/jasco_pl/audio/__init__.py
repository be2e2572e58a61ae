"""Files of audio and waveforms: decoding, resampling, levels, recordings of any length."""
