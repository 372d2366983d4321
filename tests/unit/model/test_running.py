"""Which dtype "auto" is, and that another attention, 8 bits and compiling change how a model runs, not what it says."""

from __future__ import annotations

import copy
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from transformers.activations import ACT2FN

from fo1agent.cli.doctor import examine
from fo1agent.errors import InputError, MissingExtraError
from fo1agent.loading import load
from fo1agent.model import running
from fo1agent.model.fo1 import FO1
from fo1agent.model.predictor import Predictor, load_predictor
from fo1agent.regions.regions import Regions
from tests.tiny_models import CHECKPOINT, FIXTURES, nano, reference

CPU = torch.device("cpu")
IMAGE = Image.open(FIXTURES / "images" / "d_97x65_3.png").convert("RGB")
BOXES = np.array([[24.0, 3.88, 91.35, 48.7], [32.22, 17.12, 45.79, 61.6], [11.19, 25.35, 66.94, 64.14]])


@pytest.fixture
def units(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Give the CPU the units that are named, as torch names them."""

    def set_units(*names: str, onednn: bool = True) -> None:
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: dict.fromkeys(names, True), raising=False)
        monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: onednn)

    return set_units


@pytest.mark.parametrize("name", ["avx512_bf16", "amx_bf16", "bf16"])
def test_bfloat16_stays_where_the_cpu_has_units_for_it(name: str, units: Callable[..., None]) -> None:
    units("avx2", name)
    assert running.suited(torch.bfloat16, CPU) == torch.bfloat16
    assert [running.suited(other, CPU) for other in (torch.float16, torch.float32)] == [torch.float32] * 2


def test_bfloat16_becomes_float32_where_it_would_be_emulated(units: Callable[..., None]) -> None:
    units("avx2", "avx512_f")
    assert running.suited(torch.bfloat16, CPU) == torch.float32
    units("bf16", onednn=False)  # such as an Apple chip, whose units torch leaves alone
    assert running.suited(torch.bfloat16, CPU) == torch.float32


def test_auto_is_the_dtype_that_a_folder_holds_if_the_cpu_has_units_for_it(
    tmp_path: Path, units: Callable[..., None], caplog: pytest.LogCaptureFixture
) -> None:
    stored, processor = copy.deepcopy(reference()[0]).bfloat16(), reference()[1]
    stored.save_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)
    units("avx512_bf16")
    with caplog.at_level("INFO"):
        assert load(tmp_path, engine="torch").predictor.model.dtype == torch.bfloat16  # pyright: ignore[reportAttributeAccessIssue]
    assert "runs in bfloat16 on cpu" in caplog.text
    units()
    for told in ("auto", None):
        model = FO1.from_pretrained(tmp_path, told)
        assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    assert torch.equal(model.base.lm_head.weight, stored.base.lm_head.weight.float())
    assert FO1.from_pretrained(CHECKPOINT).dtype == torch.float32


def test_the_nano_is_stored_in_half_precision_and_runs_in_float32(units: Callable[..., None]) -> None:
    units("avx512_bf16")
    assert load_predictor().model.dtype == torch.float32


def test_doctor_says_what_auto_would_choose(units: Callable[..., None]) -> None:
    units("avx512_bf16")
    told = next(check.detail for check in examine() if check.name == "torch")
    assert told.endswith("bfloat16 weights on the CPU: bfloat16 (avx512_bf16)")
    units()
    told = next(check.detail for check in examine() if check.name == "torch")
    assert told.endswith("float32 (no units for bfloat16)")


# --- attention, 8 bits, compiled ---------------------------------------------------------------------------------


def said(model: FO1, processor: Any) -> np.ndarray:
    """Scores of two phrases [2, 3], and that the model can write."""
    predictor = Predictor(model, processor)
    regions = Regions(BOXES, np.ones(3), (None,) * 3, ("r0", "r1", "r2"))
    encoding = predictor.encode(IMAGE, regions)
    assert isinstance(predictor.generate(encoding, "What?", max_new_tokens=3), str)
    predictor.reader()([3, 4])
    return predictor.match(encoding, ["dog", "red car"])


@pytest.mark.parametrize("pair", [reference, nano])
def test_eager_attention_gives_the_same_scores(pair: Callable[[], tuple[FO1, Any]]) -> None:
    model, processor = copy.deepcopy(pair()[0]), pair()[1]
    running.set_attention(model, "eager")
    parts = model.base.model.visual, model.base.model.language_model
    assert [part.config._attn_implementation for part in parts] == ["eager", "eager"]
    np.testing.assert_allclose(said(model, processor), said(*pair()), atol=1e-5)


def test_flash_attention_that_is_not_there_is_told_in_a_line() -> None:
    with pytest.raises(InputError, match=r"attn flash_attention_2 does not run here: .*Flash"):
        running.set_attention(copy.deepcopy(reference()[0]), "flash_attention_2")


def test_the_decoder_and_the_auxiliary_tower_are_compiled_for_any_size(monkeypatch: pytest.MonkeyPatch) -> None:
    model, compiled = copy.deepcopy(reference()[0]), []
    monkeypatch.setattr(nn.Module, "compile", lambda self, **options: compiled.append((self, options)))
    running.compile_parts(model)
    assert compiled == [(part, {"dynamic": True}) for part in (model.base.model.language_model, model.aux)]


@pytest.mark.parametrize(
    ("options", "error", "told"),
    [
        ({"attn": "magic"}, InputError, "attn must be sdpa, eager or flash_attention_2, got 'magic'."),
        ({"quantize": "int3"}, InputError, "quantize must be int8 or int8-weights, got 'int3'."),
        ({"pack": True, "compile": True}, InputError, "pack does not go with quantize or compile"),
        ({"quantize": "int8"}, MissingExtraError, 'quantize int8 needs torchao: pip install "torchao>='),
    ],
)
def test_what_cannot_be_is_said_before_anything_is_loaded(
    options: dict[str, Any], error: type[Exception], told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(running.importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(running, "int8_units", lambda: False)
    with pytest.raises(error, match=told.split(" pip")[0]):
        load_predictor("nowhere/at-all", **options)


def test_the_base_is_quantised_but_for_its_output_layer(monkeypatch: pytest.MonkeyPatch) -> None:
    chosen: list[str] = []

    def quantize_(model: nn.Module, config: str, filter_fn: Callable[[nn.Module, str], bool]) -> None:
        chosen.extend([config, *(name for name, part in model.named_modules() if filter_fn(part, name))])

    module = SimpleNamespace(
        quantize_=quantize_,
        Int8DynamicActivationInt8WeightConfig=lambda: "both",
        Int8WeightOnlyConfig=lambda: "weights",
    )
    monkeypatch.setitem(sys.modules, "torchao", SimpleNamespace(quantization=module))
    monkeypatch.setattr(running, "int8_units", lambda: False)
    model = reference()[0]
    for kind, config in (("int8", "both"), ("int8-weights", "weights")):
        chosen.clear()
        running.quantize(model, kind)
        linear = {name for name, part in model.base.named_modules() if isinstance(part, nn.Linear)}
        assert chosen[0] == config
        assert set(chosen[1:]) == linear - {"lm_head"}


@pytest.mark.parametrize("kind", running.QUANTIZATIONS)
@pytest.mark.parametrize("pair", [reference, nano])
def test_a_model_in_8_bits_by_torchao_says_nearly_the_same(
    kind: str, pair: Callable[[], tuple[FO1, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(running, "int8_units", lambda: False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its own
        pytest.importorskip("torchao.quantization")
        model, processor = copy.deepcopy(pair()[0]), pair()[1]
        running.quantize(model, kind)
        np.testing.assert_allclose(said(model, processor), said(*pair()), atol=0.1)


in_8_bits = pytest.mark.skipif(not running.by_onednn("int8", CPU), reason="needs a CPU with units for 8 bits")


@in_8_bits
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("pair", [reference, nano])
def test_a_cpu_with_units_for_8_bits_needs_no_torchao(
    pair: Callable[[], tuple[FO1, Any]], dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torchao", None)
    monkeypatch.setattr(running.importlib.util, "find_spec", lambda name: None)
    running.check(None, "int8", False, False, "cpu")
    for compiled, device in ((True, "cpu"), (False, "cuda")):
        with pytest.raises(MissingExtraError):
            running.check(None, "int8", compiled, False, device)
    made: Any = copy.deepcopy(pair()[0])
    model, processor = made.to(dtype), pair()[1]
    wanted = said(model, processor)
    head = model.base.lm_head
    running.quantize(model, "int8")
    assert [part for part in model.base.modules() if isinstance(part, nn.Linear)] == [head]
    np.testing.assert_allclose(said(model, processor), wanted, atol=0.1)


@in_8_bits
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("bias", [True, False])
@torch.inference_mode()
def test_a_layer_in_8_bits_is_near_and_no_row_changes_another(dtype: torch.dtype, bias: bool) -> None:
    torch.manual_seed(0)
    linear = nn.Linear(96, 40, bias=bias, dtype=dtype)
    base = nn.Sequential(linear)
    linear.weight[3] = 0  # rows of nothing have no size to go by
    inputs = torch.randn(5, 60, 96, dtype=dtype)  # more rows than are rounded at a time
    inputs[0, :2] = 0
    inputs[1] *= 1000
    wanted = base[0].float()(inputs.float())
    kept = inputs.clone()
    base.to(dtype)
    running.quantize(SimpleNamespace(base=_WithoutHead(base), device=CPU), "int8")
    found = base(inputs)
    assert found.dtype == dtype
    assert torch.equal(inputs, kept)
    sizes = inputs.float().norm(dim=2) / 96**0.5
    assert ((found.float() - wanted).abs().amax(2) <= 0.05 * sizes + 0.01).all()
    for rows in (inputs[2:3, :1], inputs[1:3, 7:40], inputs[:0]):
        assert base(rows).shape == (*rows.shape[:2], 40)
    assert torch.equal(base(inputs[1:3, 7:40]), found[1:3, 7:40])
    assert torch.equal(base(inputs[2, 0]), found[2, 0])


class _WithoutHead(nn.Module):
    """A base that is one layer, and has no output layer."""

    def __init__(self, part: nn.Module) -> None:
        super().__init__()
        self.part = part

    def get_output_embeddings(self) -> None:
        return None


class _Packed(nn.Module):
    """A linear layer as torch's own dynamic quantisation leaves it: without parameters, and no vectors alone."""

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self.weight = lambda: linear.weight
        self._run = linear.forward

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        assert inputs.ndim > 1
        assert inputs.dtype == torch.float32
        return self._run(inputs)


def test_projector_and_output_layer_may_be_quantised_by_other_means() -> None:
    model, processor = copy.deepcopy(reference()[0]), reference()[1]
    model.base.lm_head = _Packed(model.base.lm_head)
    model.region_projector = nn.Sequential(
        *(_Packed(part) if isinstance(part, nn.Linear) else part for part in model.region_projector.children())
    )
    np.testing.assert_allclose(said(model, processor), said(*reference()), atol=1e-5)


@pytest.mark.skipif(not running.bfloat16_units(), reason="needs a CPU with units for bfloat16")
@pytest.mark.parametrize("pair", [reference, nano])
def test_packed_weights_give_the_same_scores(pair: Callable[[], tuple[FO1, Any]]) -> None:
    stored, processor = copy.deepcopy(pair()[0]).bfloat16(), pair()[1]
    wanted, parts = said(stored, processor), (stored.base, stored.aux)
    assert any(isinstance(layer, nn.Linear) for part in parts for layer in part.modules())
    running.pack(stored)
    assert not any(isinstance(layer, nn.Linear) for part in parts for layer in part.modules())
    np.testing.assert_allclose(said(stored, processor), wanted, atol=0.02)
    nothing = torch.zeros(0, stored.config.hidden_size, dtype=torch.bfloat16)
    assert stored.base.lm_head(nothing).shape == (0, stored.config.get_text_config().vocab_size)


@pytest.mark.skipif(not running.bfloat16_units(), reason="needs a CPU with units for bfloat16")
@pytest.mark.parametrize(("name", "activation"), [("fc1", "gelu"), ("gate_proj", "silu")])
def test_packed_layers_compute_the_activation_behind_them(name: str, activation: str) -> None:
    torch.manual_seed(0)
    block, inputs = nn.Module(), torch.randn(3, 8)
    layer, follows = nn.Linear(8, 16), {"fc1": "activation_fn", "gate_proj": "act_fn"}[name]
    wanted = ACT2FN[activation](layer(inputs))
    block.register_module(name, layer.bfloat16())
    block.register_module(follows, ACT2FN[activation])
    running._replace_linear(block, running._Packed)
    running._fuse_activations(block)
    found = getattr(block, follows)(getattr(block, name)(inputs.bfloat16()))
    assert isinstance(getattr(block, follows), nn.Identity)
    torch.testing.assert_close(found.float(), wanted, atol=0.02, rtol=0.02)


def test_weights_in_float32_are_not_packed() -> None:
    with pytest.raises(
        InputError, match=r"pack is for bfloat16 .* runs in float32 on cpu: add dtype bfloat16, or leave it out."
    ):
        running.pack(reference()[0])
