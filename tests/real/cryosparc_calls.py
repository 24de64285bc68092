"""Run in cryosparc-tools' environment: the script of the method `cryosparc` on that package's classes, with no server.

python cryosparc_calls.py SCRIPT SETTINGS.json FOLDER JOB: the classes are autospecced, so a call that the package
does not take is a TypeError here; what a server would answer is made up. JOB is a folder with the last job's files.
Prints, as JSON, the calls that were made.
"""

import importlib.util
import json
import shutil
import sys
from datetime import datetime, timedelta
from pathlib import Path, PurePosixPath
from types import SimpleNamespace
from unittest.mock import create_autospec

from cryosparc.controllers.job import JobController
from cryosparc.controllers.project import ProjectController
from cryosparc.controllers.workspace import WorkspaceController
from cryosparc.tools import CryoSPARC

SCRIPT, SETTINGS, FOLDER, FILES = map(Path, sys.argv[1:])
PARAMS = {
    "import_particles": ["particle_meta_path", "particle_blob_path", "sign"],
    "homo_abinit": ["abinit_K", "abinit_max_res", "random_seed"],
    "hetero_refine": ["multirefine_N"],
    "homo_refine_new": ["random_seed"],
}


class Server:
    """What is known of jobs, and the calls that were made."""

    def __init__(self) -> None:
        self.jobs: dict[str, JobController] = {}
        self.calls: list[list[object]] = []
        self.project = create_autospec(ProjectController, instance=True)
        self.project.dir = PurePosixPath("/projects/P3")
        self.project.create_workspace.side_effect = self.create_workspace
        self.project.create_job.side_effect = self.create_job
        self.project.find_job.side_effect = lambda uid: self.jobs[uid]
        self.project.upload.side_effect = lambda target, source, **_: self.calls.append(["upload", target])
        self.sparc = create_autospec(CryoSPARC, instance=True)
        self.sparc.find_project.return_value = self.project
        specs = [SimpleNamespace(type=kind, params=dict.fromkeys(names)) for kind, names in PARAMS.items()]
        self.sparc.job_register = SimpleNamespace(specs=specs)
        self.sparc.api = SimpleNamespace(config=SimpleNamespace(get_version=lambda: "v5.0.3"))

    def create_workspace(self, title: str, desc: str | None = None) -> WorkspaceController:
        self.calls.append(["workspace", title])
        workspace = create_autospec(WorkspaceController, instance=True)
        workspace.uid = "W1"
        return workspace

    def create_job(
        self,
        workspace_uid: str,
        type: str,
        connections: dict[str, object],
        params: dict[str, object],
        title: str,
        desc: str = "",
    ) -> JobController:
        job = create_autospec(JobController, instance=True)
        job.uid, job.status = f"J{len(self.jobs) + 1}", "building"
        began = datetime(2026, 11, 25)
        job.model = SimpleNamespace(started_at=began, completed_at=began + timedelta(minutes=2))
        job.queue.side_effect = lambda *a, **k: self.calls.append(["queue", job.uid, *a])
        job.wait_for_done.side_effect = lambda **k: "completed"
        job.list_files.return_value = [path.name for path in FILES.iterdir()]
        job.download_file.side_effect = lambda name, target: shutil.copy(FILES / name, target)
        self.jobs[job.uid] = job
        self.calls.append(["create", workspace_uid, type, connections, params, title])
        return job


def main() -> None:
    spec = importlib.util.spec_from_file_location("run_jobs", SCRIPT)
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    server = Server()
    settings = json.loads(SETTINGS.read_text())
    script.run(server.sparc, settings, FOLDER)
    first = list(server.calls)
    for job in server.jobs.values():
        job.status = "completed"
    script.run(server.sparc, settings, FOLDER)  # what is finished is not run again
    print(json.dumps({"calls": first, "again": server.calls[len(first) :]}))


main()
