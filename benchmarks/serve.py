"""What a server carries, and whether it lasts.

    python benchmarks/serve.py [--json] [--clients N] [--seconds S] [--share N] [--model NAME|FOLDER] [--replicas N]
    python benchmarks/serve.py --duration S [--clients N] [--summary FILE] [--json] [--model NAME|FOLDER]

Both start `fo1agent serve` on loopback, as its own process, and send it crops of the two photographs that come with the
package, none of them twice.

The first measures requests per second and how long they take, with batching and without. Clients come in groups that
look at one picture at the same time, as people at a page or the branches of an agent do: each sends the picture, then
asks six things about it, then goes on to the next. Exits 1 if a bar is missed: no failure but a refusal of what is too
much, batching carries at least 1.5 times as much, memory stays flat. With --replicas the server is one on Ray.

The second is a soak of mixed work; what it does and when it exits 1 stands in soak.py.
"""

from __future__ import annotations

import asyncio
import json
import random
import statistics
import sys
import time
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import soak
from measuring import machine, parser_of
from served import PHRASES, QUESTIONS, Served, percentile, photograph, served

KEEP_MB = 192  # so little that it is full soon, and memory shows whether it stays so
WARM_PICTURES, MOST_WARM_UP_S = 32, 120.0
LEAST_RATIO, MOST_GROWTH = 1.5, 0.05


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("--clients", type=int, help="32; 16 with --duration")
    parser.add_argument("--duration", type=float, help="soak the server for so many seconds")
    parser.add_argument("--summary", type=Path, help="with --duration: the JSON file to keep up to date")
    parser.add_argument("--seconds", type=float, default=60.0, help="of each of the two runs, after a warm-up")
    parser.add_argument("--share", type=int, default=8, help="clients that look at one picture at the same time")
    parser.add_argument("--model", help="name or folder; the embedded nano if absent")
    parser.add_argument("--replicas", help="serve on Ray with so many, without --duration")
    options = parser.parse_args()
    on_ray = ["--replicas", options.replicas, "--ray"] if options.replicas else []
    model = ["--model", options.model] if options.model else []
    if options.duration:
        sys.exit(not soak.main(options.clients or 16, options.duration, model, options.summary, options.json))

    clients = options.clients or 32
    runs = {
        name: measure(clients, options.seconds, options.share, [*flags, *model, *on_ray])
        for name, flags in (("on", ["--batching"]), ("off", ["--no-batching"]))
    }
    ratio = runs["on"]["requests/s"] / max(runs["off"]["requests/s"], 1e-9)
    held = ratio >= LEAST_RATIO and all(
        run["failures"] == 0 and run["memory growth"] <= MOST_GROWTH and run["exit"] == 0 for run in runs.values()
    )
    if options.json:
        print(json.dumps({"batching": runs, "ratio": round(ratio, 2), "bars_held": held}, indent=2))
    else:
        print(f"{machine()}, {clients} clients, {options.share} to a picture")
        print(f"{'batching':<34}{'on':>10}{'off':>10}")
        for figure in runs["on"]:
            print(f"{figure:<34}{runs['on'][figure]:>10}{runs['off'][figure]:>10}")
        print(f"{'on / off':<34}{ratio:>10.2f}   at least {LEAST_RATIO}")
    sys.exit(not held)


def measure(clients: int, seconds: float, share: int, flags: list[str]) -> dict[str, float]:
    """Figures of one server under load."""
    with served(["--keep", str(KEEP_MB), *flags]) as server:
        load = asyncio.run(_load(server, clients, seconds, share))
    return {**load.figures(seconds), "exit": server.status or 0}


