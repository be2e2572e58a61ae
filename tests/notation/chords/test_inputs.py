"""Every input of inputs.yaml, and the table of docs/inputs.md that counts them."""

from __future__ import annotations

from pathlib import Path

import pytest
from inputs import Written, inputs, outcome, table

from jasco_pl.notation.chord_text import read_chords
from jasco_pl.system.errors import UserError


def name_of(written: Written) -> str:
    return f"{written.kind}: {str(written.told.get('line', written.told.get('file')))[:30]}"


@pytest.mark.parametrize("written", inputs(), ids=name_of)
def test_it_is_read_as_meant_or_refused(written: Written, tmp_path: Path) -> None:
    text, options = written.text(tmp_path), written.options()
    if written.chords is None:
        with pytest.raises(UserError) as error:
            read_chords(text, **options)
        assert written.told["refused"] in str(error.value)
        assert "\n" not in str(error.value)
        assert str(error.value).endswith(".")
    else:
        changes = read_chords(text, **options).changes
        assert [(change.label, round(change.start, 4)) for change in changes] == written.chords


def test_the_table_in_the_documents_is_that_of_the_file() -> None:
    document = Path(__file__).parents[3] / "docs" / "inputs.md"
    assert table() in document.read_text(encoding="utf-8")


def test_counting_tells_right_from_wrong(tmp_path: Path) -> None:
    def of(**told: object) -> str:
        return outcome(Written("kind", told), tmp_path)

    assert of(line="C G", seconds=4, chords="C@0 G@2") == "read"
    assert of(line="C G", seconds=4, chords="C@0 G@3") == "wrong"
    assert of(line="C G", refused="anything") == "wrong"
    assert of(line="C Q", refused="'Q'") == "refused"
    assert of(line="C Q", chords="C@0") == "wrong"
