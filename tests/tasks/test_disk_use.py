"""What of the disk a workspace takes."""

from pathlib import Path

from tasks.disk_use import OTHERS, disk_use


def test_every_part_is_counted_once_and_links_are_not_followed(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.write_bytes(b"x" * 1000)
    root = tmp_path / "workspace"
    for name, size in {".dvc/cache/ab/c": 10, ".work/logs/a": 20, "model/a": 30, "b": 5, ".git/a": 7}.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"x" * size)
    (root / "link").symlink_to(outside)
    used = disk_use(root)
    link = (root / "link").lstat().st_size
    assert list(used.values())[:3] == [10, 20, 0]
    assert used[OTHERS] in (35, 35 + link)
    assert used["free"] > 0
