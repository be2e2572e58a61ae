from __future__ import annotations

from pathlib import Path

import pytest

from jasco_pl.studies.listening.folders import find_clips
from jasco_pl.system.errors import UserError


def touch(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"")


def test_recordings_are_found_where_an_evaluation_puts_them(tmp_path: Path) -> None:
    touch(tmp_path / "eval/1a2b/test/all-controls/piece.wav")
    touch(tmp_path / "eval/1a2b/test/no-control/piece.wav")
    touch(tmp_path / "eval/1a2b/test/no-control/piece.json")
    deep = tmp_path / "eval/1a2b/test/all-controls"
    assert find_clips(deep) == find_clips(tmp_path / "eval/all-controls") == {"piece": deep / "piece.wav"}
    with pytest.raises(UserError, match=r"several folders .*all-controls, .*no-control"):
        find_clips(tmp_path / "eval")
    touch(tmp_path / "eval/3c4d/test/all-controls/piece.wav")
    with pytest.raises(UserError, match="several folders"):
        find_clips(tmp_path / "eval/all-controls")
    with pytest.raises(UserError, match="there is no folder"):
        find_clips(tmp_path / "eval/some-controls")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="holds no audio"):
        find_clips(tmp_path / "empty")
