"""The README's example of the library runs as it is written, and says true things."""

from pathlib import Path
from typing import Any

import torch


def test_the_library_s_example_runs() -> None:
    text = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    code = text.split("As a library, without the pipeline:")[1].split("```python\n")[1].split("```")[0]
    names: dict[str, Any] = {}
    torch.manual_seed(0)
    exec(compile(code, "README.md", "exec"), names)
    assert names["scores"].shape == (5, 300) and names["own"].shape == (300,)
    assert names["indices"].shape == (5, 20) and bool((names["values"] <= 0).all())
    assert names["sets"].newton.shape == names["sets"].first_order.shape == (5, 2)
    assert names["engine"].certificate.converged
