"""What is in deploy/ says what the code says, and is what those who read it take."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from fo1agent.errors import InputError
from fo1agent.serve import ray as on_ray
from fo1agent.serve import ray_run
from fo1agent.serve.settings import Settings


@pytest.fixture(scope="module")
def folder(repo: Path) -> Path:
    return repo / "deploy"


@pytest.fixture(scope="module")
def service(folder: Path) -> dict[str, Any]:
    return yaml.safe_load((folder / "rayservice.yaml").read_text(encoding="utf-8"))["spec"]


@pytest.fixture(scope="module")
def application(service: dict[str, Any]) -> dict[str, Any]:
    (application,) = yaml.safe_load(service["serveConfigV2"])["applications"]
    return application


def test_the_image_tells_rays_proxies_what_to_do(folder: Path) -> None:
    assert f"{ray_run.CALLBACK}={ray_run.SPREAD} " in (folder / "Dockerfile").read_text(encoding="utf-8")


def test_the_image_is_made_of_what_is_there(repo: Path, folder: Path) -> None:
    kept = re.findall(r"^!(.*)$", (folder / "Dockerfile.dockerignore").read_text(encoding="utf-8"), re.MULTILINE)
    assert kept
    assert all((repo / name).exists() for name in kept)


def test_the_services_are_stages_of_the_image(folder: Path) -> None:
    services = yaml.safe_load((folder / "compose.yaml").read_text(encoding="utf-8"))["services"]
    stages = re.findall(r"^FROM .* AS (\w+)$", (folder / "Dockerfile").read_text(encoding="utf-8"), re.MULTILINE)
    assert {one["build"]["target"] for one in services.values()} == {"cpu", "cuda"} <= set(stages)
    for one in services.values():
        assert one["environment"]["FO1AGENT_TOKEN"].startswith("${FO1AGENT_TOKEN:?")
        assert int(one["stop_grace_period"].removesuffix("s")) > Settings().deadline_s + 10


def test_the_file_for_kuberay_names_what_there_is(application: dict[str, Any], service: dict[str, Any]) -> None:
    assert application["import_path"] == f"{on_ray.app.__module__}:{on_ray.app.__name__}"
    options = on_ray.Options.model_validate(application["args"])
    assert Settings(**options.settings).deadline_s == 60
    assert [one["name"] for one in application["deployments"]] == [on_ray.REPLICAS]
    (workers,) = service["rayClusterConfig"]["workerGroupSpecs"]
    spec = workers["template"]["spec"]
    assert spec["terminationGracePeriodSeconds"] > Settings(**options.settings).deadline_s + 10
    (worker,) = spec["containers"]
    assert worker["env"][0]["name"] == "FO1AGENT_TOKEN"


def test_ray_takes_it(service: dict[str, Any], application: dict[str, Any], repo: Path) -> None:
    ray = pytest.importorskip("ray", reason="the extra ray is not installed")
    schema = pytest.importorskip("ray.serve.schema", reason="the extra ray is not installed", exc_type=ImportError)
    schema.ServeDeploySchema.model_validate(yaml.safe_load(service["serveConfigV2"]))
    made = on_ray.app(application["args"])  # as Ray gives them
    assert isinstance(made, ray.serve.Application)
    bounds = re.search(r'"ray\[data,serve\]>=([\d.]+),<([\d.]+)"', (repo / "pyproject.toml").read_text("utf-8"))
    version = service["rayClusterConfig"]["rayVersion"]
    assert bounds is not None
    assert (
        tuple(map(int, bounds[1].split(".")))
        <= tuple(map(int, version.split(".")))
        < tuple(map(int, bounds[2].split(".")))
    )


def test_so_does_it_take_the_file_that_the_page_shows(repo: Path) -> None:
    schema = pytest.importorskip("ray.serve.schema", reason="the extra ray is not installed", exc_type=ImportError)
    page = (repo / "docs" / "serving.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"^```yaml\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    (application,) = schema.ServeDeploySchema.model_validate(yaml.safe_load(block)).applications
    assert [one.name for one in application.deployments] == [on_ray.REPLICAS]
    assert Settings(**on_ray.Options.model_validate(application.args).settings).keep_bytes == 512 * 2**20
    assert f"{ray_run.CALLBACK}={ray_run.SPREAD} " in page


@pytest.mark.parametrize(
    ("args", "says"),
    [
        ({"replicas": 2}, "replicas: Extra inputs are not permitted"),
        ({"load": {"devise": "cpu"}}, "load got devise; there are .*device"),
        ({"settings": {"runs": 2}}, "settings got runs; there are .*running"),
        ({"settings": {"token": "secret"}}, "settings got token;"),
        ({"settings": {"running": "many"}}, "settings.running: Input should be a valid integer"),
        ({"settings": {"running": 0}}, "Settings.running must be above 0, got 0"),
        ({"settings": {"hosts": "example.com"}}, "settings.hosts: Input should be a valid tuple"),
        ({"settings": {"mode": "step"}}, "settings.mode: Input should be 'plan' or 'steps'"),
    ],
)
def test_what_it_does_not_know_is_refused(args: dict[str, Any], says: str) -> None:
    with pytest.raises(InputError, match=says):
        on_ray.app(args)


def test_what_it_knows_has_the_types_that_a_server_wants() -> None:
    told = {"running": "4", "batching": "no", "folders": ["/srv"], "hosts": ["a.org"], "deadline_s": 5}
    limits = on_ray.Options.model_validate({"settings": told}).limits
    assert limits == Settings(running=4, batching=False, folders=(Path("/srv"),), hosts=("a.org",), deadline_s=5.0)
