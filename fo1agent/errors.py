"""Every error fo1agent raises on purpose.

    FO1AgentError
    ├── InputError (also ValueError)     an argument is wrong
    │   ├── ImageError                   the picture cannot be read, or breaks a limit
    │   └── BoxError                     a box is malformed
    ├── ProposalError                    a proposer failed or returned nonsense
    ├── CheckpointError                  weights and configuration do not fit each other
    ├── ReplyError                       a model's text did not parse
    ├── DataError                        a training or evaluation record is wrong
    ├── TrainingError                    training cannot go on (non-finite loss, unusable run folder)
    ├── MissingExtraError                an optional dependency is not installed
    ├── ToolError                        a tool did not give a result
    │   ├── ToolRetry                    other arguments may work; the message says what to change
    │   └── ToolFailed                   this call cannot succeed; the message says why
    │       └── SegmentationError        a segmenter cannot be loaded, failed, or gave what is no mask
    ├── AgentError                       the agent could not run
    │   ├── PlanError                    a plan is malformed, or refers to a step that does not exist
    │   └── BudgetExceeded               a run reached its limit of steps, seconds, calls or pixels
    └── ServerError                      a server cannot be reached, is busy, or failed
        └── EngineError                  the vLLM that a model's words come from

A message says what was given, what was wanted, and what to do.
"""

from typing import Literal

Fault = Literal["away", "refused", "failed"]
"""What is wrong with an engine; see `EngineError`."""


class FO1AgentError(Exception):
    """Base of every error raised on purpose by fo1agent."""


class InputError(FO1AgentError, ValueError):
    """An argument is wrong."""


class ImageError(InputError):
    """The picture cannot be read, is not a picture, or breaks a limit; the message names cause and limit."""


class BoxError(InputError):
    """A box is malformed; the message names its index and values."""


class ProposalError(FO1AgentError):
    """A proposer failed or returned something that is not a set of boxes."""


class CheckpointError(FO1AgentError):
    """Weights and configuration do not fit each other; the message names the keys."""


class ReplyError(FO1AgentError):
    """A model's text did not parse."""


class DataError(FO1AgentError):
    """A training or evaluation record is wrong; the message names file, line and reason."""


class TrainingError(FO1AgentError):
    """Training cannot go on; the message prints every loss term or names the file in the way."""


class MissingExtraError(FO1AgentError, ImportError):
    """An optional dependency is not installed; the message holds the exact install line."""


class ToolError(FO1AgentError):
    """A tool did not give a result."""


class ToolRetry(ToolError):
    """Other arguments may work; compare `ToolFailed`. The message tells the planner what to change."""


class ToolFailed(ToolError):
    """This call cannot succeed; compare `ToolRetry`. The message tells the planner why."""


class SegmentationError(ToolFailed):
    """A segmenter cannot be loaded, failed, or gave something that is no mask of the picture."""


class AgentError(FO1AgentError):
    """The agent could not run."""


class PlanError(AgentError):
    """A plan is malformed, or refers to a step that does not exist."""


class BudgetExceeded(AgentError):
    """A run reached its limit of steps, seconds, model calls or pixels."""


class ServerError(FO1AgentError):
    """A server cannot be reached, does not let us in, is too busy, or failed.

    Attributes:
        status: of HTTP; 0 if there was no answer.
    """

    def __init__(self, message: str, status: int = 0) -> None:
        super().__init__(message)
        self.status = status


class EngineError(ServerError):
    """The vLLM that a model's words come from, at an address or in this process, gives none.

    Args:
        message: all of it, with where the engine is.
        status: of HTTP; 0 if there was no answer.
        fault: `away`: it cannot be reached or has too much to do, and may be there again; `refused`: it does not take
            this one prompt, and others may do; `failed`: anything else, such as an answer that is none.
        reason: what a `refused` prompt lacks, in the engine's words; without where the engine is, unlike the message.
    """

    def __init__(self, message: str, status: int = 0, fault: Fault = "failed", reason: str = "") -> None:
        super().__init__(message, status)
        self.fault: Fault = fault
        self.reason = reason


def of_one(error: FO1AgentError) -> FO1AgentError:
    """An error with which one of many things ends, for a record of it; the others go on.

    Raises:
        EngineError: it is one, and of all of them: whatever is asked next would end so.
    """
    if isinstance(error, EngineError) and error.fault != "refused":
        raise error
    return error
