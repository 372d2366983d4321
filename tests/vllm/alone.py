"""A vLLM with settings of its own, in a process of its own: `python -m tests.vllm.alone FOLDER ADAPTER|none WORKERS`.

Prints the ids that it writes about a picture, one row for each of `CASES`, with the adapter if there is one, as JSON.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

QUESTION = "Please detect dog."
CASES = [
    [[10.0, 10.0, 100.0, 100.0], [50.0, 60.0, 300.0, 200.0]],
    [],
    [[k, k, k + 90.0, k + 60.0] for k in range(0, 180, 10)],
]
TOKENS = 20


def main(folder: str, adapter: str, workers: str) -> None:
    os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "1")
    os.environ.setdefault("VLLM_CPU_OMP_THREADS_BIND", "nobind")
    from vllm import LLM, SamplingParams  # pyright: ignore[reportAttributeAccessIssue]
    from vllm.lora.request import LoRARequest  # pyright: ignore[reportMissingImports]

    from fo1agent.model.processing import FO1Processor
    from tests.vllm.conftest import picture

    llm = LLM(
        model=folder,
        dtype="float32",
        enforce_eager=True,
        max_model_len=4096,
        limit_mm_per_prompt={"image": 1},
        tensor_parallel_size=int(workers),
        enable_lora=adapter != "none",
    )
    processor = FO1Processor.from_folder(Path(folder))
    chat = processor.chat
    picture_and_question = f"<|vision_start|><|image_pad|><|vision_end|>\n{QUESTION}"
    prompt = llm.get_tokenizer().encode(f"{chat.opening}{picture_and_question}{chat.closing}")
    asked = {"prompt_token_ids": prompt, "multi_modal_data": {"image": picture(3).pixels}}
    outputs = llm.generate(
        [{**asked, "mm_processor_kwargs": {"boxes": [boxes]}} for boxes in CASES],
        SamplingParams(temperature=0, max_tokens=TOKENS, detokenize=False),
        use_tqdm=False,
        lora_request=LoRARequest("adapter", 1, adapter) if adapter != "none" else None,
    )
    print(json.dumps([list(output.outputs[0].token_ids) for output in outputs]))


if __name__ == "__main__":  # which other processes import
    main(*sys.argv[1:])
