"""params.yaml as typed models: an unknown, missing or impossible key is an error that names the key's path."""

from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from influence.bytesize import parse_bytes
from tasks.errors import UserError
from tasks.secrets import refuse_secrets

Share = Annotated[float, Field(ge=0.0, le=1.0)]
Positive = Annotated[float, Field(gt=0.0)]


def _no_url(path: str) -> str:
    if "://" in path:
        raise ValueError("a file of this machine is needed: fetch it with `dvc import-url URL FILE` and name the file")
    return path


File = Annotated[str, AfterValidator(_no_url)]


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Compute(Section):
    """Where the stages that compute run, and how much memory one batch of intermediate results may take."""

    device: str = "auto"  # auto: CUDA when there is one, else CPU; or cpu, cuda, cuda:1
    memory_limit: str = "2GiB"

    @property
    def memory_bytes(self) -> int:
        return parse_bytes(self.memory_limit)

    @model_validator(mode="after")
    def _check(self) -> "Compute":
        parse_bytes(self.memory_limit)
        return self


class Dask(Section):
    """Shards go to the processes of a Dask cluster: one that a stage starts on this machine, or one that is there."""

    dask: Annotated[str, Field(pattern=r"^(local|(tcp|tls)://\S+:\d{1,5})$")]  # local, or the scheduler's address
    workers: Annotated[int, Field(ge=1)] | None = None  # processes of a local one; None: as many as cores or GPUs hold

    @model_validator(mode="after")
    def _check(self) -> "Dask":
        if self.workers is not None and self.dask != "local":
            raise ValueError("workers are for `dask: local`; a cluster that is there has its own")
        return self


class IdxSource(Section):
    """Images and labels in the IDX format of MNIST: a file of images, or a folder with one such pair or several."""

    kind: Literal["idx"]
    names: list[str] | None = None  # of labels 0, 1, ...; None: the numbers themselves


class ImageFolderSource(Section):
    """A folder of images, one sub-folder a class."""

    kind: Literal["image_folder"]
    size: tuple[int, int] | None = None  # height, width; images are resized to it. None: all must be of one size
    channels: Literal[1, 3] = 3


class TableSource(Section):
    """A Parquet or CSV file. Features are every column not named otherwise; or one column of text; or of images."""

    kind: Literal["csv", "parquet"]
    label: str
    id: str | None = None
    columns: list[str] | None = None  # names, for a CSV file without a header
    features: list[str] | None = None
    text: str | None = None
    image: str | None = None  # encoded image files as bytes, or as struct<bytes, path>
    size: tuple[int, int] | None = None
    channels: Literal[1, 3] = 3
    categorical: list[str] = []  # features that are codes, not amounts, though they look like numbers
    slices: list[str] = []  # columns to break results down by; features only where `features` names them too
    ignore: list[str] = []
    missing: Literal["error", "impute"] = "error"  # impute: training median and a flag; a category of its own
    max_text_features: Annotated[int, Field(ge=1)] = 5000

    @model_validator(mode="after")
    def _one_kind_of_input(self) -> "TableSource":
        if sum(column is not None for column in (self.text, self.image, self.features)) > 1:
            raise ValueError("give one of features, text and image")
        if self.kind == "parquet" and self.columns is not None:
            raise ValueError("columns are for CSV files without a header; a Parquet file has its own")
        return self


class FunctionSource(Section):
    """One's own reader, `package.module:function`: takes the path and `arguments`, returns `tasks.sources.Examples`."""

    kind: Literal["function"]
    function: str
    arguments: dict[str, Any] = {}


Source = Annotated[IdxSource | ImageFolderSource | TableSource | FunctionSource, Field(discriminator="kind")]


class Corruption(Section):
    """Training labels changed on purpose, to score the detector; see `tasks.corruption` for the kinds."""

    kind: Literal["uniform", "pair", "feature"] = "uniform"
    share: Share = 0.0


class Prepare(Section):
    path: str  # from the workspace, or a URL such as s3://bucket/people.parquet
    test_path: str | None = None  # a test set of its own; otherwise `test` of `path` is split off
    source: Source
    classes: list[str] | None = None  # the labels allowed; None: the labels found
    validation: Positive = 0.1  # a share when below 1, else a count
    test: Annotated[float, Field(ge=0.0)] = 0.1
    corruption: Corruption = Corruption()  # or the share alone

    @field_validator("corruption", mode="before")
    @classmethod
    def _uniform(cls, value: Any) -> Any:
        return {"share": value} if isinstance(value, int | float) else value

    @model_validator(mode="after")
    def _check(self) -> "Prepare":
        for key, size in (("validation", self.validation), ("test", self.test)):
            if size > 1 and size != int(size):
                raise ValueError(f"{key} is a share below 1 or a whole number of examples, not {size}")
        if self.classes is not None and (len(self.classes) < 2 or len(set(self.classes)) < len(self.classes)):
            raise ValueError("classes must be at least two different labels")
        return self


