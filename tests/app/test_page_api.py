"""The API, in this process, with a model of two layers: what it makes is noise, but it is made as ever."""

from __future__ import annotations

import asyncio
import hashlib
import io
import json
import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pretty_midi
import pytest
import soundfile
from conftest import Server

from jasco_pl.app import engine
from jasco_pl.app.limits import Limits
from jasco_pl.audio.files import loudness_normalize
from jasco_pl.generation.jasco import Jasco, Request
from jasco_pl.network.flow.solver import SolverConfig
from jasco_pl.system.errors import UserError

ASKED = {"text": "piano", "chords": {"text": "C | G"}, "seed": 5, "quality": "fast"}


def wav(seconds: float = 1.0, rate: int = 32000, channels: int = 1, level: float = 0.3) -> bytes:
    time = np.arange(round(seconds * rate)) / rate
    sound = level * np.sin(2 * np.pi * 220 * time) * (time % 0.25 < 0.1)
    file = io.BytesIO()
    soundfile.write(file, np.repeat(sound[:, None], channels, 1), rate, format="WAV")
    return file.getvalue()


def midi(late: float = 0.0) -> bytes:
    file = pretty_midi.PrettyMIDI()
    for name, program, pitches in (("bass", 33, [36, 38]), ("lead melody", 73, [72, 74, 76])):
        track = pretty_midi.Instrument(program, name=name)
        track.notes = [pretty_midi.Note(90, pitch, late + 0.25 * at, late + 0.25 * at + 0.2) for at, pitch in enumerate(pitches)]
        file.instruments.append(track)
    out = io.BytesIO()
    file.write(out)
    return out.getvalue()


def ask(server: Server, **settings: Any) -> dict[str, Any]:
    answer = server.client.post("/api/jobs", json={**ASKED, **settings})
    assert answer.status_code == 202, answer.text
    return server.done(answer.json()["id"])


def heard(server: Server, job: str) -> dict[str, Any]:
    """The first take of a job, once it was listened to."""
    until = time.monotonic() + 100
    while (take := server.client.get(f"/api/jobs/{job}").json()["takes"][0])["lanes"] is None:
        assert time.monotonic() < until
        time.sleep(0.05)
    told: dict[str, Any] = take
    return told


def upload(server: Server, content: bytes, name: str) -> dict[str, Any]:
    answer = server.client.post("/api/uploads", params={"name": name}, content=content)
    assert answer.status_code == 201, answer.text
    told: dict[str, Any] = answer.json()
    return told


def test_a_take_is_what_its_seed_says_and_comes_as_every_kind_of_file(server: Server, tiny_jasco: Jasco) -> None:
    job = ask(server, takes=2)
    assert job["state"] == "done"
    assert [take["seed"] for take in job["takes"]] == job["seeds"] == [5, 6]
    assert job["chords"] == [["C", 0.0], ["G", 0.5]]
    base = f"/api/jobs/{job['id']}/takes"
    expected = tiny_jasco.generate(
        [Request("piano", chords="C | G", seed=seed) for seed in (5, 6)], solver=SolverConfig.of("fast", fitted=False)
    )
    for number, clip in enumerate(expected):
        content = server.client.get(f"{base}/{number}.wav").content
        assert hashlib.sha256(content).hexdigest() == job["takes"][number]["sha256"]
        heard = soundfile.read(io.BytesIO(content))[0]
        wanted = loudness_normalize(clip.audio, 32000)[0][0].numpy()
        assert np.abs(heard - wanted).max() < 1e-3
    flac = soundfile.read(io.BytesIO(server.client.get(f"{base}/0.flac").content))[0]
    assert np.array_equal(flac, soundfile.read(io.BytesIO(server.client.get(f"{base}/0.wav").content))[0])
    told = server.client.get(f"{base}/0.json").json()
    assert told["seed"] == 5
    assert told["settings"]["chords"]["text"] == "C | G"
    answer = server.client.get(f"{base}/0.wav?download=true", headers={"Range": "bytes=0-3"})
    assert (answer.status_code, answer.content) == (206, b"RIFF")
    assert 'filename="piano-seed5.wav"' in answer.headers["content-disposition"]
    again = server.client.post("/api/jobs", json=server.client.get(f"/api/jobs/{job['id']}/settings.json").json()).json()
    assert server.done(again["id"])["takes"][1]["sha256"] == job["takes"][1]["sha256"]
    counted = server.client.get("/metrics").text
    assert "jasco_batch_takes_sum 2.0" in counted or "jasco_batch_takes_sum 4.0" in counted  # the second is counted once it is done


