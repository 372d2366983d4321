"""Hostile inputs end in their typed error: no traceback, no hang. The table is tests/bad_input.py."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from fo1agent.cli import main
from fo1agent.errors import FO1AgentError
from tests.bad_input import COMMANDS, TABLE, Command, Row, Told, World, document

LIMIT_S = 30


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def within_limit(act: Callable[[], object]) -> BaseException | None:
    """What `act` raised. Fails if it is still busy after the limit; then the thread is left behind."""
    raised: list[BaseException | None] = []

    def run() -> None:
        try:
            act()
            raised.append(None)
        except BaseException as exc:
            raised.append(exc)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(LIMIT_S)
    assert raised, f"still busy after {LIMIT_S} s"
    return raised[0]


ROWS = [pytest.param(row, id=f"{title}: {row.what}") for title, rows in TABLE.items() for row in rows]


@pytest.mark.parametrize("row", ROWS)
def test_each_input_ends_in_its_error(row: Row, world: World) -> None:
    error = within_limit(lambda: row.act(world))
    assert type(error) is row.error, repr(error)
    assert isinstance(error, (FO1AgentError, Told))
    message = str(error)
    assert row.says in message
    assert "\n" not in message
    for folder in (world.folder, Path(sys.prefix)):  # where things lie says nothing about how long a message is
        message = message.replace(str(folder), "")
    assert len(message) < 500


@pytest.mark.parametrize("command", COMMANDS, ids=[command.what for command in COMMANDS])
def test_the_command_says_it_in_one_line(command: Command, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fo1agent.loading.load", lambda *_, **__: world.model)
    monkeypatch.chdir(world.folder)
    results = []
    error = within_limit(lambda: results.append(CliRunner().invoke(main, command.arguments(world))))
    assert error is None
    result = results[0]
    assert isinstance(result.exception, SystemExit), repr(result.exception)
    assert result.exit_code == 1
    assert result.stdout == ""
    assert len(result.stderr.strip().splitlines()) == 1
    assert command.says in result.stderr


def test_the_table_is_long_enough_and_has_no_repeats() -> None:
    names = [f"{title}: {row.what}" for title, rows in TABLE.items() for row in rows] + [c.what for c in COMMANDS]
    assert len(names) >= 40
    assert len(set(names)) == len(names)


def test_the_document_is_current(repo: Path) -> None:
    assert (repo / "docs" / "bad-input.md").read_text(encoding="utf-8") == document(), (
        "run: python -m tests.bad_input > docs/bad-input.md"
    )
