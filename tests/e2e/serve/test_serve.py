"""The server as a process: clients that are killed, that are slow, and a server that is told to stop."""

from __future__ import annotations

import concurrent.futures
import io
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image

import fo1agent
from fo1agent.cli.trace import FOLDER
from tests.scripted_provider import Provider
from tests.serving import PATIENCE_S, Process, process, until

DEMO = Path(fo1agent.__file__).parent / "data" / "demo"


@pytest.fixture(scope="module")
def server() -> Iterator[Process]:
    with process("--docs", "--opening", "8") as made:
        yield made


def figure(server: Process, *names: str) -> float:
    """Figures of /metrics, summed, over their labels too."""
    lines = httpx.get(f"{server.url}/metrics", timeout=60).text.splitlines()
    return sum(float(line.split()[-1]) for line in lines if line.split("{")[0].split(" ")[0] in names)


def variant(k: int) -> bytes:
    """A photograph that no other test sends."""
    with Image.open(DEMO / "bus.jpg") as photo:
        file = io.BytesIO()
        photo.convert("RGB").crop((k, 0, photo.width, photo.height)).save(file, "PNG", compress_level=1)
        return file.getvalue()


def sent(server: Process, picture: bytes) -> str:
    response = httpx.post(f"{server.url}/v1/images", files={"file": picture}, timeout=PATIENCE_S)
    assert response.status_code == 201
    return response.json()["image"]


CLIENT = """
import json, sys, urllib.request
things = ("bus", "car", "person", "traffic light")
question = " and ".join(f"what is written on the {one}" for one in things) + " and what text is in the picture?"
body = json.dumps({"image": sys.argv[2], "question": question, "stream": True})
headers = {"content-type": "application/json"}
with urllib.request.urlopen(urllib.request.Request(sys.argv[1] + "/v1/ask", body.encode(), headers)) as stream:
    for line in stream:
        print(line.decode().strip(), flush=True)
"""


def test_a_client_that_is_killed_midway_frees_its_work(server: Process) -> None:
    image = sent(server, variant(1))
    with subprocess.Popen(
        [sys.executable, "-c", CLIENT, server.url, image], stdout=subprocess.PIPE, text=True
    ) as asking:
        assert asking.stdout is not None
        assert next(line for line in asking.stdout if "step_start" in line and "read" in line)
        assert figure(server, "fo1agent_running") == 1
        asking.kill()
    until(lambda: figure(server, "fo1agent_running") == 0)
    assert figure(server, "fo1agent_waiting") == 0


def test_a_client_that_leaves_before_its_answer_frees_its_work(server: Process) -> None:
    image = sent(server, variant(2))
    with socket.create_connection(("127.0.0.1", server.port)) as connection:
        body = f'{{"image": "{image}"}}'.encode()
        head = "POST /v1/tools/read HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\n"
        connection.sendall(f"{head}content-length: {len(body)}\r\n\r\n".encode() + body)
        until(lambda: figure(server, "fo1agent_running") == 1)
    until(lambda: figure(server, "fo1agent_running") == 0)


def test_another_hosts_name_is_refused_on_loopback(server: Process) -> None:
    response = httpx.get(f"{server.url}/v1/tools", headers={"host": "evil.example"}, timeout=60)
    assert response.status_code == 403


def test_many_who_open_one_picture_share_its_encoding(server: Process) -> None:
    before = figure(server, "fo1agent_pass_jobs_count")
    picture = variant(3)
    with concurrent.futures.ThreadPoolExecutor(8) as threads:
        images = set(threads.map(lambda _: sent(server, picture), range(8)))
    assert len(images) == 1
    shared = figure(server, "fo1agent_shared_jobs_total")
    assert shared >= 1
    assert figure(server, "fo1agent_pass_jobs_count") - before < 16


def test_the_shell_uses_a_server(server: Process) -> None:
    def run(*arguments: str) -> str:
        command = [sys.executable, "-m", "fo1agent", *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True, timeout=PATIENCE_S).stdout

    cat = str(DEMO / "cat.jpg")
    asked = run("--server", server.url, "ask", cat, "How many remotes are to the right of the cat?")
    assert "2 remotes are to the right of the cat." in asked
    assert run("count", cat, "remote", "--server", server.url).strip() == "2"


def asked(server: Process, question: str) -> dict[str, Any]:
    body = {"image": sent(server, (DEMO / "cat.jpg").read_bytes()), "question": question}
    return httpx.post(f"{server.url}/v1/ask", json=body, timeout=PATIENCE_S).json()["answer"]


def test_a_chat_model_decides_and_every_run_is_saved(tmp_path: Path) -> None:
    script = [("count", {"phrase": "remote"}), ("answer", {"text": "Two.", "value": 2, "claims": []})]
    with Provider(script).serving() as provider:
        variables = {**provider.environment(), FOLDER: str(tmp_path)}
        with process("--planner", "openai:scripted", "--mode", "steps", variables=variables) as server:
            told = asked(server, "How many remotes are there?")
    assert (told["text"], told["value"], told["planner"], told["notes"]) == ("Two.", 2, "scripted", [])
    (path,) = tmp_path.iterdir()
    run = [sys.executable, "-m", "fo1agent", "replay", str(path), "--image", str(DEMO / "cat.jpg")]
    again = subprocess.run(run, capture_output=True, text=True, timeout=PATIENCE_S)
    assert (again.returncode, again.stdout.splitlines()[-1]) == (0, "The same.")


@pytest.mark.parametrize("batching", ["--batching", "--no-batching"])
def test_the_model_may_plan_for_itself(batching: str) -> None:
    with process("--planner", "fo1", batching) as server, concurrent.futures.ThreadPoolExecutor(2) as threads:
        for told in threads.map(lambda thing: asked(server, f"How many {thing} are there?"), ("cats", "remotes")):
            assert told["planner"] == "fo1"  # what it plans is another matter


def test_nobody_listens_to_strangers_without_a_token() -> None:
    command = [sys.executable, "-m", "fo1agent", "serve", "--host", "0.0.0.0", "--port", "0"]
    env = {name: value for name, value in os.environ.items() if name != "FO1AGENT_TOKEN"}
    ended = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, env=env)
    assert ended.returncode == 1
    assert "FO1AGENT_TOKEN" in ended.stderr


def test_a_server_that_is_told_to_stop_loses_nothing() -> None:
    with process("--running", "2", "--max-wait", "600") as server, concurrent.futures.ThreadPoolExecutor(8) as threads:
        images = [sent(server, variant(10 + k)) for k in range(6)]

        def read(image: str) -> int:
            return httpx.post(f"{server.url}/v1/tools/read", json={"image": image}, timeout=PATIENCE_S).status_code

        reading = [threads.submit(read, image) for image in images]

        def arrived() -> float:
            answered = sum(one.done() for one in reading)
            return answered + figure(server, "fo1agent_running", "fo1agent_waiting")

        until(lambda: arrived() == 6)  # what comes later is rightly refused
        server.popen.send_signal(signal.SIGTERM)

        def health() -> str:
            return httpx.get(f"{server.url}/healthz", timeout=60).json()["status"]

        until(lambda: health() == "draining")
        refused = httpx.get(f"{server.url}/v1/tools", timeout=60)
        assert refused.status_code == 503
        assert [one.result(PATIENCE_S) for one in reading] == [200] * 6
        assert server.popen.wait(PATIENCE_S) == 0
