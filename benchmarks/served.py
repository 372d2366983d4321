"""`fo1agent serve` as a process of its own, what it costs the machine, and photographs to send to it."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from measuring import DEMO
from PIL import Image

PICTURES = ("bus.jpg", "cat.jpg")
QUESTIONS = (
    "How many people are to the left of the bus?",
    "Is there a dog, and how many cats are there?",
    "Are there more people than cars?",
    "How many remotes are to the right of the cat?",
)
PHRASES = ("red bus", "person", "traffic light", "remote", "blue car", "couch", "handbag", "sleeping cat")


@dataclass
class Served:
    """A server.

    Attributes:
        url: its address.
        pid: its process.
        status: what it exited with, once it has.
    """

    url: str
    pid: int
    status: int | None = None

    def resident_mb(self, most: bool = False) -> float:
        """Memory that it and its children hold, or at most have held, from /proc; 0 where there is none."""
        name = "VmHWM" if most else "VmRSS"
        lines = (line for pid in self.pids() for line in _proc(pid, "status").splitlines())
        return sum(int(line.split()[1]) / 1024 for line in lines if line.startswith(name))

    def cpu_s(self) -> float:
        """Seconds that all cores together have worked for it and its children, from /proc; 0 where there is none."""
        stats = [_proc(pid, "stat").rpartition(")")[2].split() for pid in self.pids()]
        return sum(int(fields[11]) + int(fields[12]) for fields in stats if fields) / os.sysconf("SC_CLK_TCK")

    def pids(self) -> list[int]:
        """It and its children, and theirs; Ray's processes are that."""
        parents: dict[int, list[int]] = {}
        for path in Path("/proc").glob("[0-9]*"):
            stat = _proc(int(path.name), "stat").rpartition(")")[2].split()
            parents.setdefault(int(stat[1]) if stat else 0, []).append(int(path.name))
        found = [self.pid]
        for pid in found:
            found += parents.get(pid, [])
        return found


def _proc(pid: int, name: str) -> str:
    """What /proc tells of a process; "" of one that is gone."""
    try:
        return Path(f"/proc/{pid}/{name}").read_text()
    except OSError:
        return ""


@contextmanager
def served(options: Sequence[str]) -> Iterator[Served]:
    """A server on loopback with these options; it is told to stop at the end, and its `status` is then known."""
    command = [sys.executable, "-m", "fo1agent", "serve", "--port", "0", *options]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stderr is not None
        line = next((line for line in process.stderr if "Listening on" in line), "")
        if not line:
            raise SystemExit("the server did not start")
        made = Served(line.split()[-1], process.pid)
        yield made
        process.send_signal(signal.SIGTERM)
        made.status = process.wait(120)
    finally:
        process.kill()
        process.wait()


def photograph(series: int, number: int) -> bytes:
    """A JPEG of 0.3 megapixels that no other series has, and no other number of this one up to 1600."""
    with Image.open(DEMO / PICTURES[(series + number) % 2]) as photo:
        left, top = (series * 7 + number) % 40, number // 40 % 40
        file = io.BytesIO()
        photo.convert("RGB").crop((left, top, photo.width, photo.height)).save(file, "JPEG", quality=95 - series % 32)
        return file.getvalue()


def percentile(seconds: Sequence[float], p: int) -> float:
    """Milliseconds."""
    if not seconds:
        return 0.0
    ordered = sorted(seconds)
    return round(1000 * ordered[min(len(ordered) - 1, len(ordered) * p // 100)], 1)
