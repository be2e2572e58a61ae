from __future__ import annotations

import logging
import warnings

import pytest
import torch
import yaml
from lightning.pytorch.callbacks import ProgressBar
from recorder import jasco, read, recording

from jasco_pl.cli import main
from jasco_pl.system.locks import alone
from jasco_pl.training.checkpoint_io import load_checkpoint
from jasco_pl.training.cli import JascoCLI, quiet
from jasco_pl.training.progress import StepBar


@pytest.mark.slow
def test_a_first_run_and_a_second_say_what_they_do_and_nothing_else(tiny_training, tmp_path):
    """In a process of its own, because pytest catches warnings; with a loader process, because most warnings are about these."""
    arguments = ["fit", *tiny_training("run", "--data.workers", "1", "--trainer.max_steps", "6")]
    assert jasco(arguments, tmp_path / "first.txt") == 0
    first = (tmp_path / "first.txt").read_text()
    assert jasco([*arguments, "--trainer.max_steps", "8"], tmp_path / "second.txt") == 0
    second = (tmp_path / "second.txt").read_text()
    for output in (first, second):
        assert not any(word in output for word in ("Warning", "warn", "Tip:", "TPU", "Traceback", ".py:")), output
        assert f"training into {tmp_path / 'run'}" in output
        assert len(output.replace("\r", "\n").splitlines()) < 25
    assert "Restor" not in first
    assert f"Restored all states from the checkpoint at {tmp_path / 'run' / 'checkpoints' / 'last.ckpt'}" in second
    for output, last in ((first, "6/6"), (second, "8/8")):
        bar = output.replace("\r", "\n").splitlines()[-1]
        assert all(word in bar for word in (last, "loss=", "samples/s="))
    assert " 6/8 " in second  # the bar begins where the run goes on


def test_a_run_leaves_what_is_needed_to_repeat_resume_and_export_it(tiny_training, tmp_path, capsys):
    arguments = tiny_training("run", "--trainer.max_steps", "4", "--model.lr", "0.002")
    assert main(["fit", *arguments]) == 0
    run = tmp_path / "run"
    config = yaml.safe_load((run / "config.yaml").read_text())
    assert config["model"]["lr"] == 0.002
    assert config["model"]["config"]["transformer"]["width"] == 32
    assert sorted(path.name for path in (run / "checkpoints").iterdir()) == ["last.ckpt", "step=4.ckpt"]

    checkpoint = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)
    name = "transformer.output.weight"
    assert torch.equal(load_checkpoint(str(run / "checkpoints" / "last.ckpt")).state_dict()[name], checkpoint["ema"]["average"][name])
    live = load_checkpoint(str(run / "checkpoints" / "last.ckpt"), live=True).state_dict()
    assert torch.equal(live[name], checkpoint["state_dict"][f"model.{name}"])
    assert not torch.equal(live[name], checkpoint["ema"]["average"][name])
    assert main(["export", str(run / "checkpoints" / "last.ckpt"), "-o", str(tmp_path / "exported")]) == 0
    assert sorted(path.name for path in (tmp_path / "exported").iterdir()) == ["config.json", "model.safetensors"]

    capsys.readouterr()
    wider = [*arguments, "--model.config.transformer.width", "64", "--trainer.max_steps", "8"]
    assert main(["fit", *wider]) == 2
    error = capsys.readouterr().err
    assert "Traceback" not in error
    assert error.splitlines()[-1].startswith(
        f"jasco fit: the weights '{run / 'checkpoints' / 'last.ckpt'}' belong to another configuration: "
    )

    file = ["--ckpt_path", str(run / "checkpoints" / "step=4.ckpt")]
    assert main(["validate", *arguments, *file]) == 0
    assert main(["test", *arguments, *file]) == 0
    out = capsys.readouterr().out
    assert "valid/loss" in out
    assert "test/loss" in out


@pytest.mark.slow
def test_options_given_on_resume_hold(tiny_training, tmp_path):
    log = tmp_path / "log.txt"
    first = ("--trainer.max_steps", "4", "--model.lr", "1e-3")
    assert jasco(["fit", *tiny_training("run", recording(tmp_path / "first"), *first)], log) == 0, log.read_text()
    options = ("--model.lr", "0.5", "--model.ema_decay", "0.5", "--model.decay_steps", "40", "--trainer.max_steps", "6")
    file = ("--ckpt_path", str(tmp_path / "run" / "checkpoints" / "last.ckpt"))
    assert jasco(["fit", *tiny_training("run", recording(tmp_path / "second"), *options, *file)], log) == 0, log.read_text()
    assert [line["lr"] for line in read(tmp_path / "first")] == pytest.approx([5e-4, 7.5e-4, 1e-3, 1e-3])  # of the next step
    assert [line["lr"] for line in read(tmp_path / "second")] == pytest.approx([0.5 * 35 / 36, 0.5 * 34 / 36])


def bars(config: dict[str, object], command: str = "fit") -> list[ProgressBar]:
    """The progress bars of a trainer with these options."""
    cli = JascoCLI.__new__(JascoCLI)
    cli.subcommand, cli.trainer_defaults, cli.save_config_callback = command, {}, None
    cli.trainer_class = lambda **options: options["callbacks"]
    return [callback for callback in cli._instantiate_trainer(dict(config), []) if isinstance(callback, ProgressBar)]


class OtherBar(StepBar):
    pass


