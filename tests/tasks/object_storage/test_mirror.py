"""Against an S3 server on loopback."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import s3fs
from bucket import SECRET, Bucket

from tasks.errors import UserError
from tasks.object_storage import mirror as module
from tasks.object_storage.mirror import keep_only, mirror, mirror_folder, require_there


def files(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int, int]]:
    """What is asked for: key, start and end of every piece."""
    seen: list[tuple[str, int, int]] = []
    whole = s3fs.S3FileSystem._cat_ranges

    async def cat_ranges(self: Any, paths: list[str], starts: list[int], ends: list[int], **options: Any) -> Any:
        seen.extend((path.partition("/")[2], *ends) for path, *ends in zip(paths, starts, ends, strict=True))
        return await whole(self, paths, starts, ends, **options)

    monkeypatch.setattr(s3fs.S3FileSystem, "_cat_ranges", cat_ranges)
    return seen


@pytest.fixture
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PIECE", 10)
    monkeypatch.setattr(module, "AT_ONCE", 20)


def test_a_folder_follows_what_is_there(bucket: Bucket, tmp_path: Path, asked: list[tuple[str, int, int]]) -> None:
    for key, content in {"p/cat/1": b"one", "p/cat/2": b"two", "p/dog/3": b"three", "p/dog/empty": b""}.items():
        bucket.put(key, content)
    copy = mirror(tmp_path, bucket.url("p/"))
    assert copy.name == "p"
    assert files(copy) == {"cat/1": b"one", "cat/2": b"two", "dog/3": b"three", "dog/empty": b""}
    asked.clear()
    assert mirror(tmp_path, bucket.url("p/")) == copy and asked == [], "nothing has changed, nothing is fetched"
    bucket.put("p/cat/1", b"ONE")
    bucket.put("p/bird/4", b"four")
    bucket.delete("p/dog/3")
    bucket.delete("p/dog/empty")
    mirror(tmp_path, bucket.url("p/"))
    assert files(copy) == {"bird/4": b"four", "cat/1": b"ONE", "cat/2": b"two"}
    assert {key for key, _, _ in asked} == {"p/bird/4", "p/cat/1"}
    assert not (copy / "dog").exists(), "a class that is gone leaves no empty folder"


@pytest.mark.usefixtures("small_pieces")
def test_a_killed_copy_goes_on_within_the_object(
    bucket: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asked: list[tuple[str, int, int]]
) -> None:
    content = bytes(range(75))
    url = bucket.put("people.csv", content)
    append = module._Copy._append

    def killed(self: Any, each: Any, start: int, end: int, content: bytes) -> None:
        if start == 30:
            raise KeyboardInterrupt
        append(self, each, start, end, content)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(module._Copy, "_append", killed)
        mirror(tmp_path, url)
    folder = mirror_folder(tmp_path, url)
    assert not (folder / "data/people.csv").exists(), "no half file under its name"
    asked.clear()
    assert mirror(tmp_path, url).read_bytes() == content
    assert [start for _, start, _ in asked] == [30, 40, 50, 60, 70]
    assert not (folder / "parts").exists()


def change_after_fetching(monkeypatch: pytest.MonkeyPatch, changes: list[Callable[[], object]]) -> None:
    """Let something happen after each request for content."""
    whole = s3fs.S3FileSystem._cat_ranges

    async def cat_ranges(self: Any, *arguments: Any, **options: Any) -> Any:
        found = await whole(self, *arguments, **options)
        if changes:
            changes.pop(0)()
        return found

    monkeypatch.setattr(s3fs.S3FileSystem, "_cat_ranges", cat_ranges)
    s3fs.S3FileSystem.clear_instance_cache()  # an instance keeps the method that it was made with


@pytest.mark.usefixtures("small_pieces")
def test_an_object_that_changes_while_it_is_read_is_never_a_mixture(
    bucket: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = bucket.put("people.csv", b"a" * 50)
    with monkeypatch.context() as patch:
        change_after_fetching(patch, [lambda: bucket.put("people.csv", b"b" * 50)])
        assert mirror(tmp_path, url).read_bytes() == b"b" * 50
    bucket.put("people.csv", b"B" * 50)
    letters = iter("cdefghijklmnopqrstuvwxyz")
    with monkeypatch.context() as patch:
        change_after_fetching(patch, [lambda: bucket.put("people.csv", next(letters).encode() * 50)] * 20)
        with pytest.raises(UserError, match="has changed each time while it was read: run again"):
            mirror(tmp_path, url)
    s3fs.S3FileSystem.clear_instance_cache()
    bucket.put("people.csv", b"z" * 50)
    assert mirror(tmp_path, url).read_bytes() == b"z" * 50, "nothing of the others is left in it"


@pytest.mark.parametrize("moment", ["write_json", "replace"])
def test_a_kill_while_files_take_their_places_loses_nothing(
    moment: str, bucket: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asked: list[tuple[str, int, int]]
) -> None:
    bucket.put("p/1", b"one")
    bucket.put("p/2", b"two")

    def killed(*arguments: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(module if moment == "write_json" else Path, moment, killed)
        mirror(tmp_path, bucket.url("p"))
    asked.clear()
    assert files(mirror(tmp_path, bucket.url("p"))) == {"1": b"one", "2": b"two"}
    assert asked == []


def test_a_copy_that_was_cut_or_removed_is_fetched_again(bucket: Bucket, tmp_path: Path) -> None:
    url = bucket.put("people.csv", b"abc")
    copy = mirror(tmp_path, url)
    copy.write_bytes(b"")  # as a power cut leaves it
    assert mirror(tmp_path, url).read_bytes() == b"abc"
    copy.unlink()
    assert mirror(tmp_path, url).read_bytes() == b"abc"


def test_an_object_may_become_a_folder_and_back(bucket: Bucket, tmp_path: Path) -> None:
    url = bucket.put("x", b"file")
    assert mirror(tmp_path, url).read_bytes() == b"file"
    bucket.delete("x")
    bucket.put("x/y", b"inside")
    assert files(mirror(tmp_path, url)) == {"y": b"inside"}
    bucket.delete("x/y")
    bucket.put("x", b"again")
    assert mirror(tmp_path, url).read_bytes() == b"again"


def test_a_companion_comes_along(bucket: Bucket, tmp_path: Path) -> None:
    url = bucket.put("d/images", b"i")
    with pytest.raises(UserError, match=r"has nothing beside it that is named labels or labels.gz: put it there"):
        mirror(tmp_path, url, ["labels", "labels.gz"])
    bucket.put("d/labels.gz", b"l")
    copy = mirror(tmp_path, url, ["labels", "labels.gz"])
    assert files(copy.parent) == {"images": b"i", "labels.gz": b"l"}


def test_copies_of_other_urls_are_dropped(bucket: Bucket, tmp_path: Path) -> None:
    old, new = (bucket.put(f"{day}/people.csv", day.encode()) for day in ("monday", "tuesday"))
    mirror(tmp_path, old)
    copy = mirror(tmp_path, new)
    keep_only(tmp_path, [new])
    assert copy.read_bytes() == b"tuesday" and not mirror_folder(tmp_path, old).exists()


def test_the_web_is_read_as_well(bucket: Bucket, object_store: str, tmp_path: Path) -> None:
    bucket.client.put_object(Bucket=bucket.name, Key="people.csv", Body=b"a,b\n", ACL="public-read")
    url = f"{object_store}/{bucket.name}/people.csv"
    assert mirror(tmp_path, url).read_bytes() == b"a,b\n"
    with pytest.raises(UserError, match=r"nothing.csv does not exist"):
        mirror(tmp_path, f"{object_store}/{bucket.name}/nothing.csv")


@pytest.fixture
def with_rights(monkeypatch: pytest.MonkeyPatch) -> None:
    """The server asks who may do what, and knows nobody."""
    from moto import settings
    from moto.core.responses import ActionAuthenticatorMixin

    monkeypatch.setattr(settings, "INITIAL_NO_AUTH_ACTION_COUNT", 0.0)
    monkeypatch.setattr(ActionAuthenticatorMixin, "request_count", 0)


def refused(url: str, tmp_path: Path) -> str:
    """The sentence; before any work as well as when the data are read."""
    with pytest.raises(UserError) as early:
        require_there(url)
    with pytest.raises(UserError) as late:
        mirror(tmp_path, url)
    assert str(early.value) == str(late.value) and url in str(late.value)
    assert SECRET not in str(late.value)
    return str(late.value)


def test_nothing_there(bucket: Bucket, tmp_path: Path) -> None:
    assert "does not exist: `prepare.path`" in refused(bucket.url("nothing.csv"), tmp_path)
    assert "there is no such bucket" in refused("s3://no-such-bucket/people.csv", tmp_path)


def test_no_right_to_read(bucket: Bucket, tmp_path: Path, with_rights: None) -> None:
    assert "may not be read with these credentials" in refused(bucket.url("people.csv"), tmp_path)


def test_no_credentials(bucket: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    s3fs.S3FileSystem.clear_instance_cache()
    assert "cannot be read without credentials" in refused(bucket.url("people.csv"), tmp_path)
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    s3fs.S3FileSystem.clear_instance_cache()
    assert "The config profile (nobody) could not be found" in refused(bucket.url("people.csv"), tmp_path)


def test_no_server(bucket: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://ada:{SECRET.replace('/', '')}@127.0.0.1:1")
    with pytest.raises(UserError, match=r"cannot be reached.*look at the network and at AWS_ENDPOINT_URL") as caught:
        require_there(bucket.url("people.csv"))
    assert SECRET.replace("/", "") not in str(caught.value)


def test_a_disk_that_is_too_full(bucket: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url = bucket.put("people.csv", b"x" * 100)
    monkeypatch.setattr(module.shutil, "disk_usage", lambda folder: type("Usage", (), {"free": 99}))
    with pytest.raises(UserError, match="free some space"):
        mirror(tmp_path, url)
