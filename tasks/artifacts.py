"""Schemas, provenance and atomic writes: the only place that knows how artifacts are laid out."""

import hashlib
import json
import os
import tempfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tasks.errors import UserError

PROVENANCE = b"influence.provenance"
SCORES = b"influence.scores"
PACKAGE = "influence-pipeline"
PART = ".part"  # ends the name of a file that is still being written

SPARSE = pa.struct([("indices", pa.list_(pa.int32())), ("values", pa.list_(pa.float32()))])  # a text

PREDICTIONS = pa.schema(
    [
        ("example_id", pa.string()),
        ("split", pa.string()),
        ("label", pa.string()),
        ("predicted", pa.string()),
        ("loss", pa.float32()),  # nats
        ("margin", pa.float32()),  # logit of the label less the largest other logit
        ("probabilities", pa.list_(pa.float32())),  # in the order of the classes in encoding.json
        ("features", pa.list_(pa.float32())),  # input of the last linear layer
    ]
)
EPOCH_MARGINS = pa.schema([("example_id", pa.string()), ("margins", pa.list_(pa.float32()))])  # one an epoch
TRUTH = pa.schema([("example_id", pa.string()), ("true_label", pa.string()), ("planted", pa.bool_())])
SELF_INFLUENCE = pa.schema(
    [
        ("example_id", pa.string()),
        ("self_influence", pa.float32()),  # nats
        ("influence_on_errors", pa.float32()),  # nats, on all misread validation examples together; positive is helpful
        ("leave_one_out_loss", pa.float32()),  # nats; the metadata say by which approximation
    ]
)
TOP = pa.schema(
    [
        ("query_id", pa.string()),
        ("example_id", pa.string()),
        ("influence", pa.float32()),  # nats; positive is helpful
        ("tail", pa.string()),  # helpful or harmful
        ("rank", pa.int32()),  # 1 is the strongest of its tail
    ]
)
NEW_ROWS = pa.schema(
    [
        ("example_id", pa.string()),
        ("label", pa.string()),
        ("predicted", pa.string()),
        ("loss", pa.float32()),  # nats
        ("self_influence", pa.float32()),  # nats
        ("influence_on_errors", pa.float32()),  # nats, on all misread validation examples together; positive is helpful
    ]
)
ANSWERS = pa.schema(
    [
        ("query_id", pa.string()),
        ("model", pa.string()),  # fingerprint of the training set, the weights and the curvature
        ("split", pa.string()),  # that holds the query; `new` where none does
        ("label", pa.string()),
        ("predicted", pa.string()),
        ("loss", pa.float32()),  # of the query, nats
        *[field for field in TOP if field.name != "query_id"],
    ]
)
SIGNALS = pa.schema(
    [
        ("example_id", pa.string()),
        ("rank", pa.int32()),  # 1 is the most probable error
        ("error_probability", pa.float32()),
        ("given_label", pa.string()),
        ("suggested_label", pa.string()),
        ("suggested_probability", pa.float32()),
        # the signals, each larger for a more suspect example; null where not computed
        ("loss", pa.float32()),  # nats
        ("negative_margin", pa.float32()),
        ("negative_mean_margin", pa.float32()),  # over the epochs of training
        ("self_influence", pa.float32()),  # nats
        ("validation_harm", pa.float32()),  # nats: minus its influence on the misread validation examples together
        ("leave_one_out_loss", pa.float32()),  # nats
        ("neighbour_disagreement", pa.float32()),  # share of the nearest neighbours in feature space
        ("duplicate_conflict", pa.float32()),  # share of its near-duplicates that bear another label
        ("confident_learning", pa.float32()),  # 1 - cleanlab's label quality of out-of-fold probabilities
        ("error_log_odds", pa.float32()),  # of the error model, from out-of-sample evidence
        ("model_error_log_odds", pa.float32()),  # the same with what the model itself says of the example
        ("mean_margin_log_odds", pa.float32()),  # of the mean margin, by the same error model
        ("fused_log_odds", pa.float32()),  # of the fused signals, before any verdict was learned from
    ]
)
SIGNAL_NAMES = SIGNALS.names[SIGNALS.get_field_index("loss") :]
FLAGS = pa.schema(
    [
        *SIGNALS,
        ("reason", pa.string()),
        ("evidence_for", pa.list_(pa.string())),  # training examples that speak for the given label
        ("evidence_against", pa.list_(pa.string())),
        ("opponents_suggested", pa.float32()),  # share of its strongest opponents that bear the suggested label
    ]
)
FINDINGS = pa.schema(
    [
        ("kind", pa.string()),  # leak, conflict, outlier, class, slice
        ("example_id", pa.string()),  # null for a class or a slice
        ("other_id", pa.string()),  # the training example that it repeats
        ("group", pa.string()),  # the class, or the slice as `column = value`
        ("value", pa.float32()),  # distance of a leak, conflict or outlier; share flagged of a class or slice
        ("finding", pa.string()),  # in words
    ]
)
VERDICTS = pa.schema(
    [
        ("example_id", pa.string()),
        ("verdict", pa.string()),  # keep, relabel, drop, unsure, withdrawn
        ("new_label", pa.string()),  # of a relabel only
        ("reviewer", pa.string()),
        ("time", pa.timestamp("us", "UTC")),
        # what was shown: the ground of the verdict
        ("run", pa.string()),
        ("kind", pa.string()),  # label, conflict, outlier, leak
        ("content", pa.string()),  # hash of the example's input
        ("given_label", pa.string()),  # what the data said, before any verdict
        ("suggested_label", pa.string()),
        ("error_probability", pa.float32()),
        ("rank", pa.int32()),
        ("reason", pa.string()),
        ("evidence", pa.list_(pa.string())),
        ("signals", pa.map_(pa.string(), pa.float32())),  # share of the training set that each finds less suspect
        ("fused_log_odds", pa.float32()),  # of an error, by the fused signals alone
    ]
)
APPLIED = pa.schema(
    [
        ("example_id", pa.string()),
        ("split", pa.string()),  # null where the example is gone
        ("given_label", pa.string()),  # what the verdict spoke of
        ("verdict", pa.string()),  # keep, relabel, drop; null where contested
        ("new_label", pa.string()),
        ("reviewers", pa.list_(pa.string())),
        ("outcome", pa.string()),  # applied, or why not: see tasks/reviews/applying.py
    ]
)
HISTORY = pa.schema(
    [
        ("example_id", pa.string()),
        ("split", pa.string()),  # train or test
        ("label", pa.string()),
        ("correct", pa.bool_()),  # whether the model predicts it; null in training
        ("flagged", pa.bool_()),
        ("judged", pa.bool_()),  # flagged, and settled by a review
        ("suggested_label", pa.string()),  # of a flagged example only
    ]
)
SLICES = pa.schema(
    [
        ("column", pa.string()),
        ("value", pa.string()),
        ("split", pa.string()),
        ("examples", pa.int64()),
        ("errors", pa.int64()),  # predicted as another label than theirs
        ("error_rate", pa.float64()),
        ("error_rate_low", pa.float64()),  # Wilson, 95 %
        ("error_rate_high", pa.float64()),
        ("mean_loss", pa.float64()),  # nats
        ("flagged", pa.int64()),  # training examples only, where flags exist
    ]
)
SLICE_INFLUENCE = pa.schema(
    [
        ("column", pa.string()),
        ("left_out", pa.string()),  # value of the training examples that are left out together
        ("evaluated", pa.string()),  # value of the examples whose mean loss is predicted to change
        ("left_out_examples", pa.int64()),
        ("evaluated_examples", pa.int64()),
        ("influence", pa.float64()),  # nats; positive is helpful
        ("influence_per_example", pa.float64()),  # of those left out
    ]
)


