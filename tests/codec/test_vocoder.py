from __future__ import annotations

import json
import math
from pathlib import Path

import lightning
import numpy as np
import pytest
import soundfile
import torch
from lightning.pytorch.loggers import TensorBoardLogger
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from jasco_pl.cli import main as jasco
from jasco_pl.codec import BandCodec, BandCodecConfig, load_codec
from jasco_pl.codec.bands import FLOOR, LOW_BANDS
from jasco_pl.codec.griffin_lim import AT_FLOOR, NEIGHBOURS, GriffinLim, above_floor, held_power
from jasco_pl.codec.held import Held
from jasco_pl.codec.vocoder import Vocoder
from jasco_pl.commands.fit import main
from jasco_pl.system.errors import UserError
from jasco_pl.training.vocoder.crops import AudioCrops, AudioDataModule, read_crop
from jasco_pl.training.vocoder.losses import LossBalancer
from jasco_pl.training.vocoder.module import CodecModule, corrupted
from jasco_pl.training.vocoder.remade import Remade

RATE = 32000
VARIED = {"detune": 50.0, "quieter": 30.0}
TINY = {"width": 8, "layers": 1, "iterations": 2}


def music(seconds: float, seed: int) -> torch.Tensor:
    """Decaying tones over soft noise, [1, S]."""
    draw = torch.Generator().manual_seed(seed)
    time = torch.arange(round(seconds * RATE)) / RATE
    tones = [torch.sin(2 * torch.pi * 110 * 2 ** (k / 12) * time) * torch.exp(-3 * (time % 0.5)) for k in (seed % 12, 4, 19)]
    return (0.1 * torch.stack(tones).sum(0) + 0.01 * torch.randn(len(time), generator=draw))[None]


@pytest.fixture
def codec_folder(tmp_path: Path) -> Path:
    config = BandCodecConfig(codebook_size=4, codebooks=1)
    codec = BandCodec(config, torch.full((128,), -5.0), torch.full((128,), 2.0), torch.randn(1, 4, 128))
    codec.save_pretrained(tmp_path / "fitted")
    return tmp_path / "fitted"


@pytest.fixture
def audio_folder(tmp_path: Path) -> Path:
    folder = tmp_path / "audio" / "below"
    folder.mkdir(parents=True)
    for number in range(3):
        soundfile.write(folder / f"{number}.flac", music(1.5, number)[0].numpy(), RATE)
    return folder.parent


def taught(codec: BandCodec) -> BandCodec:
    """A vocoder whose last layer does something."""
    with torch.no_grad():
        assert isinstance(codec.decoder, Vocoder)
        codec.decoder.head.weight.normal_(0, 0.1, generator=torch.Generator().manual_seed(3))
    return codec.eval()


def module(codec_folder: Path, **settings: object) -> CodecModule:
    lightning.seed_everything(0, verbose=False)
    return CodecModule(
        str(codec_folder), **{**TINY, "discriminator_filters": 2, "discriminator_ffts": [512], "decay_steps": 40, **settings}
    )  # type: ignore[arg-type]


def trainer(folder: Path, steps: int, **settings: object) -> lightning.Trainer:
    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False, "enable_model_summary": False}
    return lightning.Trainer(default_root_dir=folder, max_steps=steps, accelerator="cpu", **{**quiet, "limit_val_batches": 0, **settings})  # type: ignore[arg-type]


def crops(folder: Path) -> AudioDataModule:
    return AudioDataModule([str(folder)], [str(folder)], batch_size=2, seconds=0.4, crops_per_file=4, workers=0, valid_clips=1)


