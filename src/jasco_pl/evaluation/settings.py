"""What is varied in an evaluation: checkpoint, guidance, solver; and the rows: condition sets, and audio that is finished already."""

from __future__ import annotations

import hashlib
import itertools
import json
import re
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path

from torch import Tensor

from jasco_pl.audio.files import AUDIO_SUFFIXES, read_audio
from jasco_pl.controls import CONTROLS, AudioControl, Painting
from jasco_pl.evaluation.references import Reference
from jasco_pl.network.flow.solver import SolverConfig
from jasco_pl.network.model import read_config
from jasco_pl.network.student import STUDENT_FILES
from jasco_pl.system.device import Precision
from jasco_pl.system.errors import UserError
from jasco_pl.system.resources import locate

CEILING, NO_CONTROL, ALL, CROSSED = "codec ceiling", "no control", "all controls", "crossed"
PAINTED, MIDDLE = "painting with controls", "all controls in the middle"
FORM = "text by section"
SHORT = {"ceiling": CEILING, "none": NO_CONTROL, "form": FORM, "all": ALL, CROSSED: CROSSED, "painting+all": PAINTED, "middle": MIDDLE}
"""What the rows that are no control are called on the command line."""
OTHER_AUDIO = "-other-audio"
"""Behind a row's folder: its clips with audio conditions from another piece."""
OF_THREE = ("chords", "drums", "melody")
"""The controls that the row crossed takes from three pieces."""
REDONE = (0.3, 0.7)
"""The share of a clip that the row of in- and outpainting makes anew: 40 %, the least that training masks; three seconds stay on both sides
of ten."""


@dataclass(frozen=True)
class Settings:
    """What the figures depend on, besides the music."""

    checkpoint: str
    guidance: str
    solver: SolverConfig = field(default_factory=SolverConfig)
    seconds: float = 10.0
    seed: int = 0
    precision: Precision = "fp32"

    def key(self) -> str:
        """Short hash of the settings and of the checkpoint's and its codec's bytes: results of other settings are kept apart."""
        given = asdict(self)
        if self.precision == "fp32":  # results from before there was another
            del given["precision"]
        if self.solver.times == "uniform":  # likewise
            del given["solver"]["times"]
        if not self.solver.student:  # likewise
            del given["solver"]["student"]
        digest = hashlib.blake2b(json.dumps(given, sort_keys=True).encode(), digest_size=4)
        _take_in(digest, Path(self.checkpoint), () if self.solver.student else STUDENT_FILES)
        _take_in(digest, self._codec)
        return digest.hexdigest()

    @property
    def _codec(self) -> Path:
        folder = Path(self.checkpoint)
        return Path(locate(read_config(folder).codec, folder))

    @cached_property
    def codec_digest(self) -> str:
        """Tells codecs apart, by their bytes; one from the Hub by its name."""
        digest = hashlib.blake2b(b"" if self._codec.is_dir() else str(self._codec).encode(), digest_size=4)
        _take_in(digest, self._codec)
        return digest.hexdigest()

    @property
    def solver_name(self) -> str:
        """`midpoint 10`, `midpoint 6, fitted`, `dopri5 1e-05`, or `student, euler 8`."""
        if self.solver.student:
            return f"student, {self.solver.method} {self.solver.steps}"
        if self.solver.method == "dopri5":
            return f"{self.solver.method} {self.solver.tolerance:g}"
        return f"{self.solver.method} {self.solver.steps}" + (", fitted" if self.solver.times == "fitted" else "")


def rows_of(controls: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """The rows of a model: name -> the controls that are given.

    `FORM` is of pieces with sections alone: no control, as in `NO_CONTROL`, but a text for each section at its time in place of one for
    all. Painting hands over a part of the clip itself and is measured in what is made anew. With the other controls it stands beside clips
    that are made whole from the same controls and measured in the same seconds.
    """
    measured = [name for name in controls if name != Painting.name]
    rows: dict[str, tuple[str, ...]] = {CEILING: (), NO_CONTROL: (), FORM: (), **{name: (name,) for name in measured}}
    if len(measured) > 1:
        rows[ALL] = tuple(measured)
    if set(OF_THREE) <= set(measured):
        rows[CROSSED] = OF_THREE
    if Painting.name in controls:
        rows[Painting.name] = (Painting.name,)
        if measured:
            rows |= {PAINTED: (Painting.name, *measured), MIDDLE: tuple(measured)}
    return rows


def remade(row: str, given: Collection[str]) -> bool:
    """Whether a row is measured in the stretch `REDONE` alone."""
    return row == MIDDLE or Painting.name in given


def chosen_rows(names: Sequence[str], controls: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """The named rows of a model: `ceiling`, `none`, `form`, `all`, `crossed`, `painting+all`, `middle`, a control, or several joined by +.

    Rows whose controls the model lacks are left out.

    Raises:
        UserError: no control is called that.
    """
    known, chosen = rows_of(controls), {}
    for name in names:
        title = SHORT.get(name, name)
        given = known.get(title) or tuple(title.split("+"))
        if title in (CEILING, NO_CONTROL, FORM) or (title in (CROSSED, PAINTED, MIDDLE) and title not in known):
            given = ()
        elif title == ALL and title not in known:
            given = tuple(control for control in controls if control != Painting.name)
        elif unknown := [part for part in given if part not in CONTROLS]:
            raise UserError(f"--rows takes {', '.join([*SHORT, *CONTROLS])}, or controls joined by +, not {unknown[0]!r}.")
        if all(part in controls for part in given) and (given or title in (CEILING, NO_CONTROL, FORM)):
            chosen[title] = given
    return chosen


def folder_of(row: str) -> str:
    """Where the clips of a row lie."""
    return row.replace(" ", "-")


def takes_audio(given: Collection[str]) -> bool:
    """Whether one of the controls is fed with audio (drums, mix ...), for which the paper measures FAD, KL and CLAP with other audio."""
    return any(issubclass(CONTROLS[name], AudioControl) for name in given)


def guidance_grid() -> list[str]:
    """The paper's coefficients (section 4): (text, local, both) in {0, 0.5} x {0, -0.5} x {1.5, 2}."""
    return [f"all={both:g} text={text:g} local={local:g}" for text, local, both in itertools.product((0.0, 0.5), (0.0, -0.5), (1.5, 2.0))]


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


def _take_in(digest: hashlib.blake2b, folder: Path, but: Collection[str] = ()) -> None:
    """Configuration and weights of a checkpoint or codec, but for some files; nothing of one from the Hub."""
    for path in sorted(file for file in folder.glob("*") if file.suffix in (".json", ".safetensors") and file.name not in but):
        digest.update(path.read_bytes())
