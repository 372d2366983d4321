"""How fast each stage of training runs, which share of the machine's measured matmul peak that is, and what bounds it.

    python benchmarks/training.py [--json] [--threads N] [--rounds N] [--profile FILE.txt] [--model FOLDER]
        [--instances FILE.json --images DIR [--captions FILE.jsonl]]

The stages of fo1-nano with the batches and precision of its packaged recipe, on generated pictures or the first ones of
the given data. They take turns, one step each a round, and so do the matrix products that measure the peak. With one
thread, times are processor time, which other work on the machine hardly changes; with more they are wall time. Images
per second are medians; shares compare the fastest step with the fastest product. Operations are torch's own count of a
step, forward and backward. With `--profile`, the ten costliest operators of each stage go into a text file.
"""

from __future__ import annotations

import contextlib
import io
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from measuring import parser_of, processor
from PIL import Image, ImageDraw
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode

from fo1agent.model.predictor import Predictor, load_predictor
from fo1agent.trainers import alignment, base, instruction
from fo1agent.trainers.data import features
from fo1agent.trainers.data.coco import CocoData, load_coco
from fo1agent.trainers.data.records import Example
from fo1agent.trainers.data.tasks import TaskMaker
from fo1agent.trainers.engine import Engine
from fo1agent.trainers.language import LanguageStage
from fo1agent.trainers.naming import NamingStage
from fo1agent.trainers.nano import NanoRecipe
from fo1agent.trainers.parameters import make_optimizer, train_only
from fo1agent.trainers.precision import resolve
from fo1agent.trainers.processes import ONE
from fo1agent.trainers.recipe import load_recipe
from fo1agent.trainers.stage import Stage
from fo1agent.trainers.step import TrainSettings, train_step

PICTURES = 48  # that the stages learn from
SIZE, BOXES = (416, 312), 9  # of generated pictures: the median of coco-natural
TOWERS_AT_ONCE = 4  # pictures of one timed pass through the towers
WARM_UP = 2
PEAK_SIDE = 1024  # of the square matrices that measure the peak

# Where an operator's time goes; the first group whose word is in its name.
GROUPS: Mapping[str, tuple[str, ...]] = {
    "matrix products": ("mm", "linear", "attention", "matmul", "dot", "einsum"),
    "convolutions": ("conv",),
    "optimiser": ("adam", "foreach"),
    "moving and casting": ("copy", "cat", "_to", "clone", "contiguous", "index", "gather", "scatter", "fill", "zero"),
}


@dataclass
class Case:
    """One stage to be measured.

    Attributes:
        name: of the stage.
        pictures: that one run takes.
        precision: "float32" or "bfloat16".
        prepare: called before each run, outside of its time.
        run: a step, by its number.
        batch: makes the batch of a step and nothing else; None where there is none.
        seconds, batch_seconds: of every timed run.
        flops: of one run.
    """

    name: str
    pictures: int
    precision: str
    prepare: Callable[[], object]
    run: Callable[[int], object]
    batch: Callable[[int], object] | None = None
    seconds: list[float] = field(default_factory=list)
    batch_seconds: list[float] = field(default_factory=list)
    flops: int = 0
    groups: dict[str, float] = field(default_factory=dict)
    table: str = ""


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("--threads", type=int, help="of torch; its own choice if absent")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--profile", type=Path, metavar="FILE.txt", help="write the costliest operators of each stage")
    parser.add_argument("--model", help="name or folder; the embedded nano if absent")
    parser.add_argument("--instances", type=Path, help="COCO instances; generated pictures if absent")
    parser.add_argument("--images", type=Path, help="the folder of their pictures")
    parser.add_argument("--captions", type=Path, help="their captions")
    options = parser.parse_args()
    if (options.instances is None) != (options.images is None):
        parser.error("--instances and --images go together")
    if options.threads:
        torch.set_num_threads(options.threads)

    with tempfile.TemporaryDirectory() as work, contextlib.ExitStack() as stack:
        predictor = load_predictor(options.model)
        if options.instances is None:
            data = generated(predictor.vocabulary or ("thing", "other thing"))
        else:
            data = given(options.instances, options.images, options.captions)
        cases = make_cases(predictor, data, Path(work), stack)
        peaks = measure(cases, options.rounds)
        threads = torch.get_num_threads()
        torch.set_num_threads(1)  # what is counted and profiled is what the thread does that asks for it
        for case in cases:
            look_inside(case, step=WARM_UP + options.rounds)
        torch.set_num_threads(threads)
    figures = {case.name: summary(case, peaks) for case in cases}
    machine = {"machine": processor(), "threads": torch.get_num_threads(), "torch": torch.__version__}
    if options.profile:
        tables = [f"{case.name}\n{bounds(figures[case.name])}\n\n{case.table}" for case in cases]
        options.profile.write_text("\n".join(tables), encoding="utf-8")
    if options.json:
        rates = {f"peak_{name}_gflops": round(rate / 1e9, 1) for name, rate in peaks.items()}
        print(json.dumps({**machine, **rates, "stages": figures}, indent=2))
        return
    peak_words = ", ".join(f"{name} {rate / 1e9:.0f}" for name, rate in peaks.items())
    print(f"{', '.join(f'{k} {v}' for k, v in machine.items())}; peak GFLOP/s: {peak_words}")
    print(f"{'stage':<12}{'images/s':>9}{'GFLOP/image':>13}{'GFLOP/s':>9}{'of bf16':>9}{'of fp32':>9}  bounded by")
    for name, f in figures.items():
        shares = f"{f['share_of_bfloat16_peak']:>9.1%}{f['share_of_float32_peak']:>9.1%}"
        numbers = f"{f['images_per_second']:>9.2f}{f['gflop_per_image']:>13.2f}{f['gflop_per_second']:>9.1f}"
        print(f"{name:<12}{numbers}{shares}  {bounds(f)}")