def test_an_untrained_vocoder_is_griffin_lim_but_for_the_silence() -> None:
    codec = BandCodec(BandCodecConfig(decoder="vocoder", **TINY))
    latents = codec.encode(music(1, 0)[None])
    plain = GriffinLim(codec.analysis, TINY["iterations"])
    told = (latents > math.log(FLOOR) + AT_FLOOR).all(dim=1).float()  # bands that are never at the floor, where the network has its say
    assert told.sum() > 100
    sides = told[:, : LOW_BANDS + NEIGHBOURS], told[:, LOW_BANDS - NEIGHBOURS :]
    for mine, theirs, known, filters in zip(
        codec.decoder.magnitudes(latents), plain.magnitudes(latents), sides, (plain.low_filters, plain.high_filters), strict=True
    ):
        bins = (filters.sum(0) > 0) & (((1 - known) @ filters)[0] == 0)
        assert bins.sum() > 0.8 * len(bins)
        torch.testing.assert_close(mine[:, bins], theirs[:, bins], atol=3e-3, rtol=1e-4)
    assert codec.decode(latents).shape == (1, 1, RATE)


def test_a_vocoder_is_left_out_by_its_config(tmp_path: Path) -> None:
    codec = taught(BandCodec(BandCodecConfig(decoder="vocoder", codebook_size=4, codebooks=1, **TINY)))
    codec.save_pretrained(tmp_path)
    told = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(told | {"decoder": "griffin_lim"}))
    plain, latents = load_codec(tmp_path), codec.encode(music(1, 0)[None])
    assert torch.equal(plain.decode(latents)[:, 0], GriffinLim(codec.analysis, TINY["iterations"])(latents))
    assert not torch.allclose(plain.decode(latents), codec.decode(latents), atol=1e-3)


def test_whatever_a_network_says_the_bands_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    """A voice moved inside of its bands stays as loud as was asked for."""
    codec = taught(BandCodec(BandCodecConfig(decoder="vocoder", **TINY)))
    vocoder = codec.decoder
    assert isinstance(vocoder, Vocoder)
    latents = codec.encode(music(2, 3)[None])
    coarse, known = vocoder.griffin_lim, above_floor(latents).mT
    asked = coarse.sides(held_power(latents))
    sides = known[:, : LOW_BANDS + NEIGHBOURS], known[:, LOW_BANDS - NEIGHBOURS :]

    def errors() -> list[float]:
        with torch.inference_mode():
            magnitudes = vocoder.magnitudes(latents)
        found = []
        shares = coarse.low_share, coarse.high_share
        for bins, share, power, said, filters in zip(
            magnitudes, shares, asked, sides, (coarse.low_filters, coarse.high_filters), strict=True
        ):
            inside = (filters.sum(1) > 0.99 * filters.sum(1).max()) & (
                ((filters > 0) & (share[:, 0] < 1)).sum(1) == 0
            )  # not near the split
            there = said & inside[:, None]
            assert there.sum() > 100
            found.append(float((filters @ bins.square() / power)[there].log().abs().mean()))
        return found

    held = errors()
    monkeypatch.setattr(Held, "__call__", lambda self, bins, *rest: bins)
    for after, before in zip(held, errors(), strict=True):
        assert after < 0.25 * before


@pytest.mark.parametrize("over", [0.2, 0.5, 1.0])
def test_a_band_a_little_over_the_floor_is_as_loud_as_asked(over: float) -> None:
    codec = BandCodec(BandCodecConfig()).eval()
    latents = torch.full((1, 60, 128), math.log(FLOOR) + over)
    with torch.inference_mode():
        again = codec.encode(codec.decode(latents))
    assert abs(float((again - latents)[:, 10:-10].mean())) < 0.05


def test_half_precision_around_the_codec_does_not_reach_its_latents() -> None:
    codec, wav = BandCodec(BandCodecConfig()), music(1, 0)[None]
    plain = codec.encode(wav)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(codec.encode(wav), plain)


