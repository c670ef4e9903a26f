import io
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from experiments.common.animals import DOG, FISH, load_animals
from tasks.errors import UserError


def test_photographs_keep_their_order_names_and_pixels(photographs: Callable[..., Path]) -> None:
    train, test = load_animals(photographs(train=6, test=4) / "dogfish")
    assert train.labels.tolist() == [FISH, DOG] * 3 and test.labels.tolist() == [FISH, DOG] * 2
    assert len(train) == 6 and len(test) == 4 and train.images.shape == (6, 3, 28, 28)
    assert all(name.startswith("train/") for name in train.names) and len(set(train.names + test.names)) == 10
    assert train.images[:, 0].int().add(train.images[:, 2].int()).unique().tolist() == [255]
    assert train.images.float().std() > 50


def test_what_is_not_such_a_folder_is_refused(photographs: Callable[..., Path]) -> None:
    folder = photographs(train=4, test=2) / "dogfish"
    table = pq.read_table(folder / "test.parquet")
    birds = table.set_column(1, "label", pa.array([0, 2], pa.int8()))
    pq.write_table(birds, folder / "test.parquet")
    with pytest.raises(UserError, match="must hold 0 for a fish and 1 for a dog"):
        load_animals(folder)
    pq.write_table(table.drop_columns("image"), folder / "test.parquet")
    with pytest.raises(UserError, match="image"):
        load_animals(folder)
    (folder / "test.parquet").unlink()
    with pytest.raises(UserError, match=r"holds no test.parquet"):
        load_animals(folder)


def test_photographs_of_two_sizes_are_refused(photographs: Callable[..., Path]) -> None:
    folder, file = photographs(train=4, test=2) / "dogfish", io.BytesIO()
    Image.new("RGB", (9, 9)).save(file, "PNG")
    table = pq.read_table(folder / "test.parquet")
    pq.write_table(table.set_column(2, "image", pa.array([file.getvalue()] * 2)), folder / "test.parquet")
    with pytest.raises(UserError, match="not of one size"):
        load_animals(folder)
