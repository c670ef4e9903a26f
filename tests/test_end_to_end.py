"""The whole pipeline on a user's own data, through the commands a user types, with real git, DVC and Prefect."""

import csv
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import yaml

from flows.dvc_record import read_record
from tasks.provenance import read_origin

pytestmark = pytest.mark.slow

BIN = Path(sys.executable).parent
ROWS = 300


def environment(root: Path) -> dict[str, str]:
    return {
        **{name: value for name, value in os.environ.items() if name != "PREFECT_API_URL"},
        "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
        "PREFECT_HOME": str(root.parent / "prefect"),
        "OMP_NUM_THREADS": "1",
        "GIT_AUTHOR_NAME": "a",
        "GIT_AUTHOR_EMAIL": "a@example.org",
        "GIT_COMMITTER_NAME": "a",
        "GIT_COMMITTER_EMAIL": "a@example.org",
    }


def call(root: Path, *command: str, code: int = 0) -> str:
    done = subprocess.run(command, cwd=root, env=environment(root), capture_output=True, text=True)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


def ran(output: str) -> list[str]:
    """The stages that `dvc repro` ran."""
    return [line.split("'")[1] for line in output.splitlines() if line.startswith("Running stage")]


def people() -> list[dict[str, str]]:
    """A table that a linear model can learn, a few labels apart."""
    generator = np.random.default_rng(0)
    rows = []
    for number in range(ROWS):
        age, hours = int(generator.integers(18, 80)), int(generator.integers(10, 60))
        town = str(generator.choice(["<b>Rome</b>", "Paris", "Oslo"]))
        wealthy = age / 80 + hours / 60 + 0.2 * generator.standard_normal() > 1.1
        label = "no" if wealthy == (number % 25 == 0) else "yes"
        rows.append({"name": f"p{number}", "age": str(age), "hours": str(hours), "town": town, "rich": label})
    return rows


