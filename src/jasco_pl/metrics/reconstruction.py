"""Multi-scale log-mel distance of a reconstruction. It is blind to pitch errors and frame-rate hum: read it beside chord IoU.

Faults of a frame-wise decoder that spectral distances overlook: a hum at multiples of the frame rate, and clicks.
"""

from __future__ import annotations

from functools import lru_cache

import torch
import torchaudio
from torch import Tensor

from jasco_pl.system.errors import UserError

SCALES = ((2048, 128), (1024, 80), (512, 40), (256, 20))  # FFT size, mel bands; the hop is a quarter
FLOOR = 1e-3


def mel_distance(reconstruction: Tensor, original: Tensor, sample_rate: int = 32000) -> float:
    """Mean absolute difference of natural-log mel magnitudes, averaged over four scales.

    Args:
        reconstruction: audio [1, S].
        original: audio [1, S], the same length.
        sample_rate: in Hz; figures compare only at the same rate (the scales are in samples).

    Returns:
        0 for identical audio; 1 is a factor of e (8.7 dB) on average; NaN for 1024 samples or fewer, which the longest window mirrors.

    Raises:
        UserError: the shapes differ or are not [1, S].
    """
    _check_same_shape(reconstruction, original)
    if original.shape[1] <= SCALES[0][0] // 2:
        return float("nan")
    total = 0.0
    for n_fft, n_mels in SCALES:
        mel = _mel(sample_rate, n_fft, n_mels).to(original.device)
        logs = [mel(wav.float()).clamp_min(FLOOR).log() for wav in (reconstruction, original)]
        total += float((logs[0] - logs[1]).abs().mean())
    return total / len(SCALES)


