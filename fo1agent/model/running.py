"""How a model runs: in which dtype, by which attention, quantised, compiled or packed or not.

All of it is torch's, transformers' and torchao's own; here is only what of FO1 it is for.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from transformers.activations import GELUActivation, SiLUActivation

from fo1agent.errors import InputError, MissingExtraError
from fo1agent.extras import install_line
from fo1agent.model.folder import one_line
from fo1agent.model.tensors import dtype_name

ATTENTIONS = ("sdpa", "eager", "flash_attention_2")
QUANTIZATIONS = ("int8", "int8-weights")

# The least size of numbers that are scaled to 8 bits.
_LEAST = 1e-12

# What torch calls units for bfloat16 in a CPU: x86's, then ARM's.
_BFLOAT16 = ("avx512_bf16", "amx_bf16", "bf16", "sve_bf16")


def suited(stored: torch.dtype, device: torch.device) -> torch.dtype:
    """The dtype "auto": as the weights are stored, where the device has units for it; else float32."""
    if device.type == "cpu":
        fits = stored not in (torch.bfloat16, torch.float16) or (stored == torch.bfloat16 and bool(bfloat16_units()))
    elif device.type == "cuda":
        with torch.cuda.device(device):
            fits = stored != torch.bfloat16 or torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        fits = True
    return stored if fits else torch.float32


def bfloat16_units() -> tuple[str, ...]:
    """The CPU's units for bfloat16 that torch makes use of, by torch's names; without any it is emulated, slowly."""
    if not torch.backends.mkldnn.is_available():  # what would use them
        return ()
    if not hasattr(torch.cpu, "get_capabilities"):  # torch before 2.11
        return ("avx512_bf16",) * torch.cpu._is_avx512_bf16_supported()
    known = torch.cpu.get_capabilities()
    return tuple(name for name in _BFLOAT16 if known.get(name))


def check(
    attn: str | None, quantize: str | None, compile: bool, pack: bool, device: str | torch.device = "cpu"
) -> None:
    """Say what is wrong with these before a model is loaded; None is nothing.

    Raises:
        InputError: there is no such attention or quantisation, or two exclude each other.
        MissingExtraError: torchao is wanted and not installed.
    """
    for name, value, known in (("attn", attn, ATTENTIONS), ("quantize", quantize, QUANTIZATIONS)):
        if value is not None and value not in known:
            raise InputError(f"{name} must be {', '.join(known[:-1])} or {known[-1]}, got {value!r}.")
    if pack and (compile or quantize is not None):
        raise InputError(
            "pack does not go with quantize or compile, which lay weights out by themselves: leave it out."
        )
    needs_torchao = quantize is not None and not by_onednn(quantize, torch.device(device), compile)
    if needs_torchao and importlib.util.find_spec("torchao") is None:
        raise MissingExtraError(f"quantize {quantize} needs torchao: {install_line('quantize')}")


def set_attention(model: Any, name: str) -> None:
    """Let the base attend by another implementation of transformers.

    Flash attention takes no mask, and the decoder needs one where questions branch: it is for the other towers.

    Args:
        model: an `FO1`.
        name: one of `ATTENTIONS`.

    Raises:
        InputError: it does not run here; the message says why.
    """
    config = model.base.config
    text = config.get_text_config()
    parts = {part: name for part in config.sub_configs if getattr(config, part) is not text}
    if not name.startswith("flash"):
        parts = name
    try:
        model.base.set_attn_implementation(parts)
    except (ImportError, ValueError) as exc:
        raise InputError(f"attn {name} does not run here: {one_line(exc)}") from exc


def quantize(model: Any, kind: str, compile: bool = False) -> None:
    """Hold the base's linear layers in 8 bits: "int8" computes in them too, "int8-weights" does not.

    By torchao; but for "int8" on a CPU with units for it, where torchao's operators need a compiler to be fast, by
    oneDNN. The rest stays: rows of the output layer are read by themselves, the DaViT tower amplifies rounding, and the
    projectors are small.

    Args:
        model: an `FO1`, where it is to run.
        kind: one of `QUANTIZATIONS`.
        compile: whether the model is to be compiled, which makes kernels of torchao's operators, and takes no others.
    """
    head = model.base.get_output_embeddings()
    if by_onednn(kind, model.device, compile):
        _replace_linear(model.base, _Int8, but=head)
        return
    from torchao import quantization  # pyright: ignore[reportMissingImports] (an extra)

    dynamic = kind == "int8"
    chosen = quantization.Int8DynamicActivationInt8WeightConfig() if dynamic else quantization.Int8WeightOnlyConfig()
    quantization.quantize_(
        model.base, chosen, filter_fn=lambda module, _: isinstance(module, nn.Linear) and module is not head
    )


def by_onednn(kind: str | None, device: torch.device, compile: bool = False) -> bool:
    """Whether a quantisation is oneDNN's there: without units for it sums of 8-bit products may overflow."""
    fits = kind == "int8" and device.type == "cpu" and not compile
    return fits and torch.backends.mkldnn.is_available() and int8_units()


