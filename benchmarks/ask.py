"""What a question costs in a warm process: the first about a picture, a second about the same, and the memory it takes.

    python benchmarks/ask.py [--json] [--model NAME|FOLDER] [--rounds N]

Exits 1 if a bar is missed. It measures time and memory only; `fo1agent eval` measures whether answers are right.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Callable, Iterator

import torch
from measuring import DEMO, parser_of, peak_mb, processor
from PIL import Image

import fo1agent

SIZE = (640, 480)
# Other words in the second question: the model keeps what it found for a phrase, and that is not what is measured.
FIRST = "How many cars are to the left of the bus?"
SECOND = "Are there more people than traffic lights?"
WARM_UP = 2
MOST_FIRST_TO_PLAIN, LEAST_FIRST_TO_SECOND, MOST_PEAK_GB = 3.0, 5.0, 1.5


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("--model", help="name or folder; the embedded nano if absent")
    parser.add_argument("--rounds", type=int, default=15)
    options = parser.parse_args()

    figures = measure(fo1agent.load(options.model, engine="torch"), options.rounds)
    held = (
        figures["first/plain"] <= MOST_FIRST_TO_PLAIN
        and figures["first/second"] >= LEAST_FIRST_TO_SECOND
        and figures["peak_gb"] <= MOST_PEAK_GB
    )
    if options.json:
        print(json.dumps({**figures, "bars_held": held}, indent=2))
    else:
        print(f"{processor()}, {torch.get_num_threads()} threads, torch {torch.__version__}, {SIZE[0]}x{SIZE[1]}")
        for what, name, bar in (
            ("plain forward of towers and proposal head, ms", "plain_ms", ""),
            ("first question, fresh scene, ms", "first_ms", ""),
            ("second question, same scene, ms", "second_ms", ""),
            ("first / plain", "first/plain", f"at most {MOST_FIRST_TO_PLAIN}"),
            ("first / second", "first/second", f"at least {LEAST_FIRST_TO_SECOND}"),
            ("peak memory, GB", "peak_gb", f"at most {MOST_PEAK_GB}"),
        ):
            print(f"{what:<46}{figures[name]:8.2f}   {bar}".rstrip())
    sys.exit(not held)


def measure(model: fo1agent.Model, rounds: int) -> dict[str, float]:
    """Medians in milliseconds, their ratios, and the process's peak memory in GB."""
    agent = fo1agent.Agent(model)
    plain, first, second = [], [], []
    for picture in pictures(WARM_UP + rounds):
        plain.append(milliseconds(plain_forward(model, picture)))
        scenes = []

        def ask_first(picture: Image.Image = picture, scenes: list[fo1agent.Scene] = scenes) -> None:
            scenes.append(model.open(picture))
            agent.ask(scenes[0], FIRST)

        first.append(milliseconds(ask_first))
        second.append(milliseconds(lambda scenes=scenes: agent.ask(scenes[0], SECOND)))
    medians = [statistics.median(times[WARM_UP:]) for times in (plain, first, second)]
    return {
        "plain_ms": medians[0],
        "first_ms": medians[1],
        "second_ms": medians[2],
        "first/plain": medians[1] / medians[0],
        "first/second": medians[1] / medians[2],
        "peak_gb": peak_mb() / 1024,
    }


def plain_forward(model: fo1agent.Model, picture: Image.Image) -> Callable[[], object]:
    """One pass of the towers and the proposal head, its input prepared beforehand."""
    predictor = model.predictor
    inputs = predictor.processor.image(picture)

    @torch.inference_mode()
    def run() -> object:
        return predictor.model.propose(predictor.model.encode_image(inputs), predictor.max_regions)

    return run


def pictures(n: int) -> Iterator[Image.Image]:
    """The photograph, one pixel changed each time: the model keeps what it encoded, by content."""
    photo = Image.open(DEMO / "bus.jpg").convert("RGB").resize(SIZE)
    for i in range(n):
        photo.putpixel((0, 0), (i % 256, i // 256, 0))
        yield photo.copy()


def milliseconds(run: Callable[[], object]) -> float:
    start = time.perf_counter()
    run()
    return 1000 * (time.perf_counter() - start)


if __name__ == "__main__":
    main()