def test_the_step_bar_gives_way_to_another_or_none():
    assert [type(bar) for bar in bars({"callbacks": None})] == [StepBar]
    assert [type(bar) for bar in bars({"callbacks": [OtherBar()]})] == [OtherBar]
    assert bars({"callbacks": None, "enable_progress_bar": False}) == []
    assert bars({"callbacks": None}, "validate") == []


def test_only_what_is_understood_is_silenced(recwarn):
    quiet()
    warnings.warn("the loader does not have many workers which may be a bottleneck", stacklevel=1)
    warnings.warn("something new", stacklevel=1)
    assert [str(warning.message) for warning in recwarn.list] == ["something new"]
    log = logging.getLogger("lightning.pytorch.utilities.rank_zero")
    passed = [log.filter(logging.makeLogRecord({"msg": text})) for text in ("💡 Tip: buy this", "Restoring states")]
    assert [bool(answer) for answer in passed] == [False, True]


def test_a_run_reads_what_its_controls_need(tiny_training, tmp_path, capsys):
    controls = '{"drumless": {}, "drums_bandpass": {}, "painting": {}}'
    arguments = tiny_training("run", "--trainer.max_steps", "2", "--model.config.controls", controls, "--model.dropout", "null")
    assert main(["fit", *arguments]) == 0
    config = tmp_path / "run" / "config.yaml"
    assert "fields" not in yaml.safe_load(config.read_text())["data"]
    model = load_checkpoint(str(tmp_path / "run" / "checkpoints" / "last.ckpt"))
    assert model.controls.names == ["drumless", "drums_bandpass", "painting"]
    assert model.controls["painting"].silence.abs().min() > 0
    assert main(["fit", "-c", str(config), "--trainer.max_steps", "3"]) == 0  # what a run writes can be run
    capsys.readouterr()
    assert main(["fit", *arguments, "--model.dropout.exceptions", '{"paintng": 0.7}']) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert "exception for the condition 'paintng'; this model has: text, drumless, drums_bandpass, painting" in error


def test_a_second_training_of_one_folder_is_refused_and_touches_nothing(tiny_training, tmp_path, capsys):
    arguments = tiny_training("run", "--trainer.max_steps", "2")
    with alone(tmp_path / "run", "-"):
        before = sorted(tmp_path.rglob("*"))
        assert main(["fit", *arguments]) == 2
        assert f"another training is running in {str(tmp_path / 'run')!r}" in capsys.readouterr().err
        assert sorted(tmp_path.rglob("*")) == before
    assert main(["fit", *arguments]) == 0
    assert not (tmp_path / "run" / ".lock").exists()


def test_a_folder_of_checkpoints_that_two_runs_share_is_held_too(tiny_training, tmp_path, capsys):
    shared = str(tmp_path / "shared")
    arguments = tiny_training("run", "--trainer.callbacks", "[]", "--trainer.max_steps", "2")
    saver = "--trainer.callbacks+=lightning.pytorch.callbacks.ModelCheckpoint"
    with alone(shared, "-"):
        assert main(["fit", *arguments, saver, f"--trainer.callbacks.dirpath={shared}"]) == 2
    assert f"another training is running in {shared!r}" in capsys.readouterr().err


NONSENSE = [
    ("--trainer.gradient_clip_val", "-1"),
    ("--trainer.gradient_clip_val", ".nan"),
    ("--trainer.log_every_n_steps", "0"),
    ("--trainer.accumulate_grad_batches", "0"),
    ("--trainer.max_steps", "-2"),
    ("--trainer.devices", "-3"),
    ("--trainer.val_check_interval", "0"),
    ("--trainer.check_val_every_n_epoch", "0"),
    ("--seed_everything", str(2**40)),
    ("--model.lr", "-0.001"),
    ("--model.lr", ".nan"),
    ("--model.betas", "[2, 0.9]"),
    ("--model.betas", "[0.9, 2]"),
    ("--model.ema_decay", "2"),
    ("--model.warmup_steps", "-5"),
    ("--model.decay_steps", "0"),
    ("--model.sigma_min", "-1"),
    ("--model.dropout.each", ".nan"),
    ("--model.config.transformer.heads", "0"),
    ("--model.config.transformer.frames_per_token", "0"),
    ("--model.config.transformer.width", "1000000000"),
    ("--model.config.transformer.layers", "-2"),
    ("--model.config.transformer.convolution_groups", "0"),
    ("--model.config.control_gain", ".nan"),
    ("--model.config.latent_limit", "-1"),
    ("--model.config.guidance", "all=nan"),
    ("--model.config.guidance", "nothing=1"),
    ("--model.config.controls", '{"chords": {"dim": 0}}'),
    ("--model.config.controls", '{"drums": {"window": 1.0e9}}'),
    ("--data.batch_size", "1000000000"),
    ("--data.seconds", "1.0e9"),
    ("--data.seconds", ".nan"),
    ("--data.workers", "1000000"),
    ("--data.cache_gb", "0"),
]


@pytest.mark.parametrize(("option", "value"), NONSENSE)
def test_a_number_that_makes_no_sense_is_refused_before_data_are_touched(tiny_training, tmp_path, capsys, monkeypatch, option, value):
    monkeypatch.setattr("jasco_pl.data.datamodule.ShardReader", None)
    arguments = tiny_training("run", option, value)
    before = sorted(tmp_path.rglob("*"))
    capsys.readouterr()
    assert main(["fit", *arguments]) == 2
    error = capsys.readouterr().err
    assert "Traceback" not in error
    assert error.rstrip().splitlines()[-1].startswith("jasco fit: ")
    assert error.rstrip().endswith(".")
    assert sorted(tmp_path.rglob("*")) == before
