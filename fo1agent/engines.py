"""What a model may be computed by: the names of engines, and the address of a vLLM server in their place."""

from __future__ import annotations

from typing import Any

from fo1agent.bearer import without_password
from fo1agent.errors import InputError

ENGINES = ("auto", "torch", "onnx", "vllm")


def is_address(engine: Any) -> bool:
    """Whether an engine is named by the address of a server."""
    return isinstance(engine, str) and engine.lower().startswith(("http://", "https://"))


def checked_engine(engine: Any) -> str:
    """An engine as it was given.

    Raises:
        InputError: it is none. The message holds no password.
    """
    if is_address(engine) or engine in ENGINES:
        return engine
    got = without_password(engine) if isinstance(engine, str) else engine
    looks = isinstance(got, str) and "://" not in got and any(sign in got for sign in ".:/")
    raise InputError(
        f"engine must be {', '.join(ENGINES[:-1])} or {ENGINES[-1]}, or the address of a vLLM server such as "
        f"http://127.0.0.1:8000/v1; got {got!r:.80}.{f' Did you mean http://{got:.80}?' if looks else ''}"
    )
