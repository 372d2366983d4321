"""A job's shards computed by actors of Ray, on this machine or a cluster: a pipeline of Ray Data.

Each actor holds the model. Shards go to whoever is free, and their rows come back to this process, which alone writes,
so that machines need nothing in common but the pictures. An actor that dies is started again, and its shard is computed
again; nothing of it was written.
"""

from __future__ import annotations

import pickle
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from fo1agent.annotate.job import Job, OnRows, Way, made_by, maker
from fo1agent.annotate.tasks import Row, Task, Worker, asked, foreseen
from fo1agent.errors import ToolFailed
from fo1agent.integrations.cluster import LOCAL, connected, ray_with
from fo1agent.scene import Model

# Of a CPU, so that as many actors as CPUs leave some for Ray Data's own tasks; without any, it waits for ever.
_ACTOR_CPUS = 0.5
# How often a shard is given to another actor when one dies; a picture that kills each would keep them dying for ever.
_RETRIES = 3
# In place of a shard's number: what goes before all of them and gives no rows, but what will not be answered.
_FORESEEN = -1


def over_ray(
    load: Callable[[], Model],
    address: str = LOCAL,
    actors: int | None = None,
    gpus: float = 0,
    on_foreseen: Callable[[list[str]], None] | None = None,
) -> Way:
    """Compute on Ray.

    Args:
        load: gives the model; called once in each actor.
        address: of a cluster (`auto` for the one that this machine is part of); `local` starts Ray here for the job.
        actors: how many; None for as many as there are GPUs if they take any, else CPUs.
        gpus: that each actor takes.
        on_foreseen: called once with what the model will not answer, as soon as the first actor has loaded it.

    Raises:
        MissingExtraError: Ray is not installed.
        InputError: there is no cluster at the address; as the way runs: another model made rows that are there.
        ToolFailed: as the way runs: a model cannot be loaded, or actors die over and over at one shard.
    """
    ray = ray_with("data", "ray")

    def computed(job: Job, numbers: Sequence[int], on_rows: OnRows) -> Iterator[tuple[int, list[Row]]]:
        ray.data.DataContext.get_current().enable_progress_bars = False  # ours tells of pictures
        try:
            with connected(ray, address):
                there = ray.cluster_resources()
                count = actors or max(1, int(there.get("GPU", 0) / gpus if gpus else there.get("CPU", 1)))
                done = _pipeline(ray, load, job, numbers, min(count, len(numbers)), gpus)
                for one in done.iter_rows():
                    number, rows = int(one["number"]), pickle.loads(one["rows"])
                    if number == _FORESEEN:
                        (on_foreseen or list)(rows)
                        continue
                    made_by(job, pickle.loads(one["maker"]))
                    on_rows(rows)
                    yield number, rows
        except ray.exceptions.RayError as exc:
            why = str(exc.__cause__ or exc).strip().rpartition("\n")[2]
            raise ToolFailed(f"Ray gave up: {why} What is finished stays; run it again, or without --ray.") from exc

    return computed


def _pipeline(ray: Any, load: Callable[[], Model], job: Job, numbers: Sequence[int], actors: int, gpus: float) -> Any:
    """A Ray data set of shards with their rows."""
    # One block a shard: whoever is free takes the next.
    questions = pickle.dumps(asked(job.task, job.listing.items))
    shards = [{"number": number, "items": pickle.dumps(job.items(number))} for number in numbers]
    shards.insert(0, {"number": _FORESEEN, "items": questions})
    with warnings.catch_warnings():
        # Until 2.64, which our bounds keep out, nothing else takes the place of what Ray warns of here.
        warnings.simplefilter("ignore")
        return ray.data.from_items(shards, override_num_blocks=len(shards)).map_batches(
            _Actor,
            fn_constructor_args=(load, job.task),
            batch_size=1,
            compute=ray.data.ActorPoolStrategy(size=actors, max_tasks_in_flight_per_actor=2),
            num_cpus=_ACTOR_CPUS,
            num_gpus=gpus,
            ray_remote_args_fn=lambda: {"max_restarts": -1, "max_task_retries": _RETRIES},
        )


class _Actor:
    """Holds a model; takes a batch of one shard."""

    def __init__(self, load: Callable[[], Model], task: Task) -> None:
        self._worker = Worker(load(), task)

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        numbers = batch["number"]
        given = (pickle.loads(items) for items in batch["items"])
        rows = [
            self._foreseen(one) if number == _FORESEEN else self._worker.rows(one)
            for number, one in zip(numbers, given, strict=True)
        ]
        made = [pickle.dumps(maker(self._worker.model))] * len(rows)
        return {"number": numbers, "rows": [pickle.dumps(one) for one in rows], "maker": made}

    def _foreseen(self, questions: Sequence[str]) -> list[str]:
        return foreseen(self._worker.model, self._worker.task, questions)
