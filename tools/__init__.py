"""Import this folder as `fo1agent.tools`."""

if __name__ != "fo1agent.tools":
    raise ImportError("Import this package as fo1agent.tools, not as tools: two names would load every module twice.")
