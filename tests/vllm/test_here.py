"""vLLM in this process: the words, scores and limits of engine torch, and many questions together."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("vllm", reason="`make test-vllm` runs these, in an environment of vLLM's own")

from safetensors.torch import load_file

import fo1agent
from fo1agent.errors import CheckpointError, EngineError, InputError
from fo1agent.model.served import Asked, Shown
from fo1agent.pictures.image import load_image
from tests.conftest import REPO
from tests.tiny_models import CHECKPOINT, FIXTURES
from tests.vllm.conftest import picture, regions

# Of float32: what vLLM's attention on a CPU and torch's differ in, and what a sigmoid makes of it.
CLOSE = 1e-5
TEXTS = ("Please detect dog in this image.", "How many <|im_end|> red cars are there?")


def _golden(folder: Path) -> list[dict[str, Any]]:
    cases = json.loads((folder / "cases.json").read_text(encoding="utf-8"))
    return [case for case in cases if "image" in case]


def _check(here: Any, folder: Path, case: dict[str, Any]) -> None:
    """vLLM writes the ids of the reference, as far as their logits stand apart."""
    wanted = load_file(folder / case["tensors"])["generated_ids"].tolist()
    shown = Shown(load_image(folder / case["image"]), np.array(case["boxes"], dtype=np.float64).reshape(-1, 4))
    (written,) = here.engine.write([Asked((shown,), case["text"])], len(wanted))
    safe = case.get("greedy_safe_steps", len(wanted))
    assert list(written.ids)[:safe] == wanted[:safe], case["name"]


@pytest.mark.parametrize("case", _golden(FIXTURES), ids=lambda case: case["name"])
def test_words_are_those_of_the_reference(here: Any, case: dict[str, Any]) -> None:
    _check(here, FIXTURES, case)


def test_words_of_all_open_cases_are_those_of_the_reference(here: Any, shared_dir: Path) -> None:
    folder = shared_dir / "fixtures" / "fo1-tiny"
    if not folder.is_dir():
        pytest.skip(f"no golden tensors at {folder}")
    counts = []
    for case in _golden(folder):
        _check(here, folder, case)
        counts.append(len(case["boxes"]))
    assert min(counts) == 0 < 50 < max(counts)


@pytest.mark.parametrize("count", [0, 1, 7, 100, 130])
def test_words_and_scores_are_those_of_engine_torch(here: Any, local: Any, count: int) -> None:
    """130 boxes stand in two prompts."""
    image = picture(count, 211, 333)
    ours, theirs = (one.encode(image, regions(count, image)) for one in (here, local))
    assert here.generate_many(ours, TEXTS, 24) == local.generate_many(theirs, TEXTS, 24)
    phrases = ["dog", "red car", "a cat that sleeps"]
    np.testing.assert_allclose(here.match(ours, phrases), local.match(theirs, phrases), rtol=0, atol=CLOSE)
    assert ours.note == theirs.note
    if count:
        np.testing.assert_allclose(here.similar(ours, count - 1), local.similar(theirs, count - 1), rtol=0, atol=CLOSE)


def test_other_boxes_of_a_known_picture_are_other_regions(here: Any, local: Any) -> None:
    image = picture(1)
    boxes = regions(3, image, seed=5).boxes
    ours, theirs = (one.with_boxes(one.encode(image, regions(7, image)), boxes) for one in (here, local))
    found = here.match(ours, ["dog"])
    np.testing.assert_allclose(found, local.match(theirs, ["dog"]), rtol=0, atol=CLOSE)
    assert abs(found - here.match(here.encode(image, regions(7, image)), ["dog"])[:, :3]).max() > 100 * CLOSE


def test_regions_of_several_pictures_are_numbered_through(here: Any, local: Any) -> None:
    """Also when vLLM knows some of the pictures already, by another number."""
    images = [picture(2), picture(3, 97, 65), picture(4, 65, 97)]
    text = "Compare <region0>, <region3> and <region5>."
    ours, theirs = ([one.encode(image, regions(2, image)) for image in images] for one in (here, local))
    for order in ((0, 1, 2), (1, 0, 2), (2, 0), (0, 2)):
        pair = [[encodings[k] for k in order] for encodings in (ours, theirs)]
        assert here.generate(pair[0], text, 24) == local.generate(pair[1], text, 24), order


def test_words_alone_need_no_picture(here: Any, local: Any) -> None:
    assert here.generate([], "Say something.", 24) == local.generate([], "Say something.", 24)


def test_a_scene_of_it_has_the_tools_and_the_agent(here: Any, local: Any) -> None:
    image = picture(6)
    boxes = regions(5, image).boxes.tolist()
    scenes = [fo1agent.Model(one).open(image.pixels, boxes=boxes) for one in (here, local)]
    ours, theirs = ([region.name for region in scene.ground("dog", threshold=0.1)] for scene in scenes)
    assert ours == theirs
    answers = [str(fo1agent.Agent(scene.model).ask(scene, "How many dogs are there?")) for scene in scenes]
    assert answers[0] == answers[1]


def test_the_first_block_of_the_page_runs(here: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    page = (REPO / "docs" / "vllm.md").read_text(encoding="utf-8")
    block = page.partition("```python\n")[2].partition("```")[0]
    asked = []
    monkeypatch.setattr(
        fo1agent, "load", lambda *given, **options: asked.append((given, options)) or fo1agent.Model(here)
    )
    monkeypatch.chdir(REPO / "fo1agent" / "data" / "demo")
    exec(compile(block, "docs/vllm.md", "exec"), {})
    assert asked == [(("folder",), {"engine": "vllm"})]


# --- many together -----------------------------------------------------------------------------------------------


@pytest.fixture
def steps(here: Any, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Grows by one entry with each step of vLLM."""
    engine, taken = here.engine.llm.llm_engine, []
    step = engine.step

    def counted() -> Any:
        taken.append(1)
        return step()

    monkeypatch.setattr(engine, "step", counted)
    return taken


