"""Replicas on Ray Serve: one address, pictures that every replica finds, and nothing lost with one that dies."""

from __future__ import annotations

import contextlib
import io
import os
import re
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image

from fo1agent.errors import InputError
from fo1agent.integrations.listening import LOOPBACK, listening
from fo1agent.scene import Model
from fo1agent.serve.settings import Settings
from tests.fakes import FakePredictor
from tests.serving import until

ray: Any = pytest.importorskip("ray", reason="the extra ray is not installed")
pytest.importorskip("ray.serve", reason="the extra ray is not installed", exc_type=ImportError)
pytestmark = pytest.mark.filterwarnings("default")  # Ray's own

from fo1agent.serve import ray as on_ray  # noqa: E402
from fo1agent.serve import ray_run  # noqa: E402

APP = "test"

OBJECTS = [
    ((30.0, 10.0, 60.0, 40.0), "bus", 0.9),
    ((5.0, 5.0, 20.0, 40.0), "person", 0.8),
    ((1.0, 1.0, 9.0, 9.0), "dog", 0.7),
]


class Slow(FakePredictor):
    """Takes a moment for each pass, as models do, and for dogs a while, which it leaves a mark of."""

    marks: Path

    def match(self, encoding: Any, phrases: Any) -> Any:
        if "dog" in str(phrases):
            (self.marks / "dog").touch()
            time.sleep(2)
        time.sleep(0.05)
        return super().match(encoding, phrases)


def made(marks: Path, name: str, settings: Settings) -> tuple[Model, Settings]:
    """What a replica serves; it leaves its process's number."""
    (marks / f"{name}-{os.getpid()}").touch()
    predictor = Slow(OBJECTS)
    predictor.name, predictor.marks = name, marks
    return Model(predictor, ocr=lambda image, min_score=0.5: []), settings


def alive(marks: Path, name: str) -> list[int]:
    """The processes of the replicas of a model."""
    return [pid for path in marks.glob(f"{name}-*") if os.path.exists(f"/proc/{(pid := int(path.name.split('-')[1]))}")]


def png(number: int) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (64, 48), (number, 90, 10)).save(file, "PNG")
    return file.getvalue()


@pytest.fixture(scope="module")
def marks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("replicas")


@pytest.fixture(scope="module")
def url(marks: Path) -> Iterator[str]:
    """The address of two replicas."""
    with listening("127.0.0.1", 0) as free:
        port = free.getsockname()[1]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_AUTH_MODE", "disabled")
        patch.setenv(ray_run.CALLBACK, ray_run.SPREAD)
        ray.init(num_cpus=4, object_store_memory=100 * 2**20, include_dashboard=False, log_to_driver=False)
    ray.serve.start(http_options={"host": "127.0.0.1", "port": port})
    run(marks, "first")
    yield f"http://127.0.0.1:{port}"
    ray.serve.shutdown()
    ray.shutdown()


def run(marks: Path, name: str) -> None:
    settings = Settings(batching=False)
    ray.serve.run(on_ray.application(partial(made, marks, name, settings), settings, ray_run.Scale(2, 2)), name=APP)


@pytest.fixture
def http(url: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=url, timeout=60) as client:
        yield client


def opened(http: httpx.Client, number: int) -> str:
    response = http.post("/v1/images", files={"file": png(number)})
    assert response.status_code == 201
    return response.json()["image"]


class Load:
    """Clients that ask about pictures without a pause, for as long as it lasts; what they were answered."""

    def __init__(self, url: str, images: list[str], clients: int = 8) -> None:
        self.seen: Counter[int] = Counter()
        self.unsaid = 0  # refusals that do not say when to come again
        self._url, self._images, self._ended = url, images, threading.Event()
        self._threads = ThreadPoolExecutor(clients)
        self._clients = [self._threads.submit(self._ask, number) for number in range(clients)]

    def _ask(self, number: int) -> None:
        with httpx.Client(base_url=self._url, timeout=60) as http:
            while not self._ended.is_set():
                image = self._images[number % len(self._images)]
                number += 1
                response = http.post("/v1/tools/count", json={"image": image, "phrase": "bus"})
                self.seen[response.status_code] += 1
                self.unsaid += response.status_code >= 300 and "retry-after" not in response.headers
                if response.status_code != 503:
                    assert response.json()["result"]["value"] == 1

    def go_on(self, answers: int = 20) -> None:
        """Until so many more have been answered."""
        wanted = self.seen[200] + answers
        until(lambda: self.seen[200] >= wanted or any(client.done() for client in self._clients))

    def end(self) -> Counter[int]:
        self._ended.set()
        self._threads.shutdown()
        for client in self._clients:
            client.result()
        assert not self.unsaid
        return self.seen


