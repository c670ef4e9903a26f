"""Kill any process of a run, at random moments over all its stages, and start it again.

INFLUENCE_KILLS=50 .venv/bin/pytest -s tests/crashes/test_kills.py does it fifty times, the Prefect server's among them.
"""

import os
import random
import re
import signal
import time
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
from laboratory import STAGES, Laboratory, Running

pytestmark = pytest.mark.slow
FEW = 4
KILLS = int(os.environ.get("INFLUENCE_KILLS", FEW))
LATEST = 0.7  # of a stage's time: a kill after its end strikes nothing
SEED = int(os.environ.get("INFLUENCE_SEED", "0"))
STARTED = "Running stage '{}'"


@dataclass(frozen=True)
class Moment:
    """Which process is killed, in which stage, so many seconds after DVC has announced it."""

    victim: str
    stage: str
    seconds: float


def moments(count: int, victims: tuple[str, ...], seconds: dict[str, float]) -> list[Moment]:
    """Random moments in the order of the stages, so that every one leads on from the one before.

    In a stage those of the server come last: the stage ends all the same.

    Args:
        seconds: how long each stage takes on this machine.
    """
    generator = random.Random(SEED)
    drawn = sorted(generator.random() * len(STAGES) for _ in range(count))
    places = [(STAGES[int(place)], place % 1) for place in drawn]
    found = [Moment(generator.choice(victims), stage, LATEST * share * seconds[stage]) for stage, share in places]
    return sorted(found, key=lambda moment: (STAGES.index(moment.stage), moment.victim == "server"))


def strike(running: Running, moment: Moment) -> str | None:
    """Kill the victim at its moment, or the next best process; None if all was over before."""
    running.wait_for(STARTED.format(moment.stage))
    time.sleep(moment.seconds)
    for kind in (moment.victim, "stage", "dvc", "parent"):
        if (victim := running.find(kind)) is not None:
            try:
                victim.send_signal(signal.SIGKILL)
            except psutil.NoSuchProcess:
                continue
            return kind
    return None


def require_nothing_left(laboratory: Laboratory, moment: Moment) -> None:
    deadline = time.monotonic() + 30
    while left := laboratory.living():
        assert time.monotonic() < deadline, f"{moment}: {[process.cmdline() for process in left]} went on"
        time.sleep(0.1)


def require_nothing_done_twice(laboratory: Laboratory) -> None:
    """A shard or an epoch is computed again only if the stage had ended, and the kill came before DVC took note."""
    done: dict[object, set[object]] = {}
    for line in laboratory.events():
        finished = done.setdefault(line["stage"], set())
        if line["event"] == "stage ended":
            finished.clear()
        elif line["event"] in ("shard finished", "epoch finished"):
            part = line["shard"] or line.get("epoch")
            assert part not in finished, f"{line['stage']}: {part} was computed twice"
            finished.add(part)


def test_a_run_killed_at_random_moments_ends_with_the_same_bytes(undisturbed: Laboratory, tmp_path: Path) -> None:
    many = KILLS > FEW
    blank = undisturbed.copied(tmp_path / "killed", blank=True)
    truth = undisturbed.artifacts()
    victims = ("parent", "dvc", "stage", "server") if many else ("parent", "dvc", "stage")
    seconds = {line["stage"]: line["seconds"] for line in undisturbed.events() if line["event"] == "stage outcome"}
    if many:
        print(f"undisturbed: {sum(seconds.values()):.0f} s, {seconds}", flush=True)
    start, hits = time.monotonic(), 0
    for moment in moments(KILLS, victims, seconds):
        began = time.monotonic()
        laboratory = Laboratory(blank.root, None if moment.victim == "server" else undisturbed.server)
        with laboratory.running("influence", "run", "--target", moment.stage) as running:  # ends there in any case
            struck = strike(running, moment)
            hits += struck is not None
            code = running.end()
            if many:
                print(f"{moment}: struck {struck}, exit code {code}, {time.monotonic() - began:.1f} s", flush=True)
            if code > 0:
                last = running.output.strip().splitlines()[-1]
                assert re.match(r"influence: \S", last) and "Traceback" not in last, running.output
        require_nothing_left(laboratory, moment)
        for name, content in laboratory.artifacts().items():
            assert content == truth[name], f"{moment}: {name} is not whole"
    killed = time.monotonic()
    laboratory = Laboratory(blank.root, undisturbed.server)
    output = laboratory.run()
    ended = time.monotonic()
    if many:
        print(
            f"{hits} of {KILLS} kills struck: {killed - start:.0f} s until the last, {ended - killed:.0f} s to the end"
        )
    assert hits, "every kill came too late"
    assert laboratory.artifacts() == truth, output
    assert "up to date" in laboratory.call("dvc", "status")
    require_nothing_done_twice(laboratory)
    laboratory.call("influence", "doctor")
    assert not list(laboratory.root.rglob("*.part"))
