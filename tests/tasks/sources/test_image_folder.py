import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tasks.errors import UserError
from tasks.identity import example_ids
from tasks.parameters import ImageFolderSource
from tasks.sources import image_folder
from tasks.sources.examples import Examples

SOURCE = ImageFolderSource(kind="image_folder")


def save(path: Path, size: tuple[int, int] = (4, 6), colour: tuple[int, int, int] = (10, 20, 30)) -> Path:
    """A picture of one colour; `size` is height, width."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (size[1], size[0]), colour).save(path)
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    save(tmp_path / "pets/dog/1.png", colour=(200, 0, 0))
    save(tmp_path / "pets/cat/1.png")
    save(tmp_path / "pets/cat/2.png", colour=(0, 99, 0))
    return tmp_path / "pets"


def pixels(examples: Examples) -> np.ndarray:
    assert isinstance(examples.inputs, np.ndarray)
    return examples.inputs


def error(folder: Path, **source: object) -> str:
    with pytest.raises(UserError) as caught:
        image_folder.read(SOURCE.model_copy(update=source), folder)
    return str(caught.value)


def test_sub_folders_are_the_classes(folder: Path) -> None:
    (folder / "README.md").write_text("about the pictures")
    (folder / ".git").mkdir()
    (folder / "cat/.DS_Store").write_text("hidden")
    examples = image_folder.read(SOURCE, folder)
    assert examples.labels == ["cat", "cat", "dog"]
    assert examples.classes == ["cat", "dog"]
    assert pixels(examples).shape == (3, 3, 4, 6)
    assert pixels(examples)[1, :, 0, 0].tolist() == [0, 99, 0]
    assert examples.origin(2) == str(folder / "dog/1.png")


def test_grey_and_resized(folder: Path) -> None:
    save(folder / "cat/3.png", size=(30, 20))
    examples = image_folder.read(ImageFolderSource(kind="image_folder", size=(5, 7), channels=1), folder)
    assert pixels(examples).shape == (4, 1, 5, 7)
    assert pixels(examples).dtype == np.uint8


def test_ids_follow_the_file_and_not_its_name_or_the_size(folder: Path) -> None:
    (before,) = example_ids(image_folder.read(SOURCE, folder))
    (folder / "cat/1.png").rename(folder / "cat/9.png")
    resized = ImageFolderSource(kind="image_folder", size=(2, 2))
    (after,) = example_ids(image_folder.read(resized, folder))
    assert after == [before[1], before[0], before[2]]


def test_a_turned_photograph_is_set_upright(tmp_path: Path) -> None:
    sideways = Image.new("RGB", (6, 4))
    sideways.paste((255, 255, 255), (0, 0, 3, 4))  # the left half is white
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise by 90 degrees
    (tmp_path / "a").mkdir()
    sideways.save(tmp_path / "a/1.png", exif=exif)
    upright = pixels(image_folder.read(SOURCE, tmp_path))[0, 0]
    assert upright.shape == (6, 4)
    assert upright[:3].min() == 255 and upright[3:].max() == 0


def test_an_unreadable_image(folder: Path) -> None:
    bad = folder / "dog/2.png"
    bad.write_bytes(b"this is not a picture")
    assert f"{bad} is not a readable image (not PNG, JPEG, GIF, BMP, TIFF, WEBP or PPM): replace or remove it" in error(
        folder
    )
    good = (folder / "dog/1.png").read_bytes()
    bad.write_bytes(good[: len(good) // 2])
    assert f"{bad} is not a readable image" in error(folder)


def test_an_empty_class(folder: Path) -> None:
    (folder / "bird").mkdir()
    assert f"empty class: {folder / 'bird'} holds no images" in error(folder)


def test_no_classes_and_no_folder(tmp_path: Path) -> None:
    assert f"{tmp_path} has no sub-folders" in error(tmp_path)
    assert "is not a folder" in error(save(tmp_path / "1.png"))


def test_sizes_that_differ(folder: Path) -> None:
    odd = save(folder / "dog/2.png", size=(8, 8))
    message = error(folder)
    assert f"{odd} is 8 x 8 pixels (height x width) but {folder / 'cat/1.png'} is 4 x 6" in message
    assert "set `prepare.source.size`" in message


@pytest.mark.parametrize("link", ["dog/2.png", "bird"])
def test_links_out_of_the_folder_are_refused(folder: Path, link: str) -> None:
    outside = save(folder.parent / "elsewhere/1.png")
    (folder / link).symlink_to(outside if link.endswith("png") else outside.parent)
    message = error(folder)
    assert f"{folder / link}" in message and f"leads outside {folder}" in message


def test_a_class_whose_name_is_not_text(folder: Path) -> None:
    save(Path(os.fsdecode(os.fsencode(folder) + b"/\xff\xfe")) / "1.png")
    assert "is not a name in UTF-8: rename this class" in error(folder)


def test_a_folder_within_a_class(folder: Path) -> None:
    save(folder / "cat/kittens/1.png")
    assert f"{folder / 'cat/kittens'} is not a file" in error(folder)


@pytest.mark.parametrize("limit", [20, 5])  # Pillow warns above its limit, and raises above twice its limit
def test_a_decompression_bomb(folder: Path, monkeypatch: pytest.MonkeyPatch, limit: int) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
    assert f"{folder / 'cat/1.png'} is larger than the {limit} pixels allowed" in error(folder)


def test_sixteen_bits_are_not_silently_cut(folder: Path) -> None:
    deep = folder / "cat/3.png"
    Image.fromarray(np.full((4, 6), 40_000, np.uint16)).save(deep)
    assert f"{deep} has more than 8 bits a channel" in error(folder)
