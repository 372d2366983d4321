"""A plugin for pytest, `-p tests.still_clock`: date and time of day stand still; what measures a span goes on."""

from __future__ import annotations

import datetime
import sys
import time
from typing import Any

MOMENT = 1_790_000_000.25
"""Seconds since 1970."""


class StillDatetime(datetime.datetime):
    """`datetime` at one moment."""

    @classmethod
    def now(cls, tz: datetime.tzinfo | None = None) -> Any:
        return cls.fromtimestamp(MOMENT, tz)


def pytest_configure() -> None:
    time.time = lambda: MOMENT
    time.time_ns = lambda: int(MOMENT * 1e9)


def pytest_runtest_setup() -> None:
    # In our modules alone: compiled libraries, pandas among them, are built on the class itself and crash on another.
    for name, module in list(sys.modules.items()):
        if name.startswith("fo1agent") and getattr(module, "datetime", None) is datetime.datetime:
            vars(module)["datetime"] = StillDatetime
