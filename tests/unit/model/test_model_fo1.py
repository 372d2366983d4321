"""The model: plug-in without side effects, batches, branches behind a prefix, and odd inputs."""

from __future__ import annotations

import copy
from dataclasses import replace

import pytest
import torch
from PIL import Image
from torch import Tensor

from fo1agent.errors import InputError
from fo1agent.model.bases.qwen2_5_vl import ADAPTER
from fo1agent.model.fo1 import FO1, ImageFeatures
from fo1agent.model.frames import PictureTokens
from fo1agent.model.generation import greedy, greedy_many
from fo1agent.model.prefix import Prefix
from fo1agent.model.processing import FO1Processor
from fo1agent.model.sequence import IGNORED, Sample
from tests.tiny_models import nano, reference

BOXES = torch.tensor([[10.0, 5.0, 60.0, 40.0], [0.0, 0.0, 90.0, 64.0], [30.0, 30.0, 31.0, 31.0]])
TEXT = "Please detect dog in this image."


def picture(width: int = 90, height: int = 64, seed: int = 0) -> Image.Image:
    pixels = torch.randint(0, 256, (height, width, 3), generator=torch.Generator().manual_seed(seed))
    return Image.fromarray(pixels.byte().numpy())


@torch.inference_mode()
def sample(
    model: FO1, processor: FO1Processor, boxes: Tensor = BOXES, text: str = TEXT, seed: int = 0
) -> tuple[Sample, ImageFeatures]:
    features = model.encode_image(processor.image(picture(seed=seed)))
    tokens = model.encode_regions(features, boxes)[1]
    ids = processor.prompt_ids([len(boxes)], text)
    return Sample(ids, [features.picture], tokens), features


def learnable(one: Sample) -> PictureTokens:
    """Its picture, seen in inference mode, as plain tensors that gradients may pass."""
    return replace(one.pictures[0], tokens=one.pictures[0].tokens.clone())


@torch.inference_mode()
def test_without_regions_the_output_is_bit_for_bit_the_bare_base_s():
    model, processor = reference()
    one, _ = sample(model, processor, boxes=BOXES[:0])
    got = model(model.assemble([one])).logits
    inputs = processor.image(picture())
    ids = one.input_ids
    counts = torch.ones_like(ids).masked_fill(ids < 0, len(one.pictures[0].tokens))
    native = ids.masked_fill(ids < 0, model.config.base_config.image_token_id).repeat_interleave(counts)[None]
    bare = model.base(
        input_ids=native,
        pixel_values=inputs.pixel_values,
        image_grid_thw=torch.tensor([[1, *inputs.grid_hw]]),
        mm_token_type_ids=(native == model.config.base_config.image_token_id).int(),
        attention_mask=torch.ones_like(native),
    ).logits
    assert torch.equal(got, bare)


def test_the_base_is_left_as_it_was():
    model, processor = reference()
    before = {name: value.clone() for name, value in model.base.state_dict().items()}
    hooks = [dict(module._forward_hooks) for module in model.base.modules()]  # transformers has some of its own
    sample(model, processor)
    assert all(torch.equal(value, before[name]) for name, value in model.base.state_dict().items())
    assert [dict(module._forward_hooks) for module in model.base.modules()] == hooks


@torch.inference_mode()
def test_a_model_can_be_copied():
    model, processor = nano()
    twin = copy.deepcopy(model)
    batch = model.assemble([Sample(processor.prompt_ids([], "hello"))])
    assert torch.equal(twin(batch).logits, model(batch).logits)


def test_hooks_on_every_part_fire():
    model, processor = reference()
    fired = []
    parts = (model.aux, model.region_encoder, model.region_encoder.simple_fpn, model.region_projector, model)
    handles = [part.register_forward_hook(lambda module, *_: fired.append(module)) for part in parts if part]
    one, _ = sample(model, processor)
    with torch.inference_mode():
        model(model.assemble([one]))
    for handle in handles:
        handle.remove()
    assert {id(part) for part in parts} == {id(part) for part in fired}


