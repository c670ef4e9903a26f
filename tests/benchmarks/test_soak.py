"""The soak on a table of a few hundred rows: what is written, what is measured of a stage, and what the report says."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import yaml
from sklearn.linear_model import LogisticRegression

from benchmarks.soak import command, table
from benchmarks.soak.fit import fit
from benchmarks.soak.report import write_report
from benchmarks.soak.watch import Cost, StageFailedError, run_stage
from tasks.reviews import store
from tasks.workspace import Workspace

GIB = 2**30
MIB = 2**20


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    workspace = Workspace(tmp_path / "run")
    workspace.root.mkdir()
    table.write_table(workspace.root / "table.parquet", 600, seed=0)
    workspace.parameters.write_text(yaml.safe_dump(command.parameters("table.parquet", queries=50, seed=0)))
    store.create(workspace)
    return workspace


def test_a_table_is_written_in_groups_and_its_labels_can_be_learned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(table, "GROUP", 1000)
    for name in ("one", "two"):
        table.write_table(tmp_path / f"{name}.parquet", 3500, seed=1)
    assert (tmp_path / "one.parquet").read_bytes() == (tmp_path / "two.parquet").read_bytes()
    file = pq.ParquetFile(tmp_path / "one.parquet")
    assert [file.metadata.row_group(group).num_rows for group in range(file.num_row_groups)] == [1000, 1000, 1000, 500]
    found = file.read().to_pandas()
    assert found["id"].is_unique
    numbers, labels = found.filter(regex="^x").to_numpy(), found["label"].to_numpy()
    right = LogisticRegression().fit(numbers[:3000], labels[:3000]).score(numbers[3000:], labels[3000:])
    assert right > np.unique(labels, return_counts=True)[1].max() / len(labels) + 0.1


def test_what_a_stage_takes_is_measured(workspace: Workspace) -> None:
    source = workspace.root / "table.parquet"
    cost = run_stage("prepare", workspace.root, source, 8 * GIB, threads=1)
    assert cost.cpu > 0 and cost.silence <= cost.wall
    assert 100 * MIB < cost.peak < 8 * GIB
    files = [file for file in workspace.root.rglob("*") if file.is_file()]
    assert cost.kept == sum(file.stat().st_size for file in files) - source.stat().st_size
    assert cost.files >= len(files) and cost.written >= workspace.split("train").stat().st_size


def test_a_stage_that_needs_more_memory_than_the_limit_fails(workspace: Workspace) -> None:
    with pytest.raises(StageFailedError, match="prepare ended with"):
        run_stage("prepare", workspace.root, workspace.root / "table.parquet", GIB // 4, threads=1)


def run(rows: int, cpu: float, failed: str | None = None) -> dict[str, Any]:
    cost = Cost("prepare", cpu, 2 * cpu, 100 * MIB + 500 * rows, 3 * MIB, 2 * MIB, 7, 1.0)
    common = {"queries": 5, "limit": 8 * GIB, "threads": 2, "table": MIB, "machine": "a machine"}
    return {"rows": rows, "stages": [asdict(cost)], "failed": failed, **common}


def test_the_report_tells_what_a_further_row_takes() -> None:
    text = write_report([run(3000, 4.0), run(1000, 2.0)])
    assert "| prepare | 2.0 | 4.0 | 500 | 100 | 3.0 | 2.0 | 7 | 1 |" in text
    assert "| CPU ms | 1,000 to 3,000 |" in text
    assert text.count("| prepare | 1 |") == 1 and text.count("| prepare | 500 |") == 1
    assert "`python -m benchmarks soak --rows 1000,3000 --queries 5 --memory 8GiB --threads 2 --until prepare`" in text


def test_a_polynomial_is_found_again_and_refused_where_nothing_could_contradict_it() -> None:
    rows = [1000, 20_000, 300_000, 1_000_000]
    found = fit(rows, [2.0 + 3e-5 * n + 4e-9 * n**2 for n in rows], degree=2)
    assert found is not None and found.coefficients == pytest.approx((2.0, 3e-5, 4e-9)) and found.deviation < 1e-9
    assert found.at(5000) == pytest.approx(2.25)
    bent = fit(rows, [2.0 + 4e-9 * n**2 for n in rows], degree=1)
    assert bent is not None and bent.deviation > 0.3
    assert fit(rows[:3], [1.0, 2.0, 3.0], degree=2) is None


def test_the_report_tells_where_memory_ends() -> None:
    text = write_report([run(rows, 1.0 + rows / 1000) for rows in (1000, 3000, 9000)])
    ends = (8 * GIB - 100 * MIB) / 500 / 1e6
    cpu, peak = "1 s + 1 s (N/1000) | 0.0%", "100 MiB + 0.477 MiB (N/1000) | 0.0%"
    assert f"| prepare | {cpu} | {peak} | {ends:.2g} million |" in text


def test_the_report_tells_of_a_failure() -> None:
    assert "Then it failed: no memory" in write_report([run(1000, 2.0, failed="train ended with -9:\nno memory")])