class Train(Section):
    factory: str = "cnn"  # logistic, mlp, cnn, text_linear, or package.module:function
    arguments: dict[str, Any] = {}
    checkpoint: File | None = None  # safetensors of a trained model; then nothing is trained
    features: str | None = None  # name of the module whose input is the feature vector; None: the last Linear
    epochs: Annotated[int, Field(ge=1)] = 12
    batch_size: Annotated[int, Field(ge=1)] = 64
    optimizer: Literal["sgd", "adam"] = "sgd"
    learning_rate: Positive = 0.05
    momentum: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.9
    schedule: Literal["cosine", "constant"] = "cosine"
    weight_decay: Annotated[float, Field(ge=0.0)] = 1e-3
    patience: Annotated[int, Field(ge=1)] | None = 5  # epochs without a better validation loss; None: never stop early


class RelativeDamping(Section):
    relative: Positive  # times the mean eigenvalue


class Queries(Section):
    errors: Annotated[int, Field(ge=0)] = 40  # misread validation examples, those of largest loss first
    sample: Annotated[int, Field(ge=0)] = 24  # validation examples drawn at random

    @model_validator(mode="after")
    def _some(self) -> "Queries":
        if self.errors + self.sample == 0:
            raise ValueError("ask for at least one query")
        return self


class Tuning(Section):
    # Times the mean eigenvalue, searched uphill from the middle.
    dampings: Annotated[list[Positive], Field(min_length=1)] = [0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0]
    queries: Annotated[int, Field(ge=1)] = 24  # validation examples apart from those that are reported on
    subsets: Annotated[int, Field(ge=3)] = 10  # random halves the model is trained on again, those of `validate`
    seeds: Annotated[int, Field(ge=1)] = 2  # of each


Curvature = Literal["Gauss-Newton", "EK-FAC", "K-FAC"]  # the first solved by conjugate gradients, the others at once


class Precondition(Section):
    # 0.1 is for models that are linear in their parameters; networks have been predicted better with 10.
    damping: Literal["auto"] | Annotated[float, Field(ge=0.0)] | RelativeDamping = RelativeDamping(relative=0.1)
    curvature: Literal["auto"] | Curvature = "Gauss-Newton"  # auto: of the three, together with the damping
    tuning: Tuning = Tuning()  # how `auto` chooses
    exact_classes: Annotated[int, Field(ge=1)] = 32  # above it, the expectation over labels is sampled
    curvature_examples: Annotated[int, Field(ge=1)] | None = None  # training examples in the operator; None: all
    tolerance: Positive = 0.1  # relative residual at which a query's solution is accepted
    max_iterations: Annotated[int, Field(ge=1)] = 50
    queries: Queries = Queries()

    @model_validator(mode="after")
    def _chosen_together(self) -> "Precondition":
        if self.curvature == "auto" and self.damping != "auto":
            raise ValueError("curvature: auto is chosen together with the damping: set damping to auto, too")
        return self


class Score(Section):
    k: Annotated[int, Field(ge=1)] = 20  # helpful and harmful training examples kept of each query
    shards: Annotated[int, Field(ge=1, le=1000)] = 8


class Validate(Section):
    subsets: Annotated[int, Field(ge=0)] = 10  # random halves the model is trained on again; 0: none, and no verdict
    seeds: Annotated[int, Field(ge=1)] = 2  # of each; two or more tell the ceiling
    examples: Annotated[int, Field(ge=0)] = 40  # left out one by one of small models linear in their parameters
    removal: list[Annotated[float, Field(gt=0.0, lt=1.0)]] = []  # shares of the most helpful examples to leave out
    stability: Annotated[int, Field(ge=0)] = 0  # other seeds whose top lists are compared with those of the run

    @model_validator(mode="after")
    def _check(self) -> "Validate":
        if self.subsets in (1, 2):
            raise ValueError("subsets are ranked: give at least 3, or 0 for none")
        return self


