from __future__ import annotations

import io
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from untrained import stir

from jasco_pl.audio.files import measure_loudness
from jasco_pl.cli import main
from jasco_pl.codec import BandCodec
from jasco_pl.commands import piped
from jasco_pl.generation.jasco import Jasco, Request
from jasco_pl.generation.streaming import parts_of
from jasco_pl.network.flow.solver import SolverConfig
from jasco_pl.network.model import JascoModel, ModelConfig
from jasco_pl.network.text import TextEncoder
from jasco_pl.system.errors import UserError

RATE, HOP = 32000, 640
QUICK = SolverConfig("euler", steps=2)


@pytest.fixture
def painter(tiny_model_config: ModelConfig, tiny_codec_folder: Path, offline_encoder: TextEncoder) -> Jasco:
    """An untrained model of one-second clips that can go on."""
    torch.manual_seed(0)
    codec = BandCodec.from_pretrained(tiny_codec_folder)
    config = replace(tiny_model_config, controls={"chords": {}, "mix": {}, "painting": {}})
    model = JascoModel(config, codec.latent_mean, codec.latent_std, codec.normalized_codebook, codec.normalized_silence)
    stir(model)
    return Jasco(model, codec, offline_encoder)


def test_parts_cover_a_clip_once() -> None:
    assert parts_of(500, 500) == [slice(0, 500)]
    assert parts_of(501, 500) == [slice(0, 250), slice(250, 500), slice(500, 501)]
    assert parts_of(3, 1) == [slice(0, 1), slice(1, 2), slice(2, 3)]


def test_the_parts_of_a_stream_are_the_clip_in_any_batch(painter: Jasco) -> None:
    request = Request("piano", chords="C G Am F", seed=5)
    stream = painter.stream_audio(request, 4.5, solver=QUICK)
    parts = list(stream)
    assert stream.samples == sum(part.shape[1] for part in parts) == 225 * HOP
    assert len(parts) > 3
    joined = torch.cat(parts, dim=1)
    (clip,) = painter.generate(request, 4.5, solver=QUICK)
    assert torch.equal(joined, clip.audio)  # bit for bit
    assert torch.equal(stream.clip.audio, clip.audio)
    assert torch.equal(stream.clip.latents, clip.latents)
    assert stream.clip.evaluations == clip.evaluations
    beside = painter.generate([Request(seed=1), request], 4.5, solver=QUICK)[1]
    assert (beside.audio - joined).norm() < 1e-2 * joined.norm()  # rounding alone, of another batch
    whole = painter.codec.decode(clip.latents[None])[0]
    assert 20 * torch.log10((joined - whole).norm() / whole.norm()) < -90


def test_a_part_comes_before_the_next_window_is_begun(painter: Jasco) -> None:
    evaluations = 0

    def count() -> None:
        nonlocal evaluations
        evaluations += 1

    shares: list[float] = []
    seen = []
    for part in painter.stream_audio(Request("piano"), 6.0, solver=QUICK, progress=shares.append, check=count):
        seen.append((evaluations, shares[-1]))
        assert part.isfinite().all()
    assert seen[0][0] < evaluations
    assert seen[0][1] < 0.8
    assert shares[-1] == pytest.approx(1.0)
    assert shares == sorted(shares)
    assert len({after for after, _ in seen}) > 3  # handed over as they come, not at the end


def test_who_has_heard_enough_ends_the_work(painter: Jasco) -> None:
    evaluations = 0

    def count() -> None:
        nonlocal evaluations
        evaluations += 1

    stream = painter.stream_audio(Request("piano"), 6.0, solver=QUICK, check=count)
    next(iter(stream))
    before = evaluations
    assert stream.clip.audio.numel() == 0  # nothing pretends to be whole
    painter.generate(Request(), 0.5, solver=QUICK)
    assert evaluations == before

    class EnoughError(Exception):
        pass

    def stop() -> None:
        nonlocal before
        before -= 1
        if before < 0:
            raise EnoughError

    with pytest.raises(EnoughError):
        list(painter.stream_audio(Request("piano"), 6.0, solver=QUICK, check=stop))


