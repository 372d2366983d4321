"""What a finetuned model says of itself: its README, a model card, and `finetune.json`, the same for programs."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

FIGURES = ("AP", "AP50", "recall@100")


def write(folder: Path, start: str, record: Mapping[str, Any]) -> None:
    """Write both files into a model's folder.

    Args:
        folder: of the model.
        start: name of the model that it was made from.
        record: of `FinetuneReport.to_dict`.
    """
    (folder / "finetune.json").write_text(
        json.dumps({"model": start, **record}, ensure_ascii=False, indent=2), encoding="utf-8"
    )
    (folder / "README.md").write_text(_card(folder.name, start, record), encoding="utf-8")


def _card(name: str, start: str, record: Mapping[str, Any]) -> str:
    lines = [
        "# Model card",
        "",
        f"Made from {start} by `fo1agent finetune`: {record['steps']} steps of {record['pictures_a_step']} pictures.",
        "What was taught stands beside the model (`lessons` in config.json); no other number of it was changed.",
        "",
        f"New names: {', '.join(record['new_names']) or 'none'}.",
        f"Names that it had and was taught again: {', '.join(record['taught_again']) or 'none'}.",
        "",
        f"## What was taught, on {record['after']['images']} held-out pictures",
        "",
        *_table("| | before | after |", [(f, record["before"][f], record["after"][f]) for f in FIGURES]),
        *_rows((f"AP of {word}", row["AP_before"], row["AP_after"]) for word, row in record["names"].items()),
    ]
    former = record["old_names"]["former_answers"]
    lines += [
        "",
        f"## What it knew before, by its own former answers on {former['pictures']} pictures",
        "",
        *_table("| name | found before | found after | the same |", (row.values() for row in former["names"])),
    ]
    check = record["old_names"]["checked_on"]
    if check is not None:
        lines += [
            "",
            f"## The same by labels, on {check['pictures']} pictures of {Path(check['file']).name}",
            "",
            *_table("| name | AP before | AP after |", (row.values() for row in check["names"])),
        ]
    return "\n".join(lines) + "\n"


def _table(head: str, rows: Iterable[Iterable[Any]]) -> list[str]:
    return [head, "| --- " * (head.count("|") - 1) + "|", *_rows(rows)]


def _rows(rows: Iterable[Iterable[Any]]) -> list[str]:
    """Names and counts as they are, percentages with one place."""
    return [
        "".join(f"| {'-' if v is None else f'{v:.1f}' if isinstance(v, float) else v} " for v in row) + "|"
        for row in rows
    ]
