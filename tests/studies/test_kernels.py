from __future__ import annotations

import pytest

from jasco_pl.studies.kernels import (
    ATTENTION,
    CONVOLUTION,
    COPIES,
    MATRIX,
    POINTWISE,
    WEIGHT_NORM,
    attention_of,
    kind_of_kernel,
    kind_of_operation,
)


@pytest.mark.parametrize(
    ("names", "kind"),
    [
        (["aten::mm", "aten::matmul", "aten::linear"], MATRIX),
        (["aten::addmm", "AddmmBackward0", "autograd::engine::evaluate_function: AddmmBackward0"], MATRIX),
        (["aten::copy_", "aten::_to_copy", "aten::to", "aten::linear"], COPIES),  # autocast, in front of a product
        (["aten::bmm", "aten::matmul", "aten::_scaled_dot_product_attention_math", "aten::scaled_dot_product_attention"], ATTENTION),
        (["aten::_scaled_dot_product_flash_attention_for_cpu_backward", "CompiledFunctionBackward"], ATTENTION),
        (["aten::copy_", "aten::contiguous", "aten::convolution_backward", "ConvolutionBackward0"], CONVOLUTION),
        (["aten::mkldnn_convolution", "aten::_convolution", "aten::convolution", "aten::conv1d"], CONVOLUTION),
        (["aten::_weight_norm_interface", "aten::_weight_norm"], WEIGHT_NORM),
        (["aten::native_layer_norm", "aten::layer_norm"], POINTWISE),
        (["## Call CompiledFxGraph f2ma66", "CompiledFunction", "Torch-Compiled Region: 0/0"], POINTWISE),
        (["autograd::engine::evaluate_function: AddmmBackward0"], None),
        (["Optimizer.step#Adam.step"], None),
        (["ProfilerStep*"], None),
    ],
)
def test_operations_are_told_by_their_surroundings(names: list[str], kind: str | None) -> None:
    assert kind_of_operation(names) == kind


@pytest.mark.parametrize(
    ("kernel", "names", "kind"),
    [
        ("nvjet_tst_128x256_64x4_1x2_h_bz_coopA_TNT", ["aten::mm"], MATRIX),
        ("void at::native::unrolled_elementwise_kernel<at::native::direct_copy_kernel_cuda>", ["aten::copy_", "aten::linear"], COPIES),
        ("fmha_cutlassB_bf16_aligned_64x64_k64_sm80(PyTorchMemEffAttention)", ["aten::_efficient_attention_backward"], ATTENTION),
        ("cudnn_generated_fort_native_sdpa_sm90_flash_bprop", ["ProfilerStep*"], ATTENTION),
        (
            "triton_poi_fused_scaled_dot_product_attention_transpose_3",
            ["triton_poi_fused_scaled_dot_product_attention_transpose_3"],
            POINTWISE,
        ),
        ("triton_red_fused_native_layer_norm_native_layer_norm_backward_7", ["CompiledFunctionBackward"], POINTWISE),
        ("triton_tem_fused_flex_attention_0", ["Torch-Compiled Region: 0/0"], ATTENTION),
        ("triton_tem_fused_mm_5", ["Torch-Compiled Region: 0/0"], MATRIX),
        ("sm90_xmma_wgrad_implicit_gemm_bf16bf16", ["aten::convolution_backward"], CONVOLUTION),
        ("void cudnn::ops::nchwToNhwcKernel<__nv_bfloat16>", ["ProfilerStep*"], CONVOLUTION),
        ("Memcpy HtoD (Pinned -> Device)", ["cudaMemcpyAsync"], COPIES),
        ("void at::native::vectorized_elementwise_kernel<4, at::native::GeluCUDAKernelImpl>", ["aten::gelu"], POINTWISE),
    ],
)
def test_kernels_are_told_by_what_launched_them_or_by_their_names(kernel: str, names: list[str], kind: str) -> None:
    assert kind_of_kernel(kernel, names) == kind


@pytest.mark.parametrize(
    ("name", "which"),
    [
        ("aten::_scaled_dot_product_flash_attention", "flash"),
        ("aten::_scaled_dot_product_flash_attention_for_cpu", "flash"),
        ("aten::_scaled_dot_product_efficient_attention", "efficient"),
        ("aten::_scaled_dot_product_cudnn_attention", "cudnn"),
        ("aten::_scaled_dot_product_attention_math", "math"),
        ("triton_tem_fused_flex_attention_0", "flex"),
        ("triton_tem_fused_flex_attention_backward_1", None),
        ("aten::_scaled_dot_product_efficient_attention_backward", None),
        ("aten::scaled_dot_product_attention", None),
        ("aten::mm", None),
    ],
)
def test_which_attention_ran(name: str, which: str | None) -> None:
    assert attention_of(name) == which
