"""Whether the server does what its OpenAPI document says, for all that a generator thinks of."""

from __future__ import annotations

import re
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, settings
from openapi_spec_validator import validate
from schemathesis.specs.openapi.checks import positive_data_acceptance

from fo1agent.scene import Model
from fo1agent.serve.app import create_app
from fo1agent.serve.settings import Settings
from fo1agent.serve.streams import FAILURES
from tests.conftest import REPO
from tests.fakes import FakePredictor

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:schemathesis.*")

APP = create_app(
    Model(FakePredictor([((30.0, 10.0, 60.0, 40.0), "bus", 0.9)]), ocr=lambda image, min_score=0.5: []),
    Settings(batching=False, docs=True, running=2),
)
schema = schemathesis.openapi.from_asgi("/openapi.json", APP)


def test_the_document_is_valid() -> None:
    document: Any = APP.openapi()
    validate(document)
    paths = document["paths"]
    assert {"/v1/images", "/v1/tools/{name}", "/v1/ask", "/v1/chat/completions", "/healthz", "/metrics"} <= set(paths)
    assert "HTTPValidationError" not in document["components"]["schemas"]


def test_the_page_of_the_server_has_all_statuses_of_the_document() -> None:
    page = (REPO / "docs" / "serving.md").read_text(encoding="utf-8")
    table = page.partition("| status | when |")[2].partition("\n\n")[0]
    told = {int(status) for row in table.splitlines() for status in re.findall(r"\b\d{3}\b", row.split(" | ")[0])}
    assert {405, 499, *FAILURES} == told


def test_the_document_says_how_many_questions_may_come_before_one() -> None:
    document: Any = APP.openapi()
    asked = document["components"]["schemas"]["AskIn"]
    before = asked["properties"]["before"]
    assert (before["type"], before["maxItems"], before["items"]["maxLength"]) == ("array", 64, 4000)
    assert "before" not in asked["required"]


@schema.parametrize()
@settings(
    max_examples=8,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
def test_every_operation_does_what_the_document_says(case: Any) -> None:
    # That a text is no picture, or names none that is open, no schema can say; the other tests do.
    case.call_and_validate(excluded_checks=[positive_data_acceptance])
