"""Shared by all tests: no network, few threads, and where the measuring data is."""

from __future__ import annotations

import os

# Before anything imports transformers: nothing in the suite may reach for a hub.
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TRANSFORMERS_OFFLINE", "1")
os.environ.setdefault("YOLO_AUTOINSTALL", "false")
# More threads than this only get in each other's way on the small tensors of the tests, and beside other workers.
os.environ.setdefault("OMP_NUM_THREADS", "2")
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ["OMP_NUM_THREADS"] = "1"

from pathlib import Path

import pytest

REPO = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def repo() -> Path:
    """The checkout's root folder."""
    return REPO


@pytest.fixture(scope="session")
def shared_dir() -> Path:
    """The folder of measuring data that lies beside the checkout; it may not be redistributed, so it can be absent."""
    folder = Path(os.environ.get("FO1AGENT_SHARED", REPO.parent / "shared"))
    if not folder.is_dir():
        pytest.skip(f"no measuring data at {folder}; set FO1AGENT_SHARED to its folder")
    return folder
