"""Import this folder as `fo1agent.prompts`."""

if __name__ != "fo1agent.prompts":
    raise ImportError("Import this package as fo1agent.prompts, not as prompts: two names would load every module twice.")
