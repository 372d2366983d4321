"""Feature stores and kept files that are damaged: refused by name, or made anew, and never learned from."""

from __future__ import annotations

import json
import logging
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from fo1agent.errors import TrainingError
from fo1agent.trainers.data import features
from fo1agent.trainers.data.coco import CocoData
from fo1agent.trainers.data.features import FeatureStore, open_or_build
from fo1agent.trainers.kept import keep, read_kept
from tests.tiny_stages import pictures, tiny_model, tiny_store

FILES = ("meta.json", "boxes.npy", "kind.npy", "vectors.f16", "pixels.f16")


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, CocoData, str]:
    """A whole store, its data and its fingerprint."""
    folder = tmp_path_factory.mktemp("sound")
    store = tiny_store(folder)
    return folder / "features", store.data, store.fingerprint


def meta(change: Callable[[dict], object]) -> Callable[[Path], None]:
    def spoil(folder: Path) -> None:
        tree = json.loads((folder / "meta.json").read_text())
        change(tree)
        (folder / "meta.json").write_text(json.dumps(tree))

    return spoil


def cut(name: str, size: int) -> Callable[[Path], None]:
    return lambda folder: os.truncate(folder / name, size)


def number(name: str, place: int, value: float, dtype: str) -> Callable[[Path], None]:
    """One number of a file of numbers, counted from its end."""

    def spoil(folder: Path) -> None:
        with open(folder / name, "rb+") as file:
            file.seek(-place * np.dtype(dtype).itemsize, os.SEEK_END)
            file.write(np.array(value, dtype).tobytes())

    return spoil


def instead(name: str, make: Callable[[Path], object]) -> Callable[[Path], None]:
    def spoil(folder: Path) -> None:
        (folder / name).unlink()
        make(folder / name)

    return spoil


def more(file: Path) -> None:
    file.write_bytes(file.read_bytes() + b"12")


def promise(file: Path) -> None:
    """The header of an array of a terabyte, and nothing of it."""
    header = {"descr": "<f4", "fortran_order": False, "shape": (2**36, 4)}
    with open(file, "wb") as written:
        np.lib.format.write_array_header_1_0(written, header)


