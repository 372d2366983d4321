"""`Source`: the examples of one data set by position or in order, with its bad records counted instead of fatal.

A format gives a source its items (lines, files, rows) and a function that makes an example of one; everything that is
the same for all formats (streaming, access by position, bad records, limits) happens here.
"""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar
from xml.etree.ElementTree import ParseError

from fo1agent.errors import DataError, ImageError, InputError
from fo1agent.trainers.data.files import ArrayFile, LineFile, first_sign
from fo1agent.trainers.data.formats.boxes import BoxReader
from fo1agent.trainers.data.formats.fields import images_folder, picture_of
from fo1agent.trainers.data.records import Example

T = TypeVar("T")

# What a record that is not as it should be makes a parser raise.
_BAD = (
    *(DataError, ImageError, OSError, ParseError),
    *(AttributeError, LookupError, TypeError, ValueError, OverflowError, RecursionError),
)


@dataclass(frozen=True)
class Tolerance:
    """How many bad records a source may have: a share of its records, and a few on top of that.

    Raises:
        InputError: a share outside 0 to 1, or a number below 0.
    """

    share: float = 0.01
    least: int = 20

    def __post_init__(self) -> None:
        if not 0 <= self.share <= 1 or self.least < 0:
            raise InputError(f"tolerance wants 0 <= share <= 1 and least >= 0, got {self.share}, {self.least}.")


@dataclass(frozen=True)
class Remark:
    """What was read otherwise than it stands there, or not at all: how often, and where first."""

    what: str
    count: int
    first: str

    def __str__(self) -> str:
        often = f" ({self.count} times, first at {self.first})" if self.count > 1 else f" ({self.first})"
        return self.what + often


class Problems:
    """What was wrong with one source's records: how many were bad, and why the first ones were.

    Attributes:
        good, bad: records read, and records left out.
        passed: records that are well but not for us: no picture, another split.
        first: "where: reason" of the first bad ones.
        remarks: what was said of the others.
    """

    KEPT = 100

    def __init__(self, name: str, tolerance: Tolerance | None = None) -> None:
        self.name = name
        self.tolerance = tolerance or Tolerance()
        self.good = 0
        self.bad = 0
        self.passed = 0
        self.first: list[str] = []
        self._remarks: dict[str, tuple[int, str]] = {}

    @property
    def remarks(self) -> tuple[Remark, ...]:
        return tuple(Remark(what, count, first) for what, (count, first) in self._remarks.items())

    def clear(self) -> None:
        """Forget all, to count anew."""
        self.good = self.bad = self.passed = 0
        self.first.clear()
        self._remarks.clear()

    def remark(self, example: Example) -> None:
        """Count what an example says of itself."""
        for what in example.remarks:
            count, first = self._remarks.get(what, (0, example.source))
            self._remarks[what] = count + 1, first

    def skip(self, where: str, reason: str, total: int | None = None) -> None:
        """Count a bad record.

        Args:
            where: file and line, or the like.
            reason: what is wrong with it.
            total: how many records there are; None when only those so far are known.

        Raises:
            DataError: there are now more bad records than the tolerance allows; lists the first few.
        """
        self.bad += 1
        if len(self.first) < self.KEPT:
            self.first.append(f"{where}: {reason}".encode(errors="backslashreplace").decode())
        if self.exceeded(total):
            raise DataError(self.message(total))

    def exceeded(self, total: int | None = None) -> bool:
        """There are more bad records than the tolerance allows."""
        seen = self.good + self.bad if total is None else total
        return self.bad > self.tolerance.share * seen + self.tolerance.least

    def message(self, total: int | None = None) -> str:
        """One sentence with the count and the first reasons."""
        if self.tolerance.share == self.tolerance.least == 0:
            return f"{self.name}: {self.first[0].removesuffix('.')}."
        seen = self.good + self.bad if total is None else total
        listed = "; ".join(reason.removesuffix(".") for reason in self.first[:5])
        return (
            f"{self.name}: {self.bad} of {seen} records are bad, more than the {self.tolerance.share:.1%} "
            f"plus {self.tolerance.least} allowed: {listed}. Mend them, or raise the tolerance."
        )


