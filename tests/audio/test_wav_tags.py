from __future__ import annotations

import ctypes
import struct
import warnings
import wave
from pathlib import Path

import numpy as np
import pytest
import soundfile
from scipy.io import wavfile

from jasco_pl.audio.wav_tags import Tags, chunks, write_tags

RATE = 32000
TAGS = Tags(96.0, (3, 4), 7, [("C", 0.0), ("G7/B", 1.25), ("N", 99.0)], [("INAM", "walzer für Elise"), ("ICMT", "in G"), ("IART", "")])


@pytest.fixture
def sound(tmp_path: Path) -> Path:
    soundfile.write(tmp_path / "a.wav", np.linspace(-0.5, 0.5, 2 * RATE + 1), RATE)
    return tmp_path / "a.wav"


def test_other_readers_find_the_same_sound_and_the_texts(sound: Path) -> None:
    before, _ = soundfile.read(sound)
    write_tags(sound, TAGS)
    after, rate = soundfile.read(sound)
    assert rate == RATE
    assert np.array_equal(before, after)
    with soundfile.SoundFile(sound) as file:
        assert (file.title, file.comment, file.artist) == ("walzer für Elise", "in G", "")
    with wave.open(str(sound)) as file:
        assert file.getnframes() == 2 * RATE + 1
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", wavfile.WavFileWarning)  # it knows no chunk but the sound's
        assert len(wavfile.read(sound)[1]) == 2 * RATE + 1


class LoopInfo(ctypes.Structure):
    """SF_LOOP_INFO of libsndfile."""

    _fields_ = (
        ("numerator", ctypes.c_short),
        ("denominator", ctypes.c_short),
        ("mode", ctypes.c_int),
        ("beats", ctypes.c_int),
        ("bpm", ctypes.c_float),
        ("root", ctypes.c_int),
        ("future", ctypes.c_int * 6),
    )


def test_libsndfile_reads_tempo_meter_and_root(sound: Path) -> None:
    write_tags(sound, TAGS)
    with soundfile.SoundFile(sound) as file:
        room = soundfile._ffi.new("char[]", ctypes.sizeof(LoopInfo))
        assert soundfile._snd.sf_command(file._file, 0x10E0, room, ctypes.sizeof(LoopInfo)) == 1  # SFC_GET_LOOP_INFO
        told = LoopInfo.from_buffer_copy(bytes(soundfile._ffi.buffer(room, ctypes.sizeof(LoopInfo))))
    assert (told.bpm, told.numerator, told.denominator, told.beats, told.root) == (96.0, 3, 4, 3, 55)


def test_markers_stand_at_their_samples(sound: Path) -> None:
    write_tags(sound, TAGS)
    found = chunks(sound.read_bytes())
    count, *points = struct.unpack("<I" + "II4sIII" * 3, found[b"cue "])
    assert (count, points[5::6]) == (3, [0, 40000, 2 * RATE + 1])
    assert b"labl\x0a\0\0\0\x02\0\0\0G7/B\0\0" not in found[b"adtl"]
    assert b"labl" + struct.pack("<II", 9, 2) + b"G7/B\0\0" in found[b"adtl"]
    content = sound.read_bytes()
    assert int.from_bytes(content[4:8], "little") == len(content) - 8
    assert len(content) % 2 == 0


def test_without_anything_to_say_the_sound_stands_alone(sound: Path) -> None:
    before = sound.read_bytes()
    write_tags(sound, Tags())
    assert sound.read_bytes() == before
    write_tags(sound, Tags(120.0))
    assert struct.unpack("<I", chunks(sound.read_bytes())[b"acid"][:4]) == (4,)  # a tempo, and no root


def test_what_is_no_wav_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(b"fLaC" + bytes(20))
    with pytest.raises(ValueError, match="no RIFF WAVE"):
        write_tags(tmp_path / "a.wav", TAGS)
    assert (tmp_path / "a.wav").read_bytes() == b"fLaC" + bytes(20)
