"""Bad input and bad surroundings through the command line: one sentence, exit code 1 or 2, nothing half-written."""

from __future__ import annotations

import os
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path

import lightning.pytorch  # noqa: F401  its log handler keeps the stderr of whoever imports it first: not that of a test
import pytest
import torch

from jasco_pl.cli import main
from jasco_pl.network.model import JascoModel
from jasco_pl.system import files


@pytest.fixture
def complains(capsys):
    """complains(arguments, *words, code=2): the command exits with the code; its last line on stderr is one sentence with the words."""

    def check(arguments: list[str], *words: str, code: int = 2) -> str:
        capsys.readouterr()
        assert main(arguments) == code
        error = capsys.readouterr().err
        assert "Traceback" not in error
        last = error.rstrip().splitlines()[-1]
        assert last.startswith(f"jasco {arguments[0]}: ")
        assert last.endswith(".")
        for word in words:
            assert word in last, last
        return error

    return check


def everything_in(folder: Path) -> set[Path]:
    return set(folder.rglob("*"))


@pytest.fixture
def exported(tiny_model_config, tmp_path) -> Path:
    """A checkpoint as `jasco fit` leaves it, as far as `jasco export` reads it."""
    from dataclasses import asdict

    model = JascoModel(tiny_model_config)
    path = tmp_path / "last.ckpt"
    state = {f"model.{name}": tensor for name, tensor in model.state_dict().items()}
    torch.save({"model_config": asdict(tiny_model_config), "state_dict": state}, path)
    return path


def test_commands_that_want_data_say_where_there_are_none(complains, tmp_path):
    nowhere = str(tmp_path / "nowhere")
    for arguments in (["shards", "info", nowhere], ["shards", "verify", nowhere]):
        complains(arguments, "no prepared data in", nowhere, "No such file or directory")
    complains(["shards", "build", "--pieces", nowhere, "--out", str(tmp_path / "out")], nowhere, "no composed pieces", "jasco compose")
    complains(["export", nowhere, "-o", str(tmp_path / "out")], "there is no checkpoint", nowhere)
    assert everything_in(tmp_path) == set()


def test_a_text_file_named_ckpt_is_one_sentence(complains, tmp_path):
    path = tmp_path / "text.ckpt"
    path.write_text("not a checkpoint")
    complains(["export", str(path), "-o", str(tmp_path / "out")], str(path), "is not a checkpoint of `jasco fit`")
    assert everything_in(tmp_path) == {path}


def test_a_target_below_a_file_is_one_sentence(complains, exported, tmp_path):
    before = everything_in(tmp_path)
    complains(["export", str(exported), "-o", str(exported / "out")], "a part of the path is a file, not a folder")
    assert everything_in(tmp_path) == before


