"""fo1agent: precise eyes for language models.

The names below are the public ones. Each is imported when it is first used, so `import fo1agent` costs nothing and
pulls in neither torch nor transformers.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fo1agent.agent import Agent, Answer
    from fo1agent.client import Client, connect
    from fo1agent.errors import (
        AgentError,
        BoxError,
        BudgetExceeded,
        CheckpointError,
        DataError,
        FO1AgentError,
        ImageError,
        InputError,
        MissingExtraError,
        PlanError,
        ProposalError,
        ReplyError,
        ServerError,
        ToolError,
        ToolFailed,
        ToolRetry,
        TrainingError,
    )
    from fo1agent.image import ImageLimits, LoadedImage, load_image
    from fo1agent.ocr import OCR
    from fo1agent.scene import Model, Scene, load
    from fo1agent.tools.base import Tool, registry, tool
    from fo1agent.types import Region, Regions

__version__ = "0.1.0"

__all__ = [
    "OCR",
    "Agent",
    "AgentError",
    "Answer",
    "BoxError",
    "BudgetExceeded",
    "CheckpointError",
    "Client",
    "DataError",
    "FO1AgentError",
    "ImageError",
    "ImageLimits",
    "InputError",
    "LoadedImage",
    "MissingExtraError",
    "Model",
    "PlanError",
    "ProposalError",
    "Region",
    "Regions",
    "ReplyError",
    "Scene",
    "ServerError",
    "Tool",
    "ToolError",
    "ToolFailed",
    "ToolRetry",
    "TrainingError",
    "__version__",
    "connect",
    "load",
    "load_image",
    "registry",
    "tool",
]

_HOME = {
    "fo1agent.agent": ("Agent", "Answer"),
    "fo1agent.client": ("Client", "connect"),
    "fo1agent.image": ("ImageLimits", "LoadedImage", "load_image"),
    "fo1agent.ocr": ("OCR",),
    "fo1agent.scene": ("Model", "Scene", "load"),
    "fo1agent.tools.base": ("Tool", "registry", "tool"),
    "fo1agent.types": ("Region", "Regions"),
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'fo1agent' has no attribute {name!r}")
    # Whatever is listed above and has no other home is an error class.
    home = next((module for module, names in _HOME.items() if name in names), "fo1agent.errors")
    value = getattr(import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