def test_a_network_says_what_lies_under_the_floor_and_above_the_highest_band() -> None:
    """A recording's soft highs are not those of the training music, and 15 to 16 kHz are in no band."""
    codec = BandCodec(BandCodecConfig(decoder="vocoder", **TINY)).eval()
    vocoder = codec.decoder
    assert isinstance(vocoder, Vocoder)
    hiss = 0.05 * torch.randn(1, 1, RATE, generator=torch.Generator().manual_seed(0))
    latents = codec.encode(hiss)
    latents[..., 100:120] = math.log(FLOOR)
    heard = {}
    for shift in (-2.0, 0.0, 2.0, 8.0):
        torch.nn.init.constant_(vocoder.head.bias, shift)
        with torch.inference_mode():
            low, high = vocoder.magnitudes(latents)
        bands = (vocoder.griffin_lim.high_filters @ high.square())[:, 30:50] * codec.analysis.high_scale  # well inside of the 20
        heard[shift] = bands[:, 4:-4].mean().sqrt().item(), high[:, -60:].square().mean().sqrt().item(), low.square().mean().sqrt().item()
    quiet, plain, loud, wild = (heard[shift] for shift in (-2.0, 0.0, 2.0, 8.0))
    assert quiet[0] < 0.2 * plain[0] < plain[0] < loud[0] < 1.2 * FLOOR
    assert wild[0] < 1.2 * FLOOR
    assert plain[1] / quiet[1] == pytest.approx(math.e**2, rel=0.05)
    assert loud[1] / plain[1] == pytest.approx(math.e**2, rel=0.05)
    assert quiet[2] == pytest.approx(loud[2], rel=0.05)  # whatever the network says, known bands hold
    short = vocoder.griffin_lim.measured(hiss[:, 0])[1][:, -60:].square().mean().sqrt().item()
    assert plain[1] == pytest.approx(short, rel=0.3)  # even untaught: as loud as what lies below


def test_remade_latents_stand_for_the_crop_that_they_were_made_of(audio_folder: Path, tmp_path: Path) -> None:
    (name,) = (path for path in audio_folder.rglob("1.flac"))
    codec = BandCodec(BandCodecConfig(**TINY))
    wav = read_crop(name, 1.5)
    latents = codec.encode(wav[None, None])[0, 10:70]
    np.savez(tmp_path / "1@10.remade.npz", latents=latents.half().numpy(), start=10)
    data = AudioCrops([name], 0.6, 0, crops_per_file=32, remade=Remade(tmp_path))
    items = [data[0, position] for position in range(32)]
    given = [item for item in items if item["given"]]
    assert 8 < len(given) < 24
    for item in given:
        again = codec.encode(item["wav"][None, None])[0]
        torch.testing.assert_close(item["latents"][4:-4], again[4:-4], atol=0.02, rtol=0)
    with pytest.raises(UserError, match="jasco codec remake"):
        Remade(audio_folder)
    odd = AudioCrops([name], 0.41, 0, crops_per_file=8, remade=Remade(tmp_path))
    assert {odd[0, position]["latents"].shape[0] for position in range(8)} == {codec.encode(odd[0, 0]["wav"][None, None]).shape[1]} == {21}
    with pytest.raises(UserError, match=r"crops of 1\.28 s are longer than the 1\.2 s that a model made of '1\.flac'"):
        list(map(AudioCrops([name], 1.28, 0, crops_per_file=32, remade=Remade(tmp_path)).__getitem__, ((0, i) for i in range(32))))


def test_latents_of_other_recordings_are_refused(audio_folder: Path, tmp_path: Path) -> None:
    np.savez(tmp_path / "other@10.remade.npz", latents=np.zeros((60, 128), np.float16), start=10)
    data = AudioDataModule([str(audio_folder)], [str(audio_folder)], seconds=0.4, workers=0, remade=str(tmp_path))
    with pytest.raises(UserError, match="crops of none of the 3 recordings"):
        data.train_dataloader()
    with pytest.raises(UserError, match=r"seconds is 0\.12"):
        AudioDataModule(seconds=0.12)


def test_ideal_magnitudes_restore_the_bands_better_than_spread_ones() -> None:
    """What `measured` returns is what `join` takes: scale, shares and order of the bins agree."""
    codec = BandCodec(BandCodecConfig())
    wav = music(2, 1)
    latents = codec.encode(wav[None])
    coarse = codec.decoder
    assert isinstance(coarse, GriffinLim)
    errors = []
    for magnitudes in (coarse.measured(wav), coarse.magnitudes(latents)):
        output = coarse.join(magnitudes, coarse.gains(magnitudes, latents))
        errors.append(float((codec.encode(output[:, None]) - latents).abs().mean()))
    assert errors[0] < errors[1] < 0.4