NAN, INF = float("nan"), float("inf")
DAMAGE: dict[str, tuple[Callable[[Path], object], str]] = {
    **{f"{name} is missing": ((lambda f, n=name: (f / n).unlink()), f"no {name}") for name in FILES},
    **{f"{name} is empty": (cut(name, 0), name) for name in FILES},
    **{f"{name} is half as long": ((lambda f, n=name: cut(n, (f / n).stat().st_size // 2)(f)), name) for name in FILES},
    **{f"{name} is a pipe": (instead(name, os.mkfifo), "a pipe, wanted a regular file") for name in FILES},
    **{f"{name} is a folder": (instead(name, os.mkdir), "a folder, wanted a regular file") for name in FILES},
    "a vector is NaN": (number("vectors.f16", 1, NAN, "f2"), r"vectors\.f16: got NaN or infinity in rows 0 to"),
    "the first vector is infinite": (number("vectors.f16", 10_000, -INF, "f2"), r"vectors\.f16: got NaN or infinity"),
    "a patch is NaN": (number("pixels.f16", 7, NAN, "f2"), r"pixels\.f16: got NaN or infinity"),
    "a box is NaN": (number("boxes.npy", 3, NAN, "f4"), r"boxes\.npy: got NaN or infinity"),
    "vectors are one too many": (lambda f: more(f / "vectors.f16"), r"vectors\.f16: got \d+ bytes"),
    "boxes of another type": (
        lambda f: np.save(f / "boxes.npy", np.zeros((3, 4))),
        r"boxes\.npy: got float64 \[3, 4\]",
    ),
    "boxes are a pickle": (
        lambda f: np.save(f / "boxes.npy", np.array([{}]), allow_pickle=True),
        r"boxes\.npy is not a whole array",
    ),
    "boxes promise a terabyte": (lambda f: promise(f / "boxes.npy"), r"boxes\.npy is not a whole array"),
    "meta.json is a list": (lambda f: (f / "meta.json").write_text("[1]"), "got .1., wanted an object"),
    "meta.json is no JSON": (lambda f: (f / "meta.json").write_text("{"), "is not JSON"),
    "meta.json is deep": (lambda f: (f / "meta.json").write_text("[" * 100_000), "nested too deep"),
    "rows are words": (meta(lambda t: t.update(rows=["a"])), "rows is .'a'., wanted a list of integers"),
    "rows are missing": (meta(lambda t: t.pop("rows")), "rows is missing"),
    "rows fall": (meta(lambda t: t["rows"].__setitem__(1, 10**9)), "rows is .*, wanted 7 rising numbers"),
    "rows begin later": (meta(lambda t: t["rows"].__setitem__(0, 1)), "rows is"),
    "rows are too few": (meta(lambda t: t["rows"].pop()), "rows is .*, wanted 7 rising numbers"),
    "a grid is flat": (meta(lambda t: t["grids"].__setitem__(0, [4])), "grids.0 is .4., wanted two integers"),
    "a grid is another one": (meta(lambda t: t["grids"].__setitem__(0, [1, 1])), "grids is not what patches says"),
    "there are too few pictures": (meta(lambda t: t["grids"].pop()), "grids is of 5 pictures, wanted 3, or 6"),
    "widths are wrong": (meta(lambda t: t.update(widths=[3, 1176])), r"vectors\.f16: got \d+ bytes, wanted \d+ x 3"),
    "widths are NaN": (meta(lambda t: t.update(widths=[NAN, 1])), "widths is .*, wanted"),
}


@pytest.mark.parametrize(("spoil", "says"), DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_store_is_refused_by_name(
    sound: tuple[Path, CocoData, str], tmp_path: Path, spoil: Callable[[Path], object], says: str
) -> None:
    folder, data, mark = sound
    shutil.copytree(folder, tmp_path / "features")
    spoil(tmp_path / "features")
    with pytest.raises(TrainingError, match=says) as error:
        FeatureStore(tmp_path / "features", data, mark)
    assert "\n" not in str(error.value)
    assert str(tmp_path / "features") in str(error.value)


def flipped(name: str, place: int = 100) -> Callable[[Path], None]:
    """One bit of a file is another one."""

    def spoil(folder: Path) -> None:
        with open(folder / name, "rb+") as file:
            file.seek(-place, os.SEEK_END)
            (byte,) = file.read(1)
            file.seek(-place, os.SEEK_END)
            file.write(bytes([byte ^ 1]))

    return spoil


@pytest.mark.parametrize("block", [64 << 20, 1])
@pytest.mark.parametrize("name", FILES[1:])
def test_a_flipped_bit_is_found(
    sound: tuple[Path, CocoData, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, block: int
) -> None:
    folder, data, mark = sound
    monkeypatch.setattr(features, "_BLOCK", block)
    shutil.copytree(folder, tmp_path / "features")
    flipped(name, place=3)(tmp_path / "features")
    with pytest.raises(TrainingError, match=rf"{name}: got CRC-32 \w+, wanted \w+, as meta.json says\."):
        FeatureStore(tmp_path / "features", data, mark)


def test_a_row_that_moved_is_found(sound: tuple[Path, CocoData, str], tmp_path: Path) -> None:
    folder, data, mark = sound
    shutil.copytree(folder, tmp_path / "features")
    meta(lambda tree: tree["rows"].__setitem__(1, tree["rows"][1] - 1))(tmp_path / "features")
    with pytest.raises(TrainingError, match=r"meta.json: got CRC-32 \w+, wanted \w+, as it says"):
        FeatureStore(tmp_path / "features", data, mark)


def test_a_store_of_an_earlier_version_opens_as_it_did(sound: tuple[Path, CocoData, str], tmp_path: Path) -> None:
    folder, data, mark = sound
    shutil.copytree(folder, tmp_path / "features")
    for key in ("widths", "files", "crc32"):
        meta(lambda tree, key=key: tree.pop(key))(tmp_path / "features")
    old, new = FeatureStore(tmp_path / "features", data, mark), FeatureStore(folder, data, mark)
    for k in range(len(new)):
        assert np.array_equal(old[k].vectors, new[k].vectors)
        assert np.array_equal(old[k].pixel_values, new[k].pixel_values)


def test_every_block_of_a_large_store_is_looked_at(
    sound: tuple[Path, CocoData, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, data, mark = sound
    monkeypatch.setattr(features, "_BLOCK", 1)  # a row at a time
    shutil.copytree(folder, tmp_path / "features")
    number("vectors.f16", 1, NAN, "f2")(tmp_path / "features")
    last = json.loads((folder / "meta.json").read_text())["rows"][-1] - 1
    with pytest.raises(TrainingError, match=f"in rows {last} to {last}, wanted finite"):
        FeatureStore(tmp_path / "features", data, mark)
    FeatureStore(folder, data, mark)


def test_pictures_without_a_box_make_a_store_too(tmp_path: Path) -> None:
    model, processor = tiny_model()
    data = pictures(tmp_path / "pictures")
    bare = [replace(e, boxes=e.boxes[:0], labels=(), crowd=e.crowd[:0]) for e in data.images]
    model.propose = lambda features, limit=100: (torch.zeros(0, 4), torch.zeros(0))
    store = open_or_build(tmp_path / "features", model, processor, replace(data, images=tuple(bare)), mirror=False)
    assert [store[k].vectors.shape[0] for k in range(len(store))] == [0] * 3


def test_a_tower_that_sees_nan_makes_no_store(tmp_path: Path) -> None:
    model, processor = tiny_model()
    with torch.no_grad():
        model.aux.stem.conv.bias.fill_(NAN)
    data = pictures(tmp_path / "pictures")
    with pytest.raises(TrainingError, match=r"The towers see numbers in .*0.* that are not finite"):
        open_or_build(tmp_path / "features", model, processor, data)
    assert [path.name for path in tmp_path.iterdir()] == ["pictures"]


def test_a_folder_of_other_things_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "features").mkdir()
    (tmp_path / "features" / "notes.txt").write_text("mine")
    with pytest.raises(TrainingError, match="holds something, but no feature store"):
        tiny_store(tmp_path)
    assert (tmp_path / "features" / "notes.txt").read_text() == "mine"


def test_of_two_who_make_one_store_the_first_one_done_is_kept(
    sound: tuple[Path, CocoData, str], tmp_path: Path
) -> None:
    def other(done: int, total: int) -> None:
        if done == total:
            shutil.copytree(sound[0], tmp_path / "features")

    model, processor = tiny_model()
    data = pictures(tmp_path / "pictures")
    store = open_or_build(tmp_path / "features", model, processor, data, on_progress=other)
    assert len(store) == 6
    assert sorted(path.name for path in tmp_path.iterdir()) == ["features", "pictures"]


# --- files that only save time -----------------------------------------------------------------------------------


KEPT: dict[str, Callable[[Path], object]] = {
    "empty": lambda file: file.write_bytes(b""),
    "cut off": lambda file: os.truncate(file, file.stat().st_size - 3),
    "a pipe": lambda file: (file.unlink(), os.mkfifo(file)),
    "without a tensor": lambda file: save_file({"a": torch.ones(2)}, file),
    "of other tensors": lambda file: save_file({"a": torch.ones(2), "c": torch.ones(2)}, file),
    "NaN": lambda file: save_file({"a": torch.ones(2), "b": torch.tensor([1.0, NAN]).half()}, file),
}


@pytest.mark.parametrize("spoil", KEPT.values(), ids=KEPT)
def test_a_broken_kept_file_is_as_good_as_none_and_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, spoil: Callable[[Path], object]
) -> None:
    file = tmp_path / "x.safetensors"
    assert read_kept(file, ["a", "b"]) is None
    tensors = {"a": torch.ones(2, dtype=torch.int64), "b": torch.tensor([1.0, 2.0]).half()}
    keep(file, tensors)
    kept = read_kept(file, ["b", "a"])
    assert kept is not None
    assert all(torch.equal(kept[name], tensors[name]) for name in tensors)
    assert not caplog.records
    spoil(file)
    with caplog.at_level(logging.WARNING):
        assert read_kept(file, ["a", "b"]) is None
    (record,) = caplog.records
    assert record.getMessage().startswith(str(file))
    assert record.getMessage().endswith("It is made anew.")
    keep(file, tensors)
    assert load_file(file).keys() == tensors.keys()
    assert [path.name for path in tmp_path.iterdir()] == ["x.safetensors"]


def test_a_flipped_bit_of_a_kept_file_is_found_and_files_without_a_checksum_are_read(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "x.safetensors"
    tensors = {"a": torch.arange(6).reshape(2, 3), "b": torch.tensor(1.5), "c": torch.ones(2, dtype=torch.bfloat16)}
    keep(file, tensors)
    assert read_kept(file, list(tensors)) is not None
    flipped(file.name, place=1)(tmp_path)
    assert read_kept(file, list(tensors)) is None
    assert "has the CRC-32" in caplog.text
    save_file(tensors, file)
    assert read_kept(file, list(tensors)) is not None


def test_a_cache_that_cannot_be_written_is_a_training_error(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"Cannot keep .*x\.safetensors"):
        keep(tmp_path / "none" / "x.safetensors", {"a": torch.ones(2)})
