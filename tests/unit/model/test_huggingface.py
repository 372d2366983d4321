"""FO1 as users of transformers know models: a processor's batch, `forward`, `generate`, and folders."""

from __future__ import annotations

import copy
import io
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import (
    GenerationConfig,
    GenerationMixin,
    LogitsProcessorList,
    MinNewTokensLengthLogitsProcessor,
    ProcessorMixin,
    StoppingCriteriaList,
    TextStreamer,
)

import fo1agent
from fo1agent.errors import BoxError, CheckpointError, InputError
from fo1agent.model.fo1 import FO1
from fo1agent.model.generation import greedy
from fo1agent.model.predictor import Predictor
from fo1agent.model.prefix import Prefix
from fo1agent.model.processing import FO1Processor
from fo1agent.model.sequence import IGNORED, IMAGE_SLOT, REGION_SLOT
from fo1agent.regions.regions import Regions
from tests.tiny_models import CHECKPOINT, nano, reference

BOXES = [[10.0, 5.0, 60.0, 40.0], [0.0, 0.0, 90.0, 64.0]]
TEXT = "What is <region1>?"
CHAT: list[dict[str, Any]] = [{"role": "user", "content": TEXT}]


def picture(seed: int = 0, size: tuple[int, int] = (90, 64)) -> Image.Image:
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def regions_of(boxes: Any) -> Regions:
    """The later, the surer."""
    count = len(boxes)
    return Regions(np.array(boxes), np.linspace(0, 1, count), (None,) * count, tuple(f"r{k}" for k in range(count)))


@pytest.fixture(params=[reference, nano])
def pair(request: pytest.FixtureRequest) -> tuple[FO1, FO1Processor]:
    return request.param()


def test_the_public_names_are_those_of_transformers_kind():
    assert issubclass(fo1agent.FO1, GenerationMixin)
    assert issubclass(fo1agent.FO1Processor, ProcessorMixin)
    assert fo1agent.FO1.can_generate()
    processor = copy.deepcopy(nano()[1])
    assert "Qwen2VLImageProcessorPil" in repr(processor)


def test_generate_writes_what_a_scene_s_predictor_writes(pair):
    model, processor = pair
    regions = regions_of(BOXES)
    predictor = Predictor(model, processor)
    wanted = predictor.generate(predictor.encode(picture(), regions), TEXT, 8)
    ids = model.generate(**processor(images=picture(), text=TEXT, boxes=regions), max_new_tokens=8)
    assert ids.shape[1] <= 8
    assert processor.decode(ids[0]) == wanted
    # Without a picture, and as one turn of a conversation.
    alone = model.generate(**processor(text="Hello"), max_new_tokens=4)
    assert processor.decode(alone[0]) == predictor.generate([], "Hello", 4)


def test_a_batch_writes_what_each_prompt_writes_alone_and_forward_reads_it(pair):
    model, processor = pair
    texts = [TEXT, "Where is it, and what else can be seen in this picture?", "Hi"]
    images, boxes = [picture(), [picture(1), picture(2)], None], [BOXES, [BOXES[:1], None], None]
    together = processor(images, texts, boxes)
    assert together["input_ids"].shape == together["attention_mask"].shape
    ids = model.generate(**together, max_new_tokens=6, eos_token_id=None)
    for row, (image, text, own) in enumerate(zip(images, texts, boxes, strict=True)):
        alone = processor(image, text, own)
        assert ids[row].tolist() == model.generate(**alone, max_new_tokens=6, eos_token_id=None)[0].tolist()
        with torch.inference_mode():
            logits = model(**alone, logits_to_keep=1).logits
        assert int(logits[0, -1].argmax()) == int(ids[row, 0])
    assert processor.batch_decode(ids) == [processor.decode(row) for row in ids]


def test_forward_learns_from_labels(pair):
    model, processor = pair
    batch = processor(picture(), TEXT, BOXES)
    labels = batch["input_ids"].clone()
    labels[:, :-3] = IGNORED
    loss = model(**batch, labels=labels).loss
    assert loss.requires_grad
    assert float(loss.detach()) > 0


