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
        """Memory that it holds, or at most has held, from /proc; 0 where there is none."""
        try:
            status = Path(f"/proc/{self.pid}/status").read_text()
        except OSError:
            return 0.0
        name = "VmHWM" if most else "VmRSS"
        return next((int(line.split()[1]) / 1024 for line in status.splitlines() if line.startswith(name)), 0.0)

    def cpu_s(self) -> float:
        """Seconds that all cores together have worked for it, from /proc; 0 where there is none."""
        try:
            fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            return 0.0
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


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
