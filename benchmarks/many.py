"""What many questions cost one by one and all at once: CPU seconds of one thread, medians, in turns within one run.

    OMP_NUM_THREADS=1 python benchmarks/many.py

Ten questions of an agent about one picture, sixteen captions of its regions, the descriptions of eight pictures, and
five phrases in each of these, by ONNX Runtime and by torch. What was asked before is forgotten in between.
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable
from typing import Any

from measuring import DEMO, parser_of
from PIL import Image

import fo1agent as fo

QUESTIONS = (
    "How many remotes are there?",
    "Is there a dog?",
    "How many remotes are left of the cat?",
    "What is next to the cat?",
    "How many cars are there?",
    "Describe the picture.",
    "Is there a traffic light?",
    "How many chairs are there?",
    "Describe the cat.",
    "Is the cat on the couch?",
)
PHRASES = ("cat", "red bus", "person", "couch", "dog")
CAPTIONS, PICTURES = 16, 8


def forget(scenes: Any) -> None:
    """What the model and the scenes remember of earlier questions."""
    for scene in scenes:
        scene.encoding.matched.clear()
        scene._rows.clear()
        scene._regions = None


def cases(model: fo.Model) -> dict[str, tuple[Callable[[], Any], Callable[[], Any]]]:
    """Kind → what is done one by one, and at once."""
    bases = [Image.open(DEMO / name).convert("RGB") for name in ("cat.jpg", "bus.jpg")]
    parts = [
        one.crop((7 * k, 5 * k, one.width - 11 * k, one.height - 13 * k)) for k in range(PICTURES // 2) for one in bases
    ]
    album, agent = model.open_many(parts), fo.Agent(model)
    first = album[0]
    targets = [f"r{k}" for k in range(CAPTIONS)]

    def fresh(work: Callable[[], Any]) -> Callable[[], Any]:
        def done() -> Any:
            forget(album)
            return work()

        return done

    return {
        f"{len(QUESTIONS)} questions": (
            fresh(lambda: [agent.ask(first, one).text for one in QUESTIONS]),
            fresh(lambda: [answer.text for answer in agent.ask_many(first, QUESTIONS)]),
        ),
        f"{CAPTIONS} captions": (
            fresh(lambda: [first.describe(one).text for one in targets]),
            fresh(lambda: [told.text for told in first.describe_many(targets)]),
        ),
        f"{PICTURES} descriptions": (
            fresh(lambda: [scene.describe().text for scene in album]),
            fresh(lambda: [told.text for told in album.describe()]),
        ),
        f"{len(PHRASES)} phrases in {PICTURES} pictures": (
            fresh(lambda: [[found.ids for found in scene.ground_many(PHRASES).values()] for scene in album]),
            fresh(lambda: [[found.ids for found in one.values()] for one in album.ground_many(PHRASES)]),
        ),
    }


def measured(alone: Callable[[], Any], together: Callable[[], Any], rounds: int) -> dict[str, Any]:
    """Medians of CPU seconds, their ratio, and whether both give the same."""
    seconds: dict[str, list[float]] = {"one_by_one": [], "at_once": []}
    results: dict[str, Any] = {}
    for _ in range(rounds):
        for kind, work in (("one_by_one", alone), ("at_once", together)):
            start = time.process_time()
            results[kind] = work()
            seconds[kind].append(time.process_time() - start)
    told: dict[str, Any] = {kind: round(statistics.median(each), 4) for kind, each in seconds.items()}
    ratios = [one / other for one, other in zip(*seconds.values(), strict=True)]
    return {**told, "ratio": round(statistics.median(ratios), 2), "same": results["one_by_one"] == results["at_once"]}


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    found = {
        engine: {kind: measured(*pair, given.rounds) for kind, pair in cases(fo.load(engine=engine)).items()}
        for engine in ("onnx", "torch")
    }
    if given.json:
        print(json.dumps(found, indent=1))
        return
    for engine, kinds in found.items():
        for kind, one in kinds.items():
            same = "same results" if one["same"] else "OTHER RESULTS"
            print(
                f"{engine:6} {kind:26} {one['one_by_one']:7.3f} s {one['at_once']:7.3f} s   x{one['ratio']:<5} {same}"
            )


if __name__ == "__main__":
    main()
