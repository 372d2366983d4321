"""The parts of a model as ONNX graphs, for an engine that needs no torch; see `onnx_predictor.py`, which runs them.

A graph holds no weights: its initialisers are named as in the folder's safetensors files, and are given to it when it
is loaded, so nothing is stored twice and weights may change under a graph. Each part is traced, with every size that
depends on the picture, its boxes or its words left open. What a tracer cannot follow is computed around the graphs.
"""

from __future__ import annotations

import io
import json
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fo1agent.errors import InputError, MissingExtraError
from fo1agent.extras import install_line
from fo1agent.model import mobilenet
from fo1agent.model.finding import find_folder
from fo1agent.model.fo1 import FO1
from fo1agent.model.heads import RegionKeys
from fo1agent.model.onnx_graphs import FOLDER, FORMAT, MANIFEST, PREFIX, layout, read_own, why_not
from fo1agent.model.region_encoder import read_cells
from fo1agent.model.views import PIXELS
from fo1agent.whole import whole

OPSET = 18


class Part(nn.Module):
    """A part to be traced. It holds the whole model, so that its weights keep their names."""

    def __init__(self, model: FO1) -> None:
        super().__init__()
        self.model = model


class TowerPart(Part):
    """A view [1, H, W, 3] → the tower's maps, and its detector's box codes [A, 4] and class logits [A, K]."""

    def forward(self, pixels: Tensor) -> tuple[Tensor, ...]:
        pixels = pixels.permute(0, 3, 1, 2)
        with _known_padding():
            maps = self.model.aux.maps(pixels)
        codes, logits, _ = self.model.aux.read(maps)
        return *maps, F.avg_pool2d(pixels, int(PIXELS.stride)), codes, logits


@contextmanager
def _known_padding() -> Iterator[None]:
    """Inside, a tracer takes the padding that it sees for that of every view.

    Their sides are 44 mod 64, so each stage of the backbone (not the smaller levels behind it) pads all alike. ONNX
    Runtime makes known padding a part of the convolution, and so does not copy the largest maps twice.
    """
    padding = mobilenet.same_padding
    mobilenet.same_padding = lambda size: padding(int(size))
    try:
        yield
    finally:
        mobilenet.same_padding = padding


class ProposalPart(Part):
    """The maps that the head reads → objectness logits [P] and box sides [P, 4] of all cells."""

    def forward(self, *maps: Tensor) -> tuple[Tensor, Tensor]:
        outputs = self.model.proposal_head(maps)
        logits, sides = (torch.cat([level[k][0].flatten(1) for level in outputs], dim=1).T for k in (0, 1))
        return logits[:, 0], sides


class VisionPart(Part):
    """Patches [P, 1176], cosines and sines [P, head] of their places, a mask [P, P] of windows → image tokens."""

    def forward(self, patches: Tensor, cosines: Tensor, sines: Tensor, windows: Tensor) -> Tensor:
        visual: Any = self.model.adapter.vision_tower(self.model.base)
        hidden = visual.patch_embed(patches)
        for k, block in enumerate(visual.blocks):
            mask = None if k in visual.fullatt_block_indexes else windows
            seen = self._attend(block.attn, block.norm1(hidden), cosines, sines, mask)
            hidden = hidden + seen
            hidden = hidden + block.mlp(block.norm2(hidden))
        return self.model.image_projector(visual.merger(hidden))

    def _attend(self, attention: Any, hidden: Tensor, cosines: Tensor, sines: Tensor, mask: Tensor | None) -> Tensor:
        shape = (-1, 3, attention.num_heads, attention.head_dim)
        query, key, value = attention.qkv(hidden).reshape(shape).permute(1, 2, 0, 3).unbind(0)  # [heads, P, head]
        query, key = (x * cosines + _turned(x) * sines for x in (query, key))
        seen = F.scaled_dot_product_attention(query, key, value, mask)
        return attention.proj(seen.transpose(0, 1).flatten(1))


class RegionPart(Part):
    """Per pool a map and the weights of its rows and columns, what is added to the pooled numbers [N, F], and evidence
    [N, E] → region tokens [N, d] and logits of the predicted overlap [N]."""

    def forward(self, embedding: Tensor, evidence: Tensor, *reads: Tensor) -> tuple[Tensor, Tensor]:
        pooled = [read_cells(*reads[k : k + 3]) for k in range(0, len(reads), 3)]
        tokens = self.model.region_projector(torch.cat([torch.cat(pooled, dim=1) + embedding, evidence], dim=1))
        head = self.model.iou_head
        return tokens, torch.zeros_like(tokens[:, 0]) if head is None else head(tokens)


