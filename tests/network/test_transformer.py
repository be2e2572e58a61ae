from __future__ import annotations

import itertools
import math
from dataclasses import replace
from typing import Any

import pytest
import torch
import torch._dynamo.testing
from torch import Tensor, nn
from torch.nn import functional
from untrained import stir

from jasco_pl.network import transformer
from jasco_pl.network.blocks import ConvolutionalPositions, TimeEmbedding, alibi_bias, sinusoid
from jasco_pl.network.transformer import Transformer, TransformerConfig
from jasco_pl.notation.timed_text import ALWAYS

IN, OUT, TEXT = 10, 6, 12
SMALL = TransformerConfig(width=32, layers=4, heads=4, feed_forward=48, convolution_kernel=8, convolution_groups=4)
VARIANTS = [
    replace(SMALL, positions=positions, alibi=alibi, skips=skips, time=time)  # type: ignore[arg-type]
    for positions, alibi, skips, time in itertools.product(
        ("convolution", "sinusoid"), (True, False), (True, False), ("adaptive_norm", "text")
    )
]


def variant_name(config: TransformerConfig) -> str:
    return f"{config.positions}-{'alibi' if config.alibi else 'flat'}-{'skips' if config.skips else 'plain'}-{config.time}"


def build(config: TransformerConfig = SMALL, trained: bool = True) -> Transformer:
    """A network; `trained` moves what starts at zero or at the identity away from it."""
    torch.manual_seed(0)
    network = Transformer(config, IN, OUT, TEXT)
    if trained:
        stir(network)
    return network.eval()


def inputs(batch: int = 3, frames: int = 11, seed: int = 1) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    draw = torch.Generator().manual_seed(seed)
    mask = torch.arange(5) < torch.tensor([5, 2, 3])[:batch, None]
    x, text = torch.randn(batch, frames, IN, generator=draw), torch.randn(batch, 5, TEXT, generator=draw)
    return x, torch.rand(batch, generator=draw), text, mask


def test_alibi_is_symmetric_with_geometric_slopes() -> None:
    bias = alibi_bias(4, 3)
    assert bias.shape == (1, 4, 3, 3)
    distance = torch.tensor([[0.0, 1, 2], [1, 0, 1], [2, 1, 0]])
    torch.testing.assert_close(bias[0], -torch.tensor([0.25, 1 / 16, 1 / 64, 1 / 256])[:, None, None] * distance)
    assert float(alibi_bias(16, 2)[0, 0, 0, 1]) == pytest.approx(-math.sqrt(0.5))
    assert float(alibi_bias(16, 2)[0, 15, 1, 0]) == pytest.approx(-1 / 256)


def test_sinusoid_values() -> None:
    values = sinusoid(torch.tensor([0.0, 3.0]), 6)
    expected = [math.cos(3), math.cos(0.03), math.cos(0.0003), math.sin(3), math.sin(0.03), math.sin(0.0003)]
    torch.testing.assert_close(values, torch.tensor([[1.0, 1, 1, 0, 0, 0], expected]))


def test_time_embedding_has_sines_first_and_its_scale() -> None:
    embedding = TimeEmbedding(8, scale=1000.0, features=4, hidden=4)
    with torch.no_grad():
        embedding.hidden.weight.copy_(torch.eye(4))
        embedding.hidden.bias.zero_()
    seen: list[Tensor] = []
    embedding.hidden.register_forward_hook(lambda module, args, out: seen.append(out))
    embedding(torch.tensor([0.002]))
    torch.testing.assert_close(seen[0][0], torch.tensor([math.sin(2), math.sin(2e-4), math.cos(2), math.cos(2e-4)]))


@pytest.mark.parametrize(("kernel", "reach"), [(8, range(17, 25)), (7, range(17, 24))])
def test_convolutional_positions_are_centred_and_keep_the_length(kernel: int, reach: range) -> None:
    torch.manual_seed(0)
    positions = ConvolutionalPositions(8, kernel, 2).eval()
    quiet = torch.zeros(1, 40, 8)
    impulse = quiet.clone()
    impulse[0, 20] = 1.0
    changed = (positions(impulse) - positions(quiet)).abs().sum(-1)[0] > 1e-7
    assert changed.nonzero().flatten().tolist() == list(reach)


