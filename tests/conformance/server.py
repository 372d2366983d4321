"""A server with what the official conformance suite asks for, on ours: `python -m tests.conformance.server`.

`make_server` and `serve_http` are those of `fo1agent mcp --http`. Where a tool of ours gives the kind of answer that
the suite wants of a tool of its own, ours answers; only what ours never give (sound, prompts, …) is made here. The
address is printed once it listens.
"""

from __future__ import annotations

import base64
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import mcp_types as types
from mcp.server.context import ServerRequestContext as Context

from fo1agent.integrations.mcp import make_server, serve_http
from fo1agent.loading import load
from fo1agent.pictures.image import ImageLimits, load_image
from tests.small_picture import encode

DEMO = Path(__file__).parents[2] / "fo1agent" / "data" / "demo"
CAT = {"image": "cat.jpg"}

OURS: dict[str, tuple[str, dict[str, Any]]] = {
    "test_simple_text": ("count", {**CAT, "phrase": "remote"}),
    "test_image_content": ("annotate", CAT),
    "test_tool_with_progress": ("look", CAT),
    "test_error_handling": ("look", {"image": "not-there.jpg"}),
}
"""The suite's tool → the call of ours that answers in its place."""

PNG = base64.b64encode(encode()).decode("ascii")
WAV_HEAD = bytes.fromhex("524946462400000057415645666d74201000000001000100401f0000401f0000010008006461746100000000")

TEXT = types.TextContent(text="A text.")
IMAGE = types.ImageContent(data=PNG, mime_type="image/png")
AUDIO = types.AudioContent(data=base64.b64encode(WAV_HEAD).decode("ascii"), mime_type="audio/wav")


def written(uri: str) -> types.TextResourceContents:
    return types.TextResourceContents(uri=uri, mime_type="text/plain", text=f"The text at {uri}.")


def embedded(uri: str) -> types.EmbeddedResource:
    return types.EmbeddedResource(resource=written(uri))


MADE: dict[str, list[types.ContentBlock]] = {
    "test_audio_content": [AUDIO],
    "test_embedded_resource": [embedded("test://embedded-resource")],
    "test_multiple_content_types": [TEXT, IMAGE, embedded("test://mixed-content-resource")],
}
"""The suite's tool → what it returns."""

ASKING = ("test_elicitation", "test_elicitation_sep1034_defaults", "test_elicitation_sep1330_enums")

SCHEMA = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "$defs": {"address": {"type": "object", "properties": {"street": {"type": "string"}, "city": {"type": "string"}}}},
    "properties": {"name": {"type": "string"}, "address": {"$ref": "#/$defs/address"}},
    "additionalProperties": False,
}

PROMPTS: dict[str, tuple[list[str], Callable[[Mapping[str, str]], list[types.ContentBlock]]]] = {
    "test_simple_prompt": ([], lambda given: [TEXT]),
    "test_prompt_with_arguments": (["arg1", "arg2"], lambda given: [types.TextContent(text=" ".join(given.values()))]),
    "test_prompt_with_embedded_resource": (["resourceUri"], lambda given: [embedded(given["resourceUri"]), TEXT]),
    "test_prompt_with_image": ([], lambda given: [IMAGE, TEXT]),
}
"""The suite's prompt → its arguments, and what it says with them."""


async def suited(ctx: Context[Any, Any], call_next: Callable[..., Awaitable[Any]]) -> Any:
    """Answer what the suite asks for by its own names; everything else, and whatever ours can answer, is ours."""
    params = dict(ctx.params or {})
    name = params.get("name", params.get("uri"))
    match ctx.method, name:
        case "tools/call", str() if name in OURS:
            called, arguments = OURS[name]
            return await call_next(replace(ctx, params={**params, "name": called, "arguments": arguments}))
        case "tools/call", str() if name in MADE:
            return types.CallToolResult(content=MADE[name])
        case "tools/call", "test_tool_with_logging":
            return await log(ctx)
        case "tools/call", "test_sampling":
            return await ask_the_model(ctx)
        case "tools/call", str() if name in ASKING:
            return await ask_the_user(ctx)
        case "tools/list", _:
            listed = types.ListToolsResult.model_validate(await call_next(ctx))
            listed.tools.append(types.Tool(name="json_schema_2020_12_tool", description="A.", input_schema=SCHEMA))
            return listed
        case "resources/read", "test://static-binary":
            await call_next(replace(ctx, method="tools/call", params={"name": "look", "arguments": CAT}))
            picture = f"fo1agent://{load_image(DEMO / CAT['image']).id}/full.png"
            return await call_next(replace(ctx, params={**params, "uri": picture}))
        case "resources/read", "test://static-text" | "test://template/123/data":
            return types.ReadResourceResult(contents=[written(name)])
    return await call_next(ctx)


async def log(ctx: Context[Any, Any]) -> types.CallToolResult:
    for said in ("Started.", "Under way.", "Done."):
        params = types.LoggingMessageNotificationParams(level="info", data=said)
        await ctx.session.send_notification(types.LoggingMessageNotification(params=params), ctx.request_id)
    return types.CallToolResult(content=[TEXT])


async def ask_the_model(ctx: Context[Any, Any]) -> types.CallToolResult:
    params = types.CreateMessageRequestParams(messages=[types.SamplingMessage(role="user", content=TEXT)], max_tokens=9)
    await ctx.session.send_request(types.CreateMessageRequest(params=params), types.CreateMessageResult)
    return types.CallToolResult(content=[TEXT])


async def ask_the_user(ctx: Context[Any, Any]) -> types.CallToolResult:
    await ctx.session.elicit_form("Who?", {"type": "object", "properties": {"name": {"type": "string"}}})
    return types.CallToolResult(content=[TEXT])


async def list_prompts(ctx: Context[Any, Any], params: Any) -> types.ListPromptsResult:
    return types.ListPromptsResult(
        prompts=[
            types.Prompt(
                name=name,
                description="A prompt.",
                arguments=[types.PromptArgument(name=one, required=True) for one in arguments],
            )
            for name, (arguments, _) in PROMPTS.items()
        ]
    )


async def get_prompt(ctx: Context[Any, Any], params: types.GetPromptRequestParams) -> types.GetPromptResult:
    said = PROMPTS[params.name][1](params.arguments or {})
    return types.GetPromptResult(messages=[types.PromptMessage(role="user", content=one) for one in said])


async def complete(ctx: Context[Any, Any], params: types.CompleteRequestParams) -> types.CompleteResult:
    return types.CompleteResult(completion=types.Completion(values=[f"{params.argument.value}ed"]))


async def set_level(ctx: Context[Any, Any], params: types.SetLevelRequestParams) -> types.EmptyResult:
    return types.EmptyResult()


if __name__ == "__main__":
    server = make_server(load, ImageLimits(folders=(DEMO,), hosts=()))
    server.middleware.append(suited)
    server.add_request_handler("prompts/list", types.PaginatedRequestParams, list_prompts)
    server.add_request_handler("prompts/get", types.GetPromptRequestParams, get_prompt)
    server.add_request_handler("completion/complete", types.CompleteRequestParams, complete)
    server.add_request_handler("logging/setLevel", types.SetLevelRequestParams, set_level)
    serve_http(server, port=0, ready=lambda url: print(f"Listening on {url}", flush=True))
