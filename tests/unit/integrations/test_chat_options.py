"""The options of a chat: used, checked and without effect, or refused with a message that says what is accepted."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from fo1agent.errors import InputError
from fo1agent.integrations.chat_options import ChatOptions

TEXT = "2 remotes are to the right of the cat."

NEUTRAL: dict[str, Any] = {
    "tool_choice": "auto",
    "parallel_tool_calls": True,
    "stop": None,
    "n": 1,
    "logprobs": False,
    "top_logprobs": None,
    "logit_bias": {},
    "response_format": {"type": "text"},
    "modalities": ["text"],
    "functions": [],
    "store": False,
    "service_tier": "auto",
    "temperature": 0,
    "top_p": 1,
    "presence_penalty": -2,
    "frequency_penalty": 2.0,
    "seed": 7,
    "reasoning_effort": "low",
    "verbosity": "high",
    "prediction": {"type": "content", "content": "2"},
    "user": "me",
    "safety_identifier": "me",
    "metadata": {"run": "7"},
    "prompt_cache_key": "key",
    "prompt_cache_retention": "24h",
}


def test_what_cannot_change_an_answer_is_taken() -> None:
    options = ChatOptions.model_validate(NEUTRAL)
    assert not options.shortens
    assert options.cut(TEXT) == (TEXT, "stop")
    assert set(NEUTRAL) | {
        "max_tokens",
        "max_completion_tokens",
        "audio",
        "function_call",
        "web_search_options",
    } == set(ChatOptions.model_fields)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"n": 2}, "n: there is one answer"),
        ({"n": True}, "got True"),
        ({"logprobs": True}, "logprobs: answers have none"),
        ({"top_logprobs": 3}, "top_logprobs: answers have none"),
        ({"logit_bias": {"50256": -100}}, "logit_bias: "),
        ({"response_format": {"type": "json_object"}}, "response_format: answers are text"),
        ({"response_format": "json"}, "response_format: answers are text"),
        ({"modalities": ["text", "audio"]}, 'send ["text"]'),
        ({"audio": {"voice": "alloy", "format": "wav"}}, "audio: "),
        ({"functions": [{"name": "f"}]}, "send tools instead"),
        ({"function_call": "auto"}, "send tool_choice instead"),
        ({"store": True}, "store: answers are not kept"),
        ({"service_tier": "priority"}, "auto or default"),
        ({"web_search_options": {}}, "web_search_options: "),
        ({"temperature": 2.1}, "less than or equal to 2"),
        ({"temperature": -1}, "greater than or equal to 0"),
        ({"temperature": "warm"}, "valid number"),
        ({"temperature": True}, "valid number"),
        ({"temperature": float("nan")}, "temperature"),
        ({"temperature": 10**400}, "temperature"),
        ({"top_p": 1.5}, "less than or equal to 1"),
        ({"presence_penalty": 3}, "less than or equal to 2"),
        ({"frequency_penalty": -3}, "greater than or equal to -2"),
        ({"seed": "x"}, "valid integer"),
        ({"max_tokens": 0}, "greater than or equal to 1"),
        ({"max_tokens": 1.5}, "valid integer"),
        ({"max_tokens": 5, "max_completion_tokens": 5}, "one thing by two names"),
        ({"stop": ""}, "none of them empty"),
        ({"stop": ["a", "b", "c", "d", "e"]}, "up to 4 texts"),
        ({"stop": 5}, "stop"),
        ({"parallel_tool_calls": "no"}, "valid boolean"),
        ({"reasoning_effort": "lots"}, "'none', 'minimal', 'low'"),
        ({"metadata": "x"}, "valid dictionary"),
        ({"tool_choice": 5}, 'tool_choice: "auto", "none", "required"'),
        ({"tool_choice": {"type": "allowed_tools"}}, "got {'type': 'allowed_tools'}"),
        ({"tool_choice": {"type": "function"}}, "tool_choice: "),
        ({"temprature": 1}, "no field 'temprature' (did you mean 'temperature'?)"),
        ({"top_k": 1}, "no field 'top_k'"),
    ],
)
def test_what_cannot_be_had_is_refused(given: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError) as raised:
        ChatOptions.model_validate(given)
    assert said in str(raised.value)


@pytest.mark.parametrize(
    ("options", "kept", "why"),
    [
        ({"stop": " right"}, "2 remotes are to the", "stop"),
        ({"stop": ["cat", "right"]}, "2 remotes are to the ", "stop"),
        ({"stop": ["dog"]}, TEXT, "stop"),
        ({"max_tokens": 3}, "2 remotes are", "length"),
        ({"max_completion_tokens": 1}, "2", "length"),
        ({"max_tokens": 100}, TEXT, "stop"),
        ({"max_tokens": 3, "stop": " are"}, "2 remotes", "stop"),
        ({"max_tokens": 1, "stop": " are"}, "2", "length"),
    ],
)
def test_a_text_ends_where_it_was_asked_to(options: dict[str, Any], kept: str, why: str) -> None:
    assert ChatOptions.model_validate(options).cut(TEXT) == (kept, why)


@pytest.mark.parametrize(
    ("choice", "name"),
    [
        (None, "auto"),
        (False, "auto"),
        ("auto", "auto"),
        ("none", "none"),
        ("required", "required"),
        ("any", "required"),
        (True, "required"),
        ("ground", "ground"),
        ({"type": "function", "function": {"name": "ground"}}, "ground"),
        ({"type": "function", "name": "ground"}, "ground"),
        ({"type": "tool", "name": "ground"}, "ground"),
    ],
)
def test_a_choice_of_tools_is_understood_in_every_dialect(choice: Any, name: str) -> None:
    assert ChatOptions.model_validate({"tool_choice": choice}).chosen_tool() == name


def test_a_tool_that_must_be_called_has_to_be_there() -> None:
    ChatOptions.model_validate({"tool_choice": "required"}).check_tools(["ground", "other"])
    ChatOptions.model_validate({"tool_choice": "ground"}).check_tools(["ground"])
    with pytest.raises(InputError, match=r"'count', which is not offered\. Offered are: ground"):
        ChatOptions.model_validate({"tool_choice": "count"}).check_tools(["ground"])
    with pytest.raises(InputError, match="Offered are: none"):
        ChatOptions.model_validate({"tool_choice": "count"}).check_tools([])
    for choice in ("required", "other"):
        with pytest.raises(InputError, match="only fo1agent's own tools are called here"):
            ChatOptions.model_validate({"tool_choice": choice}).check_tools(["other"])