def test_convolutional_positions_follow_a_shift_and_know_the_edges() -> None:
    torch.manual_seed(0)
    positions = ConvolutionalPositions(8, 8, 2).eval()
    tokens = torch.randn(1, 40, 8)
    moved = torch.roll(tokens, 5, dims=1)
    torch.testing.assert_close(positions(moved)[:, 10:35], positions(tokens)[:, 5:30])
    same = torch.ones(1, 40, 8)
    out = positions(same)[0]
    torch.testing.assert_close(out[4], out[20])
    assert not torch.allclose(out[0], out[20], atol=1e-3)


@pytest.mark.parametrize("config", VARIANTS, ids=variant_name)
def test_every_variant_runs_and_trains_all_of_its_weights(config: TransformerConfig) -> None:
    network = build(config).train()
    x, t, text, mask = inputs()
    out = network(x, t, text, mask)
    assert out.shape == (3, 11, OUT)
    out.square().mean().backward()
    untouched = [name for name, weight in network.named_parameters() if weight.grad is None or not weight.grad.any()]
    assert untouched == []


@pytest.mark.parametrize("config", VARIANTS, ids=variant_name)
def test_every_variant_knows_order_time_and_text(config: TransformerConfig) -> None:
    network = build(config)
    x, t, text, mask = inputs()
    out = network(x, t, text, mask)
    if config.positions == "sinusoid" or config.alibi:
        assert not torch.allclose(network(x.flip(1), t, text, mask).flip(1), out, atol=1e-4)
    assert not torch.allclose(network(x, t * 0.5, text, mask), out, atol=1e-4)
    assert not torch.allclose(network(x, t, text.flip(2), mask), out, atol=1e-4)


def test_a_new_network_says_nothing() -> None:
    assert not build(trained=False)(*inputs()).any()


def test_alibi_is_the_only_difference_that_its_bias_makes() -> None:
    network, flat = build(), build(replace(SMALL, alibi=False))
    flat.load_state_dict(network.state_dict())
    expected = flat(*inputs())
    assert not torch.allclose(network(*inputs()), expected, atol=1e-4)
    (bias,) = network._biases.values()
    bias.zero_()
    torch.testing.assert_close(network(*inputs()), expected)


def test_self_attention_by_hand() -> None:
    attention = build().layers[0].self_attention  # type: ignore[union-attr]
    x, bias = torch.randn(2, 7, 32), alibi_bias(4, 7)
    query, (key, value) = attention.query(x), attention.key_value(x).chunk(2, dim=-1)  # type: ignore[operator,union-attr]
    heads = []
    for head in range(4):
        part = slice(8 * head, 8 * head + 8)
        scores = query[..., part] @ key[..., part].transpose(1, 2) / math.sqrt(8) + bias[:, head]
        heads.append(scores.softmax(-1) @ value[..., part])
    torch.testing.assert_close(attention(x, x, bias), attention.output(torch.cat(heads, dim=-1)))  # type: ignore[operator,union-attr]


def test_skips_change_nothing_at_first() -> None:
    plain, skipping = build(replace(SMALL, skips=False)), build()
    skipping.load_state_dict(plain.state_dict(), strict=False)
    fresh = build(trained=False).skip_projections.state_dict()
    skipping.skip_projections.load_state_dict(fresh)
    torch.testing.assert_close(skipping(*inputs()), plain(*inputs()))


def test_skips_join_mirrored_layers() -> None:
    network = build()
    with torch.no_grad():
        for projection in network.skip_projections:  # forget x, keep the skip alone
            projection.weight.copy_(torch.cat([torch.zeros(32, 32), torch.eye(32)], dim=1))  # type: ignore[union-attr,operator]
            projection.bias.zero_()  # type: ignore[union-attr,operator]
    entering: list[Tensor] = []
    for layer in network.layers:
        layer.register_forward_pre_hook(lambda module, args: entering.append(args[0]))
    network(*inputs())
    torch.testing.assert_close(entering[2], entering[1])
    torch.testing.assert_close(entering[3], entering[0])
    assert not torch.allclose(entering[0], entering[1])


