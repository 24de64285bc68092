"""The changelog's section of the version that the code has, on standard output: `python docs/release_notes.py [TAG]`.

Exits with 1, and says so, where the tag is not v<version>, or the changelog has no section of that version or no date
of it. Takes the standard library alone.
"""

import re
import sys
from pathlib import Path

CLONE = Path(__file__).resolve().parents[1]


def version() -> str:
    """What the package says it is, which is where the version stands."""
    (found,) = re.findall(r'^__version__ = "([^"]+)"$', (CLONE / "workflow/hydra_bench/__init__.py").read_text(), re.M)
    return found


def section(changelog: str, wanted: str) -> str:
    """What is below the heading of a version. Raises SystemExit without one."""
    parts = re.split(r"^## \[([^]]+)\](?: - (\d{4}-\d\d-\d\d))?$", changelog, flags=re.M)
    sections = {name: (date, text.strip()) for name, date, text in zip(*[iter(parts[1:])] * 3, strict=True)}
    if wanted not in sections:
        sys.exit(f"CHANGELOG.md: has no section [{wanted}]; there are {', '.join(sections)}")
    date, text = sections[wanted]
    if date is None:
        sys.exit(f"CHANGELOG.md: [{wanted}] has no date")
    return f"{text}\n"


if __name__ == "__main__":
    tag = next(iter(sys.argv[1:]), f"v{version()}")
    if tag != f"v{version()}":
        sys.exit(f"{tag}: the code is version {version()}, whose tag is v{version()}")
    sys.stdout.write(section((CLONE / "CHANGELOG.md").read_text(), version()))
