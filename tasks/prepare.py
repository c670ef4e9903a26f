"""Stage 1: read the data, check and split them, plant label errors if asked, encode the inputs, apply verdicts."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from tasks.artifacts import APPLIED, PROVENANCE, TRUTH, prepared_schema, provenance, write_json, write_table
from tasks.corruption import corrupt
from tasks.dataset import stored_inputs
from tasks.encoding import encode, fit
from tasks.identity import example_ids, split_keys
from tasks.labels import require_known, require_present, resolve_classes
from tasks.located import Located, located
from tasks.parameters import Parameters, Prepare, TableSource
from tasks.progress import Progress
from tasks.reviews import store
from tasks.reviews.applying import apply, describe
from tasks.sources import Examples, input_paths, read
from tasks.sources.examples import displays
from tasks.splitting import split
from tasks.stage import Work, main
from tasks.workspace import SplitName, Workspace

Metadata = Mapping[bytes, Any]


def run(workspace: Workspace, parameters: Parameters) -> Work:
    """Write the three splits, encoding.json, truth.parquet and what was done with each verdict.

    Verdicts change labels and rows alone: the encoding is learned from all the data, so that one verdict does not
    change the inputs of every other example, and the truth is that of the data before them.

    Raises:
        UserError: the data are not what params.yaml says, with the file and the row; or the verdicts are damaged,
            or leave no training example of a class.
    """
    prepare = parameters.prepare
    named = [prepare.path] if prepare.test_path is None else [prepare.path, prepare.test_path]
    with located(workspace, named) as data:
        return _run(workspace, parameters, data)


def _run(workspace: Workspace, parameters: Parameters, data: Located) -> Work:
    verdicts = store.read(workspace)
    prepare, seed = parameters.prepare, parameters.seed
    splits, classes = read_splits(data, prepare, seed)
    training = splits["train"]
    max_words = prepare.source.max_text_features if isinstance(prepare.source, TableSource) else 5000
    encoding = fit(training, classes, max_words)
    inputs = {name: encode(examples, encoding) for name, examples in splits.items()}
    corruption = prepare.corruption
    given, planted = corrupt(
        training.ids or [],
        training.labels,
        classes,
        corruption.share,
        seed,
        corruption.kind,
        stored_inputs(inputs["train"], encoding, workspace.split("train")) if corruption.kind == "feature" else None,
    )
    progress = Progress("prepare", sum(map(len, splits.values())), "rows")
    tables = {
        name: _table(examples, given if name == "train" else examples.labels, inputs[name], progress)
        for name, examples in splits.items()
    }
    tables, outcomes = apply(tables, verdicts, classes)

    metadata = _provenance(data, prepare, seed)
    schema = prepared_schema(tables["train"].schema.field("input").type, training.slices)
    for name, table in tables.items():
        write_table(workspace.split(name), table, schema, metadata)
    write_json(workspace.encoding, dataclasses.asdict(encoding))
    truth = pa.table({"example_id": training.ids, "true_label": training.labels, "planted": planted})
    write_table(workspace.truth, truth, TRUTH, metadata)
    write_table(workspace.applied_verdicts, pa.Table.from_pylist(outcomes, APPLIED), APPLIED, metadata)

    sizes = ", ".join(f"{len(table):,} {name}" for name, table in tables.items())
    said = [f"{len(classes)} classes", f"{planted.sum():,} label errors planted", describe(outcomes)]
    print(f"prepare: {'; '.join([sizes, *filter(None, said)])}", flush=True)
    return Work(sum(len(examples) for examples in splits.values()))


def read_splits(files: Located, prepare: Prepare, seed: int) -> tuple[dict[SplitName, Examples], list[str]]:
    """Every split's examples, with their ids, in the order of the source; and the classes."""
    data = read(prepare.source, files.paths[0])
    classes = resolve_classes(prepare.classes, data)
    require_known(data, classes)
    if prepare.test_path is None:
        ids = example_ids(data)[0]
        rows = split(split_keys(data, ids), seed, prepare.validation, prepare.test)
        data = dataclasses.replace(data, ids=ids)
        splits = {name: data.take(positions) for name, positions in rows.items()}
    else:
        test = read(prepare.source, files.paths[1])
        require_known(test, classes)
        data_ids, test_ids = example_ids(data, test)
        rows = split(split_keys(data, data_ids), seed, prepare.validation, test=0)
        data = dataclasses.replace(data, ids=data_ids)
        splits = {name: data.take(positions) for name, positions in rows.items()}
        splits["test"] = dataclasses.replace(test, ids=test_ids)
    require_present(splits["train"], classes)
    return splits, classes


def _table(examples: Examples, labels: list[str], inputs: pa.Array, progress: Progress) -> pa.Table:
    shown = []
    for block in displays(examples.inputs):
        shown.append(pa.array(block, pa.string()))
        progress.advance(len(block), "made readable")
    return pa.table(
        {
            "example_id": pa.array(examples.ids, pa.string()),
            "input": inputs,
            "display": pa.chunked_array(shown, pa.string()),
            "label": pa.array(labels, pa.string()),
            "given_label": pa.array(labels, pa.string()),
            **{f"slice_{name}": pa.array(values, pa.string()) for name, values in examples.slices.items()},
        }
    )


def _provenance(data: Located, prepare: Prepare, seed: int) -> Metadata:
    inputs = [file for path in data.paths for file in input_paths(prepare.source, path)]
    made = provenance("prepare", {**prepare.model_dump(mode="json"), "seed": seed}, inputs)
    named = {data.shown(path): content for path, content in made[PROVENANCE]["inputs"].items()}
    return {PROVENANCE: {**made[PROVENANCE], "inputs": named}}


if __name__ == "__main__":
    main("prepare", run)
