"""What the first answer costs in a new process, and later ones in a warm one, by ONNX Runtime and by torch.

    python benchmarks/instant.py [--json] [--rounds N]

Both engines take turns, so that what else the machine does falls on both. Cold, a process of its own answers by
`fo1agent ask`, or counts by `fo1agent.load()`; beside them is what `import torch` alone takes. Warm, each picture is
new to the models, and the second question is about another thing.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from PIL import Image

import fo1agent

PHOTO = Path(fo1agent.__file__).parent / "data" / "demo" / "cat.jpg"
FIRST, SECOND = "How many remotes are there?", "Is there a couch to the left of a laptop?"
ENGINES = ("onnx", "torch")
COUNT = f"import fo1agent; fo1agent.load(engine={{engine!r}}).open({str(PHOTO)!r}).count('remote')"
COLD: dict[str, Callable[[str], list[str]]] = {
    "ask": lambda engine: ["-m", "fo1agent", "ask", str(PHOTO), FIRST, "--engine", engine],
    "count": lambda engine: ["-c", COUNT.format(engine=engine)],
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    figures = cold(options.rounds) | warm(options.rounds)
    if options.json:
        print(json.dumps(figures, indent=2))
        return
    print(f"{platform.machine()}, {os.cpu_count()} cores, medians of {options.rounds} (least to most)")
    for name, (median, least, most) in figures.items():
        print(f"{name:<36}{median:9.2f}   ({least:.2f} to {most:.2f})")


def cold(rounds: int) -> dict[str, tuple[float, float, float]]:
    """Seconds and megabytes of processes that answer once."""
    taken: dict[str, list[float]] = {}
    for _ in range(rounds + 1):  # the first round only fills the caches of files
        runs = {f"cold {what}, {engine}": make(engine) for what, make in COLD.items() for engine in ENGINES}
        for name, arguments in {**runs, "import torch": ["-c", "import torch"]}.items():
            seconds, megabytes = process(arguments)
            taken.setdefault(f"{name}, s", []).append(seconds)
            taken.setdefault(f"{name}, MB", []).append(megabytes)
    return {name: spread(values[1:]) for name, values in taken.items()}


def process(arguments: list[str]) -> tuple[float, float]:
    """Wall seconds and peak megabytes of a Python process."""
    start = time.perf_counter()
    child = subprocess.Popen([sys.executable, *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        sys.exit(f"{arguments} failed: {child.stderr.read().decode() if child.stderr else ''}")
    return time.perf_counter() - start, usage.ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)


def warm(rounds: int) -> dict[str, tuple[float, float, float]]:
    """Milliseconds of a first and a second question about pictures that are new."""
    agents = {engine: fo1agent.Agent(fo1agent.load(engine=engine)) for engine in ENGINES}
    taken: dict[str, list[float]] = {}
    photo = Image.open(PHOTO).convert("RGB")
    for number in range(rounds + 2):
        photo.putpixel((0, 0), (number, 0, 0))  # another picture, by its content
        for engine, agent in agents.items():
            scenes: list[Any] = []

            def first(agent: Any = agent, scenes: list[Any] = scenes) -> None:
                scenes.append(agent.model.open(photo.copy()))
                agent.ask(scenes[0], FIRST)

            taken.setdefault(f"warm first question, {engine}, ms", []).append(milliseconds(first))
            second = milliseconds(lambda agent=agent, scenes=scenes: agent.ask(scenes[0], SECOND))
            taken.setdefault(f"warm second question, {engine}, ms", []).append(second)
    return {name: spread(values[2:]) for name, values in taken.items()}


def milliseconds(run: Callable[[], object]) -> float:
    start = time.perf_counter()
    run()
    return 1000 * (time.perf_counter() - start)


def spread(values: list[float]) -> tuple[float, float, float]:
    """Median, least and most."""
    return statistics.median(values), min(values), max(values)


if __name__ == "__main__":
    main()
