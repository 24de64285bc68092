"""The account of a run's attempts: a file to which every attempt adds a line when it starts and one when it ends.

An attempt that was killed outright, or whose node was lost, has no second line: it counts, its cost is not known.
"""

import json
import signal
from dataclasses import asdict, dataclass
from pathlib import Path

from hydra_bench.core.files import writing
from hydra_bench.core.json_values import JsonObject
from hydra_bench.core.machine import MACHINE
from hydra_bench.core.reading import regular_file

NAME = "attempts.jsonl"
_MOST_BYTES = 1 << 26
"""Of an account, which gets two lines an attempt."""
_NO_FAILURE = (0, *(128 + number for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM)))
"""Exit statuses of what ended well, though its job may not have, and of what was asked to stop."""


@dataclass(frozen=True)
class Start:
    """Where and when an attempt began. slurm_job: its number as text, "" outside SLURM; gpus: those it was given."""

    node: str
    slurm_job: str
    gpus: str
    started: str


@dataclass(frozen=True)
class End:
    """What an attempt cost, and the exit status that it ended with (128 + n for signal n).

    cause : why it ended where that is no result, "" otherwise: "machine" for a full or failing disk or a kill that no
    limit of the job explains, "memory" for more memory than the job may take.
    """

    wall_s: float
    cpu_s: float
    peak_rss_mb: float
    status: int
    cause: str = ""


@dataclass(frozen=True)
class Attempt:
    """One attempt; `end` is None for one that was lost."""

    start: Start
    end: End | None

    @property
    def interrupted(self) -> bool:
        """Whether it ended, or was ended, without a result of its own: the same call goes on from what it saved."""
        return self.end is None or self.end.cause == MACHINE or self.end.status in _NO_FAILURE

    @property
    def killed(self) -> bool:
        """Whether it was killed outright, and nobody in its job could tell why."""
        return self.end is None or (self.end.cause == MACHINE and self.end.status == 128 + signal.SIGKILL)


def add(folder: Path, event: Start | End) -> None:
    """Add a line to the account in `folder`. Raises MachineError."""
    path = folder / NAME
    with writing(path):
        folder.mkdir(parents=True, exist_ok=True)
        with open(path, "a", encoding="utf-8") as file:
            file.write(json.dumps({type(event).__name__.lower(): asdict(event)}) + "\n")


def read(folder: Path) -> list[Attempt]:
    """The attempts in order; none if there is no account. A line that a full disk cut off is passed over."""
    path = folder / NAME
    attempts: list[Attempt] = []
    if not path.is_file():
        return attempts
    for line in regular_file(path, _MOST_BYTES).read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            event: JsonObject = json.loads(line)
            if "start" in event:
                attempts.append(Attempt(Start(**event["start"]), None))
            elif attempts:
                attempts[-1] = Attempt(attempts[-1].start, End(**event["end"]))
        except (ValueError, TypeError, KeyError, RecursionError):
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
