"""A soak: mixed work for a long time, what is accepted and how fast, what is refused, and what the server holds.

Every client sends one request after the other, without a pause: new pictures, questions, chats that send their picture
along with every question, searches, descriptions, text to read, pixels. A refusal is heeded: the client stays away for
as long as `Retry-After` says, and asks again, up to `TRIES` times. Of the answers a sample is kept; when all is over
each of its requests is sent once more, alone, and must be answered alike.

Bars, of which each that is missed makes it exit 1:

- nothing lost: every request has an answer, and the server counts as many of each status as its clients do;
- nothing wrong: every answer is what its kind of request gives, those of the sample are given again, and no status but
  success and refusal is seen; at the end nothing runs, waits or is held, and the server ends with 0;
- p99 of what is accepted is at most twice `--max-wait`, for each kind: its wait, and as much for the work;
- memory stays within the sum of docs/serving.md, and, in ten minutes or more, its last tenth within 5 % of its fourth.
"""

from __future__ import annotations

import asyncio
import base64
import io
import json
import random
import statistics
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from measuring import machine
from PIL import Image
from served import PHRASES, QUESTIONS, Served, percentile, photograph, served

from fo1agent.serve.settings import Settings

REFUSALS = (429, 503)
TRIES = 8  # of one request, until it is given up
MIX = {"open": 20, "ask": 25, "chat": 8, "find": 17, "describe": 12, "read": 10, "pixels": 8}
SAMPLE = 24  # answers of each kind that are asked for again
TENTHS, MOST_GROWTH = 10, 0.05
FULL_S = 600.0  # a shorter soak ends while what may be kept is still filling
MOST_P99_MS = 2000 * Settings().max_wait_s
ALIKE = 0.02  # by which a number may differ: what a score changes by when other phrases are judged in the same pass

# The sum of docs/serving.md for what is sent here, in MB: photographs of 0.3 megapixels, in bodies of 0.2 MB.
READER_AND_PASSES_MB, OWN_CACHE_MB, BYTES_PER_PIXEL, BODIES = 750, 256, 17 * 16, 3
MOST_PIXELS, MOST_BODY = 320_000, 300_000


def main(clients: int, seconds: float, options: list[str], summary: Path | None, as_json: bool) -> bool:
    """Soak a server of its own; whether every bar is held."""
    with served(options) as server:
        run = Soak(server, clients)
        asyncio.run(run.soak(seconds, lambda: _write(run.figures(seconds), summary)))
    figures = run.figures(seconds) | {"exit": server.status}
    figures["missed"] = missed(figures)
    _write(figures, summary)
    if as_json:
        print(json.dumps(figures, indent=2))
    else:
        _print(figures)
    return not figures["missed"]


def _print(figures: dict[str, Any]) -> None:
    print(machine())
    for name, figure in figures.items():
        if name != "kinds":
            print(f"{name:<20} {figure}")
            continue
        columns = list(next(iter(figure.values())))
        print(f"{'':<10}", *(f"{column:>10}" for column in columns), sep="  ")
        for kind, row in figure.items():
            print(f"{kind:<10}", *(f"{row[one]:>{max(10, len(one))}}" for one in columns), sep="  ")


def missed(figures: dict[str, Any]) -> list[str]:
    """The bars that are missed, in words."""
    memory = figures["memory, MB"]
    told = {
        "answers are lost": figures["lost"],
        "the server counts otherwise": figures["counted otherwise"],
        "answers are wrong": figures["wrong"],
        "answers are not given again": figures["not given again"],
        "requests failed": figures["failed"],
        "something is left over": figures["left over"],
        "the exit code is not 0": figures["exit"],
        "p99 is too high": [kind for kind, one in figures["kinds"].items() if one["p99, ms"] > MOST_P99_MS],
        "memory is over its bound": memory["most"] > memory["bound"],
        "memory grows": memory["growth"] > MOST_GROWTH and figures["seconds"] >= FULL_S,
    }
    return [what for what, is_so in told.items() if is_so]


@dataclass
class Sampled:
    """A request whose answer was kept, and that answer."""

    kind: str
    series: int
    number: int
    asked: dict[str, Any]
    told: Any


