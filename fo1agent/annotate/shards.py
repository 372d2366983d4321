"""The rows of a job as Parquet files, each written whole or not at all, and read back a few rows at a time.

A shard that is there is finished. It holds nothing that hangs on when or where it was written, so the same rows are the
same bytes.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fo1agent.annotate.arrow import arrow, first_line
from fo1agent.annotate.tasks import Row
from fo1agent.errors import DataError
from fo1agent.whole import remove, whole

_NAME = re.compile(r"part-(\d{6})\.parquet")
_AT_ONCE = 256  # rows in memory while shards are read


@dataclass(frozen=True)
class Shards:
    """The shards in a folder.

    Attributes:
        folder: where they are.
        text_ids: whether their column `image_id` is text, not numbers.
        masks: whether their regions have masks.
    """

    folder: Path
    text_ids: bool = False
    masks: bool = False

    def path(self, number: int) -> Path:
        """Where a shard is, or will be."""
        return self.folder / f"part-{number:06d}.parquet"

    def finished(self) -> list[int]:
        """Numbers of the shards that are there, sorted; none before the folder is made."""
        if not self.folder.is_dir():
            return []
        found = (_NAME.fullmatch(path.name) for path in self.folder.iterdir())
        return sorted(int(one[1]) for one in found if one)

    def tidy(self) -> None:
        """Remove what a killed writer left. Only while nobody writes."""
        for path in self.folder.glob(".tmp-*"):
            remove(path)

    def write(self, number: int, rows: Sequence[Row]) -> None:
        """Write a shard.

        Raises:
            DataError: it cannot be written, as on a full disk. Nothing of it stays.
        """
        table = arrow().Table.from_pylist(list(rows), schema=schema(self.text_ids, self.masks))
        with written(self.path(number)), whole(self.path(number)) as temporary:
            arrow("parquet").write_table(table, temporary, compression="zstd")

    def rows(self, columns: Sequence[str] | None = None) -> Iterator[Row]:
        """The rows of all shards, in order.

        Raises:
            DataError: a shard is none of ours.
        """
        for number in self.finished():
            path = self.path(number)
            try:
                with arrow("parquet").ParquetFile(path) as file:
                    for batch in file.iter_batches(_AT_ONCE, columns=columns):
                        yield from batch.to_pylist()
            except (OSError, ValueError) as exc:
                raise DataError(f"{path} cannot be read: {exc}. Remove it, and run the job again.") from exc

    def counts(self) -> tuple[int, int]:
        """Rows that are there, and how many of them are errors."""
        done = failed = 0
        for row in self.rows(["error"]):
            done += 1
            failed += row["error"] is not None
        return done, failed


@contextmanager
def written(path: Path) -> Iterator[None]:
    """Around what writes a file or a folder.

    Raises:
        DataError: it could not be written.
    """
    try:
        yield
    except OSError as exc:
        why = os.strerror(exc.errno) if exc.errno else first_line(exc)
        where = exc.filename or path
        raise DataError(
            f"{where} cannot be written: {why}. What is finished stays: the same command goes on when it can be."
        ) from exc


def schema(text_ids: bool = False, masks: bool = False) -> Any:
    """The columns of a shard."""
    pa = arrow()
    text, number = pa.string(), pa.int64()
    box = pa.list_(pa.float64(), 4)
    region = [("phrase", text), ("id", text), ("label", text), ("score", pa.float64()), ("box", box)]
    region += [("mask", text)] * masks
    columns = [("index", number), ("picture", text), ("image_id", text if text_ids else number), ("image", text)]
    columns += [("width", pa.int32()), ("height", pa.int32()), ("question", text), ("text", text), ("value", number)]
    return pa.schema([*columns, ("regions", pa.list_(pa.struct(region))), ("result", text), ("error", text)])
