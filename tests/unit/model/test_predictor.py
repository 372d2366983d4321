"""The predictor: one encoding per picture, probabilities that do not depend on company, and every odd input."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from fo1agent.errors import CheckpointError, InputError
from fo1agent.model import predicting as module
from fo1agent.model import predictor as predictor_module
from fo1agent.model import weights
from fo1agent.model.encoding import EncodingCache
from fo1agent.model.fo1 import FO1
from fo1agent.model.generation import Generated
from fo1agent.model.predictor import Predictor, load_predictor
from fo1agent.pictures.image import load_image
from fo1agent.regions.regions import Regions
from fo1agent.runs.batching import Batched
from fo1agent.scene import Model
from tests import forged
from tests.tiny_models import CHECKPOINT, FIXTURES, VOCABULARY, nano, reference

IMAGE = Image.open(FIXTURES / "images" / "d_97x65_3.png").convert("RGB")
BOXES = [[24.0, 3.88, 91.35, 48.7], [32.22, 17.12, 45.79, 61.6], [11.19, 25.35, 66.94, 64.14]]


def given(boxes: list[list[float]], scores: list[float] | None = None) -> Regions:
    n = len(boxes)
    ids = tuple(f"img_0/r{i}" for i in range(n))
    return Regions(np.array(boxes).reshape(-1, 4), np.array(scores or [1.0] * n), (None,) * n, ids)


@pytest.fixture
def open_model() -> Predictor:
    return Predictor(*reference(), name="tiny", fingerprint="a")


@pytest.fixture
def closed_model() -> Predictor:
    return Predictor(*nano(), name="nano", fingerprint="b")


@pytest.fixture(params=["open", "closed"])
def predictor(request: pytest.FixtureRequest, open_model: Predictor, closed_model: Predictor) -> Predictor:
    return open_model if request.param == "open" else closed_model


def count_passes(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """How often the towers, and the reading of a prefix, run from now on."""
    calls = {"encode_image": 0, "prefill": 0}
    for name in calls:
        original = getattr(FO1, name)

        def counted(self, *args, name=name, original=original):
            calls[name] += 1
            return original(self, *args)

        monkeypatch.setattr(FO1, name, counted)
    return calls


def test_a_picture_is_encoded_once_and_known_again(predictor: Predictor, monkeypatch: pytest.MonkeyPatch):
    calls = count_passes(monkeypatch)
    encoding = predictor.encode(load_image(IMAGE), given(BOXES))
    predictor.match(encoding, ["dog", "red car"])
    predictor.labels(encoding)
    predictor.similar(encoding, 0)
    predictor.generate(encoding, "What is this?", max_new_tokens=3)
    assert predictor.encode(IMAGE.copy(), given(BOXES)) is encoding
    assert calls == {"encode_image": 1, "prefill": 1}
    other = predictor.with_boxes(encoding, BOXES[:1])
    assert len(other) == 1
    assert calls == {"encode_image": 1, "prefill": 2}


def test_of_other_boxes_only_they_are_read_and_no_picture_token_again(
    predictor: Predictor, monkeypatch: pytest.MonkeyPatch
):
    encoding = predictor.encode(IMAGE, given(BOXES[:2]))
    kept = [tensor.clone() for tensor in encoding.prefix.tensors()]
    fresh = predictor.encode(IMAGE, given(BOXES))
    read: list[int] = []
    decode = FO1.decode

    def counted(self, embeds, *rest, **named):
        read.append(embeds.shape[1])
        return decode(self, embeds, *rest, **named)

    monkeypatch.setattr(FO1, "decode", counted)
    drawn = predictor.with_boxes(encoding, BOXES)
    assert sum(read) < fresh.prefix.length - len(encoding.features.image_tokens)
    assert all(torch.equal(now, then) for now, then in zip(encoding.prefix.tensors(), kept, strict=True))
    assert (drawn.prefix.length, drawn.prefix.next_position) == (fresh.prefix.length, fresh.prefix.next_position)
    torch.testing.assert_close(drawn.prefix.tensors(), fresh.prefix.tensors(), rtol=0, atol=1e-5)
    np.testing.assert_allclose(
        predictor.match(drawn, ["dog", "a b"]), predictor.match(fresh, ["dog", "a b"]), atol=1e-5
    )
    none = predictor.with_boxes(encoding, np.zeros((0, 4)))
    assert predictor.generate(none, "What?", max_new_tokens=3) == predictor.generate(
        predictor.encode(IMAGE, given([])), "What?", max_new_tokens=3
    )


def test_a_probability_does_not_depend_on_the_phrases_asked_with_it(predictor: Predictor):
    encoding = predictor.encode(IMAGE, given(BOXES))
    together = predictor.match(encoding, ["dog", "person", "dog"])
    assert together.shape == (3, 3)
    assert ((together > 0) & (together < 1)).all()
    np.testing.assert_array_equal(together[0], together[2])
    fresh = predictor.with_boxes(encoding, BOXES)
    np.testing.assert_allclose(predictor.match(fresh, ["person"])[0], together[1], atol=1e-5)


def test_a_phrase_asked_before_costs_nothing(predictor: Predictor, monkeypatch: pytest.MonkeyPatch):
    encoding = predictor.encode(IMAGE, given(BOXES))
    first = predictor.match(encoding, ["dog"])
    monkeypatch.setattr(FO1, "decode", None)
    np.testing.assert_array_equal(predictor.match(encoding, ["dog"]), first)


def test_many_phrases_go_through_in_bounded_passes(predictor: Predictor, monkeypatch: pytest.MonkeyPatch):
    encoding = predictor.encode(IMAGE, given(BOXES))
    phrases = [f"thing {i}" for i in range(12)]
    at_once = predictor.match(encoding, phrases)
    monkeypatch.setattr(module, "_TOKENS_AT_ONCE", 60)
    read, calls = FO1.decode, []
    monkeypatch.setattr(FO1, "decode", lambda self, *args: calls.append(args[0].shape[1]) or read(self, *args))
    fresh = predictor.with_boxes(encoding, BOXES)
    calls.clear()
    np.testing.assert_allclose(predictor.match(fresh, phrases), at_once, atol=1e-5)
    assert len(calls) > 1
    assert max(calls) <= 60


def test_words_without_end_are_refused(predictor: Predictor):
    encoding = predictor.encode(IMAGE, given(BOXES))
    with pytest.raises(InputError, match="tokens long; at most 256 are read"):
        predictor.match(encoding, ["dog", "very " * 500 + "large dog"])
    with pytest.raises(InputError, match="tokens long; at most 4096 are read"):
        predictor.generate(encoding, "why " * 9000)


def test_phrases_kept_are_bounded(predictor: Predictor, monkeypatch: pytest.MonkeyPatch):
    encoding = predictor.encode(IMAGE, given(BOXES))
    monkeypatch.setattr(module, "_PHRASES_KEPT", 2)
    first = predictor.match(encoding, ["a", "b", "c"])
    np.testing.assert_allclose(predictor.match(encoding, ["a", "d", "c"])[[0, 2]], first[[0, 2]], atol=1e-5)
    assert set(encoding.matched) == {"d"}


def test_no_regions_are_ordinary(predictor: Predictor):
    encoding = predictor.encode(IMAGE, given([]))
    assert predictor.match(encoding, ["dog"]).shape == (1, 0)
    assert predictor.labels(encoding)[0] == []
    assert isinstance(predictor.generate(encoding, "What is this?", max_new_tokens=3), str)
    with pytest.raises(InputError, match="No region 0; the picture has 0"):
        predictor.similar(encoding, 0)
    assert predictor.match(predictor.encode(IMAGE, given(BOXES)), []).shape == (0, 3)


MANY = [[float(i % 12), 1.0, 20.0 + i / 4, 30.0] for i in range(132)]
RISING = [i / 131 for i in range(132)]


def test_132_boxes_are_read_in_two_prompts_and_it_is_said(predictor: Predictor, monkeypatch: pytest.MonkeyPatch):
    calls = count_passes(monkeypatch)
    encoding = predictor.encode(IMAGE, given(MANY, RISING))
    assert calls == {"encode_image": 1, "prefill": 2}
    assert encoding.note == (
        "132 boxes, judged in 2 prompts of at most 100; words about the whole picture are of the best 100"
    )
    np.testing.assert_array_equal(encoding.boxes, MANY)  # as they were numbered
    np.testing.assert_array_equal(encoding.objectness, RISING)
    assert [chunk.places.tolist() for chunk in encoding.chunks] == [list(range(32, 132)), list(range(32))]
    first, second = (chunk.encoding for chunk in encoding.chunks)
    assert (encoding.prefix, encoding.match_keys) == (first.prefix, first.match_keys)
    assert encoding.nbytes > first.nbytes + second.prefix.nbytes
    rows = predictor.match(encoding, ["dog", "red car"])
    alone = [
        predictor.match(predictor.with_boxes(encoding, part), ["dog", "red car"]) for part in (MANY[32:], MANY[:32])
    ]
    np.testing.assert_allclose(rows, np.concatenate(alone[::-1], axis=1), atol=1e-5)
    np.testing.assert_array_equal(predictor.recalled(encoding, ["red car"]), rows[1:])
    labels, scores = predictor.labels(encoding)
    assert len(labels) == len(scores) == 132


def test_a_prompt_reads_no_picture_token_that_another_has_read(predictor: Predictor, monkeypatch: pytest.MonkeyPatch):
    made = decodes(monkeypatch)
    encoding = predictor.encode(IMAGE, given(MANY, RISING))
    (_, first), (_, second) = made
    assert first > len(encoding.features.image_tokens)
    assert second < 32 / 100 * first


def test_more_boxes_than_any_picture_has_are_cut_to_the_best(predictor: Predictor, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "MOST_REGIONS", 110)
    encoding = predictor.encode(IMAGE, given(MANY, RISING))
    assert encoding.note.startswith("132 boxes given, best 110 kept; 110 boxes, judged in 2 prompts of at most 100;")
    np.testing.assert_array_equal(encoding.boxes, MANY[22:])


def test_a_question_is_asked_in_the_prompt_that_holds_its_regions(
    predictor: Predictor, monkeypatch: pytest.MonkeyPatch
):
    encoding = predictor.encode(IMAGE, given(MANY, RISING))
    first, second = (chunk.encoding for chunk in encoding.chunks)
    mixed = predictor.with_boxes(encoding, [*MANY[32:130], MANY[3], MANY[131]])
    asked = [
        (first, "What is <region40>, not <region999>?", "What is <region8>, not <region999>?"),
        (second, "What is <region31>?", "What is <region31>?"),
        (first, "What?", "What?"),
        (mixed, "Is <region3> or <region131> red?", "Is <region98> or <region99> red?"),
    ]
    seen: list[tuple[int, str]] = []
    write = type(predictor)._write

    def heard(self, prefixes, questions, max_new_tokens):
        for prefix, own in zip(prefixes, questions, strict=True):
            seen.extend((prefix.length, self.processor.decode(ids)) for ids in own)
        return write(self, prefixes, questions, max_new_tokens)

    monkeypatch.setattr(type(predictor), "_write", heard)
    replies = predictor.generate_many(encoding, [text for _, text, _ in asked], 4)
    whole = set(seen)
    seen.clear()
    assert replies == [predictor.generate(encoding, text, 4) for _, text, _ in asked]
    assert set(seen) == whole
    seen.clear()
    for about, _, text in asked:
        predictor.generate(about, text, 4)
    assert set(seen) == whole
    with pytest.raises(InputError, match=r"The question speaks of 132 regions; \w+ reads 100"):
        predictor.generate(encoding, "".join(f"<region{k}>" for k in range(132)))


def test_of_several_pictures_each_is_asked_in_its_first_prompt(predictor: Predictor):
    many, few = predictor.encode(IMAGE, given(MANY[:102], RISING[:102])), predictor.encode(IMAGE, given(BOXES))
    best = many.chunks[0].encoding
    assert predictor.generate([few, many], "Is <region0> <region5>?", 3) == module.Numbering(
        np.array([0, 1, 2, *range(5, 105)]), 105
    ).heard(predictor.generate([few, best], "Is <region0> <region3>?", 3))
    with pytest.raises(InputError, match="speaks of region 4, which is not among the best 100 of its picture"):
        predictor.generate([few, many], "What is <region4>?")


def test_regions_are_numbered_for_a_prompt_and_back():
    numbering = module.Numbering(np.array([4, 2, 7]), 9)
    assert numbering.said("<region2> on <region7>, <region12>") == "<region1> on <region2>, <region12>"
    assert numbering.heard("<region1> on <region2>, <region3>") == "<region2> on <region7>, <region12>"


def test_what_is_similar_is_looked_for_in_every_prompt(predictor: Predictor, monkeypatch: pytest.MonkeyPatch):
    encoding = predictor.encode(IMAGE, given(MANY, RISING))
    said = predictor.processor.text_ids("<ground>dog</ground>")
    if predictor.vocabulary is None:  # random weights do not say what a thing is
        monkeypatch.setattr(predictor_module, "greedy", lambda *args, **named: Generated(said, None, True))
    same = predictor.similar(encoding, 3)
    assert same.shape == (132,)
    assert same[3] == 1
    if predictor.vocabulary is None:
        np.testing.assert_array_equal(same[32:], predictor.match(encoding, ["dog"])[0, 32:])
        within = predictor.similar(encoding.chunks[1].encoding, 3)
        np.testing.assert_allclose(same[:32], within, atol=1e-5)
        monkeypatch.setattr(predictor_module, "greedy", lambda *args, **named: Generated(said[:0], None, True))
        assert not predictor.similar(encoding, 3)[32:].any()


def test_the_open_model_s_reply_is_the_reference_s(open_model: Predictor):
    case = next(
        c for c in json.loads((FIXTURES / "cases.json").read_text(encoding="utf-8")) if c["name"] == "d_97x65_3"
    )
    encoding = open_model.encode(IMAGE, given(case["boxes"]))
    reply = open_model.generate(encoding, case["text"], max_new_tokens=case["greedy_safe_steps"])
    assert case["generated_text"].startswith(reply.rstrip("\ufffd"))


def test_words_alone_and_several_pictures_are_answered(predictor: Predictor):
    assert isinstance(predictor.generate([], "Hello", max_new_tokens=3), str)
    first, second = predictor.encode(IMAGE, given(BOXES)), predictor.encode(IMAGE.rotate(180), given(BOXES[:1]))
    assert isinstance(predictor.generate([first, second], "Which is larger?", max_new_tokens=3), str)


def test_a_scene_finds_regions_of_every_prompt_and_keeps_their_ids(predictor: Predictor):
    rows = [[6.0 * (k % 16), 4.0 * (k // 16), 6.0 * (k % 16) + 6, 4.0 * (k // 16) + 4] for k in range(240)]
    scene = Model(predictor).open(IMAGE, boxes=rows[:230])
    assert scene.note.startswith("230 boxes, judged in 3 prompts of at most 100;")
    assert scene.regions.note == scene.note
    np.testing.assert_array_equal(scene.regions.boxes, rows[:230])
    assert set(scene.ground("dog", threshold=0.0).ids) == set(scene.regions.ids)
    assert scene.ground("dog", threshold=0.0, within="r229").ids == ()
    if predictor.vocabulary is not None:
        for like, others in (("r229", 229), (tuple(rows[235]), 230)):
            found = scene.ground(like=like, threshold=0.0)
            assert len(found) == others
            assert (found.scores > 0).all()
    assert scene.describe_many(["r5", "r229"])[1].regions.boxes.tolist() == [rows[229]]


def test_an_open_model_names_nothing_and_makes_no_proposals(open_model: Predictor):
    encoding = open_model.encode(IMAGE, given(BOXES, [0.9, 0.8, 0.7]))
    labels, scores = open_model.labels(encoding)
    assert labels == [None] * 3
    assert scores.tolist() == [0.9, 0.8, 0.7]
    assert open_model.vocabulary is None
    with pytest.raises(InputError, match="tiny makes no proposals of its own"):
        open_model.encode(IMAGE)


def test_a_closed_model_names_every_region_from_its_vocabulary(closed_model: Predictor):
    encoding = closed_model.encode(IMAGE)
    assert 0 < len(encoding) <= 100
    assert encoding.source == "fo1"
    labels, scores = closed_model.labels(encoding)
    assert set(labels) <= set(VOCABULARY)
    np.testing.assert_array_equal(scores, closed_model.match(encoding, VOCABULARY).max(0))
    assert closed_model.thresholds == {"ground": 0.25, "count": 0.4, "exists": 0.15}


def test_what_is_similar_is_a_probability_and_the_example_is_itself(predictor: Predictor):
    encoding = predictor.encode(IMAGE, given(BOXES))
    same = predictor.similar(encoding, 1)
    assert same[1] == 1
    assert ((same >= 0) & (same <= 1)).all()


def test_what_is_similar_in_several_pictures_is_found_in_as_many_passes_as_in_one(
    predictor: Predictor, monkeypatch: pytest.MonkeyPatch
):
    whole = predictor.encode(IMAGE, given(BOXES))
    other = predictor.with_boxes(whole, BOXES[1:])
    pairs = [(whole, 1), (other, 0), (whole, 2)]
    alone = [predictor.similar(*pair) for pair in pairs]
    made = decodes(monkeypatch)
    found = predictor.similar_many([encoding for encoding, _ in pairs], [index for _, index in pairs])
    assert len(made) <= 33  # words of a name, and what they name
    for one, same in zip(alone, found, strict=True):
        np.testing.assert_allclose(same, one, rtol=0, atol=1e-5)
    with pytest.raises(InputError, match="No region 2; the picture has 2"):
        predictor.similar_many([whole, other], [0, 2])
    assert predictor.similar_many([], []) == []


def test_many_questions_together_get_the_replies_of_each_alone(predictor: Predictor):
    encoding = predictor.encode(IMAGE, given(BOXES))
    texts = [f"What is <region{k % 3}>{'?' * k}" for k in range(5)]
    assert predictor.generate_many(encoding, texts, 8) == [predictor.generate(encoding, text, 8) for text in texts]
    assert predictor.generate_many(encoding, []) == []


def decodes(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """Rows and new tokens of every pass of the decoder from now on."""
    made, decode = [], FO1.decode
    monkeypatch.setattr(FO1, "decode", lambda self, *args: made.append(tuple(args[0].shape[:2])) or decode(self, *args))
    return made


def test_questions_about_several_pictures_take_one_pass_a_token(predictor: Predictor, monkeypatch: pytest.MonkeyPatch):
    whole = predictor.encode(IMAGE, given(BOXES))
    abouts = [whole, predictor.encode(IMAGE.rotate(90, expand=True), given(BOXES[2:])), whole, []]
    texts = ["What is <region2>?", "What is <region0>, please?", "Why?", "What is a dog?"]
    alone = [predictor.generate(*pair, 4) for pair in zip(abouts, texts, strict=True)]
    made = decodes(monkeypatch)
    assert predictor.generate_many(abouts, texts, 4) == alone
    assert 1 < len(made) <= 4
    assert {rows for rows, _ in made} == {3}
    made.clear()
    predictor._prefixes_at_once = 0  # no picture goes with another
    assert predictor.generate_many(abouts, texts, 4) == alone
    assert {rows for rows, _ in made} == {1}


def test_phrases_of_several_pictures_take_one_pass(predictor: Predictor, monkeypatch: pytest.MonkeyPatch):
    first = predictor.encode(IMAGE, given(BOXES))
    second = predictor.with_boxes(first, BOXES[1:])
    nothing = predictor.with_boxes(first, np.zeros((0, 4)))
    known = predictor.match(first, ["dog"])
    made = decodes(monkeypatch)
    found = predictor.match_many([first, second, first, nothing], [["person", "dog"], ["person"], ["dog"], ["dog"]])
    assert len(made) == 1
    assert [rows.shape for rows in found] == [(2, 3), (1, 2), (1, 3), (1, 0)]
    np.testing.assert_array_equal(found[0][1:], known)
    np.testing.assert_array_equal(found[2], known)
    assert predictor.match_many([], []) == []


def test_questions_and_pictures_must_be_as_many(predictor: Predictor):
    encoding = predictor.encode(IMAGE, given(BOXES))
    with pytest.raises(InputError, match="2 questions about 1 pictures"):
        predictor.generate_many([encoding], ["What?", "Why?"])


def test_pictures_that_are_encoded_together_are_those_of_each_alone(predictor: Predictor):
    turned = IMAGE.rotate(90, expand=True)
    together = predictor.encode_many([IMAGE, turned], [given(BOXES), given(BOXES[:1])])
    assert together == [predictor.encode(IMAGE, given(BOXES)), predictor.encode(turned, given(BOXES[:1]))]


def test_silencing_no_term_is_match_and_silencing_all_leaves_the_bias(closed_model: Predictor):
    encoding = closed_model.encode(IMAGE, given(BOXES))
    head = closed_model.model.match_head
    before = head.weights.clone()
    whole, rest, none = closed_model.match_without(encoding, VOCABULARY, [(), ("language",), head.TERMS])
    np.testing.assert_allclose(whole, closed_model.match(encoding, VOCABULARY), atol=1e-6)
    assert np.abs(rest - whole).max() > 1e-6
    np.testing.assert_allclose(none, torch.sigmoid(head.bias).item(), atol=1e-6)
    assert torch.equal(head.weights, before)


def test_a_model_without_a_match_head_has_no_terms_to_silence(open_model: Predictor):
    with pytest.raises(InputError, match="no match head"):
        open_model.match_without(open_model.encode(IMAGE, given(BOXES)), ["dog"], [()])


def test_kept_encodings_are_bounded_in_bytes_and_the_oldest_goes(closed_model: Predictor):
    encodings = [closed_model.encode(IMAGE.rotate(90 * i, expand=True), given(BOXES[:1])) for i in range(3)]
    size = max(encoding.nbytes for encoding in encodings)
    cache = EncodingCache(2 * size)
    for key, encoding in zip("abc", encodings, strict=True):
        cache.get_or_make(key, lambda encoding=encoding: encoding)
    assert len(cache) == 2
    assert cache.nbytes <= cache.max_bytes
    assert cache.get_or_make("c", lambda: encodings[0]) is encodings[2]
    assert cache.get_or_make("a", lambda: encodings[1]) is encodings[1]
    small = EncodingCache(1)
    assert small.get_or_make("a", lambda: encodings[0]) is encodings[0]
    assert len(small) == 0


def test_a_folder_loads_by_path_with_its_name_and_fingerprint(tmp_path: Path):
    weights.save(*nano(), tmp_path / "my-model")
    loaded = load_predictor(tmp_path / "my-model")
    assert loaded.name == "my-model"
    assert loaded.vocabulary == VOCABULARY
    assert loaded.fingerprint == load_predictor(tmp_path / "my-model").fingerprint
    assert loaded.fingerprint != load_predictor(CHECKPOINT).fingerprint
    assert loaded.model.dtype == torch.float32


def test_half_precision_weights_run_in_float32_on_the_cpu(tmp_path: Path):
    model, processor = weights.load(CHECKPOINT, torch.float16)
    weights.save(model, processor, tmp_path)
    loaded = load_predictor(tmp_path)
    assert {p.dtype for p in loaded.model.parameters()} == {torch.float32}
    assert loaded.match(loaded.encode(IMAGE, given(BOXES)), ["dog"]).shape == (1, 3)


def test_names_that_lead_nowhere_are_checkpoint_errors():
    with pytest.raises(CheckpointError, match="neither a folder nor a Hugging Face name"):
        load_predictor("no/such/folder")
    with pytest.raises(CheckpointError, match="could not be fetched from the Hugging Face hub"):
        load_predictor("no-such-owner/no-such-model")


def test_pictures_of_one_short_id_are_encoded_apart(closed_model: Predictor) -> None:
    red, blue = load_image(forged.red()), load_image(forged.blue())
    assert red.id == blue.id
    encodings = [closed_model.encode(one) for one in (red, blue)]
    assert not torch.equal(*(encoding.features.image_tokens for encoding in encodings))
    assert all(closed_model.encode(one) is kept for one, kept in zip((red, blue), encodings, strict=True))
    batched = Batched(closed_model)
    with ThreadPoolExecutor(2) as threads:
        together = list(threads.map(batched.encode, (red, blue)))
    batched.close()
    assert all(one is other for one, other in zip(together, encodings, strict=True))
