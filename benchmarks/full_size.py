"""What a question costs at the public 3B's widths, beside the same model run plainly in the reference's order.

    python benchmarks/full_size.py [--json] [--layers 12] [--blocks 8] [--size 640x480] [--boxes 100] [--tokens 12]
                                   [--dtype bfloat16] [--pack] [--rounds 1] [--quick]

The model has random weights, the 3B's widths and vocabulary, its whole DaViT-L, and fewer layers, so that it fits into
5 GB. Figures are CPU seconds of one thread; the kinds of run take turns. "plain" upsamples maps, pools them by
torchvision, reads a whole prompt with logits at every place for every question, and attends by transformers' own
attention: what the reference does. It gives the same tokens, which a test of a small model holds.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from measuring import DEMO, parser_of, peak_mb, processor
from PIL import Image
from torch import Tensor
from torchvision.ops import roi_align
from transformers import DynamicCache
from transformers.initialization import no_init_weights

from fo1agent.model import running
from fo1agent.model.attention import NAME as OWN_ATTENTION
from fo1agent.model.config import FO1Config
from fo1agent.model.encoding import ImageFeatures
from fo1agent.model.finding import find_folder
from fo1agent.model.fo1 import FO1
from fo1agent.model.frames import ImageInputs
from fo1agent.model.predictor import Predictor
from fo1agent.model.processing import FO1Processor
from fo1agent.model.region_encoder import box_embedding
from fo1agent.model.sequence import Sample
from fo1agent.model.tokenizer_files import add_tokens, load_tokenizer
from fo1agent.pictures.image import load_image
from fo1agent.regions.regions import Regions

MOST_BOXES = 1000  # of a picture; the 3B's limit is 100
QUICK = 8  # the widths of the 3B are divided by that where only the script is tried
QUESTIONS = [f"What is beside <region{k}>, and what does it do there?" for k in range(10)]


def main() -> None:
    parser = options_of(__doc__, layers=12, blocks=8, rounds=1)
    parser.add_argument("--pack", action="store_true", help="measure ours again with load(pack=True)")
    options = parser.parse_args()

    torch.set_num_threads(1)
    predictor, image, boxes = made(options)
    figures = measure(predictor, image, boxes, options.tokens, options.rounds)
    if options.pack:
        running.pack(predictor.model)
        packed = measure(predictor, image, boxes, options.tokens, options.rounds, plain=False)
        figures |= {name.replace("ours", "packed"): value for name, value in packed.items()}
    figures["peak_gb"] = peak_mb() / 1024
    if options.json:
        print(json.dumps({"options": vars(options), **figures}, indent=2))
        return
    print(f"{processor()}, 1 thread, torch {torch.__version__}, {options.dtype}, {options.size}; CPU seconds")
    for name, value in figures.items():
        print(f"  {name:<44}{value:>10.2f}")


def options_of(told: str | None, layers: int, blocks: int, rounds: int, davit: int = 9) -> argparse.ArgumentParser:
    """The options of a benchmark of a wide model, and how deep that is by default."""
    parser = parser_of(told)
    parser.add_argument("--layers", type=int, default=layers, help="of the language model; the 3B has 36")
    parser.add_argument("--blocks", type=int, default=blocks, help="of the vision tower; the 3B has 32")
    parser.add_argument("--davit", type=int, default=davit, help="of its third stage; the 3B has 9")
    parser.add_argument("--size", default="640x480")
    parser.add_argument("--boxes", type=int, default=100)
    parser.add_argument("--tokens", type=int, default=12, help="of each answer")
    parser.add_argument("--dtype", default="bfloat16")
    parser.add_argument("--rounds", type=int, default=rounds)
    parser.add_argument("--quick", action="store_true", help="a small model and picture: only whether it runs")
    return parser


def made(options: argparse.Namespace) -> tuple[Predictor, Image.Image, np.ndarray]:
    """The model, picture and boxes [N, 4] that such options ask for."""
    if options.quick:
        options.layers, options.blocks, options.rounds = 2, 2, 1
        options.size, options.boxes, options.tokens = "96x64", 3, 2
    dtype = getattr(torch, options.dtype)
    config = wide_config(options.layers, options.blocks, options.davit, QUICK if options.quick else 1)
    predictor = wide_predictor(config, dtype)
    width, height = map(int, options.size.split("x"))
    return predictor, photo(width, height), some_boxes(options.boxes, width, height)


def photo(width: int, height: int) -> Image.Image:
    """The photograph of a bus, in that size."""
    return Image.open(DEMO / "bus.jpg").convert("RGB").resize((width, height))


# --- a model of the 3B's widths ----------------------------------------------------------------------------------


def wide_predictor(config: FO1Config, dtype: torch.dtype) -> Predictor:
    """Random weights of a configuration, with the tokenizer of fo1-nano and names for more boxes."""
    folder, _ = find_folder(None)
    tokenizer = load_tokenizer(folder, config)
    add_tokens(tokenizer, MOST_BOXES)
    config.processing = {"max_regions": MOST_BOXES}
    torch.set_default_dtype(dtype)
    with no_init_weights():
        model = FO1(config)
    torch.set_default_dtype(torch.float32)
    with torch.no_grad():
        fill(model)
    return Predictor(model.to(dtype).eval(), FO1Processor(tokenizer, config), name="wide")  # pyright: ignore[reportArgumentType]


def wide_config(layers: int, blocks: int, deepest: int = 9, narrow: int = 1) -> FO1Config:
    """The public 3B's, but for the depth of its parts.

    Args:
        layers: of the language model.
        blocks: of the vision tower; each eighth attends to the whole picture, as in the 3B.
        deepest: blocks of the third of DaViT's four stages; the 3B has 9.
        narrow: what widths and heads are divided by.
    """
    davit = {"embed_dim": [256, 512, 1024, 2048], "num_heads": [8, 16, 32, 64], "num_groups": [8, 16, 32, 64]}
    return FO1Config(
        base_config={
            "model_type": "qwen2_5_vl",
            "text_config": {
                "vocab_size": 151_936,
                "hidden_size": 2048 // narrow,
                "intermediate_size": 11_008 // narrow,
                "num_hidden_layers": layers,
                "num_attention_heads": 16 // narrow,
                "num_key_value_heads": 2 if narrow == 1 else 1,
                "rope_parameters": {"rope_type": "default", "rope_theta": 1e6, "mrope_section": [16, 24, 24]},
            },
            "vision_config": {
                "depth": blocks,
                "hidden_size": 1280 // narrow,
                "intermediate_size": 3420 // narrow,
                "num_heads": 16 // narrow,
                "out_hidden_size": 2048 // narrow,
                "fullatt_block_indexes": [*range(7, blocks, 8)] or [blocks - 1],
            },
            "tie_word_embeddings": True,
        },
        aux={
            "type": "davit",
            **{name: [width // narrow for width in widths] for name, widths in davit.items()},
            "depths": [1, 1, deepest, 1],
            "drop_path_rate": 0.0,
        },
        region={"primary_channels": 1280 // narrow},
    )


def fill(model: torch.nn.Module) -> None:
    """Norms pass their input on, biases are nothing, all other weights are small and random."""
    tile = torch.randn(2**20 + 7, generator=torch.Generator().manual_seed(0)) * 0.02
    for name, value in model.named_parameters():
        if value.ndim > 1:
            flat = value.view(-1)
            for start in range(0, len(flat), len(tile)):
                part = flat[start : start + len(tile)]
                part.copy_(tile[: len(part)])
        else:
            value.fill_(float(name.endswith("weight")))


def some_boxes(count: int, width: int, height: int) -> np.ndarray:
    """Boxes [N, 4] of every size, inside the picture."""
    rng = np.random.default_rng(0)
    sides = rng.uniform(0.05, 0.5, (count, 2)) * [width, height]
    corners = rng.uniform(0, 1, (count, 2)) * ([width, height] - sides)
    return np.concatenate([corners, corners + sides], axis=1)


# --- the reference's order ---------------------------------------------------------------------------------------


@torch.inference_mode()
def plain_answer(predictor: Predictor, image: Image.Image, boxes: np.ndarray, question: str, tokens: int) -> list[int]:
    """Greedy ids of an answer, everything computed for this question alone."""
    model, processor = predictor.model, predictor.processor
    parts: list[Any] = [model.adapter.decoder(model.base), model.adapter.vision_tower(model.base)]
    for part in parts:
        part.set_attn_implementation("sdpa")
    try:
        inputs = processor.image(image)
        features = model.encode_image(inputs)
        regions = model.project_regions(plain_vectors(model, features, inputs, boxes))
        sample = Sample(processor.prompt_ids([len(boxes)], question), [features.picture], regions)
        batch, cache = model.assemble([sample]), DynamicCache()
        logits = model(batch, cache, logits_to_keep=0).logits
        position, found = batch.next_position, []
        while True:
            found.append(int(logits[0, -1].argmax()))
            if found[-1] in predictor.stop_ids or len(found) == tokens:
                return found
            embeds = model.embed(torch.tensor([found[-1:]], device=model.device))
            hidden = model.decode(embeds, position.expand(model.adapter.axes, 1, 1), None, cache)
            logits, position = model.base.lm_head(hidden), position + 1
    finally:
        for part in parts:
            part.set_attn_implementation(OWN_ATTENTION)


def plain_vectors(model: FO1, features: ImageFeatures, inputs: ImageInputs, boxes: np.ndarray) -> Tensor:
    """Region vectors [N, F]: all maps at the size of the finest, RoIAlign of each, averages of its bins."""
    encoder, sizes = model.region_encoder, inputs.sizes
    assert encoder.simple_fpn is not None
    assert features.primary_map is not None
    places = [place(boxes) for place in (sizes.to_aux, sizes.to_primary)]
    aux_boxes, primary_boxes = (torch.from_numpy(place).float().to(model.device) for place in places)
    finest = features.aux_maps[0].shape[2:]
    upsampled = [F.interpolate(m.float(), size=finest, mode="bilinear") for m in features.aux_maps]
    size = encoder.config.roi_size
    parts = [_pooled(torch.cat(upsampled, dim=1), aux_boxes, encoder.levels[0].stride, size)]
    for level, stride in zip(encoder.simple_fpn(features.primary_map), encoder.config.fpn_strides, strict=True):
        parts.append(_pooled(level.float(), primary_boxes, stride, size))
    return torch.cat(parts, dim=1) + box_embedding(primary_boxes, sizes.primary_wh, encoder.pooled_size)


def _pooled(features: Tensor, boxes: Tensor, stride: float, size: int) -> Tensor:
    return roi_align(features, [boxes], size, 1 / stride).mean((2, 3))


# --- measuring ---------------------------------------------------------------------------------------------------


def measure(
    predictor: Predictor,
    image: Image.Image,
    boxes: np.ndarray,
    tokens: int,
    rounds: int,
    plain: bool = True,
    clock: Callable[[], float] = time.process_time,
) -> dict[str, float]:
    """Seconds of a clock, the least of the rounds."""
    regions = Regions(boxes, np.ones(len(boxes)), (None,) * len(boxes), tuple(f"r{k}" for k in range(len(boxes))))
    loaded = load_image(image)

    def encode() -> Any:
        predictor.cache = type(predictor.cache)(predictor.cache_bytes)
        return predictor.encode(loaded, regions)

    def write(texts: Sequence[str]) -> None:
        # Ids without an end, so that every way writes as many.
        stop, predictor.stop_ids = predictor.stop_ids, frozenset()
        if len(texts) == 1:
            predictor.generate(encoding, texts[0], tokens)
        else:
            predictor.generate_many(encoding, texts, tokens)
        predictor.stop_ids = stop

    def caption(regions: list[int]) -> None:
        stop, predictor.stop_ids = predictor.stop_ids, frozenset()
        predictor.generate_many(encoding, [f"Describe <region{k % len(boxes)}>." for k in regions], 2 * tokens)
        predictor.stop_ids = stop

    def answer_plainly() -> None:
        stop, predictor.stop_ids = predictor.stop_ids, frozenset()
        plain_answer(predictor, image, boxes, QUESTIONS[0], tokens)
        predictor.stop_ids = stop

    encoding = encode()
    phrases = iter(range(10**6))
    ways: dict[str, Callable[[], Any]] = {"plain: a question": answer_plainly} if plain else {}
    ways |= {
        "ours: a picture read": encode,
        "ours: one question about it": lambda: write(QUESTIONS[:1]),
        "ours: ten questions together": lambda: write(QUESTIONS),
        "ours: a phrase grounded": lambda: predictor.match(encoding, [f"thing {next(phrases)}"]),
        "ours: 80 phrases grounded together": lambda: predictor.match(
            encoding, [f"kind {next(phrases)}" for _ in range(80)]
        ),
        "ours: one other box read": lambda: predictor.with_boxes(encoding, boxes[:1]),
        "ours: 16 captions together": lambda: caption(list(range(16))),
        "ours: 16 captions one by one": lambda: [caption([k]) for k in range(16)],
    }
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, run in ways.items():
            start = clock()
            run()
            seconds[name].append(clock() - start)
    figures = {name: min(taken) for name, taken in seconds.items()}
    if not plain:
        return figures
    first = figures["ours: a picture read"] + figures["ours: one question about it"]
    figures["plain / ours, the first question"] = figures["plain: a question"] / first
    ten = figures["ours: a picture read"] + figures["ours: ten questions together"]
    figures["plain / ours, ten questions"] = 10 * figures["plain: a question"] / ten
    together = figures["ours: 16 captions together"]
    figures["one by one / together, 16 captions"] = figures["ours: 16 captions one by one"] / together
    figures["megabytes kept of the picture"] = encoding.nbytes / 1e6
    return figures


if __name__ == "__main__":
    main()