@dataclass(frozen=True)
class Encoding:
    """How inputs were encoded by prepare (data/prepared/encoding.json).

    Attributes:
        kind: image, table or text.
        classes: names of the labels; a label's index is its position here.
        shape: shape of one encoded input: [channels, height, width], or [features].
        details: what the encoder of this kind learned from the training split (see `tasks.encoding`).
    """

    kind: str
    classes: list[str]
    shape: tuple[int, ...]
    details: dict[str, Any]


def prepared_schema(input_type: pa.DataType, slices: Iterable[str] = ()) -> pa.Schema:
    """Schema of data/prepared/*.parquet; see `tasks.dataset` for the input types."""
    return pa.schema(
        [
            ("example_id", pa.string()),
            ("input", input_type),
            ("display", pa.string()),  # what a person reads; null where the input itself can be drawn
            ("label", pa.string()),  # what the model learns
            ("given_label", pa.string()),  # what the data said before any verdict of a review
            *((f"slice_{name}", pa.string()) for name in slices),
        ]
    )


def atomic_write(path: Path, write: Callable[[Path], object]) -> None:
    """Let `write` fill a temporary file beside `path`, then rename it: the file appears whole or not at all.

    The temporary file bears the number of this process, so that one left by a kill can be told from one at work.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.{os.getpid()}-", suffix=PART)
    os.close(descriptor)
    temporary = Path(name)
    try:
        write(temporary)
        temporary.chmod(0o644)
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    atomic_write(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))


def write_json(path: Path, value: object) -> None:
    """Write metrics or a report. NaN and infinity are refused: they would hide a failure."""
    write_text(path, json.dumps(value, indent=2, allow_nan=False) + "\n")


def write_table(path: Path, table: pa.Table, schema: pa.Schema, metadata: Mapping[bytes, Any] | None = None) -> None:
    """Write Parquet (zstd) with exactly this schema; `metadata` values are stored as JSON in the schema.

    Raises:
        ValueError: a floating-point column holds NaN or infinity. Null is allowed: not computed.
    """
    table = table.select(schema.names).cast(schema)
    for name, column in zip(schema.names, table.columns, strict=True):
        _require_finite(name, column, path)
    encoded = {key: json.dumps(value, sort_keys=True).encode() for key, value in (metadata or {}).items()}
    table = table.replace_schema_metadata({**(schema.metadata or {}), **encoded})
    rows = _rows_per_group(table)
    atomic_write(path, lambda temporary: pq.write_table(table, temporary, compression="zstd", row_group_size=rows))


def _rows_per_group(table: pa.Table) -> int:
    """A writer holds a group in memory several times over: at most 8192 rows, at most 64 MiB."""
    bytes_per_row = max(1, table.nbytes // max(1, table.num_rows))
    return max(1, min(8192, 2**26 // bytes_per_row))


def _require_finite(name: str, column: pa.ChunkedArray, path: Path) -> None:
    column_type = column.type
    values = column
    while pa.types.is_list(values.type):
        values = pa.chunked_array([chunk.flatten() for chunk in values.chunks], type=values.type.value_type)
    if pa.types.is_floating(values.type) and not np.isfinite(values.drop_null().to_numpy()).all():
        raise ValueError(f"{path}: column {name} ({column_type}) holds NaN or infinity")


def read_table(path: Path, columns: list[str] | None = None) -> pa.Table:
    """Read one of the pipeline's Parquet files.

    Raises:
        UserError: the file is missing or is not readable as Parquet.
    """
    try:
        return pq.read_table(path, columns=columns)
    except FileNotFoundError:
        raise UserError(f"{path} is missing: run its stage with `influence run` or `dvc repro`") from None
    except pa.ArrowInvalid as error:
        raise UserError(f"{path} is damaged ({error}): restore it with `dvc checkout` or rerun its stage") from None


def read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path} is missing: run its stage with `influence run` or `dvc repro`") from None


def provenance(stage: str, parameters: object, inputs: Iterable[Path], root: Path = Path()) -> dict[bytes, Any]:
    """What an artifact was made from: the stage's parameters, the content of its inputs, package versions.

    The inputs are named from `root`, the workspace, which is the current folder of every stage.
    No time and no revision is recorded, so that the same work gives the same bytes; dvc.lock ties both to a commit.
    """
    return {
        PROVENANCE: {
            "stage": stage,
            "parameters": parameters,
            "inputs": {path.as_posix(): content_hash(root / path) for path in inputs},
            "versions": {name: version(name) for name in (PACKAGE, "torch", "numpy", "pyarrow")},
        }
    }


def content_hash(path: Path) -> str:
    """sha256 of a file, or of the names and contents of a folder's files.

    Raises:
        UserError: there is no such file.
    """
    if path.is_dir():
        digest = hashlib.sha256()
        for member in sorted(p for p in path.rglob("*") if p.is_file()):
            digest.update(f"{member.relative_to(path).as_posix()}\0{content_hash(member)}\n".encode())
        return digest.hexdigest()
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError:
        raise UserError(f"{path} is missing: run its stage with `influence run` or `dvc repro`") from None


def fingerprint(*parts: object) -> str:
    """A short name for a computation: the hash of everything that decides its result."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()[:16]
