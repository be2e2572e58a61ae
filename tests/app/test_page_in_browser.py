"""The page itself, driven in Chromium with the model that ships. Slow."""

from __future__ import annotations

import io
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pretty_midi
import pytest
import soundfile
from conftest import running

from jasco_pl.generation.outline import DEFAULT_CHECKPOINT
from jasco_pl.system.resources import locate

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: make setup brings it")
BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
MINUTES = 60_000
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(BROWSER is None, reason="no Chromium here: on Debian, apt-get install chromium"),
    pytest.mark.skipif(not Path(locate(DEFAULT_CHECKPOINT)).is_dir(), reason="the checkpoint that ships is not here"),
]


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with running(DEFAULT_CHECKPOINT, tmp_path_factory.mktemp("served")) as (_, found):
        yield found


@pytest.fixture(scope="module")
def page(address: str) -> Iterator[Any]:
    """The page in a window, with nothing said in the console that is an error; everything it loads comes from the server."""
    with playwright.sync_playwright() as driver:
        arguments = [
            "--no-sandbox",
            "--autoplay-policy=no-user-gesture-required",
            "--use-fake-device-for-media-stream",
            "--use-fake-ui-for-media-stream",
        ]
        browser = driver.chromium.launch(executable_path=BROWSER, args=arguments)
        problems: list[str] = []
        strict = browser.new_context().new_page()  # under the page's own policy, which the waiting below needs to have lifted
        watch(strict, address, problems)
        strict.set_default_timeout(5 * MINUTES)
        strict.goto(address)
        strict.wait_for_selector("body[data-ready]")
        strict.context.close()
        context = browser.new_context(viewport={"width": 1440, "height": 1000}, permissions=["microphone"], bypass_csp=True)
        context.set_default_timeout(5 * MINUTES)
        found = context.new_page()
        watch(found, address, problems)
        found.goto(address)
        found.wait_for_selector("body[data-ready]")
        yield found
        browser.close()
        assert problems == []


def watch(page: Any, address: str, problems: list[str]) -> None:
    """Note what is said in the console that is an error (the server's refusals are none), and what is asked of anybody else."""
    page.on(
        "console", lambda message: problems.append(message.text) if message.type == "error" and "status of 4" not in message.text else None
    )
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("request", lambda request: None if request.url.startswith((address, "blob:", "data:")) else problems.append(request.url))


def tune(path: Path) -> Path:
    file = pretty_midi.PrettyMIDI()
    for name, pitches in (("bass", [45, 45, 48]), ("lead", [72, 74, 76, 77])):
        track = pretty_midi.Instrument(0, name=name)
        track.notes = [pretty_midi.Note(90, pitch, 0.6 * at, 0.6 * at + 0.5) for at, pitch in enumerate(pitches)]
        file.instruments.append(track)
    file.write(str(path))
    return path


def loop(path: Path) -> Path:
    time = np.arange(80000) / 32000
    noise = np.random.default_rng(0).standard_normal(len(time))
    soundfile.write(path, 0.4 * noise * np.exp(-40 * (time % 0.625)), 32000)
    return path


def make(page: Any) -> Any:
    """Press the button; the card of what is made."""
    before = page.locator(".job").count()
    page.click("#make")
    page.wait_for_function(f"document.querySelectorAll('.job').length === {before + 1}")
    assert page.inner_text("#form-said") == ""
    return page.locator(".job").first


def ended(card: Any, state: str = "done") -> None:
    card.page.wait_for_function(f"document.querySelector('#{card.get_attribute('id')}').dataset.state === '{state}'", timeout=10 * MINUTES)


def done(page: Any) -> Any:
    """The cards of takes that are done, the last one first; where none is, one is made."""
    found = page.locator(".job[data-state=done]")
    if not found.count():
        page.select_option("#quality", "fast")
        page.fill("#takes", "1")
        ended(make(page))
    return found


def test_chords_are_read_while_they_are_typed(page: Any) -> None:
    page.fill("#text", "mellow pop ballad with piano and strings")
    page.fill("#bpm", "96")
    page.check("#on-chords")
    page.fill("#chords", "C | G7 | Cmaj77 F")
    page.wait_for_selector("#chords-said mark")
    assert page.inner_text("#chords-said mark") == "Cmaj77"
    page.click("#chords-said button:has-text('Cmaj7')")
    page.wait_for_selector("#chords-lane text.label:has-text('Cmaj7')")
    assert page.input_value("#chords") == "C | G7 | Cmaj7 F"
    page.click("#up")
    page.wait_for_selector("#chords-lane text.label:has-text('C♯maj7')")
    page.select_option("#preset", "C | G | Am | F")
    page.wait_for_selector("#chords-lane text.label:has-text('Am')")


