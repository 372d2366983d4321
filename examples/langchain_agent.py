"""A LangChain agent that answers a question about a photograph, here without a language model.

Run it with: python examples/langchain_agent.py
"""

from pathlib import Path

import fo1agent as fo
from fo1agent.integrations.langchain import create_visual_agent

PHOTO = Path(fo.__file__).parent / "data" / "demo" / "cat.jpg"
QUESTION = "How many remotes are to the right of the cat, and is there a dog?"

agent = create_visual_agent("rules", [PHOTO])  # or a chat model: "openai:gpt-5", ChatOllama(…), …

for part in agent.stream({"messages": [("user", QUESTION)]}, stream_mode="updates"):
    for message in part.get("model", {}).get("messages", []):
        for call in message.tool_calls:
            print(call["name"], call["args"].get("phrase", ""))
        print(message.text)

# prints:
# look
# ground remote
# ground cat
# ground dog
#
# 2 remotes are to the right of the cat. No, I see no dog.