def test_a_beginning_that_was_kept_is_gone_on_from(pair):
    model, processor = pair
    predictor = Predictor(model, processor)
    prefix = predictor.encode(picture(), regions_of(BOXES)).prefix
    question = processor.question_ids([2], TEXT)
    wanted = greedy(model, prefix, question, predictor.stop_ids, 5).ids
    assert torch.equal(model.generate(question[None], prefix=prefix, max_new_tokens=5)[0], wanted)
    several = model.generate(
        question[None],
        prefix=prefix,
        max_new_tokens=5,
        do_sample=True,
        top_k=1,
        num_return_sequences=3,
        eos_token_id=None,
    )
    assert torch.equal(several, wanted.expand(3, -1))


def test_options_of_transformers_do_what_they_say(pair):
    model, processor = pair
    batch = processor(picture(), TEXT, BOXES)
    free = model.generate(**batch, max_new_tokens=8, eos_token_id=None)[0]
    first, third = int(free[0]), int(free[2])

    def written(**options: Any) -> list[int]:
        return model.generate(**batch, **{"max_new_tokens": 8, "eos_token_id": None, **options})[0].tolist()

    assert written(eos_token_id=[first]) == [first]
    assert written(generation_config=GenerationConfig(max_new_tokens=3), max_new_tokens=3) == free[:3].tolist()
    assert written(do_sample=True, top_k=1, temperature=0.7) == free.tolist()
    never = LogitsProcessorList([lambda ids, scores: scores.index_fill(1, torch.tensor([first]), -torch.inf)])
    assert first not in written(logits_processor=never)
    assert len(set(written(repetition_penalty=1e6))) == 8
    stop = StoppingCriteriaList([lambda ids, scores, **_: ids[:, -1] == third])
    assert written(stopping_criteria=stop) == free[: free.tolist().index(third) + 1].tolist()
    least = LogitsProcessorList([MinNewTokensLengthLogitsProcessor(0, 5, [first])])
    assert len(written(eos_token_id=[first], logits_processor=least)) >= 5
    whole = model.generate(
        **batch, max_new_tokens=4, return_dict_in_generate=True, output_logits=True, eos_token_id=None
    )
    letter = int(processor.text_ids("a"))
    always = LogitsProcessorList([lambda ids, scores: scores.index_fill(1, torch.tensor([letter]), torch.inf)])
    stopped = written(logits_processor=always, stop_strings="aa", tokenizer=processor.tokenizer)
    assert stopped == [letter, letter]
    assert [int(step.argmax()) for step in whole.logits] == whole.sequences[0].tolist() == free[:4].tolist()
    with redirect_stdout(io.StringIO()) as shown:
        written(streamer=TextStreamer(processor.tokenizer))
    assert shown.getvalue().strip() == processor.tokenizer.decode(free).strip()


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"num_beams": 3}, "by greedy_search or sample, got options for beam_search"),
        ({"prompt_lookup_num_tokens": 2}, "got options for assisted_generation"),
        ({"max_new_token": 3}, "has no option max_new_token"),
        ({"cache_implementation": "static"}, "a cache of its own"),
        ({"temperature": -1, "do_sample": True}, "temperature=-1: it must be greater than 0"),
        ({"temperature": float("nan")}, "temperature=nan: it must be a finite number"),
        ({"top_k": -1, "do_sample": True}, "top_k=-1: it must be greater than or equal to 0"),
        ({"repetition_penalty": -1}, "repetition_penalty=-1: it must be greater than 0"),
        ({"max_new_tokens": "x"}, "max_new_tokens='x': it must be a valid integer"),
        ({"max_new_tokens": 2.5}, "max_new_tokens=2.5: it must be a valid integer"),
        ({"num_return_sequences": 0}, "num_return_sequences=0: it must be greater than or equal to 1"),
        ({"generation_config": 5}, "generation_config=5: it must be an instance of GenerationConfig"),
        ({"generation_config": GenerationConfig(top_k=-1)}, "top_k=-1: it must be"),
        ({"streamer": 5}, "streamer=5: it must have put and end"),
        ({"logits_processor": [5]}, "logits_processor=\\[5\\]: it must be callable"),
        ({"stop_strings": ["a"]}, "cannot go by its options: .* tokenizer"),
        ({"bad_words_ids": 5}, "cannot go by its options: `bad_words_ids` has to be"),
        ({"watermarking_config": 5}, "has no attribute 'validate'"),
        ({"output_attentions": True, "return_dict_in_generate": True}, "has no output_attentions: leave it out"),
    ],
)
def test_what_makes_no_sense_is_refused_by_name(options: dict[str, Any], told: str):
    model, processor = nano()
    with pytest.raises(InputError, match=told):
        model.generate(**processor(text="Hi"), **options)