def test_a_clip_sounds_the_same_alone_and_in_a_batch() -> None:
    codec = taught(BandCodec(BandCodecConfig(decoder="vocoder", **{**TINY, "iterations": 8})))
    latents = codec.encode(torch.stack([music(1, seed) for seed in range(3)]))
    with torch.inference_mode():
        alone, together = codec.decode(latents[1:2]), codec.decode(latents)
    torch.testing.assert_close(together[1:2], alone, atol=1e-4, rtol=0)


def test_silence_stays_silent() -> None:
    codec = BandCodec(BandCodecConfig())
    decoded = codec.decode(codec.encode(torch.zeros(1, 1, RATE)))
    assert decoded.abs().max() < 3e-3  # a band at the floor is not a band that holds the floor


def test_a_vocoder_survives_the_disk_at_half_the_size(tmp_path: Path) -> None:
    codec = taught(BandCodec(BandCodecConfig(codebook_size=4, codebooks=1, decoder="vocoder", width=32, layers=2, iterations=2)))
    codec.save_pretrained(tmp_path / "codec")
    again = load_codec(tmp_path / "codec")
    latents = codec.encode(music(0.5, 2)[None])
    with torch.inference_mode():
        for mine, theirs in zip(codec.decoder.magnitudes(latents), again.decoder.magnitudes(latents), strict=True):
            torch.testing.assert_close(theirs, mine, rtol=2e-2, atol=1e-4)
    numbers = sum(tensor.numel() for tensor in codec.state_dict().values())
    assert (tmp_path / "codec" / "codec.safetensors").stat().st_size < 2.1 * numbers + 8000


def test_folders_from_before_there_was_a_vocoder_still_load(codec_folder: Path) -> None:
    config = json.loads((codec_folder / "config.json").read_text())
    for name in ("width", "layers"):
        del config[name]
    (codec_folder / "config.json").write_text(json.dumps({**config, "below": 0.5}))  # a setting that there was for a while
    assert isinstance(load_codec(codec_folder).decoder, GriffinLim)


