"""Training of the codec's vocoder (`jasco fit-codec`): its crops, its losses, its module, and latents as a model makes them."""