def test_questions_about_several_pictures_are_computed_together(here: Any, steps: list[int]) -> None:
    images = [picture(seed) for seed in range(10, 14)]
    about = [here.encode(image, regions(20, image)) for image in images] * 8
    texts = [f"How many things of kind {k} are there?" for k in range(32)]
    together = here.generate_many(about, texts, 16)
    count = len(steps)
    alone = [here.generate(*pair, 16) for pair in zip(about, texts, strict=True)]
    assert alone == together
    assert len(steps) - count > 10 * count  # a step costs about the same for one question and for many


def test_what_several_threads_ask_is_computed_together(here: Any, steps: list[int]) -> None:
    image = picture(20)
    encoding, texts = here.encode(image, regions(3, image)), [f"What is thing {k}?" for k in range(8)]
    wanted, said = here.generate_many(encoding, texts, 64), [""] * 8
    count = len(steps)

    def ask(k: int) -> None:
        said[k] = here.generate(encoding, texts[k], 64)

    threads = [threading.Thread(target=ask, args=(k,)) for k in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert said == wanted
    assert len(steps) - count < 4 * count


def test_a_picture_that_was_read_is_not_read_again(here: Any) -> None:
    image = picture(30, 640, 640)
    encoding = here.encode(image, regions(60, image))

    def counts() -> np.ndarray:
        found = {one.name: one.value for one in here.engine.llm.get_metrics() if hasattr(one, "value")}
        return np.array([found["vllm:prefix_cache_hits"], found["vllm:prefix_cache_queries"]])

    here.generate(encoding, "What is this?", 4)
    before = counts()
    for k in range(10):
        here.generate(encoding, f"Question {k}: what is this?", 4)
    hits, queries = counts() - before
    assert hits / queries > 0.9


# --- what it refuses ---------------------------------------------------------------------------------------------


def test_a_prompt_that_is_too_long_is_refused_and_the_next_one_answered(here: Any, local: Any) -> None:
    with pytest.raises(EngineError, match="vLLM refuses the prompt") as caught:
        here.generate([], "zq xj " * 2500, 4)
    assert (caught.value.fault, here.ready()) == ("refused", True)
    assert here.generate([], "Hello.", 8) == local.generate([], "Hello.", 8)


def test_what_vllm_cannot_do_is_said(here: Any) -> None:
    image = picture(40)
    encoding = here.encode(image, regions(2, image))
    with pytest.raises(InputError, match="no match head"):
        here.match_without(encoding, ["dog"], [[]])
    with pytest.raises(InputError, match='planner "fo1"'):
        here.reader()
    with pytest.raises(InputError, match="makes no proposals"):
        here.encode(image)


def test_models_that_judge_otherwise_are_refused() -> None:
    with pytest.raises(CheckpointError, match="match head"):
        fo1agent.load(engine="vllm")


def test_options_that_vllm_does_not_have_are_refused() -> None:
    with pytest.raises(InputError, match="takes no quantize int8 and no pack"):
        fo1agent.load(CHECKPOINT, engine="vllm", quantize="int8", pack=True)
