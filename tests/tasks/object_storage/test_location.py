import pytest

from tasks.errors import UserError
from tasks.object_storage import location
from tasks.object_storage.location import folder, is_url, last_name, require_sound

HIDDEN = "hunter2hunter2"


def test_a_url_is_told_from_a_path() -> None:
    assert is_url("s3://bucket/people.csv") and not is_url("data/people.csv") and not is_url("C:/people.csv")


@pytest.mark.parametrize(
    ("url", "parent", "name"),
    [
        ("s3://bucket/data/people.csv", "s3://bucket/data", "people.csv"),
        ("s3://bucket/pictures/", "s3://bucket", "pictures"),
        ("s3://bucket/a#b.csv?versionId=7", "s3://bucket", "a#b.csv"),
    ],
)
def test_the_parts_of_a_url(url: str, parent: str, name: str) -> None:
    assert (folder(url), last_name(url)) == (parent, name)


@pytest.mark.parametrize(
    "url",
    [
        f"s3://ada:{HIDDEN}@bucket/people.csv",
        f"s3://ada:{HIDDEN}/x@bucket/people.csv",
        f"s3://{HIDDEN}@bucket/people.csv",
        f"https://ada:{HIDDEN}@example.org/people.csv",
        f"https://example.org/people.csv?X-Amz-Signature={HIDDEN}&X-Amz-Expires=60",
    ],
)
def test_a_password_in_a_url_is_refused_and_not_repeated(url: str) -> None:
    with pytest.raises(UserError, match=r"holds a user, a password or a key.*: leave it out") as caught:
        require_sound(url)
    assert HIDDEN not in str(caught.value) and "ada" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("ftp://host/people.csv", "data are read from a path or from s3://, gs://, http://, https://"),
        ("file:///etc/passwd", "data are read from a path"),
        ("simplecache::s3://bucket/people.csv", "data are read from a path"),
        ("s3:///people.csv", "name the bucket and the key, as s3://bucket/key"),
    ],
)
def test_what_is_no_url_of_data(url: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        require_sound(url)


def test_a_package_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(location.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"s3fs and dvc-s3 must be .*: pip install 'influence-pipeline\[s3\]'"):
        require_sound("s3://bucket/people.csv")
    with pytest.raises(UserError, match="pip install 'gcsfs dvc-gs'"):
        require_sound("gs://bucket/people.csv")
