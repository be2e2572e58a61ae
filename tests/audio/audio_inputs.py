"""Recordings as they are found, each written anew, and what reading them must give.

`python tests/audio/audio_inputs.py` prints the table of docs/inputs.md.

`BEFORE` is what the reader that stood here before made of each: "" it read it rightly, or refused it where it is to be refused.
"""

from __future__ import annotations

import io
import os
import struct
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

SECONDS, LEVEL = 1.5, 0.3
Samples = NDArray[np.float32]


def tone(rate: int = 44100, channels: int = 1) -> Samples:
    """440 Hz on all channels, [S, channels]."""
    wave = LEVEL * np.sin(2 * np.pi * 440 * np.arange(round(SECONDS * rate)) / rate)
    return wave.astype(np.float32)[:, None].repeat(channels, axis=1)


@dataclass(frozen=True)
class Case:
    """A file.

    Attributes:
        kind: row of the table.
        name: of the file, as bytes.
        write: puts it at a path.
        refused: words of the refusal; None where it is to be read.
        level: amplitude of the tone that is to be heard.
        seconds: its length.
    """

    kind: str
    name: bytes
    write: Callable[[bytes], None]
    refused: str | None = None
    level: float = LEVEL
    seconds: float = SECONDS


def put(content: bytes) -> Callable[[bytes], None]:
    """A file of these bytes."""

    def write(path: bytes) -> None:
        with open(path, "wb") as file:
            file.write(content)

    return write


def made(samples: Samples, rate: int = 44100, subtype: str = "PCM_16", format: str = "WAV", endian: str | None = None) -> bytes:
    """A file of libsndfile as bytes."""
    encoded = io.BytesIO()
    soundfile.write(encoded, samples, rate, subtype=subtype, format=format, endian=endian)
    return encoded.getvalue()


def encoded(
    codec: str, container: str, rate: int = 44100, options: dict[str, str] | None = None, picture: bool = False, sound: bool = True
) -> bytes:
    """A file of FFmpeg's libraries as bytes."""
    import av

    out = io.BytesIO()
    with av.open(out, "w", format=container, options=options or {}) as file:
        stream = file.add_stream(codec, rate=rate, layout="stereo", bit_rate=128000) if sound else None
        video = file.add_stream("mpeg4", rate=10, width=32, height=32, pix_fmt="yuv420p") if picture else None
        if stream is not None:
            given = av.AudioFrame.from_ndarray(tone(rate, 2).T.copy(), format="fltp", layout="stereo")
            given.sample_rate, given.pts, given.time_base = rate, 0, Fraction(1, rate)
            fit = av.AudioResampler(format=stream.codec_context.format or "fltp", layout="stereo", rate=rate)
            for frame in [*fit.resample(given), *fit.resample(None), None]:
                file.mux(stream.encode(frame))
        for number in range(10 if video is not None else 0):
            frame = av.VideoFrame(32, 32, "yuv420p")
            frame.pts, frame.time_base = number, Fraction(1, 10)
            file.mux(video.encode(frame))
        if video is not None:
            file.mux(video.encode(None))
    return out.getvalue()


def av_file(*arguments: object, keep: slice = slice(None), **named: object) -> Callable[[bytes], None]:
    """A file of FFmpeg's libraries, or a part of its bytes."""
    return lambda path: put(encoded(*arguments, **named)[keep])(path)  # type: ignore[arg-type]


def wav_sizes(data: int, riff: int | None = None, tail: bytes = b"", keep: int | None = None) -> bytes:
    """A WAV whose header says these sizes, cut after `keep` bytes."""
    content = bytearray(made(tone()))
    struct.pack_into("<I", content, 40, data)
    if riff is not None:
        struct.pack_into("<I", content, 4, riff)
    return bytes(content[:keep]) + tail


def rf64_of_nothing() -> bytes:
    """RF64 whose long sizes were never filled in."""
    plain = made(tone())
    return b"RF64" + b"\xff" * 4 + b"WAVEds64" + struct.pack("<IQQQI", 28, 0, 0, 0, 0) + plain[12:36] + b"data" + b"\xff" * 4 + plain[44:]