def test_slots_without_their_pictures_are_named():
    model, processor = nano()
    batch = processor(picture(), TEXT, BOXES)
    with pytest.raises(InputError, match="input_ids has 1 image slots, with 0 images and 1 arrays of boxes"):
        model.generate(batch["input_ids"], boxes=batch["boxes"])


IDS = torch.tensor([[5, 6, 7]])


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"images": None}, "images must be the pictures that FO1Processor made, got None"),
        ({"images": [5]}, "images must be the pictures"),
        ({"boxes": None}, "boxes must be a list of \\[N, 4\\] for each image, got None"),
        ({"boxes": [[[float("nan")] * 4] * 2]}, "every value must be finite"),
        ({"boxes": [[[9, 9, 1, 1]] * 2]}, "x2 < x1"),
        ({"boxes": [[2, 3]]}, "boxes must be numbers of shape"),
        ({"boxes": [[[5000, 5000, 6000, 6000]] * 2]}, "no area inside the picture, which is 90 x 64"),
        ({"attention_mask": IDS}, "attention_mask must be a tensor .* as input_ids is, got torch.int64 .1, 3."),
        ({"attention_mask": 5}, "attention_mask must be a tensor .*, got 5"),
        ({"input_ids": IDS[0]}, "input_ids must be a tensor .B, P. of whole numbers, got torch.int64 .3."),
        ({"input_ids": IDS.float()}, "input_ids must be a tensor .B, P. of whole numbers, got torch.float32 .1, 3."),
        ({"input_ids": [[5]]}, "of whole numbers, got .\\[5\\]."),
        ({"input_ids": IDS * 1000}, "input_ids must be ids from 0 to 559 or of .-200, -300., got 5000"),
        ({"input_ids": IDS, "attention_mask": IDS * 0}, "A row of input_ids has nothing to read"),
    ],
)
def test_a_broken_batch_is_told_by_what_is_wrong_with_it(changed: dict[str, Any], told: str):
    model, processor = nano()
    batch = {**processor(picture(), TEXT, BOXES), **changed}
    for read in (model.generate, model):
        with pytest.raises(InputError, match=told):
            read(**batch)


@pytest.mark.parametrize(
    ("labels", "told"),
    [
        (IDS[:, :2], "labels must be a tensor .1, 3., as input_ids is, got torch.int64 .1, 2."),
        (IDS.float(), "labels must be a tensor .B, P. of whole numbers"),
        (-IDS, "labels must be ids from 0 to 559 or of .-100., got -5"),
    ],
)
def test_labels_are_ids_of_the_same_shape(labels: torch.Tensor, told: str):
    with pytest.raises(InputError, match=told):
        nano()[0](input_ids=IDS, labels=labels)


def test_more_text_than_the_model_has_positions_for_is_refused_before_it_is_read(monkeypatch: pytest.MonkeyPatch):
    model, processor = reference()
    monkeypatch.setattr(model, "decode", None)
    batch = processor(text="a " * 9000)
    length = batch["input_ids"].shape[1]
    told = f"takes {length} positions and max_new_tokens 8, together {length + 8}; the model has 8192"
    with pytest.raises(InputError, match=told):
        model.generate(**batch, max_new_tokens=8)
    with pytest.raises(InputError, match=f"takes {length} positions and max_new_tokens 0"):
        model(**batch)
    with pytest.raises(InputError, match="takes 3 positions and max_new_tokens 8190, together 8193"):
        model.generate(IDS, prefix=Prefix.empty(model.config.hidden_size), max_new_tokens=8190)


def test_a_batch_is_padded_in_front_and_holds_slots_for_each_box():
    processor = reference()[1]
    batch = processor([picture(), None], [TEXT, "Hi"], [BOXES, None])
    ids, mask = batch["input_ids"], batch["attention_mask"]
    assert torch.equal(ids[0], processor.prompt_ids([2], TEXT))
    assert torch.equal(ids[1][mask[1].bool()], processor.prompt_ids([], "Hi"))
    assert mask[1].tolist() == sorted(mask[1].tolist())
    assert int((ids == IMAGE_SLOT).sum()) == 1
    assert int((ids == REGION_SLOT).sum()) == 2
    assert [one.tolist() for one in batch.to("cpu", torch.bfloat16)["boxes"]] == [BOXES]


