"""What is said to people beside results: on stderr, each sentence once."""

import sys

_said: set[str] = set()


def say(text: str) -> None:
    """One line on stderr, unless this process has said it before."""
    if text not in _said:
        _said.add(text)
        print(f"hydra-bench: {text}", file=sys.stderr, flush=True)
