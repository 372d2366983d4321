"""How the package hangs together: no circles of imports, and no long chains of them."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

LONGEST_CHAIN = 16  # modules that stand on each other, from the command down to the errors


@pytest.fixture(scope="module")
def imports(repo: Path) -> dict[str, set[str]]:
    """Module → modules of ours that it imports: at its top, inside functions, and for types only."""
    files: dict[str, Path] = {}
    for folder in ("fo1agent", "tools", "prompts", "trainers"):
        for path in (repo / folder).rglob("*.py"):
            parts = path.relative_to(repo).with_suffix("").parts
            parts = parts if parts[0] == "fo1agent" else ("fo1agent", *parts)
            files[".".join(parts).removesuffix(".__init__")] = path
    return {name: set(_imported(name, path, files)) for name, path in files.items()}


def _imported(name: str, path: Path, files: dict[str, Path]) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            named = [one.name for one in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            named = [f"{node.module}.{one.name}" for one in node.names]
        else:
            continue
        for full in named:
            module = full if full in files else full.rpartition(".")[0]
            # A module's own package is no import of its own.
            if module in files and not f"{name}.".startswith(f"{module}."):
                yield module


def _chain(name: str, imports: dict[str, set[str]], known: dict[str, int], path: tuple[str, ...] = ()) -> int:
    assert name not in path, f"a circle of imports: {' -> '.join((*path[path.index(name) :], name))}"
    if name not in known:
        known[name] = 1 + max((_chain(one, imports, known, (*path, name)) for one in sorted(imports[name])), default=0)
    return known[name]


def test_no_modules_import_each_other_in_a_circle_and_no_chain_of_imports_is_long(imports: dict[str, set[str]]) -> None:
    known: dict[str, int] = {}
    longest = max(imports, key=lambda name: _chain(name, imports, known))
    assert known[longest] <= LONGEST_CHAIN, longest
    assert {"fo1agent.scene", "fo1agent.tools.base", "fo1agent.trainers.finetune"} <= set(imports)


def _below(names: set[str], imports: dict[str, set[str]]) -> set[str]:
    """The modules, and all that they need."""
    below, left = set(names), list(names)
    while left:
        for one in imports[left.pop()] - below:
            below.add(one)
            left.append(one)
    return below


def test_the_remote_client_needs_no_grammar_no_planner_and_no_model(imports: dict[str, set[str]]) -> None:
    below = _below({"fo1agent.client"}, imports)
    assert {name.split(".")[1] for name in below if "." in name}.isdisjoint({"planners", "agent", "model", "serve"})
    assert "fo1agent.runs.answer" in below


def test_training_needs_no_format_but_our_own_lines_until_a_recipe_names_one(imports: dict[str, set[str]]) -> None:
    trainers = {name for name in imports if name.startswith("fo1agent.trainers.") and name.count(".") == 2}
    below = _below(trainers - {"fo1agent.trainers.data"}, imports)
    formats = {name.rpartition(".")[2] for name in below if name.startswith("fo1agent.trainers.data.formats.")}
    assert formats == {"boxes", "examples", "fields", "source"}
    assert not {name for name in below if ".composites" in name}
