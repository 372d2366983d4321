"""What holds for the pages together: llms.txt and mkdocs.yml have each of them, SKILL.md each tool, and blocks run.

`make docs` checks the links and anchors; the blocks of most pages have a test file of their own.
"""

from __future__ import annotations

import ast
import contextlib
import io
import json
import re
import runpy
import shutil
import tomllib
from pathlib import Path
from typing import Any

import pytest

import fo1agent
from fo1agent.agent import Plan
from fo1agent.agent.asking import with_asking
from fo1agent.pictures.image import ImageLimits
from fo1agent.tools.registry import GROUP, registry

ROOT = Path(__file__).resolve().parents[2]
SKILL = (ROOT / "SKILL.md").read_text(encoding="utf-8")
PAGES = sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "docs").rglob("*.md"))


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The bundled photographs, where the blocks run."""
    for photo in (ROOT / "fo1agent" / "data" / "demo").glob("*.jpg"):
        shutil.copy(photo, tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_llms_txt_has_every_page_and_no_link_that_leads_nowhere() -> None:
    title, summary, *lines = [line for line in (ROOT / "llms.txt").read_text(encoding="utf-8").splitlines() if line]
    assert (title, summary[:2]) == ("# fo1agent", "> ")
    listed = [re.fullmatch(r"- \[[^\]]+\]\(([^)]+)\): \S.*", line) for line in lines if line.startswith("- ")]
    links = [match[1] for match in listed if match]
    assert len(links) == len(listed) == len(set(links))
    assert [link for link in links if not (ROOT / link).is_file()] == []
    assert [page for page in PAGES if page not in links] == []


def test_the_site_gathers_what_llms_txt_names(tmp_path: Path) -> None:
    gathering = runpy.run_path(str(ROOT / "docs" / "gather.py"))
    gathering["gather"](tmp_path / "docs")
    site = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    links = re.findall(r"\]\(([^)]+)\)", (ROOT / "llms.txt").read_text(encoding="utf-8"))
    for place in {gathering["_place"](link) for link in links}:
        assert (tmp_path / "docs" / place).is_file()
        assert re.search(rf": {re.escape(place)}$", site, re.MULTILINE), f"mkdocs.yml does not name {place}"
    agents = (tmp_path / "docs" / "builders.md").read_text(encoding="utf-8")
    assert "(source/examples/langchain_agent.py.md)" in agents
    assert "create_visual_agent" in (tmp_path / "docs/source/examples/langchain_agent.py.md").read_text("utf-8")


def test_the_skill_has_a_name_a_description_and_each_tool() -> None:
    head = re.match(r"---\nname: fo1agent\ndescription: (\S[^\n]{40,})\n---\n# ", SKILL)
    assert head
    told = re.findall(r"^\| `(\w+)` \|", SKILL, re.MULTILINE)
    assert len(told) == len(set(told))
    assert set(told) == {name for name, tool in with_asking(registry()).items() if tool.ours or name == "ask"}


def test_a_package_publishes_its_tools_where_they_are_looked_for() -> None:
    (block,) = blocks((ROOT / "docs" / "builders.md").read_text(encoding="utf-8"), "toml")
    assert list(tomllib.loads(block)["project"]["entry-points"]) == [GROUP]


def test_links_of_the_skill_lead_somewhere() -> None:
    targets = re.findall(r"\]\((?!https?:)([^)#]+)", SKILL)
    assert len(targets) == 3
    assert [target for target in targets if not (ROOT / target).is_file()] == []


def test_the_skills_calls_give_what_it_says(folder: Path) -> None:
    pytest.importorskip("mcp", reason="the extra mcp is not installed")
    import anyio
    from mcp import Client

    from fo1agent.integrations.mcp import make_server

    said = [json.loads(block) for block in blocks(SKILL, "json")]
    given: list[dict[str, Any]] = []

    async def run() -> None:
        server = make_server(fo1agent.load, ImageLimits(folders=(folder,), hosts=()))
        async with Client(server) as client:
            for call in said[::2]:
                result = await client.call_tool(call["name"], call["arguments"])
                given.append(result.structured_content or {})

    anyio.run(run)
    assert len(given) == 2
    assert [{key: one.get(key) for key in shown} for one, shown in zip(given, said[1::2], strict=True)] == said[1::2]


def test_the_skills_python_prints_what_it_says(folder: Path) -> None:
    (code,), (expected,) = blocks(SKILL, "python"), blocks(SKILL, "text")
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        exec(compile(code, "SKILL.md", "exec"), {})
    assert printed.getvalue() == expected


def test_the_planner_of_ones_own_plans_as_the_page_of_agents_says(folder: Path) -> None:
    page = (ROOT / "docs" / "agents.md").read_text(encoding="utf-8").partition("## A planner of your own")[2]
    names: dict[str, Any] = {"fo": fo1agent, "model": fo1agent.load()}
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        exec(compile(blocks(page, "python")[0], "docs/agents.md", "exec"), names)
    assert printed.getvalue() == blocks(page, "text")[0]
    asked = names["Counter"]().plan("Is there a cat?")
    assert fo1agent.Agent(names["model"], planner=names["Counter"]()).ask("cat.jpg", "Why?").text == (
        f"{asked.reason}. Closest I can answer: “{asked.suggestion}”"
    )


def test_the_step_that_the_page_for_builders_shows_stands_in_a_plan() -> None:
    (shown,) = re.findall(r'`(\{"op": "tool".*?)`', (ROOT / "docs" / "builders.md").read_text(encoding="utf-8"))
    find, answer = {"op": "find", "id": "s1", "phrase": "cat"}, {"op": "answer", "id": "s3", "of": ["s2"]}
    plan = Plan.parse({"question": "How wide?", "steps": [find, json.loads(shown), answer]})
    assert (plan.steps[1].gives, dict(plan.steps[1].inputs())) == ("number", {"s1": ("regions",)})


def test_what_the_page_of_traces_writes_is_read_run_again_and_the_same(folder: Path) -> None:
    saving, comparing = blocks((ROOT / "docs" / "traces.md").read_text(encoding="utf-8"), "python")
    names: dict[str, Any] = {}
    exec(compile(saving, "docs/traces.md", "exec"), names)
    names["agent"].ask("cat.jpg", "How many cats are there?")
    (written,) = Path("traces").iterdir()
    written.rename("run.jsonl")
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        exec(compile(comparing, "docs/traces.md", "exec"), names)
    assert printed.getvalue().startswith("There is 1 cat. ")
    assert printed.getvalue().endswith("True\n")


def test_the_tower_of_ones_own_is_built_and_kept_as_the_page_of_towers_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    page = (ROOT / "docs" / "towers.md").read_text(encoding="utf-8")
    (code,), (expected,) = blocks(page, "python"), blocks(page, "text")
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        exec(compile(code, "docs/towers.md", "exec"), {})
    assert printed.getvalue() == expected


@pytest.mark.parametrize("page", [*PAGES, "README.md", "SKILL.md"])
def test_what_python_blocks_import_is_there(page: str) -> None:
    for block in blocks((ROOT / page).read_text(encoding="utf-8"), "(?:python|py)"):
        imports = [
            ast.unparse(node) for node in ast.parse(block).body if isinstance(node, (ast.Import, ast.ImportFrom))
        ]
        exec("\n".join(line for line in imports if "fo1agent" in line), {})
