"""What the first answer costs in a new process, and later ones in a warm one, by ONNX Runtime and by torch.

    python benchmarks/instant.py [--json] [--rounds N] [--quick]

Both engines take turns, so that what else the machine does falls on both; where it does much, seconds of CPU tell more.
Cold, a process of its own answers by `fo1agent ask`, counts by `fo1agent.load()`, or serves a host by `fo1agent mcp`;
beside them is what `import torch` alone takes. Warm, each picture is new to the models, and the questions about it are
all different. Then two processes answer at once, each with as many threads as there are cores, and a server holds ten
pictures.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from measuring import DEMO, machine, megabytes, parser_of
from PIL import Image
from served import photograph, served

import fo1agent
from fo1agent.client import connect

PHOTO = DEMO / "cat.jpg"
QUESTIONS = (
    "How many remotes are there?",
    "Is there a couch to the left of a laptop?",
    "How many cats are there?",
    "Is there a dog?",
    "Are there more cats than remotes?",
    "What is to the left of the couch?",
    "How many people and cups are there in total?",
    "Is the remote to the right of the cat?",
    "How many books are there?",
    "Is there a red car?",
)
FIRST = QUESTIONS[0]
ENGINES = ("onnx", "torch")
COUNT = f"import fo1agent; fo1agent.load(engine={{engine!r}}).open({str(PHOTO)!r}).count('remote')"
COLD: dict[str, Callable[[str], list[str]]] = {
    "ask": lambda engine: ["-m", "fo1agent", "ask", str(PHOTO), FIRST, "--engine", engine],
    "count": lambda engine: ["-c", COUNT.format(engine=engine)],
}
HELLO = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "benchmark", "version": "0"}}
TOGETHER, NEW_PICTURES, OPEN_PICTURES = 2, 3, 10

Figures = dict[str, tuple[float, float, float]]


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--quick", action="store_true", help="one round: whether it runs, and roughly how fast")
    parser.add_argument("--answer", choices=ENGINES, help=argparse.SUPPRESS)  # be one of those who answer at once
    options = parser.parse_args()
    if options.answer:
        answer(options.answer)
        return
    rounds = 1 if options.quick else options.rounds
    figures: Figures = {}
    for measure in (cold, hosted, warm, together, holding):
        figures |= measure(rounds)
    if options.json:
        print(json.dumps(figures, indent=2))
        return
    print(f"{machine()}, medians of {rounds} (least to most)")
    for name, (median, least, most) in figures.items():
        print(f"{name:<44}{median:9.2f}   ({least:.2f} to {most:.2f})")


def cold(rounds: int) -> Figures:
    """Seconds and megabytes of processes that answer once."""
    taken: dict[str, list[float]] = {}
    for _ in range(rounds + 1):  # the first round only fills the caches of files
        runs = {f"cold {what}, {engine}": make(engine) for what, make in COLD.items() for engine in ENGINES}
        for name, arguments in {**runs, "import torch": ["-c", "import torch"]}.items():
            for unit, value in zip(("s", "CPU s", "MB"), process(arguments), strict=True):
                taken.setdefault(f"{name}, {unit}", []).append(value)
    return {name: spread(values[1:]) for name, values in taken.items()}


def process(arguments: list[str]) -> tuple[float, float, float]:
    """Seconds by the clock and of all cores, and peak megabytes, of a Python process."""
    start = time.perf_counter()
    child = subprocess.Popen([sys.executable, *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        sys.exit(f"{arguments} failed: {child.stderr.read().decode() if child.stderr else ''}")
    return time.perf_counter() - start, usage.ru_utime + usage.ru_stime, megabytes(usage)


def hosted(rounds: int) -> Figures:
    """Seconds from the start of `fo1agent mcp` to what it answers to `initialize`, and to its first count."""
    taken: dict[str, list[float]] = {}
    for _ in range(rounds + 1):
        for engine in ENGINES:
            for what, seconds in zip(("initialize", "first count"), host(engine), strict=True):
                taken.setdefault(f"cold mcp to {what}, {engine}, s", []).append(seconds)
    return {name: spread(values[1:]) for name, values in taken.items()}


def host(engine: str) -> tuple[float, float]:
    """One new `fo1agent mcp`: seconds to the answer to `initialize`, and from the same start to the first count."""
    start = time.perf_counter()
    command = [sys.executable, "-m", "fo1agent", "mcp", "--allow", str(PHOTO.parent), "--engine", engine]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        asked(child, 0, "initialize", HELLO)
        greeted = time.perf_counter() - start
        tell(child, {"method": "notifications/initialized"})
        result = asked(
            child, 1, "tools/call", {"name": "count", "arguments": {"image": str(PHOTO), "phrase": "remote"}}
        )
        counted = time.perf_counter() - start
        if result["structuredContent"]["value"] != 2:
            sys.exit(f"fo1agent mcp counted {result['structuredContent']['value']} remotes, not 2")
        child.terminate()
    return greeted, counted


def asked(child: Any, number: int, method: str, params: Any) -> Any:
    """The result of a request, which is sent now."""
    tell(child, {"id": number, "method": method, "params": params})
    for line in child.stdout:
        message = json.loads(line)
        if message.get("id") == number:
            return message["result"]
    sys.exit(f"fo1agent mcp ended before it answered {method}")


def tell(child: Any, message: dict[str, Any]) -> None:
    child.stdin.write(json.dumps({"jsonrpc": "2.0", **message}) + "\n")
    child.stdin.flush()


def warm(rounds: int) -> Figures:
    """Milliseconds of a first, a second and all ten questions about pictures that are new."""
    agents = {engine: fo1agent.Agent(fo1agent.load(engine=engine)) for engine in ENGINES}
    taken: dict[str, list[float]] = {}
    for number in range(rounds + 2):
        for engine, agent in agents.items():
            each = asking(agent, number)
            for what, some in (("first question", each[:1]), ("second question", each[1:2]), ("ten questions", each)):
                for unit, values in zip(("ms", "CPU ms"), zip(*some, strict=True), strict=True):
                    taken.setdefault(f"warm {what}, {engine}, {unit}", []).append(sum(values))
    return {name: spread(values[2:]) for name, values in taken.items()}


def asking(agent: Any, number: int, questions: Sequence[str] = QUESTIONS) -> list[tuple[float, float]]:
    """Milliseconds, by the clock and of all cores, of each question about a picture that no other number has.

    Opening the picture is part of the first.
    """
    photo = Image.open(PHOTO).convert("RGB")
    photo.putpixel((0, 0), (number, 0, 0))
    taken, scene = [], None
    for question in questions:
        start = time.perf_counter(), time.process_time()
        scene = scene or agent.model.open(photo)
        agent.ask(scene, question)
        taken.append((1000 * (time.perf_counter() - start[0]), 1000 * (time.process_time() - start[1])))
    return taken


def together(rounds: int) -> Figures:
    """Milliseconds of a first question, by the clock and of all cores, where two processes answer at once."""
    taken: dict[str, list[float]] = {}
    for _ in range(rounds):
        for engine in ENGINES:
            command = [sys.executable, __file__, "--answer", engine]
            pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
            children: list[Any] = [subprocess.Popen(command, **pipes) for _ in range(TOGETHER)]
            for child in children:
                child.stdout.readline()  # it has loaded
            for child in children:
                child.stdin.write("\n")
                child.stdin.flush()
            for child in children:
                for what, value in json.loads(child.communicate()[0]).items():
                    taken.setdefault(f"two at once, first question, {engine}, {what}", []).append(value)
    return {name: spread(values) for name, values in taken.items()}


def answer(engine: str) -> None:
    """Be one of several processes: load, wait for a line, answer about new pictures, print what each took."""
    agent = fo1agent.Agent(fo1agent.load(engine=engine))
    asking(agent, 0, [FIRST])
    print("loaded", flush=True)
    sys.stdin.readline()
    taken = [asking(agent, 1 + number, [FIRST])[0] for number in range(NEW_PICTURES)]
    print(json.dumps(dict(zip(("ms", "CPU ms"), map(statistics.median, zip(*taken, strict=True)), strict=True))))


def holding(rounds: int) -> Figures:
    """Megabytes of a server that has answered a question about each of ten pictures, which are open."""
    taken: dict[str, list[float]] = {}
    for number in range(rounds):
        for engine in ENGINES:
            with served(["--engine", engine]) as server:
                client = connect(server.url)
                for picture in range(OPEN_PICTURES):
                    client.ask(photograph(number, picture), FIRST)
                for kind, megabytes in memory(server.pid).items():
                    taken.setdefault(f"serve, ten pictures, {engine}, {kind} MB", []).append(megabytes)
    return {name: spread(values) for name, values in taken.items()}


def memory(pid: int) -> dict[str, float]:
    """Of a process: all that is resident, its share of that (PSS), and what is no file's; nothing but on Linux."""
    try:
        rows = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]
    except OSError:
        return {}
    known = {name: int(value.split()[0]) / 2**10 for name, value in (row.split(":") for row in rows)}
    return {"resident": known["Rss"], "PSS": known["Pss"], "anonymous": known["Anonymous"]}


def spread(values: list[float]) -> tuple[float, float, float]:
    """Median, least and most."""
    return statistics.median(values), min(values), max(values)


if __name__ == "__main__":
    main()
