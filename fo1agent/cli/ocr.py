"""The options by which a command chooses who reads text."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from fo1agent.pictures.ocr import OCR


def ocr_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options of every command that reads: `ocr_lang` and `ocr_set`, for `reader`."""
    for option in (
        click.option(
            "--ocr-set",
            multiple=True,
            metavar="NAME=VALUE",
            help="A setting of RapidOCR, e.g. Rec.model_path=mine.onnx. Repeatable.",
        ),
        click.option(
            "--ocr-lang",
            envvar="FO1AGENT_OCR_LANG",
            metavar="LANG",
            help="The language of the text: ru, ko, de, …; without it, Chinese, Japanese and Latin script.",
        ),
    ):
        command = option(command)
    return command


def reader(ocr_lang: str | None, ocr_set: Sequence[str]) -> OCR | None:
    """The reader that was asked for; None for the usual one."""
    if not ocr_lang and not ocr_set:
        return None
    import yaml

    from fo1agent.pictures.ocr import OCR

    settings = {}
    for one in ocr_set:
        name, equals, value = one.partition("=")
        if not equals:
            raise click.UsageError(f"--ocr-set {one!r}: write NAME=VALUE, such as Det.box_thresh=0.4.")
        try:
            settings[name.strip()] = yaml.safe_load(value)  # a number, a word, a list, as RapidOCR's own file has them
        except (yaml.YAMLError, ValueError, RecursionError) as exc:
            raise click.UsageError(f"--ocr-set {one[:60]!r}: {' '.join(str(exc).split())}") from exc
    return OCR(ocr_lang or None, settings)
