"""Static HTML pages that need nothing but themselves: no server, no network, no second file but the audio they play."""

from jasco_pl.pages.base import Markup, audio_player, data_element, escape, figure_png, join, page, table, write_html

__all__ = ["Markup", "audio_player", "data_element", "escape", "figure_png", "join", "page", "table", "write_html"]
