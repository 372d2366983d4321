"""vLLM in this process, with the plug-in `fo1agent.integrations.vllm`, which it finds by itself.

One thread owns it: it is made there, takes what other threads ask as it comes, and computes step by step for all of
them together.
"""

# vLLM has an environment of its own, in which nothing else is checked.
# pyright: reportMissingImports=false

from __future__ import annotations

import os
import queue
import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from fo1agent.errors import CheckpointError, EngineError, InputError
from fo1agent.model.config import FO1Config
from fo1agent.model.finding import CONFIG, find_folder, fingerprint
from fo1agent.model.folder import one_line, read_json
from fo1agent.model.processing import FO1Processor
from fo1agent.model.prompting import IMAGE_SLOT
from fo1agent.model.served import Asked, Engine, Said, ServedPredictor, Shown, Written

LONGEST = 32768
"""Tokens of a prompt and its answer, at most; bounds what vLLM keeps room for."""
_MEMORY = (
    "On a CPU set VLLM_CPU_KVCACHE_SPACE to the GB that its cache may take, such as 4, and where others compute too, "
    "VLLM_CPU_OMP_THREADS_BIND=nobind; for less of a GPU use `vllm serve` with --gpu-memory-utilization as the engine "
    "(docs/vllm.md)."
)
_MOST_WEIGHED = 128  # tokens that vLLM tells the probability of in one request


def load_here(name_or_folder: str | Path | None, dtype: str | None, compile: bool) -> ServedPredictor:
    """A predictor with vLLM in this process, which is installed.

    Args:
        name_or_folder: as for `find_folder`; a model without a match head.
        dtype: of the weights; None or "auto": as they are stored.
        compile: let vLLM compile kernels on a CPU, too, which takes minutes.

    Raises:
        CheckpointError: nothing there, or not a model that vLLM runs.
    """
    folder, name = find_folder(name_or_folder)
    processor = FO1Processor.from_folder(folder)
    config = processor.config
    settings = replace(processor.settings, max_regions=min(processor.settings.max_regions, _MOST_WEIGHED - 1))
    said = Said(name, fingerprint(folder), settings, config.vocabulary, config.calibration, config.thresholds)
    return ServedPredictor(Here(folder, processor, _dtype(folder, dtype), compile), said)


class Here(Engine):
    """vLLM with the model of a folder.

    Args:
        folder: of the model.
        processor: the model's.
        dtype: vLLM's name of one.
        compile: as for `load_here`.

    Attributes:
        llm: vLLM's own `LLM`, which its thread uses; `get_metrics()` may be asked for.
    """

    llm: Any
    _works = True

    def __init__(self, folder: Path, processor: FO1Processor, dtype: str, compile: bool = False) -> None:
        self._processor = processor
        self._image = processor.token_id("<|image_pad|>")
        self._stops = sorted({processor.stop_id, *_eos(processor.config)})
        self._given: queue.SimpleQueue[Any] = queue.SimpleQueue()
        ready: Future[None] = Future()
        threading.Thread(
            target=self._run, args=(folder, dtype, compile, ready), name="fo1agent-vllm", daemon=True
        ).start()
        ready.result()

    def write(self, asked: Sequence[Asked], most: int, stop: str | None = None) -> list[Written]:
        """See `Engine`."""
        stops = [*self._stops, *([] if stop is None else [self._processor.token_id(stop)])]
        options = {"max_tokens": most, "stop_token_ids": stops}
        found = self._all(asked, [options] * len(asked))
        written = [tuple(k for k in one.token_ids if k not in stops) for one in found]
        return [Written(self._processor.decode(ids), ids) for ids in written]

    def weigh(self, asked: Sequence[Asked], tokens: Sequence[Sequence[str]]) -> list[np.ndarray]:
        """See `Engine`."""
        ids = [[self._processor.token_id(token) for token in own] for own in tokens]
        found = self._all(asked, [{"max_tokens": 1, "logprob_token_ids": own} for own in ids])
        return [
            np.array([one.logprobs[0][k].logprob for k in own], dtype=np.float64)
            for one, own in zip(found, ids, strict=True)
        ]

    def ready(self) -> bool:
        """See `Engine`."""
        return self._works

    def _all(self, asked: Sequence[Asked], options: Sequence[Mapping[str, Any]]) -> Iterator[Any]:
        """vLLM's one output for each prompt."""
        waiting: list[Future[Any]] = []
        for one, chosen in zip(asked, options, strict=True):
            waiting.append(Future())
            self._given.put((self._prompt(one), chosen, waiting[-1]))
        return (one.result() for one in waiting)

    def _prompt(self, asked: Asked) -> dict[str, Any]:
        ids = self._processor.prompt_ids([0] * len(asked.shown), asked.text).tolist()
        ids = [self._image if k == IMAGE_SLOT else k for k in ids]
        begun = self._processor.text_ids(asked.begun).tolist() if asked.begun else []
        prompt: dict[str, Any] = {"prompt_token_ids": [*ids, *asked.written.ids, *begun]}
        return prompt | (_of_pictures(asked.shown) if asked.shown else {})

    # --- the thread --------------------------------------------------------------------------------------------

    def _run(self, folder: Path, dtype: str, compile: bool, ready: Future[None]) -> None:
        try:
            self.llm = _start(folder, dtype, compile, self._processor.config)
        except BaseException as exc:  # told where it was asked for
            ready.set_exception(_start_failed(folder, exc))
            return
        ready.set_result(None)
        running: dict[str, Future[Any]] = {}
        number = 0
        while True:
            while not self._given.empty() or not running:
                prompt, options, future = self._given.get()
                number += 1
                try:
                    self._add(str(number), prompt, options)
                except Exception as exc:
                    future.set_exception(_refused(exc) if self._works else _broken(exc))
                else:
                    running[str(number)] = future
            try:
                for output in self.llm.llm_engine.step():
                    if output.finished and (future := running.pop(output.request_id, None)):
                        future.set_result(output.outputs[0])
            except Exception as exc:  # the engine is broken; whoever waits is told, and who asks next as well
                self._works = False
                for future in running.values():
                    future.set_exception(_broken(exc))
                running.clear()

    def _add(self, number: str, prompt: Mapping[str, Any], options: Mapping[str, Any]) -> None:
        from vllm import SamplingParams
        from vllm.renderers.inputs.preprocess import parse_model_prompt

        renderer = self.llm.renderer
        (rendered,) = renderer.render_cmpl(
            [parse_model_prompt(self.llm.model_config, prompt)], renderer.default_cmpl_tok_params
        )
        params = SamplingParams(temperature=0.0, detokenize=False, **options)
        self.llm.llm_engine.add_request(number, rendered, params)


