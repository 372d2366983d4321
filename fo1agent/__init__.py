"""fo1agent: precise eyes for language models.

These are the public names. Each is imported when it is first used, so `import fo1agent` is quick and loads neither
torch nor transformers.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from fo1agent.version import __version__

if TYPE_CHECKING:
    from fo1agent.agent import Agent, Answer
    from fo1agent.client import Client, connect
    from fo1agent.errors import (
        AgentError,
        BoxError,
        BudgetExceeded,
        CheckpointError,
        DataError,
        EngineError,
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
    from fo1agent.loading import load
    from fo1agent.model.fo1 import FO1
    from fo1agent.model.processing import FO1Processor
    from fo1agent.pictures.image import ImageLimits, LoadedImage, load_image
    from fo1agent.pictures.ocr import OCR
    from fo1agent.regions.regions import Region, Regions
    from fo1agent.scene import Album, Model, Scene
    from fo1agent.tools.base import Tool, tool
    from fo1agent.tools.registry import registry

__all__ = [
    "FO1",
    "OCR",
    "Agent",
    "AgentError",
    "Album",
    "Answer",
    "BoxError",
    "BudgetExceeded",
    "CheckpointError",
    "Client",
    "DataError",
    "EngineError",
    "FO1AgentError",
    "FO1Processor",
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
    "fo1agent.pictures.image": ("ImageLimits", "LoadedImage", "load_image"),
    "fo1agent.pictures.ocr": ("OCR",),
    "fo1agent.loading": ("load",),
    "fo1agent.model.fo1": ("FO1",),
    "fo1agent.model.processing": ("FO1Processor",),
    "fo1agent.scene": ("Album", "Model", "Scene"),
    "fo1agent.tools.base": ("Tool", "tool"),
    "fo1agent.tools.registry": ("registry",),
    "fo1agent.regions.regions": ("Region", "Regions"),
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'fo1agent' has no attribute {name!r}")
    # Whatever is listed above and has no other home is an error class.
    home = next((module for module, names in _HOME.items() if name in names), "fo1agent.errors")
    from fo1agent.extras import torch_needed

    with torch_needed(f"fo1agent.{name}"):
        value = getattr(import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
