"""What kind of data lies at a path, and what to write about it into params.yaml."""

import itertools
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from tasks.errors import UserError

LABEL_NAMES = ("label", "target", "class", "y")
SAMPLE = 200  # rows or pictures looked at
FEW_WORDS, MANY_WORDS = 3, 15  # of a column of text, on average
SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff")
SIDE = 64  # pixels; what pictures of different sizes are made


@dataclass(frozen=True)
class Hints:
    """What the user says of the data; None: to be found out."""

    label: str | None = None
    identity: str | None = None
    text: str | None = None
    image: str | None = None
    columns: list[str] | None = None
    missing: str | None = None


@dataclass(frozen=True)
class Data:
    """Data found at a path.

    Attributes:
        source: the section `prepare.source` of params.yaml.
        factory: a ready-made model that fits.
        training: keys of the section `train` that suit this model.
        companions: files read along with the one at the path.
    """

    source: dict[str, Any]
    factory: str
    training: dict[str, Any] = field(default_factory=dict)
    companions: list[Path] = field(default_factory=list)


def sniff(path: Path, hints: Hints) -> Data:
    """Find out what lies at a path.

    Raises:
        UserError: nothing, or nothing known; or a column that the hints name is not there.
    """
    if not path.exists():
        raise UserError(f"{path} does not exist: give `influence init` the path of your data")
    if path.is_dir():
        _only_for_tables(path, hints)
        return _folder(path)
    name = path.name.lower()
    if "idx3-ubyte" in name:
        from tasks.sources.idx import labels_path

        _only_for_tables(path, hints)
        return Data({"kind": "idx"}, "cnn", companions=[labels_path(path)])
    if name.endswith((".parquet", ".pq")):
        return _parquet(path, hints)
    return _csv(path, hints)  # whose reader says what is wrong if it is anything else


def _only_for_tables(path: Path, hints: Hints) -> None:
    if hints != Hints():
        raise UserError(
            f"{path} holds images in files: --label, --id, --text, --image, --columns and --missing are for tables"
        )


def _folder(path: Path) -> Data:
    if any("idx3-ubyte" in file.name for file in path.iterdir()):
        return Data({"kind": "idx"}, "cnn")
    found = (file for file in sorted(path.glob("*/*")) if file.suffix.lower() in SUFFIXES)
    pictures = list(itertools.islice(found, SAMPLE))
    if not pictures:
        raise UserError(f"{path} holds neither IDX files nor sub-folders of images, one a class")
    return Data({"kind": "image_folder", **_picture_format(pictures)}, "cnn")


def _picture_format(pictures: list[Any]) -> dict[str, Any]:
    """`channels`, and `size` where not all are of one size. Each picture is a path or a file."""
    from PIL import Image

    from tasks.sources.picture import FORMATS

    modes, sizes = set(), set()
    for picture in pictures:
        try:
            with Image.open(picture, formats=FORMATS) as image:
                modes.add(image.mode)
                sizes.add((image.height, image.width))
        except Exception:  # decoders raise what they like on a damaged file
            continue  # prepare says which picture cannot be read
    grey = bool(modes) and modes <= {"1", "L", "I;16"}
    size = {} if len(sizes) == 1 and max(max(sizes)) <= 2 * SIDE else {"size": [SIDE, SIDE]}
    return {**size, "channels": 1 if grey else 3}


def _csv(path: Path, hints: Hints) -> Data:
    from tasks.parameters import TableSource
    from tasks.sources import csv_file

    source = TableSource(kind="csv", label=hints.label or "", columns=hints.columns)
    names = csv_file.column_names(source, path)
    sample = csv_file.read(source, path, SAMPLE).frame
    texts = {name: sample.iloc[:, number].tolist() for number, name in enumerate(names)}
    columns = {} if hints.columns is None else {"columns": hints.columns}
    return _table(path, hints, "csv", texts, [], columns)


def _parquet(path: Path, hints: Hints) -> Data:
    from tasks.sources import parquet_file
    from tasks.sources.parquet_size import require_bounded

    if hints.columns is not None:
        raise UserError("--columns is for CSV files without a header; a Parquet file has its own names")
    names = parquet_file.column_names(path)
    try:
        require_bounded(path, names)
        with pq.ParquetFile(path) as file:
            rows, schema = next(file.iter_batches(SAMPLE), None), file.schema_arrow
        first = rows if rows is not None else schema.empty_table()
        values = {name: column.to_pylist() for name, column in zip(schema.names, first.columns, strict=True)}
    except parquet_file.FAILURES as error:
        raise UserError(f"{path} is damaged: {error}") from None
    images = [each.name for each in schema if _holds_images(each.type)]
    if hints.image is not None and hints.image in values and hints.image not in images:
        raise UserError(
            f"{path}: column {hints.image!r} holds no encoded images: they are bytes, or struct<bytes, path>"
        )
    chosen = hints.image or (images[0] if len(images) == 1 and not hints.text else None)
    if chosen is not None and chosen in values:
        import io

        blobs = [value["bytes"] if isinstance(value, dict) else value for value in values[chosen]]
        form = _picture_format([io.BytesIO(blob) for blob in blobs if blob])
        return _table(path, hints, "parquet", values, [chosen], {"image": chosen, **form})
    return _table(path, hints, "parquet", values, [], {})


def _holds_images(kind: pa.DataType) -> bool:
    if pa.types.is_struct(kind):
        return any(each.name == "bytes" for each in kind)
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def _table(
    path: Path, hints: Hints, kind: str, values: dict[str, list[Any]], images: list[str], more: dict[str, Any]
) -> Data:
    """The source of a table whose first values are given, column by column."""
    names = list(values)
    for option, wanted in (("--label", hints.label), ("--id", hints.identity), ("--text", hints.text),
                           ("--image", hints.image)):  # fmt: skip
        if wanted is not None and wanted not in names:
            raise UserError(f"{option}: {path} has no column {wanted!r}; its columns are {', '.join(names)}")
    if hints.image is not None and not images:
        raise UserError("--image: a CSV file cannot hold images; give a Parquet file or a folder of images")
    label = hints.label or _guess_label(path, names)
    source: dict[str, Any] = {"kind": kind, "label": label}
    if hints.identity:
        source["id"] = hints.identity
    source |= more
    if hints.missing is not None:
        if hints.missing not in ("error", "impute"):
            raise UserError(f"--missing: write error or impute, not {hints.missing!r}")
        source["missing"] = hints.missing
    if images:
        return Data(source, "cnn")
    rest = [name for name in names if name not in (label, hints.identity)]
    text = hints.text or _guess_text({name: values[name] for name in rest})
    if text is not None:
        return Data({**source, "text": text}, "text_linear", {"optimizer": "adam", "learning_rate": 0.01})
    return Data(source, "logistic", {"learning_rate": 0.02})


def _guess_label(path: Path, names: list[str]) -> str:
    found = [name for name in names if name.lower() in LABEL_NAMES]
    if len(found) != 1:
        raise UserError(f"which column is the label? Give --label with one of {', '.join(map(str, names))} ({path})")
    return found[0]


def _guess_text(values: dict[str, list[Any]]) -> str | None:
    """The column of longest prose, if any is prose; with a single column, a few words make it so."""
    words = {name: _words(column) for name, column in values.items()}
    longest = max(words, key=words.__getitem__, default=None)
    if longest is None or words[longest] < (FEW_WORDS if len(words) == 1 else MANY_WORDS):
        return None
    return longest


def _words(column: list[Any]) -> float:
    """Words of a value, on average."""
    return sum(len(value.split()) for value in column if isinstance(value, str)) / max(len(column), 1)
