"""From a question to a plan: by rules, by a chat model, by FO1 itself."""
