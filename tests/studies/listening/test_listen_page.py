"""The page in a browser: nobody gets on without listening, a reload loses nothing, and what is downloaded can be analysed."""

from __future__ import annotations

import csv
import http.server
import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from chromium import BROWSER, Page, browser
from tones import SYSTEMS

from jasco_pl.cli import main
from jasco_pl.studies.listening.build import build, script
from jasco_pl.studies.listening.study import Key

pytestmark = pytest.mark.skipif(BROWSER is None, reason="no Chromium on this machine")
GIVEN = {"reference": 95, "alpha": 72, "beta": 48, "gamma": 20}
HELPERS = """
const wait = (ms) => new Promise((done) => setTimeout(done, ms));
async function until(test) { for (let i = 0; i < 400; i++) { if (test()) return true; await wait(25); } return false; }
const $ = (selector) => document.querySelector(selector);
const press = (text) => [...document.querySelectorAll("button")].find((button) => button.textContent === text).click();
const scores = (i) => [...document.querySelectorAll(".version")[i].querySelectorAll(".score")];
const rate = (slider, score) => { slider.value = score; slider.dispatchEvent(new Event("input")); };
async function hear(i) {
  const { audio } = players[i];
  audio.playbackRate = 8;
  document.querySelectorAll(".version .play")[i].click();
  return await until(() => audio.ended);
}
async function answer(given) { // a whole piece, by stimulus
  const order = shuffled(clips[state.screen].stimuli, clips[state.screen].id);
  for (let i = 0; i < order.length; i++) {
    await hear(i);
    scores(i).forEach((slider, q) => rate(slider, given[order[i]][q]));
  }
}
"""