@pytest.mark.parametrize("time", ["adaptive_norm", "text"])
def test_padding_of_the_text_makes_no_difference(time: Any) -> None:
    network = build(replace(SMALL, time=time))
    x, t, text, mask = inputs()
    out = network(x, t, text, mask)
    longer = torch.cat([text.masked_fill(~mask[..., None], 100.0), torch.full((3, 4, TEXT), -50.0)], dim=1)
    padded = network(x, t, longer, functional.pad(mask, (0, 4)))
    torch.testing.assert_close(padded, out, atol=1e-5, rtol=1e-5)
    alone = network(x[1:2], t[1:2], text[1:2, :2], mask[1:2, :2])
    torch.testing.assert_close(alone, out[1:2], atol=1e-5, rtol=1e-5)


def test_unmasked_text_pads_with_zeros_that_take_part() -> None:
    network = build(replace(SMALL, mask_text=False))
    x, t, text, mask = inputs()
    out = network(x, t, text, mask)
    torch.testing.assert_close(network(x, t, text.masked_fill(~mask[..., None], 100.0), mask), out)
    assert not torch.allclose(network(x, t, functional.pad(text, (0, 0, 0, 4)), functional.pad(mask, (0, 4))), out, atol=1e-4)


WHOLE = torch.tensor([0, ALWAYS]).expand(3, 5, -1)


@pytest.mark.parametrize("config", [*VARIANTS, replace(SMALL, mask_text=False)], ids=variant_name)
def test_texts_that_hold_throughout_are_ordinary_bit_for_bit(config: TransformerConfig) -> None:
    network = build(config)
    assert torch.equal(network(*inputs(), text_frames=WHOLE), network(*inputs()))


@pytest.mark.parametrize("injection", ["cross_attention", "zero_convolution"])
def test_texts_that_hold_throughout_are_ordinary_beside_other_controls(injection: str) -> None:
    network = with_controls(injection)
    assert torch.equal(network(*inputs(), some_controls(), text_frames=WHOLE), network(*inputs(), some_controls()))


@pytest.mark.parametrize("options", [{}, {"mask_text": False}, {"frames_per_token": 2}, {"injection": "cross_attention"}], ids=str)
def test_a_text_is_seen_in_its_frames_alone(options: dict[str, Any]) -> None:
    """By cross-attention; self-attention carries on what it says."""
    config = replace(SMALL, **options)
    network = with_controls("cross_attention") if "injection" in options else build(config)
    controls = some_controls() if "injection" in options else None
    x, t, text, _ = inputs()
    mask, frames = torch.ones(3, 5, dtype=torch.bool), torch.tensor([[0, 5], [0, 5], [5, 8], [8, ALWAYS], [3, 3]]).expand(3, -1, -1)
    said: list[Tensor] = []
    network.layers[0].cross_attention.register_forward_hook(lambda module, args, out: said.append(out.detach()))
    outs = []
    for changed in (None, 1, 2, 3, 4):
        other = text.clone()
        if changed is not None:
            other[:, changed] += 1.0
        outs.append(network(x, t, other, mask, controls, frames))
    patch = config.frames_per_token
    seen = {1: range(5), 2: range(5, 8), 3: range(8, 11), 4: range(0)}
    for number, (one, out) in enumerate(zip(said[1:], outs[1:], strict=True), 1):
        moved = (one - said[0]).abs().amax(dim=-1) > 1e-6
        expected = torch.tensor([place * patch in seen[number] for place in range(moved.shape[1])])
        assert torch.equal(moved, expected.expand(3, -1)), number
        assert torch.equal(out, outs[0]) == (number == 4)


def test_two_frames_a_token_fill_an_odd_clip_with_silence() -> None:
    network = build(replace(SMALL, frames_per_token=2))
    x, t, text, mask = inputs(frames=11)
    tokens: list[int] = []
    network.layers[0].register_forward_pre_hook(lambda module, args: tokens.append(args[0].shape[1]))
    out = network(x, t, text, mask)
    assert out.shape == (3, 11, OUT)
    assert tokens == [6]
    torch.testing.assert_close(out, network(functional.pad(x, (0, 0, 0, 1)), t, text, mask)[:, :11])