def test_it_is_listened_to_and_said_how_far_it_follows(server: Server) -> None:
    job = ask(server, melody={"notes": [[60, 0, 0.5], [64, 0.5, 1]]}, drums={"pattern": {"voices": {"kick": "x...x..."}}}, bpm=240)
    take = heard(server, job["id"])
    assert {"melody", "onsets"} <= set(take["lanes"])
    assert any(words.startswith("melody: ") and "% of its time" in words for words in take["words"])
    assert any(words.startswith("onsets: ") and " hits as asked" in words for words in take["words"])


def test_a_melody_comes_from_the_chosen_track_and_drums_from_a_loop(server: Server) -> None:
    tune, loop = upload(server, midi(), "../../tune.mid"), upload(server, wav(0.5, 44100, 2), "loop.wav")
    assert (tune["name"], tune["kind"], [track["name"] for track in tune["tracks"]]) == ("tune.mid", "midi", ["bass", "lead melody"])
    assert tune["track"] == 2
    notes = server.client.get(f"/api/uploads/{tune['id']}/tracks/2").json()
    assert [note[0] for note in notes] == [72, 74, 76]
    bass = [note[0] for note in server.client.get(f"/api/uploads/{tune['id']}/tracks/1").json()]
    assert all(43 <= pitch <= 95 for pitch in bass)  # moved by octaves into what the model knows
    assert (loop["kind"], loop["seconds"], loop["channels"]) == ("audio", 0.5, 2)
    shas = {}
    for name, melody in (("lead", {"upload": tune["id"]}), ("bass", {"upload": tune["id"], "track": 1}), ("notes", {"notes": notes})):
        job = ask(server, melody=melody, drums={"upload": loop["id"]})
        shas[name] = job["takes"][0]["sha256"]
        assert any("repeated" in note for note in job["notes"])
    assert shas["lead"] == shas["notes"] != shas["bass"]
    heard(server, job["id"])
    asked = pretty_midi.PrettyMIDI(io.BytesIO(server.client.get(f"/api/jobs/{job['id']}/asked.mid").content))
    assert [note.pitch for track in asked.instruments if track.name == "melody" for note in track.notes] == [72, 74, 76]
    refused = server.client.post("/api/jobs", json={**ASKED, "drums": {"upload": tune["id"]}})
    assert (refused.status_code, "MIDI" in refused.json()["error"]) == (400, True)


def test_a_take_is_gone_on_from_and_mended(server: Server) -> None:
    first = ask(server)
    take = {"job": first["id"], "take": 0}
    longer = ask(server, seconds=1.6, paint={"take": take})
    assert longer["takes"][0]["seconds"] == pytest.approx(1.6)
    assert any(note.startswith("kept of the recording: 0.00-0.94") for note in longer["notes"])
    mended = ask(server, seed=9, paint={"take": take, "redo": "0.3-0.6"})
    sounds = [soundfile.read(io.BytesIO(server.client.get(f"/api/jobs/{job['id']}/takes/0.wav").content))[0] for job in (first, mended)]
    kept, made = (np.corrcoef(*(sound[part] for sound in sounds))[0, 1] for part in (slice(0, 6000), slice(11000, 18000)))
    assert kept > 0.99 > made  # the loudness of the whole may move what is kept, no more


