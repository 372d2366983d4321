"""The package is laid out as pyproject.toml says, and importing it stays cheap."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

import fo1agent
from fo1agent.cli.doctor import EXTRAS
from fo1agent.errors import MissingExtraError
from fo1agent.extras import TORCH, install_line, torch_line, torch_needed

HEAVY = ("torch", "torchvision", "transformers", "PIL", "pydantic", "numpy", "langchain", "rapidocr", "rich")


@pytest.fixture(scope="module")
def pyproject(repo: Path) -> dict:
    return tomllib.loads((repo / "pyproject.toml").read_text(encoding="utf-8"))


def test_packages_list_equals_the_folders_on_disk(repo: Path, pyproject: dict) -> None:
    setuptools = pyproject["tool"]["setuptools"]
    folders = {name: repo / path for name, path in setuptools["package-dir"].items()}
    found = set()
    for name, root in {"fo1agent": repo / "fo1agent", **folders}.items():
        for init in root.rglob("__init__.py"):
            parts = init.parent.relative_to(root).parts
            if name == "fo1agent" and parts and f"fo1agent.{parts[0]}" in folders:
                continue  # A link to a top-level folder, which is counted there.
            found.add(".".join((name, *parts)))
    assert sorted(setuptools["packages"]) == sorted(found)


@pytest.mark.parametrize("folder", ["tools", "prompts", "trainers"])
def test_top_level_folder_is_linked_into_the_package(repo: Path, folder: str) -> None:
    assert (repo / "fo1agent" / folder).resolve() == repo / folder


@pytest.mark.parametrize("folder", ["tools", "prompts", "trainers"])
def test_top_level_folder_refuses_its_bare_name(repo: Path, folder: str) -> None:
    run = subprocess.run([sys.executable, "-c", f"import {folder}"], cwd=repo, capture_output=True, text=True)
    assert run.returncode == 1
    assert f"fo1agent.{folder}" in run.stderr


def test_version_is_said_once(repo: Path, pyproject: dict) -> None:
    assert fo1agent.__version__ == pyproject["project"]["version"]
    newest = re.search(r"^## \[(\d+\.\d+\.\d+)\]", (repo / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert newest is not None
    assert newest[1] == fo1agent.__version__


def test_every_public_name_can_be_imported() -> None:
    assert sorted(fo1agent.__all__, key=str.lower) == sorted(dir(fo1agent), key=str.lower)
    for name in fo1agent.__all__:
        assert getattr(fo1agent, name) is not None


def test_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'nonsense'"):
        fo1agent.nonsense  # noqa: B018 - the look-up is what is tested


@pytest.mark.parametrize(
    "statement",
    ["import fo1agent", "import sys; sys.argv = ['fo1agent', '--help']; from fo1agent.cli import main; main()"],
    ids=["import", "help"],
)
def test_nothing_heavy_is_imported(statement: str) -> None:
    code = (
        "import sys, contextlib\n"
        f"with contextlib.suppress(SystemExit): exec({statement!r})\n"
        f"print('heavy:', [m for m in {HEAVY!r} if m in sys.modules])\n"
        "print(len(sys.modules))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    *_, heavy, count = run.stdout.splitlines()
    assert heavy == "heavy: []"
    # A start is as long as what it imports: 140 modules with --help, which take 0.15 s.
    assert int(count) < 200


def test_a_question_imports_only_what_it_needs() -> None:
    unneeded = ("asyncio", "langchain_core", "fo1agent.planners.chat", "PIL.IcoImagePlugin", "PIL.PdfImagePlugin")
    code = (
        "import sys\n"
        "from fo1agent import Agent, ImageLimits, load\n"
        "Agent(), ImageLimits()\n"
        f"print([m for m in {unneeded!r} if m in sys.modules])\n"
        "print(ImageLimits(formats=('ICO',)).formats)"  # which is not among those that are read unless it is named
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.splitlines() == ["[]", "('ICO',)"]


@pytest.mark.skipif(shutil.which("make") is None, reason="needs make")
def test_make_without_a_new_enough_python_says_what_to_do(repo: Path, tmp_path: Path) -> None:
    old = tmp_path / "python3"
    old.write_text("#!/bin/sh\nexit 1\n", encoding="utf-8")
    old.chmod(0o755)
    make = shutil.which("make") or ""
    command = [make, f"VENV={tmp_path / 'venv'}", str(tmp_path / "venv" / "created")]
    run = subprocess.run(command, cwd=repo, env={"PATH": str(tmp_path)}, capture_output=True, text=True)
    assert run.returncode == 2
    assert "needs Python 3.11 or newer" in run.stderr
    assert not (tmp_path / "venv").exists()


def test_the_doctor_knows_every_extra_of_a_user(pyproject: dict) -> None:
    assert {name for name, *_ in EXTRAS} == set(pyproject["project"]["optional-dependencies"]) - {"dev", "docs"}


@pytest.mark.parametrize("extra", [name for name, *_ in EXTRAS])
def test_what_installs_an_extra_needs_no_index_that_has_fo1agent(pyproject: dict, extra: str) -> None:
    wanted = {Requirement(line).name for line in pyproject["project"]["optional-dependencies"][extra]}
    start, *packages = shlex.split(install_line(extra).removeprefix("pip "))
    assert start == "install"
    assert {Requirement(line).name for line in packages} == wanted


def test_the_light_list_is_the_dependencies_without_torch(repo: Path, pyproject: dict) -> None:
    lines = (repo / "requirements-light.txt").read_text(encoding="utf-8").splitlines()
    wanted = pyproject["project"]["dependencies"]
    assert {Requirement(line).name for line in wanted} > set(TORCH)
    light = [line for line in wanted if Requirement(line).name not in TORCH]
    assert [line for line in lines if not line.startswith("#")] == light


def test_what_a_light_install_lacks_is_installed_as_pyproject_wants_it(pyproject: dict) -> None:
    start, *packages = shlex.split(torch_line().removeprefix("pip "))
    wanted = [line for line in pyproject["project"]["dependencies"] if Requirement(line).name in TORCH]
    assert (start, list(map(Requirement, packages))) == ("install", list(map(Requirement, wanted)))


def test_the_page_on_installing_has_the_lines_that_the_command_prints(repo: Path) -> None:
    page = (repo / "docs" / "install.md").read_text(encoding="utf-8")
    assert f"$ {install_line('mcp')}\n" in page
    assert f"$ {install_line('serve')}\n" in page
    assert f"error: Engine torch needs torch, which is not installed: {torch_line()}\n" in page


def test_only_what_a_light_install_lacks_is_told_of_as_that() -> None:
    says = "Training needs torch, which is not installed: pip install "
    with pytest.raises(MissingExtraError, match=says), torch_needed("Training"):
        raise ModuleNotFoundError("No module named 'torch.cuda'", name="torch.cuda")
    with pytest.raises(ModuleNotFoundError, match="torchless"), torch_needed("Training"):
        raise ModuleNotFoundError("No module named 'torchless'", name="torchless")


def test_an_extra_that_is_not_known_here_is_installed_from_a_clone() -> None:
    assert install_line("of tomorrow") == 'pip install ".[of tomorrow]" in a clone of fo1agent'


def test_nobody_is_told_to_install_a_package_of_ours_that_is_not_published(repo: Path, pyproject: dict) -> None:
    extras = set(pyproject["project"]["optional-dependencies"])
    folders = ("fo1agent", "tools", "prompts", "trainers", "docs", "examples")
    for path in [
        repo / "README.md",
        *(p for f in folders for p in (repo / f).rglob("*") if p.suffix in (".py", ".md")),
    ]:
        text = path.read_text(encoding="utf-8")
        assert not re.search(r"pip install [\"']?fo1agent", text), path
        named = {name for group in re.findall(r"pip install [\"']?\.\[([a-z,]+)\]", text) for name in group.split(",")}
        assert named <= extras, path