@lru_cache(maxsize=16)
def _mel(sample_rate: int, n_fft: int, n_mels: int) -> torch.nn.Module:
    return torchaudio.transforms.MelSpectrogram(sample_rate, n_fft, hop_length=n_fft // 4, n_mels=n_mels, power=1.0)


LOWEST_PITCH, OCTAVES, BANDS_PER_OCTAVE = 55.0, 5.8, 36  # up to 3.1 kHz
PITCH_WINDOW = 0.384  # seconds: chords are estimated from windows this long (Mauch and Dixon 2010)
PITCH_RANGE = 0.03  # of the original's mean magnitude: what is softer hardly counts


def pitch_distance(reconstruction: Tensor, original: Tensor, sample_rate: int = 32000) -> float:
    """Mean absolute difference of natural-log spectra in thirds of a semitone, by windows as long as those that chords are estimated from.

    Blurred peaks and wavering pitch that a mel distance hardly sees count here; level and what lies above 3.1 kHz hardly do.

    Args:
        reconstruction: audio [1, S].
        original: audio [1, S], the same length.
        sample_rate: in Hz, at least 6.2 kHz: twice what the bands reach up to.

    Returns:
        0 for identical audio; NaN for less than 0.384 s.

    Raises:
        UserError: the shapes differ or are not [1, S].
    """
    _check_same_shape(reconstruction, original)
    window = round(PITCH_WINDOW * sample_rate)
    if original.shape[1] < window:
        return float("nan")
    filters = _thirds_of_semitones(window, sample_rate).to(original.device)
    bands = []
    for wav in (reconstruction, original):
        taper = torch.hann_window(window, device=wav.device)
        spectrum = torch.stft(wav.float(), window, window // 8, window=taper, center=False, return_complex=True)
        bands.append((filters @ spectrum.abs().square()).sqrt())
    least = PITCH_RANGE * bands[1].mean() + FLOOR
    return float(((bands[0] + least) / (bands[1] + least)).log().abs().mean())


@lru_cache(maxsize=4)
def _thirds_of_semitones(window: int, sample_rate: int) -> Tensor:
    """Triangles no narrower than a bin of the window, each row summing to one, [209, window // 2 + 1]."""
    centres = LOWEST_PITCH * 2.0 ** (torch.arange(BANDS_PER_OCTAVE * OCTAVES) / BANDS_PER_OCTAVE)
    bin_width = sample_rate / window
    width = (centres * (2 ** (1 / BANDS_PER_OCTAVE) - 1)).clamp(min=bin_width)
    hertz = torch.arange(window // 2 + 1) * bin_width
    filters = (1 - (hertz - centres[:, None]).abs() / width[:, None]).clamp(min=0)
    return filters / filters.sum(1, keepdim=True)


def _check_same_shape(reconstruction: Tensor, original: Tensor) -> None:
    if reconstruction.shape != original.shape or original.ndim != 2 or original.shape[0] != 1:
        shapes = f"{tuple(reconstruction.shape)} and {tuple(original.shape)}"
        raise UserError(f"audio of shapes {shapes} cannot be compared: both must be [1, S] of one length.")


HIGHEST = 4000.0  # Hz up to which the multiples are looked at
BINS = 50  # FFT bins from one multiple to the next, so that every multiple falls on a bin
LOBE = 2  # bins either side that a Hann window spreads a tone to
NEIGHBOURHOOD = 20  # bins either side (at 50 Hz: Hz) whose median is the local level


def frame_rate_hum(wav: Tensor, sample_rate: int, rate: float = 50.0) -> float:
    """How far the spectrum stands out at multiples of the frame rate.

    The power spectrum is averaged over windows of 50 / rate seconds (1 s at 50 Hz). Each multiple of the rate up to 4 kHz has an excess:
    its level in dB minus the median level within 0.4 of the rate either side, the tone's own main lobe left out.

    Args:
        wav: audio [1, S], at least one window long.
        sample_rate: in Hz.
        rate: the frame rate in Hz.

    Returns:
        The mean excess in dB. Noise gives 0; music lies within about 1 dB of it (a note may be near a multiple), so compare with the
        original. Rendered music whose frames were given phase 0 has 14 dB more, a tenth of that mixed in .6 dB more.

    Raises:
        UserError: the audio is not [1, S] or shorter than a window.
    """
    n_fft = round(BINS * sample_rate / rate)
    if wav.ndim != 2 or wav.shape[0] != 1 or wav.shape[1] < n_fft:
        raise UserError(f"audio of shape {tuple(wav.shape)} cannot be searched for hum: one mono clip [1, S], S >= {n_fft}, is needed.")
    window = torch.hann_window(n_fft, device=wav.device, dtype=torch.float64)
    spectrum = torch.stft(wav[0].double(), n_fft, n_fft // 4, window=window, center=False, return_complex=True)
    power = spectrum.abs().square().mean(dim=1)
    level = 10 * torch.log10(power / window.square().sum() + 1e-13)  # the floor is under the rounding of 16-bit audio
    multiples = torch.arange(1, int(min(HIGHEST, 0.45 * sample_rate) / rate) + 1, device=wav.device) * BINS
    around = [step for step in range(-NEIGHBOURHOOD, NEIGHBOURHOOD + 1) if abs(step) > LOBE]
    neighbours = level[multiples[:, None] + torch.tensor(around, device=wav.device)]
    # The mean of the middle two, because torch's median is the lower one, which an even count would bias.
    return float((level[multiples] - neighbours.quantile(0.5, dim=1)).mean())


CLICK_BLOCK = 0.005  # seconds
CLICK_RATIO = 20.0  # rendered music with drums stays under it, a jump of .1 of full scale is over it in all but dense music
CLICK_FLOOR = 2e-4  # second differences under 20 times this are not heard


def click_rate(wav: Tensor, sample_rate: int) -> float:
    """Clicks a second: jumps of the second difference far over everything within about 10 ms before and after.

    The second difference takes away what is smooth. Its median size in blocks of 5 ms does not feel a single jump; a sample counts
    when it is 20 times over the largest such median of its own and the two blocks either side. A drum's attack lifts the blocks after
    it and does not count. Jumps in the same or neighbouring blocks count once, so clicks nearer than 10 ms are one.

    Args:
        wav: audio [1, S] in [-1, 1], longer than 5 ms.
        sample_rate: in Hz.

    Returns:
        Their number by the clip's length in seconds.

    Raises:
        UserError: the audio is not [1, S] or too short.
    """
    block = round(CLICK_BLOCK * sample_rate)
    if wav.ndim != 2 or wav.shape[0] != 1 or wav.shape[1] < block + 2:
        raise UserError(f"audio of shape {tuple(wav.shape)} cannot be searched for clicks: one mono clip [1, S] of over 5 ms is needed.")
    jumps = wav[0].float().diff(n=2).abs()
    blocks = jumps[: len(jumps) // block * block].reshape(-1, block)
    medians = blocks.median(dim=1).values
    scale = torch.nn.functional.max_pool1d(medians[None, None], kernel_size=5, stride=1, padding=2)[0, 0].clamp_min(CLICK_FLOOR)
    jumped = blocks.amax(dim=1) > CLICK_RATIO * scale
    starts = jumped[0].sum() + (jumped[1:] & ~jumped[:-1]).sum()
    return float(starts) / (wav.shape[1] / sample_rate)
