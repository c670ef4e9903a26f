import base64
import io

import numpy as np
import pytest
from PIL import Image

from tasks.reporting.pictures import LARGEST_SIDE, Picture, encode_picture


def decode(picture: Picture) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(picture.uri.partition(",")[2])))


@pytest.mark.parametrize("channels", [1, 3])
def test_a_small_picture_keeps_every_pixel(channels: int) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (channels, 20, 28), np.uint8)
    picture = encode_picture(pixels)
    assert (picture.width, picture.height) == (28, 20)
    drawn = np.asarray(decode(picture))
    assert np.array_equal(drawn, pixels[0] if channels == 1 else pixels.transpose(1, 2, 0))


def test_a_photo_becomes_a_thumbnail_of_the_same_proportions() -> None:
    pixels = np.tile(np.linspace(0, 255, 300).astype(np.uint8), (3, 150, 1))
    picture = encode_picture(pixels)
    assert (picture.width, picture.height) == (LARGEST_SIDE, LARGEST_SIDE // 2) == decode(picture).size
    assert picture.uri.startswith("data:image/jpeg")
    assert len(picture.uri) < 10_000


def test_equal_pixels_give_equal_bytes() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (1, 28, 28), np.uint8)
    assert encode_picture(pixels) == encode_picture(pixels.copy())


@pytest.mark.parametrize(
    "pixels", [np.zeros((28, 28), np.uint8), np.zeros((1, 2, 2), np.float32), np.zeros((2, 2, 2), np.uint8)]
)
def test_what_is_no_picture_is_refused(pixels: np.ndarray) -> None:
    with pytest.raises(ValueError, match="a picture is"):
        encode_picture(pixels)
