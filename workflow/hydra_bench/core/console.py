"""What is said to people beside results: on stderr, each sentence once."""

import os
import sys

_said: set[str] = set()


def say(text: str) -> None:
    """One line on stderr, unless this process has said it before, or is another's helper (torchrun's RANK above 0)."""
    if text not in _said and os.environ.get("RANK", "0") == "0":
        _said.add(text)
        print(f"hydra-bench: {text}", file=sys.stderr, flush=True)
