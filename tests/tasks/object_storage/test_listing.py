from typing import Any

import pytest
from bucket import Bucket

from tasks.errors import UserError
from tasks.object_storage.listing import Listed, list_objects
from tasks.object_storage.location import connect


class Keys:
    """A store that holds these keys, as fsspec shows one: what S3 allows and a client would not send."""

    def __init__(self, *keys: str, **info: Any) -> None:
        self.keys, self.more = keys, {"type": "file", "size": 1, "ETag": '"x"', **info}

    def info(self, path: str) -> dict[str, Any]:
        return dict(self.more) if path in self.keys else {"type": "directory"}

    def find(self, path: str, detail: bool) -> dict[str, dict[str, Any]]:
        return {key: dict(self.more) for key in self.keys if key.startswith(path)}


def test_an_object_and_a_folder(bucket: Bucket) -> None:
    bucket.put("data/b/2.txt", b"two")
    bucket.put("data/a.txt", b"one")
    bucket.put("data/b/", b"")  # what a console makes for a folder
    bucket.put("database", b"not below data")
    system, path = connect(bucket.url("data/"))
    found = list_objects(system, path, bucket.url("data/"))
    assert [(each.name, each.size) for each in found] == [("data/a.txt", 3), ("data/b/2.txt", 3)]
    system, path = connect(bucket.url("data/a.txt"))
    alone = list_objects(system, path, bucket.url("data/a.txt"))
    assert alone == [Listed(f"{bucket.name}/data/a.txt", "a.txt", 3, found[0].version)], "one version, however asked"
    assert found[0].version != found[1].version


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        (("b/data/../../../etc/cron.d/x",), "cannot be the name of a file"),
        (("b/data//x",), "cannot be the name of a file"),
        (("b/data/./x",), "cannot be the name of a file"),
        (("b/data/a\x00b",), "cannot be the name of a file"),
        (("b/data/a", "b/data/a/b"), "both 'data/a' and 'data/a/b', a file and a folder of one name"),
        ((), "does not exist"),
    ],
)
def test_keys_that_are_no_files_here(keys: tuple[str, ...], said: str) -> None:
    with pytest.raises(UserError, match=f"s3://b/data .*{said}"):
        list_objects(Keys(*keys), "b/data", "s3://b/data")


@pytest.mark.parametrize("missing", ["ETag", "size"])
def test_a_server_that_cannot_tell_a_change_is_refused(missing: str) -> None:
    with pytest.raises(UserError, match="does not tell its size and when it changes"):
        list_objects(Keys("b/x", **{missing: None}), "b/x", "https://b/x")