def _of_pictures(shown: Sequence[Shown]) -> dict[str, Any]:
    return {
        "multi_modal_data": {"image": [one.image.pixels for one in shown]},
        "multi_modal_uuids": {"image": [one.image.sha256 for one in shown]},
        "mm_processor_kwargs": {"boxes": [one.boxes.tolist() for one in shown]},
    }


def _start(folder: Path, dtype: str, compile: bool, config: FO1Config) -> Any:
    # In this process and no other, which needs no guard around a script's main part.
    os.environ.setdefault("VLLM_ENABLE_V1_MULTIPROCESSING", "0")
    os.environ.setdefault("VLLM_LOGGING_LEVEL", "ERROR")
    from vllm import LLM
    from vllm.platforms import current_platform

    return LLM(
        model=str(folder),
        dtype=dtype,
        enforce_eager=current_platform.is_cpu() and not compile,
        max_model_len=min(LONGEST, config.get_text_config().max_position_embeddings),
        limit_mm_per_prompt={"image": 8},
        disable_log_stats=False,
    )


def _eos(config: FO1Config) -> list[int]:
    eos = config.get_text_config().eos_token_id
    return [] if eos is None else [eos] if isinstance(eos, int) else list(eos)


def _dtype(folder: Path, dtype: str | None) -> str:
    """vLLM's name of a dtype; its own "auto" would halve float32."""
    said = read_json(folder / CONFIG)
    stored = said.get("dtype", said.get("torch_dtype"))
    return str(stored or "auto") if dtype in (None, "auto") else dtype


def _start_failed(folder: Path, exc: BaseException) -> Exception:
    if isinstance(exc, (CheckpointError, InputError)):
        return exc
    cure = f" {_MEMORY}" if isinstance(exc, MemoryError) or "memory" in str(exc).lower() else ""
    return CheckpointError(f"vLLM cannot run {folder}: {one_line(exc).rstrip('.')}.{cure}")


def _refused(exc: Exception) -> Exception:
    """What came of one prompt alone."""
    why = one_line(exc).rstrip(".")
    return exc if isinstance(exc, InputError) else EngineError(f"vLLM refuses the prompt: {why}.", 0, "refused", why)


def _broken(exc: Exception) -> EngineError:
    return EngineError(f"vLLM in this process has failed: {one_line(exc).rstrip('.')}. Load the model again.")
