from __future__ import annotations

import copy
import json
import os
import pickle
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import audiocraft_files as files
import pytest
import torch
from audiocraft_files import CODEC, CONDITIONERS, Toy
from safetensors.torch import load_file

from jasco_pl.cli import main
from jasco_pl.codec import load_codec
from jasco_pl.codec.encodec import EncodecCodec
from jasco_pl.controls import AudioControl
from jasco_pl.generation.jasco import Jasco, Request
from jasco_pl.interop.chord_order import AUDIOCRAFT_LABELS, rows_in_our_order, to_ours
from jasco_pl.interop.released import read_released
from jasco_pl.interop.translate import translate
from jasco_pl.interop.xp_config import XpConfig
from jasco_pl.network.flow.solver import SolverConfig
from jasco_pl.network.model import JascoModel
from jasco_pl.notation import harmony


@pytest.fixture
def toy(tiny_text_folder: Path) -> Toy:
    return Toy(text_encoder=str(tiny_text_folder))


@pytest.fixture
def folder(tmp_path: Path, toy: Toy) -> Path:
    return files.write(tmp_path / "released", toy)


def changed(folder: Path, change: Callable[[dict[str, Any]], object]) -> Path:
    """The same files with something else in state_dict.bin."""
    package = torch.load(folder / "state_dict.bin", weights_only=True)
    change(package)
    torch.save(package, folder / "state_dict.bin")
    return folder


def refused(capsys: pytest.CaptureFixture[str], source: Path | str, out: Path) -> str:
    """What `jasco import` says of a source that it cannot take; nothing is left of the attempt."""
    before = sorted(out.parent.iterdir())
    assert main(["import", str(source), "-o", str(out)]) == 2
    error = capsys.readouterr().err
    assert len(error.splitlines()) == 1
    assert not out.exists()
    assert sorted(out.parent.iterdir()) == before
    return error