@dataclass
class Soak:
    """What the clients of one server see.

    Attributes:
        seen: kind → seconds of each request that was accepted.
        until: kind → seconds until a request was answered, the time for which its client stayed away included.
        statuses: (kind, status) → requests.
        given_up: kind → requests that were refused `TRIES` times.
        lost: requests that ended without an answer.
        wrong: what was wrong with answers.
        sample: kind → answers to ask for again.
        memory: (seconds, MB) as time went on.
        clock: tells the seconds by which the soak ends.
    """

    server: Served
    clients: int
    seen: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    until: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    statuses: Counter[tuple[str, int]] = field(default_factory=Counter)
    given_up: Counter[str] = field(default_factory=Counter)
    lost: int = 0
    wrong: list[str] = field(default_factory=list)
    not_again: list[str] = field(default_factory=list)
    sample: dict[str, list[Sampled]] = field(default_factory=lambda: defaultdict(list))
    memory: list[tuple[float, float]] = field(default_factory=list)
    start_mb: float = 0.0
    most_mb: float = 0.0
    otherwise: list[str] = field(default_factory=list)
    left_over: list[str] = field(default_factory=list)
    again: int = 0
    clock: Callable[[], float] = time.perf_counter

    async def soak(self, seconds: float, tell: Any = lambda: None) -> None:
        """Send work for so many seconds, wait for what is under way, and ask for the sample again.

        Args:
            seconds: for which requests are begun.
            tell: called now and then while it lasts.
        """
        self.start_mb = self.server.resident_mb()
        limits = httpx.Limits(max_connections=self.clients + 1, max_keepalive_connections=self.clients + 1)
        end = asyncio.Event()
        async with httpx.AsyncClient(base_url=self.server.url, timeout=300, limits=limits) as http:
            async with asyncio.TaskGroup() as tasks:
                for series in range(self.clients):
                    tasks.create_task(self._client(http, end, series))
                begun, told = self.clock(), 0
                while (passed := self.clock() - begun) < seconds:
                    self.memory.append((passed, self.server.resident_mb()))
                    if int(TENTHS * passed / seconds) > told:
                        told += 1
                        print(f"{passed:6.0f} s  {self.memory[-1][1]:.0f} MB", file=sys.stderr, flush=True)
                        tell()
                    await asyncio.sleep(min(1.0, seconds / 50))
                end.set()
            self.most_mb = self.server.resident_mb(most=True)
            await self._check_counts(http)
            for sampled in [one for some in self.sample.values() for one in some]:
                await self._ask_again(http, sampled)

    def figures(self, seconds: float) -> dict[str, Any]:
        """What was measured, as JSON values."""
        accepted, refused = Counter[str](), Counter[str]()
        for (kind, status), n in self.statuses.items():
            if status < 300:
                accepted[kind] += n
            elif status in REFUSALS:
                refused[kind] += n
        failed = {f"{kind} {status}": n for (kind, status), n in self.statuses.items() if _failed(status)}
        attempts = max(1, accepted.total() + refused.total())
        return {
            "clients": self.clients,
            "seconds": seconds,
            "accepted": accepted.total(),
            "accepted/s": round(accepted.total() / seconds, 2),
            "kinds": {
                kind: {
                    "accepted": accepted[kind],
                    "p50, ms": percentile(self.seen[kind], 50),
                    "p99, ms": percentile(self.seen[kind], 99),
                    "most, ms": percentile(self.seen[kind], 100),
                    "shed": round(refused[kind] / max(1, accepted[kind] + refused[kind]), 3),
                    "until answered, p50, ms": percentile(self.until[kind], 50),
                    "until answered, p99, ms": percentile(self.until[kind], 99),
                    "given up": self.given_up[kind],
                }
                for kind in MIX
            },
            "shed": round(refused.total() / attempts, 3),
            "memory, MB": self._memory(),
            "lost": self.lost,
            "wrong": self.wrong[:10],
            "asked again": self.again,
            "not given again": [one[:600] for one in self.not_again[:10]],
            "failed": failed,
            "counted otherwise": self.otherwise,
            "left over": self.left_over,
        }

    def _memory(self) -> dict[str, Any]:
        held = [mb for _, mb in self.memory] or [0.0]
        size = max(1, len(held) // TENTHS)
        tenths = [held[k : k + size] for k in range(0, size * TENTHS, size) if held[k : k + size]]
        medians = [round(statistics.median(tenth)) for tenth in tenths]
        settings = Settings()
        mb = 2**20
        bound = (
            self.start_mb
            + READER_AND_PASSES_MB
            + OWN_CACHE_MB
            + settings.keep_bytes / mb
            + BYTES_PER_PIXEL * MOST_PIXELS / mb
            + BODIES * self.clients * MOST_BODY / mb
        )
        return {
            "start": round(self.start_mb),
            "median of each tenth": medians,
            "most of each tenth": [round(max(tenth)) for tenth in tenths],
            "most": round(max([*held, self.most_mb])),
            "bound": round(bound),
            # The first tenths fill what may be kept.
            "growth": round(medians[-1] / medians[min(3, len(medians) - 1)] - 1, 3) if medians[-1] else 0.0,
        }

    # ---- clients -------------------------------------------------------------------------------------------------

    async def _client(self, http: httpx.AsyncClient, end: asyncio.Event, series: int) -> None:
        choice, number, picture = random.Random(series), 0, None
        while not end.is_set():
            kind = "open" if picture is None else choice.choices(list(MIX), list(MIX.values()))[0]
            if kind == "open":
                number += 1
                asked: dict[str, Any] = {}
            else:
                asked = _asked(kind, choice)
            told = await self._send(http, end, kind, asked, photograph(series, number), picture)
            if kind == "open":
                picture = told
            if told is not None:
                self._keep(choice, Sampled(kind, series, number, asked, told))

    def _keep(self, choice: random.Random, sampled: Sampled) -> None:
        """Keep an answer, each of its kind as likely as any other."""
        kept, n = self.sample[sampled.kind], len(self.seen[sampled.kind])
        if len(kept) < SAMPLE:
            kept.append(sampled)
        elif (place := choice.randrange(n)) < SAMPLE:
            kept[place] = sampled

    async def _send(
        self,
        http: httpx.AsyncClient,
        end: asyncio.Event,
        kind: str,
        asked: dict[str, Any],
        photo: bytes,
        picture: dict[str, Any] | None,
    ) -> Any:
        """What is told; None if it was refused to the end, or is none."""
        begun = time.perf_counter()
        for _ in range(TRIES):
            start = time.perf_counter()
            try:
                response = await _request(http, kind, asked, photo, picture)
            except httpx.HTTPError as exc:
                self.lost += 1
                self.wrong.append(f"{kind}: {exc!r}")
                return None
            took = time.perf_counter() - start
            self.statuses[kind, response.status_code] += 1
            if response.is_success:
                self.seen[kind].append(took)
                self.until[kind].append(time.perf_counter() - begun)
                try:
                    return _told(kind, response, photo, picture)
                except (ValueError, KeyError, TypeError, OSError) as exc:
                    self.wrong.append(f"{kind}: {exc!r:.200}")
                    return None
            if response.status_code not in REFUSALS:
                self.wrong.append(f"{kind}: {response.status_code} {response.text[:200]}")
                return None
            away = response.headers.get("retry-after", "")
            if not away.isdigit() or not 1 <= int(away) <= 60:
                self.wrong.append(f"{kind}: Retry-After: {away!r}")
            try:
                async with asyncio.timeout(float(away or 1)):
                    await end.wait()
                return None
            except TimeoutError:
                pass
        self.given_up[kind] += 1
        return None

    # ---- afterwards ----------------------------------------------------------------------------------------------

    async def _check_counts(self, http: httpx.AsyncClient) -> None:
        """Compare what the server counts with what its clients have seen."""
        there: Counter[int] = Counter()
        for line in (await http.get("/metrics")).text.splitlines():
            name, _, rest = line.partition("{")
            value = line.rpartition(" ")[2]
            if name == "fo1agent_requests_total" and 'route="/v1/' in rest:
                there[int(rest.partition('status="')[2][:3])] += int(float(value))
            elif name.startswith(("fo1agent_running ", "fo1agent_waiting ", "fo1agent_held_bytes ")) and float(value):
                self.left_over.append(line)
        here: Counter[int] = Counter()
        for (_, status), n in self.statuses.items():
            here[status] += n
        self.otherwise = [
            f"{status}: {there[status]}, not {here[status]}" for status in sorted(there | here) if there != here
        ]

    async def _ask_again(self, http: httpx.AsyncClient, sampled: Sampled) -> None:
        """Send a request once more, alone, and compare."""
        photo = photograph(sampled.series, sampled.number)
        self.again += 1
        where = f"{sampled.kind} of picture {sampled.series}/{sampled.number}, {sampled.asked}"
        try:
            opened = (await http.post("/v1/images", files={"file": photo})).json()
            response = await _request(http, sampled.kind, sampled.asked, photo, opened)
            told = _told(sampled.kind, response, photo, opened)
        except (httpx.HTTPError, ValueError, KeyError, TypeError, OSError) as exc:
            self.not_again.append(f"{where}: {exc!r:.200}")
            return
        if not alike(sampled.told, told):
            self.not_again.append(f"{where}: {json.dumps(sampled.told)}, now {json.dumps(told)}")


def _failed(status: int) -> bool:
    return status >= 300 and status not in REFUSALS


def _asked(kind: str, choice: random.Random) -> dict[str, Any]:
    """What is asked about a picture, besides naming it."""
    region = {"region": f"r{choice.randrange(8)}"}
    match kind:
        case "ask" | "chat":
            return {"question": choice.choice(QUESTIONS)}
        case "find":
            return {"tool": choice.choice(("ground", "count")), "phrase": choice.choice(PHRASES)}
        case "describe":
            return {"tool": "describe", **region}
        case "read":
            return {"tool": "read", **(region if choice.random() < 0.7 else {})}
    return {}


async def _request(
    http: httpx.AsyncClient, kind: str, asked: dict[str, Any], photo: bytes, picture: dict[str, Any] | None
) -> httpx.Response:
    image = "" if picture is None else picture["image"]
    if kind == "open":
        return await http.post("/v1/images", files={"file": photo})
    if kind == "pixels":
        return await http.get(f"/v1/images/{image}/pixels")
    if kind == "ask":
        return await http.post("/v1/ask", json={"image": image, **asked})
    if kind == "chat":
        url = f"data:image/jpeg;base64,{base64.b64encode(photo).decode()}"
        parts = [{"type": "text", "text": asked["question"]}, {"type": "image_url", "image_url": {"url": url}}]
        model = "" if picture is None else picture["model"]
        return await http.post(
            "/v1/chat/completions", json={"model": model, "messages": [{"role": "user", "content": parts}]}
        )
    body = {name: value for name, value in asked.items() if name != "tool"}
    return await http.post(f"/v1/tools/{asked['tool']}", json={"image": image, **body})


def _told(kind: str, response: httpx.Response, photo: bytes, picture: dict[str, Any] | None) -> Any:
    """An answer as JSON values, as far as it is the same each time.

    Raises:
        ValueError, KeyError, TypeError, OSError: it is not what its kind of request gives, or is about another picture.
    """
    with Image.open(io.BytesIO(photo)) as image:
        size = image.size
        if kind == "pixels":
            with Image.open(io.BytesIO(response.content)) as given:
                if given.convert("RGB").tobytes() != image.convert("RGB").tobytes():
                    raise ValueError("other pixels")
                return list(given.size)
    told = response.json()
    if kind == "open":
        if (told["width"], told["height"]) != size or not told["regions"]:
            raise ValueError(f"not this picture: {told['width']} x {told['height']}, {len(told['regions'])} regions")
        return told
    if kind == "chat":
        answer = told["choices"][0]["message"]["fo1agent"]
    elif kind == "ask":
        answer = told["answer"]
    else:
        if not told["ok"]:
            raise ValueError(told.get("error", "not ok"))
        answer = told["result"]
    if picture is not None and kind != "chat" and told["image"] != picture["image"]:
        raise ValueError(f"about {told['image']}, not {picture['image']}")
    return answer


def alike(one: Any, other: Any) -> bool:
    """Whether two answers say the same, times aside and numbers within `ALIKE`."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(alike(one[name], other[name]) for name in one if name != "seconds")
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(alike(a, b) for a, b in zip(one, other, strict=True))
    if isinstance(one, float) and isinstance(other, (int, float)) and not isinstance(other, bool):
        return abs(one - other) <= ALIKE * max(1.0, abs(one))
    return one == other


def _write(figures: dict[str, Any], summary: Path | None) -> None:
    """Put the figures into the file, whole."""
    if summary is not None:
        part = summary.with_suffix(".part")
        part.write_text(json.dumps(figures, indent=2) + "\n")
        part.replace(summary)
