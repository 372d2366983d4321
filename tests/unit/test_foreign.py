"""Text of others made fit to be looked at: each character that steers or hides is spelled out, and no other changes."""

from __future__ import annotations

import ast
import json
import logging
import sys
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import fo1agent
from fo1agent.foreign import log_to_stderr, visible, visible_json
from tests.hostile import EVIL, steering

# Format characters that stay: the two joiners, and signs that can be seen.
KEPT = {0x200C, 0x200D, *range(0x600, 0x606), 0x6DD, 0x70F, 0x890, 0x891, 0x8E2, 0x110BD, 0x110CD}


def test_of_all_characters_those_that_steer_or_hide_are_spelled_and_no_other() -> None:
    wrong = []
    for code in range(sys.maxunicode + 1):
        one = chr(code)
        category = unicodedata.category(one)
        unfit = category in ("Cc", "Cf", "Cs", "Zl", "Zp") and one not in "\n\t" and code not in KEPT
        # Places among format characters that have none yet may be spelled or not.
        if category != "Cn" and (visible(one) != one) is not unfit:
            wrong.append(hex(code))
    assert wrong == []


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[31mred\x1b[0m", "\\x1b[31mred\\x1b[0m"),
        ("\x1b]0;title\x07", "\\x1b]0;title\\x07"),
        ("a\x9b2Jb\x7f", "a\\x9b2Jb\\x7f"),
        ("photo\u202egpj.exe", "photo\\u202egpj.exe"),
        ("over\rwritten\b", "over\\x0dwritten\\x08"),
        ("\U000e0041\ud800", "\\U000e0041\\ud800"),
        ("two\nlines\tand a tab", "two\nlines\tand a tab"),
        ("naïve 犬 שלום 👩\u200d🔬 می\u200cخواهم", "naïve 犬 שלום 👩\u200d🔬 می\u200cخواهم"),
    ],
)
def test_what_it_looks_like(text: str, shown: str) -> None:
    assert visible(text) == shown
    assert visible(shown) == shown


@given(st.text() | st.lists(st.text(alphabet=EVIL + '"\\a\n')))
def test_json_means_the_same_and_steers_nothing(value: str | list[str]) -> None:
    text = visible_json(json.dumps(value, ensure_ascii=False))
    assert json.loads(text) == value
    assert steering(text) == []


def test_log_records_are_printed_so_too(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    root = logging.getLogger()
    monkeypatch.setattr(root, "handlers", [])
    monkeypatch.setattr(root, "level", root.level)
    log_to_stderr()
    logging.getLogger("fo1agent.some").info("read %s", EVIL)
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("read \\x1b]0;owned\\x07")
    assert steering(printed.err) == []


# ---- one place to print ----

PACKAGE = Path(fo1agent.__file__).parent
PRINTING = {"echo", "echo_via_pager", "secho", "style", "prompt", "confirm", "progressbar", "pause"}
LOOKING = ("sys.stdout.isatty", "sys.stderr.isatty", "sys.stdin.isatty", "sys.stderr.flush")
# The console itself; log records of training; bars of rich, of which all that is written is ours: names of stages,
# numbers and times; and what keeps the standard output from threads of Ray.
MAY_PRINT = {"cli/console.py", "foreign.py", "evaluate/progress.py", "trainers/progress.py", "integrations/cluster.py"}


def modules() -> dict[str, Path]:
    """Name → file of every module, those in the folders that are linked to included."""
    found: dict[str, Path] = {}
    for folder in (PACKAGE, *(one for one in PACKAGE.iterdir() if one.is_symlink())):
        target, prefix = folder.resolve(), "" if folder == PACKAGE else f"{folder.name}/"
        found |= {f"{prefix}{path.relative_to(target).as_posix()}": path for path in target.rglob("*.py")}
    return found


def printed_in(path: Path) -> list[str]:
    """The places of a module that print, or take hold of a stream that is printed to."""
    nodes = list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
    looked_at = {id(node.value) for node in nodes if isinstance(node, ast.Attribute) and ast.unparse(node) in LOOKING}
    found = []
    for node in nodes:
        named = ast.unparse(node) if isinstance(node, (ast.Name, ast.Attribute)) else ""
        owner, _, name = named.rpartition(".")
        imported = [one.name for one in node.names] if isinstance(node, (ast.Import, ast.ImportFrom)) else []
        origin = (node.module or "") if isinstance(node, ast.ImportFrom) else ""
        if (
            named in ("print", "logging.lastResort", "logging.basicConfig", "logging.StreamHandler")
            or (named.startswith("sys.std") and named != "sys.stdin" and named.count(".") == 1)
            or (owner == "click" and name in PRINTING)
            or origin == "click"
            or (origin or "".join(imported[:1])).partition(".")[0] in ("rich", "tqdm")
        ) and id(node) not in looked_at:
            found.append(f"{getattr(node, 'lineno', 0)}: {ast.unparse(node)}")
    return found


def test_everything_that_is_printed_is_printed_by_the_console() -> None:
    known = modules()
    some = {"cli/command.py", "planners/conversation.py", "tools/base.py", "trainers/nano.py", "prompts/reply.py"}
    assert some <= set(known)
    assert {name for name, path in known.items() if printed_in(path)} - MAY_PRINT - {"cli/command.py"} == set()
    # A picture may come in by stdin.
    assert [one for one in printed_in(known["cli/command.py"]) if "stdin" not in one] == []


@pytest.mark.parametrize(
    "line",
    [
        "print('x')",
        "click.echo('x')",
        "from click import echo",
        "sys.stderr.write('x')",
        "from rich.console import Console",
        "import tqdm",
        "show = print",
        "logging.basicConfig()",
        "file = sys.stdout",
    ],
)
def test_the_search_finds_what_prints(line: str, tmp_path: Path) -> None:
    module = tmp_path / "module.py"
    module.write_text(f"import sys\n\n{line}\n")
    assert printed_in(module)
