from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import lightning
import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint

from jasco_pl.controls.conditions import ConditionDropout
from jasco_pl.data.crops import CropDataset, collate
from jasco_pl.data.datamodule import ShardDataModule
from jasco_pl.data.resident import ResidentSet
from jasco_pl.network.flow.path import loss_weight
from jasco_pl.system.errors import UserError
from jasco_pl.training.checkpoint_io import AtomicCheckpointIO
from jasco_pl.training.module import JascoModule


def trainer(folder: Path, steps: int, **options: Any) -> lightning.Trainer:
    """Saves at every second step, validates after the fourth."""
    saver = ModelCheckpoint(folder, "{step}", every_n_train_steps=2, save_top_k=-1, save_last=True)
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False, "num_sanity_val_steps": 0}
    return lightning.Trainer(
        accelerator="cpu",
        max_steps=steps,
        val_check_interval=4,
        check_val_every_n_epoch=None,
        callbacks=[saver, *options.pop("callbacks", [])],
        plugins=[AtomicCheckpointIO()],
        **quiet,
        **options,
    )


@pytest.fixture
def data(tmp_path, write_tiny_shards) -> Callable[[], ShardDataModule]:
    write_tiny_shards(tmp_path / "train", samples=12)
    write_tiny_shards(tmp_path / "valid", samples=4)
    folders = {"train": str(tmp_path / "train"), "valid": str(tmp_path / "valid"), "test": str(tmp_path / "valid")}
    return lambda: ShardDataModule(**folders, batch_size=2, seconds=1.0, workers=0)


@torch.no_grad()
def test_the_loss_of_a_sample_does_not_depend_on_its_batch(make_module, tiny_batch):
    """Neither on its neighbours nor on its place: flow time, noise, crop and dropped conditions belong to the sample."""
    module = make_module().eval()
    dropout = ConditionDropout(0.2, 0.5)
    together, times = module.item_losses(tiny_batch(0, 1, 2, 3, 4, 5), dropout)
    for position in range(6):
        alone, time = module.item_losses(tiny_batch(position), dropout)
        torch.testing.assert_close(alone[0], together[position], rtol=1e-5, atol=1e-6)
        assert time[0] == times[position]
    backwards, _ = module.item_losses(tiny_batch(5, 4, 3, 2, 1, 0), dropout)
    torch.testing.assert_close(backwards.flip(0), together, rtol=1e-5, atol=1e-6)
    assert len(set(together.tolist())) == 6


@torch.no_grad()
def test_what_a_sample_has_to_paint_does_not_depend_on_its_batch(make_module, tiny_module_config, tiny_batch):
    """The masked stretch belongs to the sample; what lies in it is known to the loss alone."""
    module = make_module(config=replace(tiny_module_config, controls={"chords": {}, "painting": {}})).eval()
    batch = tiny_batch(0, 1, 2, 3)
    together, _ = module.item_losses(batch, None)
    for position in range(4):
        torch.testing.assert_close(module.item_losses(tiny_batch(position), None)[0][0], together[position], rtol=1e-5, atol=1e-6)
    latents = module.model.normalize(batch["latents"])
    seen = module.conditions(batch, latents).local["painting"]
    masked = seen.isnan().all(dim=-1)
    assert all(20 <= count <= 45 for count in masked.sum(dim=1).tolist())
    assert torch.equal(seen[~masked], latents[~masked])
    other = {**batch, "key": batch["key"] + 1}
    assert not torch.equal(module.conditions(other, latents).local["painting"].isnan().all(dim=-1), masked)


@torch.no_grad()
def test_losses_of_texts_by_section_are_the_same_from_either_loader(make_module, tmp_path, write_tiny_shards):
    write_tiny_shards(tmp_path / "parts", sections=True)
    module = make_module().eval()
    dataset = CropDataset(tmp_path / "parts", 50, 3, ["latents", "chords", "melody", "codes_drums"], section_captions=0.8)
    keys = [(1, position) for position in range(8)]
    batches = collate(dataset.__getitems__(keys)), ResidentSet(dataset, "cpu", module.text_encoder)(keys)
    told, resident = (module.item_losses(batch, ConditionDropout(0.2, 0.3))[0] for batch in batches)
    assert torch.equal(told, resident)
    whole = {name: value for name, value in batches[0].items() if name != "spans"}
    assert ((told == module.item_losses(whole, ConditionDropout(0.2, 0.3))[0]).float().mean() - 0.5).abs() < 0.4  # some are, some are not