def test_a_take_is_varied_as_far_as_is_asked(server: Server) -> None:
    first = ask(server)
    take = {"job": first["id"], "take": 0}
    sounds = [soundfile.read(io.BytesIO(server.client.get(f"/api/jobs/{first['id']}/takes/0.wav").content))[0]]
    for variation in (0.05, 1.0):
        made = ask(server, seed=9, vary={"take": take, "variation": variation})
        assert any(f"by {variation:g} of the way to noise" in note for note in made["notes"])
        sounds.append(soundfile.read(io.BytesIO(server.client.get(f"/api/jobs/{made['id']}/takes/0.wav").content))[0])
    near, far = (float(np.mean((levels(sounds[0]) - levels(sound)) ** 2)) for sound in sounds[1:])
    assert near < 0.5 * far
    loop = upload(server, wav(0.5), "half.wav")
    assert ask(server, vary={"upload": loop["id"]})["takes"][0]["seconds"] == 0.5  # its length, where none is asked for
    refused = server.client.post("/api/jobs", json={**ASKED, "seconds": 1, "vary": {"upload": loop["id"]}})
    assert (refused.status_code, "lasts 0.50 s" in refused.json()["error"]) == (400, True)
    server.client.delete(f"/api/jobs/{first['id']}")
    gone = server.client.post("/api/jobs", json={**ASKED, "vary": {"take": take}})
    assert (gone.status_code, "varied" in gone.json()["error"]) == (404, True)


def levels(sound: np.ndarray) -> np.ndarray:
    """Log magnitudes of a spectrogram."""
    frames = np.lib.stride_tricks.sliding_window_view(sound, 1024)[::512] * np.hanning(1024)
    return np.log(np.abs(np.fft.rfft(frames)) + 1e-3)


def test_a_loop_is_exact_to_the_sample_and_says_that_it_is_one(server: Server) -> None:
    job = ask(server, bars=1, bpm=241, loop=True)
    content = server.client.get(f"/api/jobs/{job['id']}/takes/0.wav").content
    assert soundfile.info(io.BytesIO(content)).frames == round(4 * 60 / 241 * 32000)
    assert b"smpl" in content
    assert job["settings"]["loop"] is True
    plain = server.client.get(f"/api/jobs/{ask(server, bars=1, bpm=241)['id']}/takes/0.wav").content
    assert soundfile.info(io.BytesIO(plain)).frames % 640 == 0
    assert b"smpl" not in plain


def test_cancelling_stops_before_the_next_evaluation(
    serve: Callable[..., Server], tiny_jasco: Jasco, monkeypatch: pytest.MonkeyPatch
) -> None:
    server, begun, go, evaluations = serve(), threading.Event(), threading.Event(), []
    inside = tiny_jasco.model.velocity

    def slow(*arguments: Any, **options: Any) -> Any:
        evaluations.append(1)
        begun.set()
        go.wait(10)
        return inside(*arguments, **options)

    monkeypatch.setattr(tiny_jasco.model, "velocity", slow)
    job = server.client.post("/api/jobs", json={**ASKED, "quality": "reference"}).json()
    waiting = server.client.post("/api/jobs", json={**ASKED, "seconds": 0.5}).json()
    assert begun.wait(20)
    assert server.client.get(f"/api/jobs/{waiting['id']}").json()["before"] == 1
    assert server.client.post(f"/api/jobs/{job['id']}/cancel").json()["state"] == "cancelled"
    assert server.client.post(f"/api/jobs/{waiting['id']}/cancel").json()["state"] == "cancelled"
    go.set()
    until = time.monotonic() + 20
    while b"jasco_jobs_running 0.0" not in server.client.get("/metrics").content:
        assert time.monotonic() < until
        time.sleep(0.01)
    assert len(evaluations) == 1
    assert server.done(job["id"])["takes"] == []


