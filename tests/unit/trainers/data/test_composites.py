"""Composites: what a scene's record says is what its pixels show, and held-out pairs stay out of training."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image, ImageDraw

from fo1agent.cli import main
from fo1agent.errors import DataError, InputError
from fo1agent.pictures.color import color_shares
from fo1agent.trainers.data.composites.backgrounds import Backgrounds, read_backgrounds
from fo1agent.trainers.data.composites.names import classify
from fo1agent.trainers.data.composites.packages import open_source
from fo1agent.trainers.data.composites.phrases import absent_names, phrases_of
from fo1agent.trainers.data.composites.recolor import clear_color, recolor, shows
from fo1agent.trainers.data.composites.scenes import SceneSettings, Thing, draw_scene
from fo1agent.trainers.data.composites.sprites import read_folder
from fo1agent.trainers.data.composites.stock import Stock, build_stock
from fo1agent.trainers.data.formats.examples import read_examples
from fo1agent.words.colors import COLORS


def ball(color: tuple[int, int, int], side: int = 96) -> Image.Image:
    """A ball, lit from above, with a dark foot that is no part of its colour."""
    y, x = np.mgrid[:side, :side] / side - 0.5
    light = np.clip(1.0 - 0.5 * (y + 0.5), 0, 1)[..., None]
    pixels = np.zeros((side, side, 4), np.uint8)
    pixels[..., :3] = np.clip(light * np.array(color), 0, 255)
    pixels[int(side * 0.85) :, :, :3] = (30, 30, 30)
    pixels[..., 3] = 255 * (x**2 + y**2 < 0.22)
    return Image.fromarray(pixels)


def visible(pixels: np.ndarray) -> np.ndarray:
    return pixels[..., :3][pixels[..., 3] > 127]


@pytest.fixture(scope="module")
def cutouts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cutouts")
    made = {"cup_1": (240, 30, 30), "cup_2": (40, 100, 230), "apple": (60, 190, 60), "balloon": (255, 225, 40)}
    for name, color in made.items():
        ball(color).save(folder / f"{name}.png")
    (folder / "teddy bear").mkdir()
    ball((150, 100, 60)).save(folder / "teddy bear" / "a.webp", lossless=True)
    Image.new("RGB", (90, 90), (9, 9, 9)).save(folder / "opaque.png")
    return folder


@pytest.fixture(scope="module")
def stock(cutouts: Path) -> Stock:
    return build_stock(read_folder(cutouts))


@pytest.mark.parametrize("color", COLORS)
@pytest.mark.parametrize("before", [(200, 30, 30), (40, 90, 200), (235, 235, 235)])
def test_a_recoloured_thing_shows_its_new_colour_and_keeps_its_shape(color: str, before: tuple[int, int, int]) -> None:
    pixels = np.asarray(ball(before))
    painted = recolor(pixels, color)
    assert painted is not None
    assert shows(visible(painted), color)
    assert np.array_equal(painted[..., 3], pixels[..., 3])


def test_what_has_another_hue_keeps_it() -> None:
    image = ball((200, 30, 30))
    ImageDraw.Draw(image).rectangle((40, 20, 55, 35), fill=(40, 180, 60, 255))
    painted = recolor(np.asarray(image), "blue")
    assert painted is not None
    assert np.abs(painted[28, 48, :3].astype(int) - (40, 180, 60)).max() < 12


def test_a_thing_of_many_colours_cannot_be_painted() -> None:
    pixels = np.asarray(ball((200, 30, 30))).copy()
    for k, color in enumerate(((230, 30, 30), (230, 200, 30), (40, 180, 60), (40, 90, 220), (160, 50, 200))):
        pixels[:, k * 20 : (k + 1) * 20, :3] = color
    assert recolor(pixels, "blue") is None


@pytest.mark.parametrize(
    ("rgb", "color"),
    [
        ((210, 25, 30), "red"),
        ((40, 100, 210), "blue"),
        ((205, 160, 110), None),
        ((90, 40, 35), None),
        ((30, 30, 70), None),
    ],
)
def test_only_a_colour_beyond_doubt_is_a_clear_one(rgb: tuple[int, int, int], color: str | None) -> None:
    assert clear_color(np.full((50, 3), rgb, np.uint8)) == color


@pytest.mark.parametrize(
    ("title", "found"),
    [
        ("A red apple.", ("apple", "apple")),
        ("A Magellanic penguin.", ("bird", "penguin")),
        ("oncoming automobile", ("car", "car")),
        ("man’s shoe", ("shoe", "shoe")),
        ("A brown slug.", ("slug", "slug")),
        ("twelve o’clock", None),
        ("An old tree that stood here for a thousand years", None),
        ("mouse", None),
    ],
)
def test_titles_give_labels(title: str, found: tuple[str, str] | None) -> None:
    assert classify(title) == found


def test_a_folder_names_its_cutouts_and_opaque_pictures_are_none(cutouts: Path, tmp_path: Path) -> None:
    labels = sorted(sprite.label for sprite in read_folder(cutouts))
    assert labels == ["apple", "balloon", "cup", "cup", "teddy bear"]
    with pytest.raises(DataError, match="no PNG or WebP"):
        read_folder(tmp_path)


def test_a_source_is_a_package_or_a_folder(cutouts: Path, tmp_path: Path) -> None:
    assert "your own" in open_source(str(cutouts), tmp_path).licences[0]
    with pytest.raises(InputError, match="Packages: tuxpaint"):
        open_source("no-such-thing", tmp_path)


def test_colours_that_things_have_by_nature_are_not_held_out(stock: Stock) -> None:
    assert stock.held_out
    assert not stock.held_out & {("cup", "red"), ("cup", "blue"), ("apple", "green"), ("balloon", "yellow")}
    assert stock.held_out <= stock.painted
    assert Stock(tuple(reversed(stock.items))).held_out == stock.held_out


def test_held_out_pairs_are_neither_shown_nor_named_in_training_and_dev_shows_them(stock: Stock) -> None:
    settings = SceneSettings(size=128, most=8)
    shown: dict[bool, set[tuple[str, str | None]]] = {False: set(), True: set()}
    named: set[str] = set()
    for k in range(60):
        for dev in (False, True):
            rng = np.random.default_rng([1, k, dev])
            scene = draw_scene(stock, Backgrounds(), settings, rng, held_out=dev)
            shown[dev] |= {(thing.label, thing.color) for thing in scene.things}
            if not dev:
                named |= {phrase.text for phrase in phrases_of(scene.things, stock, dev, rng)}
    assert not shown[False] & stock.held_out
    assert shown[True] & stock.held_out
    assert not named & {f"{color} {label}" for label, color in stock.held_out}


def test_things_stay_visible_and_their_boxes_are_in_the_picture(stock: Stock) -> None:
    settings = SceneSettings(size=160, visible=0.5)
    for k in range(20):
        scene = draw_scene(stock, Backgrounds(), settings, np.random.default_rng(k), held_out=False)
        assert scene.image.size == (160, 160)
        for thing in scene.things:
            x1, y1, x2, y2 = thing.box
            assert 0 <= x1 < x2 <= 160
            assert 0 <= y1 < y2 <= 160
            assert thing.visible >= 0.5
            assert sum(thing.shares.values()) == pytest.approx(1)


def test_a_box_is_where_the_thing_is(stock: Stock) -> None:
    red = Stock([item for item in stock.items if item.sprite.label == "cup" and item.color == "red"])
    settings = SceneSettings(size=128, most=1, theme=0, paint=0)
    for k in range(10):
        scene = draw_scene(red, _Black(), settings, np.random.default_rng(k), held_out=False)
        (thing,) = scene.things
        pixels = np.asarray(scene.image).astype(int)
        columns = np.nonzero(pixels[..., 0] - pixels[..., 1] > 60)[1]  # the red part; the foot is dark
        assert columns.min() == pytest.approx(thing.box[0], abs=4)
        assert columns.max() + 1 == pytest.approx(thing.box[2], abs=4)


class _Black(Backgrounds):
    def make(self, size: int, rng: np.random.Generator) -> Image.Image:
        return Image.new("RGB", (size, size))


def thing(label: str, color: str | None, rgb: tuple[int, int, int], name: str = "") -> Thing:
    return Thing(label, name or label, color, (0, 0, 9, 9), 1.0, color_shares(np.full((9, 3), rgb, np.uint8)))


def texts(things: list[Thing], stock: Stock) -> dict[str, tuple[int, ...]]:
    """All phrases that any seed gives."""
    found: dict[str, tuple[int, ...]] = {}
    for seed in range(30):
        for phrase in phrases_of(things, stock, True, np.random.default_rng(seed)):
            assert found.setdefault(phrase.text, phrase.boxes) == phrase.boxes
    return found


def test_phrases_name_the_things_that_are_so_and_near_misses_name_none(stock: Stock) -> None:
    found = texts([thing("cup", "red", (200, 20, 20)), thing("cup", "blue", (40, 90, 200))], stock)
    assert found["cup"] == (0, 1)
    assert found["red cup"] == (0,)
    assert found["blue cup"] == (1,)
    assert found["green cup"] == ()
    assert found["teddy bear"] == ()


def test_no_phrase_is_made_of_a_colour_that_people_doubt(stock: Stock) -> None:
    tan = thing("cup", None, (205, 160, 110))
    found = texts([tan, thing("cup", "blue", (40, 90, 200))], stock)
    assert not found.keys() & {"orange cup", "brown cup", "yellow cup"}
    assert found["blue cup"] == (1,)


def test_names_that_may_mean_the_same_are_not_absent(stock: Stock) -> None:
    assert stock.related("teddy bear", "bear")
    assert stock.related("eagle", "bird")
    absent = {
        n for k in range(20) for n in absent_names([thing("cup", None, (0, 0, 0))], stock, np.random.default_rng(k))
    }
    assert absent == {"apple", "balloon", "teddy bear"}


def test_a_piece_of_a_photograph_shows_none_of_its_boxes(tmp_path: Path) -> None:
    photo = Image.new("RGB", (300, 200), (20, 200, 20))
    ImageDraw.Draw(photo).rectangle((0, 0, 150, 200), fill=(255, 0, 0))
    (tmp_path / "photos").mkdir()
    photo.save(tmp_path / "photos" / "a.png")
    instances = tmp_path / "instances.json"
    record = {"id": 1, "file_name": "a.png", "width": 300, "height": 200}
    annotation = {"image_id": 1, "category_id": 1, "bbox": [0, 0, 151, 200]}
    tree = {"images": [record], "annotations": [annotation], "categories": [{"id": 1, "name": "cup"}]}
    instances.write_text(json.dumps(tree), encoding="utf-8")
    backgrounds = read_backgrounds(tmp_path / "photos", instances)
    piece = np.asarray(replace(backgrounds, patterns=0).make(64, np.random.default_rng(0)))
    assert piece[..., 0].max() < 60


def test_photographs_that_are_none_are_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no pictures"):
        read_backgrounds(tmp_path)
    (tmp_path / "a.jpg").write_bytes(b"no picture")
    with pytest.raises(DataError, match="cannot be read"):
        Backgrounds([tmp_path / "a.jpg"], patterns=0).make(64, np.random.default_rng(0))
    with pytest.raises(DataError, match="is not JSON"):
        read_backgrounds(tmp_path, tmp_path / "a.jpg")


def test_the_command_writes_examples_that_can_be_read_and_the_same_seed_the_same(cutouts: Path, tmp_path: Path) -> None:
    command = ["data", "synth", "--sprites", str(cutouts), "--count", "5", "--dev", "2", "--size", "96", "--seed", "3"]
    for name in ("a", "b"):
        result = CliRunner().invoke(main, [*command, str(tmp_path / name), "--json"])
        assert result.exit_code == 0, result.output
    for file in ("train.jsonl", "dev.jsonl", "images/train-000004.jpg", "held_out.json", "LICENCES.txt"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()
    examples = list(read_examples(tmp_path / "a" / "train.jsonl"))
    assert len(examples) == 5
    assert all(example.path and example.path.is_file() for example in examples)
    assert {label for example in examples for label in example.labels} <= {"cup", "apple", "balloon", "teddy bear"}
    again = CliRunner().invoke(main, [*command, str(tmp_path / "a")])
    assert again.exit_code == 1
    assert "not empty" in again.output
