"""What Prometheus is told: requests, how long they took, who waits or was sent away, what was put together and kept.

Each server has a registry of its own.
"""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_JOBS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 64)


class Metrics:
    """The figures of one server."""

    def __init__(self) -> None:
        self._registry = registry = CollectorRegistry()
        self._requests = Counter(
            "fo1agent_requests", "Requests answered.", ("route", "method", "status"), registry=registry
        )
        self._seconds = Histogram(
            "fo1agent_request_seconds", "Seconds until the last byte.", ("route",), buckets=_SECONDS, registry=registry
        )
        self._waited = Histogram(
            "fo1agent_wait_seconds",
            "Seconds in line, of requests that ran.",
            ("kind",),
            buckets=_SECONDS,
            registry=registry,
        )
        self._refused = Counter(
            "fo1agent_shed", "Requests sent away before they ran, and why.", ("kind", "why"), registry=registry
        )
        self._pass_jobs = Histogram(
            "fo1agent_pass_jobs", "What was asked for in one pass.", ("kind",), buckets=_JOBS, registry=registry
        )
        self._shared = Counter(
            "fo1agent_shared_jobs", "Jobs that another's result was good for.", ("kind",), registry=registry
        )
        self._pictures = Counter(
            "fo1agent_pictures", "Pictures asked about: open already, or to be encoded.", ("found",), registry=registry
        )

        ProcessCollector(registry=registry)  # memory, processor and open files of the process, on Linux

    def watch(self, name: str, help: str, read: Callable[[], float]) -> None:
        """A gauge that is read when it is asked for."""
        Gauge(f"fo1agent_{name}", help, registry=self._registry).set_function(read)

    def request(self, route: str, method: str, status: int, seconds: float) -> None:
        """A request was answered."""
        self._requests.labels(route, method, str(status)).inc()
        self._seconds.labels(route).observe(seconds)

    def waited(self, kind: str, seconds: float) -> None:
        """A request has its turn, after so long."""
        self._waited.labels(kind).observe(seconds)

    def refused(self, kind: str, why: str) -> None:
        """A request was sent away because the server has too much to do."""
        self._refused.labels(kind, why).inc()

    def passed(self, kind: str, jobs: int, different: int) -> None:
        """A pass of the model was made, for so many jobs of which so many differ."""
        self._pass_jobs.labels(kind).observe(jobs)
        if jobs > different:
            self._shared.labels(kind).inc(jobs - different)

    def picture(self, kept: bool) -> None:
        """A request named a picture."""
        self._pictures.labels("kept" if kept else "new").inc()

    def text(self) -> bytes:
        """All of it in Prometheus's text format."""
        return generate_latest(self._registry)
