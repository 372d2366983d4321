"""What very many pictures cost, on paper: workers, bytes, and shards of each size where workers die.

    python benchmarks/scale.py [--pictures 1000000] [--workers 128] [--seconds 0.12] [--hours 12] [--json]

The first table multiplies measured seconds, for so many pictures or for a million and more; `--pictures` alone changes
it. The second simulates a job of `fo1agent annotate` with all that is given: workers take shards off a queue, as actors
of Ray do. A shard takes the seconds of its pictures, and a fixed time to be handed out and written.
A worker dies at random; its shard is done again by whoever is free, and a new worker first loads the model. Some
workers are slow all the time. Disk and network are not simulated; the first table says how much they must carry.
"""

from __future__ import annotations

import argparse
import heapq
import json
import math
import random
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

SHARDS = (16, 64, 256, 1024, 4096, 16384)
RETRIES = 3  # as in fo1agent/annotate/ray.py
MANY = (1_000_000, 100_000_000, 1_000_000_000)
# Seconds of one worker a picture. fo1-nano: benchmarks/annotate.py, one core. 3B on a core: measured once with random
# weights, bfloat16. H200: 6.5 TFLOP a picture and question, at 40 % of 989 TFLOP/s; not measured.
SECONDS = {"fo1-nano, a core": 0.121, "3B, a core": 25.0, "3B, an H200 (estimate)": 0.0164}
READ, WRITTEN = 160_000, 300  # bytes a picture: a photograph of COCO, and its row of eight words sought
DAY = 86_400


@dataclass(frozen=True)
class Fleet:
    """Who computes.

    Attributes:
        workers: how many at once.
        seconds: that a picture takes, on average.
        spread: of a picture's seconds, as a share of them: one standard deviation.
        hours: that a worker lives on average.
        start: seconds until a new worker has its model.
        overhead: seconds that a shard takes besides its pictures.
        slow: share of the workers that take twice as long.
    """

    workers: int = 128
    seconds: float = 0.12
    spread: float = 0.4
    hours: float = 12.0
    start: float = 30.0
    overhead: float = 0.2
    slow: float = 0.05


@dataclass(frozen=True)
class Course:
    """How a job went.

    Attributes:
        hours: from its start to its last shard.
        ideal: that it would take if nobody died, was slow or waited.
        again: share of the pictures that were computed more than once, a part of a shard as that part.
        tail: share of the time in which some worker had nothing left to do.
        given_up: shards that died more often than they are tried again.
    """

    hours: float
    ideal: float
    again: float
    tail: float
    given_up: int


def simulated(fleet: Fleet, pictures: int, shard: int, seed: int = 0) -> Course:
    """One job, event by event: each event is a worker that is free."""
    draw = random.Random(seed)
    waiting = deque(min(shard, pictures - first) for first in range(0, pictures, shard))
    died: deque[tuple[float, int, int]] = deque()  # when a shard was lost, its pictures, how often before
    pace = [2.0 if worker < fleet.slow * fleet.workers else 1.0 for worker in range(fleet.workers)]
    deaths = [draw.expovariate(1 / (3600 * fleet.hours)) for _ in pace]
    free = [(0.0, worker) for worker in range(fleet.workers)]
    lost, given_up, end, idle_from = 0.0, 0, 0.0, math.inf
    while free:
        now, worker = heapq.heappop(free)
        if died and (died[0][0] <= now or not waiting):
            since, count, before = died.popleft()
            now = max(now, since)
        elif waiting:
            count, before = waiting.popleft(), 0
        else:
            idle_from = min(idle_from, now)
            continue
        noise = draw.gauss(0.0, fleet.spread * count**0.5)
        takes = fleet.overhead + pace[worker] * fleet.seconds * max(0.1 * count, count + noise)
        if deaths[worker] < now + takes:
            lost += count * (max(0.0, deaths[worker] - now) / takes)
            again = max(now, deaths[worker])
            given_up += before == RETRIES
            if before < RETRIES:
                died.append((again, count, before + 1))
            deaths[worker] = again + fleet.start + draw.expovariate(1 / (3600 * fleet.hours))
            heapq.heappush(free, (again + fleet.start, worker))
        else:
            end = max(end, now + takes)
            heapq.heappush(free, (now + takes, worker))
    speed = sum(1 / one for one in pace) / fleet.seconds
    tail = max(0.0, end - idle_from) / end if end else 0.0
    return Course(end / 3600, pictures / speed / 3600, lost / pictures, tail, given_up)


def table(fleet: Fleet, pictures: int, shards: Sequence[int] = SHARDS) -> list[dict[str, Any]]:
    """What shards of each size cost."""
    rows = []
    for shard in shards:
        course = simulated(fleet, pictures, shard)
        rows.append(
            {
                "shard": shard,
                "files": -(-pictures // shard),
                "hours": round(course.hours, 3),
                "longer": round(course.hours / course.ideal - 1, 4),
                "again": round(course.again, 5),
                "tail": round(course.tail, 4),
                "given_up": course.given_up,
            }
        )
    return rows


def costs(many: Sequence[int] = MANY) -> list[dict[str, Any]]:
    """What so many pictures take of each kind of worker, and what is moved."""
    return [
        {
            "worker": worker,
            "pictures": pictures,
            "days": pictures * seconds / DAY,
            "in_a_day": math.ceil(pictures * seconds / DAY),
            "read_gb": pictures * READ / 1e9,
            "written_gb": pictures * WRITTEN / 1e9,
            "mb_a_second": pictures * READ / 1e6 / DAY,
        }
        for worker, seconds in SECONDS.items()
        for pictures in many
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=int, help="of both tables")
    for name, kind, told in (
        ("workers", int, "how many at once"),
        ("seconds", float, "that a picture takes"),
        ("hours", float, "that a worker lives on average"),
        ("slow", float, "share of the workers that take twice as long"),
    ):
        default = getattr(Fleet(), name)
        parser.add_argument(f"--{name}", type=kind, default=default, help=f"of the second table: {told} ({default})")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    fleet = Fleet(workers=options.workers, seconds=options.seconds, hours=options.hours, slow=options.slow)
    rows, cost = table(fleet, options.pictures or MANY[0]), costs((options.pictures,) if options.pictures else MANY)
    if options.json:
        print(json.dumps({"costs": cost, "shards": rows}))
        return
    print("| worker | pictures | days of one | workers to be done in a day | read | that day | written |")
    print("| --- | ---: | ---: | ---: | ---: | ---: | ---: |")
    for row in cost:
        print(
            f"| {row['worker']} | {row['pictures']:,} | {row['days']:,.1f} | {row['in_a_day']:,} "
            f"| {row['read_gb']:,.0f} GB | {row['mb_a_second']:,.0f} MB/s | {row['written_gb']:,.1f} GB |"
        )
    print("\n| shard | files | hours | longer than ideal | computed again | tail | given up |")
    print("| ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
    for row in rows:
        print(
            f"| {row['shard']:,} | {row['files']:,} | {row['hours']:.2f} | {row['longer']:.0%} | {row['again']:.2%} "
            f"| {row['tail']:.0%} | {row['given_up']} |"
        )


if __name__ == "__main__":
    main()
