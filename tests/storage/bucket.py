"""An S3 server on loopback, and a bucket of it."""

import contextlib
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

# What the provider's library is told by the environment; the secret must never be seen in a message.
KEY, SECRET = "key-of-the-tests", "secret/of+the-tests"


@dataclass(frozen=True)
class Bucket:
    """A bucket of its own for one test."""

    name: str
    client: Any

    def url(self, key: str) -> str:
        return f"s3://{self.name}/{key}"

    def put(self, key: str, content: bytes) -> str:
        """Store an object; its URL."""
        self.client.put_object(Bucket=self.name, Key=key, Body=content)
        return self.url(key)

    def delete(self, key: str) -> None:
        self.client.delete_object(Bucket=self.name, Key=key)


@contextlib.contextmanager
def served() -> Iterator[str]:
    """The address of a server (moto's)."""
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


def environment(address: str) -> dict[str, str]:
    """What a user would set to reach the server, and nothing of this machine's."""
    return {
        "AWS_ENDPOINT_URL": address,
        "AWS_ACCESS_KEY_ID": KEY,
        "AWS_SECRET_ACCESS_KEY": SECRET,
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_MAX_ATTEMPTS": "1",
        "AWS_CONFIG_FILE": "/there/is/none",
        "AWS_SHARED_CREDENTIALS_FILE": "/there/is/none",
    }
