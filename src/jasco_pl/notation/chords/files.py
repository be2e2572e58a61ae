"""Files of chords: what they are called, their bytes as text, and which reader they belong to."""

from __future__ import annotations

import os
import re
from pathlib import Path

from jasco_pl.notation.chords.documents import read_json
from jasco_pl.notation.chords.ireal import is_ireal, read_ireal
from jasco_pl.notation.chords.musicxml import read_musicxml
from jasco_pl.notation.chords.score import Score, Timed
from jasco_pl.notation.chords.sheet import read_sheet
from jasco_pl.notation.chords.table import read_table
from jasco_pl.notation.chords.times import read_times
from jasco_pl.notation.plain import plain
from jasco_pl.system.errors import UserError

MOST_BYTES = 1 << 23
TABLES = (".lab", ".csv", ".tsv")
DOCUMENTS = (".jams", ".json")
SCORES = (".musicxml", ".mxl", ".xml")
SHEETS = (".txt", ".cho", ".crd", ".pro", ".chopro", ".chordpro", ".chord", ".html", ".htm")
SUFFIXES = (*TABLES, *DOCUMENTS, *SCORES, *SHEETS)


def names_a_file(text: str) -> bool:
    """Whether a text is a path: by its ending, or because such a file is there and has one."""
    ending = _ending(text)
    if ending in SUFFIXES:
        return True
    try:
        return re.fullmatch(r"\.\w{1,10}", ending) is not None and Path(text.strip()).is_file()
    except (OSError, ValueError):
        return False


def ends_as_a_file(text: str) -> bool:
    """Whether it has the ending of a file of chords; nothing is looked for on a disk."""
    return _ending(text) in SUFFIXES


def _ending(text: str) -> str:
    """What stands behind the last dot of a line that may be a name, with it."""
    name = text.strip()
    return "" if "\n" in name or len(name) > 4096 else os.path.splitext(name)[1].lower()


def read_file(path: str | os.PathLike[str], meter: str) -> Score | Timed:
    """Read a file of chords by its ending; what has another one is read as text.

    Args:
        path: the file.
        meter: of bars, where the file does not say another.

    Raises:
        UserError: it is missing, too large, not of its kind, or holds no chords.
    """
    name = os.fspath(path).strip()
    content = _bytes(name)
    suffix = os.path.splitext(name)[1].lower()
    if suffix in SCORES:
        return read_musicxml(content, name)
    text, note = decoded(content, name)
    if suffix in DOCUMENTS:
        return read_json(text, name)
    found = read_text(text, name, meter, must_be_table=suffix in TABLES)
    if note:
        found.notes.insert(0, note)
    return found


def read_text(text: str, name: str | None, meter: str, must_be_table: bool = False) -> Score | Timed:
    """Read chords of any kind that is text.

    Args:
        text: as decoded.
        name: of the file, None for a line.
        meter: of bars, where the text does not say another.
        must_be_table: whether only lines with times are accepted.
    """
    if is_ireal(text):
        return read_ireal(text)
    lines = plain(text if name is not None else text.replace("\\n", "\n"))  # a shell leaves \n as it is written
    if name is not None or "\n" in lines.strip():
        table = read_table(lines, name or "the chord lines", must_be_table)
        if table is not None:
            return table
    return read_times(lines) or read_sheet(lines, meter)


def _bytes(name: str) -> bytes:
    try:
        if not Path(name).is_file():
            raise UserError(f"chord file {name!r} {'cannot be read: Is a directory' if Path(name).is_dir() else 'does not exist'}.")
        with open(name, "rb") as file:
            content = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise UserError(f"chord file {name!r} cannot be read: {error.strerror}.") from None
    except ValueError as error:  # a path that no system takes
        if isinstance(error, UserError):
            raise
        raise UserError(f"chord file {name!r} is not a text file.") from None
    if len(content) > MOST_BYTES:
        raise UserError(f"chord file {name!r} is larger than {MOST_BYTES >> 20} MiB, which is the most that is read.")
    return content


def decoded(content: bytes, name: str) -> tuple[str, str | None]:
    """Bytes as text: UTF-8, UTF-16 or UTF-32 by their marks or zeros, else Windows' Latin-1, with a remark.

    Raises:
        UserError: they are no text.
    """
    for mark, encoding in ((b"\xff\xfe\0\0", "utf-32"), (b"\0\0\xfe\xff", "utf-32"), (b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16")):
        if content.startswith(mark):
            return _as_text(content, encoding, name), None
    if len(content) > 3 and content.count(0) * 3 > len(content):
        return _as_text(content, "utf-16-le" if content[1::2].count(0) > content[::2].count(0) else "utf-16-be", name), None
    try:
        return _checked(content.decode("utf-8-sig"), name), None
    except UnicodeDecodeError:
        return _as_text(content, "cp1252", name), f"{name!r} is not in UTF-8: it is read as Latin-1"


def _as_text(content: bytes, encoding: str, name: str) -> str:
    try:
        return _checked(content.decode(encoding), name)
    except UnicodeDecodeError:
        raise UserError(f"chord file {name!r} is not a text file.") from None


def _checked(text: str, name: str) -> str:
    if re.search(r"[\x00-\x08\x0e-\x1a\x1c-\x1f]", text):
        raise UserError(f"chord file {name!r} is not a text file.")
    return text
