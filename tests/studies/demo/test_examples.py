"""What `make examples` wrote into docs/examples: sound that is sound, and a page whose links and commands are right."""

from __future__ import annotations

import argparse
import json
import re
import shlex
from pathlib import Path

import pytest
from PIL import Image

from jasco_pl.audio.files import read_audio, true_peak_db
from jasco_pl.commands.generate import add_arguments, request_of
from jasco_pl.studies.demo import COLUMNS, read_requests

CHECKOUT = Path(__file__).parents[3]
EXAMPLES = CHECKOUT / "docs" / "examples"
REQUESTS = read_requests(EXAMPLES / "requests.yaml").requests


def links() -> list[str]:
    text = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    return [link for link in re.findall(r"\]\(([^)#]+)\)", text) if not link.startswith("http")]


def test_the_page_links_every_clip_and_nothing_that_is_not_there() -> None:
    assert all((EXAMPLES / link).is_file() for link in links())
    assert {f"{name}{end}" for name in REQUESTS for end in (".ogg", "-without.ogg", ".png")} <= set(links())


def test_commands_of_the_page_are_the_requests_of_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(CHECKOUT)
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    text = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    written = re.findall(r"^jasco generate.*?(?=\n```)", text, re.MULTILINE | re.DOTALL)
    read = [parser.parse_args(shlex.split(command.replace("\\\n", ""))[2:]) for command in written]
    relative = list(read_requests(Path("docs/examples/requests.yaml")).requests.values())
    assert [request_of(args, args.seed) for args in read] == relative


def test_the_page_knows_which_way_a_figure_is_better() -> None:
    page = (EXAMPLES / "index.html").read_text(encoding="utf-8")
    told = json.loads(page.split('id="data">', 1)[1].split("</script>", 1)[0])["columns"]
    better = {column.key: column.higher_is_better for column in COLUMNS}
    assert {column["key"]: column["higher_is_better"] for column in told} == {column["key"]: better[column["key"]] for column in told}
    assert {better[column["key"]] for column in told} == {True, False, None}


def test_files_are_small_and_sound_is_sound() -> None:
    assert sum(path.stat().st_size for path in EXAMPLES.rglob("*") if path.is_file()) < 2_500_000
    for name in REQUESTS:
        with Image.open(EXAMPLES / f"{name}.png") as picture:
            assert picture.width > 900
        assert (EXAMPLES / f"{name}.png").stat().st_size < 80_000
        for end in ("", "-without"):
            wav = read_audio(EXAMPLES / f"{name}{end}.ogg")
            assert wav.shape == (1, 320000)
            assert true_peak_db(wav, 32000) < 0.5
            loud = wav[0].reshape(-1, 3200).pow(2).mean(dim=1).sqrt()
            assert (loud > 10 ** (-50 / 20)).float().mean() > 0.9
            settings = json.loads((EXAMPLES / f"{name}{end}.json").read_text(encoding="utf-8"))
            assert settings["request"]["text"] == REQUESTS[name].text
