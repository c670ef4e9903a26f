"""The layout of a workspace: where every artifact lies, relative to the folder that holds dvc.yaml."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

SplitName = Literal["train", "validation", "test"]
HeldOut = Literal["validation", "test"]
SPLITS: tuple[SplitName, ...] = ("train", "validation", "test")


@dataclass(frozen=True)
class Workspace:
    """Paths of one workspace. Every stage is run with the workspace as its working directory."""

    root: Path = Path()

    @property
    def parameters(self) -> Path:
        return self.root / "params.yaml"

    # prepare
    def split(self, name: SplitName) -> Path:
        return self.root / "data/prepared" / f"{name}.parquet"

    @property
    def encoding(self) -> Path:
        return self.root / "data/prepared/encoding.json"

    @property
    def truth(self) -> Path:
        """Labels before the planted errors. Read by the report, to score the detector, and by nothing else."""
        return self.root / "data/truth.parquet"

    @property
    def applied_verdicts(self) -> Path:
        """What prepare did with each verdict. Not beside the splits: a verdict that changes none trains nothing."""
        return self.root / "data/verdicts.parquet"

    # train
    @property
    def weights(self) -> Path:
        return self.root / "model/weights.safetensors"

    @property
    def model_metrics(self) -> Path:
        return self.root / "model/metrics.json"

    @property
    def loss_curve(self) -> Path:
        return self.root / "model/loss_curve.csv"

    @property
    def predictions(self) -> Path:
        return self.root / "model/predictions.parquet"

    @property
    def epoch_margins(self) -> Path:
        return self.root / "model/epoch_margins.parquet"

    # precondition
    @property
    def factors(self) -> Path:
        return self.root / "curvature/factors.safetensors"

    @property
    def queries(self) -> Path:
        return self.root / "curvature/queries.safetensors"

    @property
    def curvature_report(self) -> Path:
        return self.root / "curvature/report.json"

    # score
    @property
    def self_influence(self) -> Path:
        return self.root / "scores/self.parquet"

    @property
    def top(self) -> Path:
        return self.root / "scores/top.parquet"

    # validate
    @property
    def validation_metrics(self) -> Path:
        return self.root / "validation/metrics.json"

    @property
    def retrained(self) -> Path:
        return self.root / "validation/retrained.csv"

    # flag
    @property
    def signals(self) -> Path:
        return self.root / "flags/signals.parquet"

    @property
    def flags(self) -> Path:
        return self.root / "flags/flags.parquet"

    @property
    def findings(self) -> Path:
        return self.root / "flags/findings.parquet"

    @property
    def flag_metrics(self) -> Path:
        return self.root / "flags/metrics.json"

    # report
    @property
    def report(self) -> Path:
        return self.root / "report/index.html"

    @property
    def report_metrics(self) -> Path:
        return self.root / "report/metrics.json"

    @property
    def recall_curve(self) -> Path:
        return self.root / "report/recall.csv"

    # written by people who review, and kept by git
    @property
    def verdicts(self) -> Path:
        return self.root / "reviews/verdicts.parquet"

    @property
    def oracle_table(self) -> Path:
        """What a simulated review gained, round by round; its figure lies beside it."""
        return self.root / "reviews/oracle.csv"

    # written by the report for the next one; no output of the stage, and kept by nobody
    @property
    def history(self) -> Path:
        return self.root / "history"

    # written by commands when asked, beside the stages
    @property
    def slices(self) -> Path:
        return self.root / "slices/slices.parquet"

    @property
    def slice_influence(self) -> Path:
        return self.root / "slices/influence.parquet"

    @property
    def slices_page(self) -> Path:
        return self.root / "slices/index.html"

    @property
    def audit_metrics(self) -> Path:
        return self.root / "audit/metrics.json"

    @property
    def audit_page(self) -> Path:
        return self.root / "audit/index.html"

    @property
    def index(self) -> Path:
        """What the gradient index is; its shards lie beside it."""
        return self.root / "index/index.json"

    def index_shard(self, name: str) -> Path:
        return self.root / "index" / f"{name}.arrow"

    # not tracked: progress that a killed run left behind, locks, timings
    @property
    def work(self) -> Path:
        return self.root / ".work"
