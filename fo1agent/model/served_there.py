"""A vLLM behind an address: `vllm serve FOLDER`, asked by its OpenAI-compatible API.

Every prompt is a request of its own, and many of them are under way at once: vLLM computes them together. A server may
be a stranger's: its replies are bounded in bytes and time, and one of another form is an `EngineError`.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import io
import os
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import httpx
import numpy as np

from fo1agent import bounded, exchange
from fo1agent.bearer import checked_token, hiding, without_password
from fo1agent.errors import BudgetExceeded, EngineError, Fault, InputError
from fo1agent.foreign import one_line
from fo1agent.model.prompting import ProcessingConfig
from fo1agent.model.served import Asked, Engine, Said, ServedPredictor, Shown, Written

KEY = "VLLM_API_KEY"
"""The variable with the server's key, the same that `vllm serve` reads."""
AT_ONCE = 32  # requests under way
_SECONDS, _REPLY_BYTES = 600.0, 8_000_000
_CONNECT_SECONDS = 10.0  # until there is a connection; who waits for longer waits for nobody
_LISTED_SECONDS = 30.0  # that a server may take to say which models it has
_READY_SECONDS, _READY_FOR = 2.0, 5.0  # that it may take to be found ready, and how long that counts
_TOLD = 500  # characters of what it says went wrong
_NAME = 500  # characters of what it calls a model
# Logarithms of probabilities; vLLM says -9999 for what it leaves out, and rounding may go beyond 0.
_LEAST_LOG, _MOST_LOG = -1e5, 0.01
_AWAY = (429, 503)  # statuses of a server that has too much to do, or is not there yet
_REFUSED = (400, 413, 422)  # statuses of a prompt that does not fit
_TRUST = "--trust-request-mm-kwargs"  # which vLLM names where it takes no boxes at all
_NO_KEY = f" Set {KEY} to the server's key."
_ADDRESS = " A vLLM's address ends in /v1; one of `fo1agent serve` is for --server."
_PICTURES = 16  # that are kept as they are sent

T = TypeVar("T")


def load_there(url: str, name: str | None = None, token: str | None = None) -> ServedPredictor:
    """A predictor whose model a vLLM serves.

    Args:
        url: of its API, `http://127.0.0.1:8000/v1`.
        name: what the server calls the model, or the last part of that, which is the predictor's name; None: its first.
        token: its key; None: what `VLLM_API_KEY` holds.

    Raises:
        InputError: the address is not valid, or the server has no such model, or several of that last part.
        EngineError: nothing answers there, or something other than vLLM.
    """
    there = There(url, token)
    there.model = _chosen(there, there.models(), name)
    mark = hashlib.sha256(f"{there.shown} {there.model}".encode()).hexdigest()
    return ServedPredictor(there, Said(_last(there.model), mark, ProcessingConfig(), elsewhere=True))


def _chosen(there: There, names: Sequence[str], name: str | None) -> str:
    """What the server calls the model that is meant."""
    if not names:
        raise there.error("has no model")
    meant = names[:1] if name is None else [one for one in names if one == name]
    meant = meant or [one for one in names if _last(one) == name]
    if len(meant) == 1:
        return meant[0]
    lacks = "several models" if meant else "no model"
    raise InputError(f"The server at {there.shown} has {lacks} {name!r:.80}. It has {there.hidden(', '.join(names))}.")


def _last(name: str) -> str:
    """The last part of a model's name."""
    return name.rstrip("/").split("/")[-1] or name


