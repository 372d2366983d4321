"""The blocks of the pages for builders, run as they are written, in fresh processes and a folder with the pictures.

By section: its `python` blocks run together, and the `text` block right after one is what it prints; `$ fo1agent` and
`$ curl` lines of `console` blocks run one after the other; of a `json` block, which configures an MCP host, the server
is started. What a section needs besides fo1agent, its `$ pip install` line says. Python's own library only: the
five-minute test runs this outside of any environment of ours.

`python -m tests.builder_blocks WHEEL` is that test: a new environment with the wheel and what a section names, then its
blocks; how many minutes each took. See tests/conformance/five_minutes.sh.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

REPO = Path(__file__).resolve().parents[1]
PAGES = ("README.md", "docs/builders.md", "docs/langchain.md", "docs/tool-schemas.md")
WHOLE = ("README.md", "docs/langchain.md")
"""Pages whose blocks build on each other throughout, and not only within their section."""
ADDRESS = "http://127.0.0.1:8080"
"""Where a server listens that is told nothing else. Here it takes any free port, and commands are led there."""

_SERVER_OPTIONS = (
    "--port",
    "0",
    "--deadline",
    "600",
    "--max-wait",
    "600",
)  # any free port, and time where the machine is busy
_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_LIST_TOOLS = """
import json, sys
import anyio
from mcp import Client, StdioServerParameters
from mcp.client.stdio import stdio_client

async def main():
    async with Client(stdio_client(StdioServerParameters(**json.loads(sys.argv[1])))) as client:
        print(*(tool.name for tool in (await client.list_tools()).tools))

anyio.run(main)
"""


@dataclass(frozen=True)
class Section:
    """What is run together.

    Attributes:
        page: the file, from the repository's root.
        title: the heading; "" for a whole page, or for what stands before the first heading.
        installs: the words of each `pip install`.
        code: the Python of its blocks, one after the other; "" if it has none.
        printed: all that they print.
        commands: `fo1agent` and `curl` lines; one that ends in & is a server.
        servers: MCP servers that a host is told to start, as `command` and `args`.
    """

    page: str
    title: str
    installs: tuple[tuple[str, ...], ...]
    code: str
    printed: str
    commands: tuple[str, ...]
    servers: tuple[dict[str, Any], ...]

    @property
    def name(self) -> str:
        """For people: "builders.md: LangChain"."""
        return f"{Path(self.page).name}: {self.title}".removesuffix(": ")


def sections(page: str) -> list[Section]:
    """The sections of a page that hold something to run; a page of `WHOLE` is one."""
    text = (REPO / page).read_text(encoding="utf-8")
    parts = [text] if page in WHOLE else re.split(r"^(?=## )", text, flags=re.MULTILINE)
    found = [_section(page, part) for part in parts]
    return [section for section in found if section.code or section.commands or section.servers]


def _section(page: str, part: str) -> Section:
    heading = re.match(r"## (.*)", part)
    fences = [(match[1], match[2]) for match in _FENCE.finditer(part)]
    python = [(content, fences[k + 1 : k + 2]) for k, (language, content) in enumerate(fences) if language == "python"]
    lines = re.findall(r"^\$ (.*?)(?:  +#.*)?$", "\n".join(c for kind, c in fences if kind == "console"), re.MULTILINE)
    configured = [json.loads(content) for language, content in fences if language == "json"]
    return Section(
        page,
        heading[1] if heading else "",
        tuple(tuple(shlex.split(line)[2:]) for line in lines if line.startswith("pip install ")),
        "\n".join(content for content, _ in python),
        "".join(after[0][1] for _, after in python if after and after[0][0] == "text"),
        tuple(line for line in lines if line.split()[0] in ("fo1agent", "curl")),
        tuple(entry for one in configured for group in one.values() for entry in group.values() if "command" in entry),
    )


def fill(folder: Path) -> None:
    """Put the photographs of the pages into a folder."""
    for photo in (REPO / "fo1agent" / "data" / "demo").glob("*.jpg"):
        shutil.copy(photo, folder)


def run_python(section: Section, python: str, folder: Path, environment: Mapping[str, str] | None = None) -> str:
    """What the section's Python prints, run by an interpreter that sees nothing of the folder or the checkout."""
    script = folder / "block.py"
    script.write_text(section.code, encoding="utf-8")
    return _run([python, "-I", str(script)], python, folder, environment)


