"""A cluster of Ray leaves this process its output, its signals and its environment; of a pretended Ray."""

from __future__ import annotations

import os
import threading
from types import SimpleNamespace
from typing import Any

import pytest

from fo1agent.errors import InputError
from fo1agent.integrations.cluster import LOCAL, connected


def pretended(begins: Any) -> Any:
    """As much of Ray as is connected to; `ended` counts how often it was left."""
    ray = SimpleNamespace(is_initialized=lambda: False, init=lambda *args, **options: begins(), ended=0)

    def shutdown() -> None:
        ray.ended += 1

    ray.shutdown = shutdown
    return ray


def test_what_threads_of_ray_print_is_not_among_our_output(capsys: pytest.CaptureFixture[str]) -> None:
    with connected(ray := pretended(lambda: None), LOCAL) as begun:
        for name in ("ray_listen_error_messages", "another"):
            thread = threading.Thread(target=print, args=(name,), name=name)
            thread.start()
            thread.join()
        print("ours")
    assert capsys.readouterr().out == "another\nours\n"
    assert (begun, ray.ended) == (True, 1)


def test_a_cluster_that_was_joined_is_only_left() -> None:
    with connected(ray := pretended(lambda: None), "auto") as begun:
        assert not begun
    assert ray.ended == 1
    ray.is_initialized = lambda: True
    with connected(ray, LOCAL) as begun:
        assert not begun
    assert ray.ended == 1  # whoever has connected leaves


def test_where_there_is_no_ray_that_is_told_in_one_line() -> None:
    def fails() -> None:
        raise ConnectionError("Could not find any running Ray instance. Please specify one.")

    says = r"^There is no Ray at auto: Could not find any running Ray instance\.$"
    with pytest.raises(InputError, match=says), connected(pretended(fails), "auto"):
        pass


def test_ray_is_told_of_our_signals_for_as_long_as_it_is_imported() -> None:
    from fo1agent.integrations.cluster import _OWN_SIGNALS, _said_before  # pyright: ignore[reportPrivateUsage]

    before = dict(os.environ)
    with _said_before({**_OWN_SIGNALS, "PATH": "nowhere"}):
        assert all(os.environ[name] == value for name, value in _OWN_SIGNALS.items())
        assert os.environ["PATH"] == before["PATH"]  # what somebody has set stays
    assert dict(os.environ) == before
