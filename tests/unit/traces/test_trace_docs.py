"""docs/traces.md and the JSON schema beside it tell the format as it is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
from PIL import Image

from fo1agent.agent import Agent
from fo1agent.scene import Model
from fo1agent.traces.lines import schema
from tests.fakes import FakePredictor


def test_the_schema_file_is_the_formats(repo: Path) -> None:
    written = json.loads((repo / "docs" / "trace.schema.json").read_text(encoding="utf-8"))
    assert written == schema(), "write it anew: python -c 'import json; from fo1agent.traces.lines import schema; …'"


def test_every_field_is_told(repo: Path) -> None:
    page = (repo / "docs" / "traces.md").read_text(encoding="utf-8")
    told = schema()
    parts: list[dict[str, Any]] = list(told["$defs"].values())
    fields = {field for part in parts for field in part.get("properties", {})}
    fields -= {"type"}
    assert [field for field in sorted(fields) if f"`{field}`" not in page] == []


def test_what_is_written_fits_the_schema(repo: Path, tmp_path: Path) -> None:
    model = Model(FakePredictor([((20.0, 200.0, 60.0, 330.0), "person", 0.91)]))
    picture = Image.new("RGB", (640, 480))
    agent = Agent(model, traces=tmp_path)
    agent.ask(model.open(picture, boxes=[[20, 200, 60, 330]]), "How many people are there?")
    agent.ask(picture, "Why, oh why?")
    validator = jsonschema.Draft202012Validator(json.loads((repo / "docs" / "trace.schema.json").read_text()))
    lines = [json.loads(line) for path in tmp_path.iterdir() for line in path.read_text(encoding="utf-8").splitlines()]
    assert {line["type"] for line in lines} == {"run", "plan", "step_start", "step_end", "answer"}
    for line in lines:
        validator.validate(line)
        line["surprise"] = 1
        assert not validator.is_valid(line)