def run_commands(section: Section, python: str, folder: Path) -> list[str]:
    """What each of the section's commands prints on stdout, servers aside, with the commands of that Python."""
    printed, address = [], ADDRESS
    servers: list[subprocess.Popen[str]] = []
    try:
        for command in section.commands:
            words = shlex.split(command.removesuffix("&").replace(ADDRESS, address))
            if not command.endswith("&"):
                printed.append(_run(words, python, folder))
                continue
            words[0] = str(Path(python).with_name(words[0]))
            environment = _environment(python)
            servers.append(
                subprocess.Popen(
                    [*words, *_SERVER_OPTIONS], cwd=folder, env=environment, stderr=subprocess.PIPE, text=True
                )
            )
            stderr = servers[-1].stderr
            assert stderr is not None
            said = [stderr.readline(), stderr.readline()]
            listening = re.fullmatch(r"Listening on (http://\S+)\n", said[1])
            if not listening:
                raise RuntimeError(f"{command} said: {''.join(said)}{stderr.read()}")
            address = listening[1]
    finally:
        for server in servers:
            server.kill()
            server.communicate()
    return printed


def listed_tools(section: Section, python: str, folder: Path) -> list[list[str]]:
    """The tools of each MCP server of the section, as a host sees them whose home is the folder."""
    (folder / "Pictures").mkdir()
    told = []
    for server in section.servers:
        path = _environment(python)["PATH"]
        asked = {"command": server["command"], "args": server["args"], "env": {"HOME": str(folder), "PATH": path}}
        told.append(_run([python, "-I", "-c", _LIST_TOOLS, json.dumps(asked)], python, folder).split())
    return told


def _environment(python: str, more: Mapping[str, str] | None = None) -> dict[str, str]:
    path = f"{Path(python).parent}{os.pathsep}{os.environ['PATH']}"
    return {**os.environ, "PATH": path, **(more or {})}


def _run(words: list[str], python: str, folder: Path, environment: Mapping[str, str] | None = None) -> str:
    """What a command prints.

    Raises:
        RuntimeError: it failed; with what it wrote to stderr.
    """
    given = _environment(python, environment)
    words = [shutil.which(words[0], path=given["PATH"]) or words[0], *words[1:]]
    done = subprocess.run(words, cwd=folder, env=given, capture_output=True, text=True, timeout=600)
    if done.returncode:
        raise RuntimeError(f"{shlex.join(words)} failed:\n{done.stderr}")
    return done.stdout


# ---- the five-minute test ----


def _five_minutes(wheel: Path) -> bool:
    """Whether all sections run; tells of each as it goes. Sections that install the same share an environment."""
    groups: dict[tuple[tuple[str, ...], ...], list[Section]] = {}
    for section in (one for page in PAGES for one in sections(page)):
        groups.setdefault(section.installs or ((".",),), []).append(section)
    good = True
    for installs, group in groups.items():
        with tempfile.TemporaryDirectory() as made:
            began = time.monotonic()
            python = _new_environment(installs, wheel, Path(made) / "venv")
            print(f"{_minutes(began)}  {'; '.join(map(shlex.join, installs))}: installed", flush=True)
            for number, section in enumerate(group):
                began = time.monotonic()
                folder = Path(made) / str(number)
                folder.mkdir()
                try:
                    problem = _wrong(section, python, folder)
                except (RuntimeError, subprocess.SubprocessError) as exc:
                    problem = f"FAILS: {exc}"
                good = good and not problem
                print(f"{_minutes(began)}  {section.name}: {problem or 'as written'}", flush=True)
    return good


def _minutes(began: float) -> str:
    return f"{(time.monotonic() - began) / 60:5.1f} min"


def _new_environment(installs: tuple[tuple[str, ...], ...], wheel: Path, folder: Path) -> str:
    """The Python of a new environment with the wheel, where a page says ".", and what else it names."""
    venv.create(folder, with_pip=True)
    python = str(folder / ("Scripts" if os.name == "nt" else "bin") / "python")
    pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    pip += shlex.split(os.environ.get("PIP_ARGS", ""))
    for words in installs:
        subprocess.run([*pip, *(re.sub(r"^\.(?=\[|$)", str(wheel), word) for word in words)], check=True)
    return python


def _wrong(section: Section, python: str, folder: Path) -> str:
    """What is wrong with a section, "" if nothing is."""
    from tests.scripted_provider import COUNTS_REMOTES, Provider

    fill(folder)
    run_commands(section, python, folder)
    if section.servers and not all("ground" in tools for tools in listed_tools(section, python, folder)):
        return "A SERVER LACKS OUR TOOLS"
    if section.code:
        with Provider(COUNTS_REMOTES).serving() as provider:
            printed = run_python(section, python, folder, provider.environment())
        if printed != section.printed:
            return f"PRINTS SOMETHING ELSE: {printed}"
    return ""


if __name__ == "__main__":
    sys.exit(0 if _five_minutes(Path(sys.argv[1]).resolve()) else 1)
