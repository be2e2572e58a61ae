"""What is varied in an evaluation: checkpoint, guidance, solver; and the condition sets, a row each."""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from jasco_pl.controls import CONTROLS, AudioControl, Painting
from jasco_pl.network.flow.solver import SolverConfig
from jasco_pl.network.model import read_config
from jasco_pl.system.errors import UserError
from jasco_pl.system.resources import locate

CEILING, NO_CONTROL, ALL, CROSSED = "codec ceiling", "no control", "all controls", "crossed"
SHORT = {"ceiling": CEILING, "none": NO_CONTROL, "all": ALL, CROSSED: CROSSED}
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

    def key(self) -> str:
        """Short hash of the settings and of the checkpoint's and its codec's bytes: results of other settings are kept apart."""
        digest = hashlib.blake2b(json.dumps(asdict(self), sort_keys=True).encode(), digest_size=4)
        folder = Path(self.checkpoint)
        for part in (folder, Path(locate(read_config(folder).codec, folder))):  # nothing is hashed of a codec from the Hub but its name
            for path in sorted(file for file in part.glob("*") if file.suffix in (".json", ".safetensors")):
                digest.update(path.read_bytes())
        return digest.hexdigest()

    @property
    def solver_name(self) -> str:
        """`midpoint 10`, or `dopri5 1e-05`."""
        return (
            f"{self.solver.method} {self.solver.tolerance:g}"
            if self.solver.method == "dopri5"
            else f"{self.solver.method} {self.solver.steps}"
        )


def rows_of(controls: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """The rows of a model: name -> the controls that are given. Painting hands over a part of the clip itself, so that it stands alone."""
    measured = [name for name in controls if name != Painting.name]
    rows: dict[str, tuple[str, ...]] = {CEILING: (), NO_CONTROL: (), **{name: (name,) for name in measured}}
    if len(measured) > 1:
        rows[ALL] = tuple(measured)
    if set(OF_THREE) <= set(measured):
        rows[CROSSED] = OF_THREE
    if Painting.name in controls:
        rows[Painting.name] = (Painting.name,)
    return rows


def chosen_rows(names: Sequence[str], controls: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """The named rows of a model: `ceiling`, `none`, `all`, `crossed`, a control, or several joined by +.

    Rows whose controls the model lacks are left out.

    Raises:
        UserError: no control is called that, or painting is joined with others.
    """
    known, chosen = rows_of(controls), {}
    for name in names:
        title = SHORT.get(name, name)
        given = known.get(title) or tuple(title.split("+"))
        if title in (CEILING, NO_CONTROL) or (title == CROSSED and title not in known):
            given = ()
        elif title == ALL and title not in known:
            given = tuple(control for control in controls if control != Painting.name)
        elif unknown := [part for part in given if part not in CONTROLS]:
            raise UserError(f"--rows takes {', '.join([*SHORT, *CONTROLS])}, or controls joined by +, not {unknown[0]!r}.")
        elif Painting.name in given and len(given) > 1:
            raise UserError(
                f"the row {name!r} joins painting with other controls: it hands over the clip's ends themselves and stands alone."
            )
        if all(part in controls for part in given) and (given or title in (CEILING, NO_CONTROL)):
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
