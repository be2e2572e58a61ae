from __future__ import annotations

import json
import re
from typing import Any

import numpy as np
import pytest
from jinja2 import ChoiceLoader, DictLoader, UndefinedError
from page_reader import read_page

from jasco_pl.pages.base import render, source, templates
from jasco_pl.system.errors import UserError

HOSTILE = """</script><script>alert("1")</script><!-- <b a='x'> & \u2028 é"""
PAGE = """{% extends "pages/base.html" %}
{% from "pages/table.html" import table %}
{% block body %}<h1>{{ heading }}</h1>{{ table([heading, "b"], [[heading, 1], ["y", 2]]) }}
{% call(cell) table(["x"], [["1"]]) %}<b>{{ cell }}</b>{% endcall %}
<script type="application/json" id="data">{{ data | tojson }}</script>{% endblock %}"""


@pytest.fixture(autouse=True)
def _page_of_the_test(monkeypatch: pytest.MonkeyPatch) -> None:
    loader = templates().loader
    assert loader
    monkeypatch.setattr(templates(), "loader", ChoiceLoader([loader, DictLoader({"page.html": PAGE})]))


def page(title: str = "t", heading: str = "a", data: Any = None, **values: Any) -> str:
    return render("page.html", title=title, heading=heading, data=data, **values)


def test_text_is_escaped_everywhere_and_comes_back_unchanged() -> None:
    seen = read_page(page(HOSTILE, HOSTILE))
    assert seen.text("title") == seen.text("h1") == seen.text("thead th") == seen.text("tbody th") == HOSTILE
    assert [script["type"] for script in seen.find("script")] == ["application/json"]


def test_data_reaches_the_script_whole() -> None:
    data = {"text": HOSTILE, "list": [1, 2.5, None], "<key>": "&amp;"}
    seen = read_page(page(data=data))
    assert len(seen.find("script")) == 1
    assert json.loads(seen.text("script")) == data
    with pytest.raises(ValueError, match="JSON"):
        page(data={"x": float("nan")})


def test_script_and_style_cannot_end_early() -> None:
    with pytest.raises(ValueError, match="script"):
        page(script="const a = '</SCRIPT>'")
    with pytest.raises(ValueError, match="style"):
        page(style="/* </style> */")


def test_what_a_template_is_not_given_is_an_error() -> None:
    with pytest.raises(UndefinedError):
        render("page.html", title="t")


def test_page_is_valid_and_loads_nothing() -> None:
    text = page(script="let a = 1 < 2", style="p { margin: 0 }")
    assert "let a = 1 < 2" in text
    assert "p { margin: 0 }" in text
    seen = read_page(text)  # raises where tags are not nested
    assert [tag for tag in seen.order if tag in ("html", "head", "body", "main")] == ["html", "head", "body", "main"]
    assert not re.search(r"https?:|url\(|@import|src=.?//", text)
    assert {cell.get("class") for cell in seen.find("td")} == {"number"}
    assert seen.text("tbody b") == "1"  # by the caller's block


def test_both_colour_schemes_define_the_same_variables_and_all_that_are_used() -> None:
    text = page()
    light, dark = (set(re.findall(r"(--[a-z]+):", part)) for part in text.split("prefers-color-scheme: dark", 1))
    assert light - {"--sans", "--mono"} == dark
    assert set(re.findall(r"var\((--[a-z]+)\)", text)) <= light


@pytest.mark.parametrize(
    ("foreground", "least"), [("ink", 7.0), ("soft", 4.5), ("accent", 4.5), ("good", 4.5), ("near", 4.5), ("bad", 4.5)]
)
@pytest.mark.parametrize("scheme", [0, 1])
def test_text_colours_are_legible(foreground: str, least: float, scheme: int) -> None:
    """Contrast as WCAG 2.1 computes it, on all three backgrounds."""
    part = page().split("prefers-color-scheme: dark", 1)[scheme]

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
        source(src)


def test_players_take_odd_names() -> None:
    assert source("a b/50% #1?.flac") == "a%20b/50%25%20%231%3F.flac"
    assert source("take:2.flac") == "./take%3A2.flac"
    assert source("../a.flac") == "../a.flac"
    assert source("data:audio/wav;base64,AA==") == "data:audio/wav;base64,AA=="