class Flag(Section):
    inspect: Share = 0.05  # share of the training set a person is asked to look at; 0.02 or "2 %"
    false_discoveries: Share | None = None  # instead: as many as keep the expected share of false alarms below this
    neighbours: Annotated[int, Field(ge=1)] = 20
    folds: Annotated[int, Field(ge=0)] = 5  # of the cross-validated top layer; 0: none, the neighbours alone testify
    evidence: Annotated[int, Field(ge=0)] = 5  # training examples shown for and against each flag
    explained: Annotated[int, Field(ge=0)] = 1000  # flags, the most suspect, whose evidence is looked for: a pass each
    learn_from_verdicts: bool = True  # once there are enough, see `tasks.reviews.learning`

    @field_validator("inspect", mode="before")
    @classmethod
    def _percentage(cls, value: Any) -> Any:
        if isinstance(value, str) and value.strip().endswith("%"):
            try:
                return float(value.strip()[:-1]) / 100
            except ValueError:
                pass
        return value

    @model_validator(mode="after")
    def _check(self) -> "Flag":
        if {"inspect", "false_discoveries"} <= self.model_fields_set and self.false_discoveries is not None:
            raise ValueError("give inspect or false_discoveries: either decides how many are shown")
        if self.folds == 1:
            raise ValueError("folds are 0 or at least 2")
        return self


class Drift(Section):
    """What is an alert, if chance does not explain it; null: nothing is."""

    rate: Share | None = 0.05  # change of the expected share of wrong labels in a class or slice
    accuracy: Share | None = 0.02  # fall of the test accuracy since the run before
    runs: Annotated[int, Field(ge=1)] = 5  # over whose mean the rate is compared


class Report(Section):
    title: str = "Flagged training data"
    pictures: Annotated[int, Field(ge=0)] = 200  # flags shown with their evidence
    drift: Drift = Drift()


class Explain(Section):
    """What the flow `influence-explain` does between two full runs; no stage."""

    inbox: File = "inbox.csv"  # CSV or Parquet with a column example_id: the queries to explain
    at_once: Annotated[int, Field(ge=1)] = 20  # queries explained in one turn
    k: Annotated[int, Field(ge=1)] = 10  # helpful and harmful training examples told of each


class Index(Section):
    """The gradient index of `influence index`; no stage."""

    coordinates: Annotated[int, Field(ge=1)] = 1024  # kept of each gradient: more cost bytes and find more
    precision: Literal["int8", "float16", "float32"] = "int8"  # of a coordinate
    shards: Annotated[int, Field(ge=1, le=1000)] = 256  # files; a changed row costs one of them


class Parameters(Section):
    """The whole of params.yaml."""

    package: str | None = None  # version of this package the workspace was made for
    seed: int = 0
    compute: Compute = Compute()
    runner: Literal["loop"] | Dask = "loop"  # who computes a stage's shards; no result depends on it
    prepare: Prepare
    train: Train = Train()
    precondition: Precondition = Precondition()
    score: Score = Score()
    validation: Annotated[Validate, Field(alias="validate")] = Validate()  # pydantic has a method of that name
    flag: Flag = Flag()
    report: Report = Report()
    explain: Explain = Explain()
    index: Index = Index()


def load_parameters(path: Path) -> Parameters:
    """Read and check params.yaml.

    Raises:
        UserError: the file is missing, is not YAML, holds a secret, or a key is unknown, missing or out of range.
    """
    try:
        raw = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path} is missing: change to a workspace, or make one with `influence init`") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not UTF-8 ({error.reason} at byte {error.start}): save it as UTF-8") from None
    except RecursionError:
        raise UserError(f"{path} is nested too deeply: it holds sections of keys, and lists of values") from None
    except (yaml.YAMLError, ValueError) as error:  # a day such as 2026-13-45 is a ValueError
        raise UserError(f"{path} is not valid YAML: {error}") from None
    if not isinstance(raw, dict):
        raise UserError(f"{path} must hold sections such as `prepare:` and `train:`")
    refuse_secrets(raw, str(path))
    try:
        return Parameters.model_validate(raw)
    except ValidationError as error:
        raise UserError(f"{path}: " + "; ".join(_sentences(error, raw))) from None


def _sentences(error: ValidationError, raw: object) -> list[str]:
    sentences = []
    for problem in error.errors():
        key = _key(problem["loc"], raw, problem["type"] == "missing") or "the file"
        if problem["type"] == "extra_forbidden":
            sentences.append(f"`{key}` is not a known key")
        elif problem["type"] == "missing":
            sentences.append(f"`{key}` is missing")
        else:
            sentences.append(f"`{key}`: {problem['msg']}, got {problem['input']!r}")
    return sentences


def _key(location: tuple[int | str, ...], raw: object, missing: bool) -> str:
    """The path of a key as the file has it: pydantic's also names the members of a union that it tried."""
    parts: list[str] = []
    for depth, part in enumerate(location):
        inside = (isinstance(raw, dict) and part in raw) or (isinstance(raw, list) and isinstance(part, int))
        if inside:
            raw = raw[part]  # type: ignore[index]
            parts.append(str(part))
        elif missing and depth == len(location) - 1:
            parts.append(str(part))
    return ".".join(parts)