class Source(Sequence[Any]):
    """The examples of one data set.

    Iterating streams the good ones in order and reports the others. By position, a bad record gives None (and is
    reported once), as does one that is passed over, so that positions stay what they are.

    Args:
        name: for messages: the file or folder.
        items: what examples are made of, one each; iterated or indexed, never copied.
        parse: makes an example of an item and its place, or None to pass it over; whatever it raises says why the
            record is bad.
        where: names the item at a position: "file:line".
        vocabulary: names that the boxes carry, as far as the source says; () when it says nothing.
        tolerance: see `Tolerance`.
        doubts: what the records read so far say together against the way they are read.
        notes: what else a person should know of the whole source.

    Raises:
        DataError: a name holds half a character.

    Attributes:
        limit: only the first so many items; None for all. May be set before reading.
    """

    def __init__(
        self,
        name: str,
        items: Sequence[T],
        parse: Callable[[T, str], Example | None],
        where: Callable[[int], str] | None = None,
        vocabulary: Sequence[str] = (),
        tolerance: Tolerance | None = None,
        doubts: Callable[[], Sequence[str]] = list,
        notes: Sequence[str] = (),
    ) -> None:
        self.name = name
        self.doubts, self.notes = doubts, tuple(notes)
        self.vocabulary = tuple(vocabulary)
        try:
            "".join(self.vocabulary).encode()
        except UnicodeEncodeError as exc:
            raise DataError(f"{name}: a category's name {reason(exc)}.") from exc
        self.problems = Problems(name, tolerance)
        self.limit: int | None = None
        self._items: Sequence[Any] = items
        self._parse = parse
        self._where = where or (lambda position: f"{name}#{position}")
        self._known_bad: set[int] = set()
        self._counting = threading.Lock()

    def __len__(self) -> int:
        """Items, bad ones among them."""
        return len(self._items) if self.limit is None else min(self.limit, len(self._items))

    def __iter__(self) -> Iterator[Example]:
        problems, where = self.problems, self._where
        problems.clear()
        self._known_bad.clear()
        for position, item in enumerate(self._items):
            if position == self.limit:
                return
            place = where(position)
            try:
                example = self._example(item, place)
            except _BAD as exc:
                self._known_bad.add(position)
                problems.skip(place, reason(exc))
                continue
            if example is None:
                problems.passed += 1
                continue
            problems.good += 1
            problems.remark(example)
            yield example

    def __getitem__(self, position: int) -> Example | None:  # pyright: ignore[reportIncompatibleMethodOverride]
        if not 0 <= position < len(self):
            raise IndexError(position)
        if position in self._known_bad:
            return None
        try:
            example = self._example(self._items[position], self._where(position))
        except _BAD as exc:
            self.reject(position, reason(exc))
            return None
        if example is not None and example.remarks:
            with self._counting:
                self.problems.remark(example)
        return example

    def warnings(self) -> list[str]:
        """Notes, and remarks and doubts about what was read so far, a sentence each, the source's name first."""
        return [f"{self.name}: {said}" for said in (*self.doubts(), *self.notes, *self.problems.remarks)]

    def glance(self, most: int = 200) -> list[str]:
        """The same of some records, evenly over the whole, before anything is read; bad ones are not counted here."""
        step = max(1, len(self) // most)
        kept, self.problems = self.problems, Problems(self.name, Tolerance(share=1))
        try:
            for position in range(0, len(self), step):
                with contextlib.suppress(*_BAD):
                    if (example := self._example(self._items[position], self._where(position))) is not None:
                        self.problems.remark(example)
            return self.warnings()
        finally:
            self.problems = kept

    def _example(self, item: Any, place: str) -> Example | None:
        example = self._parse(item, place)
        if example is not None:
            _check_words(example)
        return example

    def reject(self, position: int, reason: str) -> None:
        """Count the record at a position as bad, now and whenever it is asked for; its picture may be broken.

        Raises:
            DataError: there are now more bad records than the tolerance allows.
        """
        with self._counting:  # threads may meet the same record
            if position not in self._known_bad:
                self._known_bad.add(position)
                self.problems.skip(self._where(position), reason, total=len(self))


def _check_words(example: Example) -> None:
    # JSON can hold half a character (a lone surrogate), which can be neither written nor shown to a tokenizer.
    words = [str(example.id), *example.labels, *example.captions, *example.absent]
    words += [phrase.text for phrase in example.phrases]
    words += [text for text in example.texts if text]
    words += [said for turn in example.turns for said in (turn.question, turn.reply)]
    "".join(words).encode()


def object_source(
    path: Path,
    parse: Callable[[dict[str, Any], str], Example | None],
    vocabulary: Sequence[str] = (),
    tolerance: Tolerance | None = None,
    doubts: Callable[[], Sequence[str]] = list,
) -> Source:
    """A source whose items are the JSON objects of a file: one array of them, or one a line; empty lines are none."""
    name, items = path.name, _objects(path)

    def parse_item(item: bytes | dict[str, Any], place: str) -> Example | None:
        if isinstance(item, dict):
            return parse(item, place)
        return parse(json_object(item), place) if item.strip() else None

    array = isinstance(items, ArrayFile)
    return Source(
        str(path),
        items,
        parse_item,
        (lambda position: f"{name}[{position}]") if array else (lambda position: f"{name}:{position + 1}"),
        vocabulary,
        tolerance,
        doubts,
    )


def record_source(
    recipe: SourceRecipe, parse: Callable[..., Example | None], form: str, images: Path | None = None
) -> Source:
    """The same, where each object has one picture, and boxes of a form (of `boxes.FORMS`) unless the recipe has one.

    Args:
        recipe: of the source.
        parse: as `Source` has it, with the folder of the pictures and a `BoxReader` as `images` and `reader`.
        form: that the format's boxes have.
        images: folder of the pictures; None to look for it (see `fields.images_folder`).
    """
    folder = images or images_folder(recipe.path, recipe.images, first_picture(recipe.path))
    reader = BoxReader(form, recipe.boxes)
    parse = partial(parse, images=folder, reader=reader)
    return object_source(recipe.path, parse, tolerance=recipe.tolerance, doubts=reader.doubts)


def first_record(path: Path) -> dict[str, Any]:
    """The first object of a file of JSON lines, or of one that holds an array; {} where there is none."""
    return next(_first_records(path, 1), {})


def first_picture(path: Path) -> str | None:
    """The first picture that such a file names, to find the folder of all; None if the first thousand name none."""
    return next((name for record in _first_records(path, 1000) if (name := picture_of(record))), None)


def _first_records(path: Path, most: int) -> Iterator[dict[str, Any]]:
    with contextlib.suppress(DataError, OSError, ValueError, RecursionError):
        for item in islice(_objects(path), most):
            yield item if isinstance(item, dict) else json_object(item)


def _objects(path: Path) -> ArrayFile | LineFile:
    # By what stands there, for the suffix does not tell.
    return ArrayFile(path) if path.is_file() and first_sign(path) == b"[" else LineFile(path)


def json_object(line: bytes) -> dict[str, Any]:
    """One line's JSON object.

    Raises:
        DataError: the line holds something else.
    """
    record = json.loads(line)
    if type(record) is not dict:
        raise DataError(f"wanted a JSON object, got {line[:40].decode(errors='replace')!r}")
    return record


def reason(exc: BaseException) -> str:
    """In words, why a record is bad, from what its parser raised."""
    if isinstance(exc, KeyError):
        return f"lacks {exc.args[0]!r}"
    if isinstance(exc, json.JSONDecodeError):
        return f"not JSON: {exc}"
    if isinstance(exc, UnicodeDecodeError):
        return f"not UTF-8: {exc.reason} at byte {exc.start}"
    if isinstance(exc, UnicodeEncodeError):
        return f"holds half a character: {exc.object[exc.start : exc.end]!r}"
    if isinstance(exc, RecursionError):
        return "nested too deeply"
    if isinstance(exc, ParseError):
        return f"not XML: {exc}"
    if isinstance(exc, OSError):
        return f"cannot read {exc.filename}: {exc.strerror}" if exc.filename else str(exc)
    return str(exc) or type(exc).__name__


@dataclass(frozen=True)
class SourceRecipe:
    """One source of a mixture, as it stands in a recipe.

    Attributes:
        path: the file or folder.
        format: its format's name; None to go by what lies there.
        images: folder of the pictures; None for where the format has them.
        split: `train`, `val`, … of formats that hold several; None for what the format takes by itself.
        captions: a captions file that belongs to a COCO file.
        names: boxes are exhaustive for these names, so one without a box is absent; () for what the source says.
        boxes: the form of the boxes' numbers (see `boxes.FORMS`), where it is not the format's usual one.
        columns: for `hub`: which column holds what.
        words_alone: for `conversations`: keep records without a picture, as examples of 0 x 0 pixels with neither path
            nor data.
        weight: share of the mixture, relative to the other weights; None for its number of examples.
        limit: only the first so many records.
        tolerance: how many records may be bad.
    """

    path: Path
    format: str | None = None
    images: Path | None = None
    split: str | None = None
    captions: Path | None = None
    names: tuple[str, ...] = ()
    boxes: str | None = None
    columns: dict[str, str] = field(default_factory=dict)
    words_alone: bool = False
    weight: float | None = None
    limit: int | None = None
    tolerance: Tolerance = field(default_factory=Tolerance)

    def __post_init__(self) -> None:
        if self.weight is not None and not 0 < self.weight < float("inf"):
            raise InputError(f"{self.path}: a weight is a number above 0, got {self.weight}.")
        if self.limit is not None and self.limit < 1:
            raise InputError(f"{self.path}: a limit is at least 1, got {self.limit}.")

    def source(
        self,
        items: Sequence[T],
        parse: Callable[[T, str], Example | None],
        where: Callable[[int], str],
        vocabulary: Sequence[str] = (),
        doubts: Callable[[], Sequence[str]] = list,
        notes: Sequence[str] = (),
    ) -> Source:
        """The source that it asks for; arguments are `Source`'s."""
        return Source(str(self.path), items, parse, where, vocabulary, self.tolerance, doubts, notes)
