"""The pages for builders are true: their blocks run as they are written, and print what they say.

Python runs in fresh processes that see the installed package and a folder with the pictures, nothing else of ours.
Where a block talks to a provider, that is one on 127.0.0.1 that plays a scripted model. The same blocks are run in new
environments by tests/conformance/five_minutes.sh.
"""

from __future__ import annotations

import json
import re
import shutil
import sys
import tomllib
from pathlib import Path

import pytest
from click.testing import CliRunner

from fo1agent.cli import main
from tests.builder_blocks import PAGES, Section, fill, listed_tools, run_commands, run_python, sections
from tests.scripted_provider import COUNTS_REMOTES, Provider

# The README's blocks run in test_readme.py.
SECTIONS = [section for page in PAGES if page != "README.md" for section in sections(page)]
OF_ANOTHER_SDK = {"OpenAI": "openai", "Anthropic": "anthropic", "smolagents": "smolagents"}


def named(title: str) -> Section:
    (section,) = (section for section in SECTIONS if section.title == title)
    return section


@pytest.mark.parametrize("section", [one for one in SECTIONS if one.code], ids=lambda section: section.name)
def test_python_prints_what_the_page_says(section: Section, tmp_path: Path) -> None:
    if section.title in OF_ANOTHER_SDK:
        pytest.importorskip(OF_ANOTHER_SDK[section.title], reason=f"the SDK of {section.title} is not installed")
    fill(tmp_path)
    with Provider(COUNTS_REMOTES).serving() as provider:
        printed = run_python(section, sys.executable, tmp_path, provider.environment())
    assert printed == section.printed
    assert bool(provider.requests) == (section.title in OF_ANOTHER_SDK)


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_the_commands_of_the_http_section_answer(tmp_path: Path) -> None:
    pytest.importorskip("fastapi", reason="the extra serve is not installed")
    fill(tmp_path)
    opened, asked = (json.loads(printed) for printed in run_commands(named("HTTP"), sys.executable, tmp_path))
    assert opened.get("image") == "img_e124d968", opened
    assert asked.get("answer", {}).get("value") == 2, asked


def test_the_configuration_is_the_one_of_the_examples_and_starts_a_server(repo: Path, tmp_path: Path) -> None:
    pytest.importorskip("mcp", reason="the extra mcp is not installed")
    example = json.loads((repo / "examples" / "mcp_host.json").read_text(encoding="utf-8"))
    assert list(named("MCP").servers) == [example["mcpServers"]["fo1agent"]]
    (tools,) = listed_tools(named("MCP"), sys.executable, tmp_path)
    assert {"look", "ground", "count", "read"} <= set(tools)


def test_what_the_pages_install_can_be_installed(repo: Path) -> None:
    extras = tomllib.loads((repo / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    words = [word for section in SECTIONS for install in section.installs for word in install]
    assert {word for word in words if not word.startswith(".")} == {"openai", "anthropic", "smolagents[openai]"}
    assert {extra for word in words for extra in re.findall(r"^\.\[(.+)\]", word)} == {"mcp", "serve"} & set(extras)


def test_links_of_the_builders_pages_lead_somewhere(repo: Path) -> None:
    names = ("builders", "langchain", "mcp", "tool-schemas", "security")
    for page in (*(f"docs/{name}.md" for name in names), "examples/README.md"):
        file = repo / page
        text = file.read_text(encoding="utf-8")
        targets = re.findall(r"\]\((?!https?:)([^)\s]+)\)", text)
        assert targets
        for target in targets:
            name, _, anchor = target.partition("#")
            other = (file.parent / name).resolve() if name else file
            assert other.exists(), f"{page}: {target}"
            if anchor:
                assert anchor in anchors(other.read_text(encoding="utf-8")), f"{page}: {target}"


def anchors(text: str) -> set[str]:
    """The addresses of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_every_command_of_the_schemas_page_runs() -> None:
    (page,) = (section for section in SECTIONS if section.page == "docs/tool-schemas.md" and section.commands)
    assert len(page.commands) == 4
    for command in page.commands:
        assert CliRunner().invoke(main, command.split()[1:]).exit_code == 0