def streamed_flac() -> bytes:
    """FLAC whose writer did not know how long it would become."""
    content = bytearray(made(tone(), format="FLAC"))
    content[21] &= 0xF0
    content[22:26] = bytes(4)
    return bytes(content)


def with_sample(value: float) -> bytes:
    """A float WAV with one odd sample."""
    samples = tone()
    samples[1000] = value
    return made(samples, subtype="FLOAT")


STEREO = np.concatenate([tone(), -tone()], axis=1)
LEFT = np.concatenate([tone(), 0 * tone()], axis=1)
SIXTH = np.concatenate([0 * tone(channels=5), tone()], axis=1)
WAV = made(tone())
NOT = "is not an audio file that can be read"

CASES = [
    *(
        Case(
            "samples of a WAV",
            f"{subtype}.wav".encode(),
            put(made(tone(rate), rate, subtype)),
        )
        for subtype in ("PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ULAW", "ALAW", "IMA_ADPCM", "MS_ADPCM", "GSM610")
        for rate in (8000 if subtype == "GSM610" else 44100,)
    ),
    *(
        Case("libsndfile's containers", f"x.{ending}".encode(), put(made(tone(), 44100, subtype, format)))
        for ending, format, subtype in (
            ("rf64.wav", "RF64", "PCM_16"),
            ("x.wav", "WAVEX", "PCM_24"),
            ("w64", "W64", "PCM_16"),
            ("aiff", "AIFF", "PCM_16"),
            ("float.aif", "AIFF", "FLOAT"),
            ("au", "AU", "PCM_16"),
            ("caf", "CAF", "PCM_16"),
            ("flac", "FLAC", "PCM_16"),
            ("24.flac", "FLAC", "PCM_24"),
            ("ogg", "OGG", "VORBIS"),
            ("mp3", "MP3", "MPEG_LAYER_III"),
            ("voc", "VOC", "PCM_16"),
            ("nist.wav", "NIST", "PCM_16"),
        )
    ),
    Case("libsndfile's containers", b"x.opus", put(made(tone(48000), 48000, "OPUS", "OGG"))),
    *(Case("rates and channels", f"{rate}.wav".encode(), put(made(tone(rate), rate))) for rate in (8000, 11025, 44101, 96000, 192000)),
    *(Case("rates and channels", f"{count} channels.wav".encode(), put(made(tone(channels=count)))) for count in (2, 6, 8, 32)),
    Case("channels that cancel out", b"opposite.wav", put(made(STEREO))),
    Case("channels that cancel out", b"opposite.flac", put(made(STEREO, format="FLAC"))),
    Case("channels that cancel out", b"nearly opposite.wav", put(made(STEREO * np.float32([1, 0.9])))),
    Case("channels that cancel out", b"sixth alone.wav", put(made(SIXTH))),
    Case("channels that cancel out", b"left alone.wav", put(made(LEFT)), level=LEVEL / 2),
    Case("levels", b"above full scale.wav", put(made(8 * tone(), subtype="FLOAT")), level=8 * LEVEL),
    Case("levels", b"60 dB down.wav", put(made(tone() / 1000, subtype="PCM_24")), level=LEVEL / 1000),
    Case("levels", b"silent.wav", put(made(0 * tone())), level=0.0),
    Case("levels", b"nan.wav", put(with_sample(np.nan)), "holds NaN or infinity, first at 0.023 s"),
    Case("levels", b"infinite.wav", put(with_sample(np.inf)), "holds NaN or infinity"),
    Case("headers that are wrong", b"size 0.wav", put(wav_sizes(0))),
    Case("headers that are wrong", b"both sizes 0.wav", put(wav_sizes(0, 0))),
    Case("headers that are wrong", b"sizes unknown.wav", put(wav_sizes(0xFFFFFFFF, 0xFFFFFFFF))),
    Case("headers that are wrong", b"sizes unknown, signed.wav", put(wav_sizes(0x7FFFFFFF, 0x7FFFFFFF))),
    Case("headers that are wrong", b"too much.wav", put(wav_sizes(100_000_000))),
    Case("headers that are wrong", b"rf64 of 0.wav", put(rf64_of_nothing())),
    Case("headers that are wrong", b"length unknown.flac", put(streamed_flac())),
    Case("headers that are wrong", b"nothing but a chunk.wav", put(wav_sizes(0, 44, b"LIST\x04\0\0\0INFO", keep=44)), "holds no samples"),
    Case("headers that are wrong", b"header alone.wav", put(WAV[:44]), "holds no samples"),
    Case("headers that are wrong", b"half a header.wav", put(WAV[:20]), NOT),
    Case("headers that are wrong", b"cut.wav", put(WAV[: len(WAV) // 2 + 1]), seconds=SECONDS / 2),
    Case("through FFmpeg", b"aac.m4a", av_file("aac", "ipod")),
    Case("through FFmpeg", b"alac.m4a", av_file("alac", "ipod")),
    Case("through FFmpeg", b"aac.mp4", av_file("aac", "mp4")),
    Case("through FFmpeg", b"with a picture.mp4", av_file("aac", "mp4", picture=True)),
    Case("through FFmpeg", b"in fragments.mp4", av_file("aac", "mp4", options={"movflags": "frag_keyframe+empty_moov"})),
    Case("through FFmpeg", b"aac.mov", av_file("aac", "mov")),
    Case("through FFmpeg", b"opus.webm", av_file("libopus", "webm", 48000)),
    Case("through FFmpeg", b"flac.mka", av_file("flac", "matroska")),
    Case("through FFmpeg", b"x.wma", av_file("wmav2", "asf")),
    Case("through FFmpeg", b"alac.caf", av_file("alac", "caf")),
    Case("through FFmpeg", b"x.aac", av_file("aac", "adts")),
    Case("through FFmpeg", b"x.ac3", av_file("ac3", "ac3")),
    Case("through FFmpeg", b"x.wv", av_file("wavpack", "wv")),
    Case("through FFmpeg", b"x.tta", av_file("tta", "tta")),
    Case("through FFmpeg", b"mp3.avi", av_file("libmp3lame", "avi")),
    Case("through FFmpeg", b"pictures alone.mp4", av_file("aac", "mp4", picture=True, sound=False), "there is no sound in it"),
    Case("through FFmpeg", b"cut.m4a", av_file("aac", "ipod", keep=slice(0, 9000)), NOT),
    Case("through FFmpeg", b"cut.aac", av_file("aac", "adts", keep=slice(0, 12000)), "breaks off at 0.7 s"),
    Case("wrong endings", b"m4a.wav", av_file("aac", "ipod")),
    Case("wrong endings", b"mp3.wav", put(made(tone(), subtype="MPEG_LAYER_III", format="MP3"))),
    Case("wrong endings", b"wav.mp3", put(WAV)),
    Case("wrong endings", b"no ending", put(made(tone(), format="FLAC"))),
    *(
        Case("names", name, put(WAV))
        for name in (
            "caf\u00e9.wav".encode("latin-1"),
            b"two\nlines.wav",
            b'it\'s "quoted" `$(x)`.wav',
            "\U0001f3b9\U0001f941.wav".encode(),
            b"-n.wav",
            b"--out.wav",
            b"x" * 251 + b".wav",
            b" blank .wav",
            b"\xff\xfe.wav",
            b"concat:a|b.wav",
        )
    ),
    Case("no audio", b"text.wav", put(b"I am not a sound.\n" * 99), NOT),
    Case("no audio", b"empty.mp3", put(b""), NOT),
    Case("no audio", b"page.ogg", put(b"<!DOCTYPE html><html><body>Not found</body></html>" * 20), NOT),
    Case("no audio", b"picture.mp3", put(b"\xff\xd8\xff\xe0\x00\x10JFIF" + bytes(range(256)) * 20), NOT),
    Case("no audio", b"archive.m4a", put(b"PK\x03\x04" + bytes(2000)), NOT),
    Case("no audio", b"tune.wav", put(b"MThd\0\0\0\x06\0\0\0\x01\x01\xe0MTrk\0\0\0\x04\0\xff\x2f\0"), NOT),
    Case("no audio", b"playlist.m4a", put(b"#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\nfile:///etc/hostname\n#EXT-X-ENDLIST\n"), NOT),
    Case("no audio", b"list of files.wav", put(b"ffconcat version 1.0\nfile 'x.flac'\n"), NOT),
]

# As the reader of commit 16d18ea had it
BEFORE: dict[bytes, str] = {
    b"opposite.wav": "misread",
    b"opposite.flac": "misread",
    b"nearly opposite.wav": "misread",
    b"sixth alone.wav": "misread",
    b"size 0.wav": "refused",
    b"both sizes 0.wav": "refused",
    b"rf64 of 0.wav": "refused",
    b"length unknown.flac": "refused",
    b"aac.m4a": "refused",
    b"alac.m4a": "refused",
    b"aac.mp4": "refused",
    b"with a picture.mp4": "refused",
    b"in fragments.mp4": "refused",
    b"aac.mov": "refused",
    b"opus.webm": "refused",
    b"flac.mka": "refused",
    b"x.wma": "refused",
    b"alac.caf": "refused",
    b"x.aac": "refused",
    b"x.ac3": "refused",
    b"x.wv": "refused",
    b"x.tta": "refused",
    b"mp3.avi": "refused",
    b"m4a.wav": "refused",
}


def outcome(case: Case, folder: Path) -> str:
    """ "" where it is read, or refused, as it should be; else "refused", "misread" or the kind of the error."""
    from jasco_pl.audio.files import read_audio
    from jasco_pl.system.errors import UserError

    path = os.path.join(os.fsencode(folder), case.name)
    case.write(path)
    try:
        wav = read_audio(os.fsdecode(path))[0].numpy()
    except UserError as error:
        return "" if case.refused is not None and case.refused in str(error) and len(str(error).splitlines()) == 1 else "refused"
    except Exception as error:
        return type(error).__name__
    finally:
        os.unlink(path)
    if case.refused is not None or abs(len(wav) / 32000 - case.seconds) > 0.12:
        return "misread"
    middle = wav[len(wav) // 4 : 3 * len(wav) // 4]
    spectrum = 2 * np.abs(np.fft.rfft(middle * np.hanning(len(middle)))) / np.hanning(len(middle)).sum()
    pitch = np.argmax(spectrum) * 32000 / len(middle)
    right = np.abs(wav).max() == 0 if case.level == 0 else 0.8 < spectrum.max() / case.level < 1.2 and abs(pitch - 440) < 3
    return "" if right else "misread"


def table(outcomes: dict[bytes, str]) -> str:
    """Markdown."""
    lines = ["| kind | tried | read | refused well | wrong before | of these misread | wrong now |", "|---|--:|--:|--:|--:|--:|--:|"]
    for kind in [*dict.fromkeys(case.kind for case in CASES), "all"]:
        cases = [case for case in CASES if kind in (case.kind, "all")]
        before = [BEFORE[case.name] for case in cases if case.name in BEFORE]
        now = [outcomes[case.name] for case in cases]
        read = sum(case.refused is None and not wrong for case, wrong in zip(cases, now, strict=True))
        well = sum(case.refused is not None and not wrong for case, wrong in zip(cases, now, strict=True))
        lines.append(f"| {kind} | {len(cases)} | {read} | {well} | {len(before)} | {before.count('misread')} | {sum(map(bool, now))} |")
    return "\n".join(lines)


def main() -> None:
    """Print the table, and what went wrong."""
    with tempfile.TemporaryDirectory() as folder:
        outcomes = {case.name: outcome(case, Path(folder)) for case in CASES}
    print(table(outcomes))
    for name, wrong in outcomes.items():
        if wrong:
            print(f"    {name!r}: {wrong!r},", file=sys.stderr)


if __name__ == "__main__":
    main()
