"""The velocity network: Transformer, checkpoint format, text encoder, flow. No training, no audio."""
