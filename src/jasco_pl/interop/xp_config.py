"""The configuration inside a released checkpoint: a YAML text by OmegaConf whose references `${...}` are still in it."""

from __future__ import annotations

import re
from typing import Any

from jasco_pl.system.errors import UserError

_REFERENCE = re.compile(r"\$\{([\w.]+)\}")
_DEPTH = 10  # of references to references


class XpConfig:
    """Values by dotted path; whatever is not asked for is left alone, be it known or not.

    Args:
        text: the YAML.
        where: the file, for errors.

    Raises:
        UserError: it is no YAML mapping.
    """

    def __init__(self, text: object, where: str) -> None:
        import yaml  # here: no other checkpoint needs it

        self.where = where
        try:
            if not isinstance(text, str):
                raise ValueError(f"it is of type {type(text).__name__}, where a text is accepted")
            self._values = yaml.safe_load(text)
            if not isinstance(self._values, dict):
                raise ValueError("it holds no keys")
        except (yaml.YAMLError, ValueError) as error:
            raise UserError(f"the configuration (xp.cfg) in {where!r} cannot be read: {' '.join(str(error).split())}.") from error

    def get(self, path: str, default: Any = None) -> Any:
        """The value at `path`, references followed; `default` where there is none, or none that can be read (`${oc.env:...}`, `???`)."""
        return self._get(path, default, _DEPTH)

    def _get(self, path: str, default: Any, depth: int) -> Any:
        found: Any = self._values
        for key in path.split("."):
            if isinstance(found, str) and depth:  # a whole section may be a reference
                found = self._followed(found, depth)
            if not isinstance(found, dict) or key not in found:
                return default
            found = found[key]
        if isinstance(found, str):
            found = self._followed(found, depth)
        return default if found == "???" or (isinstance(found, str) and "${" in found) else found

    def _followed(self, text: str, depth: int) -> Any:
        reference = _REFERENCE.fullmatch(text)
        return self._get(reference[1], text, depth - 1) if reference and depth else text

    def number(self, path: str, default: float | None = None) -> float:
        """A number that must be there, unless there is a default.

        Raises:
            UserError: it is not, or is something else.
        """
        value = self.get(path, default)
        try:
            return float(value)
        except (TypeError, ValueError):
            said = "does not say" if value is None else f"says {value!r} for"
            raise UserError(f"the configuration (xp.cfg) in {self.where!r} {said} {path}, where a number is needed.") from None
