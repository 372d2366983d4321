"""Which pictures a caller may look at."""

from __future__ import annotations

import hashlib
from pathlib import Path
from types import SimpleNamespace

import pytest
from PIL import Image

from fo1agent.errors import ImageError, InputError
from fo1agent.integrations.calls import call
from fo1agent.integrations.handles import Scenes
from fo1agent.pictures.image import ImageLimits, load_image
from fo1agent.scene import Model
from tests import forged
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
    for handle in ("https://example.org/a.png", " img_00000000", "IMG_00000000", "img_12"):
        with pytest.raises(InputError, match="may not be opened"):
            scenes.get(handle)


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


# ---- two pictures of one short id ----


def test_forged_pictures_share_their_short_id_and_nothing_else() -> None:
    red, blue = load_image(forged.red()), load_image(forged.blue())
    assert red.id == blue.id == forged.SHORT_ID
    assert red.sha256 != blue.sha256


@pytest.mark.parametrize("first", ["red", "blue"])
def test_pictures_of_one_short_id_are_told_apart(model: Model, first: str) -> None:
    pictures = [forged.red(), forged.blue()] if first == "red" else [forged.blue(), forged.red()]
    for open_ in (lambda scenes, one: scenes.open(one), lambda scenes, one: scenes.receive(load_image(one))[1]):
        scenes = Scenes(model)
        early, late = (open_(scenes, one) for one in pictures)
        assert early.id == forged.SHORT_ID
        assert late.id == f"img_{late.loaded.sha256[:16]}"
        assert [scene.image.tobytes() for scene in (early, late)] == [one.tobytes() for one in pictures]
        for scene in (early, late):
            assert scenes.get(scene.id) is scenes.get(f"{scene.id}/r0") is scenes.get(f"img_{scene.loaded.sha256}")
            assert scene.id == scenes.get(scene.id).id
            assert scene.region(f"{scene.id}/r0") == scene.regions[0]
        assert open_(scenes, pictures[1]).id == late.id
        with pytest.raises(InputError, match="another picture"):
            early.region(late.regions[0].id)


def test_a_handle_is_no_other_pictures_when_its_own_is_closed(model: Model) -> None:
    scenes = Scenes(model)
    scenes.receive(load_image(forged.red()))
    scenes.close(forged.SHORT_ID)
    _, late = scenes.receive(load_image(forged.blue()))
    assert scenes.known(forged.SHORT_ID) is None
    assert late.id != forged.SHORT_ID
    assert scenes.receive(load_image(forged.red()))[0] == forged.SHORT_ID


def test_a_scene_of_the_host_gets_another_id_where_its_own_is_taken(model: Model) -> None:
    scenes = Scenes(model)
    scenes.receive(load_image(forged.red()))
    scene = model.open(forged.blue())
    opened = scenes.open(scene)
    assert opened.id != scene.id == forged.SHORT_ID
    assert opened.encoding is scene.encoding
    assert scenes.get(opened.id) is opened
    assert scenes.open(opened) is opened


def test_boxes_do_not_make_one_picture_of_two(model: Model) -> None:
    scenes, pictures, boxes = Scenes(model), (forged.red(), forged.blue()), [[1.0, 2.0, 30.0, 40.0]]
    handles = [scenes.receive(load_image(one), boxes)[0] for one in pictures]
    assert len(set(handles)) == 2
    assert scenes.known(handles[0]) is not scenes.known(handles[1])
    assert all(scenes.receive(load_image(one))[0] in handle for one, handle in zip(pictures, handles, strict=True))


def test_a_picture_with_boxes_has_one_id_in_all_that_is_told_of_it(model: Model) -> None:
    scenes, picture = Scenes(model), load_image(forged.red())
    plain, boxed = scenes.receive(picture)[1], scenes.receive(picture, [[1.0, 2.0, 30.0, 40.0]])[1]
    handle = boxed.id
    assert handle.startswith(f"{plain.id}-")
    assert boxed.regions.ids == (f"{handle}/r0",)
    looked = call("look", {"image": handle}, scenes)
    assert (looked.image, looked.outcome.result.image) == (handle, handle)
    for name in (handle, boxed.loaded.key, f"{handle}/r0", boxed.region("b5_5_9_9").id):
        assert scenes.get(name) is boxed
    for place in (f"{handle}/r0", f"{boxed.loaded.key}/r0", {"id": "r0", "image": handle}):
        told = call("describe", {"image": handle, "region": place}, scenes)
        assert told.outcome.result.regions.ids == (f"{handle}/r0",)
    assert boxed.region(f"{plain.id}/b5_5_9_9") == boxed.region("b5_5_9_9")  # pixels are the picture's
    for scene, other in ((boxed, f"{plain.id}/r0"), (plain, f"{handle}/r0"), (boxed, f"{handle[:-1]}0/r0")):
        with pytest.raises(InputError, match=f"{other} is a region of another picture; this one is {scene.id}"):
            scene.region(other)
    assert model.open(boxed.loaded).id == scenes.receive(boxed.loaded)[0] == plain.id
    assert scenes.receive(boxed.loaded, [[1.0, 2.0, 30.0, 40.0]])[1] is boxed


def test_boxes_of_one_short_hash_are_told_apart(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = hashlib.sha256
    same = "0" * 8

    class Weak:
        def __init__(self, data: bytes) -> None:
            self.data = data

        def hexdigest(self) -> str:
            return same + whole(self.data).hexdigest()[8:]

    monkeypatch.setattr("fo1agent.integrations.handles.hashlib", SimpleNamespace(sha256=Weak))
    scenes, picture = Scenes(model), load_image(forged.red())
    first, second = ([[1.0, 2.0, x, 40.0]] for x in (30.0, 50.0))
    assert scenes.receive(picture, first)[0] == f"{forged.SHORT_ID}-{same}"
    handle, scene = scenes.receive(picture, second)
    assert handle != f"{forged.SHORT_ID}-{same}"
    assert scene.regions[0].box == (1.0, 2.0, 50.0, 40.0)


def test_handles_are_remembered_within_bounds_and_those_of_open_pictures_always(
    model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fo1agent.integrations.handles._REMEMBERED", 4)
    scenes = Scenes(model, keep=1)
    own = scenes.open(Image.new("RGB", (64, 48), "white"))
    pictures = [load_image(Image.new("RGB", (64, 48), (shade, 0, 0))) for shade in range(12)]
    last = [scenes.receive(one)[0] for one in pictures][-1]
    assert len(scenes._keys) == len(scenes._handles) == 4
    assert list(scenes.handles) == [own.id, last]
    assert scenes.known(own.id) is own