def test_frames_of_a_token_keep_their_order() -> None:
    network = build(replace(SMALL, frames_per_token=2))
    tokens: list[Tensor] = []
    network.embed.register_forward_pre_hook(lambda module, args: tokens.append(args[0]))
    network.output.register_forward_hook(lambda module, args, out: tokens.append(out))
    x, t, text, mask = inputs(frames=4)
    out = network(x, t, text, mask)
    torch.testing.assert_close(tokens[0][:, 1], torch.cat([x[:, 2], x[:, 3]], dim=-1))
    torch.testing.assert_close(tokens[1][:, 1], torch.cat([out[:, 2], out[:, 3]], dim=-1))


def test_items_do_not_see_each_other() -> None:
    network = build()
    x, t, text, mask = inputs()
    out = network(x, t, text, mask)
    order = [2, 0, 1]
    torch.testing.assert_close(network(x[order], t[order], text[order], mask[order]), out[order], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(network(x[:1], t[:1], text[:1], mask[:1]), out[:1], atol=1e-5, rtol=1e-5)


def test_the_bias_is_built_once_a_length() -> None:
    network = build()
    like = torch.zeros(1)
    first = network.attention_bias(11, like)
    assert network.attention_bias(11, like) is first
    second = network.attention_bias(12, like)
    assert second is not None
    assert second.shape == (1, 4, 12, 12)
    half = network.attention_bias(12, like.bfloat16())
    assert half is not None
    assert half.dtype == torch.bfloat16
    assert build(replace(SMALL, alibi=False)).attention_bias(11, like) is None


def test_generating_between_training_steps_does_no_harm() -> None:
    network = build()
    with torch.inference_mode():
        network(*inputs())
    network(*inputs()).sum().backward()


@pytest.mark.parametrize("time", ["adaptive_norm", "text"])
def test_runs_under_bfloat16_autocast(time: Any) -> None:
    network = build(replace(SMALL, time=time))
    with torch.no_grad():
        expected = network(*inputs())
        with torch.autocast("cpu", torch.bfloat16):
            out = network(*inputs())
    torch.testing.assert_close(out.float(), expected, atol=0.05 * float(expected.abs().max()), rtol=0)


def test_dropout_is_for_training_alone() -> None:
    network = build(replace(SMALL, dropout=0.5))
    assert torch.equal(network(*inputs()), network(*inputs()))
    network.train()
    assert not torch.allclose(network(*inputs()), network(*inputs()))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"width": 30, "heads": 4}, "width 30 must be even and a multiple of heads 4"),
        ({"width": 36, "heads": 4, "convolution_groups": 8}, "width 36 must be a multiple of convolution_groups 8"),
        ({"layers": 3}, "layers must be even, not 3"),
    ],
)
def test_sizes_that_do_not_fit(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(SMALL, **options)


def count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def test_parameters_at_the_papers_size() -> None:
    """24 x 1024 with 4096: 403M in the layers with cross-attention, 25M more in the skips (docs/decisions.md)."""
    paper = TransformerConfig()
    with torch.device("meta"):
        full = Transformer(paper, 128 + 34, 128, 768)
        plain = Transformer(replace(paper, skips=False), 128 + 34, 128, 768)
        released = Transformer(
            replace(paper, skips=False, alibi=False, positions="sinusoid", time="text", mask_text=False), 128 + 34, 128, 768
        )
    matrices = sum(weight.numel() for weight in plain.layers.parameters() if weight.shape[0] > 6 and weight.ndim == 2)
    assert matrices == 24 * 16 * 1024**2 == 402_653_184
    assert count(full) - count(plain) == count(full.skip_projections) == 12 * (2 * 1024**2 + 1024) == 25_178_112
    assert count(full.layers) == 402_653_184 + 24 * (3 * 2 * 1024 + 6 * 1024)
    positions = 64 * 128 * 1024 + 128 + 1024  # weight-normed: a gain for every tap
    modulation = 6 * 1024 * 1025 + 24 * 6 * 1024
    assert count(plain) - count(released) == positions + modulation
    assert [count(full), count(plain), count(released)] == [444_754_048, 419_575_936, 404_741_120]


CONTROLS = 3


def with_controls(injection: str, trained: bool = True, **options: Any) -> Transformer:
    torch.manual_seed(0)
    network = Transformer(replace(SMALL, injection=injection, **options), IN, OUT, TEXT, CONTROLS)  # type: ignore[arg-type]
    if trained:
        stir(network)
    return network.eval()


def some_controls(frames: int = 11) -> Tensor:
    return torch.randn(3, frames, CONTROLS, generator=torch.Generator().manual_seed(5))


APART = [
    ("cross_attention", {}),
    ("cross_attention", {"alibi": False}),
    ("cross_attention", {"mask_text": False}),
    ("cross_attention", {"alibi": False, "mask_text": False, "time": "text"}),
    ("cross_attention", {"frames_per_token": 2}),
    ("zero_convolution", {}),
    ("zero_convolution", {"frames_per_token": 2, "time": "text"}),
]


@pytest.mark.parametrize(("injection", "options"), APART)
def test_controls_apart_are_heard_in_their_order_and_train_all_weights(injection: str, options: dict[str, Any]) -> None:
    network, controls = with_controls(injection, **options), some_controls()
    out = network(*inputs(), controls)
    changed, order = controls.clone(), torch.arange(11)
    changed[:, 2] += 3.0
    order[[2, 8]] = order[[8, 2]]
    for other in (changed, controls[:, order]):  # what they say, and when
        assert float((network(*inputs(), other) - out).detach().abs().amax((1, 2)).min()) > 1e-4
    network.train()(*inputs(), controls).square().mean().backward()
    assert [name for name, weight in network.named_parameters() if weight.grad is None or not weight.grad.any()] == []


def test_padding_of_the_text_makes_no_difference_beside_control_tokens() -> None:
    network = with_controls("cross_attention")
    x, t, text, mask = inputs()
    out = network(x, t, text, mask, some_controls())
    alone = network(x[1:2], t[1:2], text[1:2, :2], mask[1:2, :2], some_controls()[1:2])
    torch.testing.assert_close(alone, out[1:2], atol=1e-5, rtol=1e-5)


def test_control_tokens_near_a_frame_count_more_under_alibi() -> None:
    """Cross-attention to controls knows distance by the same bias as self-attention; the text has none."""
    network = with_controls("cross_attention")
    seen: list[Tensor] = []
    network.layers[0].cross_attention.register_forward_pre_hook(lambda module, args: seen.append(args[2]))  # type: ignore[union-attr]
    network(*inputs(), some_controls())
    assert seen[0].shape == (3, 4, 11, 5 + 11)
    torch.testing.assert_close(seen[0][..., 5:], alibi_bias(4, 11).expand(3, -1, -1, -1))
    assert seen[0][1, 0, 0, :5].tolist() == [0.0, 0.0, -math.inf, -math.inf, -math.inf]


def test_zero_convolutions_say_nothing_at_first_and_move_at_the_first_step() -> None:
    plain, network = build(), with_controls("zero_convolution", trained=False)
    network.load_state_dict(plain.state_dict(), strict=False)
    assert torch.equal(network(*inputs(), some_controls()), plain(*inputs()))
    network(*inputs(), some_controls()).square().mean().backward()
    assert network.branch is not None
    assert all(leave.weight.grad.any() for leave in network.branch.leave)  # type: ignore[union-attr,operator]


def test_zero_convolutions_reach_skips_and_middle_by_hand() -> None:
    """What the branch adds: its outputs to the skips of the encoder half, its last one to the middle; the encoder itself is left alone."""
    network = with_controls("zero_convolution")
    branch = network.branch
    assert branch is not None
    with torch.no_grad():
        for index, leave in enumerate(branch.leave):
            leave.weight.zero_()  # type: ignore[union-attr,operator]
            leave.bias.fill_(float(index + 1))  # type: ignore[union-attr,operator,arg-type]
    entering: list[Tensor] = []
    joined: list[Tensor] = []
    for layer in network.layers:
        layer.register_forward_pre_hook(lambda module, args: entering.append(args[0]))
    for projection in network.skip_projections:
        projection.register_forward_pre_hook(lambda module, args: joined.append(args[0]))
    leaving: list[Tensor] = []
    network.layers[1].register_forward_hook(lambda module, args, out: leaving.append(out))
    network(*inputs(), some_controls())
    torch.testing.assert_close(joined[0], torch.cat([leaving[0] + 3, entering[1] + 2], dim=-1))
    torch.testing.assert_close(joined[1][..., 32:], entering[0] + 1)


def test_zero_convolution_needs_skips() -> None:
    with pytest.raises(ValueError, match="enters through the U-Net skips"):
        TransformerConfig(injection="zero_convolution", skips=False)
    with pytest.raises(ValueError, match="injection 'adapter' is unknown: concatenation, cross_attention, zero_convolution"):
        TransformerConfig(injection="adapter")  # type: ignore[arg-type]


@pytest.mark.parametrize("config", VARIANTS[::5], ids=variant_name)
@pytest.mark.parametrize("injection", ["concatenation", "cross_attention"])
def test_padded_keys_change_nothing(config: TransformerConfig, injection: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    network = Transformer(replace(config, injection=injection), IN, OUT, TEXT, 3 if injection == "cross_attention" else 0)
    nn.init.normal_(network.output.weight)
    controls = torch.randn(3, 11, 3) if injection == "cross_attention" else None

    def run() -> tuple[Tensor, list[Tensor]]:
        network.zero_grad()
        out = network(*inputs(), controls)
        out.square().mean().backward()
        return out.detach(), [parameter.grad.clone() for parameter in network.parameters() if parameter.grad is not None]

    expected, gradients = run()
    monkeypatch.setitem(transformer.KEY_MULTIPLE, "cpu", 8)
    network._biases.clear()
    padded, others = run()
    if config.alibi:
        (bias,) = network._biases.values()
        assert bias.shape == (1, 4, 11, 16)
        assert bias[..., 11:].isinf().all()
    torch.testing.assert_close(padded, expected, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(others, gradients, atol=1e-5, rtol=1e-5)


def gradients(network: Transformer) -> tuple[Tensor, dict[str, Tensor]]:
    """Output and gradients of one step in training mode."""
    network.train().zero_grad()
    torch.manual_seed(5)
    out = network(*inputs())
    out.square().mean().backward()
    return out.detach(), {name: parameter.grad.clone() for name, parameter in network.named_parameters() if parameter.grad is not None}


def test_checkpointing_keeps_less_and_gives_the_same_gradients() -> None:
    network = build(replace(SMALL, dropout=0.2))  # what is computed again must drop the same
    calls: list[int] = []
    network.layers[1].feed_in.register_forward_pre_hook(lambda *args: calls.append(1))  # type: ignore[union-attr]
    expected = gradients(network)
    assert len(calls) == 1
    network.speed_up(checkpointing=True)
    again = gradients(network)
    assert len(calls) == 3
    torch.testing.assert_close(again, expected, atol=0, rtol=0)
    network.eval()(*inputs())
    assert len(calls) == 4


def test_compiled_layers_share_one_graph_and_add_no_names(monkeypatch: pytest.MonkeyPatch) -> None:
    network = build()
    names, expected = list(network.state_dict()), gradients(network)
    compile_with = torch.compile
    counter = torch._dynamo.testing.CompileCounter()
    torch._dynamo.reset()
    monkeypatch.setattr(torch, "compile", lambda function: compile_with(function, backend=counter))  # inductor takes half a minute
    network.speed_up(compiled=True)
    assert list(network.state_dict()) == names
    torch.testing.assert_close(gradients(network), expected, atol=1e-5, rtol=1e-5)
    assert counter.frame_count == 1
    with torch.no_grad():  # in place, as averaged weights and optimisers write: what was compiled must see it
        network.layers[0].feed_out.weight.mul_(1.5)  # type: ignore[union-attr,operator]
    changed = gradients(network)
    assert not torch.allclose(changed[0], expected[0], atol=1e-4)
    network.eval()(*inputs(frames=7))
    assert counter.frame_count == 1
    network.speed_up()
    torch.testing.assert_close(gradients(network), changed, atol=1e-5, rtol=1e-5)
