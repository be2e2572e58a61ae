"""`jasco generate --from clip.json`, `--vary clip.json`: the arguments that made a clip, out of the JSON beside it."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jasco_pl.audio.suffixes import AUDIO_SUFFIXES, SUBTYPES
from jasco_pl.controls import all_options
from jasco_pl.controls.options import BARS, VARIATION, VARY
from jasco_pl.system.errors import UserError
from jasco_pl.system.files import loads, or_beside

FREE = ("again", "out", "device", "midi")
"""What may be said besides."""
MOST_BYTES = 1 << 23
"""Of settings; a clip's are some kilobytes."""
_FLAGS = {"count": "-n", "start": "--from", "end": "--to"}


def read_settings(path: str) -> dict[str, Any]:
    """The JSON beside a clip; the clip itself may be named too.

    Raises:
        UserError: it is not there, or no such JSON.
    """
    file = Path(path).with_suffix(".json") if Path(path).suffix.lower() in AUDIO_SUFFIXES else Path(path)
    try:
        with file.open("rb") as opened:
            told = loads(opened.read(MOST_BYTES))  # what is longer breaks off, and is none
    except OSError as error:
        raise UserError(f"the settings {str(file)!r} cannot be read: {error.strerror}.") from None
    except ValueError:
        told = None
    wanted = {"request": dict, "checkpoint": str, "seconds": int | float, "guidance": str, "solver": dict, "precision": str}
    if not isinstance(told, dict) or not all(isinstance(told.get(name), kind) for name, kind in wanted.items()):
        raise UserError(f"{str(file)!r} is not the JSON that `jasco generate` or `jasco edit` writes beside a clip.")
    return told


def arguments(args: argparse.Namespace, defaults: Mapping[str, Any]) -> tuple[argparse.Namespace, dict[str, Any]]:
    """Those of the clip that `args.again` names, and its settings.

    Args:
        args: as they were given.
        defaults: what they are where nothing is said.

    Raises:
        UserError: something was given besides that would make another clip, or the settings cannot be used.
    """
    given = [name for name, value in defaults.items() if name not in FREE and getattr(args, name) != value]
    if given:
        flag = _FLAGS.get(given[0], f"--{given[0].replace('_', '-')}")
        asked = "--again makes an edit" if "song" in defaults else "--from makes a clip"
        raise UserError(f"{asked} again as it was made: leave out {'the song' if given[0] == 'song' else flag}.")
    told = read_settings(args.again)
    if ("edit" in told) != ("song" in defaults):
        raise UserError(f"{args.again!r} is {'of' if 'edit' in told else 'not of'} an edit, which `jasco edit --again` makes again.")
    solver = told["solver"]
    made = _asked(told, args.again)
    made |= {name: solver.get(name, defaults[name]) for name in ("steps", "tolerance")}
    made["times"] = solver.get("times", "uniform")  # as it was before there were others
    made |= {"solver": solver.get("method", defaults["solver"]), "precision": told["precision"], "compat": told.get("compat")}
    unused = ("steps", "times") if made["solver"] == "dopri5" else ("tolerance",)
    made |= {name: defaults[name] for name in unused}
    if solver.get("student"):  # whose steps are its own
        made |= {"quality": "fast", **{name: defaults[name] for name in ("solver", "steps", "tolerance", "times")}}
    _check_types(made)
    return argparse.Namespace(**{**vars(args), **made, "count": 1}), told


def varied(args: argparse.Namespace, defaults: Mapping[str, Any]) -> argparse.Namespace:
    """Those of a variation: where `args.vary` is the JSON of a take, its sound, and what was asked for where nothing else is now.

    Args:
        args: as they were given.
        defaults: what they are where nothing is said.

    Raises:
        UserError: the settings cannot be used, or the sound does not lie beside them.
    """
    path = Path(args.vary)
    if path.suffix.lower() != ".json":
        return args
    told = read_settings(args.vary)
    if "edit" in told:
        raise UserError(f"{args.vary!r} is of an edit, whose settings are those of a stretch: name its sound.")
    made = _asked(told, args.vary)
    _check_types(made)
    found = [sound for suffix in SUBTYPES if (sound := path.with_suffix(suffix)).exists()]
    if not found:
        raise UserError(f"beside {args.vary!r} lies no sound of that take ({', '.join(SUBTYPES)}) that could be varied.")
    own = {name: value for name, value in made.items() if getattr(args, name) == defaults[name] and name not in ("seed", VARIATION.name)}
    return argparse.Namespace(**{**vars(args), **own, VARY.name: str(found[0])})


def _asked(told: Mapping[str, Any], path: str) -> dict[str, Any]:
    """Arguments for the same request of the same length to the same model, files looked for where they were and beside the settings."""
    request = told["request"]
    if unknown := [name for name in request if name not in {*all_options(), "text", "seed"}]:
        raise UserError(f"the clip was asked for {unknown[0]!r}, which this version does not know.")
    made = {name: request.get(name, option.default) for name, option in all_options().items()}
    made |= {"text": request.get("text", ""), "seed": request.get("seed", 0), "seconds": None if made[BARS.name] else told["seconds"]}
    made |= {"checkpoint": told["checkpoint"], "guidance": told["guidance"].split()}
    files = [name for name, option in all_options().items() if option.kind == "file" and isinstance(made[name], str)]
    return made | {name: or_beside(made[name], path) for name in files}


def _check_types(made: Mapping[str, Any]) -> None:
    """Raise UserError if a value, which anybody may have written, is of another type than its argument."""
    for name, value in made.items():
        option = all_options().get(name)
        numeric = option.kind == "number" if option else name in ("seconds", "tolerance")
        flag = option is not None and option.kind == "flag"
        whole = name in ("seed", "steps")
        kinds: Any = bool if flag else int if whole else int | float if numeric else list if name == "guidance" else str
        if value is not None and not (isinstance(value, kinds) and (flag or not isinstance(value, bool))):
            raise UserError(f"the settings of the clip say {value!r} for {name}, which it cannot be.")
