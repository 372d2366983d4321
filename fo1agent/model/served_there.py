"""A vLLM behind an address: `vllm serve FOLDER`, asked by its OpenAI-compatible API.

Every prompt is a request of its own, and many of them are under way at once: vLLM computes them together. A server may
be a stranger's: its replies are bounded in bytes and time, and one of another form is a `ServerError`.
"""

from __future__ import annotations

import base64
import hashlib
import io
import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import httpx
import numpy as np

from fo1agent import bounded, exchange
from fo1agent.bearer import checked_token
from fo1agent.errors import InputError, ServerError
from fo1agent.foreign import one_line
from fo1agent.model.prompting import ProcessingConfig
from fo1agent.model.served import Asked, Engine, Said, ServedPredictor, Shown, Written

KEY = "VLLM_API_KEY"
"""The variable with the server's key, the same that `vllm serve` reads."""
AT_ONCE = 32  # requests under way
_SECONDS, _REPLY_BYTES = 600.0, 8_000_000
_LISTED_SECONDS = 30.0  # that a server may take to say which models it has
_TOLD = 500  # characters of what it says went wrong
_NAME = 500  # characters of what it calls a model
# Logarithms of probabilities; vLLM says -9999 for what it leaves out, and rounding may go beyond 0.
_LEAST_LOG, _MOST_LOG = -1e5, 0.01
_ADVICE = {
    401: f" Set {KEY} to the server's key.",
    404: " A vLLM's address ends in /v1; one of `fo1agent serve` is for --server.",
}
_PICTURES = 16  # that are kept as they are sent

T = TypeVar("T")


def load_there(url: str, name: str | None = None, token: str | None = None) -> ServedPredictor:
    """A predictor whose model a vLLM serves.

    Args:
        url: of its API, `http://127.0.0.1:8000/v1`.
        name: what the server calls the model; None: its first.
        token: its key; None: what `VLLM_API_KEY` holds.

    Raises:
        InputError: the address is not valid, or the server has no such model.
        ServerError: nothing answers there, or something other than vLLM.
    """
    there = There(url, token)
    names = there.models()
    if name is not None and name not in names:
        raise InputError(f"The server at {there.url} has no model {name!r:.80}. It has {', '.join(names) or 'none'}.")
    if not names:
        raise ServerError(f"The server at {there.url} has no model.")
    there.model = names[0] if name is None else name
    mark = hashlib.sha256(f"{there.url} {there.model}".encode()).hexdigest()
    return ServedPredictor(there, Said(there.model.rstrip("/").split("/")[-1], mark, ProcessingConfig()))


