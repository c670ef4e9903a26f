"""Data and a DVC remote in object storage: an S3 server on loopback."""

import subprocess
from pathlib import Path

import pytest
import yaml
from bucket import SECRET, Bucket
from toy import PARAMETERS, Toy

from flows.checks import check
from flows.dvc_graph import read_graph, require_remote
from flows.dvc_record import read_record
from flows.dvc_runner import StageFailed, push, reproduce
from flows.init import initialise
from flows.sniff import Hints
from tasks.errors import UserError

PREPARE = PARAMETERS["prepare"]
assert isinstance(PREPARE, dict)


@pytest.fixture
def remote(toy: Toy, bucket: Bucket) -> Toy:
    """The toy, reading its data from the bucket."""
    url = bucket.put("raw", b"hello\n")
    (toy.root / "raw").unlink()
    toy.parameters(prepare={**PREPARE, "path": url})
    described = yaml.safe_load((toy.root / "dvc.yaml").read_text())
    described["stages"]["prepare"]["deps"] = ["${prepare.path}"]
    (toy.root / "dvc.yaml").write_text(yaml.safe_dump(described, sort_keys=False))
    toy.command("prepare", "echo hello > a")
    return toy


def unchanged(toy: Toy) -> bool:
    """Whether the stage that reads the data is."""
    return read_graph(toy.root, ["prepare"], status=True)[0].unchanged


def test_a_stage_follows_the_object(remote: Toy, bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    assert reproduce("prepare", remote.root, print) == "Completed"
    assert unchanged(remote)
    record = read_record(remote.root, remote.root / "a")
    assert record is not None
    assert [(each.path, each.now) for each in record.origin.inputs] == [(bucket.url("raw"), "same")]
    bucket.put("raw", b"HELLO\n")
    assert not unchanged(remote)
    record = read_record(remote.root, remote.root / "a")
    assert record is not None and record.origin.inputs[0].now == "changed"
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    assert not unchanged(remote), "what cannot be asked is not taken for unchanged"
    record = read_record(remote.root, remote.root / "a")
    assert record is not None and record.origin.inputs[0].now == "unknown"


def test_before_any_work(remote: Toy, bucket: Bucket) -> None:
    check(remote.root)
    remote.parameters(prepare={**PREPARE, "path": bucket.url("nothing")})
    with pytest.raises(UserError, match="nothing does not exist"):
        check(remote.root)
    remote.parameters(prepare={**PREPARE, "path": f"s3://ada:{SECRET}@{bucket.name}/raw"})
    with pytest.raises(UserError, match="a user, a password or a key") as caught:
        check(remote.root)
    assert SECRET not in str(caught.value)


def test_data_that_no_stage_names_are_seen(remote: Toy, bucket: Bucket) -> None:
    remote.parameters(prepare={**PREPARE, "path": bucket.url("raw"), "test_path": bucket.put("test/a", b"x")})
    with pytest.raises(UserError, match=rf"`prepare.test_path` .*: add `- {bucket.url('test/a')}` to the deps of prep"):
        check(remote.root)
    described = yaml.safe_load((remote.root / "dvc.yaml").read_text())
    described["stages"]["prepare"]["deps"].append(bucket.url("test"))  # the folder that holds it
    (remote.root / "dvc.yaml").write_text(yaml.safe_dump(described, sort_keys=False))
    check(remote.root)


def test_artifacts_go_through_a_remote_to_another_clone(toy: Toy, bucket: Bucket, tmp_path: Path) -> None:
    toy.dvc("remote", "add", "--default", "store", bucket.url("artifacts"))
    require_remote(toy.root)
    toy.dvc("repro", "--quiet")
    said: list[str] = []
    push(toy.root, said.append)
    assert any("files pushed" in line for line in said), said
    for command in (["add", "--all"], ["-c", "user.name=t", "-c", "user.email=t@t.t", "commit", "--quiet", "-m", "x"]):
        subprocess.run(["git", *command], cwd=toy.root, check=True)
    clone = Toy(tmp_path / "clone")
    subprocess.run(["git", "clone", "--quiet", str(toy.root), str(clone.root)], check=True)
    assert not (clone.root / "b").exists()
    clone.dvc("pull", "--quiet")
    for name in ("a", "b", "report/index.html"):
        assert (clone.root / name).read_bytes() == (toy.root / name).read_bytes()
    assert clone.up_to_date()


def test_a_remote_that_cannot_be_used(toy: Toy, bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    toy.dvc("remote", "add", "--default", "store", "s3://no-such-bucket/artifacts")
    with pytest.raises(
        UserError, match=r"--push: the DVC remote store \(s3://no-such-bucket/artifacts\) does not exist"
    ):
        require_remote(toy.root)
    reproduce("prepare", toy.root, print)
    with pytest.raises(StageFailed, match=r"push: .*The specified bucket does not exist"):
        push(toy.root, print)
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    with pytest.raises(UserError, match="cannot be read without credentials"):
        require_remote(toy.root)


def test_init_looks_at_the_data_where_they_are(bucket: Bucket, tmp_path: Path) -> None:
    url = bucket.put("d/people.csv", b"age,income\n20,low\n30,high\n")
    initialise(tmp_path, url, Hints(label="income"))
    written = yaml.safe_load((tmp_path / "params.yaml").read_text())["prepare"]
    assert (written["path"], written["source"]) == (url, {"kind": "csv", "label": "income"})
    assert [stage.urls for stage in read_graph(tmp_path) if stage.name == "prepare"] == [{url}]
    with pytest.raises(UserError, match=rf"--label: {url} has no column 'wage'"):
        initialise(tmp_path, url, Hints(label="wage"), force=True)
    (tmp_path / "other").mkdir()
    with pytest.raises(UserError, match="a user, a password or a key"):
        initialise(tmp_path / "other", f"https://example.org/people.csv?sig={SECRET}", Hints(label="income"))
    assert not list((tmp_path / "other").iterdir()), "nothing of it is written down"


def test_init_names_the_labels_of_idx_images(bucket: Bucket, tmp_path: Path) -> None:
    raw = Path(__file__).parents[2] / "data/raw/fashion_mnist"
    names = [path.name for path in sorted(raw.glob("*ubyte*"))]
    images, labels = (next(name for name in names if part in name) for part in ("idx3", "idx1"))
    for name in (images, labels):
        bucket.put(name, (raw / name).read_bytes())
    initialise(tmp_path, bucket.url(images), Hints())
    stages = {stage.name: stage for stage in read_graph(tmp_path)}
    assert stages["prepare"].urls == {bucket.url(images), bucket.url(labels)}
