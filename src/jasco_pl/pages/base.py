"""What every HTML page of the project is made of: one self-contained file in one style, light or dark as the reader's system is.

Text is escaped wherever it enters a page, unless it is `Markup` (markupsafe), which is HTML already; `Markup("<b>{}</b>").format(text)`
escapes what it is given, and Markup + text does too, while an f-string gives plain text again.
The look lies in `base.css`: system fonts, a few CSS variables (`--ink`, `--soft`, `--line`, `--accent`, `--good`, `--near`, `--bad` ...),
classes `card`, `note`, `scroll`, `number`, `best`, `bad`, `soft`.
"""

from __future__ import annotations

import base64
import io
import json
import os
from collections.abc import Iterable, Sequence
from functools import cache
from importlib.resources import files
from typing import Any
from urllib.parse import quote

from markupsafe import Markup, escape
from matplotlib.figure import Figure

from jasco_pl.system.errors import UserError
from jasco_pl.system.files import atomic_path


def join(parts: Iterable[object], between: str = "\n") -> Markup:
    """Several pieces, escaped unless they are `Markup`, with `between` (HTML) between them."""
    return Markup(between).join(escape(part) for part in parts)


@cache
def packaged(name: str, package: str = "jasco_pl.pages") -> str:
    """The text of a style or script that lies in a package."""
    return files(package).joinpath(name).read_text(encoding="utf-8")


def page(title: str, body: str, script: str = "", style: str = "") -> str:
    """One HTML file: the style and the script stand in it, nothing is loaded from anywhere.

    Args:
        title: plain text, for the window; the body brings its own heading.
        body: HTML that stands inside `<main>`.
        script: JavaScript, run when the body is there.
        style: CSS after the common one.

    Raises:
        ValueError: script or style would end their own element early.
    """
    for text, end in ((script, "</script"), (style, "</style")):
        if end in text.lower():
            raise ValueError(f"{end!r} inside a page's {end[2:]} would end it.")
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n<meta name="color-scheme" content="light dark">\n'
        # An empty icon keeps browsers from asking a server for one.
        f'<title>{escape(title)}</title>\n<link rel="icon" href="data:,">\n'
        f"<style>\n{packaged('base.css')}{style}</style>\n</head>\n<body>\n<main>\n{body}\n</main>\n"
        + (f"<script>\n{script}\n</script>\n" if script else "")
        + "</body>\n</html>\n"
    )


def write_html(path: str | os.PathLike[str], text: str) -> None:
    """Write a page, whole or not at all.

    Raises:
        UserError: the file cannot be written.
    """
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def table(headings: Sequence[object], rows: Iterable[Sequence[object]], *, caption: object = "", numbers_from: int = 1) -> Markup:
    """A table that scrolls sideways on its own where the window is narrow.

    Args:
        headings: one a column; text, or `Markup`.
        rows: cells of each row; text or `Markup`; the first cell is the row's heading.
        caption: shown above.
        numbers_from: columns from this one on hold numbers: to the right, digits of one width.
    """

    def cells(line: Sequence[object], head: bool) -> str:
        parts = []
        for number, cell in enumerate(line):
            tag = "th" if head or number == 0 else "td"
            scope = f' scope="{"col" if head else "row"}"' if tag == "th" else ""
            kind = ' class="number"' if number >= numbers_from else ""
            parts.append(f"<{tag}{scope}{kind}>{escape(cell)}</{tag}>")
        return f"<tr>{''.join(parts)}</tr>"

    above = f"<caption>{escape(caption)}</caption>" if caption else ""
    lines = "\n".join(cells(row, False) for row in rows)
    return Markup(f'<div class="scroll"><table>{above}\n<thead>{cells(headings, True)}</thead>\n<tbody>\n{lines}\n</tbody></table></div>')


def audio_player(src: str | os.PathLike[str], label: object = "") -> Markup:
    """A player that loads nothing before it is asked to.

    Args:
        src: a file's path relative to the page, or a `data:` URI.
        label: for screen readers; what is heard.

    Raises:
        UserError: the source is an absolute path or on a network, so that the page would not work where it is copied to.
    """
    named = f' aria-label="{escape(label)}"' if label else ""
    return Markup(f'<audio controls preload="none" src="{escape(source(src))}"{named}></audio>')


def source(src: str | os.PathLike[str]) -> str:
    """A relative path or `data:` URI as it stands in a `src` attribute (before escaping); raises UserError for anything else."""
    path = os.fspath(src).replace(os.sep, "/")
    if path.startswith("data:"):
        return path
    if path.startswith("/") or "://" in path:
        raise UserError(f"a page cannot play {path!r}: a path relative to the page is needed, so that both can be moved together.")
    return quote(path if ":" not in path.split("/")[0] else f"./{path}")


def figure_png(figure: Figure, alt: object = "", dpi: float = 110) -> Markup:
    """A matplotlib figure as an image inside the page, never wider than the window; `alt` says what it shows."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=dpi)
    return Markup(f'<img alt="{escape(alt)}" src="data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode("ascii")}">')


def data_element(name: str, data: Any) -> Markup:
    """Data for the page's script, read by `JSON.parse(document.getElementById(name).textContent)`.

    Raises:
        ValueError: the data holds NaN or infinity, which JSON does not have.
    """
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    for character in "<>&\u2028\u2029":  # no text inside can end the element or open a comment
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Markup(f'<script type="application/json" id="{escape(name)}">{text}</script>')
