"""Laws of opinions that are joined, whatever the model and the finders say."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from fo1agent.model.joined import JoinedPredictor
from fo1agent.pictures.image import LoadedImage, load_image
from fo1agent.proposals.base import to_regions
from fo1agent.proposals.trust import Trust
from fo1agent.regions.regions import Regions
from tests.fakes import FakeEncoding, FakePredictor

PICTURE = load_image(Image.new("RGB", (400, 40)))
MOST = 10
BOXES = np.array([[40.0 * k, 0.0, 40.0 * k + 30, 30.0] for k in range(MOST)])
ROUNDING = 1e-12


class Encoding(FakeEncoding):
    nbytes = 0

    def __len__(self) -> int:
        return len(self.boxes)


class Model(FakePredictor):
    """Says of each region what it was given, of `car`; knows no `ostrich`."""

    cache_bytes = 1_000_000

    def __init__(self, said: Sequence[float]) -> None:
        super().__init__([(tuple(BOXES[k].tolist()), "car", value) for k, value in enumerate(said)])

    def encode_many(self, images: Sequence[LoadedImage], proposals: Sequence | None = None) -> list[Encoding]:
        count = len(self.objects)
        return [Encoding(BOXES[:count], np.ones(count)) for _ in images]

    def match_many(self, encodings: Sequence[Encoding], phrases: Sequence[Sequence[str]]) -> list[np.ndarray]:
        return [
            np.array([[value for _, _, value in self.objects]] * len(some)).reshape(len(some), len(one))
            for one, some in zip(encodings, phrases, strict=True)
        ]


@dataclass
class Finder:
    """Gives each region the score that it was given; silence where that is 0."""

    name: str
    scores: Sequence[float]
    trust: Trust
    names: tuple[str, ...] | None = None

    def find(self, image: LoadedImage, phrases: Sequence[str]) -> list[Regions]:
        scores = np.array(self.scores)
        told = np.flatnonzero(scores)
        return [to_regions(image, BOXES[told], scores[told], [None] * len(told), self.name) for _ in phrases]


probability = st.floats(1e-4, 1 - 1e-4)
trusts = st.builds(
    Trust,
    scale=st.floats(0.1, 3),
    bias=st.floats(-3, 3),
    weight=st.floats(0.1, 5),
    silent=st.floats(1e-3, 0.5),
    lowers=st.booleans(),
)


@st.composite
def opinions(draw, least: int = 0) -> tuple[list[float], list[Finder]]:
    """What a model says of some regions, and finders that speak of some of them."""
    own = draw(st.lists(probability, max_size=MOST))
    spoken = st.lists(st.one_of(st.just(0.0), probability), min_size=len(own), max_size=len(own))
    pairs = draw(st.lists(st.tuples(spoken, trusts), min_size=least, max_size=4))
    return own, [Finder(f"finder {k}", scores, trust) for k, (scores, trust) in enumerate(pairs)]


def joined(own: Sequence[float], finders: Sequence[Finder], phrase: str = "car") -> np.ndarray:
    """[M] probabilities."""
    predictor = JoinedPredictor(Model(own), finders)
    return predictor.match(predictor.encode(PICTURE), [phrase])[0]


def uncalibrated(finder: Finder) -> Finder:
    return replace(finder, trust=replace(finder.trust, lowers=False))


@given(opinions())
def test_finders_that_nobody_has_calibrated_never_lower_what_the_model_knows(said) -> None:
    own, finders = said
    assert (joined(own, [uncalibrated(one) for one in finders]) >= np.array(own) - ROUNDING).all()


@given(opinions(least=1))
def test_one_more_that_nobody_has_calibrated_lowers_nothing(said) -> None:
    own, (*finders, more) = said
    without = joined(own, finders)
    assert (joined(own, [*finders, uncalibrated(more)]) >= without - ROUNDING).all()
    first, *others = [*finders, more]
    calibrated = replace(first, trust=replace(first.trust, lowers=True))
    before = joined(own, [calibrated, *others[:-1]], "ostrich")
    assert (joined(own, [calibrated, *others[:-1], uncalibrated(more)], "ostrich") >= before - ROUNDING).all()


@given(opinions(least=1))
def test_a_calibrated_one_draws_what_the_model_says_to_what_it_says(said) -> None:
    own, (finder, *_) = said
    its = 1 / (1 + np.exp(-finder.trust.log_odds(np.array(finder.scores))))
    found = joined(own, [replace(finder, trust=replace(finder.trust, lowers=True))])
    assert (found >= np.minimum(own, its) - ROUNDING).all()
    assert (found <= np.maximum(own, its) + ROUNDING).all()
    lower = its < np.array(own) - 1e-6
    assert (found[lower] < np.array(own)[lower]).all()


@given(opinions(least=1))
def test_silence_and_other_words_cost_nothing(said) -> None:
    own, (finder, *_) = said
    silent = uncalibrated(replace(finder, scores=[0.0] * len(own)))
    assert np.abs(joined(own, [silent]) - own).max(initial=0) < ROUNDING
    elsewhere = replace(finder, names=("zebra",))
    assert (joined(own, [elsewhere]) == np.array(own)).all()
    unheard = replace(finder, trust=replace(finder.trust, scale=0.0))
    assert (joined(own, [unheard]) == np.array(own)).all()


@given(opinions(), st.randoms(use_true_random=False))
def test_the_order_of_finders_changes_nothing(said, random) -> None:
    own, finders = said
    other = list(finders)
    random.shuffle(other)
    for phrase in ("car", "ostrich"):
        np.testing.assert_allclose(joined(own, finders, phrase), joined(own, other, phrase), atol=ROUNDING)