def test_a_folder_becomes_a_checkpoint_that_makes_music(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "imported"
    assert main(["import", str(folder), "-o", str(out)]) == 0
    said = capsys.readouterr().out
    assert "2 layers, width 32, 4 heads; controls: chords, drums, melody" in said
    assert "codec: from inside the checkpoint" in said
    assert "CC-BY-NC 4.0" in said
    assert sorted(path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()) == [
        "README.md",
        "config.json",
        "encodec/config.json",
        "encodec/model.safetensors",
        "import.json",
        "model.safetensors",
    ]
    card = (out / "README.md").read_text()
    assert card.startswith("---\nlicense: cc-by-nc-4.0\n")
    assert "base_model" not in card  # it came from a folder
    assert str(tmp_path) not in card
    jasco = Jasco.from_pretrained(out)
    assert (jasco.codec.sample_rate, jasco.codec.dim, jasco.text_encoder.dim) == (32000, 16, 32)
    assert jasco.model.config.guidance == "all=3 text=1"
    requests = [Request("piano", chords="C Am", seed=1), Request("piano", chords="C F", seed=1), Request(seed=1)]
    clips = jasco.generate(requests, solver=SolverConfig("euler", steps=3))
    assert clips[0].audio.shape == (1, 32000)
    assert all(torch.isfinite(clip.audio).all() for clip in clips)
    assert (clips[0].latents - clips[1].latents).abs().max() > 1e-2


def test_every_number_is_where_it_belongs(folder: Path, toy: Toy) -> None:
    released = read_released(folder)
    before = copy.deepcopy(released.state)
    found = translate(released)
    model = found.model()
    assert found.names.keys() == before.keys()
    assert model.config.controls == {"chords": {"dim": 16}, "drums": {"dim": 2, "window": 3}, "melody": {"dim": 16}}
    layer = model.transformer.layers[1]
    rows = before["transformer.layers.1.cross_attention.in_proj_weight"]
    assert torch.equal(layer.cross_attention.query.weight, rows[:32])  # type: ignore[union-attr]
    assert torch.equal(layer.cross_attention.key_value.weight, rows[32:])  # type: ignore[union-attr]
    assert torch.equal(model.transformer.time_embedding.output.weight, before["temb_proj.weight"])
    table = model.controls["chords"].embedding.weight  # type: ignore[union-attr]
    theirs = before[f"{CONDITIONERS}.chords.emb.weight"]
    for label in ("N", "C", "Am7", "D/F#", "UNK"):
        assert torch.equal(table[harmony.index(label)], theirs[AUDIOCRAFT_LABELS.index(label)])
    assert torch.equal(table[harmony.NULL], theirs[194])
    assert float(model.latent_mean[0]) == -0.5
    assert float(model.latent_std[0]) == 2.0
    drums = model.controls["drums"]
    assert isinstance(drums, AudioControl)
    assert torch.equal(drums.codebook, before[f"{CODEC}.quantizer.layers.0.codebook.embed"])  # as it is, not normalised


def test_the_order_of_chords_is_audiocrafts() -> None:
    assert sorted(AUDIOCRAFT_LABELS) == sorted(harmony.LABELS)
    known = {"N": 0, "F": 1, "C": 2, "Bb": 3, "G7": 9, "Em": 22, "Cmaj7": 23, "Am7": 26, "D/F#": 50, "UNK": 193}
    assert {label: AUDIOCRAFT_LABELS.index(label) for label in known} == known
    ours = to_ours(torch.tensor([[2, 50], [0, 194]]))
    assert ours.tolist() == [[harmony.index("C"), harmony.index("D/F#")], [harmony.N, harmony.NULL]]
    assert torch.equal(to_ours(rows_in_our_order()), torch.arange(195))


def test_the_codec_inside_is_the_same(folder: Path, toy: Toy, tmp_path: Path) -> None:
    assert main(["import", str(folder), "-o", str(tmp_path / "imported")]) == 0
    codec = load_codec("encodec", beside=tmp_path / "imported")
    assert isinstance(codec, EncodecCodec)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        original = files.encodec(toy)
    weights = read_released(folder).state
    original.load_state_dict({name.removeprefix(f"{CODEC}."): value for name, value in weights.items() if name.startswith(CODEC)})
    wav = torch.randn(1, 1, 6400)
    with torch.no_grad():
        torch.testing.assert_close(codec.encode(wav), original.encoder(wav).transpose(1, 2))
        latents = torch.randn(1, 10, 16)
        torch.testing.assert_close(codec.decode(latents), original.decoder(latents.transpose(1, 2)))
    assert len(codec.model.quantizer.layers) == len(original.quantizer.layers)


def old_norms(package: dict[str, Any]) -> None:
    for name in [*package["best_state"]]:
        new = name.replace("parametrizations.weight.original0", "weight_g").replace("parametrizations.weight.original1", "weight_v")
        package["best_state"][new] = package["best_state"].pop(name)


def other_attention(package: dict[str, Any]) -> None:
    for name in [*package["best_state"]]:
        new = name.replace("attn.", "attn.mha.").replace("cross_attention.", "cross_attention.mha.")
        package["best_state"][new] = package["best_state"].pop(name)


def halves(package: dict[str, Any]) -> None:
    package["best_state"] = {
        name: value if "codec" in name or "compression" in name else value.half() for name, value in package["best_state"].items()
    }


@pytest.mark.parametrize("change", [old_norms, other_attention, halves], ids=["old weight norms", "other attention", "half precision"])
def test_files_may_be_written_otherwise(change: Callable[[dict[str, Any]], None], folder: Path, tmp_path: Path) -> None:
    assert main(["import", str(folder), "-o", str(tmp_path / "one")]) == 0
    assert main(["import", str(changed(folder, change)), "-o", str(tmp_path / "two")]) == 0
    for name in ("model.safetensors", "encodec/model.safetensors"):
        one, two = (load_file(tmp_path / which / name) for which in ("one", "two"))
        for key, value in one.items():
            assert two[key].dtype == value.dtype
            torch.testing.assert_close(two[key], value, atol=2e-3, rtol=1e-3)


def test_a_model_without_drums_points_to_its_codec(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = files.write(tmp_path / "released", Toy(conditions=("chords",)))
    for out in ("one", "two"):
        assert main(["import", str(folder), "-o", str(tmp_path / out)]) == 0
        assert json.loads((tmp_path / out / "config.json").read_text())["codec"] == "facebook/encodec_32khz"
        assert not (tmp_path / out / "encodec").exists()
        (folder / "compression_state_dict.bin").unlink(missing_ok=True)  # the configuration names it, too
    assert "facebook/encodec_32khz, to which the checkpoint points" in capsys.readouterr().out


def test_a_drums_model_whose_codec_lies_elsewhere(folder: Path, tmp_path: Path, toy: Toy) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(5)
        elsewhere = files.encodec(toy)
    elsewhere.save_pretrained(tmp_path / "elsewhere")
    changed(folder, lambda package: [package["best_state"].pop(name) for name in [*package["best_state"]] if name.startswith(CODEC)])
    torch.save({"pretrained": str(tmp_path / "elsewhere"), "exported": True}, folder / "compression_state_dict.bin")
    assert main(["import", str(folder), "-o", str(tmp_path / "imported")]) == 0
    model = JascoModel.from_pretrained(tmp_path / "imported")
    assert model.config.codec == str(tmp_path / "elsewhere")
    assert torch.equal(model.state_dict()["controls.drums.codebook"], elsewhere.quantizer.layers[0].codebook.embed)


def test_weights_are_readable_without_this_package(folder: Path, tmp_path: Path) -> None:
    assert main(["import", str(folder), "-o", str(tmp_path / "imported"), "--dtype", "float16"]) == 0
    program = (
        "import json, sys; from safetensors.numpy import load_file; w = load_file(sys.argv[1] + '/model.safetensors'); "
        "c = json.load(open(sys.argv[1] + '/config.json')); assert 'jasco_pl' not in sys.modules and 'torch' not in sys.modules; "
        "print(w['transformer.embed.weight'].dtype, w['transformer.embed.weight'].shape[0] == c['transformer']['width'])"
    )
    done = subprocess.run([sys.executable, "-c", program, str(tmp_path / "imported")], capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "float16 True", done.stderr


def test_what_is_written_again_and_what_is_left_alone(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "imported"
    for _ in range(2):
        assert main(["import", str(folder), "-o", str(out)]) == 0
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "config.json").write_text("{}")
    assert main(["import", str(folder), "-o", str(mine)]) == 2
    assert "holds something that `jasco import` did not write" in capsys.readouterr().err
    assert [path.name for path in mine.iterdir()] == ["config.json"]


class Hostile:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, ("hacked",)


@pytest.mark.parametrize("protocol", [2, 4])
def test_a_pickled_class_is_refused_by_name_and_not_run(
    protocol: int, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    package = {**files.package(Toy(conditions=())), "extra": Hostile()}
    torch.save(package, folder / "state_dict.bin", pickle_protocol=protocol)
    assert "asks for the pickled class posix.mkdir" in refused(capsys, folder, tmp_path / "imported")
    (folder / "state_dict.bin").write_bytes(pickle.dumps(package["extra"], protocol))
    refused(capsys, folder, tmp_path / "imported")
    torch.save({"pretrained": Hostile()}, folder / "compression_state_dict.bin")
    torch.save(files.package(Toy(conditions=())), folder / "state_dict.bin")
    assert "compression_state_dict.bin' asks for the pickled class posix.mkdir" in refused(capsys, folder, tmp_path / "imported")
    assert not (tmp_path / "hacked").exists()


def test_damaged_files_and_others(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, path = tmp_path / "imported", folder / "state_dict.bin"
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    assert "state_dict.bin' is cut off: its end is missing" in refused(capsys, folder, out)
    path.write_bytes(whole)
    torch.save(files.package(Toy(conditions=())), path, _use_new_zipfile_serialization=False)
    old = path.read_bytes()
    path.write_bytes(old[: len(old) // 2])
    assert "is cut off, damaged or no file of torch.save" in refused(capsys, folder, out)
    for content in (b"", b"no file of torch", b"PK"):
        path.write_bytes(content)
        assert "is cut off" in refused(capsys, folder, out)
    torch.save([1, 2], path)
    assert "holds a list, where audiocraft's mapping" in refused(capsys, folder, out)
    torch.save({"best_state": {"a": 1}}, path)
    assert "holds no weights under 'best_state'" in refused(capsys, folder, out)
    path.unlink()
    assert "holds no state_dict.bin" in refused(capsys, folder, out)
    assert "there is no file" in refused(capsys, tmp_path / "nowhere.bin", out)
    assert main(["import", str(folder), "-o", str(tmp_path / "no" / "such" / "folder")]) == 2


def set_xp(text: str) -> Callable[[dict[str, Any]], None]:
    return lambda package: package.__setitem__("xp.cfg", text)


def put(name: str, *shape: int) -> Callable[[dict[str, Any]], None]:
    return lambda package: package["best_state"].__setitem__(name, torch.zeros(shape))


def more(**values: Any) -> Callable[[dict[str, Any]], None]:
    return set_xp(files.config(Toy(more=values)))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda package: package["best_state"].pop("transformer.layers.1.norm2.bias"), "it lacks transformer.layers.1.norm2.bias"),
        (lambda package: package["best_state"].pop("emb.weight"), "it lacks emb.weight"),
        (lambda package: package["best_state"].pop(f"{CONDITIONERS}.description.output_proj.weight"), "it lacks .*description"),
        (
            lambda package: package["best_state"].pop(f"{CONDITIONERS}.melody.output_proj.weight"),
            "emb.weight takes 50 channels.* 16 \\+ 18",
        ),
        (put("transformer.layers.0.self_attn.in_proj_bias", 96), r"it has transformer.layers.0.self_attn.in_proj_bias \[96\], which none"),
        (put("transformer.skip_projections.0.weight", 32, 64), r"it has transformer.skip_projections.0.weight \[32, 64\], which none"),
        (put("transformer.layers.0.linear1.weight", 100, 32), r"linear2.weight is \[32, 128\], where \[32, 100\] is expected"),
        (put("transformer.layers.1.self_attn.in_proj_weight", 64, 32), r"in_proj_weight is \[64, 32\], where \[96, 32\] is expected"),
        (put(f"{CONDITIONERS}.chords.emb.weight", 30, 16), r"chords.emb.weight is \[30, 16\], where \[195, 16\] is expected"),
        (put(f"{CONDITIONERS}.melody.output_proj.weight", 16, 12), r"melody.output_proj.weight is \[16, 12\], where \[16, 53\]"),
        (put("transformer.layers.last.norm1.bias", 32), "it has transformer.layers.last.norm1.bias"),
        (put("transformer.layers.7.norm1.bias", 32), "it lacks transformer.layers.2.norm1.weight"),
        (put("temb.dense.0.weight", 12, 3), "takes 3 sinusoids"),
        (put(f"{CODEC}.quantizer.layers.0.codebook.embed", 32, 9), "its codec has no codebook .* 16 channels"),
        (lambda package: package["best_state"].pop(f"{CODEC}.quantizer.layers.0.codebook.embed"), "its codec has no codebook"),
        (lambda package: package["best_state"].update({3: torch.zeros(1)}), "holds no weights"),
        (put("emb.weight", 32), r"emb.weight has the shape \[32\]"),
        (put(f"{CODEC.rpartition('.')[0]}.encoder.model.0.weight", 3), "audiocraft's own"),
        (put(f"{CODEC}.encoder.layers.0.conv.bias", 3), "the EnCodec inside the checkpoint is not of the kind"),
        (lambda package: package.pop("xp.cfg"), "xp.cfg.* of type NoneType"),
        (set_xp("a: ["), "xp.cfg.* cannot be read"),
        (set_xp("- 1"), "it holds no keys"),
        (set_xp("a: 1"), "does not say transformer_lm.num_heads, where a number is needed"),
        (more(num_heads="many"), "says 'many' for transformer_lm.num_heads"),
        (more(num_heads=5), "width of 32 .*5 heads"),
        (more(causal=True), "transformer_lm.causal: True, where the released ones have False"),
        (more(positional_embedding="rope"), "positional_embedding: 'rope', where the released ones have 'sin'"),
    ],
)
def test_what_fits_no_variant_is_named(
    change: Callable[[dict[str, Any]], object], said: str, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert re.search(said, refused(capsys, changed(folder, change), tmp_path / "imported"))


def test_audiocrafts_own_codec_alone_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    toy = Toy(conditions=("chords",))
    folder = files.write(tmp_path / "released", toy, codec={"best_state": {"a": torch.zeros(1)}, "xp.cfg": "a: 1"})
    changed(folder, lambda package: package.update({"xp.cfg": package["xp.cfg"].replace(files.POINTER, "//sig/1234")}))
    assert "is audiocraft's own EnCodec, which is not read" in refused(capsys, folder, tmp_path / "imported")


@pytest.mark.parametrize(
    ("text", "path", "value"),
    [
        ("a: {b: 3}\nc: ${a.b}\nd: ${c}", "d", 3),
        ("a: {b: 3}\nc: ${a}", "c.b", 3),
        ("a: ${a}", "a", "default"),
        ("a: ${oc.env:USER}", "a", "default"),
        ("a: '???'", "a", "default"),
        ("a: {b: null}", "a.b", None),
        ("a: 1", "a.b", "default"),
        ("a: ${nowhere}", "a", "default"),
    ],
)
def test_references_are_followed(text: str, path: str, value: Any) -> None:
    assert XpConfig(text, "here").get(path, "default") == value
