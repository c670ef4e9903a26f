"""What stands in deploy/: an image and a Kubernetes pool, held to what they speak of. Nothing here is built or run."""

import json
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

REPOSITORY = Path(__file__).parents[1]
DEPLOY = REPOSITORY / "deploy"
PLACEHOLDER = re.compile(r"{{\s*(\w+)\s*}}")


@pytest.fixture(scope="module")
def template() -> dict[str, Any]:
    return json.loads((DEPLOY / "kubernetes/base-job-template.json").read_text())


@pytest.fixture(scope="module")
def bundled() -> dict[str, Any]:
    """Prefect's own template for a Kubernetes pool."""
    import prefect

    path = Path(prefect.__file__).parent / "server/api/collections_data/views/aggregate-worker-metadata.json"
    return json.loads(path.read_text())["prefect-kubernetes"]["kubernetes"]["default_base_job_configuration"]


def paths(value: Any, path: str = "") -> Iterator[str]:
    """The path of everything in a JSON document."""
    yield path
    members = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, member in members:
        yield from paths(member, f"{path}/{key}")


def test_prefect_accepts_the_template(template: dict[str, Any]) -> None:
    from prefect.server.schemas.actions import WorkPoolCreate
    from prefect.utilities.schema_tools.validation import validate

    WorkPoolCreate(name="x", type="kubernetes", base_job_template=template)
    wanted = {"image": "registry.example/influence:1", "env": {"A": "1"}, "gpus": "1"}
    validate(wanted, template["variables"], raise_on_error=True, preprocess=False)
    for wrong in ({}, {"image": 3}, {"image": "x", "image_pull_policy": "Sometimes"}):
        with pytest.raises(Exception, match=r"required|not of type|not one of"):
            validate(wrong, template["variables"], raise_on_error=True, preprocess=False)


def test_every_variable_is_used_and_every_placeholder_is_a_variable(template: dict[str, Any]) -> None:
    used = set(PLACEHOLDER.findall(json.dumps(template["job_configuration"])))
    assert used == set(template["variables"]["properties"])


def test_the_template_holds_what_the_worker_of_prefect_asks_for(
    template: dict[str, Any], bundled: dict[str, Any]
) -> None:
    """Such as /spec/template/spec/completions, without which it refuses the job. The cluster is that of the worker."""
    ours, theirs = (set(paths(each["job_configuration"])) for each in (template, bundled))
    left_out = {"/cluster_config", "/job_manifest/spec/template/spec/containers/0/resources/limits/cpu"}
    assert theirs - ours == left_out


def test_a_filled_manifest_mounts_the_workspace_where_the_flow_looks_for_it(template: dict[str, Any]) -> None:
    from prefect.utilities.templating import apply_values

    values = {name: row["default"] for name, row in template["variables"]["properties"].items() if "default" in row}
    filled = apply_values(template["job_configuration"], values | {"image": "x"})
    pod = filled["job_manifest"]["spec"]["template"]["spec"]
    container = pod["containers"][0]
    assert pod["volumes"][0]["persistentVolumeClaim"]["claimName"] == "influence-workspace"
    assert container["volumeMounts"][0]["name"] == pod["volumes"][0]["name"]
    described = yaml.safe_load((DEPLOY / "kubernetes/prefect.yaml").read_text())
    (pull,) = described["pull"][0].values()
    places = {container["workingDir"], container["volumeMounts"][0]["mountPath"], pull["directory"]}
    places |= {deployment["parameters"]["workspace"] for deployment in described["deployments"]}
    assert places == {"/workspace"}
    for deployment in described["deployments"]:
        assert set(deployment["work_pool"]["job_variables"]) <= set(template["variables"]["properties"])


@pytest.mark.parametrize("path", ["prefect.yaml", "deploy/kubernetes/prefect.yaml"])
def test_entrypoints_are_flows(path: str) -> None:
    import influence_deployment

    described = yaml.safe_load((REPOSITORY / path).read_text())
    for deployment in described["deployments"]:
        module, _, name = deployment["entrypoint"].partition(".")
        assert module == "influence_deployment" and name in influence_deployment.__all__
        flow = getattr(influence_deployment, name)
        assert set(deployment.get("parameters", {})) <= set(flow.parameters.properties)


def instructions() -> list[tuple[str, str]]:
    """Of the Dockerfile, each with its arguments, continued lines joined."""
    text = re.sub(r"^\s*#.*\n", "", (DEPLOY / "Dockerfile").read_text(), flags=re.MULTILINE)
    lines = text.replace("\\\n", " ").splitlines()
    return [(line.split()[0], line.partition(" ")[2].strip()) for line in lines if line.strip()]


def test_the_image_copies_what_there_is_and_all_that_the_package_is_built_from() -> None:
    copied = {source for name, rest in instructions() if name == "COPY" for source in rest.split()[:-1]}
    assert all((REPOSITORY / source).exists() for source in copied)
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())
    packages = {pattern.rstrip("*") for pattern in project["tool"]["setuptools"]["packages"]["find"]["include"]}
    modules = {f"{name}.py" for name in project["tool"]["setuptools"]["py-modules"]}
    files = {project["project"]["readme"], *project["project"]["license-files"], "pyproject.toml", "constraints.txt"}
    assert copied == packages | modules | files
    ignored = (DEPLOY / "Dockerfile.dockerignore").read_text().splitlines()
    assert {line[1:] for line in ignored if line.startswith("!")} == copied


def test_the_image_has_a_python_that_the_package_takes_and_the_pinned_torch() -> None:
    steps = instructions()
    base = next(rest for name, rest in steps if name == "FROM")
    version = tuple(map(int, re.fullmatch(r"python:(\d+)\.(\d+)-slim-bookworm", base).groups()))  # type: ignore[union-attr]
    assert version >= (3, 11)
    (pinned,) = re.findall(r"^torch==\S+$", (REPOSITORY / "constraints.txt").read_text(), flags=re.MULTILINE)
    install = next(rest for name, rest in steps if name == "RUN" and "torch==" in rest)
    command = re.search(r"\$\((sed [^)]*)\)", install)
    assert command is not None
    shown = subprocess.run(shlex.split(command[1]), cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert f"torch=={shown.stdout.strip()}" == pinned


def test_the_image_runs_as_nobody_special_a_command_that_exists() -> None:
    steps = instructions()
    kinds = [name for name, _ in steps]
    assert kinds.index("USER") < kinds.index("CMD") and dict(steps)["USER"] == "influence"
    user = next(rest for name, rest in steps if name == "RUN" and "useradd" in rest)
    assert "--uid 1000" in user and "--gid 1000" in user  # as base-job-template.json says
    command = json.loads(dict(steps)["CMD"])
    shown = subprocess.run([Path(sys.executable).parent / command[0], *command[1:], "--help"], capture_output=True)
    assert shown.returncode == 0
