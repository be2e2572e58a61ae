from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from untrained import stir

from jasco_pl.audio.files import read_audio, write_audio
from jasco_pl.audio.levels import to_loudness
from jasco_pl.audio.long_audio import bandpass
from jasco_pl.cli import main
from jasco_pl.codec import BandCodec, BandCodecConfig
from jasco_pl.controls import CONTROLS
from jasco_pl.generation import jasco as jasco_module
from jasco_pl.generation.batches import MOST, clips_at_once
from jasco_pl.generation.jasco import Clip, Jasco, Request
from jasco_pl.generation.saving import save_clip
from jasco_pl.network.flow.solver import SolverConfig
from jasco_pl.network.model import JascoModel, ModelConfig
from jasco_pl.network.text import TextEncoder
from jasco_pl.notation import harmony
from jasco_pl.system.errors import UserError
from jasco_pl.system.memory import forget_peak, peak

RATE, HOP = 32000, 640
SOLVERS = [SolverConfig("euler", steps=4), SolverConfig("midpoint", steps=3), SolverConfig("dopri5", tolerance=1e-3)]


@pytest.fixture
def jasco(tiny_model_config: ModelConfig, tiny_codec_folder: Path, offline_encoder: TextEncoder) -> Jasco:
    return build(tiny_model_config, tiny_codec_folder, offline_encoder)


def build(config: ModelConfig, codec_folder: Path, encoder: TextEncoder) -> Jasco:
    """An untrained model that obeys its conditions in some way: what starts at zero is moved away from it."""
    torch.manual_seed(0)
    codec = BandCodec.from_pretrained(codec_folder)
    model = JascoModel(config, codec.latent_mean, codec.latent_std, codec.normalized_codebook, codec.normalized_silence)
    stir(model)
    return Jasco(model, codec, encoder)


def bursts(seconds: float) -> torch.Tensor:
    """Something like drums, [1, S]."""
    time = torch.arange(round(seconds * RATE)) / RATE
    return (0.5 * torch.randn(len(time), generator=torch.Generator().manual_seed(0)) * torch.exp(-30 * (time % 0.2)))[None]


REQUESTS = [
    Request("slow piano", chords="C G", seed=1),
    Request("driving rock with distorted guitars, heavy drums and a walking bass in E minor", drums=bursts(0.3), seed=2),
    Request(seed=3),
    Request(chords="Am F", melody=np.tile(np.arange(10), 5), seed=4),
]


def sounds(clips: list[Clip]) -> torch.Tensor:
    return torch.stack([clip.audio for clip in clips])


@pytest.mark.parametrize("solver", SOLVERS, ids=lambda solver: solver.method)
def test_a_clip_does_not_depend_on_its_batch(jasco: Jasco, solver: SolverConfig) -> None:
    together = sounds(jasco.generate(REQUESTS, solver=solver))
    assert together.shape == (4, 1, 50 * HOP)
    for index in (0, 2):
        alone = sounds(jasco.generate(REQUESTS[index], solver=solver))[0]
        torch.testing.assert_close(alone, together[index], atol=1e-4, rtol=0)
    order = [3, 1, 0, 2]
    mixed = sounds(jasco.generate([REQUESTS[index] for index in order], solver=solver))
    torch.testing.assert_close(mixed, together[order], atol=1e-4, rtol=0)
    assert len({round(float(clip.abs().mean()), 6) for clip in together}) == 4  # and they are four clips, not one
    assert float(together.abs().amax((1, 2)).min()) > 1e-3


