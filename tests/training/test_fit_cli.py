from __future__ import annotations

import json
import logging
import warnings
from pathlib import Path

import pytest
import torch
import yaml
from lightning.pytorch.callbacks import ProgressBar
from recorder import jasco, read, recording

from jasco_pl.cli import main
from jasco_pl.data.shards import write_index, write_shard
from jasco_pl.system.locks import alone
from jasco_pl.training.checkpoint_io import load_checkpoint
from jasco_pl.training.cli import JascoCLI, Unstarted, quiet
from jasco_pl.training.progress import StepBar

ROOT = Path(__file__).parents[2]


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
        bar, done, export = output.replace("\r", "\n").splitlines()[-3:]
        assert f"{last[0]} steps are done: {tmp_path / 'run' / 'checkpoints' / 'last.ckpt'}" in done
        assert f"jasco export {tmp_path / 'run' / 'checkpoints' / 'last.ckpt'} -o checkpoints/run" in export
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
    ("--model.lr", "1.0e30"),
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
    ("--model.config.latent_limit", "1.0e-300"),
    ("--model.config.frame_rate", "7"),
    ("--model.config.guidance", "''"),
    ("--model.config.guidance", "all=-1.0e30"),
    ("--model.config.guidance", "all=nan"),
    ("--model.config.guidance", "nothing=1"),
    ("--model.config.controls", '{"chords": {"dim": 0}}'),
    ("--model.config.controls", '{"drums": {"window": 1.0e9}}'),
    ("--data.batch_size", "1000000000"),
    ("--data.seconds", "1.0e9"),
    ("--data.seconds", ".nan"),
    ("--data.workers", "1000000"),
    ("--data.cache_gb", "0"),
    ("--weights_only", "false"),
    ("--ckpt_path", ""),
    ("--ckpt_path", "best"),
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


def prepared(write, folder, field):
    """A set of eight recordings with latents, codes of the mix and one field more."""
    samples = write(folder, samples=8)
    for sample in samples:
        sample.tensors = {name: tensor for name, tensor in sample.tensors.items() if name in ("latents", "codes_mix", field)}
        sample.captions = []
    write_shard(folder, "shard-00000", samples)
    write_index(folder, {"name": "tiny", "frame_rate": 50.0, "dim": 128, "mean": [0.0] * 128, "std": [1.0] * 128}, ["shard-00000"])


@pytest.fixture
def started(tiny_training, write_tiny_shards, tmp_path):
    """Arguments that go on from a model with chords, melody, drums and mix on a set with chords alone."""
    prepared(write_tiny_shards, tmp_path / "own", "chords_heard")
    controls = {"chords": {}, "melody": {}, "drums": {}, "mix": {}}
    overlay = tmp_path / "start.yaml"
    arguments = tiny_training("run", "-c", str(overlay), "--trainer.max_steps", "2")
    sets = {"train": str(tmp_path / "own"), "valid": str(tmp_path / "own"), "batch_size": 4}
    dropout = {"exceptions": {"melody": 0.3, "drums": 0.4, "mix": 0.7}}
    overlay.write_text(json.dumps({"model": {"config": {"controls": controls}, "dropout": dropout}, "data": sets}))
    unstarted = Unstarted("test", arguments)
    unstarted.model.model.save_pretrained(tmp_path / "former")
    return [*arguments, "--model.start_from", str(tmp_path / "former")]


def test_controls_that_the_data_cannot_feed_are_left_out_if_wanted_and_told(started, write_tiny_shards, tmp_path, capsys):
    assert main(["fit", *started]) == 2  # as ever, unless it is asked for
    assert "lack the field 'melody'" in capsys.readouterr().err
    assert not (tmp_path / "run" / "checkpoints").exists()
    assert main(["fit", *started, "--unfed_controls", "leave_out"]) == 0
    said = capsys.readouterr().err
    assert f"controls that go on from {tmp_path / 'former'}: chords and mix\n" in said
    assert f"  lost: melody, since in {str(tmp_path / 'own')!r} no sample has the field melody\n" in said
    assert "  lost: drums, since" in said
    assert "`jasco prepare SOURCE --out DIR --stages melody,drums`" in said
    assert f"no sample in {str(tmp_path / 'own')!r} has a caption" in said
    last = tmp_path / "run" / "checkpoints" / "last.ckpt"
    assert f"2 steps are done: {last}\n" in said
    model = load_checkpoint(str(last))
    assert model.controls.names == ["chords", "mix"]
    config = yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())
    assert list(config["model"]["config"]["controls"]) == ["chords", "mix"]
    assert config["model"]["dropout"]["exceptions"] == {"mix": 0.7}

    prepared(write_tiny_shards, tmp_path / "own", "melody")  # the set is another now: no checkpoint goes on with other controls
    assert main(["fit", *started, "--unfed_controls", "leave_out", "--trainer.max_steps", "3"]) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert f"{str(last)!r} was trained with the controls chords, mix; now there are melody, mix: name another run" in error


