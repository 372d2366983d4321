"""Import this folder as `fo1agent.trainers`."""

if __name__ != "fo1agent.trainers":
    raise ImportError(
        "Import this package as fo1agent.trainers, not as trainers: two names would load every module twice."
    )
