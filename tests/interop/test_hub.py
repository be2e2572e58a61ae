from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import audiocraft_files as files
import pytest
import torch
from audiocraft_files import Toy
from hub_server import SHA, Hub, serving

from jasco_pl.cli import main
from jasco_pl.generation.jasco import Jasco, Request
from jasco_pl.interop.hub import checkpoint_folder, is_hub_id
from jasco_pl.network.flow.solver import SolverConfig
from jasco_pl.network.model import JascoModel, ModelConfig
from jasco_pl.network.text import TextEncoder
from jasco_pl.system.errors import UserError

RELEASED = "facebook/jasco-toy-400M"
QUICK = SolverConfig("euler", steps=1)


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A Hub with nothing on it, empty caches, and a token that may write."""
    from huggingface_hub import constants

    with serving(Hub()) as found:
        for name, value in {
            "ENDPOINT": found.url,
            "HUGGINGFACE_CO_URL_TEMPLATE": found.url + "/{repo_id}/resolve/{revision}/{filename}",
            "HF_HUB_OFFLINE": False,
            "HF_HUB_CACHE": str(tmp_path / "hub"),
            "HF_TOKEN_PATH": str(tmp_path / "no-token"),
        }.items():
            monkeypatch.setattr(constants, name, value)
        monkeypatch.setenv("HF_TOKEN", found.token)
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
        yield found


def release(hub: Hub, folder: Path, toy: Toy, name: str = RELEASED) -> None:
    hub.files[name] = {path.name: path.read_bytes() for path in files.write(folder, toy).iterdir()}
    hub.files[name] |= {"README.md": b"---\nlicense: cc-by-nc-4.0\n---\n", "demo.wav": bytes(5000)}


@pytest.fixture
def toy(tiny_text_folder: Path) -> Toy:
    return Toy(text_encoder=str(tiny_text_folder))


def test_a_released_checkpoint_is_fetched_and_converted_once(hub: Hub, tmp_path: Path, toy: Toy, monkeypatch: pytest.MonkeyPatch) -> None:
    release(hub, tmp_path / "released", toy)
    jasco = Jasco.from_pretrained(RELEASED)
    fetched = {path.split("/resolve/")[1].split("/")[1] for path in hub.asked if path.startswith("GET") and "/resolve/" in path}
    assert fetched == {"state_dict.bin", "compression_state_dict.bin", "README.md"}  # and not what it has besides
    (kept,) = (path for path in (tmp_path / "cache/jasco_pl/released").iterdir() if path.is_dir())
    assert kept.name.startswith("facebook--jasco-toy-400M-")
    assert f"base_model: {RELEASED}\n" in (kept / "README.md").read_text()
    clip, written = jasco.generate(Request("piano", chords="C"), solver=QUICK)[0], (kept / "model.safetensors").stat().st_mtime_ns

    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)  # from now on without the Hub
    again = Jasco.from_pretrained(RELEASED, compat="audiocraft")
    assert (kept / "model.safetensors").stat().st_mtime_ns == written
    assert again.model.config == jasco.model.config
    torch.testing.assert_close(jasco.generate(Request("piano", chords="C"), solver=QUICK)[0].latents, clip.latents)


def test_other_files_are_converted_anew(tmp_path: Path, toy: Toy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folder = files.write(tmp_path / "released", toy)
    first = checkpoint_folder(folder)
    assert checkpoint_folder(folder) == first
    files.write(folder, toy, seed=1)
    second = checkpoint_folder(str(folder))
    assert second != first
    one, two = (JascoModel.from_pretrained(found).transformer.embed.weight for found in (first, second))
    assert not torch.equal(one, two)


def test_a_conversion_that_fails_leaves_nothing(tmp_path: Path, toy: Toy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folder = files.write(tmp_path / "released", toy)
    (folder / "state_dict.bin").write_bytes((folder / "state_dict.bin").read_bytes()[:-100])
    with pytest.raises(UserError, match="is cut off"):
        checkpoint_folder(folder)
    assert [path.suffix for path in (tmp_path / "cache/jasco_pl/released").iterdir()] == [".lock"]


def test_import_takes_a_hub_id(hub: Hub, tmp_path: Path, toy: Toy, capsys: pytest.CaptureFixture[str]) -> None:
    release(hub, tmp_path / "released", toy)
    assert main(["import", RELEASED, "-o", str(tmp_path / "imported"), "--revision", SHA]) == 0
    assert json.loads((tmp_path / "imported" / "import.json").read_text())["source"] == RELEASED
    assert main(["import", RELEASED, "-o", str(tmp_path / "other"), "--revision", "v2"]) == 2
    assert f"repository '{RELEASED}' has no revision 'v2'" in capsys.readouterr().err


def one_sentence(name: str, said: str) -> None:
    with pytest.raises(UserError, match=said) as caught:
        Jasco.from_pretrained(name)
    assert "\n" not in str(caught.value)


def test_what_the_hub_does_not_give_is_one_sentence(hub: Hub, tmp_path: Path, toy: Toy, monkeypatch: pytest.MonkeyPatch) -> None:
    release(hub, tmp_path / "released", toy)
    hub.gated.add(RELEASED)
    one_sentence(RELEASED, f"repository '{RELEASED}' is gated: accept its conditions at https://huggingface.co/{RELEASED}, then .*HF_TOKEN")
    one_sentence("facebook/jasco-none", "the Hub has no repository 'facebook/jasco-none' that may be read here; a private one needs")
    hub.files["someone/empty"] = {"notes.txt": b"hello"}
    one_sentence("someone/empty", "no JASCO checkpoint in .*someone.*empty")

    from huggingface_hub import constants

    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    one_sentence(
        "facebook/jasco-1B",
        r"'facebook/jasco-1B' is not available: it is no local folder, .*HF_HOME.*, and the Hub cannot be reached \(.*\); a folder with",
    )
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    one_sentence("facebook/jasco-1B", "and the Hub cannot be reached .*HF_HUB_OFFLINE")


def test_which_names_mean_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs").mkdir()
    ids = ("facebook/jasco-chords-drums-400M", "some.one/my_model")
    paths = ("runs/mine", "checkpoints/jasco-nowhere", "/abs/path", "../up", "./here", "a/b/c", "nowhere", "")
    assert [name for name in (*ids, *paths) if is_hub_id(name)] == list(ids)


@pytest.fixture
def mine(tmp_path: Path, tiny_model_config: ModelConfig, tiny_text_folder: Path, tiny_codec_folder: Path) -> Path:
    """A checkpoint of this project with the codec beside it and a card with a licence."""
    tiny_model_config.text_encoder, tiny_model_config.text_dim, tiny_model_config.codec = str(tiny_text_folder), 32, "somewhere/codec-tiny"
    folder = tmp_path / "mine"
    JascoModel(tiny_model_config).save_pretrained(folder)
    shutil.copytree(tiny_codec_folder, tmp_path / "codec-tiny")
    (folder / "README.md").write_text("---\nlicense: mit\n---\n# mine\n\n<!-- figures: -->\n<!-- end -->\n")
    return folder


def test_what_is_pushed_loads_from_the_hub(hub: Hub, mine: Path, tmp_path: Path) -> None:
    jasco = Jasco.from_pretrained(mine)
    assert jasco.push_to_hub("someone/model", private=True).endswith("someone/model")
    pushed = ["README.md", "codec/codec.safetensors", "codec/config.json", "config.json", "model.safetensors"]
    assert sorted(hub.files["someone/model"]) == pushed
    assert hub.private == {"someone/model": True}
    assert hub.files["someone/model"]["README.md"].startswith(b"---\nlicense: mit\n")
    again = Jasco.from_pretrained("someone/model")
    assert again.model.config.codec == "codec"
    for request in (Request("piano", chords="C", seed=2), Request()):
        clips = [one.generate(request, solver=QUICK)[0].audio for one in (jasco, again)]
        torch.testing.assert_close(*clips)


def test_push_writes_the_numbers_as_asked(hub: Hub, mine: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["push", str(mine), "someone/model", "--dtype", "float16"]) == 0
    assert "published " in capsys.readouterr().out
    assert len(hub.files["someone/model"]["model.safetensors"]) < 0.6 * (mine / "model.safetensors").stat().st_size
    assert hub.private == {"someone/model": False}


def test_publishing_that_is_refused_is_one_sentence(
    hub: Hub, mine: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import constants

    monkeypatch.setenv("HF_TOKEN", "hf_reads")
    assert main(["push", str(mine), "someone/model"]) == 2
    assert "does not let this token write to 'someone/model'" in capsys.readouterr().err
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert main(["push", str(mine), "someone/model"]) == 2
    assert "'someone/model' cannot be published: the Hub cannot be reached" in capsys.readouterr().err
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    assert main(["push", str(mine), "someone/model"]) == 2
    error = capsys.readouterr().err
    assert "cannot be published: the Hub cannot be reached" in error
    assert len(error.splitlines()) == 1
    assert main(["push", str(mine), "no good name"]) == 2
    assert "'no good name' is no Hub id" in capsys.readouterr().err


def test_a_model_without_a_card_gets_a_first_one(mine: Path, tmp_path: Path, tiny_codec_folder: Path) -> None:
    (mine / "README.md").unlink()
    jasco = Jasco.from_pretrained(mine)
    jasco.save_pretrained(tmp_path / "saved")
    card = (tmp_path / "saved" / "README.md").read_text()
    assert "<!-- figures: -->" in card
    (tmp_path / "saved" / "README.md").write_text("by hand")
    jasco.save_pretrained(tmp_path / "saved")
    assert (tmp_path / "saved" / "README.md").read_text() == "by hand"
    assert isinstance(jasco.text_encoder, TextEncoder)
