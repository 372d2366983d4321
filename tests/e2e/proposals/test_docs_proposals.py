"""docs/proposals.md and docs/huggingface.md: their Python blocks print what the pages say."""

from __future__ import annotations

import contextlib
import io
import re
from pathlib import Path

import pytest

import fo1agent
from fo1agent.errors import ProposalError

ROOT = Path(__file__).resolve().parents[3]
DEMO = ROOT / "fo1agent" / "data" / "demo"


@pytest.mark.parametrize("name", ["proposals", "huggingface"])
def test_a_page_s_python_prints_what_the_page_says(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    page = (ROOT / "docs" / f"{name}.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```\n```text\n(.*?)^```$", page, re.DOTALL | re.MULTILINE)
    monkeypatch.chdir(DEMO)
    assert len(blocks) == page.count("```python") > 0
    for code, expected in blocks:
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            exec(compile(code, f"{name}.md", "exec"), {})
        assert printed.getvalue().strip() == expected.strip()


def test_a_function_that_gives_something_else_is_told_so() -> None:
    model = fo1agent.load(proposer=lambda image: [[0, 0, 10, 10]])  # pyright: ignore[reportArgumentType]
    with pytest.raises(ProposalError, match=r"gave list; wanted Regions, as .*to_regions"):
        model.open(DEMO / "cat.jpg")
