"""What every HTML page of the project is made of: one self-contained file in one style, light or dark as the reader's system is.

A page is a jinja2 template (`*.html` beside the module that fills it) on top of `base.html`; tables come from `table.html`. Text is escaped
wherever it enters a page (not in `*.md`, which stand in for pages where no browser is).
The look lies in `base.css`: system fonts, a few CSS variables (`--ink`, `--soft`, `--line`, `--accent`, `--good`, `--near`, `--bad` ...),
classes `card`, `note`, `scroll`, `number`, `best`, `bad`, `soft`.
"""

from __future__ import annotations

import os
from functools import cache
from importlib.resources import files
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

from jasco_pl.system.errors import UserError


@cache
def packaged(name: str, package: str = "jasco_pl.pages") -> str:
    """The text of a style or script that lies in a package."""
    return files(package).joinpath(name).read_text(encoding="utf-8")


@cache
def templates() -> Environment:
    """All templates, HTML and Markdown, by their paths in this package; what is undefined in one is an error."""
    found = Environment(
        loader=PackageLoader("jasco_pl", ""),
        autoescape=select_autoescape(),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    # No text inside can end the element; NaN and infinity, which JSON does not have, raise ValueError.
    found.policies["json.dumps_kwargs"] = {"ensure_ascii": False, "separators": (",", ":"), "allow_nan": False}
    return found


def render(template: str, script: str = "", style: str = "", **values: Any) -> str:
    """One HTML file: the style and the script stand in it, nothing is loaded from anywhere.

    Args:
        template: its path in this package; it extends `pages/base.html` and fills the block `body`.
        script: JavaScript, run when the body is there.
        style: CSS after the common one.
        values: what the template shows; `title`, plain text for the window, among it.

    Raises:
        ValueError: script or style would end their own element early, or data for the script holds NaN or infinity.
    """
    for text, end in ((script, "</script"), (style, "</style")):
        if end in text.lower():
            raise ValueError(f"{end!r} inside a page's {end[2:]} would end it.")
    return templates().get_template(template).render(script=script, style=packaged("base.css") + style, **values)


def source(src: str | os.PathLike[str]) -> str:
    """A relative path or `data:` URI as it stands in a `src` attribute (before escaping).

    Raises:
        UserError: the source is an absolute path or on a network, so that the page would not work where it is copied to.
    """
    path = os.fspath(src).replace(os.sep, "/")
    if path.startswith("data:"):
        return path
    if path.startswith("/") or "://" in path:
        raise UserError(f"a page cannot play {path!r}: a path relative to the page is needed, so that both can be moved together.")
    return quote(path if ":" not in path.split("/")[0] else f"./{path}")
