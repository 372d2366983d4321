"""What a question costs on a GPU at the public 3B's size, beside the same model run plainly in the reference's order.

    python benchmarks/gpu.py [--json] [--layers 36] [--blocks 32] [--size 640x480] [--boxes 100] [--tokens 12]
                             [--dtype bfloat16] [--rounds 3] [--compile] [--device cuda] [--quick]

The model has random weights. Figures are seconds by the wall until the device has done its work; the kinds of run take
turns after one that warms up. What each is stands in `full_size.py`, which measures a smaller model on a CPU.
"""

from __future__ import annotations

import json
import time
from typing import Any

import torch
from full_size import made, measure, options_of

from fo1agent.model import running


def main() -> None:
    parser = options_of(__doc__, layers=36, blocks=32, rounds=3)
    parser.add_argument("--compile", action="store_true", help="measure ours again with load(compile=True)")
    parser.add_argument("--device", default="cuda", help="cpu only tries the script")
    options = parser.parse_args()
    device: Any = torch.device(options.device)
    if device.type == "cuda" and not torch.cuda.is_available():
        parser.error("There is no CUDA device here. benchmarks/full_size.py measures on a CPU.")

    def clock() -> float:
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        return time.perf_counter()

    predictor, image, boxes = made(options)
    predictor.model.to(device)
    measure(predictor, image, boxes, 2, 1, clock=clock)
    figures = measure(predictor, image, boxes, options.tokens, options.rounds, clock=clock)
    if options.compile:
        running.compile_parts(predictor.model)
        measure(predictor, image, boxes, 2, 1, plain=False, clock=clock)
        compiled = measure(predictor, image, boxes, options.tokens, options.rounds, plain=False, clock=clock)
        figures |= {name.replace("ours", "compiled"): value for name, value in compiled.items()}
    if device.type == "cuda":
        figures["peak_gb"] = torch.cuda.max_memory_allocated(device) / 2**30
    if options.json:
        print(json.dumps(figures, indent=2))
        return
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "a CPU"
    print(f"{name}, torch {torch.__version__}, {options.dtype}, {options.size}; seconds")
    for what, value in figures.items():
        print(f"  {what:<44}{value:>10.3f}")


if __name__ == "__main__":
    main()