@torch.inference_mode()
def test_a_padded_batch_equals_its_samples_alone():
    model, processor = reference()
    samples = [
        sample(model, processor)[0],
        sample(model, processor, BOXES[:1], "hi", seed=1)[0],
        sample(model, processor, BOXES[:0], "How many dogs are there?", seed=2)[0],
        Sample(processor.prompt_ids([], "words alone")),
    ]
    together = model.assemble(samples)
    logits = model(together).logits
    for row, one in enumerate(samples):
        alone = model.assemble([one])
        length = alone.mask.shape[1]
        assert torch.equal(together.position_ids[:, row, :length], alone.position_ids[:, 0])
        torch.testing.assert_close(logits[row, :length], model(alone).logits[0], rtol=0, atol=2e-5)


@torch.inference_mode()
def test_inputs_are_not_changed():
    model, processor = reference()
    one, features = sample(model, processor)
    boxes = BOXES.clone()
    kept = copy.deepcopy(one)
    model.encode_regions(features, boxes)
    model(model.assemble([one]))
    assert torch.equal(boxes, BOXES)
    assert torch.equal(one.input_ids, kept.input_ids)
    assert torch.equal(one.pictures[0].tokens, kept.pictures[0].tokens)


@torch.inference_mode()
def test_several_images_give_one_sequence_whose_positions_go_on():
    model, processor = reference()
    first, second = sample(model, processor)[0], sample(model, processor, BOXES[:2], seed=1)[0]
    assert first.region_tokens is not None
    assert second.region_tokens is not None
    both = Sample(
        processor.prompt_ids([3, 2], "Which is larger?"),
        [*first.pictures, *second.pictures],
        torch.cat([first.region_tokens, second.region_tokens]),
    )
    batch = model.assemble([both])
    assert int(batch.region_slots.sum()) == 5
    text = batch.position_ids[0, 0]
    assert bool((text[1:] >= text[:-1]).all())
    assert bool(model(batch).logits.isfinite().all())
    # The second picture stands behind the first, so what comes before it is read as in a prompt of one picture.
    shared = len(processor.prefix_ids([3])) + len(first.pictures[0].tokens) - 1
    alone = model(model.assemble([first])).logits[0, :shared]
    torch.testing.assert_close(model(batch).logits[0, :shared], alone, rtol=0, atol=2e-5)


@pytest.mark.parametrize("make", [reference, nano])
@torch.inference_mode()
def test_phrases_in_one_pass_equal_each_phrase_alone_and_leave_the_prefix_alone(make):
    model, processor = make()
    one, _ = sample(model, processor)
    one.input_ids = processor.prefix_ids([3])
    prefix = model.prefill(one)
    before = [tensor.clone() for tensor in prefix.tensors()]
    phrases = [processor.phrase_ids(phrase) for phrase in ("dog", "a large red car", "x", "dog")]
    together = model.phrase_states(prefix, phrases)
    assert together.shape == (4, model.config.hidden_size)
    for row, phrase in zip(together, phrases, strict=True):
        torch.testing.assert_close(row, model.phrase_states(prefix, [phrase])[0], rtol=0, atol=1e-5)
        whole = Sample(torch.cat([one.input_ids, phrase]), one.pictures, one.region_tokens)
        torch.testing.assert_close(row, model(model.assemble([whole])).hidden_states[0, -1], rtol=0, atol=1e-5)
    assert before
    assert all(torch.equal(now, old) for now, old in zip(prefix.tensors(), before, strict=True))
    assert model.phrase_states(prefix, []).shape == (0, model.config.hidden_size)