def int8_units() -> bool:
    """Whether the CPU multiplies in 8 bits and adds up in 32 (x86's AVX-512 VNNI, which AMX comes with)."""
    return torch.cpu._is_vnni_supported()


def compile_parts(model: Any) -> None:
    """Let `torch.compile` make kernels of the decoder and of the auxiliary tower when they first run, for any size."""
    model.adapter.decoder(model.base).compile(dynamic=True)
    model.aux.compile(dynamic=True)


def pack(model: Any) -> None:
    """Lay linear weights of the base and the auxiliary tower out as the CPU's units for bfloat16 read them, once
    instead of at every product.

    Products of one row, as in writing, then take half the time. Activations behind a product come with it, before it
    is rounded. The weights are no longer those that are mapped from disk, so all count as the process's own memory.

    Args:
        model: an `FO1`, where it is to run.

    Raises:
        InputError: it does not run in bfloat16 on a CPU with units for that.
    """
    if model.device.type != "cpu" or model.dtype != torch.bfloat16 or not bfloat16_units():
        raise InputError(
            f"pack is for bfloat16 on a CPU with units for it; this model runs in {dtype_name(model.dtype)} on "
            f"{model.device}: add dtype bfloat16, or leave it out."
        )
    for part in (model.base, model.aux):
        _replace_linear(part, _Packed)
        _fuse_activations(part)


# What oneDNN calls them, and which of its kinds they are.
_FUSED = {GELUActivation: ("gelu", "none"), SiLUActivation: ("swish", "")}


def _fuse_activations(part: nn.Module) -> None:
    """Let packed layers compute the activation that follows them, where transformers' names say that it does."""
    for block in part.modules():
        for name, follows in (("fc1", "activation_fn"), ("gate_proj", "act_fn")):
            layer, activation = getattr(block, name, None), getattr(block, follows, None)
            if isinstance(layer, _Packed) and type(activation) in _FUSED:
                layer.activation = _FUSED[type(activation)]
                setattr(block, follows, nn.Identity())


def _replace_linear(base: nn.Module, make: Callable[[nn.Linear], nn.Module], but: nn.Module | None = None) -> None:
    """Put what `make` makes of each linear layer of the base in its place."""
    linear = [
        (parent, name)
        for parent in base.modules()
        for name, part in parent.named_children()
        if type(part) is nn.Linear and part is not but
    ]
    for parent, name in linear:
        setattr(parent, name, make(getattr(parent, name)))


class _Packed(nn.Module):
    """A linear layer with its weight in oneDNN's own layout, by the operators that torch.compile calls as well."""

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self.out_features, self.bias = linear.out_features, linear.bias
        self.activation: tuple[str, str] = ("none", "")
        with torch.no_grad():
            self._packed = torch.ops.mkldnn._reorder_linear_weight(linear.weight.data, 1)

    def forward(self, inputs: Tensor) -> Tensor:
        if not inputs.numel():
            return inputs.new_zeros(*inputs.shape[:-1], self.out_features)
        name, kind = self.activation
        return torch.ops.mkldnn._linear_pointwise(inputs, self._packed, self.bias, name, [], kind)


class _Int8(nn.Module):
    """A linear layer in 8 bits, by the oneDNN operators that torch.compile calls for quantised models as well.

    Weights have a scale for each output, inputs one for each token, so that what a token gives does not depend on what
    is read beside it.
    """

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self.out_features, self.bias = linear.out_features, linear.bias
        with torch.no_grad():
            weight = linear.weight.float()
            self._scales = weight.abs().amax(1).clamp_min(_LEAST) / 127
            rounded = weight.div(self._scales[:, None]).round_().to(torch.int8)
            self._packed = torch.ops.onednn.qlinear_prepack(rounded, None)
        self._zeros = torch.zeros(linear.out_features, dtype=torch.int32)

    def forward(self, inputs: Tensor) -> Tensor:
        shape = (*inputs.shape[:-1], self.out_features)
        if not inputs.numel():
            return inputs.new_zeros(shape)
        # A few rows at a time, so that what is between two steps stays in the processor's cache: half the time of all.
        parts = [_rounded(rows) for rows in inputs.reshape(-1, inputs.shape[-1]).split(128)]
        rounded, scales = (torch.cat(part) for part in zip(*parts, strict=True))
        found = torch.ops.onednn.qlinear_pointwise(
            rounded, 1.0, 128, self._packed, self._scales, self._zeros, None, 1.0, 0, torch.float32, "none", [], ""
        ).mul_(scales)
        if self.bias is not None:
            found += self.bias
        return found.to(inputs.dtype).reshape(shape)


def _rounded(rows: Tensor) -> tuple[Tensor, Tensor]:
    """Rows in unsigned 8 bits, 128 for nothing, as units for 8 bits multiply unsigned by signed; and scales [n, 1]."""
    scales = rows.abs().amax(1, keepdim=True).float().clamp_min(_LEAST) / 127
    return (rows.float() / scales).add_(128.5).to(torch.uint8), scales  # cut off, so rounded