def test_a_target_without_permission_is_one_sentence(complains, exported, tmp_path, monkeypatch):
    """As root every folder can be written, so the refusal comes from the call itself."""

    def refuse(*args: object, **options: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(files.tempfile, "mkstemp", refuse)
    complains(["export", str(exported), "-o", str(tmp_path / "out")], "no permission to write there", str(tmp_path / "out"))
    assert not any((tmp_path / "out").glob("*"))


@pytest.fixture
def mounted(tmp_path) -> Iterator[Path]:
    """A file system of 256 KiB."""
    folder = tmp_path / "small"
    folder.mkdir()
    if os.geteuid() != 0 or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", folder], capture_output=True).returncode:
        pytest.skip("a small file system cannot be mounted here (that takes root)")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


def test_a_full_disk_is_one_sentence_and_leaves_nothing(complains, exported, mounted, tiny_training, tmp_path):
    complains(["export", str(exported), "-o", str(mounted / "out")], "the disk is full", str(mounted / "out"))
    assert not any((mounted / "out").glob("*"))
    # a training: its log still fits, its first checkpoint does not
    overrides = ("--trainer.max_steps", "2", "--trainer.logger.init_args.save_dir", str(mounted))
    complains(["fit", *tiny_training("run", *overrides)], "the disk is full", str(mounted / "run" / "checkpoints"))
    assert not any((mounted / "run" / "checkpoints").glob("*"))


def test_a_read_only_file_system_is_one_sentence(complains, exported, mounted, tiny_training):
    subprocess.run(["mount", "-o", "remount,ro", mounted], check=True)
    complains(["export", str(exported), "-o", str(mounted / "out")], "the file system is read-only")
    complains(
        ["fit", *tiny_training("run", "--trainer.logger.init_args.save_dir", str(mounted))], "the file system is read-only", str(mounted)
    )


def test_shards_that_do_not_fit_on_the_disk_leave_the_finished_ones(complains, mounted, tiny_codec_folder, tmp_path):
    numpy = pytest.importorskip("numpy")
    soundfile = pytest.importorskip("soundfile")
    pieces = tmp_path / "pieces"
    pieces.mkdir()
    for number in range(12):
        for stem in ("mix", "drums", "drumless"):
            noise = numpy.random.default_rng(number).standard_normal(64_000) * 0.1
            soundfile.write(pieces / f"p{number:02d}.{stem}.flac", noise, 32_000)
        note = f'{{"id": "p{number:02d}", "chords": [["C", 0.0]], "melody": [], "captions": ["noise"]}}'
        (pieces / f"p{number:02d}.json").write_text(note)
    command = [
        "shards",
        "build",
        "--pieces",
        str(pieces),
        "--out",
        str(mounted),
        "--codec",
        str(tiny_codec_folder),
        "--pieces-per-shard",
        "1",
    ]
    complains(command, "the disk is full", str(mounted))
    names = sorted(path.name for path in mounted.iterdir())
    assert "shard-00000.safetensors" in names
    assert not [name for name in names if ".part" in name]
    assert "index.json" not in names
    complains(["shards", "info", str(mounted)], "no prepared data")


def test_a_training_without_data_writes_nothing(complains, tiny_training, tmp_path):
    arguments = ["fit", *tiny_training("run", "--data.train", str(tmp_path / "nowhere"))]
    before = everything_in(tmp_path)
    complains(arguments, "no prepared data in", str(tmp_path / "nowhere"))
    assert everything_in(tmp_path) == before


def damage(path: Path, kind: str) -> None:
    data = bytearray(path.read_bytes())
    start = 8 + struct.unpack("<Q", data[:8])[0]
    if kind == "flipped":
        for offset in range(start, len(data), 40):  # every sample that may be read first
            data[offset] ^= 1
        path.write_bytes(data)
    elif kind == "truncated":
        path.write_bytes(data[:-1])
    else:
        path.unlink()


@pytest.mark.parametrize(("kind", "words"), [("flipped", "checksum"), ("truncated", "truncated"), ("missing", "missing")])
def test_a_training_on_damaged_shards_names_the_file(complains, tiny_training, tmp_path, kind, words):
    arguments = ["fit", *tiny_training("run", "--trainer.max_steps", "5", "--data.workers", "1")]
    for path in sorted((tmp_path / "train").glob("*.safetensors"))[: 1 if kind != "flipped" else None]:
        damage(path, kind)
    complains(arguments, words, str(tmp_path / "train"), ".safetensors")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--data.batch_size", "0"], ["batch_size"]),
        (["--model.config.controls", '{"tempo": {}}', "--model.dropout", "null"], ["'tempo' is unknown"]),
        (["--model.config.transformer.layers", "3"], ["layers must be even, not 3"]),
        (["--model.config.codebook_size", "17"], ["16 codebook entries", "17"]),
        (["--model.config.codec", "no/such/codec"], ["no/such/codec"]),
        (["--model.config.text_encoder", "no/such/encoder"], ["no/such/encoder"]),
        (["--trainer.strategy", "nonsense"], ["nonsense"]),
        (["--ckpt_path", "no/such.ckpt"], ["there is no checkpoint", "no/such.ckpt"]),
    ],
)
def test_a_training_with_options_that_cannot_be_is_one_sentence(complains, tiny_training, options, words):
    complains(["fit", *tiny_training("run"), *options], *words)


def test_an_option_that_does_not_exist_is_named(tiny_training, capsys):
    with pytest.raises(SystemExit) as caught:
        main(["fit", *tiny_training("run"), "--model.learning_rate", "3"])
    assert caught.value.code == 2
    assert "model.learning_rate" in capsys.readouterr().err


def test_a_damaged_last_checkpoint_is_one_sentence(complains, tiny_training, tmp_path):
    path = tmp_path / "run" / "checkpoints" / "last.ckpt"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"PK\x03\x04 not whole")
    complains(["fit", *tiny_training("run")], str(path), "damaged")
    assert path.read_bytes() == b"PK\x03\x04 not whole"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--text", "caf\udce9 jazz"], "is not UTF-8"),
        (["--text", "x", "-o", "n" * 264], "longer than the file system takes"),
        (["--text", "x", "-o", "n" * 264 + ".wav"], "File name too long"),
        (["--drums", "n" * 264 + ".wav"], "File name too long"),
        (["--melody", "n" * 264 + ".mid"], "File name too long"),
        (["--checkpoint", "n" * 264], "n" * 264),
        (["-n", "0"], "from 1 to"),
        (["-n", "1000000000"], "from 1 to"),
        (["--guidance", "all=nan"], "from -1000 to 1000"),
        (["--seconds", "nan"], "seconds"),
    ],
)
def test_what_cannot_be_made_is_one_sentence(complains, tmp_path, monkeypatch, arguments, words):
    monkeypatch.chdir(tmp_path)
    complains(["generate", *arguments], words)
    assert everything_in(tmp_path) == set()
