"""Does "auto" choose the precision that a machine multiplies fastest in?"""

import torch

from fo1agent.trainers import precision

CPU = torch.device("cpu")


def test_auto_is_the_faster_one(monkeypatch) -> None:
    seconds = {torch.bfloat16: 2.0, torch.float32: 1.0}
    monkeypatch.setattr(precision, "_seconds", lambda dtype, device: seconds[dtype])
    precision.fastest.cache_clear()
    assert precision.resolve("auto", CPU) == "float32"
    seconds[torch.bfloat16] = 0.5
    precision.fastest.cache_clear()
    assert precision.resolve("auto", CPU) == "bfloat16"
    precision.fastest.cache_clear()


def test_a_precision_that_was_asked_for_is_kept() -> None:
    assert precision.resolve("bfloat16", CPU) == "bfloat16"
    assert precision.resolve("float32", CPU) == "float32"


def test_this_machine_has_an_answer() -> None:
    assert precision.fastest(CPU) in ("float32", "bfloat16")