def write_rows(path: Path, rows: list[dict[str, str]]) -> None:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty repository made a workspace for a CSV file, run once by `influence run`."""
    root = tmp_path_factory.mktemp("end-to-end") / "workspace"
    root.mkdir()
    write_rows(root / "people.csv", people())
    call(root, "git", "init", "--quiet")
    for package in ("tasks", "flows"):  # the user's own packages of these names take no part
        (root / package).mkdir()
        (root / package / "__init__.py").write_text("raise RuntimeError('the wrong package')")
    call(root, "influence", "init", "people.csv", "--label", "rich", "--id", "name")
    parameters = yaml.safe_load((root / "params.yaml").read_text())
    parameters["train"]["epochs"] = 3
    parameters["precondition"]["queries"] = {"errors": 3, "sample": 3}
    parameters["score"]["shards"] = 3
    (root / "params.yaml").write_text(yaml.safe_dump(parameters))
    output = call(root, "influence", "run")
    assert output.count("Completed") >= 6
    call(root, "git", "add", "-A")
    call(root, "git", "commit", "--quiet", "-m", "Run")
    return root


def test_one_door_finds_what_the_other_made(workspace: Path) -> None:
    assert "up to date" in call(workspace, "dvc", "status")
    assert ran(call(workspace, "dvc", "repro")) == []
    flags = pq.read_table(workspace / "flags/flags.parquet")
    assert len(flags) == round(0.05 * 240)
    page = (workspace / "report/index.html").read_text()
    assert "<b>Rome" not in page and "&lt;b&gt;Rome" in page
    assert call(workspace, "git", "status", "--porcelain") == ""  # everything is git's or DVC's, nothing lies about


def test_every_artifact_says_what_made_it(workspace: Path) -> None:
    lock = yaml.safe_load((workspace / "dvc.lock").read_text())["stages"]
    for stage, recorded in lock.items():
        for output in (workspace / each["path"] for each in recorded["outs"]):
            for path in filter(Path.is_file, [output, *output.rglob("*")]):
                origin, record = read_origin(workspace, path), read_record(workspace, path)
                assert record is not None and record.origin.stage == stage and record.origin.parameters["package"]
                assert record.output.now == "same" and {each.now for each in record.origin.inputs} == {"same"}
                assert (origin is not None) == (path.suffix == ".parquet"), path
                if origin is not None:
                    assert origin.stage == stage and {each.now for each in origin.inputs} == {"same"}
    said = call(workspace, "influence", "provenance", "model/metrics.json")
    assert "train (python -I -m tasks.train)" in said and "Run" in said  # the message of the commit


def test_a_parameter_reruns_the_stages_below_it_and_going_back_restores_them(workspace: Path) -> None:
    path = workspace / "params.yaml"
    before, report = path.read_text(), (workspace / "report/index.html").read_bytes()
    path.write_text(before.replace("inspect: 0.05", "inspect: 0.1"))
    assert ran(call(workspace, "dvc", "repro")) == ["flag", "report"]
    assert "flagged" in call(workspace, "dvc", "metrics", "diff")
    path.write_text(before)
    assert ran(call(workspace, "dvc", "repro")) == []
    assert (workspace / "report/index.html").read_bytes() == report


def test_scores_follow_a_changed_label(workspace: Path) -> None:
    """The same file name, the same number of rows, another label: nothing computed before may be taken for new."""
    rows, before = people(), pq.read_table(workspace / "scores/self.parquet")
    surest = int(before["self_influence"].to_numpy().argmin())
    changed = before["example_id"][surest].as_py()
    for row in rows:
        if row["name"] == changed:
            row["rich"] = "yes" if row["rich"] == "no" else "no"
    write_rows(workspace / "people.csv", rows)
    every = {"prepare", "train", "precondition", "score", "validate", "flag", "report"}
    assert set(ran(call(workspace, "dvc", "repro"))) == every
    after = pq.read_table(workspace / "scores/self.parquet")
    assert after["example_id"] == before["example_id"]  # a corrected label is the same row
    own = after["self_influence"].to_numpy()
    assert own[surest] > 2 * before["self_influence"][surest].as_py()  # a wrong label bends the model more
    assert (own != before["self_influence"].to_numpy()).mean() > 0.9  # and the model is another for all
    write_rows(workspace / "people.csv", people())
    assert ran(call(workspace, "dvc", "repro")) == []
    assert pq.read_table(workspace / "scores/self.parquet") == before


def test_a_fresh_clone_pulls_every_artifact(workspace: Path, tmp_path: Path) -> None:
    call(workspace, "dvc", "remote", "add", "--force", "--default", "store", str(tmp_path / "store"))
    call(workspace, "dvc", "push")
    clone = tmp_path / "clone"
    call(workspace, "git", "clone", "--quiet", str(workspace), str(clone))
    call(clone, "dvc", "remote", "add", "--force", "--default", "store", str(tmp_path / "store"))
    call(clone, "dvc", "pull")
    assert "up to date" in call(clone, "dvc", "status")
    for artifact in ("report/index.html", "scores/top.parquet", "model/weights.safetensors", "curvature/report.json"):
        assert (clone / artifact).read_bytes() == (workspace / artifact).read_bytes()


def test_explain_tells_of_any_example(workspace: Path) -> None:
    query = pq.read_table(workspace / "data/prepared/test.parquet")["example_id"][0].as_py()
    output = call(workspace, "influence", "explain", query, "--k", "3")
    assert "Helpful" in output and "Harmful" in output and "nats" in output
    assert len(list((workspace / "explain").glob("*.html"))) == 1
    assert "no example has the id 'nobody'" in call(workspace, "influence", "explain", "nobody", code=1)


@pytest.mark.parametrize("stage", ["train", "score"])
def test_a_run_killed_outright_goes_on_to_the_same_bytes(workspace: Path, tmp_path: Path, stage: str) -> None:
    clone = tmp_path / "clone"
    call(workspace, "git", "clone", "--quiet", str(workspace), str(clone))
    shutil.copytree(workspace / ".dvc/cache", clone / ".dvc/cache")
    call(clone, "dvc", "checkout")
    run = subprocess.Popen(
        [str(BIN / "dvc"), "repro", "--single-item", "--force", stage],
        cwd=clone,
        env=environment(clone),
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 120
    while not list((clone / ".work" / stage).glob("*/*.safetensors")):
        assert run.poll() is None and time.monotonic() < deadline, "the stage ended before it left anything to resume"
        time.sleep(0.01)
    os.killpg(run.pid, signal.SIGKILL)
    run.wait()
    lock = clone / ".dvc/tmp/rwlock"
    if lock.exists() and not lock.read_text():
        lock.unlink()  # what `influence run` does by itself
    output = call(clone, "dvc", "repro", "--single-item", "--force", stage)
    assert ("going on after epoch" if stage == "train" else "shards reused") in output
    artifact = {"train": "model/weights.safetensors", "score": "scores/top.parquet"}[stage]
    assert (clone / artifact).read_bytes() == (workspace / artifact).read_bytes()