def test_any_number_of_clips_is_made_in_batches_that_fit(jasco: Jasco, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each as soon as it is there, all of them read first and those that ask for the same once; the clips are those of one batch."""
    requests = [Request("slow piano", chords="C G", seed=seed) for seed in range(7)]
    whole = sounds(jasco.generate(requests, solver=SOLVERS[0], at_once=7))
    made, read, told = [], [], []
    sample, reading = Jasco.sample, Jasco.read
    monkeypatch.setattr(
        Jasco, "sample", lambda self, given, seeds, *rest, **more: made.append(list(seeds)) or sample(self, given, seeds, *rest, **more)
    )
    monkeypatch.setattr(Jasco, "read", lambda self, *rest: read.append(rest) or reading(self, *rest))
    monkeypatch.setattr(jasco_module, "clips_at_once", lambda *_: 3)
    clips = jasco.stream(requests, solver=SOLVERS[0], progress=told.append)
    first = [next(clips) for _ in range(2)]
    assert made == [[0, 1, 2]]
    rest = list(clips)
    assert made == [[0, 1, 2], [3, 4, 5], [6]]
    assert len(read) == 1
    assert [clip.request.seed for clip in first + rest] == list(range(7))
    torch.testing.assert_close(sounds(first + rest), whole, atol=1e-4, rtol=0)
    assert told == sorted(told)
    assert told[-1] == pytest.approx(1)
    made.clear()
    with pytest.raises(UserError, match="Hm7x"):
        list(jasco.stream([*requests, Request(chords="C Hm7x")]))
    assert made == []


def test_what_fits_depends_on_size_and_length_alone(jasco: Jasco) -> None:
    with torch.device("meta"):
        large = JascoModel(ModelConfig())  # the paper's
    large.latent_mean = jasco.model.latent_mean
    assert 1 <= clips_at_once(large, 500, 3) < 16
    assert clips_at_once(large, 500, 3) < clips_at_once(large, 500, 1)
    assert clips_at_once(large, 10_000, 3) == 1
    assert clips_at_once(jasco.model, 500, 3) == MOST


@pytest.mark.parametrize("option", ["mix", "paint"])
def test_of_an_hour_no_more_is_read_than_the_clip_needs(painter: Jasco, tmp_path: Path, option: str) -> None:
    """A file of hours, most of which is not there (sparse); what is read equals the beginning of it."""
    write_audio(tmp_path / "short.wav", bursts(4), 44_100)
    content, size = bytearray((tmp_path / "short.wav").read_bytes()), 1 << 31
    assert content[36:40] == b"data"
    content[4:8], content[40:44] = (size - 8).to_bytes(4, "little"), (size - 44).to_bytes(4, "little")
    with open(tmp_path / "long.wav", "wb") as file:
        file.write(content)
        file.truncate(size)
    options = {"keep": "0-0.5"} if option == "paint" else {}
    forget_peak(torch.device("cpu"))
    before = peak(torch.device("cpu"))
    clips = [painter.read(Request(**{option: tmp_path / name}, **options), 50) for name in ("long.wav", "short.wav")]
    after = peak(torch.device("cpu"))
    (name,) = {"mix": ["mix"], "paint": ["painting"]}[option]
    np.testing.assert_array_equal(clips[0].asked[name], clips[1].asked[name])
    assert before is None or after is None or after - before < 200e6


def test_seeds_and_conditions_change_the_clip(jasco: Jasco) -> None:
    clips = jasco.generate(
        [
            Request("slow piano", chords="C G", seed=1),
            Request("slow piano", chords="C G", seed=2),
            Request("slow piano", chords="C A", seed=1),
            Request("fast drums", chords="C G", seed=1),
            Request("slow piano", chords="C G", seed=1),
        ],
        solver=SOLVERS[0],
    )
    same, *others = (clips[0].latents - clip.latents for clip in (clips[4], *clips[1:4]))
    assert float(same.abs().max()) < 1e-4
    assert all(float(other.abs().max()) > 1e-2 for other in others)


@pytest.mark.parametrize("wrong", ["slow jazz", None, ["slow jazz"]])
def test_what_is_no_request_is_refused_in_a_sentence(jasco: Jasco, wrong: Any) -> None:
    with pytest.raises(UserError, match="asked for by a Request, or by a list of them"):
        jasco.generate(wrong)


@pytest.mark.parametrize(
    ("asked", "sentence"),
    [
        ({"bpm": "96"}, "bpm is '96', where a number is accepted"),
        ({"bpm": True}, "bpm is True, where a number is accepted"),
        ({"seed": 1.5}, "seed is 1.5, where a whole number is accepted"),
        ({"seed": "a"}, "seed is 'a', where a whole number is accepted"),
    ],
)
def test_what_is_no_number_is_refused_in_a_sentence(asked: dict[str, Any], sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        Request("x", **asked)
    Request("x", bpm=np.float32(96), seed=np.int64(3))


def test_a_request_without_anything_is_a_clip(jasco: Jasco) -> None:
    shares: list[float] = []
    (clip,) = jasco.generate(Request(), progress=shares.append)
    assert clip.audio.shape == (1, 32000)  # the second that the model's config names
    assert torch.isfinite(clip.audio).all()
    assert (clip.sample_rate, clip.evaluations, clip.asked, clip.notes, clip.changes) == (RATE, 20, {}, [], [])
    assert clip.latents.shape == (50, 128)
    assert shares[-1] == 1.0
    torch.testing.assert_close(clip.audio, jasco.decode(clip.latents[None])[0])
    assert jasco.generate([]) == []


def test_latents_are_in_the_codecs_scale(jasco: Jasco) -> None:
    with torch.no_grad():
        jasco.model.transformer.output.weight.zero_()  # the flow stands still: what comes out is the noise
    (clip,) = jasco.generate(Request(seed=5))
    again = (clip.latents - jasco.codec.latent_mean) / jasco.codec.latent_std
    assert float(again.mean()) == pytest.approx(0.0, abs=0.05)
    assert float(again.std()) == pytest.approx(1.0, abs=0.05)


def test_chords_are_read_into_frames(jasco: Jasco) -> None:
    (clip,) = jasco.generate(Request(chords="(C, 0.0), (Db, 0.3), (Gsus4, 0.62)"), solver=SOLVERS[0])
    names = [change.label for change in clip.changes]
    assert names[:2] == ["C", "C#"]
    expected = [harmony.index(names[0])] * 15 + [harmony.index(names[1])] * 16 + [harmony.index(names[2])] * 19
    assert clip.asked["chords"].tolist() == expected
    assert len(clip.notes) == 1
    assert "Gsus4" in clip.notes[0]


def test_a_melody_array_is_asked_as_it_is(jasco: Jasco) -> None:
    bins = np.tile(np.array([-1, 5, 9]), 20)[:50]
    (clip,) = jasco.generate(Request(melody=bins), solver=SOLVERS[0])
    assert clip.asked["melody"].tolist() == bins.tolist()


def test_short_drums_repeat_and_long_ones_are_cut(jasco: Jasco, tmp_path: Path) -> None:
    loop = bursts(0.2)  # ten frames
    short, thrice, long = jasco.generate(
        [Request(drums=drums) for drums in (loop, loop.repeat(1, 5), loop.repeat(1, 9))], solver=SOLVERS[0]
    )
    assert short.notes[0] == "drums: 0.20 s of audio were repeated to fill the clip"
    assert "lowered by 11 dB to the -24.5 LUFS" in short.notes[1]
    assert thrice.notes == long.notes == short.notes[1:]
    codes = short.asked["drums"]
    assert codes.shape == (50,)
    assert len(set(codes.tolist())) > 1
    assert codes.tolist() == thrice.asked["drums"].tolist()
    assert codes[10:20].tolist() == codes[20:30].tolist() == codes[30:40].tolist()
    assert long.asked["drums"][:45].tolist() == codes[:45].tolist()
    write_audio(tmp_path / "loop.wav", loop, RATE)
    (read,) = jasco.generate(Request(drums=tmp_path / "loop.wav"), solver=SOLVERS[0])
    assert float((read.asked["drums"] == codes).mean()) > 0.9


def test_drums_are_the_codecs_first_codes(jasco: Jasco) -> None:
    wav = bursts(1.0)
    (clip,) = jasco.generate(Request(drums=wav), solver=SOLVERS[0])
    assert clip.asked["drums"].tolist() == jasco.codec.codes(jasco.codec.encode(to_loudness(wav, RATE, -24.5)[0][None]))[0].tolist()


def test_length_is_free(jasco: Jasco) -> None:
    (clip,) = jasco.generate(Request(chords="C G"), seconds=0.5, solver=SOLVERS[0])
    assert clip.audio.shape == (1, 16000)
    assert len(clip.asked["chords"]) == 25
    (blink,) = jasco.generate(Request(drums=bursts(0.02)), seconds=0.02, solver=SOLVERS[0])
    assert blink.audio.shape == (1, HOP)


@pytest.mark.parametrize("solver", SOLVERS, ids=lambda solver: solver.method)
def test_guidance_costs_what_it_needs(jasco: Jasco, solver: SolverConfig) -> None:
    rows: list[int] = []
    jasco.model.transformer.register_forward_pre_hook(lambda module, args: rows.append(args[0].shape[0]))

    def cost(guidance: str) -> set[int]:
        rows.clear()
        clips = jasco.generate(REQUESTS[:2], guidance=guidance, solver=solver)
        assert clips[0].evaluations <= len(rows)
        return {row // (1 if solver.method == "dopri5" else 2) for row in rows}

    assert cost("all=1.5 text=0.5") == {3}
    assert cost("all=2") == {2}
    assert cost("all=1 text=0") == {1}


def test_guidance_matters(jasco: Jasco) -> None:
    request = Request("slow piano", chords="C G", seed=1)
    plain, strong, nothing = (
        jasco.generate(request, guidance=guidance, solver=SOLVERS[0])[0].latents for guidance in ("all=1", "all=3", "all=0")
    )
    unconditional = jasco.generate(Request(seed=1), guidance="all=1", solver=SOLVERS[0])[0].latents
    torch.testing.assert_close(nothing, unconditional, atol=1e-4, rtol=0)
    assert not torch.allclose(plain, strong, atol=1e-2)
    assert not torch.allclose(plain, nothing, atol=1e-2)


@pytest.mark.parametrize(
    ("request_options", "options", "message"),
    [
        ({}, {"seconds": 0.0}, "up to 600 seconds, not 0"),
        ({}, {"seconds": -1.0}, "up to 600 seconds, not -1"),
        ({}, {"seconds": 601.0}, "up to 600 seconds, not 601"),
        ({}, {"seconds": float("nan")}, "up to 600 seconds, not nan"),
        ({}, {"guidance": "bass=1"}, "condition 'bass'"),
        ({}, {"guidance": "all"}, "NAME=WEIGHT"),
        ({"chords": "C H Q"}, {}, "'Q'"),
        ({"drums": "/nonexistent/loop.wav"}, {}, "loop.wav' does not exist"),
        ({"mix": bursts(1.0)}, {}, "no control 'mix'; it has: chords, melody, drums"),
        ({"paint": bursts(1.0)}, {}, "no control 'painting'; it has: chords, melody, drums"),
        ({"drums": torch.zeros(2, 100)}, {}, r"shape \[2, 100\], where \[1, samples\]"),
        ({"drums": torch.zeros(1, 0)}, {}, r"shape \[1, 0\]"),
        ({"drums": torch.full((1, 100), float("nan"))}, {}, "finite numbers"),
        ({"melody": np.full(50, 53)}, {}, "melody array"),
    ],
)
def test_what_cannot_be_used_is_said_before_anything_is_computed(
    jasco: Jasco, request_options: dict[str, Any], options: dict[str, Any], message: str
) -> None:
    jasco.model.transformer.register_forward_pre_hook(lambda module, args: pytest.fail("the network was evaluated"))
    with pytest.raises(UserError, match=message) as caught:
        jasco.generate([Request(), Request(**request_options)], **options)
    assert "\n" not in str(caught.value)


def test_a_control_that_the_model_lacks(tiny_model_config: ModelConfig, tiny_codec_folder: Path, offline_encoder: TextEncoder) -> None:
    chords_only = build(replace(tiny_model_config, controls={"chords": {}}), tiny_codec_folder, offline_encoder)
    with pytest.raises(UserError, match="no control 'drums'; it has: chords"):
        chords_only.generate(Request(drums=bursts(1.0)))
    text_only = build(replace(tiny_model_config, controls={}), tiny_codec_folder, offline_encoder)
    with pytest.raises(UserError, match="no control 'chords'; it has: text only"):
        text_only.generate(Request(chords="C"))
    clips = text_only.generate([Request("slow piano"), Request()], seconds=0.4, solver=SOLVERS[1])  # at the default guidance
    assert sounds(clips).shape == (2, 1, 20 * HOP)


@pytest.fixture
def painter(tiny_model_config: ModelConfig, tiny_codec_folder: Path, offline_encoder: TextEncoder) -> Jasco:
    """A model of one-second clips that can go on."""
    controls: dict[str, dict[str, Any]] = {"chords": {}, "drumless": {}, "drums_bandpass": {}, "mix": {}, "painting": {}}
    return build(replace(tiny_model_config, controls=controls), tiny_codec_folder, offline_encoder)


def kept_of(clip: Clip) -> np.ndarray:
    return ~np.isnan(clip.asked["painting"]).any(axis=1)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"keep": "0-0.4"}, range(20)),
        ({"redo": "0.3-0.6"}, [*range(15), *range(30, 50)]),
        ({"keep": "0.8-"}, range(40, 50)),
        ({"keep": [(0.0, 0.2), (0.9, 1.0)]}, [*range(10), *range(45, 50)]),
        ({"redo": "-0.5"}, range(25, 50)),
    ],
)
def test_what_is_kept_of_a_recording_comes_back_and_the_rest_is_new(painter: Jasco, options: dict[str, Any], expected: Any) -> None:
    song = bursts(3.0)
    first, second = painter.generate([Request(paint=song, seed=seed, **options) for seed in (1, 2)], solver=SOLVERS[0])
    kept = kept_of(first)
    assert np.flatnonzero(kept).tolist() == list(expected)
    latents = painter.codec.encode(to_loudness(song[:, : 53 * HOP], RATE, -20)[0][None])[0][:50]
    torch.testing.assert_close(first.latents[kept], latents[kept], atol=1e-4, rtol=0)
    assert not torch.isclose(first.latents[~kept], latents[~kept], atol=1e-2).all(dim=1).any()
    assert float((first.latents - second.latents)[~kept].abs().mean()) > 0.1
    fades = np.repeat(kept, HOP)
    same = (first.audio[0] == song[0, : 50 * HOP]).numpy()
    assert not same[~fades].all()
    if kept[:10].all():  # beyond the tenth of a second that fades, the recording itself
        assert same[: 5 * HOP].all()
    assert first.notes[0].startswith("kept of the recording: ")
    assert first.audio.shape == (1, 50 * HOP)


def test_without_more_words_all_of_a_recording_is_kept_and_goes_on(painter: Jasco, tmp_path: Path) -> None:
    write_audio(tmp_path / "intro.wav", bursts(0.5), RATE)
    (clip,) = painter.generate(Request(paint=tmp_path / "intro.wav"), solver=SOLVERS[0])
    assert np.flatnonzero(kept_of(clip)).tolist() == list(range(22))  # 25 frames, of which the last three have heard its end
    assert clip.notes == ["kept of the recording: 0.00-0.44 s"]
    (little,) = painter.generate(Request(paint=tmp_path / "intro.wav", keep="0-0.04"), solver=SOLVERS[0])
    assert little.notes == [
        "kept of the recording: 0.00-0.04 s",
        "96% of the clip are new, where the model has learnt to make 40% to 90%",
    ]


def test_the_network_sees_silence_where_nothing_is_kept_and_what_is_kept_where_it_is(painter: Jasco) -> None:
    seen: list[torch.Tensor] = []
    painter.model.transformer.register_forward_pre_hook(lambda module, args: seen.append(args[0][..., -128:]))
    song = bursts(1.0)
    painter.generate(Request(paint=song, keep="0-0.4"), guidance="all=1.5 text=0.5", solver=SOLVERS[0])
    silence = painter.model.controls["painting"].silence
    everything, text, nothing = seen[0]
    kept = painter.model.normalize(painter.codec.encode(to_loudness(song[:, : 53 * HOP], RATE, -20)[0][None])[0])
    torch.testing.assert_close(everything[:20], kept[:20], atol=1e-4, rtol=0)
    torch.testing.assert_close(everything[20:], silence.expand(30, -1))
    for row in (text, nothing):
        torch.testing.assert_close(row, silence.expand(50, -1))


@pytest.mark.parametrize("solver", [SOLVERS[0], SolverConfig("dopri5", tolerance=0.1)], ids=lambda solver: solver.method)
def test_a_long_clip_is_made_window_by_window(painter: Jasco, solver: SolverConfig) -> None:
    lengths: list[int] = []
    hook = painter.model.transformer.register_forward_pre_hook(lambda module, args: lengths.append(args[0].shape[1]))
    shares: list[float] = []
    requests = [
        Request("piano", chords="C G Am F", seed=1),
        Request("piano", chords="C G Am F", paint=bursts(1.3), seed=2),
        Request(mix=bursts(0.3), drums=bursts(0.2), seed=3),
    ]
    clips = painter.generate(requests, seconds=2.5, solver=solver, progress=shares.append)
    hook.remove()
    assert set(lengths) == {50}
    assert shares[-1] == pytest.approx(1.0)
    assert shares == sorted(shares)
    assert sounds(clips).shape == (3, 1, 125 * HOP)
    assert all(len(clip.asked["chords"]) == 125 for clip in clips[:2])
    assert kept_of(clips[1]).sum() == 62
    for index, clip in enumerate(clips):  # and no clip depends on the others, whose windows lie elsewhere
        (alone,) = painter.generate(requests[index], seconds=2.5, solver=solver)
        torch.testing.assert_close(alone.latents, clip.latents, atol=2e-4, rtol=0)
    if solver.method == "euler":
        assert clips[0].evaluations == 4 * 4  # 125 frames in four windows of 50, each knowing the last 15 at least


def test_a_window_goes_on_from_the_one_before(painter: Jasco) -> None:
    """Its first frames go straight from their noise to what the window before has made of them; the control says nothing of them."""
    seen: list[torch.Tensor] = []
    painter.model.transformer.register_forward_pre_hook(lambda module, args: seen.append(args[0][0]))
    (clip,) = painter.generate(Request("piano", seed=1), seconds=2.5, guidance="all=1", solver=SolverConfig("euler", steps=2))
    latents, silence = painter.model.normalize(clip.latents), painter.model.controls["painting"].silence
    assert len(seen) == 8
    assert all(torch.equal(inputs[:, -128:], silence.expand(50, -1)) for inputs in seen)
    for begun, halfway, first in zip(seen[2::2], seen[3::2], (25, 50, 75), strict=True):
        there = (begun[:10, :128] + latents[first : first + 10]) / 2
        torch.testing.assert_close(halfway[:10, :128], there, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("solver", SOLVERS, ids=lambda solver: solver.method)
def test_a_model_without_painting_makes_windows_too(jasco: Jasco, solver: SolverConfig) -> None:
    lengths: list[int] = []
    hook = jasco.model.transformer.register_forward_pre_hook(lambda module, args: lengths.append(args[0].shape[1]))
    requests = [Request("piano", chords="C G Am F", seed=1), Request(seed=2)]
    clips = jasco.generate(requests, seconds=1.5, solver=solver)
    hook.remove()
    assert set(lengths) == {50}
    assert [clip.notes for clip in clips] == [[], []]
    assert sounds(clips).shape == (2, 1, 75 * HOP)
    first = jasco.generate(requests[1], seconds=1.0, solver=solver)[0]  # the other has its chords elsewhere
    assert first.latents.shape == (50, 128)
    (alone,) = jasco.generate(requests[1], seconds=1.5, solver=solver)
    torch.testing.assert_close(alone.latents, clips[1].latents, atol=5e-3, rtol=0)


def test_audio_controls_take_the_codes_of_what_they_are_given(painter: Jasco) -> None:
    wav, drums = bursts(1.0), bursts(1.0).flip(1)
    (clip,) = painter.generate(Request(mix=wav, drumless=wav.flip(1), drums=drums), solver=SOLVERS[0])

    def codes(sound: torch.Tensor) -> list[int]:
        return painter.codec.codes(painter.codec.encode(sound[None]))[0].tolist()

    mix, drumless, drums = (to_loudness(one, RATE, level)[0] for one, level in ((wav, -20), (wav.flip(1), -21.5), (drums, -24.5)))
    assert clip.asked["mix"].tolist() == codes(mix)
    assert clip.asked["drumless"].tolist() == codes(drumless)
    assert clip.asked["drums_bandpass"].tolist() == codes(bandpass(drums, RATE)) != codes(drums)
    assert set(clip.asked) == {"mix", "drumless", "drums_bandpass"}


@pytest.mark.parametrize(
    ("request_options", "options", "message"),
    [
        ({"keep": "0-1"}, {}, "no recording"),
        ({"paint": bursts(3.0)}, {}, "all 1 seconds of the clip would be kept"),
        ({"paint": bursts(3.0), "redo": "2-3"}, {}, "redo 2-3 begins past the clip, which ends at 1 seconds"),
        ({"paint": bursts(0.5), "keep": "0.6-0.8"}, {}, "keep 0.6-0.8 begins past the recording, which ends at 0.5 seconds"),
        ({"paint": bursts(3.0), "redo": "0-1"}, {}, "nothing of the recording would be kept"),
        ({"paint": bursts(3.0), "redo": "a-b"}, {}, "redo 'a-b' is not a stretch of seconds, as in '0-4'"),
        ({"paint": bursts(3.0), "keep": "0-1", "redo": "0-1"}, {}, "one of them says it all"),
        ({"paint": torch.zeros(2, 100)}, {}, r"the paint waveform has shape \[2, 100\]"),
        ({"melody": np.zeros(50, dtype=int)}, {}, "no control 'melody'; it has: chords, drumless, drums_bandpass, mix, painting"),
        ({}, {"seconds": 601.0}, "up to 600 seconds, not 601"),
    ],
)
def test_what_cannot_be_painted_is_said_before_anything_is_computed(
    painter: Jasco, request_options: dict[str, Any], options: dict[str, Any], message: str
) -> None:
    painter.model.transformer.register_forward_pre_hook(lambda module, args: pytest.fail("the network was evaluated"))
    with pytest.raises(UserError, match=message) as caught:
        painter.generate([Request(), Request(**request_options)], **options)
    assert "\n" not in str(caught.value)


def test_the_command_line_goes_on_from_a_recording(painter: Jasco, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    painter.model.save_pretrained(tmp_path / "model")
    write_audio(tmp_path / "song.wav", bursts(0.6), RATE)
    common = ["generate", "--checkpoint", str(tmp_path / "model"), "--solver", "euler", "--steps", "2", "-o", str(tmp_path / "out")]
    painted = [*common, "--paint", str(tmp_path / "song.wav")]
    assert main([*painted, "--keep", "0-0.4", "--mix", str(tmp_path / "song.wav"), "--text", "piano", "--seconds", "1.4"]) == 0
    said = capsys.readouterr().out
    assert "note: mix: 0.60 s of audio were repeated to fill the clip" in said
    assert "note: kept of the recording: 0.00-0.40 s" in said
    settings = json.loads((tmp_path / "out" / "piano-seed0.json").read_text())
    assert settings["request"]["keep"] == "0-0.4"
    assert settings["request"]["paint"].endswith("song.wav")
    assert settings["seconds"] == 1.4
    assert main([*painted, "--redo", "x"]) == 2
    assert "redo 'x' is not a stretch of seconds" in capsys.readouterr().err
    assert main([*common, "--redo", "1-2"]) == 2
    assert "no recording" in capsys.readouterr().err


def test_a_single_clip_may_name_its_file(painter: Jasco, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    painter.model.save_pretrained(tmp_path / "model")
    common = ["generate", "--checkpoint", str(tmp_path / "model"), "--solver", "euler", "--steps", "1", "--seconds", "0.4"]
    assert main([*common, "-o", str(tmp_path / "new" / "song.flac")]) == 0
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == ["song.flac", "song.json"]
    assert read_audio(tmp_path / "new" / "song.flac", RATE).abs().max() > 0
    assert main([*common, "-o", str(tmp_path / "songs.wav"), "-n", "2"]) == 2
    assert "-n asks for 2 clips: name a folder" in capsys.readouterr().err
    assert main([*common, "-o", str(tmp_path / "song.m4a")]) == 2
    assert "must end in one of .wav, .flac, .ogg, .mp3" in capsys.readouterr().err
    assert not list(tmp_path.glob("song*"))


def test_a_quality_stands_for_steps_that_were_fitted_to_the_model(jasco: Jasco, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    common = ["generate", "--checkpoint", str(tmp_path), "--seconds", "0.4", "-o", str(tmp_path / "clip.wav")]
    for times, made in (([0.0, 0.1, 0.3, 1.0], (8, "fitted")), (None, (12, "uniform"))):
        jasco.model.config.times = times
        jasco.model.save_pretrained(tmp_path)
        (tmp_path / "clip.wav").unlink(missing_ok=True)
        (tmp_path / "clip.json").unlink(missing_ok=True)
        assert main([*common, "--quality", "fast"]) == 0
        settings = json.loads((tmp_path / "clip.json").read_text())
        assert (settings["evaluations"], settings["solver"]["times"]) == made
    capsys.readouterr()
    assert main([*common, "--quality", "fast", "--steps", "3"]) == 2
    assert "--quality stands for a solver and its steps: leave out" in capsys.readouterr().err


def test_parts_must_fit(tiny_model_config: ModelConfig, tiny_codec_folder: Path, offline_encoder: TextEncoder) -> None:
    with pytest.raises(UserError, match="the codec has 128 channels, the model wants 64"):
        Jasco(JascoModel(replace(tiny_model_config, latent_dim=64)), BandCodec.from_pretrained(tiny_codec_folder), offline_encoder)
    with pytest.raises(UserError, match="'all-MiniLM-L6-v2' has 384 channels, the model wants 768"):
        Jasco(JascoModel(replace(tiny_model_config, text_dim=768)), BandCodec.from_pretrained(tiny_codec_folder), offline_encoder)
    with pytest.raises(UserError, match="the codec has 8 codebook entries, the model wants 16"):
        Jasco(JascoModel(tiny_model_config), BandCodec(BandCodecConfig(codebook_size=8, codebooks=1)), offline_encoder)


def test_a_checkpoint_brings_its_codec_and_encoder(jasco: Jasco, tiny_codec_folder: Path) -> None:
    folder = tiny_codec_folder.parent / "jasco-tiny"
    jasco.model.config.codec = "anywhere/codec-tiny"  # found beside the checkpoint
    jasco.model.save_pretrained(folder)
    again = Jasco.from_pretrained(folder)
    assert again.describe() == {
        "codec": "anywhere/codec-tiny",
        "text_encoder": "all-MiniLM-L6-v2",
        "controls": ["chords", "melody", "drums"],
        "precision": "fp32",
    }
    expected = jasco.generate(REQUESTS[:2], solver=SOLVERS[0])
    torch.testing.assert_close(sounds(again.generate(REQUESTS[:2], solver=SOLVERS[0])), sounds(expected), atol=1e-4, rtol=0)


def test_a_checkpoint_that_is_not_there() -> None:
    with pytest.raises(UserError, match="no JASCO checkpoint in 'checkpoints/jasco-nowhere'"):
        Jasco.from_pretrained("checkpoints/jasco-nowhere")


def test_the_latent_limit_holds_loud_latents_and_nothing_else(
    tiny_model_config: ModelConfig, tiny_codec_folder: Path, offline_encoder: TextEncoder
) -> None:
    solver = SolverConfig("euler", steps=2)
    free, held = (build(replace(tiny_model_config, latent_limit=limit), tiny_codec_folder, offline_encoder) for limit in (None, 0.5))
    (loud,), (quiet,) = (jasco.generate(Request("rock"), seconds=0.4, solver=solver) for jasco in (free, held))
    wanted = free.model.normalize(loud.latents).clamp(max=0.5)
    assert (free.model.normalize(loud.latents) > 0.5).any()
    torch.testing.assert_close(held.model.normalize(quiet.latents), wanted)


def test_a_control_may_hold_for_a_part_of_the_time(jasco: Jasco) -> None:
    """Outside of its stretches it is null, wherever the line that was read had a chord; other controls and clips are as without."""
    melody = np.tile(np.arange(10), 5)
    asked = {"chords": "C G", "melody": melody, "seed": 1}
    whole, cut = jasco.read(Request(**asked), 50), jasco.read(Request(**asked, during="chords=0.2-0.4+0.8-"), 50)
    inside = np.zeros(50, dtype=bool)
    inside[10:20] = inside[40:] = True
    assert np.array_equal(cut.during["chords"], inside)
    assert np.array_equal(cut.asked["chords"][inside], whole.asked["chords"][inside])
    assert (cut.asked["chords"][~inside] == harmony.NULL).all()
    assert np.array_equal(cut.asked["melody"], whole.asked["melody"])
    assert cut.notes[-1] == "held for a part of the time: chords for 0.20-0.40, 0.80-1.00 s; melody throughout"
    assert cut.part(CONTROLS["chords"].adherence).frames.tolist() == np.flatnonzero(inside).tolist()
    assert cut.part(CONTROLS["melody"].adherence) is None
    assert whole.during == {}
    requests = [Request(**asked), Request(**asked, during={"chords": [(0.2, 0.4), (0.8, 1)]}), Request(**asked, during="chords=0-")]
    clips = jasco.generate(requests, solver=SOLVERS[0])
    torch.testing.assert_close(clips[2].audio, clips[0].audio, atol=1e-4, rtol=0)
    assert not torch.allclose(clips[1].audio, clips[0].audio, atol=1e-3)


def test_audio_holds_for_a_part_of_the_time(jasco: Jasco) -> None:
    cut = jasco.read(Request(drums=bursts(0.3), during="drums=-0.5"), 50)
    assert (cut.asked["drums"][:25] >= 0).all()
    assert (cut.asked["drums"][25:] == -1).all()


@pytest.mark.parametrize(
    ("during", "message"), [("melody=0-1", "during names melody, which is not asked for"), ("chords=2-3", "begins past the clip")]
)
def test_a_wrong_part_of_the_time_is_one_sentence(jasco: Jasco, during: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        jasco.generate(Request(chords="C", during=during))


def test_the_kept_seconds_come_out_at_the_users_level(painter: Jasco, tmp_path: Path) -> None:
    quiet = bursts(0.5) * 0.05
    loud, soft = painter.generate([Request(paint=bursts(0.5), seed=1), Request(paint=quiet, seed=1)], solver=SOLVERS[0])
    assert torch.equal(soft.audio[:, : 16 * HOP], quiet[:, : 16 * HOP])
    torch.testing.assert_close(soft.latents, loud.latents, atol=1e-3, rtol=0)  # the network hears both at one loudness
    save_clip(soft, tmp_path / "soft.wav", {})
    assert (read_audio(tmp_path / "soft.wav") - soft.audio).abs().max() < 1e-4


def test_a_recording_may_begin_in_the_middle(painter: Jasco) -> None:
    song = bursts(0.5)
    (clip,) = painter.generate(Request(paint=song, at=0.307, seed=1), solver=SOLVERS[0])
    known = kept_of(clip)
    assert np.flatnonzero(known).tolist() == list(range(16 + 3, 40 - 3))  # whole frames, but for three at either end
    begins = round(0.307 * RATE)
    inside = slice(24 * HOP, 32 * HOP)
    assert torch.equal(clip.audio[:, inside], song[:, 24 * HOP - begins : 32 * HOP - begins])
    assert clip.notes[0] == "kept of the recording: 0.38-0.74 s of the clip"
    assert "begins anew, which the model has not learnt" in clip.notes[1]


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"paint": bursts(0.5), "at": 1.0}, "would begin at 1 s, where the clip of 1 s has ended"),
        ({"paint": bursts(0.5), "at": -1.0}, "at 0 seconds of the clip or later, not at -1"),
        ({"paint": bursts(0.5), "at": float("nan")}, "or later, not at nan"),
        ({"at": 0.5}, "no recording"),
        ({"paint": bursts(3.0), "redo": "0-"}, "nothing of the recording would be kept"),
        ({"paint": bursts(3.0), "redo": "0-1"}, "nothing of the recording would be kept"),
        ({"paint": bursts(3.0), "redo": ""}, "redo '' is not a stretch of seconds"),
        ({"paint": bursts(3.0), "redo": "0.5-0.5"}, "must be at least 0 and less than the last"),
        ({"paint": bursts(3.0), "redo": "0.501-0.502"}, "all 1 seconds of the clip would be kept"),
    ],
)
def test_what_cannot_be_painted_is_refused(painter: Jasco, asked: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        painter.read(Request(**asked), 50)


@pytest.mark.slow
def test_three_minutes_go_on_from_one_second(painter: Jasco) -> None:
    (clip,) = painter.generate(Request(paint=bursts(1.0), seed=1), seconds=180, guidance="all=1", solver=SolverConfig("euler", steps=1))
    assert clip.audio.shape == (1, 9000 * HOP)
    assert clip.latents.isfinite().all()
    assert torch.equal(clip.audio[:, : 40 * HOP], bursts(1.0)[:, : 40 * HOP])
    minutes = clip.audio[0].split(60 * RATE)
    assert all(minute.std() > 0.1 * minutes[0].std() for minute in minutes)  # it does not die away