def test_too_many_are_told_that_it_is_busy(serve: Callable[..., Server], tiny_jasco: Jasco, monkeypatch: pytest.MonkeyPatch) -> None:
    server, go = serve(Limits(waiting=2, takes=3)), threading.Event()
    inside = tiny_jasco.model.velocity
    monkeypatch.setattr(tiny_jasco.model, "velocity", lambda *arguments: (go.wait(20), inside(*arguments))[1])
    codes = []
    for seconds in (0.4, 0.5, 0.6, 0.7, 0.8):
        codes.append(server.client.post("/api/jobs", json={**ASKED, "seconds": seconds}))
        time.sleep(0.2)  # the first leaves the queue
    go.set()
    assert [answer.status_code for answer in codes] == [202, 202, 202, 503, 503]
    assert codes[-1].headers["retry-after"]
    assert "busy" in codes[-1].json()["error"]
    assert all(server.done(answer.json()["id"])["state"] == "done" for answer in codes[:3])
    too_many = server.client.post("/api/jobs", json={**ASKED, "takes": 4})
    assert (too_many.status_code, "3 are the most" in too_many.json()["error"]) == (400, True)


def test_one_that_cannot_be_made_fails_alone(server: Server) -> None:
    silent = upload(server, wav(1.0, level=0.0), "hum.wav")
    jobs = [server.client.post("/api/jobs", json={**ASKED, "seed": seed}).json() for seed in (1, 2)]
    bad = server.client.post("/api/jobs", json={**ASKED, "vary": {"upload": silent["id"]}}).json()
    failed = server.done(bad["id"])
    assert (failed["state"], "is silent" in failed["error"]) == ("failed", True)
    assert all(server.done(job["id"])["state"] == "done" for job in jobs)


def test_takes_that_are_kept_when_a_batch_fails_are_not_made_again(
    server: Server, tiny_jasco: Jasco, monkeypatch: pytest.MonkeyPatch
) -> None:
    go, inside, keep, failures = threading.Event(), tiny_jasco.model.velocity, engine.save_clip, ["the second"]

    def fails_once(clip: Any, path: Any, settings: Any) -> None:
        if path.name == "take-1.wav" and failures:
            raise UserError(failures.pop())
        keep(clip, path, settings)

    monkeypatch.setattr(tiny_jasco.model, "velocity", lambda *arguments: (go.wait(20), inside(*arguments))[1])
    monkeypatch.setattr(engine, "save_clip", fails_once)
    server.client.post("/api/jobs", json=ASKED)
    time.sleep(0.2)  # it is being made, so that the next two wait for each other
    jobs = [server.client.post("/api/jobs", json={**ASKED, "seed": seed, "takes": 2}).json() for seed in (5, 50)]
    go.set()
    told = [server.done(job["id"]) for job in jobs]
    assert not failures
    assert [[take["seed"] for take in job["takes"]] for job in told] == [[5, 6], [50, 51]]
    assert [job["state"] for job in told] == ["done", "done"]