def test_two_replicas_answer_as_one_server_does(url: str, http: httpx.Client, marks: Path) -> None:
    assert len(alive(marks, "first")) == 2
    assert http.get("/healthz").json() == {"status": "ok", "model": "first"}
    assert "<html" in http.get("/").text
    images = [opened(http, number) for number in range(6)]
    assert {len(image) for image in images} == {len("img_") + 64}
    for image in images:
        assert http.get(f"/v1/images/{image}").json()["regions"][0]["label"] == "bus"
        answer = http.post("/v1/ask", json={"image": image, "question": "How many people are there?"}).json()["answer"]
        assert answer["value"] == 1
    with http.stream(
        "POST", "/v1/ask", json={"image": images[0], "question": "Is there a bus?", "stream": True}
    ) as got:
        assert [line for line in got.iter_lines() if line.startswith("event: ")][-1] == "event: answer"


def test_a_picture_that_is_closed_is_closed_at_all_replicas(http: httpx.Client) -> None:
    image = opened(http, 20)
    for session in range(8):  # without what leads to one, any replica is asked
        assert http.get(f"/v1/images/{image}", headers={"X-Session-Id": str(session)}).status_code == 200
    assert http.delete(f"/v1/images/{image}").status_code == 204
    assert {http.get(f"/v1/images/{image}").status_code for _ in range(4)} == {404}


def test_a_replica_that_is_killed_costs_no_more_than_what_it_was_at(url: str, http: httpx.Client, marks: Path) -> None:
    images = [opened(http, number) for number in range(40, 52)]
    said: list[str] = []
    watch = ray_run.Watch(ray, APP, said.append)
    load = Load(url, images, clients := 8)
    load.go_on()
    watch.look()
    killed = alive(marks, "first")[0]
    os.kill(killed, signal.SIGKILL)
    load.go_on(60)
    until(lambda: watch.look() or len(said) == 2)  # as the command looks every second
    assert len(alive(marks, "first")) == 2
    load.go_on()
    assert said == [
        "A replica was lost and is started again. Replicas that answer meanwhile: 1.",
        "No replica is missing any more. Replicas that answer: 2.",
    ]
    seen = load.end()
    assert set(seen) <= {200, 503}
    assert seen[503] <= clients
    for image in images:  # those that it had opened too
        assert http.get(f"/v1/images/{image}").status_code == 200


def test_a_new_version_takes_over_while_it_is_asked(url: str, http: httpx.Client, marks: Path) -> None:
    load = Load(url, [opened(http, number) for number in range(60, 68)])
    load.go_on()
    run(marks, "second")
    load.go_on()
    assert set(load.end()) == {200}
    assert http.get("/healthz").json()["model"] == "second"


def test_a_cluster_that_serves_already_keeps_what_it_serves(
    http: httpx.Client, marks: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make = partial(made, marks, "third", settings := Settings())
    with pytest.raises(InputError, match="runs on that cluster already, and does not listen at http://127"):
        on_ray.serve(make, settings, port=0, address="auto")
    monkeypatch.setattr(ray_run, "NAME", APP)
    with pytest.raises(InputError, match="An application test is served on that cluster already"):
        on_ray.serve(make, settings, port=0, address="auto")
    assert http.get("/healthz").json()["status"] == "ok"
    assert not alive(marks, "third")


def test_replicas_finish_what_they_are_at_and_take_on_nothing_new(http: httpx.Client, marks: Path) -> None:
    image = opened(http, 80)  # the last test that needs them
    with ThreadPoolExecutor(2) as threads:
        slow = threads.submit(http.post, "/v1/tools/count", json={"image": image, "phrase": "dog"})
        until((marks / "dog").exists)
        drained = threads.submit(ray_run.drain, ray, APP, 60)
        until(lambda: http.get("/healthz").json()["status"] == "draining")
        refused = http.post("/v1/tools/count", json={"image": image, "phrase": "bus"})
        assert (refused.status_code, refused.json()["error"]["code"]) == (503, "draining")
        assert not drained.done()
        assert slow.result().json()["result"]["value"] == 1
        drained.result()


# ---- without a cluster ----


@pytest.mark.parametrize(
    ("there", "scale", "says"),
    [
        ({"CPU": 2}, ray_run.Scale(4, 8), "Of 4 replicas there is room for 2: each takes 1 CPU, and there are 2."),
        (
            {"CPU": 2},
            ray_run.Scale(1, 1, gpus=1),
            "Of 1 replicas there is room for 0: each takes 1 GPU, and there are 0.",
        ),
        ({"CPU": 8, "GPU": 2}, ray_run.Scale(3, 3, gpus=1), "Of 3 replicas there is room for 2: each takes 1 GPU, and"),
    ],
)
def test_replicas_for_which_there_is_no_room_are_not_waited_for(
    there: dict[str, float], scale: ray_run.Scale, says: str
) -> None:
    said: list[str] = []
    with pytest.raises(InputError, match=re.escape(says)):
        ray_run.check_room(there, scale, True, said.append)
    ray_run.check_room({"CPU": 8, "GPU": 8}, scale, True, said.append)
    assert not said
    ray_run.check_room(there, scale, False, said.append)  # a cluster may grow
    assert said[0].startswith(says)
    assert said[0].endswith("The others wait until the cluster has more.")


@pytest.mark.parametrize(("number", "ends"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, SystemExit)])
def test_a_signal_ends_what_is_begun_and_a_second_what_is_finished(number: int, ends: type[BaseException]) -> None:
    cleaned: list[str] = []
    before = signal.getsignal(number)

    def begin() -> None:
        with ray_run.Signals(), contextlib.ExitStack() as stack:
            stack.callback(cleaned.append, "begun")
            signal.raise_signal(number)

    with pytest.raises(ends):
        begin()
    with ray_run.Signals() as signals, contextlib.ExitStack() as stack:
        stack.callback(cleaned.append, "finished")
        signals.expect()
        assert not signals.wait(0)
        signal.raise_signal(number)
        assert signals.wait(0)
        signal.raise_signal(number)
        cleaned.append("went on")
    assert cleaned == ["begun", "finished"]
    assert signal.getsignal(number) == before