def test_what_the_model_lacks_is_greyed_out_with_the_reason(page: Any) -> None:
    assert page.is_disabled("#on-drumless")
    assert "was not trained with the control" in page.inner_text("[data-control=drumless] .why")
    assert page.is_enabled("#on-mix")


def test_it_makes_takes_of_chords_melody_and_drums_and_plays_them(page: Any, tmp_path: Path) -> None:
    page.check("#on-chords")
    page.fill("#chords", "C | G | Am | F")
    page.check("#on-melody")
    page.set_input_files("#file-melody", tune(tmp_path / "tune.mid"))
    page.wait_for_selector("#melody-file select")
    page.wait_for_function("document.querySelector('#roll .note').textContent.startsWith('4 notes')")
    page.locator(".roll-frame").scroll_into_view_if_needed()
    frame = page.locator(".roll-frame").bounding_box()
    page.mouse.click(frame["x"] + 330, frame["y"] + 60)
    page.wait_for_function("document.querySelector('#roll .note').textContent.startsWith('5 notes')")
    page.focus("#roll-canvas")
    for key in ("ArrowRight", "ArrowRight", "ArrowRight", "ArrowUp", "Enter", "+"):
        page.keyboard.press(key)
    page.wait_for_function("document.querySelector('#roll .note').textContent.startsWith('6 notes')")
    page.check("#on-drums")
    page.set_input_files("#file-drums", loop(tmp_path / "loop.wav"))
    page.wait_for_selector("#drums-file canvas")
    page.select_option("#quality", "fast")
    page.fill("#seed", "7")
    card = make(page)
    ended(card)
    assert card.locator(".one").count() == 2
    card.locator(".words b").nth(2).wait_for(timeout=3 * MINUTES)
    assert {"chords:", "melody:", "onsets:"} <= set(card.locator(".words b").all_inner_texts())
    assert card.locator(".lanes svg").count() >= 1
    card.locator(".play").first.click()
    page.wait_for_function("Number(document.querySelector('.job .one canvas').getAttribute('aria-valuenow')) > 0.3")
    card.locator(".one canvas").first.press("ArrowRight")
    card.locator(".play").first.click()
    with page.expect_download() as download:
        card.locator("a:has-text('FLAC')").first.click()
    assert soundfile.info(str(download.value.path())).duration == pytest.approx(10, abs=0.1)
    with page.expect_download() as download:
        card.locator("a:has-text('MIDI')").click()
    assert len(pretty_midi.PrettyMIDI(io.BytesIO(Path(download.value.path()).read_bytes())).instruments) == 3
    if folder := os.environ.get("JASCO_SCREENSHOTS"):
        shoot(page, Path(folder))


def shoot(page: Any, folder: Path) -> None:
    """The pictures of docs/images."""
    page.evaluate("scrollTo(0, 0)")
    page.screenshot(path=folder / "page-1440.png")
    page.set_viewport_size({"width": 390, "height": 844})
    page.wait_for_timeout(500)
    page.locator(".job").first.scroll_into_view_if_needed()
    page.screenshot(path=folder / "page-390.png")
    page.set_viewport_size({"width": 1440, "height": 1000})


def test_nothing_is_cut_on_a_phone(page: Any) -> None:
    page.set_viewport_size({"width": 390, "height": 844})
    page.wait_for_timeout(300)
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    page.set_viewport_size({"width": 1440, "height": 1000})


def test_cancelling_stops_it(page: Any) -> None:
    page.select_option("#quality", "reference")
    page.fill("#takes", "4")
    card = make(page)
    card.locator("button.cancel").click()
    ended(card, "cancelled")
    page.wait_for_function(
        "fetch('/metrics').then((answer) => answer.text()).then((text) => text.includes('jasco_jobs_running 0.0'))", timeout=MINUTES
    )
    page.select_option("#quality", "fast")
    page.fill("#takes", "1")


