from __future__ import annotations

from pathlib import Path

import pytest

from jasco_pl.cli import main
from jasco_pl.system.configurations import MOST_BYTES, check_arguments
from jasco_pl.system.errors import UserError

DEEP = ["[" * 100_000, "{a: " * 100_000, "- " * 50_000 + "x", "? " * 50_000 + "x"]


@pytest.mark.parametrize("content", DEEP)
@pytest.mark.parametrize("command", [["fit"], ["validate"], ["fit-codec"], ["prepare", "music", "--out", "out"]])
def test_a_configuration_that_is_nested_too_deeply_is_a_sentence_and_no_crash(command, content, tmp_path, capsys):
    (tmp_path / "deep.yaml").write_text(content)
    assert main([*command, "-c", str(tmp_path / "deep.yaml")]) == 2
    assert "is nested too deeply: more than 100 lists and mappings in each other." in capsys.readouterr().err


def test_values_and_other_spellings_of_the_option_are_looked_at(tmp_path):
    for word in ("[" * 30_000, f"--data.fields={'[' * 30_000}"):
        with pytest.raises(UserError, match="a value on the command line is nested too deeply"):
            check_arguments(["fit", "--x", word])
    (tmp_path / "deep.yaml").write_text(DEEP[0])
    with pytest.raises(UserError, match="nested too deeply"):
        check_arguments(["fit", f"--config={tmp_path / 'deep.yaml'}"])


def test_what_is_no_configuration_at_all(tmp_path):
    with open(tmp_path / "sparse.yaml", "wb") as file:
        file.truncate(6 << 30)
    with pytest.raises(UserError, match=f"more than {MOST_BYTES >> 20} MiB"):
        check_arguments(["-c", str(tmp_path / "sparse.yaml")])
    (tmp_path / "utf16.yaml").write_bytes("a: 1".encode("utf-16"))
    with pytest.raises(UserError, match="is not UTF-8"):
        check_arguments(["-c", str(tmp_path / "utf16.yaml")])


def test_ours_pass_and_what_is_missing_or_no_yaml_is_left_to_others(tmp_path):
    conf = Path(__file__).parents[2] / "conf"
    for path in conf.rglob("*.yaml"):
        check_arguments(["fit", "-c", str(path)])
    (tmp_path / "no.yaml").write_text("a: [" + "b, " * 200 + "}")
    check_arguments(["fit", "-c", str(tmp_path / "no.yaml"), "-c", "nowhere.yaml", "-c", str(tmp_path), "-c"])