def test_controls_of_a_checkpoint_that_a_configuration_does_not_name_are_told(started, tmp_path, capsys):
    options = [
        "--unfed_controls",
        "leave_out",
        "--model.config.controls",
        '{"chords": {}, "painting": {}}',
        "--model.dropout.exceptions",
        "{}",
    ]
    assert main(["fit", *started, *options]) == 0
    said = capsys.readouterr().err
    assert f"controls that go on from {tmp_path / 'former'}: chords; new: painting\n" in said
    assert "  lost: melody, drums and mix, which model.config.controls does not name\n" in said


def test_the_recipe_for_recordings_names_every_control_of_the_model_that_it_starts_from():
    recipe = yaml.safe_load((ROOT / "conf" / "recordings.yaml").read_text())
    shipped = json.loads((ROOT / recipe["model"]["start_from"] / "config.json").read_text())
    assert recipe["unfed_controls"] == "leave_out"
    assert recipe["model"]["config"]["controls"] == shipped["controls"]


def test_early_validations_come_before_the_first_step_and_after_some_and_leave_the_interval_alone(tiny_training, tmp_path):
    early = "--trainer.callbacks+=" + json.dumps(
        {"class_path": "jasco_pl.training.callbacks.EarlyValidation", "init_args": {"steps": [0, 3]}}
    )
    arguments = tiny_training("run", early, recording(tmp_path / "seen"), "--trainer.max_steps", "9")
    assert main(["fit", *arguments]) == 0
    assert [line["step"] for line in read(tmp_path / "seen.valid")] == [0, 3, 4, 8]
    plain = tiny_training("plain", recording(tmp_path / "plain"), "--trainer.max_steps", "9")
    assert main(["fit", *plain]) == 0
    assert [line["loss"] for line in read(tmp_path / "plain")] == [line["loss"] for line in read(tmp_path / "seen")]
    assert main(["fit", *arguments, "--trainer.max_steps", "12"]) == 0  # a run that goes on does not begin
    assert [line["step"] for line in read(tmp_path / "seen.valid")] == [0, 3, 4, 8, 12]


def test_accumulated_parts_count_as_one_step_for_early_validations(tiny_training, tmp_path):
    early = ["--trainer.callbacks+=jasco_pl.training.callbacks.EarlyValidation", "--trainer.callbacks.steps=[3]"]
    parts = ["--trainer.accumulate_grad_batches", "2", "--trainer.max_steps", "5"]
    assert main(["fit", *tiny_training("run", *early, recording(tmp_path / "seen"), *parts)]) == 0
    assert [line["step"] for line in read(tmp_path / "seen.valid")] == [3, 4]
    assert main(["fit", *tiny_training("run", *early[:1], "--trainer.callbacks.steps=[-1]")]) == 2


def test_in_a_shell_of_salloc_a_training_waits_for_nobody(tiny_training, monkeypatch):
    arguments = tiny_training("run")
    shell = {"SLURM_JOB_ID": "7", "SLURM_JOB_NAME": "music", "SLURM_NTASKS": "4", "SLURM_PROCID": "0", "SLURM_LOCALID": "0"}
    for name, value in {**shell, "SLURM_NODEID": "0", "SLURM_NODELIST": "127.0.0.1", "SLURM_NNODES": "1"}.items():
        monkeypatch.setenv(name, value)
    surroundings = Unstarted("test", arguments).trainer._accelerator_connector.cluster_environment
    assert type(surroundings).__name__ == "LightningEnvironment"
    monkeypatch.setenv("SLURM_STEP_NUM_TASKS", "4")
    monkeypatch.setenv("SLURM_NTASKS", "1")  # the trainer has one device
    surroundings = Unstarted("test", arguments).trainer._accelerator_connector.cluster_environment
    assert type(surroundings).__name__ == "SLURMEnvironment"