def test_beyond_the_most_boxes_the_best_are_kept_and_it_is_said(caplog: pytest.LogCaptureFixture):
    processor = reference()[1]
    boxes = np.tile([0.0, 0.0, 5.0, 5.0], (130, 1))
    boxes[:, 2] += np.arange(130)
    kept = processor(picture(), TEXT, regions_of(boxes))["boxes"][0]
    assert "130 boxes given, best 100 kept" in caplog.text
    assert len(kept) == 100
    with pytest.raises(InputError, match="have 120 boxes together; at most 100 are read"):
        processor([picture(), picture()], TEXT, [boxes[:60], boxes[:60]])
    with pytest.raises(InputError, match="Got 2 images and 1 arrays of boxes"):
        processor([picture(), picture()], TEXT, [boxes[:60]])
    with pytest.raises(InputError, match="Got 2 texts, 1 images"):
        processor([picture()], [TEXT, TEXT])
    with pytest.raises(InputError, match="Got 0 texts"):
        processor(text=[])
    with pytest.raises(BoxError):
        processor(picture(), TEXT, [[3.0, 3.0, 1.0, 4.0]])


def test_tensors_are_of_torch_and_others_are_refused():
    processor = reference()[1]
    batch = processor(text="Hi", return_tensors="pt")
    assert torch.equal(batch["input_ids"], processor(text="Hi")["input_ids"])
    with pytest.raises(InputError, match=r"^return_tensors is 'np'; there are only tensors of torch"):
        processor(text="Hi", return_tensors="np")
    with pytest.raises(InputError, match="return_tensors"):
        processor.apply_chat_template([{"role": "user", "content": "Hi"}], tokenize=True, return_tensors="tf")


def test_a_text_names_only_boxes_that_are_there():
    processor = reference()[1]
    with pytest.raises(InputError, match="names <region9>, but the prompt has 2 boxes, named from <region0>"):
        processor(picture(), "Is <region1> left of <region9>?", BOXES[:2])
    with pytest.raises(InputError, match="names <region0>, but the prompt has no boxes"):
        processor(text=["Hi", "What is <region0>?"])
    assert processor(picture(), "What is <region1>?", BOXES[:2])["boxes"][0].shape == (2, 4)


@pytest.mark.parametrize(
    ("boxes", "told"),
    [
        ([[0, 0, 9, 9], [5000, 5000, 6000, 6000]], r"boxes\[1\] = .* has no area inside the picture, which is 90 x 64"),
        ([[-50, -50, -10, -10]], "has no area inside the picture"),
        ([[5, 5, 5, 5]], "has no area inside the picture"),
        ([[0.1, 0.1, 0.5, 0.5]], "looks like parts of the picture's size"),
    ],
)
def test_boxes_are_refused_where_a_scene_refuses_them(boxes: Any, told: str):
    with pytest.raises(BoxError, match=told):
        reference()[1]([picture(), picture(1)], TEXT, [BOXES, boxes])


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"text": 5}, "Text must be a string, got 5"),
        ({"text": [None]}, "Text must be a string, got None"),
        ({"text": b"What?"}, "Text must be a string, got b'What"),
        ({"text": "a\ud800"}, "Text must be Unicode, got '.ud800' at 1, half of a character"),
        ({"text": ["a"], "images": 5}, "images must be a list, got 5"),
        ({"text": ["a"], "images": [None], "boxes": 5}, "boxes must be a list, got 5"),
        ({"text": "a", "images": [picture()], "boxes": 5}, "boxes must be a list, got 5"),
    ],
)
def test_what_is_no_prompt_is_refused(given: dict[str, Any], told: str):
    with pytest.raises(InputError, match=told):
        reference()[1](**given)


def test_only_the_ids_of_a_text_are_decoded():
    processor = reference()[1]
    ids = processor.text_ids("a cup")
    assert processor.decode(ids.tolist()) == processor.decode(ids) == "a cup"
    none_are_ids: list[Any] = [5, None, "a", [1.5], ids[None], torch.tensor([IMAGE_SLOT]), [None]]
    for wrong in none_are_ids:
        with pytest.raises(InputError, match="takes the ids"):
            processor.decode(wrong)
    with pytest.raises(InputError, match="ids must be a list, got 5"):
        processor.batch_decode(none_are_ids[0])


