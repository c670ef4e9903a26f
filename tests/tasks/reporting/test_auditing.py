import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tasks.reporting.auditing import Audit, Count, Share, Target, headline, lead, magnified, metrics, write_audit_page
from tasks.workspace import Workspace

HOSTILE = '"><img src=x onerror=alert(1)>'


def count(images: int, attack: int, random: int = 0, label_flip: int = 0) -> Count:
    return Count(images, Share(attack, 4), Share(random, 4), Share(label_flip, 4))


def audit(**changes: Any) -> Audit:
    change = np.zeros((1, 28, 28), np.float32)
    change[0, 0, 0] = 0.499
    targets = [
        Target("00060-example", HOSTILE, 2, "00001-example", "Coat", change),
        Target("00061-example", "Coat", None, "00002-example", "Shirt", change),
    ]
    found = Audit("validation", [count(1, 0), count(2, 1, 0, 3)], targets, 60, 0.9, 0.95, 20, 0.8, 0.499, 0.31)
    return replace(found, **changes)


def test_the_headline_is_what_was_found() -> None:
    assert headline(audit()) == "2 changed training images flip 25\u202f% of the predictions"
    assert headline(audit(counts=[count(1, 2), count(2, 3)])).startswith("One changed training image flips 50\u202f%")
    nothing = audit(counts=[count(1, 0), count(2, 0)])
    assert headline(nothing) == "No prediction flips when up to 2 training images change unseen"
    assert headline(replace(nothing, levels=4.0)).endswith("change")


def test_the_lead_says_how_little_changed_and_gives_the_controls() -> None:
    assert "2 of 60 training images changed, each so little that in 8 bits it is the same image, 1 of 4" in lead(
        audit()
    )
    assert "by chance, 0; given wrong labels, 3." in lead(audit())
    assert "each pixel by 4 of 255 levels at most, 1 of 4" in lead(audit(levels=4.0))


def test_a_change_is_magnified_around_grey() -> None:
    shown = magnified(np.array([[[0.0, 0.5, -0.5, 0.25]]]), 0.5)
    assert shown.dtype == np.uint8 and shown.ravel().tolist() == [128, 255, 1, 192]


def test_metrics_hold_the_shares_and_their_intervals() -> None:
    found: dict[str, Any] = metrics(audit())
    assert found["counts"]["2"]["flipped"] == 0.25 and found["counts"]["2"]["control_label_flip"] == 0.75
    low, high = found["counts"]["2"]["flipped_interval"]
    assert 0 < low < 0.25 < high < 1
    assert found["fewest"] == {"00060-example": 2, "00061-example": None}


@pytest.mark.parametrize("levels", [0.499, 8.0])
def test_the_page_shows_every_target_and_escapes_names(make_workspace: Callable[..., Workspace], levels: float) -> None:
    workspace = make_workspace(train=60, planted=5)
    path = write_audit_page(workspace, audit(levels=levels))
    assert path == workspace.root / "audit/index.html"
    page = path.read_text(encoding="utf-8")
    assert "<img" not in page and "&lt;img" in page
    shown = re.findall(r'<use href="#(picture-\d+)"', page)
    assert len(shown) == 2 * 3 and all(f'id="{name}"' in page for name in shown)
    assert "2 images" in page and "none tried: more than 2 images" in page
    assert page.count("<polyline") == 3
    assert ("rounded to 8 bits, the image is the same" in page) == (levels < 0.5)


def test_the_page_holds_so_many_targets(make_workspace: Callable[..., Workspace], monkeypatch: Any) -> None:
    monkeypatch.setattr("tasks.reporting.auditing.SHOWN", 1)
    page = Path(write_audit_page(make_workspace(train=60, planted=5), audit())).read_text(encoding="utf-8")
    assert page.count('class="card query"') == 1 and "The first 1 of 2." in page
