"""Words: singular and plural, synonyms, and what a phrase means in the names a model knows."""

import subprocess
import sys

import pytest

from fo1agent.words import lexicon
from fo1agent.words.lexicon import Resolution, resolve
from tests.coco_names import COCO_NAMES


@pytest.mark.parametrize("name", COCO_NAMES)
def test_every_name_and_its_plural_mean_the_name(name):
    assert resolve(name, COCO_NAMES).names == (name,)
    assert resolve(lexicon.plural(name), COCO_NAMES).names == (name,)
    assert resolve(name.upper(), COCO_NAMES).exact


@pytest.mark.parametrize(
    ("phrase", "names"),
    [
        ("sofa", "couch"),
        ("television", "tv"),
        ("TV set", "tv"),
        ("plane", "airplane"),
        ("aeroplanes", "airplane"),
        ("motorbike", "motorcycle"),
        ("bikes", "bicycle"),
        ("puppies", "dog"),
        ("kitten", "cat"),
        ("taxi", "car"),
        ("automobile", "car"),
        ("phone", "cell phone"),
        ("mobile phones", "cell phone"),
        ("fridge", "refrigerator"),
        ("surf board", "surfboard"),
        ("surf-boards", "surfboard"),
        ("doughnuts", "donut"),
        ("purse", "handbag"),
        ("rucksack", "backpack"),
        ("hair dryer", "hair drier"),
        ("computer mouse", "mouse"),
        ("mice", "mouse"),
        ("tennis racquets", "tennis racket"),
        ("pair of scissors", "scissors"),
        ("slices of pizza", "pizza"),
        ("ski", "skis"),
        ("stoplight", "traffic light"),
        ("lorries", "truck"),
        ("school bus", "bus"),
        ("polar bears", "bear"),
        ("sailboats", "boat"),
        ("table", "dining table"),
        ("plant", "potted plant"),
        ("ball", "sports ball"),
        ("racket", "tennis racket"),
        ("wineglasses", "wine glass"),
    ],
)
def test_other_words_for_one_name(phrase, names):
    assert resolve(phrase, COCO_NAMES).names == (names,)


PEOPLE = (
    "man,women,boy,girls,kids,guy,lady,child,player,pedestrians,rider,surfer,skier,waiter,driver,police officers,baby,"
    "adult,cyclist,human,spectators,passengers,batter,goalkeeper,someone,tennis player"
)


@pytest.mark.parametrize("phrase", PEOPLE.split(","))
def test_words_for_people_mean_person(phrase):
    assert resolve(phrase, COCO_NAMES).names == ("person",)


def test_general_words_mean_all_their_kinds():
    def names(word):
        return set(resolve(word, COCO_NAMES).names)

    animals = {"bird", "cat", "dog", "horse", "sheep", "cow", "elephant", "bear", "zebra", "giraffe"}
    assert names("animals") == animals
    assert names("vehicle") == {"bicycle", "car", "motorcycle", "airplane", "bus", "train", "truck", "boat"}
    assert names("fruit") == {"banana", "apple", "orange"}
    assert names("furniture") == {"bench", "chair", "couch", "bed", "dining table"}
    assert names("cutlery") == names("utensils") == {"fork", "knife", "spoon"}
    assert names("vegetables") == {"broccoli", "carrot"}
    assert names("bags") == {"handbag", "backpack", "suitcase"}
    assert names("objects") == set(COCO_NAMES)
    assert not resolve("animal", COCO_NAMES).exact


@pytest.mark.parametrize("phrase", ["violin", "tree", "sky", "bus stop", "cable car", "sea lion", "car door", "pot"])
def test_unknown_things_have_no_name(phrase):
    assert resolve(phrase, COCO_NAMES).names == ()


@pytest.mark.parametrize(("phrase", "near"), [("ostrich", "bird"), ("poodles", "dog"), ("jeep", "car")])
def test_a_more_special_word_is_not_widened_but_its_kind_is_told(phrase, near):
    found = resolve(phrase, COCO_NAMES)
    assert (found.names, found.near) == ((), (near,))


def test_modifiers_are_kept_apart():
    assert resolve("red cars", COCO_NAMES).modifiers == ("red",)
    assert resolve("the two small black dogs", COCO_NAMES).modifiers == ("small", "black")
    assert resolve("black cat", COCO_NAMES).names == ("cat",)  # not the polecat of that name
    assert resolve("glass of wine", COCO_NAMES).modifiers == ("wine",)
    assert resolve("hot dogs", COCO_NAMES).modifiers == ()


def test_an_empty_phrase_or_vocabulary_gives_nothing():
    assert resolve("", COCO_NAMES).names == resolve("?!", COCO_NAMES).names == resolve("dog", ()).names == ()


def test_a_vocabulary_of_other_names_works_the_same_way():
    names = ("goldfinch", "oak tree", "screwdriver", "shovel", "van")
    assert resolve("birds", names).names == ("goldfinch",)
    assert resolve("tools", names).names == ("screwdriver", "shovel")
    assert resolve("tree", names).names == ("oak tree",)


@pytest.mark.parametrize(
    ("one", "many"),
    [
        ("person", "people"),
        ("bus", "buses"),
        ("knife", "knives"),
        ("child", "children"),
        ("policeman", "policemen"),
        ("sheep", "sheep"),
        ("scissors", "scissors"),
        ("baby", "babies"),
        ("potted plant", "potted plants"),
        ("glass of wine", "glasses of wine"),
        ("vase", "vases"),
        ("sandwich", "sandwiches"),
        ("horse", "horses"),
        ("tv", "tvs"),
    ],
)
def test_plural_and_back(one, many):
    assert lexicon.plural(one) == many
    assert lexicon.singular(many) == one
    assert lexicon.singular(one) == one
    assert lexicon.plural(many) == many


def test_kinds_and_synonyms():
    assert lexicon.is_a("cows", "animal")
    assert not lexicon.is_a("car", "animal")
    assert "sofa" in lexicon.synonyms("couch")
    assert lexicon.is_noun("violins")
    assert not lexicon.is_noun("quickly")


def test_what_carries_others():
    carrying = {name for name in COCO_NAMES if lexicon.carries(name)}
    assert carrying == {
        *("bench", "chair", "couch", "bed", "dining table", "toilet"),
        *("skis", "snowboard", "skateboard", "surfboard"),
    }
    assert lexicon.carries("Sofas")
    assert not lexicon.carries(None)


def test_reading_words_does_not_import_torch():
    code = "import sys, fo1agent.words.lexicon as l; l.resolve('cars', ['car']); assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("word", ["plate", "way", "pipe", "clothing", "bar", "machine", "stick", "club"])
def test_a_general_word_for_made_things_is_not_its_only_kind(word: str) -> None:
    assert resolve(word, COCO_NAMES).names == ()


def test_a_name_of_the_vocabulary_means_itself_whatever_its_words_mean() -> None:
    names = ("no entry sign", "stop sign", "person with a hat")
    for name in names:
        assert resolve(name, names) == Resolution((name,), exact=True)


@pytest.mark.parametrize(
    ("phrase", "wide"),
    [("signs", "sign"), ("a red light", "light"), ("phone", "phone"), ("telephones", "telephone"), ("stop sign", "")],
)
def test_a_word_that_means_more_than_the_one_name_says_so(phrase, wide):
    assert resolve(phrase, COCO_NAMES).wide == wide
    assert resolve(phrase, (*COCO_NAMES, phrase)).wide == ""
