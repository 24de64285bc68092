"""Which figures the paper has: each is a module of this folder, fig<n>_<what>.py, or figs_<what>.py of the supplement.

Names are read off the folder and sentences off the modules' docstrings without importing them: rules, the command
line and docs need no more, and drawing imports matplotlib.
"""

import ast
from pathlib import Path

SUPPLEMENT = "figs"


def paper_figures() -> dict[str, dict[str, str]]:
    """What each target draws: {fig1: {"fig1_model": what it shows}, …, figs: {"figs_convergence": …, …}}.

    What a module shows is the first line of its docstring. Figures are in the order of their numbers, the supplement
    is last.
    """
    found: dict[str, dict[str, str]] = {}
    for path in sorted(Path(__file__).parent.glob("fig*_*.py"), key=lambda path: path.name):
        docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
        found.setdefault(path.stem.partition("_")[0], {})[path.stem] = docstring.partition("\n")[0]
    return dict(sorted(found.items(), key=lambda item: (item[0] == SUPPLEMENT, len(item[0]), item[0])))
