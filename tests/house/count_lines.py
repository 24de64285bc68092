"""Count lines of code: .py and .smk files and Snakefiles under a folder, without blanks, comments and docstrings.

`python tests/house/count_lines.py workflow`; more folders, of other clones, may follow.
"""

import ast
import sys
from collections import Counter
from pathlib import Path


def lines_of_code(path: Path) -> int:
    text, documentation = path.read_text(), set()
    if path.suffix == ".py":
        for node in ast.walk(ast.parse(text)):
            # A string that stands by itself is a docstring, of a module, class, function or attribute.
            is_string = (
                isinstance(node, ast.Expr)
                and isinstance(node.value, ast.Constant)
                and isinstance(node.value.value, str)
            )
            if is_string:
                documentation |= set(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    lines = enumerate((line.strip() for line in text.splitlines()), start=1)
    return sum(bool(line) and not line.startswith("#") and number not in documentation for number, line in lines)


def counted(folder: Path) -> Counter[str]:
    """Lines of code by sub-folder, two levels deep."""
    found: Counter[str] = Counter()
    for path in sorted(folder.rglob("*")):
        if path.suffix in (".py", ".smk") or path.name == "Snakefile":
            found["/".join(path.relative_to(folder).parts[:-1][:2]) or "."] += lines_of_code(path)
    return found


if __name__ == "__main__":
    for name in sys.argv[1:]:
        lines = counted(Path(name))
        print(f"{lines.total():7,}  {name}")
        for part, number in sorted(lines.items()):
            print(f"{number:7,}    {part}")
