from __future__ import annotations

import json
from pathlib import Path

import pytest
from torch.utils.tensorboard import SummaryWriter

from jasco_pl.cli import main
from jasco_pl.studies.model_card import UNKNOWN, training_block
from jasco_pl.system.errors import UserError
from jasco_pl.training.history import TAG, History, Session, read_history


def test_every_session_of_a_run_tells_what_it_was(tiny_training, tmp_path):
    assert main(["fit", *tiny_training("run", "--trainer.max_steps", "4")]) == 0
    assert main(["fit", *tiny_training("run", "--trainer.max_steps", "7", "--data.seconds", "0.5", "--data.batch_size", "2")]) == 0
    history = read_history(tmp_path / "run")
    assert [(session.first, session.last) for session in history.sessions] == [(0, 4), (4, 7)]
    assert [steps for _, steps in history.spans()] == [4, 3]  # a checkpoint every second step, and at the end
    assert history.steps == 7
    assert history.samples() == 4 * 4 + 3 * 2
    assert history.audio_hours() == pytest.approx((4 * 4 * 1.0 + 3 * 2 * 0.5) / 3600)
    assert all(0 <= session.hours < 0.1 for session in history.sessions)
    text = training_block(history)
    assert "22, batch 4, then 2" in text
    assert "in crops of 1, then 0.5 seconds" in text
    assert "cores" in text
    assert UNKNOWN not in text


def test_what_a_run_did_not_write_down_is_said_to_be_absent(tmp_path: Path):
    for begun, first in ((1, 0), (2, 20)):  # as of runs that wrote no record: losses alone
        with SummaryWriter(str(tmp_path / "run"), filename_suffix=str(begun)) as writer:
            for step in range(first + 9, first + 20, 10):
                writer.add_scalar("train/loss", 1.0, step, walltime=1000.0 + 360 * step)
    (tmp_path / "run" / "config.yaml").write_text("data: {batch_size: 8}\n")
    history = read_history(tmp_path / "run")
    assert [(session.first, session.last, round(session.hours, 6)) for session in history.sessions] == [(0, 20, 1.0), (20, 40, 1.0)]
    assert history.samples() == 40 * 8
    assert history.audio_hours() is None
    text = training_block(history)
    assert "2.00 hours" in text
    assert text.count(UNKNOWN) == 6  # audio, hardware, processes, precision, seed, parameters
    with pytest.raises(UserError, match=r"is no folder of a training"):
        read_history(tmp_path)
    for content in ("!!python/object/apply:os.mkdir [x]", "a: [", "[" * 20_000):
        (tmp_path / "run" / "config.yaml").write_text(content)
        with pytest.raises(UserError, match=r"config.yaml' is no configuration of a run"):
            read_history(tmp_path / "run")


def test_steps_that_a_kill_undid_are_counted_once():
    facts = {"batch_size": 2, "seconds": 1.8}
    history = History([Session(facts, 0, 1070, 1.0), Session(facts, 1000, 2000, 1.0)], 2000, None)
    assert [steps for _, steps in history.spans()] == [1000, 1000]
    assert history.audio_hours() == pytest.approx(2.0)


def test_a_run_of_which_only_the_checkpoint_is_left(tmp_path: Path):
    history = History([], 500, None)
    assert history.samples() is None
    assert history.audio_hours() is None
    assert "| optimiser steps  |          500 |" in training_block(history)


def test_a_session_that_ended_before_its_first_figure_counts(tmp_path: Path):
    with SummaryWriter(str(tmp_path)) as writer:
        writer.add_text(TAG, json.dumps({"first_step": 0, "batch_size": 8, "seconds": 5.0}), 0)
    (session,) = read_history(tmp_path).sessions
    assert (session.first, session.last, session.hours) == (0, 0, 0.0)