@pytest.mark.parametrize(("least", "most"), [(0, 1), (3, 2), (-1, -1)])
def test_replicas_that_cannot_be_are_refused(least: int, most: int) -> None:
    with pytest.raises(InputError, match="Replicas are 1 or more"):
        ray_run.Scale(least, most)


def test_what_a_file_for_ray_says_becomes_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FO1AGENT_TOKEN", "secret")
    options = on_ray.Options.model_validate({"load": {"device": "cpu"}, "settings": {"running": 4, "hosts": ["a.org"]}})
    model, settings = options.made()
    assert (model.name, settings.running, settings.hosts, settings.token) == ("fo1-nano", 4, ("a.org",), "secret")


def test_without_a_token_only_loopback_is_let_in(tmp_path: Path) -> None:
    for token, names in ((None, LOOPBACK), ("secret", None)):
        asked = Settings(token=token)
        assert on_ray.Named(partial(made, tmp_path, "x", asked))()[1].names == names


@pytest.mark.parametrize(
    ("told", "says"),
    [
        ("Failed 3 times.\n  File a\nfo1agent.errors.InputError: /nosuch is no folder.\n", "/nosuch is no folder."),
        ("Failed 3 times.\n  File a\nMemoryError: no more\n\n", "MemoryError: no more"),
        ("", "it is not known why."),
    ],
)
def test_why_no_replica_could_be_started_is_told_in_its_own_words(told: str, says: str) -> None:
    assert ray_run.last_words(told) == says


class Replicas:
    """A handle of replicas that say one after the other how much they are at; None is one that says nothing, ever."""

    def __init__(self, said: list[list[Any] | None]) -> None:
        self.said, self.asked = said, 0

    def broadcast(self, method: str) -> Replicas:
        self.asked += 1
        return self

    def results(self, timeout_s: float, return_exceptions: bool) -> list[Any]:
        said = self.said[self.asked - 1]
        if said is None:
            threading.Event().wait()
        if said == []:
            raise TimeoutError
        return said or []


@pytest.mark.parametrize(
    "said",
    [
        [[2, 1], [], [1, 0], [0, 0]],  # one time they are too slow to say it
        [[0, RuntimeError("it is lost")]],
    ],
)
def test_replicas_are_waited_for_while_they_are_at_something(
    said: list[list[Any] | None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ray_run, "_DRAIN_S", 0.01)
    monkeypatch.setattr(ray_run, "_SILENT_S", 3600)
    replicas = Replicas(said)
    monkeypatch.setattr(ray.serve, "get_deployment_handle", lambda deployment, app: replicas)
    ray_run.drain(ray, APP, 3600)
    assert replicas.asked == len(said)


def test_replicas_that_are_ended_by_the_same_signal_are_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray_run, "_DRAIN_S", 0.01)
    monkeypatch.setattr(ray_run, "_SILENT_S", 0.1)
    monkeypatch.setattr(ray.serve, "get_deployment_handle", lambda deployment, app: Replicas([None]))
    ray_run.drain(ray, APP, 3600)  # comes back
