"""CryoSPARC on a server of the user's, through cryosparc-tools in an environment of its own.

Host and login are taken from the environment variables that cryosparc-tools reads, or from the login that it keeps;
they are in no file of this project, and in no log. Where they are not set, the method is not configured.
"""

import json
import os
from pathlib import Path

from hydra_bench.core.errors import NotConfiguredError, RunFailedError
from hydra_bench.core.files import read_json, write_json
from hydra_bench.core.json_values import JsonObject
from hydra_bench.methods.programs.programs import program_output
from hydra_bench.methods.programs.task import Task
from hydra_bench.methods.recording import Outcome

from ..cryosparc_import.adapter import import_job
from ..cryosparc_import.files import job_files

_SCRIPT = Path(__file__).with_name("run_jobs.py")
_VERSION = "import cryosparc; print('cryosparc-tools', cryosparc.__version__)"

COST_NOTE = "wall time is the client's, with waiting for the server's queue; CPU time and memory are the client's alone"


def run(task: Task, folder: Path) -> Outcome:
    """The adapter. A later attempt goes on with the jobs that an earlier one began."""
    project = check_configured()
    said = task.programs.output("python", "-c", _VERSION).split()
    if said[:1] != ["cryosparc-tools"]:
        raise RunFailedError("cryosparc-tools is not installed; make envs")
    task.programs.versions["cryosparc-tools"] = said[1]
    settings = task.work / "settings.json"
    write_json(settings, job_settings(task, project))
    task.programs.run("python", _SCRIPT, settings, task.work)
    with program_output(task.work / "jobs.json"):
        account = read_json(task.work / "jobs.json")
        task.programs.versions["CryoSPARC"] = account["version"]
        files = job_files({"job": str(task.work / "files")})
    task.departures.extend(departures(account, task))
    notes = import_job(task, folder, files, None)
    return Outcome(0, {"images_seen": "not known", **notes, "jobs": account["steps"]})


def check_configured() -> str:
    """The project to run in. Raises NotConfiguredError that names what is not set."""
    wanted = []
    if not (os.environ.get("CRYOSPARC_BASE_URL") or os.environ.get("CRYOSPARC_MASTER_HOSTNAME")):
        wanted.append("CRYOSPARC_BASE_URL (http://host:39000)")
    with_password = os.environ.get("CRYOSPARC_EMAIL") and os.environ.get("CRYOSPARC_PASSWORD")
    if not with_password and not login_file().is_file():
        wanted.append("CRYOSPARC_EMAIL and CRYOSPARC_PASSWORD (or log in by `python -m cryosparc.tools login`)")
    project = os.environ.get("CRYOSPARC_PROJECT", "")
    if not project:
        wanted.append("CRYOSPARC_PROJECT (P3)")
    if wanted:
        raise NotConfiguredError(f"not configured: set {', '.join(wanted)}; docs/how-to/baselines.md says more")
    return project


def login_file() -> Path:
    """Where cryosparc-tools keeps logins, on Linux."""
    return Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "cryosparc-tools" / "auth.json"


def job_settings(task: Task, project: str) -> JsonObject:
    """What the script is told."""
    names = ("classes", "refine", "upload", "import_params", "abinit_params", "refine_params")
    return {
        "project": project,
        "lane": os.environ.get("CRYOSPARC_LANE"),
        "workspace_title": f"hydra-bench-{task.work.resolve().parent.name}",
        "particles": str(task.stack.path.resolve()),
        "seed": task.seed,
        **{name: task.parameters[name] for name in names},
    }


def departures(account: JsonObject, task: Task) -> list[str]:
    """What a reader must know of how the jobs were run."""
    found = [COST_NOTE]
    for step in ("abinit", "refine"):
        if task.parameters.get(f"{step}_params"):
            found.append(f"{step}: {json.dumps(task.parameters[f'{step}_params'])}")
    unseeded = [s["type"] for name, s in account["steps"].items() if name != "import" and not s.get("seeded")]
    if unseeded:
        found.append(f"the seed was not passed on: {', '.join(unseeded)} of this CryoSPARC has no random_seed")
    return found