def test_boxes_are_cut_at_the_border_as_a_scene_s_are():
    assert reference()[1](picture(), "Hi", [[-5, 3, 500, 40]])["boxes"][0].tolist() == [[0, 3, 90, 40]]


def test_a_conversation_is_the_prompt_that_was_trained_on():
    processor = reference()[1]
    pictured = {"type": "image", "image": picture(), "boxes": BOXES}
    chat = [{"role": "user", "content": [pictured, {"type": "text", "text": TEXT}]}]
    assert torch.equal(
        processor.apply_chat_template(chat, tokenize=True)["input_ids"], processor(picture(), TEXT, BOXES)["input_ids"]
    )
    chat += [{"role": "assistant", "content": "A cup.<|im_end|>"}, *CHAT]
    assert processor.apply_chat_template(chat) == (
        "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n<|im_start|>user\n"
        "<|vision_start|><image><|vision_end|>\n<region0><regionfeat><region1><regionfeat>\n"
        f"{TEXT}<|im_end|>\n<|im_start|>assistant\nA cup."
        f"<|im_end|>\n<|im_start|>user\n{TEXT}<|im_end|>\n<|im_start|>assistant\n"
    )


@pytest.mark.parametrize(
    ("chat", "told"),
    [
        ([], "has 0 messages"),
        ([*CHAT, {"role": "assistant", "content": "Yes."}], "has 2 messages"),
        ("hi", "conversation must be a list, got 'hi'"),
        ([5], "messages\\[0\\] is 5; wanted an object"),
        ([{"role": "user", "content": 5}], "must be a string, got 5"),
        ([{"role": "user", "content": [5]}], "messages\\[0\\] holds 5; wanted text and image"),
        ([{"role": "user", "content": [{"type": [], "text": "a"}]}], "messages\\[0\\] holds"),
        ([{"role": "user", "content": [{"type": "text", "text": 5}]}], "must be a string, got 5"),
        ([{"role": "system", "content": "Be brief."}], "messages\\[0\\] is of 'system'"),
        ([{"role": "user", "content": [{"type": "video", "video": "a.mp4"}]}], "wanted text and image"),
        ([*CHAT, {"role": "assistant", "content": [{"type": "image", "image": 1}]}, *CHAT], "messages\\[1\\] holds"),
    ],
)
def test_a_conversation_of_another_kind_is_refused(chat: list[dict[str, Any]], told: str):
    with pytest.raises(InputError, match=told):
        reference()[1].apply_chat_template(chat)


def test_model_and_processor_go_into_a_folder_and_come_back(pair, tmp_path: Path):
    model, processor = pair
    processor.save_pretrained(tmp_path)
    alone = FO1Processor.from_pretrained(tmp_path)
    model.save_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)
    again, other = FO1.from_pretrained(tmp_path, dtype="auto"), FO1Processor.from_pretrained(tmp_path)
    batch = processor(picture(), TEXT, BOXES)
    for same in (alone, other):
        assert torch.equal(same(picture(), TEXT, BOXES)["input_ids"], batch["input_ids"])
    assert torch.equal(again.generate(**batch, max_new_tokens=3), model.generate(**batch, max_new_tokens=3))


def test_weights_come_in_the_type_and_on_the_device_that_are_named():
    assert next(FO1.from_pretrained(CHECKPOINT, dtype="bfloat16").parameters()).dtype == torch.bfloat16
    assert FO1.from_pretrained(CHECKPOINT, torch.float16, {"": "cpu"}).dtype == torch.float16
    with pytest.raises(InputError, match="dtype is"):
        FO1.from_pretrained(CHECKPOINT, dtype="float33")
    others: list[Any] = ["int3", "int8", torch.int8, 5]
    for other in others:
        with pytest.raises(InputError, match=r"dtype is .* float16, bfloat16, float32, float64, got"):
            FO1.from_pretrained(CHECKPOINT, dtype=other)
    with pytest.raises(CheckpointError, match="5 is neither a folder nor"):
        FO1.from_pretrained(others[-1])
    for several in ("auto", {"base": 0, "aux": 1}):
        with pytest.raises(InputError, match="device_map is one device"):
            FO1.from_pretrained(CHECKPOINT, device_map=several)
    with pytest.raises(CheckpointError, match="neither a folder nor a Hugging Face name"):
        FO1Processor.from_pretrained("nowhere")
