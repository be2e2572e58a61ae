"""Audio that is finished already: what another system made for these pieces, or another band played, measured like a row of our own."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from torch import Tensor

from jasco_pl.audio.files import AUDIO_SUFFIXES, read_audio
from jasco_pl.controls import CONTROLS
from jasco_pl.evaluation.references import Reference
from jasco_pl.evaluation.settings import OTHER_AUDIO, SHORT, folder_of
from jasco_pl.system.errors import UserError

_SHORTER = 0.05  # seconds by which a file may be shorter than what it stands for
_WHOLE = 1.0  # a file that is this many seconds longer than the stretch is a whole piece


@dataclass(frozen=True)
class Finished:
    """A row of finished audio.

    Attributes:
        name: the row's.
        folder: holds a file a piece, ID.SUFFIX or ID.mix.SUFFIX: the stretch that is compared, or the whole piece, which is cut to it.
    """

    name: str
    folder: str

    @classmethod
    def parse(cls, text: str) -> Finished:
        """Read `NAME=DIR`.

        Raises:
            UserError: it is not that, the name is that of a row of the models, or there is no such folder.
        """
        name, _, folder = text.partition("=")
        if not folder or not re.fullmatch(r"[\w.-]+", name):
            raise UserError(f"--audio takes NAME=DIR, the name of letters, digits, '.', '_' and '-', not {text!r}.")
        taken = {*SHORT, *map(folder_of, SHORT.values()), *CONTROLS}  # words for rows, and their folders
        if name in taken or name.endswith(OTHER_AUDIO):
            raise UserError(f"--audio cannot call a row {name!r}: that is one of the models' own.")
        if not Path(folder).is_dir():
            raise UserError(f"--audio {name}: {folder!r} is no folder.")
        return cls(name, folder)

    @cached_property
    def _files(self) -> dict[str, Path]:
        found = sorted(path for path in Path(self.folder).iterdir() if path.suffix.lower() in AUDIO_SUFFIXES)
        return {path.stem.removesuffix(".mix"): path for path in found}

    def check(self, names: Collection[str]) -> None:
        """Raise a UserError if a piece has no file."""
        missing = [name for name in names if name not in self._files]
        if missing:
            raise UserError(
                f"--audio {self.name}: {self.folder!r} has no audio for {len(missing)} of {len(names)} pieces, the first {missing[0]!r}: a "
                f"file a piece is wanted, {missing[0]}.flac or the like."
            )

    def digest(self, name: str) -> str:
        """Changes with the file of that piece."""
        return hashlib.blake2b(self._files[name].read_bytes(), digest_size=8).hexdigest()

    def clip(self, reference: Reference) -> Tensor:
        """What is to be compared with a reference: [1, S] at its rate.

        Raises:
            UserError: the file cannot be read, or is shorter than the reference.
        """
        path, rate, samples = self._files[reference.id], reference.sample_rate, reference.audio.shape[-1]
        audio = read_audio(path, rate)
        seconds = audio.shape[-1] / rate
        if audio.shape[-1] >= samples + _WHOLE * rate:
            audio = audio[:, round(reference.start * rate) :]
        if audio.shape[-1] < samples - _SHORTER * rate:
            raise UserError(
                f"{str(path)!r} lasts {seconds:.2f} s: the stretch of {samples / rate:g} s is wanted, from {reference.start:.2f} s of the "
                "piece on, or the whole piece."
            )
        return audio[:, :samples]
