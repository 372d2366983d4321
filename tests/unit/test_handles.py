"""Which pictures a caller may look at."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from fo1agent.errors import ImageError, InputError
from fo1agent.image import ImageLimits
from fo1agent.integrations.handles import Scenes
from fo1agent.scene import Model
from tests.fakes import FakePredictor


@pytest.fixture
def model() -> Model:
    return Model(FakePredictor([((30.0, 10.0, 60.0, 40.0), "bus", 0.9)]))


def saved(folder: Path, name: str, color: str = "gray") -> Path:
    path = folder / name
    path.parent.mkdir(exist_ok=True)
    Image.new("RGB", (64, 48), color).save(path)
    return path


def test_the_only_picture_needs_no_handle(model: Model) -> None:
    scenes = Scenes(model)
    with pytest.raises(InputError, match="None is open"):
        scenes.get()
    scene = scenes.open(Image.new("RGB", (64, 48), "gray"))
    assert scenes.get() is scenes.get(None) is scenes.get("") is scenes.get(scene.id) is scene
    other = scenes.open(Image.new("RGB", (64, 48), "red"))
    with pytest.raises(InputError, match=f"Open are: {scene.id}, {other.id}"):
        scenes.get()


def test_a_picture_is_known_by_its_id_its_path_and_its_name(model: Model, tmp_path: Path) -> None:
    scenes = Scenes(model)
    path = saved(tmp_path, "a.png")
    scene = scenes.open(path)
    for handle in (scene.id, str(path), "a.png", f"{scene.id}/r0"):
        assert scenes.get(handle) is scene
    assert scenes.handles == {scene.id: scene.loaded.source}
    scenes.close("a.png")
    with pytest.raises(InputError, match="may not be opened"):
        scenes.get(str(path))


def test_the_same_picture_is_encoded_once(model: Model, tmp_path: Path) -> None:
    scenes = Scenes(model, folders=[tmp_path])
    path = saved(tmp_path, "a.png")
    scene = scenes.open(path)
    assert scenes.open(Image.open(path)) is scene
    assert scenes.get(str(saved(tmp_path, "copy.png"))) is scene
    predictor = model.predictor
    assert isinstance(predictor, FakePredictor)
    assert predictor.passes["towers"] == 1


def test_a_caller_opens_nothing_unless_the_host_allows_it(model: Model, tmp_path: Path) -> None:
    scenes = Scenes(model)
    for handle in (str(saved(tmp_path, "a.png")), "https://example.org/a.png", "img_00000000", "file:///etc/passwd"):
        with pytest.raises(InputError, match="may not be opened"):
            scenes.get(handle)


def test_a_caller_opens_pictures_of_the_allowed_folders_only(model: Model, tmp_path: Path) -> None:
    inside, outside = saved(tmp_path / "in", "a.png"), saved(tmp_path / "out", "b.png")
    link = tmp_path / "in" / "link.png"
    link.symlink_to(outside)
    scenes = Scenes(model, folders=[tmp_path / "in"])
    assert scenes.get(str(inside)).width == 64
    for handle in (str(outside), str(link), str(tmp_path / "in" / ".." / "out" / "b.png"), "/etc/passwd"):
        with pytest.raises(ImageError, match="outside the folders"):
            scenes.get(handle)
    with pytest.raises(InputError, match="may not be opened"):
        scenes.get("https://example.org/a.png")


def test_addresses_of_this_machine_are_never_fetched_for_a_caller(model: Model) -> None:
    scenes = Scenes(model, urls=True)
    for handle in ("http://127.0.0.1/a.png", "http://[::1]/a.png", "http://169.254.169.254/a.png"):
        with pytest.raises(ImageError):
            scenes.get(handle)
    with pytest.raises(ImageError):
        scenes.get("file:///etc/passwd")


def test_pictures_that_callers_opened_make_place_and_the_hosts_stay(model: Model, tmp_path: Path) -> None:
    scenes = Scenes(model, folders=[tmp_path], keep=2)
    own = scenes.open(Image.new("RGB", (64, 48), "white"))
    paths = [str(saved(tmp_path, f"{color}.png", color)) for color in ("red", "green", "blue")]
    opened = [scenes.get(path) for path in paths]
    assert list(scenes.handles) == [own.id, opened[1].id, opened[2].id]
    with pytest.raises(InputError):
        scenes.get(opened[0].id)
    assert scenes.get(paths[0]).id == opened[0].id


def test_limits_hold_for_hosts_and_callers(model: Model, tmp_path: Path) -> None:
    scenes = Scenes(model, folders=[tmp_path], limits=ImageLimits(max_side=32))
    path = saved(tmp_path, "a.png")
    for opener in (scenes.open, scenes.get):
        with pytest.raises(ImageError):
            opener(str(path))


def test_settings_that_cannot_be_meant_are_refused(model: Model) -> None:
    with pytest.raises(InputError, match="list of folders"):
        Scenes(model, folders="photos")
    with pytest.raises(InputError, match="keep"):
        Scenes(model, keep=0)