def test_a_trained_vocoder_is_not_fitted_over(codec_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = json.loads((codec_folder / "config.json").read_text())
    (codec_folder / "config.json").write_text(json.dumps({**config, "decoder": "vocoder"}))
    assert jasco(["codec", "fit", "--pieces", str(tmp_path), "--out", str(codec_folder)]) == 2
    assert "trained vocoder" in capsys.readouterr().err
    assert jasco(["codec", "fit", "--pieces", str(tmp_path), "--out", str(tmp_path / "new")]) == 2
    assert "too little audio" in capsys.readouterr().err


@pytest.mark.parametrize("option", [["report", "--limit", "0"], ["masking", "--masks", "0"], ["masking", "--limit", "-3"]])
def test_numbers_that_leave_nothing_are_refused(option: list[str], codec_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert jasco(["codec", *option, "--codec", str(codec_folder), "--audio", str(codec_folder)]) == 2
    assert f"{option[1]} is {option[2]}, where a number of at least 1 is accepted" in capsys.readouterr().err


def test_an_unknown_decoder_is_named(codec_folder: Path) -> None:
    config = json.loads((codec_folder / "config.json").read_text())
    (codec_folder / "config.json").write_text(json.dumps({**config, "decoder": "magic"}))
    with pytest.raises(UserError, match="'magic'"):
        load_codec(codec_folder)


@pytest.mark.parametrize(("named", "wrong"), [("sample_rate", 24000), ("hop", 642), ("hop", 5000)])
def test_settings_that_cannot_work_are_refused(named: str, wrong: int) -> None:
    with pytest.raises(UserError, match=f"{named} is {wrong}"):
        BandCodecConfig(**{named: wrong})


def test_every_loss_gets_its_share_of_the_gradient() -> None:
    balancer = LossBalancer({"small": 1.0, "large": 3.0}, total_norm=2.0)
    output = torch.zeros(4, requires_grad=True)
    gradient = balancer.gradient({"small": 1e-3 * output[0], "large": 1e3 * output[1]}, output)
    torch.testing.assert_close(gradient, torch.tensor([0.5, 1.5, 0.0, 0.0]))


def test_crops_depend_on_seed_epoch_and_position_alone(audio_folder: Path) -> None:
    files = sorted(audio_folder.rglob("*.flac"))
    first, again, other = (AudioCrops(files, 0.4, seed, crops_per_file=2) for seed in (1, 1, 2))
    assert len(first) == 6
    assert torch.equal(first[0, 3]["wav"], again[0, 3]["wav"])
    assert first[0, 3]["wav"].shape == (12800,)
    for wav in (other[0, 3]["wav"], first[1, 3]["wav"], first[0, 2]["wav"]):
        assert not torch.equal(first[0, 3]["wav"], wav)


def test_crops_are_detuned_and_softened_as_far_as_asked(tmp_path: Path) -> None:
    time = torch.arange(4 * RATE) / RATE
    soundfile.write(tmp_path / "a.wav", (0.5 * torch.sin(2 * torch.pi * 1000 * time)).numpy(), RATE, subtype="FLOAT")
    plain, varied, again = (AudioCrops([tmp_path / "a.wav"], 1.0, 0, 64, **how) for how in ({}, VARIED, VARIED))
    cents, levels = [], []
    for position in range(64):
        item = varied[0, position]["wav"]
        assert item.shape == (RATE,)
        assert torch.equal(item, again[0, position]["wav"])
        peak = torch.fft.rfft(item * torch.hann_window(RATE), 16 * RATE).abs().argmax().item() / 16
        cents.append(1200 * math.log2(peak / 1000))
        levels.append(20 * math.log10(item[800:-800].abs().max().item() / 0.5))  # a resampled edge overshoots
    assert plain[0, 5]["wav"].abs().max() == pytest.approx(0.5, abs=1e-3)
    for values, least, most in ((cents, -50, 50), (levels, -30, 0)):
        as_they_are = sum(abs(value) < 0.2 for value in values)
        assert 20 < as_they_are < 44
        assert least - 0.3 < min(values) < 0.7 * least
        assert max(values) < most + 0.3
    assert max(cents) > 35


def test_a_crop_is_the_part_of_the_file_at_the_projects_rate(tmp_path: Path) -> None:
    wav = music(1, 0)[0]
    soundfile.write(tmp_path / "a.wav", torch.stack([wav, wav], 1).numpy(), RATE, subtype="FLOAT")
    torch.testing.assert_close(read_crop(tmp_path / "a.wav", 0.5, 0.99999999), wav[-16000:])
    soundfile.write(tmp_path / "b.wav", wav[:16000].numpy(), 16000)
    assert read_crop(tmp_path / "b.wav", 1.5, 0.5).shape == (48000,)
    (tmp_path / "c.wav").write_text("no audio")
    with pytest.raises(UserError, match=r"c\.wav"):
        read_crop(tmp_path / "c.wav", 1, 0)


def test_training_lowers_the_magnitude_loss(codec_folder: Path, audio_folder: Path) -> None:
    model = module(codec_folder, warmup_steps=100, lr=5e-2, ema_decay=0.5)
    batch = next(iter(crops(audio_folder).train_dataloader()))

    def loss() -> float:
        with torch.no_grad():
            magnitudes = model.vocoder.magnitudes(model.codec.encode(batch["wav"][:, None]))
            return float(model.magnitude_loss(magnitudes, batch["wav"])[0])

    before = loss()
    trainer(audio_folder, 24).fit(model, crops(audio_folder))
    assert loss() < 0.985 * before


def test_a_step_with_the_discriminator_moves_both_and_counts_once(codec_folder: Path, audio_folder: Path) -> None:
    model = module(codec_folder, warmup_steps=0)
    assert model.adversary is not None
    before = [
        parameter.detach().clone()
        for part in (model.vocoder, model.adversary)
        for parameter in (next(part.parameters()), [*part.parameters()][-1])
    ]
    run = trainer(audio_folder, 3)
    run.fit(model, crops(audio_folder))
    after = [parameter for part in (model.vocoder, model.adversary) for parameter in (next(part.parameters()), [*part.parameters()][-1])]
    assert all(not torch.equal(one, other) for one, other in zip(before, after, strict=True))
    assert run.global_step == 3
    assert {"train/adversarial", "train/features", "train/discriminator", "train/mel"} <= set(run.callback_metrics)


def test_validation_measures_and_keeps_the_sound_beside_the_original(codec_folder: Path, audio_folder: Path, tmp_path: Path) -> None:
    logger = TensorBoardLogger(tmp_path, name="run", version="")
    run = trainer(audio_folder, 4, logger=logger, limit_val_batches=1, val_check_interval=2, num_sanity_val_steps=0)
    run.fit(module(codec_folder, adversarial=0.0, features=0.0), crops(audio_folder))
    events = EventAccumulator(logger.log_dir).Reload()
    steps = {tag: [event.step for event in events.Audio(tag)] for tag in events.Tags()["audio"]}
    assert steps == {"original/0": [2], "decoded/0": [2, 4]}
    assert 0 < run.callback_metrics["valid/mel_distance"] < 3
    assert 0 <= run.callback_metrics["valid/onset_f1"] <= 1


def test_the_command_goes_on_where_it_stopped_and_exports(codec_folder: Path, audio_folder: Path, tmp_path: Path) -> None:
    configuration = Path(__file__).parents[2] / "conf" / "codec_mini.yaml"
    tiny = {"warmup_steps": 1, "decay_steps": 6, "discriminator_filters": 2, "discriminator_ffts": [512], "codec": str(codec_folder)}
    folders = [str(audio_folder)]
    saving = {"every_n_train_steps": 2, "save_last": True, "enable_version_counter": False}
    overlay = {
        "trainer": {
            "accelerator": "cpu",
            "limit_val_batches": 0,
            "enable_progress_bar": False,
            "logger": {"init_args": {"save_dir": str(tmp_path)}},
            "callbacks": [{"class_path": "lightning.pytorch.callbacks.ModelCheckpoint", "init_args": saving}],
        },
        "model": {**tiny, **TINY},
        "data": {"train": folders, "valid": folders, "batch_size": 2, "seconds": 0.4, "workers": 0, "crops_per_file": 2},
    }
    (tmp_path / "tiny.yaml").write_text(json.dumps(overlay))  # JSON is YAML
    for name, stops in (("whole", ("4",)), ("resumed", ("2", "4"))):
        run = ["-c", str(configuration), "-c", str(tmp_path / "tiny.yaml"), "--trainer.logger.init_args.name", name]
        for stop in stops:
            assert main("fit-codec", [*run, "--trainer.max_steps", stop, "--export", str(tmp_path / f"{name}-out")]) == 0
    whole, resumed = (load_codec(tmp_path / f"{name}-out").state_dict() for name in ("whole", "resumed"))
    for name, tensor in whole.items():
        torch.testing.assert_close(resumed[name], tensor, msg=f"{name} differs after resuming")
    assert whole["decoder.head.weight"].abs().max() > 0
    assert torch.equal(whole["latent_mean"], load_codec(codec_folder).latent_mean)


def test_corrupted_latents_err_frame_by_frame_and_lastingly() -> None:
    torch.manual_seed(0)
    latents, std = torch.randn(64, 100, 128), torch.linspace(0.5, 2, 128)
    error = (corrupted(latents, std, 0.5) - latents) / std
    spread = error.std(dim=(1, 2))
    assert 0.2 < float(spread.mean()) < 0.6
    assert float(spread.std()) > 0.1  # the root of two squares, each uniform up to 0.5
    neighbours = (error[:, 20:80] * error[:, 21:81]).mean(dim=(1, 2)) / error[:, 20:81].square().mean(dim=(1, 2))
    assert float(neighbours.min()) < 0.2 < 0.7 < float(neighbours.max())  # from mostly white to mostly lasting
    assert torch.equal(corrupted(latents, std, 0.0), latents)
