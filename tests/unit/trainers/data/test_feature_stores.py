"""Feature stores and kept files that are damaged: refused by name, or made anew, and never learned from."""

from __future__ import annotations

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
from fo1agent.trainers.data.features import open_or_build
from fo1agent.trainers.kept import keep, read_kept
from tests.tiny_stages import pictures, tiny_model, tiny_store

NAN = float("nan")


def flipped(file: Path, place: int) -> None:
    """One bit of a file, so many bytes before its end, is another one."""
    data = bytearray(file.read_bytes())
    data[-place] ^= 1
    file.write_bytes(data)


STORED: dict[str, Callable[[Path], object]] = {
    "missing": lambda file: file.unlink(),
    "cut off": lambda file: os.truncate(file, file.stat().st_size // 2),
    "of one bit less": lambda file: flipped(file, 3),
    "a pipe": lambda file: (file.unlink(), os.mkfifo(file)),
    "another entry's": lambda file: shutil.copy(file.with_name("0000000.safetensors"), file),
    "of another shape": lambda file: save_file(load_file(file) | {"grid": torch.tensor([1, 1, 1])}, file),
    "of fewer vectors": lambda file: save_file(load_file(file) | {"vectors": torch.ones(1, 3).half()}, file),
}


@pytest.mark.parametrize("spoil", STORED.values(), ids=STORED)
def test_a_damaged_entry_is_refused_by_name_and_made_anew(tmp_path: Path, spoil: Callable[[Path], object]) -> None:
    store = tiny_store(tmp_path)
    # Copies: what a store gives may be a view of its file.
    before = [(store[k].vectors.copy(), store[k].pixel_values.copy(), store[k].boxes.copy()) for k in range(len(store))]
    spoil(store.file(1))
    with pytest.raises(TrainingError, match=rf"{store.file(1)} is damaged or gone\. Start again"):
        store[1]
    again = tiny_store(tmp_path)
    for k, (vectors, pixel_values, boxes) in enumerate(before):
        assert np.array_equal(again[k].vectors, vectors)
        assert np.array_equal(again[k].pixel_values, pixel_values)
        assert np.array_equal(again[k].boxes, boxes)


def test_an_entry_beyond_the_last_is_none(tmp_path: Path) -> None:
    store = tiny_store(tmp_path)
    for index in (len(store), -1):
        with pytest.raises(IndexError):
            store[index]


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
    assert not [*tmp_path.rglob("*.safetensors")]


def test_a_store_that_cannot_be_written_is_a_training_error(tmp_path: Path) -> None:
    (tmp_path / "features").touch()
    with pytest.raises(TrainingError, match=r"Cannot keep features in .*Name another folder"):
        tiny_store(tmp_path)


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
    flipped(file, 1)
    assert read_kept(file, list(tensors)) is None
    assert "has the CRC-32" in caplog.text
    save_file(tensors, file)
    assert read_kept(file, list(tensors)) is not None


def test_a_cache_that_cannot_be_written_is_a_training_error(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"Cannot keep .*x\.safetensors"):
        keep(tmp_path / "none" / "x.safetensors", {"a": torch.ones(2)})