def test_branches_in_a_training_batch_equal_phrases_behind_a_prefix_and_carry_gradients():
    model, processor = nano()
    phrases = [processor.phrase_ids(phrase) for phrase in ("dog", "a large red car", "person")]
    samples, wanted = [], []
    for seed, chosen in ((0, phrases), (1, phrases[:1])):
        one, _ = sample(model, processor, BOXES[: 3 - seed], seed=seed)
        one.input_ids = processor.prefix_ids([3 - seed])
        with torch.inference_mode():
            wanted.append(model.phrase_states(model.prefill(one), chosen))
        assert one.region_tokens is not None
        # Training starts from cached features: plain tensors, the region tokens with a gradient.
        tokens = one.region_tokens.clone().requires_grad_()
        samples.append(Sample(one.input_ids, [learnable(one)], tokens, branches=chosen))
    batch = model.assemble(samples)
    states = model(batch, logits_to_keep=None).hidden_states[batch.branch_ends[:, 0], batch.branch_ends[:, 1]]
    torch.testing.assert_close(states.detach(), torch.cat(wanted), rtol=0, atol=1e-5)
    states.square().sum().backward()
    assert all(float(one.region_tokens.grad.abs().sum()) > 0 for one in samples)
    model.zero_grad(set_to_none=True)


def test_labelled_branches_learn_as_the_same_answers_in_rows_of_their_own():
    model, processor = nano()
    one, _ = sample(model, processor)
    prefix = processor.prefix_ids([3])
    question, answers = processor.question_ids([3], "What?"), [processor.text_ids(t) for t in ("dog", "red car")]
    images = [learnable(one)]
    assert one.region_tokens is not None
    tokens = one.region_tokens.clone()
    branches = [torch.cat([question, answer]) for answer in answers]
    labels = [torch.cat([torch.full_like(question, IGNORED), answer]) for answer in answers]
    branched = Sample(prefix, images, tokens, branches=branches, branch_labels=labels)
    rows = [
        Sample(
            torch.cat([prefix, branch]),
            images,
            tokens,
            labels=torch.cat([torch.full_like(prefix, IGNORED), label]),
        )
        for branch, label in zip(branches, labels, strict=True)
    ]
    with torch.no_grad():
        got = model(model.assemble([branched])).loss
        wanted = model(model.assemble(rows)).loss
    torch.testing.assert_close(got, wanted, rtol=0, atol=1e-5)


@torch.inference_mode()
def test_generating_behind_a_prefix_equals_reading_the_whole_prompt_every_step():
    model, processor = reference()
    one, _ = sample(model, processor)
    question = processor.question_ids([3], TEXT)
    prefix = model.prefill(Sample(processor.prefix_ids([3]), one.pictures, one.region_tokens))
    got = greedy(model, prefix, question, {processor.stop_id}, max_new_tokens=6, keep_logits=True)
    assert got.logits is not None
    ids = one.input_ids
    for step in range(6):
        whole = Sample(ids, one.pictures, one.region_tokens)
        logits = model(model.assemble([whole]), logits_to_keep=1).logits[0, -1]
        torch.testing.assert_close(got.logits[step], logits, rtol=0, atol=2e-5)
        ids = torch.cat([ids, got.ids[step : step + 1]])


@torch.inference_mode()
def test_generation_stops_at_a_stop_token_and_at_the_limit():
    model, processor = reference()
    ids = processor.prompt_ids([], "hello")
    free = greedy(model, Prefix.empty(model.config.hidden_size), ids, {processor.stop_id}, 5)
    assert (len(free.ids), free.stopped) == (5, False)
    first = int(free.ids[0])
    stopped = greedy(model, Prefix.empty(model.config.hidden_size), ids, {first}, 5)
    assert (stopped.ids.tolist(), stopped.stopped) == ([first], True)
    assert greedy(model, Prefix.empty(model.config.hidden_size), ids, {first}, 0).ids.tolist() == []


