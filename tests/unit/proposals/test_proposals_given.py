"""What all proposers share, boxes from the caller, and the names that stand for proposers."""

import subprocess
import sys
from collections.abc import Sequence

import numpy as np
import pytest

from fo1agent.errors import BoxError, InputError, ProposalError
from fo1agent.pictures.image import LoadedImage, load_image
from fo1agent.proposals import Given, Proposer, resolve_proposer
from fo1agent.proposals.base import PICTURES_AT_ONCE, PIXELS_AT_ONCE, alike, propose_many, to_regions
from fo1agent.regions.regions import Regions


@pytest.fixture(scope="module")
def image() -> LoadedImage:
    return load_image(np.zeros((100, 200, 3), dtype=np.uint8))


def test_raw_boxes_are_cut_sorted_and_named(image):
    boxes = np.array([[-10, -10, 50, 50], [100, 20, 300, 80], [20, 20, 40, 40]])
    regions = to_regions(image, boxes, np.array([0.5, 0.9, 0.1]), ["cat", None, "dog"], "test")
    assert regions.boxes.tolist() == [[100, 20, 200, 80], [0, 0, 50, 50], [20, 20, 40, 40]]
    assert regions.labels == (None, "cat", "dog")
    assert regions.ids == tuple(f"{image.id}/r{k}" for k in range(3))
    assert (regions.source, regions.note) == ("test", "")


def test_one_box_under_two_names_is_one_region(image):
    boxes = np.array([[10, 10, 50, 50], [10, 10, 50, 50.5], [10, 10, 50, 90]])
    regions = to_regions(image, boxes, np.array([0.5, 0.9, 0.1]), ["cat", "dog", "cat"], "test")
    assert regions.labels == ("dog", "cat")


def test_what_is_outside_or_thinner_than_a_pixel_is_dropped(image):
    boxes = np.array([[300, 0, 310, 10], [10, 10, 10.5, 50], [199.5, 0, 250, 50], [10, 10, 11, 11]])
    assert len(to_regions(image, boxes, np.ones(4), [None] * 4, "test")) == 1


