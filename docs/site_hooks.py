"""What mkdocs does beyond its configuration: links of documents that lead out of docs/, into the repository.

On the site they lead to the file at the address of the repository, where mkdocs.yml knows one (REPOSITORY_URL), and are
plain text where not. Those to a file that is not there stay as they are, and so are warned of, which `--strict`
refuses. And the pages of the API, which are made from the modules that there are.
"""

import re
from pathlib import Path
from posixpath import join, normpath
from typing import Any

from mkdocs.structure.files import File

CLONE = Path(__file__).resolve().parents[1]
LINK = re.compile(r"(?<!!)\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^)\s#]+)(#[^)\s]*)?\)")


def on_page_markdown(markdown: str, page: Any, config: Any, files: Any) -> str:  # mkdocs has no public types
    """Called by mkdocs for each page."""
    folder = join("docs", page.file.src_uri.rpartition("/")[0])

    def lead(link: re.Match[str]) -> str:
        words, target = link[1], normpath(join(folder, link[2]))
        if "://" in link[2] or (target.startswith("docs/") and target.endswith(".md")):
            return link[0]
        if target.startswith(("docs/images/", "..")) or not (CLONE / target).exists():
            return link[0]
        return f"[{words}]({config.repo_url.rstrip('/')}/blob/main/{target})" if config.repo_url else words

    return LINK.sub(lead, markdown)


def on_files(files: Any, config: Any) -> Any:  # as above
    """Called by mkdocs with its pages; adds one of the API for each room of the package but the command line."""
    for room in sorted(path.parent for path in (CLONE / "workflow" / "hydra_bench").glob("*/__init__.py")):
        modules = sorted(path.relative_to(CLONE / "workflow") for path in room.rglob("*.py") if path.name[0] != "_")
        names = [".".join(path.with_suffix("").parts) for path in modules]
        text = "\n\n".join([f"# {room.name}", f"::: hydra_bench.{room.name}\n    options: {{members: false}}"])
        text += "".join(f"\n\n::: {name}" for name in names) + "\n"
        if room.name != "cli":
            files.append(File.generated(config, f"reference/api/{room.name}.md", content=text))
    return files