def test_a_short_clip_is_one_part(painter: Jasco) -> None:
    (part,) = painter.stream_audio(Request(), 0.8, solver=QUICK)
    (clip,) = painter.generate(Request(), 0.8, solver=QUICK)
    assert torch.equal(part, clip.audio)


def test_what_is_made_as_a_whole_is_not_streamed(painter: Jasco) -> None:
    with pytest.raises(UserError, match="cannot be streamed"):
        painter.stream_audio(Request(paint=torch.randn(1, RATE) * 0.1), 3.0)
    with pytest.raises(UserError, match="all of it is made at once"):
        painter.stream_audio(Request(loop=True), 3.0)


class _Pipe(io.TextIOWrapper):
    """Standard output whose bytes can be read."""

    def __init__(self, most: int | None = None) -> None:
        self.taken = _Bytes(most)
        super().__init__(io.BufferedWriter(self.taken, 1), write_through=True)


class _Bytes(io.RawIOBase):
    def __init__(self, most: int | None) -> None:
        self.content, self.most = bytearray(), most

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        if self.most is not None and len(self.content) + len(data) > self.most:
            raise BrokenPipeError
        self.content += data
        return len(data)


@pytest.fixture
def saved(painter: Jasco, tmp_path: Path) -> list[str]:
    painter.model.save_pretrained(tmp_path / "model")
    return ["generate", "--checkpoint", str(tmp_path / "model"), "--solver", "euler", "--steps", "2", "--precision", "fp32", "-o", "-"]


def test_the_command_line_writes_a_wav_to_standard_output(
    saved: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pipe = _Pipe()
    monkeypatch.setattr(sys, "stdout", pipe)
    assert main([*saved, "--chords", "C | G", "--seconds", "3.2", "--bpm", "99"]) == 0
    told = capsys.readouterr().err
    samples, rate = soundfile.read(io.BytesIO(bytes(pipe.taken.content)), dtype="float32")
    assert (len(samples), rate) == (160 * HOP, RATE)
    assert len(pipe.taken.content) == 44 + 2 * len(samples)
    loudness = measure_loudness(torch.from_numpy(samples[: 25 * HOP])[None], RATE)
    assert loudness == pytest.approx(-14, abs=2) or abs(samples).max() == pytest.approx(0.89, abs=0.02)
    assert "chords: C@0" in told  # not among the samples


def test_a_listener_that_goes_away_is_no_error_to_read_about(
    saved: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("os.dup2", lambda *_: None)  # what the command line does to the real standard output
    monkeypatch.setattr(sys, "stdout", pipe := _Pipe(most=40_000))
    monkeypatch.setattr(pipe, "fileno", lambda: 1)
    assert main([*saved, "--seconds", "3.2"]) == 1
    assert "Traceback" not in capsys.readouterr().err
    assert len(pipe.taken.content) <= 40_000


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["-n", "2"], "-n asks for 2"),
        (["--midi"], "--midi needs a folder"),
        (["--paint", "song.wav"], "name a folder"),
        (["--loop"], "a loop is made as a whole"),
    ],
)
def test_what_no_pipe_can_take(saved: list[str], more: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*saved, *more]) == 2
    assert message in capsys.readouterr().err


def test_sound_does_not_go_to_a_terminal(saved: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    assert main(saved) == 2
    assert "pipe it into a player" in capsys.readouterr().err


def test_dynamics_tell_how_much_louder_the_rest_will_be(painter: Jasco) -> None:
    stream = painter.stream_audio(Request(), 4.0)
    assert piped.rise_of(stream) == 0.0
    levels = np.full(200, -30.0, dtype=np.float32)
    levels[100:] = 0.0
    stream.clip.asked["dynamics"] = levels
    assert piped.rise_of(stream) == pytest.approx(27.0, abs=0.1)  # half of the clip 30 dB louder
