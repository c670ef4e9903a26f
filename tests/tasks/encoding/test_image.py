import json

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from tasks.encoding import image
from tasks.errors import UserError


@given(arrays(np.uint8, st.tuples(st.integers(1, 9), st.integers(1, 3), st.integers(1, 4), st.integers(1, 4))))
def test_mean_and_deviation_are_those_of_numpy(images: np.ndarray) -> None:
    shape, details = image.fit(images)
    assert shape == images.shape[1:]
    scaled = images / 255
    np.testing.assert_allclose(details["mean"], scaled.mean(axis=(0, 2, 3)), atol=1e-12)
    deviation = scaled.std(axis=(0, 2, 3))
    varies = np.ptp(images, axis=(0, 2, 3)) > 0
    np.testing.assert_allclose(np.array(details["std"])[varies], deviation[varies], atol=1e-12)
    assert (np.array(details["std"])[~varies] == 1.0).all()  # never divided by zero


def test_counting_in_chunks_loses_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    images = np.random.default_rng(0).integers(0, 256, (10, 1, 3, 3), np.uint8)
    whole = image.fit(images)
    monkeypatch.setattr(image, "CHUNK", 4)
    assert image.fit(images) == whole


def test_encoded_images_read_back_as_they_were() -> None:
    images = np.random.default_rng(0).integers(0, 256, (5, 3, 4, 2), np.uint8)
    shape, details = image.fit(images)
    column = image.encode(images, tuple(json.loads(json.dumps(shape))))
    assert column.type == pa.fixed_shape_tensor(pa.uint8(), [3, 4, 2])
    np.testing.assert_array_equal(column.to_numpy_ndarray(), images)
    assert len(image.encode(images[:0], shape)) == 0
    assert json.loads(json.dumps(details)) == details


def test_new_images_of_another_size() -> None:
    with pytest.raises(UserError, match=r"images are 1 x 5 x 5 .* trained on are 1 x 4 x 4"):
        image.encode(np.zeros((2, 1, 5, 5), np.uint8), (1, 4, 4))
