"""What object storage answers when it does not give the data, said in one sentence."""

import contextlib
from collections.abc import Iterator

from tasks.errors import UserError
from tasks.secrets import masked

# By name: the libraries that raise them need not be installed.
WITHOUT_CREDENTIALS = frozenset(
    {
        "NoCredentialsError",
        "PartialCredentialsError",
        "CredentialRetrievalError",
        "ProfileNotFound",
        "DefaultCredentialsError",
    }
)
UNREACHABLE = frozenset(
    {
        "EndpointConnectionError",
        "ConnectTimeoutError",
        "ReadTimeoutError",
        "ConnectionClosedError",
        "HTTPClientError",
        "ClientConnectorError",
        "ServerDisconnectedError",
        "TimeoutError",
        "FSTimeoutError",
    }
)


OF_DATA = "`prepare.path` and `prepare.test_path` must name an object or a folder of objects"


@contextlib.contextmanager
def told(url: str, where_absent: str = OF_DATA) -> Iterator[None]:
    """Raise what fsspec and the library below it raise as a UserError that names the URL, and no secret.

    Args:
        url: what is asked for.
        where_absent: what to do if there is nothing.
    """
    try:
        yield
    except UserError:
        raise
    except Exception as error:  # each provider's library has exceptions of its own
        raise UserError(f"{url} {_reason(error, where_absent)}") from None


def _reason(error: Exception, where_absent: str) -> str:
    said, kinds = masked(str(error)), {kind.__name__ for kind in type(error).__mro__}
    if isinstance(error, FileNotFoundError):
        if "bucket does not exist" in said:
            return "cannot be read: there is no such bucket; correct its name, or set AWS_ENDPOINT_URL"
        return f"does not exist: {where_absent}"
    if isinstance(error, PermissionError):
        return (
            f"may not be read with these credentials ({said}): they need the right to list the bucket and to get its "
            "objects"
        )
    if kinds & WITHOUT_CREDENTIALS:
        return (
            f"cannot be read without credentials ({said}): set AWS_PROFILE, or AWS_ACCESS_KEY_ID and "
            "AWS_SECRET_ACCESS_KEY, or what your provider's command line uses"
        )
    if kinds & UNREACHABLE or isinstance(error, ConnectionError):
        return f"cannot be reached ({said}): look at the network and at AWS_ENDPOINT_URL, and run again"
    return f"cannot be read ({type(error).__name__}: {said})"