class There(Engine):
    """A vLLM's API.

    Args:
        url: as for `load_there`.
        token: as for `load_there`.

    Attributes:
        url: the API's address.
        shown: the same as messages may tell it.
        model: what the server calls the model; "" as long as none is chosen.
        hidden: takes the password and the token out of a text of the server's.
    """

    model = ""

    def __init__(self, url: str, token: str | None = None) -> None:
        self.url = url.rstrip("/")
        self.shown = without_password(self.url)
        token = checked_token(os.environ.get(KEY) if token is None else token)
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        self.hidden = hiding(self.url, token)
        limits, timeout = httpx.Limits(max_connections=AT_ONCE), httpx.Timeout(_SECONDS, connect=_CONNECT_SECONDS)
        try:
            self._http = httpx.Client(headers=headers, timeout=timeout, limits=limits, event_hooks=dict(exchange.HOOKS))
            address = httpx.URL(self.url)
            if not address.host or (address.port or 0) > 65_535:
                raise ValueError("it names no host" if not address.host else "its port is more than 65535")
        except (httpx.InvalidURL, ValueError) as exc:
            # What is wrong may be a part of a password.
            why = (
                one_line(str(exc), _TOLD) if self.shown == self.url else "write the signs before its @ as %2F and so on"
            )
            raise InputError(
                f"{self.shown!r:.80} is no address of a vLLM server, such as http://127.0.0.1:8000/v1: {why}."
            ) from None
        self._pool = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="fo1agent-vllm")
        self._ids: dict[str, int] = {}  # of the model that is there; another one gets a dict of its own
        self._cards: dict[str, str] = {}
        self._sent: OrderedDict[str, str] = OrderedDict()
        self._lock = threading.Lock()
        self._answers, self._seen = True, float("-inf")

    def ready(self) -> bool:
        """Whether the server has the model and answers, as its last answer tells; if that is old, it is asked now."""
        with self._lock:
            if time.monotonic() - self._seen < _READY_FOR:
                return self._answers
            self._seen = time.monotonic()  # who asks meanwhile does not look as well
        with contextlib.suppress(EngineError):
            self._saw(self.model in self.models(_READY_SECONDS))
        return self._answers

    def error(self, what: str, status: int = 0, fault: Fault = "failed", advice: str = "") -> EngineError:
        """An error of the server.

        Args:
            what: it does: a clause without its subject.
            status, fault: as of `EngineError`.
            advice: what to do, beginning with a blank.
        """
        return EngineError(f"vLLM at {self.shown} {what}.{advice}", status, fault)

    def models(self, seconds: float = _LISTED_SECONDS) -> list[str]:
        """What the server calls its models, told within so many seconds."""
        said = self._ask("GET", f"{self.url}/models", seconds)
        names = self._read(lambda: [_name(one["id"]) for one in said["data"]])
        # vLLM makes what else is on a card, `created` too, anew for each who asks.
        told = self._read(lambda: [repr((one.get("root"), one.get("max_model_len")))[:_TOLD] for one in said["data"]])
        cards = dict(zip(names, told, strict=True))
        if cards.get(self.model) != self._cards.get(self.model):
            self._ids = {}
        self._cards = cards
        return names

    def write(self, asked: Sequence[Asked], most: int, stop: str | None = None) -> list[Written]:
        """See `Engine`."""

        def one(prompt: Asked) -> Written:
            more = {"max_tokens": most, **({} if stop is None else {"stop": [stop]})}
            said = self._chat(prompt, more)
            return self._read(lambda: Written(_whole(said["choices"][0]["message"]["content"] or "")))

        return self._each(one, asked)

    def weigh(self, asked: Sequence[Asked], tokens: Sequence[Sequence[str]]) -> list[np.ndarray]:
        """See `Engine`."""
        known = self._known(tokens)
        rows = self._weighed(asked, tokens, known)
        if any(row is None for row in rows):
            self._ids = {}
            anew = self._known(tokens)
            if any(known[token] != anew[token] for own in tokens for token in own):
                rows = self._weighed(asked, tokens, anew)
        return self._read(lambda: [_all_there(row) for row in rows])

    def _weighed(
        self, asked: Sequence[Asked], tokens: Sequence[Sequence[str]], known: Mapping[str, int]
    ) -> list[np.ndarray | None]:
        """As `weigh`, of tokens with these ids; None for a prompt whose answer lacks one of them."""

        def one(prompt: Asked, own: Sequence[str]) -> np.ndarray | None:
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

            def row() -> np.ndarray | None:
                told = said["choices"][0]["logprobs"]["content"][0]["top_logprobs"]
                found = {str(entry["token"]): entry["logprob"] for entry in told}
                own = [f"token_id:{k}" for k in ids]
                if not found.keys() >= set(own):
                    return None
                return np.array([_log_probability(found[token]) for token in own], dtype=np.float64)

            return self._read(row)

        return self._each(one, asked, tokens)

    # --- requests ----------------------------------------------------------------------------------------------

    def _each(self, work: Callable[..., T], *given: Sequence[Any]) -> list[T]:
        """What comes of each, under way together, for as long as `exchange.until` leaves who asks."""
        end = time.monotonic() + exchange.left()

        def within(*one: Any) -> T:
            with exchange.until(end - time.monotonic()):
                return work(*one)

        return list(self._pool.map(within, *given))

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
        known = self._ids
        new = [token for token in dict.fromkeys(token for own in tokens for token in own) if token not in known]
        if new:
            root = self.url.removesuffix("/v1")
            asked = {"model": self.model, "prompt": "".join(new), "add_special_tokens": False}
            said = self._ask("POST", f"{root}/tokenize", json=asked)
            ids = self._read(lambda: [k for k in said["tokens"] if type(k) is int and k >= 0])
            if len(set(ids)) != len(new) or len(ids) != len(new):
                raise self.error(f"has a model {self.model!r:.80} without tokens of regions: it is no FO1")
            known.update(zip(new, ids, strict=True))
        return known

    def _ask(self, method: str, url: str, seconds: float = _SECONDS, **request: Any) -> Any:
        try:
            response = self._answer(method, url, seconds, **request)
            if not response.is_success:
                raise self._refusal(response)
        except EngineError as exc:
            self._saw(exc.fault == "refused")
            if exc.fault == "away" and not exc.status:
                self._ids = {}  # what answers next may be another model's
            raise
        self._saw(True)
        return self._read(lambda: bounded.parse(response.content, _REPLY_BYTES))

    def _saw(self, answers: bool) -> None:
        with self._lock:
            self._answers, self._seen = answers, time.monotonic()

    def _answer(self, method: str, url: str, seconds: float, **request: Any) -> httpx.Response:
        asked = exchange.Exchange(seconds, _REPLY_BYTES)
        try:
            with asked, asked.applied():
                return self._http.request(method, url, **request)
        except exchange.Ended:
            if asked.late and exchange.left() <= 0:
                raise BudgetExceeded("the budget of seconds is used up, waiting for vLLM") from None
            why = without_password(one_line(asked.why, _TOLD))
            away = asked.late or asked.put_off in _AWAY
            raise self.error(f"gave no usable answer: {why}", asked.put_off, "away" if away else "failed") from None
        except httpx.HTTPError as exc:
            why = one_line(str(exc), _TOLD).rstrip(".") or type(exc).__name__
            advice = exchange.other_scheme(self.url, exc) or "Does `vllm serve` run there?"
            raise self.error(f"does not answer: {why}", fault="away", advice=f" {advice}") from exc

    def _refusal(self, response: httpx.Response) -> EngineError:
        """What an answer means that is none."""
        status, why = response.status_code, _complaint(response, self.hidden)
        if response.has_redirect_location:
            there = without_password(one_line(self.hidden(response.headers["location"]), _TOLD))
            return self.error(
                f"answers {status} and sends on to {there}, where nobody follows", status, advice=_ADDRESS
            )
        if status in _REFUSED and _TRUST not in why:
            return EngineError(f"vLLM at {self.shown} refuses the request: {why}.", status, "refused", why)
        advice = _NO_KEY if status == 401 else _ADDRESS if status == 404 and not self.model else ""
        return self.error(f"answers {status}: {why}", status, "away" if status in _AWAY else "failed", advice)

    def _read(self, read: Callable[[], T]) -> T:
        """What is read of an answer; what cannot be is the server's fault."""
        try:
            return read()
        except (AttributeError, LookupError, TypeError, ValueError) as exc:
            why = f"{type(exc).__name__}: {one_line(self.hidden(str(exc)), _TOLD)}"
            raise EngineError(f"What answers at {self.shown} is no vLLM with FO1 ({why}).") from exc


def _complaint(response: httpx.Response, hidden: Callable[[str], str]) -> str:
    """What an answer says went wrong, on a line: the first text where errors have one, else what its status means.

    Args:
        hidden: takes out what it was told in confidence.
    """
    try:
        told = bounded.parse(response.content, _REPLY_BYTES)
    except ValueError:
        told = None
    while isinstance(told, (dict, list)):
        if isinstance(told, dict):
            told = next((told[key] for key in ("error", "message", "detail", "msg") if told.get(key)), None)
        else:
            told = told[0] if told else None
    said = one_line(hidden(told if isinstance(told, str) else ""), _TOLD).rstrip(". ")
    return said or one_line(hidden(response.reason_phrase), _TOLD) or "it does not say why"


def _all_there(row: np.ndarray | None) -> np.ndarray:
    if row is None:
        raise ValueError("its answer lacks tokens that were asked for")
    return row


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