# --- what is measured --------------------------------------------------------------------------------------------


def make_cases(predictor: Predictor, data: CocoData, work: Path, stack: contextlib.ExitStack) -> list[Case]:
    """The towers' pass over pictures, and each stage that learns from what they saw."""
    model, processor = predictor.model, predictor.processor
    recipe = load_recipe(NanoRecipe, "nano", ())
    few = CocoData(data.images[:TOWERS_AT_ONCE], data.categories)

    def towers(step: int) -> None:
        features.open_or_build(work / f"towers{step}-{time.perf_counter_ns()}", model, processor, few, mirror=False)

    def frozen() -> None:
        model.eval().requires_grad_(False)

    cases = [Case("features", len(few), "float32", frozen, towers)]
    store = features.open_or_build(work / "features", model, processor, data)
    tasks, every = TaskMaker(data.categories), range(len(data))
    naming: Any = recipe.naming
    stages: list[tuple[Stage, TrainSettings, int]] = [
        (NamingStage(model, store, tasks.index, every, naming.batch_size), naming.train, naming.batch_size)
    ]
    for table in (base.TABLE, alignment.TABLE, instruction.TABLE):
        settings: Any = getattr(recipe, table.name)
        stage = LanguageStage(table, model, processor, store, tasks, every, settings.batch_size)
        stages.append((stage, settings.train, settings.batch_size))
    return [*cases, *(trained(*stage, stack) for stage in stages)]


def trained(stage: Stage, settings: TrainSettings, pictures: int, stack: contextlib.ExitStack) -> Case:
    """A stage's whole step: batch, forward, backward, clipping, optimiser."""
    parts = train_only(stage.model, stage.trainable())
    engine = stack.enter_context(Engine.placed(stage, ONE, split=False, recompute=False))
    optimizer = make_optimizer(parts, settings)
    settings = replace(settings, precision=resolve(settings.precision, ONE.device))
    return Case(
        stage.name,
        pictures,
        settings.precision,
        # All stages share one model, so each takes its own parts before it is timed.
        prepare=lambda: train_only(stage.model, stage.trainable()),
        run=lambda step: train_step(stage, optimizer, settings, step, engine),
        batch=stage.batch,
    )


def given(instances: Path, images: Path, captions: Path | None) -> CocoData:
    """The first pictures of a COCO file."""
    data = load_coco(instances, images, captions)
    return CocoData(data.images[:PICTURES], data.categories)


def generated(names: Sequence[str]) -> CocoData:
    """Noise with bright rectangles on it, named at random."""
    rng = np.random.default_rng(0)
    width, height = SIZE
    pictures = []
    for k in range(PICTURES):
        image = Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8))
        pen = ImageDraw.Draw(image)
        corners = rng.uniform(0, 0.8, (BOXES, 2)) * SIZE
        boxes = np.concatenate([corners, corners + rng.uniform(0.05, 0.2, (BOXES, 2)) * SIZE], axis=1)
        for box in boxes:
            pen.rectangle(box.tolist(), fill=tuple(rng.integers(0, 256, 3).tolist()))
        labels = tuple(str(name) for name in rng.choice(names, BOXES))
        encoded = io.BytesIO()
        image.save(encoded, "JPEG")
        pictures.append(
            Example(
                k,
                None,
                width,
                height,
                boxes.astype(np.float32),
                labels,
                np.zeros(BOXES, dtype=bool),
                captions=(f"A {labels[0]} beside a {labels[1]} and a {labels[2]} on a grey wall.",),
                absent=tuple(name for name in names if name not in labels),
                data=encoded.getvalue(),
            )
        )
    return CocoData(tuple(pictures), tuple(names))


