"""A LangGraph graph of your own: a model calls the tools, and what it answers is checked close up before it goes out.

Run it with: python examples/langgraph_graph.py      (LangGraph comes with fo1agent; no key is needed)
The rules are the chat model here; any chat model that calls tools can take their place.
"""

from pathlib import Path

from langchain_core.messages import AIMessage
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode, tools_condition

import fo1agent as fo
from fo1agent.integrations.langchain import FO1Toolkit, RulePlannerChatModel

PHOTO = Path(fo.__file__).parent / "data" / "demo" / "cat.jpg"
QUESTION = "How many remotes are to the right of the cat?"

toolkit = FO1Toolkit(pictures=PHOTO)
scene = toolkit.scenes.get()
llm = RulePlannerChatModel().bind_tools(toolkit.get_tools())


def model(state: MessagesState) -> dict:
    return {"messages": [llm.invoke(state["messages"])]}


def verify(state: MessagesState) -> dict:
    """Look again at each region that the answer rests on, cut out and enlarged."""
    said = state["messages"][-1]
    answer = said.additional_kwargs["fo1agent"]  # of another model, take the region ids that its text names
    checked = []
    for region in answer["regions"]:
        if region["id"] in answer["evidence"]:
            closeup = scene.zoom(region["id"], margin=0.3)
            seen = "seen again" if closeup.ground(region["label"]) else "not seen again"
            checked.append(f"{region['label']} {seen}")
    return {"messages": [AIMessage(f"{said.text} Close up: {', '.join(checked)}.")]}


graph = StateGraph(MessagesState)
graph.add_node("model", model)
graph.add_node("tools", ToolNode(toolkit.get_tools()))
graph.add_node("verify", verify)
graph.add_edge(START, "model")
graph.add_conditional_edges("model", tools_condition, {"tools": "tools", "__end__": "verify"})
graph.add_edge("tools", "model")

for update in graph.compile().stream({"messages": [("user", QUESTION)]}, stream_mode="updates"):
    for node, part in update.items():
        print(node, *(message.name or "" for message in part["messages"]))
print(part["messages"][-1].text)

# prints:
# model
# tools look ground ground
# model
# verify
# 2 remotes are to the right of the cat. Close up: remote seen again, remote seen again, cat seen again.
