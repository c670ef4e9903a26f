"""Stages reproduced by real DVC processes."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from toy import Toy

from flows.dvc_runner import StageBusy, StageFailed, push, reproduce, stage_environment


def ignore(line: str) -> None: ...


def wait_for(path: Path) -> str:
    deadline = time.monotonic() + 30
    while not (path.exists() and path.read_text().strip()):
        assert time.monotonic() < deadline, f"{path} did not appear"
        time.sleep(0.05)
    return path.read_text().strip()


def ends(pid: int) -> bool:
    try:
        process = psutil.Process(pid)
        process.wait(10)
    except psutil.NoSuchProcess:
        return True
    except psutil.TimeoutExpired:
        return process.status() == psutil.STATUS_ZOMBIE
    return True


def test_completed_unchanged_restored_forced(toy: Toy) -> None:
    lines: list[str] = []
    assert reproduce("prepare", toy.root, lines.append) == "Completed"
    assert "prepare reads" in lines
    assert reproduce("prepare", toy.root, ignore) == "Unchanged"
    (toy.root / "raw").write_text("other\n")
    assert reproduce("prepare", toy.root, ignore) == "Completed"
    (toy.root / "raw").write_text("hello\n")
    assert reproduce("prepare", toy.root, ignore) == "Restored"
    assert (toy.root / "a").read_text() == "hello\nhello\n"
    assert reproduce("prepare", toy.root, ignore, force=True) == "Completed"


def test_a_failing_stage_speaks_for_itself(toy: Toy) -> None:
    toy.command("prepare", "echo 'prepare: row 3 of raw is empty: fill it' >&2; exit 1")
    with pytest.raises(StageFailed, match=r"^prepare: row 3 of raw is empty: fill it$"):
        reproduce("prepare", toy.root, ignore)


def test_a_crash_gives_the_last_line_of_its_traceback(toy: Toy) -> None:
    toy.command("prepare", """python -c "raise KeyError('lost')" """)
    with pytest.raises(StageFailed, match=r"^prepare: KeyError: 'lost'$"):
        reproduce("prepare", toy.root, ignore)


def test_what_prefect_logs_on_its_way_out_is_not_the_reason(toy: Toy) -> None:
    log = "04:24:44.642 | WARNING | EventsWorker - Still processing items: 1 items remaining..."
    toy.command("prepare", f"echo 'ValueError: shard is bad'; echo '{log}'; exit 1")
    with pytest.raises(StageFailed, match=r"^prepare: ValueError: shard is bad$"):
        reproduce("prepare", toy.root, ignore)


def test_what_dvc_says_is_kept_where_the_stage_did_not_run(toy: Toy) -> None:
    (toy.root / "raw").unlink()
    with pytest.raises(StageFailed, match=r"prepare: failed to reproduce 'prepare'.*raw"):
        reproduce("prepare", toy.root, ignore)


def test_python_is_this_one_without_activation(toy: Toy) -> None:
    toy.command("prepare", """python -c "import sys; open('a', 'w').write(sys.prefix)" """)
    reproduce("prepare", toy.root, ignore)
    assert (toy.root / "a").read_text() == sys.prefix


def test_a_stage_at_work_elsewhere_is_busy(toy: Toy) -> None:
    toy.command("prepare", "echo 1 > started; sleep 30; cp raw a")
    other = subprocess.Popen(
        [sys.executable, "-m", "dvc", "repro", "-s", "prepare"],
        cwd=toy.root, env=stage_environment(), start_new_session=True, stdout=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        wait_for(toy.root / "started")
        with pytest.raises(StageBusy, match="busy"):
            reproduce("prepare", toy.root, ignore)
    finally:
        os.killpg(other.pid, signal.SIGKILL)
        other.wait()


def test_an_empty_lock_left_by_a_kill_is_mended(toy: Toy) -> None:
    lock = toy.root / ".dvc/tmp/rwlock"
    lock.parent.mkdir(exist_ok=True)
    lock.touch()
    assert "corrupted" in toy.dvc("status", check=False)
    lines: list[str] = []
    assert reproduce("prepare", toy.root, lines.append) == "Completed"
    assert any("rwlock" in line for line in lines)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_no_orphan_goes_on_when_the_caller_is_killed(toy: Toy, number: signal.Signals) -> None:
    toy.command("prepare", "echo $$ > stage_pid; sleep 60; cp raw a")
    script = "from flows.dvc_runner import *; reproduce('prepare', Path(sys.argv[1]), print)"
    caller = subprocess.Popen([sys.executable, "-c", script, str(toy.root)], stdout=subprocess.DEVNULL)
    stage = int(wait_for(toy.root / "stage_pid"))
    children = psutil.Process(stage).parents()[0], *psutil.Process(stage).children(recursive=True)
    caller.send_signal(number)
    caller.wait()
    assert all(ends(pid) for pid in (stage, *(child.pid for child in children)))
    toy.command("prepare", "cp raw a")
    assert reproduce("prepare", toy.root, ignore) == "Completed"


def test_an_interrupt_ends_the_stage_first(toy: Toy) -> None:
    toy.command("prepare", "echo $$ > stage_pid; echo working; sleep 60; cp raw a")

    def interrupt(line: str) -> None:
        if line == "working":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        reproduce("prepare", toy.root, interrupt)
    assert ends(int(wait_for(toy.root / "stage_pid")))


def test_packages_of_the_workspace_do_not_take_the_place_of_ours(toy: Toy) -> None:
    for name in ("flows", "dvc"):
        (toy.root / name).mkdir()
        (toy.root / name / "__init__.py").write_text("raise SystemExit('shadowed')")
    assert reproduce("prepare", toy.root, ignore) == "Completed"


def test_push_fills_the_remote_and_says_what_is_wrong(toy: Toy, tmp_path: Path) -> None:
    with pytest.raises(StageFailed, match=r"push: .*remote"):
        push(toy.root, ignore)
    toy.dvc("remote", "add", "--default", "store", str(tmp_path / "store"))
    reproduce("prepare", toy.root, ignore)
    push(toy.root, ignore)
    assert any(file.read_text() == "hello\nhello\n" for file in (tmp_path / "store").rglob("*") if file.is_file())
