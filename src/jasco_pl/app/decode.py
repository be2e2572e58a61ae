"""An upload looked at and rewritten, in a process of its own with limits: what is in it may be meant to do harm.

    python -m jasco_pl.app.decode SOURCE FOLDER NAME SECONDS CPU_SECONDS BYTES

Audio becomes FOLDER/upload.wav, mono, 16 bits, at its own rate; MIDI becomes FOLDER/tracks.json, the notes of each track as they would be
followed. What it is goes to standard output as JSON; a refusal is {"error": ...}.
"""

from __future__ import annotations

import json
import resource
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

_PEAKS_A_SECOND = 200
_TRACKS, _NOTES = 32, 4000  # that are kept
_HIGHEST_RATE, _MOST_CHANNELS = 192_000, 64
_HEAD = 256  # bytes by which it is told what a file is


def main(arguments: list[str]) -> int:
    """Always 0, unless the limits end it."""
    source, folder, name, seconds, cpu, size = arguments
    limit(int(cpu), int(size))
    from jasco_pl.system.errors import UserError  # not before the limits hold

    try:
        told = look(Path(source), Path(folder), float(seconds))
    except UserError as error:
        told = {"error": str(error).replace(repr(source), repr(name)).replace(source, name)}
    except MemoryError:
        told = {"error": f"{name!r} needs more memory than an upload may take."}
    print(json.dumps(told))
    return 0


def limit(cpu: int, size: int) -> None:
    """Of this process: seconds of processor time, bytes of memory and of a file."""
    resource.setrlimit(resource.RLIMIT_CPU, (cpu, cpu + 1))
    resource.setrlimit(resource.RLIMIT_AS, (size, size))
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def look(source: Path, folder: Path, seconds: float) -> dict[str, Any]:
    """What an upload is; raises UserError where it is nothing that is taken."""
    from jasco_pl.notation.midi_file import is_midi

    with source.open("rb") as file:
        beginning = file.read(_HEAD)
    return midi(source, folder, seconds) if is_midi(beginning) else audio(source, folder, seconds)


def audio(source: Path, folder: Path, seconds: float) -> dict[str, Any]:
    """Rewrite sound, as long as it is not too long; several channels become one as everywhere (`Downmix`)."""
    from jasco_pl.audio.channels import Downmix, said
    from jasco_pl.audio.decoding import AudioFile
    from jasco_pl.system.errors import UserError

    file = AudioFile(source)
    too_long = f"{str(source)!r} lasts longer than the {seconds:g} s that are taken."
    if file.claimed_seconds > seconds:
        raise UserError(too_long)
    if file.rate > _HIGHEST_RATE or file.channels > _MOST_CHANNELS:
        accepted = f"up to {_MOST_CHANNELS} at {_HIGHEST_RATE} Hz are taken"
        raise UserError(f"{str(source)!r} has {file.channels} channels at {file.rate} Hz; {accepted}.")
    most = round(seconds * file.rate)
    mix, notes = Downmix(), []
    frames, peaks = write(folder, file.rate, map(mix, file.blocks(stop=most + 1)))
    if frames > most:
        raise UserError(too_long)
    if (channel := mix.louder) is not None:
        frames, peaks = write(folder, file.rate, (block[:, channel] for block in file.blocks()))
        notes.append(said(channel, file.channels))
    lasts = {"seconds": frames / file.rate, "rate": file.rate, "channels": file.channels}
    return {"kind": "audio", **lasts, "peaks": peaks, "notes": notes}


def write(folder: Path, rate: int, blocks: Iterable[Any]) -> tuple[int, list[int]]:
    """Blocks [n] into FOLDER/upload.wav; how many samples, and the waveform's peaks, 0 to 100."""
    import numpy as np
    import soundfile

    from jasco_pl.app.peaks import peaks

    frames, highest, rest, step = 0, [], np.zeros(0, dtype=np.float32), max(1, rate // _PEAKS_A_SECOND)
    with soundfile.SoundFile(folder / "upload.wav", "w", rate, 1, subtype="PCM_16") as out:
        for block in blocks:
            out.write(np.clip(block, -1.0, 1.0))
            frames += len(block)
            rest = np.concatenate([rest, np.abs(block)])
            whole = len(rest) // step * step
            highest += rest[:whole].reshape(-1, step).max(axis=1).tolist()
            rest = rest[whole:]
    return frames, peaks(np.asarray(highest or [0.0]))


def midi(source: Path, folder: Path, seconds: float) -> dict[str, Any]:
    """The notes of every part that could be a melody; `track` is the one that would be taken."""
    from jasco_pl.notation.midi import read_each

    chosen, each = read_each(source, seconds)
    told = {track["number"]: track for track in chosen.tracks}
    tracks: list[dict[str, Any]] = []
    notes: dict[str, list[Any]] = {}
    for read in each:
        if len(tracks) == _TRACKS:
            break
        rounded = [[pitch, round(onset, 4), round(offset, 4)] for pitch, onset, offset in read.notes if onset < seconds]
        heard = [note for note in rounded if note[2] > note[1]][:_NOTES]
        if heard:
            notes[str(read.part.number)] = heard
            tracks.append({**told[read.part.number], "name": read.part.name[:80]})
    (folder / "tracks.json").write_text(json.dumps(notes))
    lasts = max(note[2] for heard in notes.values() for note in heard)
    return {"kind": "midi", "seconds": lasts, "track": chosen.part.number, "tracks": tracks, "notes": chosen.remarks}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
