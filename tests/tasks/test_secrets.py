"""Secrets in params.yaml are refused before anything keeps them."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from tasks.errors import UserError
from tasks.parameters import load_parameters
from tasks.secrets import refuse_secrets

HIDDEN = "hunter2hunter2"


@pytest.mark.parametrize(
    "arguments",
    [
        {"dsn": f"postgresql://ada:{HIDDEN}@db.example/people"},
        {"dsn": f"postgresql://:{HIDDEN}@db.example/people"},
        {"dsn": f"host=db user=ada password={HIDDEN}"},
        {"dsn": f"Driver=x;PWD={HIDDEN};"},
        {"url": f"https://example.org/a.csv?x=1&sig={HIDDEN}"},
        {"url": f"s3://bucket/a?X-Amz-Signature={HIDDEN}"},
        {"password": HIDDEN},
        {"db_password": HIDDEN},
        {"login": {"api-key": HIDDEN}},
        {"several": [{"access_token": HIDDEN}]},
        {"several": ["fine", f"ftp://a:{HIDDEN}@host"]},
        {"key": f"-----BEGIN RSA PRIVATE KEY-----\n{HIDDEN}"},
        {"account": "AKIAABCDEFGHIJKLMNOP"},
    ],
)
def test_a_secret_is_refused_by_its_key_and_not_shown(tmp_path: Path, arguments: dict[str, Any]) -> None:
    source = {"kind": "function", "function": "mine:read", "arguments": arguments}
    (tmp_path / "params.yaml").write_text(yaml.safe_dump({"prepare": {"path": "x", "source": source}}))
    with pytest.raises(UserError, match=r"`prepare\.source\.arguments\.\w+.*leave it out") as caught:
        load_parameters(tmp_path / "params.yaml")
    assert HIDDEN not in str(caught.value) and "AKIA" not in str(caught.value)


@pytest.mark.parametrize(
    "value",
    [
        {"dsn": "postgresql://ada@db.example/people"},
        {"url": "https://example.org/a.csv?page=2"},
        {"password_variable": "DB_PASSWORD"},
        {"password": None},
        {"pad_token": "<pad>"},
        {"time": "12:30@noon", "text": "a: b@c"},
        {"tokenizer": "words", "secretary": "Ada"},
    ],
)
def test_what_is_no_secret_passes(value: dict[str, Any]) -> None:
    refuse_secrets(value, "params.yaml")


def test_a_secret_among_mistakes_is_not_shown(tmp_path: Path) -> None:
    """Messages about a wrong key repeat its value."""
    (tmp_path / "params.yaml").write_text(f"prepare: {{path: [], source: {{kind: csv}}, dsn: 'a://b:{HIDDEN}@c'}}\n")
    with pytest.raises(UserError) as caught:
        load_parameters(tmp_path / "params.yaml")
    assert HIDDEN not in str(caught.value)
