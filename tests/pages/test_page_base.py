from __future__ import annotations

import base64
import io
import json
import re

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.image import imread
from page_reader import read_page

from jasco_pl.pages import Markup, audio_player, data_element, escape, figure_png, join, page, table, write_html
from jasco_pl.system.errors import UserError

HOSTILE = """</script><script>alert("1")</script><!-- <b a='x'> & \u2028 é"""


def test_text_is_escaped_everywhere_and_comes_back_unchanged() -> None:
    body = join(
        [Markup("<h1>") + HOSTILE + Markup("</h1>"), table([HOSTILE], [[HOSTILE]], caption=HOSTILE), audio_player("a.flac", HOSTILE)]
    )
    seen = read_page(page(HOSTILE, body))
    assert seen.text("title") == seen.text("h1") == seen.text("caption") == seen.text("tbody th") == HOSTILE
    assert seen.find("audio")[0]["aria-label"] == HOSTILE
    assert not seen.find("script")


def test_html_is_not_escaped_twice() -> None:
    assert escape(escape("a < b")) == "a &lt; b"
    assert table(["x"], [[Markup("<b>1</b>")]]).count("<b>1</b>") == 1


def test_data_reaches_the_script_whole() -> None:
    data = {"text": HOSTILE, "list": [1, 2.5, None], "<key>": "&amp;"}
    seen = read_page(page("t", data_element("data", data)))
    assert len(seen.find("script")) == 1
    assert json.loads(seen.text("script")) == data
    with pytest.raises(ValueError, match="JSON"):
        data_element("data", {"x": float("nan")})


def test_script_and_style_cannot_end_early() -> None:
    with pytest.raises(ValueError, match="script"):
        page("t", "", script="const a = '</SCRIPT>'")
    with pytest.raises(ValueError, match="style"):
        page("t", "", style="/* </style> */")


def test_page_is_valid_and_loads_nothing() -> None:
    text = page("t", table(["a", "b"], [["x", 1], ["y", 2]]) + audio_player("a.flac"), script="let a = 1 < 2", style="p { margin: 0 }")
    seen = read_page(text)  # raises where tags are not nested
    assert [tag for tag in seen.order if tag in ("html", "head", "body", "main", "table")] == ["html", "head", "body", "main", "table"]
    assert not re.search(r"https?:|url\(|@import|src=.?//", text)
    assert {cell.get("class") for cell in seen.find("td")} == {"number"}


def test_both_colour_schemes_define_the_same_variables_and_all_that_are_used() -> None:
    text = page("t", "")
    light, dark = (set(re.findall(r"(--[a-z]+):", part)) for part in text.split("prefers-color-scheme: dark", 1))
    assert light - {"--sans", "--mono"} == dark
    assert set(re.findall(r"var\((--[a-z]+)\)", text)) <= light


@pytest.mark.parametrize(
    ("foreground", "least"), [("ink", 7.0), ("soft", 4.5), ("accent", 4.5), ("good", 4.5), ("near", 4.5), ("bad", 4.5)]
)
@pytest.mark.parametrize("scheme", [0, 1])
def test_text_colours_are_legible(foreground: str, least: float, scheme: int) -> None:
    """Contrast as WCAG 2.1 computes it, on all three backgrounds."""
    part = page("t", "").split("prefers-color-scheme: dark", 1)[scheme]

    def luminance(name: str) -> float:
        match = re.search(rf"--{name}: #([0-9a-f]{{6}})", part)
        assert match
        channel = np.array(list(bytes.fromhex(match[1]))) / 255
        linear = np.where(channel <= 0.03928, channel / 12.92, ((channel + 0.055) / 1.055) ** 2.4)
        return float(linear @ [0.2126, 0.7152, 0.0722])

    for background in ("paper", "card", "shade", "mark"):
        low, high = sorted((luminance(foreground), luminance(background)))
        assert (high + 0.05) / (low + 0.05) >= least, background


@pytest.mark.parametrize("src", ["/tmp/a.flac", "https://example.org/a.flac", "//example.org/a.flac", "file:///tmp/a.flac"])
def test_players_take_no_absolute_source(src: str) -> None:
    with pytest.raises(UserError, match="relative"):
        audio_player(src)


def test_players_take_odd_names() -> None:
    assert read_page(audio_player("a b/50% #1?.flac")).find("audio")[0]["src"] == "a%20b/50%25%20%231%3F.flac"
    assert read_page(audio_player("take:2.flac")).find("audio")[0]["src"] == "./take%3A2.flac"
    assert read_page(audio_player("../a.flac")).find("audio")[0]["src"] == "../a.flac"
    assert read_page(audio_player("data:audio/wav;base64,AA==")).find("audio")[0]["src"].startswith("data:audio/wav;base64,")


def test_figures_stand_inside_the_page() -> None:
    figure = Figure(figsize=(2, 1))
    figure.add_subplot().plot([0, 1])
    (image,) = read_page(figure_png(figure, "a line", dpi=50)).find("img")
    pixels = imread(io.BytesIO(base64.b64decode((image["src"] or "").split(",", 1)[1])))
    assert pixels.shape[:2] == (50, 100)
    assert image["alt"] == "a line"


def test_a_page_is_written_whole(tmp_path) -> None:
    write_html(tmp_path / "new" / "index.html", page("é", ""))
    assert (tmp_path / "new" / "index.html").read_text(encoding="utf-8") == page("é", "")
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["index.html"]
