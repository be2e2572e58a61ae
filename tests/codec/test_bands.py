from __future__ import annotations

import math

import pytest
import torch

from jasco_pl.codec.bands import BANDS, FLOOR, LOW_BANDS, BandAnalysis, Spectrum, centre_frequencies, filterbank

RATE, HOP = 32000, 640


@pytest.fixture(scope="module")
def analysis() -> BandAnalysis:
    return BandAnalysis(RATE, HOP)


def sine(hertz: float, frames: int = 20, amplitude: float = 0.5) -> torch.Tensor:
    return amplitude * torch.sin(2 * math.pi * hertz * torch.arange(frames * HOP) / RATE)[None]


def test_low_bands_are_semitones_and_high_ones_widen_to_14500_hz() -> None:
    centres = centre_frequencies()
    assert (len(centres), BANDS, LOW_BANDS) == (128, 128, 76)
    midi = 69 + 12 * torch.log2(centres / 440)
    torch.testing.assert_close(midi[:76], torch.arange(27.0, 103.0, dtype=torch.float64))
    assert float(centres[42]) == pytest.approx(440.0)
    assert float(centres[127]) == pytest.approx(14500.0)
    high = midi.diff()[75:]
    torch.testing.assert_close(high, high[:1].expand_as(high))
    assert float(high[0]) < 1.0


@pytest.mark.parametrize("n_fft", [4096, 2048])
def test_filters_are_never_empty_and_sum_to_one(n_fft: int) -> None:
    filters = filterbank(n_fft, RATE)
    assert filters.shape == (128, n_fft // 2 + 1)
    assert float(filters.min()) == 0.0
    torch.testing.assert_close(filters.sum(1), torch.ones(128))
    bins = torch.arange(n_fft // 2 + 1) * RATE / n_fft
    peaks = bins[filters.argmax(1)]
    assert float((peaks - centre_frequencies()).abs().max()) <= RATE / n_fft


def test_frames_are_centred_on_their_hop() -> None:
    spectrum = Spectrum(4096, HOP)
    click = torch.zeros(1, 20 * HOP)
    click[0, 7 * HOP + HOP // 2] = 1.0
    power = spectrum(click).abs().square().sum(1)[0]
    assert power.shape == (20,)
    assert int(power.argmax()) == 7
    torch.testing.assert_close(power[5:7], power[8:10].flip(0), rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("n_fft", [4096, 2048])
def test_a_spectrum_is_inverted_exactly_where_windows_overlap(n_fft: int) -> None:
    spectrum = Spectrum(n_fft, HOP)
    wav = torch.randn(2, 20 * HOP, generator=torch.Generator().manual_seed(0))
    back = spectrum.inverse(spectrum(wav))
    assert back.shape == wav.shape
    torch.testing.assert_close(back, wav, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(("midi", "away"), [(40, 6), (45, 3), (55, 3), (69, 3), (90, 3), (102, 3)])
def test_a_note_peaks_in_its_own_band(analysis: BandAnalysis, midi: int, away: int) -> None:
    bands = analysis(sine(440 * 2 ** ((midi - 69) / 12)))[0, 10]
    assert int(bands.argmax()) == midi - 27
    assert float(bands[midi - 27] - bands[midi - 27 + away]) > 4.0  # 35 dB down so many bands away: the bass is less resolved


def test_what_an_evaluation_leaves_behind_serves_a_training_and_other_lengths() -> None:
    spectrum, given = Spectrum(64, 16), torch.randn(1, 33, 20, dtype=torch.complex64, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        evaluated = spectrum.inverse(given)
    given.requires_grad_()
    trained = spectrum.inverse(given)
    trained.square().sum().backward()
    assert given.grad is not None
    assert torch.equal(trained.detach(), evaluated)
    assert spectrum.inverse(given[..., :7]).shape == (1, 7 * 16)
    assert torch.equal(spectrum.inverse(given), trained)


def test_levels_are_logarithms_of_amplitude(analysis: BandAnalysis) -> None:
    loud, soft = (analysis(sine(440.0, amplitude=amplitude))[0, 10, 42] for amplitude in (0.5, 0.05))
    assert float(loud - soft) == pytest.approx(math.log(10), abs=1e-3)
    assert float(loud) == pytest.approx(math.log(0.5), abs=0.5)  # a sine of amplitude a reads about a


def test_noise_reads_equal_on_both_sides_of_the_split(analysis: BandAnalysis) -> None:
    noise = 0.1 * torch.randn(1, 200 * HOP, generator=torch.Generator().manual_seed(0))
    power = analysis(noise)[0].mul(2).exp().mean(0)
    below, above = power[56:76].mean(), power[76:96].mean()
    assert float((above / below).log()) == pytest.approx(0.0, abs=0.05)


def test_silence_is_the_floor(analysis: BandAnalysis) -> None:
    bands = analysis(torch.zeros(2, 5 * HOP))
    torch.testing.assert_close(bands, torch.full((2, 5, 128), math.log(FLOOR)))


def test_a_shift_by_one_hop_shifts_the_frames_by_one(analysis: BandAnalysis) -> None:
    wav = torch.randn(1, 30 * HOP, generator=torch.Generator().manual_seed(0))
    moved = torch.nn.functional.pad(wav, (HOP, 0))[:, : 30 * HOP]
    torch.testing.assert_close(analysis(moved)[:, 5:25], analysis(wav)[:, 4:24], atol=1e-3, rtol=1e-4)


def test_an_attack_shows_within_two_frames_in_the_high_bands(analysis: BandAnalysis) -> None:
    wav = torch.zeros(1, 20 * HOP)
    wav[0, 10 * HOP :] = 0.3 * torch.randn(10 * HOP, generator=torch.Generator().manual_seed(0))
    high = analysis(wav)[0, :, 80:].mean(1)
    assert float(high[7]) == pytest.approx(math.log(FLOOR))  # the short window ends 1.6 hops from its centre
    assert float(high[10] - high[7]) > 4.0


def test_split_between_the_windows_is_narrow(analysis: BandAnalysis) -> None:
    share = analysis.high_share(4096)
    bins = torch.arange(2049) * RATE / 4096
    split = float(centre_frequencies()[76])
    assert not share[bins < 0.93 * split].any()
    assert (share[bins > 1.07 * split] == 1).all()
    assert (share.diff() >= 0).all()
