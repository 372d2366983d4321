"""The wheel holds everything, and works outside the checkout.

It is built from the checkout and unpacked by pip into a folder of its own; dependencies come from the environment that
runs the tests. A fresh interpreter, started elsewhere, must find the package there and nowhere else.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

IMPORT_ALL = """
import importlib, pathlib, pkgutil, sys
import fo1agent
assert pathlib.Path(fo1agent.__file__).is_relative_to(sys.argv[1]), fo1agent.__file__
names = [module.name for module in pkgutil.walk_packages(fo1agent.__path__, "fo1agent.")]
for name in names:
    try:
        importlib.import_module(name)
    except ModuleNotFoundError as exc:
        if exc.name != "vllm" or not name.startswith("fo1agent.integrations.vllm."):
            raise  # only the plug-in, which vLLM itself loads, may need vLLM
print(*names)
"""


@pytest.fixture(scope="module")
def wheel(repo: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from a copy of what git holds: a build inside the checkout leaves folders behind."""
    source = tmp_path_factory.mktemp("source")
    for path in _git_files(repo):
        (source / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(repo / path, source / path)
    out = tmp_path_factory.mktemp("dist")
    # The links that editors follow are left out of the copy: the build must not need them.
    _pip("wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", str(out), str(source))
    (built,) = out.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with nothing but the unpacked wheel."""
    target = tmp_path_factory.mktemp("installed")
    _pip("install", "--no-deps", "--no-index", "--target", str(target), str(wheel))
    return target


def test_every_tracked_file_of_the_package_is_in_the_wheel(repo: Path, wheel: Path) -> None:
    held = set(zipfile.ZipFile(wheel).namelist())
    expected = {
        (Path("fo1agent") / path if path.parts[0] != "fo1agent" else path).as_posix()
        for path in _git_files(repo)
        if path.parts[0] in ("fo1agent", "tools", "prompts", "trainers")
    }
    assert sorted(expected - held) == []
    assert {name.split("/")[0] for name in held} == {"fo1agent", f"fo1agent-{_version(wheel)}.dist-info"}


def test_licences_are_in_the_wheel(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.rsplit("/", 1)[-1] for name in names if "/licenses/" in name} == {"LICENSE", "NOTICE"}


def test_every_module_imports_from_the_wheel(repo: Path, installed: Path, tmp_path: Path) -> None:
    names = _run(installed, tmp_path, "-c", IMPORT_ALL, str(installed)).stdout.split()
    modules = {path for path in _git_files(repo) if path.suffix == ".py"}
    inside = [path for path in modules if path.parts[0] in ("fo1agent", "tools", "prompts", "trainers")]
    assert len(names) == len(inside) - 1  # fo1agent/__init__.py itself is not listed.


def test_command_answers_a_question_from_the_wheel(installed: Path, tmp_path: Path) -> None:
    photo = installed / "fo1agent" / "data" / "demo" / "bus.jpg"
    run = _run(installed, tmp_path, str(installed / "bin" / "fo1agent"), "ask", str(photo), "Is there a bus?", "--json")
    answer = json.loads(run.stdout)
    assert answer["value"] is True
    assert answer["evidence"]


def test_help_of_the_installed_command(installed: Path, tmp_path: Path) -> None:
    assert "fo1agent ask" in _run(installed, tmp_path, str(installed / "bin" / "fo1agent"), "--help").stdout


def _git_files(repo: Path) -> list[Path]:
    """Files of the checkout that git tracks, or would: links are left out."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=repo, capture_output=True, check=True).stdout.decode()
    paths = [Path(name) for name in listed.split("\0") if name]
    return [path for path in paths if (repo / path).is_file() and not (repo / path).is_symlink()]


def _pip(*arguments: str) -> None:
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", *arguments]
    run = subprocess.run(command, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout + run.stderr


def _run(installed: Path, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run python in `folder`, with the unpacked wheel in front of everything else."""
    environment = {**os.environ, "PYTHONPATH": str(installed)}
    run = subprocess.run(
        [sys.executable, *arguments], cwd=folder, env=environment, capture_output=True, text=True, timeout=300
    )
    assert run.returncode == 0, run.stderr
    return run


def _version(wheel: Path) -> str:
    return wheel.name.split("-")[1]
