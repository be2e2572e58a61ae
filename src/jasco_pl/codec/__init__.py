"""Codecs: one interface, EnCodec and the embedded codec behind it."""

from pathlib import Path

from jasco_pl.codec.base import Codec
from jasco_pl.codec.embedded import BandCodec, BandCodecConfig, is_band_codec
from jasco_pl.system.resources import locate


def load_codec(name: str | Path, beside: str | Path | None = None) -> Codec:
    """The embedded codec from its folder, or EnCodec from a folder in transformers' layout or a Hub id.

    Args:
        name: folder (also relative to the checkout) or Hub id.
        beside: a checkpoint in whose neighbourhood the codec may lie.

    Raises:
        UserError: there is no such codec.
    """
    found = locate(name, beside)
    if is_band_codec(Path(found)):
        return BandCodec.from_pretrained(found)
    from jasco_pl.codec.encodec import EncodecCodec  # here: transformers' models take seconds to import, in every process of a pool

    return EncodecCodec.from_pretrained(found)


__all__ = ["BandCodec", "BandCodecConfig", "Codec", "load_codec"]