class There(Engine):
    """A vLLM's API.

    Args:
        url: as for `load_there`.
        token: as for `load_there`.

    Attributes:
        url: the API's address.
        model: what the server calls the model.
    """

    model = ""

    def __init__(self, url: str, token: str | None = None) -> None:
        self.url = url.rstrip("/")
        token = checked_token(os.environ.get(KEY) if token is None else token)
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        limits = httpx.Limits(max_connections=AT_ONCE)
        try:
            self._http = httpx.Client(
                headers=headers, timeout=_SECONDS, limits=limits, event_hooks=dict(exchange.HOOKS)
            )
            httpx.URL(self.url)
        except (httpx.InvalidURL, ValueError) as exc:
            raise InputError(f"{url!r:.80} is no address of a vLLM server: {exc}.") from exc
        self._pool = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="fo1agent-vllm")
        self._ids: dict[str, int] = {}
        self._sent: OrderedDict[str, str] = OrderedDict()
        self._lock = threading.Lock()

    def models(self) -> list[str]:
        """What the server calls its models."""
        said = self._ask("GET", f"{self.url}/models", _LISTED_SECONDS)
        return self._read(lambda: [_name(one["id"]) for one in said["data"]])

    def write(self, asked: Sequence[Asked], most: int, stop: str | None = None) -> list[Written]:
        """See `Engine`."""

        def one(prompt: Asked) -> Written:
            more = {"max_tokens": most, **({} if stop is None else {"stop": [stop]})}
            said = self._chat(prompt, more)
            return self._read(lambda: Written(_whole(said["choices"][0]["message"]["content"] or "")))

        return list(self._pool.map(one, asked))

    def weigh(self, asked: Sequence[Asked], tokens: Sequence[Sequence[str]]) -> list[np.ndarray]:
        """See `Engine`."""
        known = self._known(tokens)

        def one(prompt: Asked, own: Sequence[str]) -> np.ndarray:
            ids = [known[token] for token in own]
            said = self._chat(
                prompt,
                {
                    "max_tokens": 1,
                    "logprobs": True,
                    "logprob_token_ids": ids,
                    "return_tokens_as_token_ids": True,
                },
            )

            def row() -> np.ndarray:
                told = said["choices"][0]["logprobs"]["content"][0]["top_logprobs"]
                found = {str(entry["token"]): entry["logprob"] for entry in told}
                return np.array([_log_probability(found[f"token_id:{k}"]) for k in ids], dtype=np.float64)

            return self._read(row)

        return list(self._pool.map(one, asked, tokens))

    # --- requests ----------------------------------------------------------------------------------------------

    def _chat(self, asked: Asked, more: Mapping[str, Any]) -> Any:
        content = [*map(self._picture, asked.shown), {"type": "text", "text": asked.text}]
        messages: list[dict[str, Any]] = [{"role": "user", "content": content}]
        if asked.answer:
            messages.append({"role": "assistant", "content": asked.answer})
        body = {
            "model": self.model,
            "messages": messages,
            "temperature": 0.0,
            "repetition_penalty": 1.0,
            "skip_special_tokens": False,
            "spaces_between_special_tokens": False,
            "add_generation_prompt": not asked.answer,
            "continue_final_message": bool(asked.answer),
            **({"mm_processor_kwargs": {"boxes": [one.boxes.tolist() for one in asked.shown]}} if asked.shown else {}),
            **more,
        }
        return self._ask("POST", f"{self.url}/chat/completions", json=body)

    def _picture(self, shown: Shown) -> dict[str, Any]:
        """A picture as a part of a message: PNG, so that the server sees the same pixels."""
        key = shown.image.sha256
        with self._lock:
            if key not in self._sent:
                file = io.BytesIO()
                shown.image.pixels.save(file, "PNG", compress_level=1)
                self._sent[key] = f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"
            self._sent.move_to_end(key)
            if len(self._sent) > _PICTURES:
                self._sent.popitem(last=False)
            url = self._sent[key]
        return {"type": "image_url", "image_url": {"url": url}}

    def _known(self, tokens: Sequence[Sequence[str]]) -> Mapping[str, int]:
        """Ids of tokens, by the server's tokenizer."""
        new = [token for token in dict.fromkeys(token for own in tokens for token in own) if token not in self._ids]
        if new:
            root = self.url.removesuffix("/v1")
            asked = {"model": self.model, "prompt": "".join(new), "add_special_tokens": False}
            said = self._ask("POST", f"{root}/tokenize", json=asked)
            ids = self._read(lambda: [k for k in said["tokens"] if type(k) is int and k >= 0])
            if len(set(ids)) != len(new) or len(ids) != len(new):
                raise ServerError(f"The model {self.model!r:.80} at {self.url} has no tokens of regions: it is no FO1.")
            self._ids.update(zip(new, ids, strict=True))
        return self._ids

    def _ask(self, method: str, url: str, seconds: float = _SECONDS, **request: Any) -> Any:
        asked = exchange.Exchange(seconds, _REPLY_BYTES)
        try:
            with asked:
                response = self._http.request(method, url, **request)
        except exchange.Ended:
            raise ServerError(f"vLLM at {self.url} gave no usable answer: {one_line(asked.why, _TOLD)}.") from None
        except httpx.HTTPError as exc:
            why = one_line(str(exc), _TOLD).rstrip(".") or type(exc).__name__
            raise ServerError(f"vLLM at {self.url} does not answer: {why}. Does `vllm serve` run there?") from exc
        told = self._read(lambda: bounded.parse(response.content, _REPLY_BYTES))
        if response.is_success:
            return told
        error = told.get("error", told) if isinstance(told, dict) else {}
        told = error.get("message", response.reason_phrase) if isinstance(error, dict) else error
        why = one_line(str(told), _TOLD).rstrip(".")
        if response.status_code in (400, 422):
            raise InputError(f"vLLM at {self.url} refuses the request: {why}.")
        advice = _ADVICE.get(response.status_code, "")
        raise ServerError(f"vLLM at {self.url} answers {response.status_code}: {why}.{advice}")

    def _read(self, read: Callable[[], T]) -> T:
        """What is read of an answer; what cannot be is the server's fault."""
        try:
            return read()
        except (AttributeError, LookupError, TypeError, ValueError) as exc:
            why = f"{type(exc).__name__}: {one_line(str(exc), _TOLD)}"
            raise ServerError(f"What answers at {self.url} is no vLLM with FO1 ({why}).") from exc


def _name(given: Any) -> str:
    """What a server calls a model."""
    if not isinstance(given, str) or not 0 < len(given) <= _NAME or not given.isprintable():
        raise ValueError("a model has no name that can be told")
    return _whole(given)


def _whole(given: Any) -> str:
    """A text without halves of characters, which no request could hold."""
    return str(given).encode("utf-8", "replace").decode("utf-8")


def _log_probability(given: Any) -> float:
    if not isinstance(given, (int, float)) or isinstance(given, bool) or not _LEAST_LOG <= given <= _MOST_LOG:
        raise ValueError(f"the logarithm of a probability is {given!r:.40}")
    return float(given)