@torch.no_grad()
def test_every_condition_counts_until_it_is_dropped(make_module, tiny_batch):
    module = make_module().eval()
    batch = tiny_batch(0, 1, 2)
    everything = module.item_losses(batch, None)[0]
    nothing = module.item_losses(batch, ConditionDropout(1.0, 0.0))[0]
    assert not torch.isclose(everything, nothing).any()
    for field, value in (("chords", 5), ("melody", 7), ("codes_drums", 3)):
        changed = {**batch, field: torch.full_like(batch[field], value)}
        assert not torch.isclose(module.item_losses(changed, None)[0], everything, rtol=1e-7).any(), field
        assert torch.equal(module.item_losses(changed, ConditionDropout(1.0, 0.0))[0], nothing)
    changed = {**batch, "caption": ["other words"] * 3}
    assert not torch.isclose(module.item_losses(changed, None)[0], everything, rtol=1e-7).any()
    assert torch.equal(module.item_losses(changed, ConditionDropout(1.0, 0.0))[0], nothing)


@torch.no_grad()
def test_frames_past_a_samples_end_do_not_count_as_errors(make_module, tiny_batch):
    module = make_module().eval()
    batch = tiny_batch(0)
    batch["mask"][:, 30:] = False
    before = module.item_losses(batch, None)[0]
    with torch.no_grad():
        module.model.transformer.output.weight.zero_()  # the prediction is zero everywhere: only the target counts
        zero = module.item_losses(batch, None)[0]
        batch["latents"][:, 30:] += 100.0
        assert torch.equal(module.item_losses(batch, None)[0], zero)
    assert before != zero


def test_the_schedule_of_the_paper(tiny_module_config):
    """Section 4: warm-up of 5k steps to 1e-4, then linear decay over 500k."""
    module = JascoModule(tiny_module_config, ConditionDropout())
    rate = [module.lr * module.schedule(step) for step in (0, 2499, 4999, 5000, 252_500, 499_999, 500_000, 600_000)]
    assert rate == pytest.approx([2e-8, 5e-5, 1e-4, 1e-4, 5e-5, 1e-4 / 495_000, 0.0, 0.0])
    options = module.configure_optimizers()
    assert isinstance(options["optimizer"], torch.optim.Adam)
    assert options["optimizer"].param_groups[0]["lr"] == pytest.approx(2e-8)
    assert options["lr_scheduler"]["interval"] == "step"


def test_a_codec_of_another_size_is_refused(tiny_module_config):
    with pytest.raises(UserError, match="16 codebook entries and 50 frames a second, the model's config says 128 channels, 512 codebook"):
        JascoModule(replace(tiny_module_config, codebook_size=512), ConditionDropout())


def test_a_text_encoder_of_another_size_is_refused(make_module, tiny_module_config):
    with pytest.raises(UserError, match=r"text-tiny.*32 channels, the config says 48"):
        _ = make_module(config=replace(tiny_module_config, text_dim=48)).text_encoder


class Spy(lightning.Callback):
    """Keeps a weight as validation and training see it."""

    def __init__(self) -> None:
        self.validating: list[torch.Tensor] = []
        self.training: list[torch.Tensor] = []

    def on_validation_batch_end(self, trainer: Any, module: JascoModule, *args: Any, **kwargs: Any) -> None:
        self.validating.append(module.model.transformer.output.weight.detach().clone())

    def on_train_batch_end(self, trainer: Any, module: JascoModule, *args: Any, **kwargs: Any) -> None:
        self.training.append(module.model.transformer.output.weight.detach().clone())


def test_validation_sees_the_averaged_weights_and_training_its_own_again(make_module, data, tmp_path):
    module, spy = make_module(ema_decay=0.9, lr=1e-2), Spy()
    trainer(tmp_path / "run", 5, callbacks=[spy]).fit(module, data())
    name = "transformer.output.weight"
    stored = torch.load(tmp_path / "run" / "step=4.ckpt", weights_only=True)
    assert len(spy.validating) == 2
    for seen in spy.validating:
        assert torch.equal(seen, stored["ema"]["average"][name])
        assert not torch.equal(seen, spy.training[3])
    assert torch.equal(stored["state_dict"][f"model.{name}"], spy.training[3])
    step = (spy.training[4] - spy.training[3]).abs().max()
    assert 0 < step < 1e-2  # from the live weights, not from the average
    assert stored["ema"]["updates"] == 4


