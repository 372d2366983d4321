"""The commands in docs/training.md are ones that their recipes understand."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from fo1agent.cli import main
from fo1agent.trainers.nano import NanoRecipe
from fo1agent.trainers.proposals import ProposalRecipe
from fo1agent.trainers.recipe import load_recipe
from fo1agent.trainers.tuning import TuneRecipe

TEXT = (Path(__file__).resolve().parents[3] / "docs" / "training.md").read_text(encoding="utf-8")
COMMANDS = [line[2:] for block in re.findall(r"```console\n(.*?)```", TEXT, re.DOTALL) for line in block.splitlines()]
RECIPES = {"proposals": ProposalRecipe, "align": TuneRecipe, "instruct": TuneRecipe, "nano": NanoRecipe}


@pytest.mark.parametrize("command", [c for c in COMMANDS if " train " in c])
def test_a_training_command_is_a_valid_recipe(command: str) -> None:
    words = shlex.split(command)
    _, stage, *rest = words[words.index("train") :]
    # `mine.yaml` is a copy of the packaged recipe, whose sources somebody has filled in.
    given = rest[1:] if rest and "=" not in rest[0] else rest
    filled = [] if any(word.startswith("sources") for word in given) else ["sources=[{path: mine.json}]"]
    load_recipe(RECIPES[stage], stage, [*given, *(filled if RECIPES[stage] is TuneRecipe else [])])


@pytest.mark.parametrize("command", [c for c in COMMANDS if c.startswith("fo1agent") and " train " not in c])
def test_other_commands_exist(command: str) -> None:
    assert shlex.split(command)[1] in main.commands


def test_links_lead_somewhere(repo: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", TEXT):
        assert (repo / "docs" / target).exists(), target
