from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pooch import file_hash

from jasco_pl.system.errors import UserError
from jasco_pl.system.resources import fetch

SAID = ("none is here", "look for it")


def test_a_file_comes_whole_or_not_at_all(published: Any, tmp_path: Path) -> None:
    (published.folder / "weights.bin").write_bytes(b"x" * 5_000_000)
    target, url = tmp_path / "cache" / "weights.bin", f"{published.url}/weights.bin"
    with pytest.raises(UserError, match=r"is not the file of that name: its sha256 is .*, expected was 00"):
        fetch(url, target, "00", *SAID)
    assert not list(target.parent.iterdir())
    assert fetch(url, target, file_hash(str(published.folder / "weights.bin"))[:8], *SAID) == target
    assert target.stat().st_size == 5_000_000


def test_why_nothing_came(published: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match="404"):
        fetch(f"{published.url}/absent.bin", tmp_path / "cache" / "absent.bin", "", *SAID)
    with pytest.raises(
        UserError,
        match=r"^none is here and cannot be fetched \(Connection refused\): download http://127\.0\.0\.1:9/absent\.bin and look for it\.$",
    ):
        fetch("http://127.0.0.1:9/absent.bin", tmp_path / "cache" / "absent.bin", "", *SAID)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(UserError, match="HF_HUB_OFFLINE is set"):
        fetch(f"{published.url}/absent.bin", tmp_path / "cache" / "absent.bin", "", *SAID)
    assert not list((tmp_path / "cache").iterdir())