def test_the_engine_outlives_what_it_does_not_know(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    make, failures = engine.Engine._make, [RuntimeError("of no kind that is known")]

    def fails_once(self: Any, *arguments: Any) -> None:
        if failures:
            raise failures.pop()
        make(self, *arguments)

    monkeypatch.setattr(engine.Engine, "_make", fails_once)
    server.client.post("/api/jobs", json=ASKED)
    assert ask(server)["state"] == "done"


@pytest.mark.parametrize(
    ("settings", "status", "said"),
    [
        ({"chords": {"text": "C | Xyz"}}, 400, "not understood"),
        ({"chords": {"text": "/etc/hostname.lab"}}, 400, "name of a file"),
        ({"dynamics": {"curve": "build"}}, 400, "no control 'dynamics'"),
        ({"dynamics": {"curve": "/tmp/x.wav"}}, 400, "name a file"),
        ({"dynamics": {"curve": "foo"}}, 400, "(second:dB), steady, build, fade, swell, break, drop."),
        ({"mix": {"upload": "0" * 16}}, 404, "upload"),
        ({"drums": {"upload": "../../../etc"}}, 422, "drums.upload"),
        ({"drums": {}}, 422, "one of them"),
        ({"drums": {"pattern": {"voices": {"kick": "..-."}}}}, 422, "at least one hit"),
        ({"drums": {"pattern": {"voices": {"kick": "x.q8"}}}}, 422, "the pattern of 'kick' has '8 q', where x"),
        ({"melody": {"notes": [[60, 0, 1], [62, 2, 1]]}}, 422, "note 2 ends at 1 s, not after its beginning at 2 s"),
        ({"melody": {"notes": [[60, 0, 1]], "track": 3}}, 422, "notes have no track"),
        ({"melody": {"notes": [[60, 0, 1]], "from": 3}}, 422, "notes have no track and no second"),
        ({"quality": "fast", "steps": 10}, 422, "leave out solver, steps and tolerance, or quality"),
        ({"quality": "reference", "solver": "euler"}, 422, "quality stands for a solver"),
        ({"drums": {"pattern": {"voices": {"kick": "x"}}, "fit": True}}, 422, "fitted"),
        ({"melody": {"notes": [[200, 0, 1]]}}, 422, "melody.notes"),
        ({"melody": {"notes": [[60, 5, 6]]}}, 400, "no note"),
        ({"text": "x" * 3000}, 422, "text"),
        ({"seconds": 100000}, 422, "seconds"),
        ({"bars": 4}, 422, "bpm"),
        ({"meter": "five"}, 400, "meter"),
        ({"takes": 0}, 422, "takes"),
        ({"nonsense": 1}, 422, "nonsense"),
        ({"chords": {"text": "C", "during": "5-6"}}, 400, "begins past the clip"),
        ({"paint": {"take": {"job": "f" * 16, "take": 0}}}, 404, "deleted"),
        ({"guidance": float("1e9")}, 422, "guidance"),
    ],
)
def test_what_cannot_be_is_said_in_a_sentence(server: Server, settings: dict[str, Any], status: int, said: str) -> None:
    answer = server.client.post("/api/jobs", json={**ASKED, **settings})
    assert answer.status_code == status, answer.text
    assert said in answer.json()["error"]
    assert "\n" not in answer.json()["error"]
    assert server.client.get("/api/jobs").json() == []


def test_what_the_engine_would_refuse_is_refused_at_once(server: Server) -> None:
    recording = upload(server, wav(1.0, 44100), "one.wav")["id"]
    refused = {
        "both the seconds to keep and those to redo": {"keep": "0-0.2", "redo": "0.2-0.3"},
        "keep 9-12 begins past the clip, which ends at 1 seconds": {"keep": "9-12"},
        "all 1 seconds of the clip would be kept": {},
        "redo '1..2' is not a stretch": {"redo": "1..2"},
    }
    for said, part in refused.items():
        answer = server.client.post("/api/jobs", json={**ASKED, "paint": {"upload": recording, **part}})
        assert (answer.status_code, said in answer.json()["error"]) == (400, True), answer.text
    while server.client.get("/api/model").json()["state"] == "loading":
        time.sleep(0.05)
    answer = server.client.post("/api/jobs", json={"solver": "ddim", "seconds": 1})
    assert (answer.status_code, "'ddim' samples models of v-diffusion" in answer.json()["error"]) == (400, True)
    assert server.client.get("/api/jobs").json() == []
    assert ask(server, quality="balanced", steps=2, seconds=1.2, paint={"upload": recording})["state"] == "done"


def test_a_melody_is_taken_up_where_it_begins_or_where_it_is_said(server: Server) -> None:
    early, late = upload(server, midi(), "tune.mid")["id"], upload(server, midi(50), "late.mid")["id"]
    made = {
        name: ask(server, melody=melody)
        for name, melody in {
            "first": {"upload": early},
            "late": {"upload": late},
            "said": {"upload": late, "from": 50},
            "second": {"upload": late, "from": 50.25},
        }.items()
    }
    shas = {name: job["takes"][0]["sha256"] for name, job in made.items()}
    assert shas["first"] == shas["late"] == shas["said"] != shas["second"]
    assert any("begins at 50.00 s" in note for note in made["late"]["notes"])
    assert not any("begins at" in note for note in made["said"]["notes"])
    assert made["second"]["settings"]["melody"]["from"] == 50.25
    again = server.client.post("/api/jobs", json=made["second"]["settings"]).json()
    assert server.done(again["id"])["takes"][0]["sha256"] == shas["second"]
    sung = upload(server, wav(1.0), "sung.wav")["id"]
    for melody, said in (
        ({"upload": late, "from": 60}, "nothing of it is left from second 60 on"),
        ({"upload": late, "from": 5}, "no note of the melody sounds"),
        ({"upload": sung, "from": 1.5}, "lasts 1.00 s; nothing of it is left from second 1.5 on"),
        ({"upload": sung, "track": 1}, "'sung.wav' is no MIDI file, so that it has no track '1'"),
    ):
        answer = server.client.post("/api/jobs", json={**ASKED, "melody": melody})
        assert (answer.status_code, said in answer.json()["error"]) == (400, True), answer.text


def test_notes_that_are_left_out_are_told(server: Server) -> None:
    job = ask(server, melody={"notes": [[60, 0, 0.5], [62, 0.5, 1], [64, 20, 30]]})
    assert job["notes"].count("1 of 3 notes of the melody begin past the clip's end at 1 s and were left out") == 1


@pytest.mark.parametrize(
    ("body", "headers", "said"),
    [
        ('{"text": "a"}', {"Content-Type": "text/plain"}, "the header Content-Type: application/json is missing."),
        ('{"text": "a"}', {}, "the header Content-Type: application/json is missing."),
        ("{", None, "the body is no JSON: expecting property name enclosed in double quotes, at character 2."),
        ("[1]", None, "the body is JSON, but no object, as {} is one."),
        ("", None, "the body is empty, where a JSON object is accepted."),
        ('{"bpm": NaN}', None, "bpm: NaN is no number that JSON has, where a finite one is accepted."),
        ('{"takes": Infinity}', None, "takes: Infinity is no number that JSON has, where a finite one is accepted."),
        ('{"melody": {"notes": [[60, NaN, 1]]}}', None, "melody.notes.0.1: NaN is no number"),
    ],
)
def test_a_body_that_cannot_be_read_is_said_in_a_sentence(server: Server, body: str, headers: dict[str, str] | None, said: str) -> None:
    answer = server.client.post("/api/jobs", content=body, headers={"Content-Type": "application/json"} if headers is None else headers)
    assert (answer.status_code, said in answer.json()["error"]) == (422, True), answer.text


def test_a_stranger_sees_nothing(server: Server) -> None:
    job, loop, stranger = ask(server), upload(server, wav(), "loop.wav"), server.visitor()
    assert stranger.get("/api/jobs").json() == stranger.get("/api/uploads").json() == []
    for path in (
        f"jobs/{job['id']}",
        f"jobs/{job['id']}/takes/0.wav",
        f"jobs/{job['id']}/settings.json",
        f"uploads/{loop['id']}",
        f"uploads/{loop['id']}/audio",
    ):
        assert stranger.get(f"/api/{path}").status_code == 404
        assert server.client.get(f"/api/{path}").status_code == 200
    assert stranger.delete(f"/api/jobs/{job['id']}").status_code == 404
    assert stranger.post(f"/api/jobs/{job['id']}/cancel").status_code == 404
    taken = stranger.post("/api/jobs", json={**ASKED, "paint": {"take": {"job": job["id"], "take": 0}}})
    assert taken.status_code == 404
    cookie = stranger.cookies.get("jasco_visitor")
    assert cookie
    assert cookie != server.client.cookies.get("jasco_visitor")
    assert cookie not in " ".join(path.name for path in server.serving.store.root.iterdir())


def test_what_is_deleted_is_gone_and_old_things_go_by_themselves(server: Server) -> None:
    job, kept = ask(server), ask(server, seed=6)
    assert server.client.delete(f"/api/jobs/{job['id']}").status_code == 204
    assert server.client.get(f"/api/jobs/{job['id']}").status_code == 404
    time.sleep(0.5)  # who listens to it must not bring it back
    assert [one["id"] for one in server.client.get("/api/jobs").json()] == [kept["id"]]
    assert server.serving.store.clean(time.time() + 100 * 3600) == 0
    assert server.serving.store.clean(time.time() + 200 * 3600) == 1
    assert server.client.get("/api/jobs").json() == []


def test_only_this_site_by_its_name_and_with_the_password(serve: Callable[..., Server]) -> None:
    client = serve(hosts=frozenset({"127.0.0.1"}), password="ada:se:cret").client
    assert client.get("/").status_code == 401
    assert client.get("/health").status_code == 200
    client.auth = ("ada", "wrong")
    assert client.get("/api/model").status_code == 401
    client.auth = ("ada", "se:cret")
    assert client.get("/api/model").status_code == 200
    assert client.get("/api/model", headers={"Host": "evil.example"}).status_code == 421
    assert client.post("/api/jobs", json=ASKED, headers={"Origin": "http://evil.example"}).status_code == 403
    assert client.post("/api/chords", json={"text": "C"}, headers={"Origin": "http://127.0.0.1"}).status_code == 200


def test_whoever_goes_away_in_the_middle_of_an_upload_leaves_nothing(server: Server) -> None:
    server.client.get("/api/model")
    cookie = "; ".join(f"{name}={value}" for name, value in server.client.cookies.items())
    headers = {"host": "127.0.0.1", "content-type": "audio/wav", "cookie": cookie}
    for length in ("100000", str(10**12)):
        said = [{"type": "http.request", "body": b"RIFF", "more_body": True}, {"type": "http.disconnect"}]
        sent: list[Any] = []
        scope = {
            "type": "http",
            "http_version": "1.1",
            "method": "POST",
            "scheme": "http",
            "path": "/api/uploads",
            "raw_path": b"/api/uploads",
            "query_string": b"name=a.wav",
            "headers": [(name.encode(), value.encode()) for name, value in {**headers, "content-length": length}.items()],
        }

        async def receive(said: list[Any] = said) -> Any:
            return said.pop(0) if len(said) > 1 else said[0]

        async def send(message: Any, sent: list[Any] = sent) -> None:
            sent.append(message)

        asyncio.run(server.client.app(scope, receive, send))
        assert sent[0]["status"] == 499
    assert not list(server.serving.store.root.rglob("*.part.bin"))


def test_the_page_loads_nothing_from_elsewhere(server: Server) -> None:
    page = server.client.get("/")
    assert "default-src 'self'" in page.headers["content-security-policy"]
    names = ["/", *(f"/static/{name}" for name in ("main.js", "form.js", "results.js", "lanes.js", "page.css", "base.css"))]
    for name in names:
        answer = server.client.get(name)
        assert answer.status_code == 200
        assert "http:" not in answer.text
        assert "https:" not in answer.text
    for name in ("../server.py", "..%2fserver.py", "%2e%2e/server.py", "main.py"):
        assert server.client.get(f"/static/{name}").status_code == 404


def test_the_openapi_document_describes_every_route(server: Server) -> None:
    document = server.client.get("/api/openapi.json").json()
    assert {"/api/jobs", "/api/uploads", "/api/chords", "/health", "/metrics"} <= set(document["paths"])
    assert "chords" in json.dumps(document["components"]["schemas"]["Make"])


def test_a_lacking_control_is_named_with_what_there_is(server: Server) -> None:
    controls = server.client.get("/api/model").json()["controls"]
    assert controls == {
        "chords": True, "melody": True, "drums": True, "mix": False, "drumless": False, "dynamics": False, "paint": True, "beat": False,
    }  # fmt: skip
