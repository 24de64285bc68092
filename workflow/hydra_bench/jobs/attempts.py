"""The account of a run's attempts: a file to which every attempt adds a line when it starts and one when it ends.

An attempt that was killed outright, or whose node was lost, has no second line: it counts, its cost is not known.
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from hydra_bench.core.json_values import JsonObject

NAME = "attempts.jsonl"


@dataclass(frozen=True)
class Start:
    """Where and when an attempt began. slurm_job: its number as text, "" outside SLURM; gpus: those it was given."""

    node: str
    slurm_job: str
    gpus: str
    started: str


@dataclass(frozen=True)
class End:
    """What an attempt cost, and the exit status that it ended with (128 + n for signal n)."""

    wall_s: float
    cpu_s: float
    peak_rss_mb: float
    status: int


@dataclass(frozen=True)
class Attempt:
    """One attempt; `end` is None for one that was lost."""

    start: Start
    end: End | None


def add(folder: Path, event: Start | End) -> None:
    """Add a line to the account in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / NAME, "a") as file:
        file.write(json.dumps({type(event).__name__.lower(): asdict(event)}) + "\n")


def read(folder: Path) -> list[Attempt]:
    """The attempts in order; none if there is no account. A line that a full disk cut off is passed over."""
    path = folder / NAME
    attempts: list[Attempt] = []
    for line in path.read_text().splitlines() if path.is_file() else []:
        try:
            event: JsonObject = json.loads(line)
            if "start" in event:
                attempts.append(Attempt(Start(**event["start"]), None))
            elif attempts:
                attempts[-1] = Attempt(attempts[-1].start, End(**event["end"]))
        except (ValueError, TypeError, KeyError):
            continue
    return attempts


def summed(attempts: list[Attempt]) -> End:
    """What all attempts cost together, as far as it is known, with the last one's status (-1 if it was lost)."""
    ends = [attempt.end for attempt in attempts if attempt.end is not None]
    return End(
        wall_s=round(sum(end.wall_s for end in ends), 3),
        cpu_s=round(sum(end.cpu_s for end in ends), 3),
        peak_rss_mb=max((end.peak_rss_mb for end in ends), default=0.0),
        status=attempts[-1].end.status if attempts and attempts[-1].end is not None else -1,
    )
