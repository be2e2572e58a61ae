"""An upload looked at and rewritten, in a process of its own with limits: what is in it may be meant to do harm.

    python -m jasco_pl.app.decode SOURCE FOLDER NAME SECONDS CPU_SECONDS BYTES

Audio becomes FOLDER/upload.wav, mono, 16 bits, at its own rate; MIDI becomes FOLDER/tracks.json, the notes of each track as they would be
followed. What it is goes to standard output as JSON; a refusal is {"error": ...}.
"""

from __future__ import annotations

import json
import resource
import sys
from pathlib import Path
from typing import Any

_PEAKS = 600
_TRACKS = 32
_HIGHEST_RATE = 192_000


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
    with source.open("rb") as file:
        beginning = file.read(4)
    return midi(source, folder, seconds) if beginning == b"MThd" else audio(source, folder, seconds)


def audio(source: Path, folder: Path, seconds: float) -> dict[str, Any]:
    """Rewrite sound, as long as it is not too long."""
    import numpy as np
    import soundfile

    from jasco_pl.audio.decoding import AudioFile
    from jasco_pl.system.errors import UserError

    file = AudioFile(source)
    too_long = f"{str(source)!r} lasts longer than the {seconds:g} s that are taken."
    if file.claimed_seconds > seconds:
        raise UserError(too_long)
    if file.rate > _HIGHEST_RATE or file.channels > 64:
        raise UserError(f"{str(source)!r} has {file.channels} channels at {file.rate} Hz; up to 64 at {_HIGHEST_RATE} Hz are taken.")
    frames, highest = 0, []
    step = max(1, round(max(file.claimed_seconds, 0.1) * file.rate / _PEAKS))
    rest = np.zeros(0, dtype=np.float32)
    with soundfile.SoundFile(folder / "upload.wav", "w", file.rate, 1, subtype="PCM_16") as out:
        for block in file.blocks():
            mono = np.clip(block.mean(axis=1), -1.0, 1.0)
            frames += len(mono)
            if frames > seconds * file.rate:
                raise UserError(too_long)
            out.write(mono)
            rest = np.abs(np.concatenate([rest, mono]))
            whole = len(rest) // step * step
            highest += rest[:whole].reshape(-1, step).max(axis=1).tolist()
            rest = rest[whole:]
    top = max(max(highest, default=0.0), 1e-9)
    shown = [round(100 * value / top) for value in highest]
    return {"kind": "audio", "seconds": frames / file.rate, "rate": file.rate, "channels": file.channels, "peaks": shown}


def midi(source: Path, folder: Path, seconds: float) -> dict[str, Any]:
    """The notes of every track that could be a melody; `track` is the one that would be taken."""
    from jasco_pl.notation.midi import read_midi

    chosen = read_midi(source, seconds)
    tracks: list[dict[str, Any]] = []
    notes: dict[str, list[Any]] = {}
    for part in chosen.parts:
        if part.drums or len(tracks) == _TRACKS:
            continue
        read = chosen if part is chosen.part else read_midi(source, seconds, part.number)
        heard = [[pitch, round(onset, 4), round(offset, 4)] for pitch, onset, offset in read.notes if onset < seconds]
        if not heard:
            continue
        notes[str(part.number)] = heard
        tracks.append({"number": part.number, "name": part.name[:80], "notes": len(heard), "lasts": heard[-1][2]})
    numbers = [track["number"] for track in tracks]
    (folder / "tracks.json").write_text(json.dumps(notes))
    return {
        "kind": "midi",
        "seconds": max(track["lasts"] for track in tracks),
        "track": chosen.part.number if chosen.part.number in numbers else numbers[0],
        "tracks": tracks,
        "notes": chosen.remarks,
    }


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
