"""Evidence, match and IoU heads."""

import pytest
import torch

from fo1agent.model.heads import (
    IoUHead,
    MatchHead,
    detector_proposals,
    evidence,
    evidence_probability,
    match_loss,
)

BOXES = torch.tensor([[0.1, 0.1, 0.5, 0.5], [0.6, 0.6, 0.9, 0.9]])
LOGITS = torch.tensor([[2.0, -3.0], [-20.0, 1.0]])
VIEWS = [(BOXES, LOGITS), (BOXES[:1], LOGITS[:1])]


def test_evidence_is_the_best_overlapping_candidates_and_zero_without_one() -> None:
    boxes = torch.tensor([[0.1, 0.1, 0.5, 0.5], [0.6, 0.6, 0.9, 0.9], [0.0, 0.9, 0.1, 1.0]])
    found = evidence(VIEWS, boxes)
    assert found.shape == (3, 6)
    assert found[0, 2] == found[0, 5] == 1  # overlap in both views
    assert (found[1, 3:] == 0).all()  # the second view has no candidate there
    assert (found[2] == 0).all()


def test_evidence_turns_back_into_the_mean_of_what_the_views_say() -> None:
    probability, seen = evidence_probability(evidence(VIEWS, BOXES), views=2)
    torch.testing.assert_close(probability[0], torch.sigmoid(LOGITS[0]))
    # Logits are cut at -8 on their way, a probability of 3e-4.
    torch.testing.assert_close(probability[1], torch.sigmoid(LOGITS[1].clamp(min=-8)) / 2)  # one view saw nothing
    assert seen.tolist() == [True, True]


def test_evidence_of_no_boxes_is_empty() -> None:
    assert evidence(VIEWS, torch.zeros(0, 4)).shape == (0, 6)


def test_a_proposal_is_the_mean_of_what_the_views_see_of_the_same_class() -> None:
    shifted = BOXES[:1] + torch.tensor([0.04, 0.0, 0.04, 0.0])
    other = LOGITS[:1].flip(1)
    views = [(BOXES[:1], LOGITS[:1]), (shifted, LOGITS[:1]), (shifted, other)]
    (box,), (score,) = detector_proposals(views, (100, 100))
    weight = 0.36 / 0.44  # the overlap of the shifted box with the first; both are equally sure
    middle = (BOXES[0] + weight * shifted[0]) / (1 + weight) * 100
    torch.testing.assert_close(box, middle)
    assert score == torch.sigmoid(LOGITS[0, 0])


def test_a_proposal_without_area_stays_where_it_is() -> None:
    flat = torch.tensor([[0.2, 0.2, 0.2, 0.7]])
    boxes, _ = detector_proposals([(flat, LOGITS[:1])], (100, 100))
    torch.testing.assert_close(boxes, flat * 100)


def test_proposals_are_sorted_and_do_not_repeat_a_box() -> None:
    boxes, scores = detector_proposals(VIEWS, (200, 100))
    torch.testing.assert_close(boxes, BOXES * torch.tensor([200.0, 100, 200, 100]))
    assert scores.tolist() == sorted(scores.tolist(), reverse=True)


def sure_head(sense: int) -> MatchHead:
    """A head to which every phrase means class `sense` of two (2: none of them)."""
    head = MatchHead(8, width=4, classes=2, views=2)
    with torch.no_grad():
        head.senses.weight.zero_()
        head.senses.bias.copy_(60.0 * torch.eye(3)[sense])
    return head


def test_terms_are_the_detectors_and_the_region_tokens_for_the_class_meant() -> None:
    head = sure_head(0)
    tokens = torch.randn(2, 8)
    keys = head.keys(torch.randn(2, 8), tokens, evidence(VIEWS, BOXES), torch.tensor([0.5, -0.5]))
    terms = dict(zip(head.TERMS, head.terms(torch.randn(3, 8), keys), strict=True))
    torch.testing.assert_close(terms["detector"][:, 0], torch.full((3,), 2.0))
    named = head.names(tokens).softmax(dim=-1)[:, 0]
    torch.testing.assert_close(terms["name"], torch.logit(named).expand(3, 2))
    assert terms["fit"].tolist() == [[0.5, -0.5]] * 3


def test_logits_are_the_weighted_terms() -> None:
    head = MatchHead(8, width=4, classes=2, views=2)
    states = torch.randn(3, 8)
    keys = head.keys(torch.randn(2, 8), torch.randn(2, 8), evidence(VIEWS, BOXES), None)
    with torch.no_grad():
        head.weights.copy_(torch.tensor([0.5, 2.0, 0.25, 1.0]))
        head.bias.fill_(-1)
    language, detector, name, fit = head.terms(states, keys)
    torch.testing.assert_close(head(states, keys), 0.5 * language + 2 * detector + 0.25 * name + fit - 1)


def test_a_phrase_that_is_no_class_gets_no_support() -> None:
    head = sure_head(2)
    keys = head.keys(torch.randn(2, 8), torch.randn(2, 8), evidence(VIEWS, BOXES), None)
    _, detector, name, _ = head.terms(torch.randn(1, 8), keys)
    assert (detector < -6).all()
    assert (name < -6).all()


def test_a_region_without_evidence_gets_the_learned_constant() -> None:
    head = MatchHead(8, width=4, classes=2, views=2)
    keys = head.keys(torch.randn(1, 8), torch.randn(1, 8), torch.zeros(1, 6), None)
    assert head.terms(torch.randn(1, 8), keys)[1].item() == pytest.approx(head.unseen.item())


def test_a_head_without_classes_needs_no_evidence_and_one_with_them_says_so() -> None:
    head = MatchHead(8, width=4)
    assert head(torch.randn(3, 8), head.keys(torch.randn(2, 8), torch.randn(2, 8), None, None)).shape == (3, 2)
    with pytest.raises(ValueError, match="takes evidence"):
        MatchHead(8, classes=2).keys(torch.randn(2, 8), torch.randn(2, 8), None, None)


def test_match_loss_ignores_what_nobody_knows() -> None:
    logits = torch.tensor([[5.0, -5.0, 9.0]])
    targets, weights = torch.tensor([[1.0, 0.0, 0.0]]), torch.tensor([[1.0, 1.0, 0.0]])
    assert match_loss(logits, targets, weights) < 1e-4
    assert match_loss(logits, targets, torch.ones(1, 3)) > 1


def test_iou_head_gives_one_logit_per_region() -> None:
    assert IoUHead(8)(torch.randn(5, 8)).shape == (5,)
    assert IoUHead(8)(torch.randn(0, 8)).shape == (0,)


def test_certain_evidence_stays_finite_under_autocast() -> None:
    head = sure_head(0)
    certain = evidence([(BOXES, torch.full((2, 2), 40.0))] * 2, BOXES)
    with torch.autocast("cpu", torch.bfloat16):
        logits = head(torch.randn(1, 8), head.keys(torch.randn(2, 8), torch.randn(2, 8), certain, None))
    assert torch.isfinite(logits).all()