@torch.inference_mode()
def test_the_region_map_is_that_of_the_last_full_attention_block_wherever_it_stands():
    model, processor = reference()
    inputs = processor.image(picture())
    vision = model.config.base_config.vision_config
    grid = torch.tensor([[1, *inputs.grid_hw]])
    states = model.base.model.get_image_features(inputs.pixel_values, grid, output_hidden_states=True).hidden_states
    own = vision.fullatt_block_indexes
    try:
        vision.fullatt_block_indexes = [0, 2]
        got = model.encode_image(inputs).primary_map
    finally:
        vision.fullatt_block_indexes = own
    # The tower itself was built with its own blocks, so hidden state 3 is the output of block 2.
    assert got is not None
    wanted = ADAPTER.raster(states[3], inputs.grid_hw, model.config.base_config)
    torch.testing.assert_close(got, wanted, rtol=0, atol=1e-5)


@pytest.fixture
def mentioning():
    """The nano, for which `<regionK>` carries region K's token."""
    model, processor = nano()
    model.config.first_mention = processor.token_id("<region0>")
    yield model, processor
    model.config.first_mention = None


@torch.inference_mode()
def test_mentions_carry_the_tokens_of_their_own_picture_s_regions(mentioning):
    model, processor = mentioning
    one, _ = sample(model, processor, text="Is <region2> beside <region0>? <region7> is none.")
    other, _ = sample(model, processor, boxes=BOXES[:1], seed=1, text="<region0>")
    got = model.assemble([one, other])
    model.config.first_mention = None
    plain = model.assemble([one, other])
    added = got.inputs_embeds - plain.inputs_embeds
    assert one.region_tokens is not None
    assert other.region_tokens is not None
    tokens = [*one.region_tokens, one.region_tokens[2], one.region_tokens[0]]
    torch.testing.assert_close(added[0][added[0].abs().amax(1) > 1e-6], torch.stack(tokens), atol=1e-5, rtol=1e-4)
    tokens = [other.region_tokens[0], other.region_tokens[0]]
    torch.testing.assert_close(added[1][added[1].abs().amax(1) > 1e-6], torch.stack(tokens), atol=1e-5, rtol=1e-4)


@torch.inference_mode()
def test_mentions_behind_a_prefix_are_those_of_the_whole_prompt(mentioning):
    model, processor = mentioning
    features = model.encode_image(processor.image(picture()))
    tokens = model.encode_regions(features, BOXES)[1]
    prefix = model.prefill(Sample(processor.prefix_ids([3]), [features.picture], tokens))
    question = processor.question_ids([3], "What is <region1>?")
    whole = Sample(torch.cat([processor.prefix_ids([3]), question]), [features.picture], tokens)
    hidden = model(model.assemble([whole]), logits_to_keep=None).hidden_states[0, -1]
    torch.testing.assert_close(model.phrase_states(prefix, [question])[0], hidden, atol=1e-4, rtol=1e-4)
    first = int(model.base.lm_head(hidden).argmax())
    assert int(greedy(model, prefix, question, (), max_new_tokens=1).ids[0]) == first
    assert int(greedy_many(model, prefix, [question], (), max_new_tokens=1)[0].ids[0]) == first


def test_slots_and_tokens_that_differ_in_number_are_named():
    model, processor = reference()
    one, _ = sample(model, processor)
    assert one.region_tokens is not None
    with pytest.raises(InputError, match=r"samples\[0\] has 3 region slots and 2 region tokens"):
        model.assemble([Sample(one.input_ids, one.pictures, one.region_tokens[:2])])
    with pytest.raises(InputError, match=r"samples\[0\] has 1 image slots, 0 images"):
        model.assemble([Sample(one.input_ids, region_tokens=one.region_tokens)])


@torch.inference_mode()
def test_own_proposals_lie_in_the_picture_best_of_each_kind_first():
    model, processor = nano()
    features = model.encode_image(processor.image(picture(640, 480)))
    boxes, scores = model.propose(features, limit=20)
    assert boxes.shape == (20, 4)
    assert bool((boxes >= 0).all())
    assert bool((boxes[:, 2] <= 640).all())
    assert bool((boxes[:, 3] <= 480).all())
    assert bool(((scores >= 0) & (scores <= 1)).all())