def test_a_take_is_continued_and_a_part_of_it_mended(page: Any) -> None:
    first = page.locator("#" + done(page).first.get_attribute("id"))
    first.locator("button:has-text('Continue')").first.click()
    page.wait_for_selector("#paint-file canvas")
    assert float(page.input_value("#length")) == 15
    page.fill("#length", "12")
    page.uncheck("#on-melody")
    longer = make(page)
    ended(longer)
    assert longer.locator(".one canvas").get_attribute("aria-valuemax") == "12.0"
    first.locator("button:has-text('Fix a part')").first.click()
    canvas = page.locator("#paint-file canvas")
    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()
    page.mouse.move(box["x"] + 0.4 * box["width"], box["y"] + 20)
    page.mouse.down()
    page.mouse.move(box["x"] + 0.7 * box["width"], box["y"] + 20, steps=4)
    page.mouse.up()
    assert float(page.input_value("#mark-from")) == pytest.approx(4, abs=0.2)
    assert float(page.input_value("#mark-to")) == pytest.approx(7, abs=0.2)
    mended = make(page)
    ended(mended)
    assert "kept of the recording: 0.00-" in mended.inner_text()


def test_a_take_is_varied_and_runs_into_its_beginning(page: Any) -> None:
    page.uncheck("#on-paint")
    first = page.locator("#" + done(page).last.get_attribute("id"))
    first.locator("button:has-text('Vary')").first.click()
    page.wait_for_selector("#vary-file canvas")
    assert float(page.input_value("#length")) == 10
    page.fill("#variation", "0.5")
    assert page.inner_text("#variation-said").startswith("0.50: ")
    before = page.input_value("#bpm")
    page.fill("#bpm", "100")
    page.select_option("#unit", "bars")
    page.fill("#length", "2")
    page.check("#loop")
    varied = make(page)
    ended(varied)
    assert varied.locator(".asked-line").inner_text().endswith("variation by 0.5 · loop")
    assert varied.locator(".one canvas").first.get_attribute("aria-valuemax") == "4.8"
    varied.locator("button:has-text('Into the form')").click()
    page.wait_for_selector("#vary-file canvas")
    assert (page.input_value("#variation"), page.is_checked("#loop")) == ("0.5", True)
    page.uncheck("#loop")
    page.uncheck("#on-vary")
    page.fill("#bpm", before)
    page.select_option("#unit", "seconds")
    page.fill("#length", "10")


def test_history_and_form_survive_a_reload_and_settings_come_back(page: Any, tmp_path: Path) -> None:
    done(page)
    jobs = page.locator(".job").count()
    page.check("#on-chords")
    page.fill("#chords", "C | G | Am | F")
    page.fill("#text", "something else")
    page.wait_for_timeout(600)
    page.reload()
    page.wait_for_selector("body[data-ready]")
    assert page.locator(".job").count() == jobs
    assert page.input_value("#text") == "something else"
    assert page.input_value("#chords") == "C | G | Am | F"
    path = tmp_path / "settings.json"
    settings = {
        "text": "from a file",
        "bpm": 80,
        "chords": {"text": "Dm7 | G7", "during": "0-4"},
        "drums": {"pattern": {"voices": {"kick": "x...x..."}}},
    }
    path.write_text(json.dumps(settings))
    page.set_input_files("#load", path)
    page.wait_for_function("document.querySelector('#text').value === 'from a file'")
    page.wait_for_selector("#chords-lane text.label:has-text('G7')")
    assert page.input_value("#to-chords") == "4"
    assert page.get_attribute("[data-voice=kick][data-step='4']", "aria-checked") == "true"
    assert not page.is_checked("#on-melody")


def test_the_microphone_gives_a_recording(page: Any) -> None:
    page.check("#on-paint")
    page.locator("#paint-sources button:has-text('Record')").click()
    page.wait_for_timeout(1500)
    page.locator("#paint-sources button:has-text('Stop')").click()
    page.wait_for_selector("#paint-file :text('recording.wav')")


def test_every_control_has_a_name(page: Any) -> None:
    nameless = page.evaluate(
        "[...document.querySelectorAll('button, input, select, textarea, canvas[tabindex]')].filter((node) => "
        "!(node.getAttribute('aria-label') || node.labels?.length || node.textContent.trim())).map((node) => node.outerHTML)"
    )
    assert nameless == []