@pytest.fixture(scope="module")
def folder(recordings: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("page") / "test"
    build({name: recordings / name for name in SYSTEMS}, recordings / "reference", out, questions=("quality", "text", "melody"), seed=3)
    return out


@pytest.fixture(scope="module")
def downloads(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("downloads")


@pytest.fixture(scope="module")
def page(downloads: Path) -> Iterator[Page]:
    with browser(downloads) as opened:
        yield opened


def answers_of(folder: Path, shift: int) -> str:
    """Scores by stimulus, three questions each, for the page's script."""
    key = Key.load(folder / "key.json")
    systems = {name: stimulus.system for clip in key.clips.values() for name, stimulus in clip.stimuli.items()}
    return json.dumps({name: [GIVEN[system] + shift * (system != "reference") - q for q in range(3)] for name, system in systems.items()})


def rate_all(page: Page, folder: Path, rater: str, shift: int) -> None:
    page.open(f"file://{folder}/site/index.html?rater={rater}")
    page.run(HELPERS + 'press("Begin")')
    for last in (False, False, True):
        page.run(f"answer({answers_of(folder, shift)})")
        page.run(f'press("{"Finish" if last else "Next piece"}")')


def downloaded(page: Page, downloads: Path, rater: str) -> Path:
    page.run('$("#download").click()')
    path = downloads / f"results-{rater}.csv"
    deadline = time.monotonic() + 10
    while not path.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    return path


def test_nobody_rates_what_was_not_heard_and_a_reload_loses_nothing(page: Page, folder: Path):
    page.open(f"file://{folder}/site/index.html?rater=careful")
    page.run(HELPERS)
    assert page.run('document.body.innerText.includes("3 short pieces of music, in 4 versions each")')
    page.run('press("Begin")')
    assert page.run('$("h2").textContent') == "Piece 1 of 3"
    assert page.run('$("q").textContent').startswith("a tone for the ")
    assert page.run('[...document.querySelectorAll(".score")].every((slider) => slider.disabled)')
    assert page.run('$(".primary").disabled')
    # jumping to the end is not hearing it
    assert page.run('until(() => !$(".version .seek").disabled)')
    page.run('$(".version .seek").value = 1.0; $(".version .seek").dispatchEvent(new Event("input")); $(".version .play").click()')
    assert page.run("until(() => players[0].audio.ended)")
    assert page.run("scores(0)[0].disabled")
    assert page.run('$(".needs").textContent') == "Still to do: hear A, B, C, D to the end."
    assert page.run("hear(0)")
    assert page.run("until(() => !scores(0)[0].disabled)")
    assert page.run("scores(1)[0].disabled")
    page.run("rate(scores(0)[0], 64)")
    assert page.run('$("output").textContent') == "64"
    assert page.run('scores(0)[0].getAttribute("aria-valuetext")') == "64, good"
    assert page.run('$(".needs").textContent') == "Still to do: hear B, C, D to the end; rate A."
    page.open("about:blank")
    page.open(f"file://{folder}/site/index.html?rater=careful")
    assert page.run('document.querySelector("h2").textContent') == "Piece 1 of 3"
    assert page.run('document.querySelector("output").textContent') == "64"
    assert page.run('[...document.querySelectorAll(".score")].map((slider) => slider.disabled).join()') == ",".join(
        ["false"] * 3 + ["true"] * 9
    )


def test_keys_play_one_recording_at_a_time(page: Page, folder: Path):
    page.open(f"file://{folder}/site/index.html?rater=keys")
    page.run(HELPERS + 'press("Begin")')
    playing = "players.map((player) => Number(!player.audio.paused)).join('')"
    for key, expected in (("2", "01000"), ("1", "10000"), ("0", "00001"), ("0", "00000")):
        page.run(f'document.dispatchEvent(new KeyboardEvent("keydown", {{key: "{key}"}})); until(() => {playing} === "{expected}")')
        assert page.run(playing) == expected


def test_order_is_the_raters_own(page: Page, folder: Path):
    orders = []
    for rater in ("one", "two", "three", "one"):
        page.open(f"file://{folder}/site/index.html?rater={rater}")
        orders.append(page.run("JSON.stringify(clips.map((clip) => [clip.id, shuffled(clip.stimuli, clip.id)]))"))
    assert orders[0] == orders[3]
    assert len(set(orders)) == 3


def test_from_answers_in_the_browser_to_the_report(page: Page, folder: Path, downloads: Path, capsys: pytest.CaptureFixture):
    files = []
    for number, shift in enumerate((-3, 3)):
        rate_all(page, folder, f"r{number}", shift)
        assert page.run('document.querySelector("h1").textContent') == "Thank you"
        files.append(downloaded(page, downloads, f"r{number}"))
    rows = list(csv.DictReader(files[0].open()))
    assert len(rows) == 3 * 4 * 3
    assert all(float(row["listened"]) >= 0.95 for row in rows)
    assert {row["rater"] for row in rows} == {"r0"}
    assert main(["listen", "analyse", "--key", str(folder / "key.json"), *map(str, files)]) == 0
    assert "2 raters, 0 left out, 2 counted" in capsys.readouterr().out
    report = json.loads((folder / "analysis/report.json").read_text())
    for number, question in enumerate(("quality", "text", "melody")):
        for system, score in GIVEN.items():
            found = report["means"][question][system]
            assert found["mean"] == pytest.approx(score - number)
            assert found["ratings"] == 6


def test_results_are_sent_where_the_study_says(page: Page, recordings: Path, tmp_path: Path):
    arrived: list[str] = []

    class Receiver(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            arrived.append(self.rfile.read(int(self.headers["Content-Length"])).decode())
            self.send_response(204 if len(arrived) > 1 else 500)
            self.send_header("Access-Control-Allow-Origin", "*")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.HTTPServer(("127.0.0.1", 0), Receiver)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_port}/"
    build({"alpha": recordings / "alpha"}, recordings / "reference", tmp_path / "t", clips=1, post=address)
    try:
        page.open(f"file://{tmp_path}/t/site/index.html?rater=sender")
        page.run(HELPERS + 'press("Begin")')
        key = Key.load(tmp_path / "t/key.json")
        given = {name: [50] for clip in key.clips.values() for name in clip.stimuli}
        page.run(f'answer({json.dumps(given)}).then(() => press("Finish"))')
        assert page.run('until(() => $("#sent").textContent.startsWith("Sending failed (the server answered 500)"))')
        page.run('press("Send again")')
        assert page.run('until(() => $("#sent").textContent === "Your answers have arrived. You can close the page.")')
    finally:
        server.shutdown()
        server.server_close()
    assert arrived[0] == arrived[1]
    assert arrived[1].count("\n") == 3
    assert arrived[1].startswith("rater,version,clip,")


def test_the_script_is_small():
    assert len(script().splitlines()) < 350