def test_the_best_hundred_are_kept_and_the_rest_told(image):
    k = np.arange(150)
    corners = np.stack([k % 20 * 10, k // 20 * 10], axis=1)
    boxes = np.concatenate([corners, corners + 10], axis=1)
    regions = to_regions(image, boxes, k / 150, [None] * 150, "test")
    assert len(regions) == 100
    assert regions.scores[0] == 149 / 150
    assert regions.note == "150 boxes proposed, best 100 kept"


def test_no_boxes_are_ordinary(image):
    assert len(to_regions(image, np.zeros((0, 4)), np.zeros(0), [], "test")) == 0


@pytest.mark.parametrize(
    ("box", "score"),
    [
        ([0, 0, np.nan, 10], 0.5),
        ([0, 0, np.inf, 10], 0.5),
        ([50, 0, 10, 10], 0.5),
        ([0, 0, 10, 10], np.nan),
        ([0, 0, 10, 10], 1.5),
        ([0, 0, 10, 10], -0.5),
    ],
)
def test_nonsense_of_a_detector_is_a_proposal_error(image, box, score):
    boxes = np.array([[0, 0, 10, 10], box])
    with pytest.raises(ProposalError, match=r"test gave boxes\[1\]"):
        to_regions(image, boxes, np.array([0.5, score]), [None, None], "test")


def test_lengths_that_differ_are_a_proposal_error(image):
    with pytest.raises(ProposalError, match="1 boxes, 2 scores and 1 labels"):
        to_regions(image, np.zeros((1, 4)), np.zeros(2), [None], "test")


def test_given_boxes_keep_their_order(image):
    boxes = [[0, 0, 10, 10], [20, 20, 60, 60], [-5, 50, 30, 200]]
    regions = Given(boxes, scores=[0.1, 0.9, 0.5], labels=["a", None, "c"])(image)
    assert regions.boxes.tolist() == [[0, 0, 10, 10], [20, 20, 60, 60], [0, 50, 30, 100]]
    assert regions.scores.tolist() == [0.1, 0.9, 0.5]
    assert regions.labels == ("a", None, "c")
    assert regions.source == "given"


def test_given_the_same_box_twice_is_two_regions(image):
    assert len(Given([[0, 0, 10, 10]] * 2)(image)) == 2


def test_given_no_boxes_there_are_no_regions(image):
    assert len(Given([])(image)) == 0


def test_too_many_given_boxes_lose_the_worst_and_keep_their_order(image):
    boxes = [[k, 0, k + 10, 10] for k in range(5)]
    regions = Given(boxes, scores=[0.1, 0.9, 0.2, 0.8, 0.7], limit=3)(image)
    assert regions.boxes[:, 0].tolist() == [1, 3, 4]
    assert regions.note == "5 boxes given, best 3 kept"


def test_given_keeps_a_copy(image):
    boxes = np.array([[0.0, 0.0, 10.0, 10.0]])
    proposer = Given(boxes)
    boxes[:] = 99
    assert proposer(image).boxes.tolist() == [[0, 0, 10, 10]]


@pytest.mark.parametrize("box", [[300, 0, 310, 10], [-20, 0, -5, 10], [5, 5, 5, 10], [200, 0, 210, 10]])
def test_a_given_box_outside_the_picture_is_named(image, box):
    with pytest.raises(BoxError, match=r"boxes\[1\] = .* no area inside the picture, which is 200 x 100"):
        Given([[0, 0, 10, 10], box])(image)


def test_given_nothing_at_all_says_what_to_pass(image):
    with pytest.raises(InputError, match=r"Give boxes with the picture .*--boxes FILE\.json.*--proposer NAME"):
        resolve_proposer("given")(image)


def test_lengths_of_given_things_must_agree():
    with pytest.raises(InputError, match="1 boxes, 2 scores and 1 labels"):
        Given([[0, 0, 1, 1]], scores=[0.5, 0.5])


def test_a_proposer_is_returned_as_it_is():
    given = Given([])
    assert resolve_proposer(given) is given
    assert isinstance(given, Proposer)

    def none(image: LoadedImage) -> Regions:
        return Regions.empty()

    made = resolve_proposer(none)
    assert isinstance(made, Proposer)
    assert made.name == "none"
    assert resolve_proposer(made) is made


@pytest.mark.parametrize(
    "spec", ["", "yolo", "ultralytics:", "transformers:", "no/such/folder", "upn", None, 3, ["given"]]
)
def test_an_unknown_proposer_lists_the_known_forms(spec):
    with pytest.raises(InputError, match=r"ultralytics:yolo11n\.pt"):
        resolve_proposer(spec)


class Together:
    """A proposer of one box a picture, as wide as the picture, that counts how many it is given."""

    name = "together"

    def __init__(self, lost: int = 0) -> None:
        self.asked: list[int] = []
        self.lost = lost

    def __call__(self, image: LoadedImage) -> Regions:
        return to_regions(image, np.array([[0, 0, image.width, 5]]), np.ones(1), [None], self.name)

    def propose_many(self, images: Sequence[LoadedImage]) -> list[Regions]:
        self.asked.append(len(images))
        return [self(image) for image in images][self.lost :]


def test_a_proposer_that_can_is_given_several_pictures_and_never_too_many():
    images = [load_image(np.full((20, 40 + k, 3), k, dtype=np.uint8)) for k in range(2 * PICTURES_AT_ONCE + 1)]
    proposer = Together()
    assert isinstance(proposer, Proposer)
    found = propose_many(proposer, images)
    assert proposer.asked == [PICTURES_AT_ONCE, PICTURES_AT_ONCE, 1]
    assert [one.boxes[0, 2] for one in found] == [image.width for image in images]
    assert propose_many(proposer, []) == []
    one_by_one = propose_many(resolve_proposer(lambda image: proposer(image)), images)
    assert [one.boxes.tolist() for one in one_by_one] == [one.boxes.tolist() for one in found]
    with pytest.raises(ProposalError, match="together was asked about 2 pictures and gave regions of 1"):
        propose_many(Together(lost=1), images[:2])


def test_pictures_of_one_kind_go_together_as_far_as_their_pixels_allow():
    third = PIXELS_AT_ONCE // 3
    assert alike(["a", "b", "a", "a", "a", "b"], [third, 5, third, third, third, 5]) == [[0, 2, 3], [4], [1, 5]]
    assert alike(["a", "a"], [2 * PIXELS_AT_ONCE] * 2) == [[0], [1]]
    assert alike([], []) == []


def test_importing_the_proposals_imports_no_detector():
    heavy = ("torch", "transformers", "ultralytics")
    program = f"import sys, fo1agent.proposals; print([name for name in {heavy} if name in sys.modules])"
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
