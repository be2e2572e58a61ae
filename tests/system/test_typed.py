from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal, TypedDict

import pytest

from jasco_pl.system.errors import UserError
from jasco_pl.system.files import loads
from jasco_pl.system.typed import from_json, read_typed, typed


@dataclass
class Inner:
    size: int = 3
    kind: Literal["a", "b"] = "a"


@dataclass
class Outer:
    name: str
    inner: Inner = field(default_factory=Inner)
    rate: float = 1.0
    parts: dict[str, Inner] = field(default_factory=dict)
    limit: float | None = None

    def __post_init__(self) -> None:
        if self.rate < 0:
            raise UserError("the rate must not be negative.")


class Row(TypedDict):
    id: str
    counts: list[int]


def test_what_fits_becomes_the_type():
    assert typed({"name": "x"}, Outer) == Outer("x")
    found = typed({"name": "x", "inner": {"size": 5, "kind": "b"}, "rate": 2, "parts": {"p": {"size": 1}}, "limit": None}, Outer)
    assert found == Outer("x", Inner(5, "b"), 2.0, {"p": Inner(1)})
    assert from_json(b'{"id": "a", "counts": [1, 2], "more": 3}', Row) == {"id": "a", "counts": [1, 2]}


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (None, "expected 'object', got 'null'"),
        ([], "expected 'object', got 'array'"),
        ({}, "object missing required field 'name'"),
        ({"name": None}, "expected 'str', got 'null' at 'name'"),
        ({"name": "x", "inner": []}, "expected 'object', got 'array' at 'inner'"),
        ({"name": "x", "inner": {"size": "3"}}, "expected 'int', got 'str' at 'inner.size'"),
        ({"name": "x", "inner": {"size": 3.5}}, "expected 'int', got 'float' at 'inner.size'"),
        ({"name": "x", "inner": {"size": True}}, "expected 'int', got 'bool' at 'inner.size'"),
        ({"name": "x", "inner": {"kind": "c"}}, "invalid enum value 'c' at 'inner.kind'"),
        ({"name": "x", "more": 1}, "there is no 'more'"),
        ({"name": "x", "inner": {"more": 1}}, "there is no 'inner.more'"),
        ({"name": "x", "parts": {"p": {"q": 1}}}, "there is no 'parts.p.q'"),
        ({"name": "x", "rate": -1}, "the rate must not be negative"),
    ],
)
def test_what_does_not_fit_is_said_with_its_place(value, words):
    with pytest.raises(ValueError, match=words) as error:
        typed(value, Outer)
    assert "\n" not in str(error.value)
    assert not str(error.value).endswith(".")


def test_a_type_inside_of_itself_is_not_followed_for_ever():
    nested: Any = []
    for _ in range(100_000):
        nested = [nested]
    with pytest.raises(ValueError, match="nested too deeply"):
        typed(nested, list[Any])


@pytest.mark.parametrize("text", [b"[" * 100_000, b'{"a":' * 100_000, "[" * 100_000])
def test_brackets_without_end_are_no_json(text):
    with pytest.raises(ValueError, match="nested too deeply"):
        loads(text)


def test_names_of_files_and_numbers_of_python_are_read_as_pythons_json_reads_them():
    assert from_json(b'["caf\\udce9"]', list[str]) == ["caf\udce9"]
    (number,) = from_json(b"[NaN]", list[float])
    assert number != number
    assert loads(b"\xef\xbb\xbf[1]") == [1]
    with pytest.raises(ValueError, match="codec can't decode"):
        loads(b'["\xff"]')


def test_a_file_is_named(tmp_path):
    path = tmp_path / "some.json"
    with pytest.raises(FileNotFoundError):
        read_typed(path, Outer)
    for content in (b"", b"{", b"[]", b"\xff", b"[" * 100_000):
        path.write_bytes(content)
        with pytest.raises(UserError, match=r"some\.json' is damaged: .*\.$"):
            read_typed(path, Outer)
    path.unlink()
    path.mkdir()
    with pytest.raises(UserError, match="cannot be read: Is a directory"):
        read_typed(path, Outer)