# --- measuring ---------------------------------------------------------------------------------------------------


def measure(cases: Sequence[Case], rounds: int) -> dict[str, float]:
    """Time every case `rounds` times, in turns; returns the fastest matrix product by precision, FLOP/s."""
    peaks = {"bfloat16": 0.0, "float32": 0.0}
    for step in range(WARM_UP + rounds):
        for precision in peaks:
            peaks[precision] = max(peaks[precision], matmul_rate(getattr(torch, precision)))
        for case in cases:
            case.prepare()
            seconds = timed(lambda case=case: case.run(step))  # noqa: B023 (called at once)
            make = case.batch
            making = timed(lambda make=make: make(step)) if make else 0.0  # noqa: B023
            if step >= WARM_UP:
                case.seconds.append(seconds)
                case.batch_seconds.append(making)
        print(f"round {step + 1} of {WARM_UP + rounds}", file=sys.stderr)
    return peaks


def matmul_rate(dtype: torch.dtype) -> float:
    """FLOP/s of one large product, the best of three."""
    a, b = (torch.randn(PEAK_SIDE, PEAK_SIDE).to(dtype) for _ in range(2))
    return 2 * PEAK_SIDE**3 / min(timed(lambda: a @ b) for _ in range(3))


def timed(run: Callable[[], object]) -> float:
    """Seconds: of the processor for one thread, on the wall for several."""
    clock = time.process_time if torch.get_num_threads() == 1 else time.perf_counter
    start = clock()
    run()
    return clock() - start


def look_inside(case: Case, step: int) -> None:
    """Count the operations of one run, and see which operators take its time."""
    case.prepare()
    with FlopCounterMode(display=False, custom_mapping=CPU_ATTENTION) as counter:
        case.run(step)
    case.flops = counter.get_total_flops()
    case.prepare()
    with profile(activities=[ProfilerActivity.CPU]) as profiler:
        start = time.perf_counter()
        case.run(step + 1)
        whole = time.perf_counter() - start  # as the profiler counts
    averages = profiler.key_averages()
    case.table = averages.table(sort_by="self_cpu_time_total", row_limit=10, max_name_column_width=50)
    seconds = dict.fromkeys(GROUPS, 0.0) | {"other operators": 0.0}
    for event in averages:
        group = next(
            (g for g, words in GROUPS.items() if any(w in event.key.lower() for w in words)), "other operators"
        )
        seconds[group] += event.self_cpu_time_total / 1e6
    # What no operator accounts for is Python: making batches, and calling operators.
    seconds["outside operators"] = max(0.0, whole - sum(seconds.values()))
    case.groups = {group: value / whole for group, value in seconds.items()}


def summary(case: Case, peaks: Mapping[str, float]) -> dict[str, Any]:
    """A case's figures as plain numbers."""
    median, best = statistics.median(case.seconds), min(case.seconds)
    return {
        "images_per_second": round(case.pictures / median, 3),
        "seconds_per_step": round(median, 4),
        "pictures_per_step": case.pictures,
        "precision": case.precision,
        "gflop_per_image": round(case.flops / case.pictures / 1e9, 3),
        "gflop_per_second": round(case.flops / best / 1e9, 2),
        "share_of_bfloat16_peak": round(case.flops / best / peaks["bfloat16"], 4),
        "share_of_float32_peak": round(case.flops / best / peaks["float32"], 4),
        "making_batches": round(statistics.median(case.batch_seconds) / median, 3),
        "time": {group: round(share, 3) for group, share in case.groups.items()},
    }


def bounds(figures: Mapping[str, Any]) -> str:
    """Where the time goes, the largest share first."""
    shares = sorted(figures["time"].items(), key=lambda item: -item[1])
    words = [f"{group} {share:.0%}" for group, share in shares if share >= 0.05]
    return ", ".join(words) + (f"; making batches {figures['making_batches']:.0%}" if figures["making_batches"] else "")


def _attention(query: Sequence[int], key: Sequence[int], value: Sequence[int], *_: Any, **__: Any) -> int:
    """Two products: queries with keys, and their weights with the values."""
    batch, heads, queries, width = query
    return 2 * batch * heads * queries * key[2] * (width + value[3])


def _attention_backward(_: Sequence[int], query: Sequence[int], key: Sequence[int], *rest: Any, **__: Any) -> int:
    """Five products of the forward pass's sizes."""
    batch, heads, queries, width = query
    return 2 * batch * heads * queries * key[2] * width * 5


# torch's counter knows the attention kernels of graphics cards only.
CPU_ATTENTION = {
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: _attention,
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward: _attention_backward,
}

if __name__ == "__main__":
    main()