class DecoderPart(Part):
    """Embeddings [1, S, d] behind keys and values of L tokens → last states [1, S, d], and keys and values of L + S."""

    def forward(self, embeds: Tensor, positions: Tensor, mask: Tensor, *past: Tensor) -> tuple[Tensor, ...]:
        cache = self.model.adapter.cache(self.model.config.base_config)
        for layer in range(len(past) // 2):
            cache.update(past[2 * layer], past[2 * layer + 1], layer)
        states = self.model.decode(embeds, positions, mask, cache)
        layers: list[Any] = list(cache.layers)
        return states, *(kept for layer in layers for kept in (layer.keys, layer.values))


class KeysPart(Part):
    """States and tokens of regions [N, d], and their evidence → what phrases are matched with."""

    def forward(self, states: Tensor, tokens: Tensor, evidence: Tensor) -> tuple[Tensor, ...]:
        keys = self.model.match_head.keys(states, tokens, evidence, None)
        return keys.keys, keys.named, keys.detected, keys.seen


class MatchPart(Part):
    """States of phrases [P, d], and regions → the unweighted terms of match logits [4, P, N]."""

    def forward(
        self, states: Tensor, fit: Tensor, keys: Tensor, named: Tensor, detected: Tensor, seen: Tensor
    ) -> Tensor:
        return self.model.match_head.terms(states, RegionKeys(keys, fit, named, detected, seen))


def _turned(x: Tensor) -> Tensor:
    """The other halves of pairs that a rotation mixes."""
    half = x.shape[-1] // 2
    return torch.cat([-x[..., half:], x[..., :half]], dim=-1)


def export(name_or_folder: str | Path | None, into: Path | None = None) -> Path:
    """Write the graphs of a model's parts.

    Args:
        name_or_folder: as for `fo1agent.load`.
        into: a folder with the same configuration and weights; None is the model's own.

    Returns:
        The folder of the graphs, which is new as a whole.

    Raises:
        CheckpointError: the model does not load.
        InputError: it has parts for which there are no graphs; says which.
        MissingExtraError: the package `onnx` is not installed.
    """
    folder, _ = find_folder(name_or_folder)
    config = read_own(folder)
    if lacking := why_not(config):
        raise InputError(f"{folder} cannot be exported to onnx: {lacking}.")
    if not find_spec("onnx"):
        raise MissingExtraError(f"Exporting needs the package onnx. Install it: {install_line('export')}")
    target, weights = (into or folder) / FOLDER, {}
    model = FO1.from_pretrained(folder)
    with whole(target, replace=True) as temporary:
        temporary.mkdir()
        for name, (part, inputs, outputs) in _parts(model).items():
            graph, weights[name] = _without_weights(_traced(part, inputs, outputs))
            (temporary / f"{name}.onnx").write_bytes(graph)
        manifest = {"format": FORMAT, "layout": layout(config), "weights": weights}
        (temporary / MANIFEST).write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")
    return target


Inputs = dict[str, tuple[Tensor, dict[int, str]]]
"""Input → an example, and the names of the axes whose size is open."""


def _parts(model: FO1) -> dict[str, tuple[Part, Inputs, list[str]]]:
    """Each graph's part, example inputs, and the names of its outputs."""
    width, vision, text = (
        model.config.hidden_size,
        model.config.base_config.vision_config,
        model.config.get_text_config(),
    )
    head = text.hidden_size // text.num_attention_heads
    sizes = [(-(-300 // level.stride), -(-364 // level.stride)) for level in model.aux.levels]
    maps = [torch.rand(1, level.channels, *size) for level, size in zip(model.aux.levels, sizes, strict=True)]
    per_map = {k: (one, {2: f"height{k}", 3: f"width{k}"}) for k, one in enumerate(maps)}
    tower = {"pixels": (torch.rand(1, 300, 364, 3), {1: "height", 2: "width"})}
    parts: dict[str, tuple[Part, Inputs, list[str]]] = {
        "tower": (TowerPart(model), tower, [*(f"map{k}" for k in per_map), "codes", "logits"])
    }
    if model.proposal_head is not None:
        read = {f"map{k}": per_map[k] for k in model.config.heads["proposal"]["levels"]}
        parts["proposals"] = ProposalPart(model), read, ["logits", "sides"]
    per_patch, side = 3 * vision.temporal_patch_size * vision.patch_size**2, vision.hidden_size // vision.num_heads
    patches: Inputs = {
        "patches": (torch.rand(24, per_patch), {0: "patches"}),
        "cosines": (torch.rand(24, side), {0: "patches"}),
        "sines": (torch.rand(24, side), {0: "patches"}),
        "windows": (torch.zeros(24, 24), {0: "patches", 1: "patches"}),
    }
    parts["vision"] = VisionPart(model), patches, ["tokens"]
    encoder = model.region_encoder
    regions: Inputs = {
        "embedding": (torch.rand(3, encoder.pooled_size), {0: "regions"}),
        "evidence": (torch.rand(3, encoder.config.evidence_size), {0: "regions"}),
    }
    for k, pool in enumerate(encoder.config.pools):
        height, cells = sizes[pool.level]
        regions[f"read{k}"] = maps[pool.level], {2: f"height{pool.level}", 3: f"width{pool.level}"}
        regions[f"rows{k}"] = torch.rand(3, pool.bins, height), {0: "regions", 2: f"height{pool.level}"}
        regions[f"columns{k}"] = torch.rand(3, pool.bins, cells), {0: "regions", 2: f"width{pool.level}"}
    parts["regions"] = RegionPart(model), regions, ["tokens", "fit"]
    layers = [f"{kind}{k}" for k in range(text.num_hidden_layers) for kind in ("keys", "values")]
    decoder: Inputs = {
        "embeds": (torch.rand(1, 3, width), {1: "new"}),
        "positions": (torch.arange(5, 8).expand(3, 1, -1).contiguous(), {2: "new"}),
        "mask": (torch.zeros(1, 1, 3, 8), {2: "new", 3: "all"}),
        **{name: (torch.rand(1, text.num_key_value_heads, 5, head), {2: "old"}) for name in layers},
    }
    parts["decoder"] = DecoderPart(model), decoder, ["states", *(f"all_{name}" for name in layers)]
    return parts | _match_parts(model)


def _match_parts(model: FO1) -> dict[str, tuple[Part, Inputs, list[str]]]:
    match, width, evidence = model.match_head, model.config.hidden_size, model.region_encoder.config.evidence_size
    of_regions: Inputs = {
        "states": (torch.rand(3, width), {0: "regions"}),
        "tokens": (torch.rand(3, width), {0: "regions"}),
        "evidence": (torch.rand(3, evidence), {0: "regions"}),
    }
    of_phrases: Inputs = {
        "states": (torch.rand(2, width), {0: "phrases"}),
        "fit": (torch.rand(3), {0: "regions"}),
        "keys": (torch.rand(3, match.query.out_features), {0: "regions"}),
        "named": (torch.rand(3, match.names_known), {0: "regions"}),
        "detected": (torch.rand(3, match.classes), {0: "regions"}),
        "seen": (torch.ones(3, dtype=torch.bool), {0: "regions"}),
    }
    return {
        "keys": (KeysPart(model), of_regions, ["keys", "named", "detected", "seen"]),
        "match": (MatchPart(model), of_phrases, ["terms"]),
    }


def _traced(part: Part, inputs: Inputs, outputs: list[str]) -> bytes:
    """A graph with its weights."""
    file: Any = io.BytesIO()
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that this way of exporting is the older one, and what a tracer freezes
        torch.onnx.export(
            part.eval(),
            tuple(example for example, _ in inputs.values()),
            file,
            dynamo=False,
            opset_version=OPSET,
            input_names=list(inputs),
            output_names=outputs,
            dynamic_axes={name: axes for name, (_, axes) in inputs.items()},
            do_constant_folding=False,  # it would make weights of its own
        )
    return file.getvalue()


def _without_weights(graph: bytes) -> tuple[bytes, list[str]]:
    """A graph whose weights are left to who loads it, and their names; what is known without them is computed now."""
    import onnx  # pyright: ignore[reportMissingImports] (an extra)

    model = onnx.load_from_string(graph)
    weights = [one for one in model.graph.initializer if one.name.startswith(PREFIX)]
    for weight in weights:
        model.graph.initializer.remove(weight)
        model.graph.input.append(onnx.helper.make_tensor_value_info(weight.name, weight.data_type, weight.dims))
    model = _simplified(model)
    for weight in weights:
        model.graph.input.remove(next(one for one in model.graph.input if one.name == weight.name))
        weight.ClearField("raw_data")
        weight.data_location = onnx.TensorProto.EXTERNAL
        place = weight.external_data.add()
        place.key, place.value = "location", "model.safetensors"
        model.graph.initializer.append(weight)
    return model.SerializeToString(), [weight.name for weight in weights]


def _simplified(model: Any) -> Any:
    """The same graph in fewer nodes, all of the standard: half of what every start would read and simplify."""
    import onnx  # pyright: ignore[reportMissingImports] (an extra)
    import onnxruntime

    for node in model.graph.node:
        if node.op_type == "Pad" and not node.input[-1]:
            del node.input[-1]  # a value left out; named as missing, it keeps the padding from joining the convolution
    with tempfile.TemporaryDirectory() as folder:
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
        options.optimized_model_filepath = str(Path(folder) / "graph.onnx")
        onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        made = onnx.load(options.optimized_model_filepath)
    standard = [one for one in made.opset_import if not one.domain]
    del made.opset_import[:]
    made.opset_import.extend(standard)
    return made
