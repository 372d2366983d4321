"""What came of a tool's call."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict


class Outcome(BaseModel):
    """What came of a call.

    `error` says what went wrong, "" if nothing did; `retry` that other arguments may work.
    """

    model_config = ConfigDict(defer_build=True)
    tool: str
    result: Any = None
    error: str = ""
    retry: bool = False

    @property
    def ok(self) -> bool:
        """Whether there is a result."""
        return not self.error

    @property
    def blamed(self) -> str:
        """The error, with the tool's name in front."""
        return self.error if self.error.startswith(f"{self.tool} ") else f"{self.tool}: {self.error}"