def test_without_a_decay_there_is_no_average(make_module, data, tmp_path):
    module = make_module(ema_decay=0.0)
    trainer(tmp_path / "run", 2).fit(module, data())
    assert module.ema is None
    assert "ema" not in torch.load(tmp_path / "run" / "last.ckpt", weights_only=True)


def test_validating_a_checkpoint_gives_what_the_run_itself_saw(make_module, data, tmp_path):
    module = make_module(ema_decay=0.9, lr=1e-2)
    first = trainer(tmp_path / "run", 4)
    first.fit(module, data())
    seen = float(first.callback_metrics["valid/loss"])
    path = tmp_path / "run" / "step=4.ckpt"
    other = make_module(ema_decay=0.9)
    (validated,) = trainer(tmp_path / "other", 4).validate(other, data(), ckpt_path=path, verbose=False)
    (tested,) = trainer(tmp_path / "other", 4).test(other, data(), ckpt_path=path, verbose=False)
    assert validated["valid/loss"] == pytest.approx(seen, rel=1e-6)
    assert tested["test/loss"] == pytest.approx(seen, rel=1e-6)


def test_options_of_the_new_run_hold_on_resume(make_module, data, tmp_path):
    trainer(tmp_path / "run", 4).fit(make_module(lr=1e-3), data())
    module = make_module(lr=0.5, betas=(0.5, 0.6), warmup_steps=2, decay_steps=40)
    again = trainer(tmp_path / "run", 5)
    rates: list[float] = []
    module.on_train_batch_start = lambda batch, index: rates.append(again.optimizers[0].param_groups[0]["lr"])  # type: ignore[method-assign]
    again.fit(module, data(), ckpt_path=tmp_path / "run" / "last.ckpt")
    assert rates == pytest.approx([0.5 * (40 - 4) / (40 - 2)])
    assert again.optimizers[0].param_groups[0]["betas"] == (0.5, 0.6)
    assert again.optimizers[0].state_dict()["state"][0]["step"] == 5


def test_a_checkpoint_of_another_network_is_one_sentence(make_module, tiny_module_config, data, tmp_path):
    trainer(tmp_path / "run", 2).fit(make_module(), data())
    wider = replace(tiny_module_config, transformer=replace(tiny_module_config.transformer, feed_forward=128))
    with pytest.raises(UserError, match=r"last\.ckpt' belong to another configuration: transformer\.layers.*\[64, 32\].*\[128, 32\]"):
        trainer(tmp_path / "other", 4).fit(make_module(config=wider), data(), ckpt_path=tmp_path / "run" / "last.ckpt")


def test_a_validation_sample_that_spoils_the_loss_is_named_and_left_out_of_the_mean(make_module, tiny_batch, monkeypatch, capsys):
    module, batch = make_module(), tiny_batch(0, 1, 2, 3)
    logged: dict[str, tuple[float, int]] = {}
    monkeypatch.setattr(module, "log", lambda name, value, batch_size, **_: logged.update({name: (float(value), batch_size)}))
    module.validation_step(batch, 0)
    assert logged["valid/loss"][1] == 4
    _, losses, t = module.weighted_loss(batch, None)
    weighted = loss_weight(t, module.weighting) * losses
    assert logged["valid/loss"][0] == pytest.approx(float(weighted.mean()))
    batch["latents"][2, 5] = float("nan")
    module.validation_step(batch, 0)
    expected = float(weighted[[0, 1, 3]].mean())
    assert logged["valid/loss"] == (pytest.approx(expected, rel=1e-4), 3)
    named = f"valid after step 0: the loss is not finite, and left out of the mean; samples: {batch['id'][2]}."
    assert named in capsys.readouterr().err
    batch["latents"][:] = float("inf")
    module.validation_step(batch, 0)
    assert logged["valid/loss"] == (0.0, 0)