@dataclass
class _Load:
    """What clients saw, (kind, seconds, status) of each request, and meanwhile of the server: memory in MB as time went
    on, and seconds of the processor."""

    seen: list[tuple[str, float, int]] = field(default_factory=list)
    memory: list[float] = field(default_factory=list)
    cpu_s: float = 0.0
    pictures: set[str] = field(default_factory=set)

    def figures(self, seconds: float) -> dict[str, float]:
        good = [took for _, took, status in self.seen if status < 300]
        kinds = defaultdict(list)
        for kind, took, status in self.seen:
            if status < 300:
                kinds[kind].append(took)
        statuses = Counter(status for _, _, status in self.seen)
        # Every encoding is as large as the picture's regions make it, so what is kept differs a little at any time.
        half = len(self.memory) // 2
        early, late = (
            statistics.median(self.memory[half // 2 : half] or [1]),
            statistics.median(self.memory[half:] or [1]),
        )
        return {
            "requests": len(good),
            "requests/s": round(len(good) / seconds, 1),
            # On a machine that does other things as well, this tells more.
            "requests/s of the processor": round(len(good) / max(self.cpu_s, 1e-9), 1),
            **{f"p{p}, ms": percentile(good, p) for p in (50, 95, 99)},
            **{f"p50 of {kind}, ms": percentile(kinds[kind], 50) for kind in sorted(kinds)},
            "sent away": sum(statuses[status] for status in soak.REFUSALS),
            "failures": sum(n for status, n in statuses.items() if status >= 300 and status not in soak.REFUSALS),
            "peak memory, MB": round(max(self.memory, default=0)),
            "memory growth": round(late / early - 1, 3),
        }


async def _load(server: Served, clients: int, seconds: float, share: int) -> _Load:
    load = _Load()
    end = asyncio.Event()
    limits = httpx.Limits(max_connections=clients, max_keepalive_connections=clients)
    async with httpx.AsyncClient(base_url=server.url, timeout=120, limits=limits) as http, asyncio.TaskGroup() as tasks:
        for k in range(clients):
            tasks.create_task(_client(http, load, end, group=k // share, seed=k))
        # Until the kept pictures take all their room, here and in the model's own cache.
        warm_by = time.perf_counter() + MOST_WARM_UP_S
        while len(load.pictures) < WARM_PICTURES and time.perf_counter() < warm_by:
            await asyncio.sleep(0.2)
        load.seen.clear()
        begun, load.cpu_s = time.perf_counter(), -server.cpu_s()
        while time.perf_counter() - begun < seconds:
            load.memory.append(server.resident_mb())
            await asyncio.sleep(0.5)
        end.set()
        load.cpu_s += server.cpu_s()
    return load


async def _client(http: httpx.AsyncClient, load: _Load, end: asyncio.Event, group: int, seed: int) -> None:
    """Look at one picture after the other; the others of the group look at the same."""
    choice = random.Random(seed)
    for number in range(1_000_000):
        sent = await _send(http, load, end, "images", files={"file": picture(group, number)})
        image = sent.get("image", "")
        load.pictures.add(image)
        asked: list[tuple[str, str, dict[str, Any]]] = [
            ("ask", "ask", {"question": choice.choice(QUESTIONS)}),
            ("ask", "ask", {"question": choice.choice(QUESTIONS)}),
            ("ground", "tools/ground", {"phrase": choice.choice(PHRASES)}),
            ("count", "tools/count", {"phrase": choice.choice(PHRASES)}),
            ("describe", "tools/describe", {"region": f"r{choice.randrange(8)}"}),
            ("describe", "tools/describe", {"region": f"r{choice.randrange(8)}"}),
        ]
        choice.shuffle(asked)
        for kind, path, body in asked:
            if end.is_set():
                return
            await _send(http, load, end, path, kind, json={"image": image, **body})


async def _send(
    http: httpx.AsyncClient, load: _Load, end: asyncio.Event, path: str, kind: str = "images", **request: Any
) -> dict[str, Any]:
    """The answer; a server that is busy is asked again when it says so."""
    while not end.is_set():
        start = time.perf_counter()
        try:
            response = await http.post(f"/v1/{path}", **request)
        except httpx.HTTPError:
            load.seen.append((kind, 0.0, 599))
            return {}
        if not end.is_set():  # all that ended while the clock ran
            load.seen.append((kind, time.perf_counter() - start, response.status_code))
        if response.status_code not in soak.REFUSALS:
            return response.json()
        await asyncio.sleep(float(response.headers.get("retry-after", "1")))
    return {}


def picture(group: int, number: int, kept: dict[tuple[int, int], bytes] = {}) -> bytes:  # noqa: B006
    """A JPEG that only this group sees, and once; made once for all of the group."""
    key = (group, number)
    if key not in kept:
        for old in [one for one in kept if one[0] == group and one[1] < number - 3]:
            del kept[old]
        kept[key] = photograph(group, number)
    return kept[key]


if __name__ == "__main__":
    main()
