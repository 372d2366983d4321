"""Which share of what the machine can do each part of a model of the public 3B's widths reaches.

    python benchmarks/shares.py [--json] [--layers 12] [--blocks 8] [--size 640x480] [--boxes 100] [--tokens 12]
                                [--dtype bfloat16] [--pack] [--rounds 1] [--quick]

Of the towers, SimpleFP and the reading of a prompt: their operations, attention counted in full, over those of the
fastest matrix product of the same run. Of writing: the bytes of the weights that a token reads, over what a copy reads
and writes in the same time. CPU seconds of one thread; the parts and what they are held against take turns.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from full_size import QUESTIONS, made, options_of
from measuring import processor
from PIL import Image
from torch.utils.flop_counter import FlopCounterMode
from training import CPU_ATTENTION, matmul_rate, timed

from fo1agent.model import running
from fo1agent.model.generation import greedy
from fo1agent.model.predictor import Predictor
from fo1agent.model.sequence import Sample

COPIED = 2**28  # bytes of the copy that measures the bandwidth: beyond any cache


def main() -> None:
    parser = options_of(__doc__, layers=12, blocks=8, rounds=1)
    parser.add_argument("--pack", action="store_true", help="measure a model loaded with load(pack=True)")
    options = parser.parse_args()

    torch.set_num_threads(1)
    predictor, image, boxes = made(options)
    figures = measure(predictor, image, boxes, options.tokens, options.rounds, options.pack)
    if options.json:
        print(json.dumps(figures, indent=2))
        return
    print(f"{processor()}, 1 thread, torch {torch.__version__}, {options.dtype}, {options.size}; CPU seconds")
    print(f"  product {figures['product_gflops']:.0f} GFLOP/s, copy {figures['copy_gb_a_second']:.1f} GB/s")
    for name, found in figures["parts"].items():
        print(f"  {name:<12}{found['seconds']:>9.3f} s{found['share']:>9.1%}")


@torch.inference_mode()
def measure(
    predictor: Predictor, image: Image.Image, boxes: np.ndarray, tokens: int, rounds: int, pack: bool
) -> dict[str, Any]:
    """Seconds, the least of the rounds, and share of each part."""
    parts = parts_of(predictor, image, boxes)
    # torch counts no product with packed weights.
    counted = {name: operations(run) for name, run in parts.items()}
    read = weights_a_token(predictor)
    if pack:
        running.pack(predictor.model)
    few, many = writer(predictor, 1), writer(predictor, 1 + tokens)
    names = (*parts, "decode")
    seconds: dict[str, list[float]] = {name: [] for name in names}
    product, bandwidth = 0.0, 0.0
    for _ in range(rounds):
        for name in names:
            product, bandwidth = max(product, matmul_rate(predictor.model.dtype)), max(bandwidth, copy_rate())
            if name == "decode":
                begun = timed(few)
                seconds[name].append((timed(many) - begun) / tokens)
            else:
                seconds[name].append(timed(parts[name]))
    least = {name: min(taken) for name, taken in seconds.items()}
    possible = {name: count / product for name, count in counted.items()} | {"decode": read / bandwidth}
    return {
        "product_gflops": product / 1e9,
        "copy_gb_a_second": bandwidth / 1e9,
        "parts": {name: {"seconds": least[name], "share": possible[name] / least[name]} for name in names},
    }


def parts_of(predictor: Predictor, image: Image.Image, boxes: np.ndarray) -> dict[str, Callable[[], object]]:
    """What reads a picture, by name."""
    model, asked = predictor.model, predictor.processor
    inputs = asked.image(image)
    views = {name: view.to(model.device, model.dtype) for name, view in inputs.aux_views.items()}
    features = model.encode_image(inputs)
    _, regions = model.encode_regions(features, torch.from_numpy(boxes))
    sample = Sample(asked.prefix_ids([len(boxes)]), [features.picture], regions)
    pyramid, primary_map = model.region_encoder.simple_fpn, features.primary_map
    assert pyramid is not None
    return {
        "vision tower": lambda: model.adapter.encode_image(model.base, inputs.seen.to(model.device), want_map=True),
        "DaViT": lambda: model.aux(views),
        "SimpleFP": lambda: pyramid(primary_map),
        "prefill": lambda: model.prefill(sample),
    }


def writer(predictor: Predictor, tokens: int) -> Callable[[], object]:
    """What writes so many tokens behind a few words."""
    question = predictor.processor.question_ids([], QUESTIONS[0])
    prefix = predictor.model.prefill(Sample(question[:-1]))
    return lambda: greedy(predictor.model, prefix, question[-1:], (), tokens)


def operations(run: Callable[[], object]) -> float:
    """Floating-point operations of a run."""
    with FlopCounterMode(display=False, custom_mapping=CPU_ATTENTION) as counter:
        run()
    return counter.get_total_flops()


def weights_a_token(predictor: Predictor) -> int:
    """Bytes of the decoder's layers and of its output layer, which each token reads; one row of its embeddings."""
    model = predictor.model
    layers = model.adapter.decoder(model.base).layers
    return sum(one.nbytes for one in layers.parameters()) + model.base.get_output_embeddings().weight.nbytes


def copy_rate() -> float:
    """Bytes a second that a copy reads and writes, the best of three."""
    source = torch.ones(COPIED, dtype=torch.uint8)
    target = source.clone()
    return 2 * COPIED / min(timed(lambda: target.copy_(source)) for _ in range(3))


if __name__ == "__main__":
    main()
