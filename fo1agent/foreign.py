"""Text that somebody else wrote, made fit to be looked at: what steers a terminal, or makes text look like what it is
not, is spelled out instead.

A chat model, an endpoint, a picture, a label, a trace and a file's name may all hold such characters: an escape
sequence that rewrites the screen or its title, a backspace that hides a word, an override of the writing direction that
turns `gpj.exe` around, a letter without a width.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, redirect_stdout, suppress

# Control characters but for newline and tab, format characters, line and paragraph separators, halves of characters.
# Of the format characters these stay: the joiners, without which emoji and Persian fall apart, and the visible signs
# that stand before numbers and words in Arabic, Syriac and Kaithi.
_UNFIT = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ud800-\udfff\ufeff"
    "\ufff9-\ufffb\U00013430-\U0001343f\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e007f]"
)


def visible(text: str) -> str:
    """The text with every such character spelled as in Python, `\\x1b` or `\\u202e`; newlines and tabs stay."""
    return _UNFIT.sub(_spelled, text)


def visible_json(text: str) -> str:
    """JSON text that means the same, with every such character as JSON escapes it, `\\u001b`."""
    return _UNFIT.sub(_escaped, text)


def one_line(text: str, most: int) -> str:
    """The text on one line of at most `most` characters, with every such character spelled out, for a message."""
    return " ".join(visible(text[:most]).split())[:most]


@contextmanager
def stdout_to_stderr() -> Iterator[None]:
    """Meanwhile what others' code prints goes to stderr, also past Python: it is no result, and must not stand among
    the messages of a protocol."""
    with redirect_stdout(sys.stderr), ExitStack() as after:
        with suppress(OSError):  # one of the two is closed
            kept = os.dup(1)
            after.callback(os.close, kept)
            os.dup2(2, 1)
            after.callback(os.dup2, kept, 1)
        yield


def log_to_stderr() -> None:
    """Have log records from INFO on printed on stderr, their messages alone, unless that is settled already."""
    import logging

    class Visible(logging.Formatter):
        def format(self, record: logging.LogRecord) -> str:
            return visible(super().format(record))

    handler = logging.StreamHandler()
    handler.setFormatter(Visible("%(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[handler])


def _spelled(match: re.Match[str]) -> str:
    code = ord(match[0])
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _escaped(match: re.Match[str]) -> str:
    code = ord(match[0])
    if code < 0x10000:
        return f"\\u{code:04x}"
    high, low = divmod(code - 0x10000, 0x400)
    return f"\\u{0xD800 + high:04x}\\u{0xDC00 + low:04x}"
