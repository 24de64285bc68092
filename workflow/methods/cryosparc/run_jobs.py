"""Runs CryoSPARC jobs on a stack, in the environment of cryosparc-tools: python run_jobs.py SETTINGS.json FOLDER.

Import particles, ab initio reconstruction, refinement. SETTINGS: project, workspace_title, lane, particles (STAR file),
classes, seed, refine, upload, import_params, abinit_params, refine_params. Who and where is said by cryosparc-tools'
environment variables or its login. FOLDER gets jobs.json, by which a later call goes on with jobs that this one began,
and files/, the last job's particles and maps. Exit status 0, or 1 and a line that says what went wrong.
"""

import json
import re
import sys
from pathlib import Path
from typing import Any  # what cryosparc-tools gives has no types

_ITERATION = re.compile(r"_(final|\d{3,5})_(?=particles|volume)")


def main(arguments: list[str]) -> None:
    settings = json.loads(Path(arguments[0]).read_text())
    folder = Path(arguments[1])
    import cryosparc
    from cryosparc.tools import CryoSPARC

    try:
        run(CryoSPARC(), settings, folder)
    except Exception as error:  # whatever the package or the server raises is one line here
        sys.exit(f"cryosparc-tools {cryosparc.__version__}: {' '.join(str(error).split()) or type(error).__name__}")


def run(sparc: Any, settings: dict[str, Any], folder: Path) -> None:
    """All jobs, one after the other, and the files of the last one. `sparc` is a connection of cryosparc-tools."""
    project = sparc.find_project(settings["project"])
    jobs = Jobs(sparc, project, settings, folder / "jobs.json")
    star, images = on_the_server(project, settings)
    files = {"particle_meta_path": star, "particle_blob_path": images}
    imported = jobs.finished("import", "import_particles", {}, files | settings["import_params"])
    classes = settings["classes"]
    particles, params = {"particles": (imported.uid, "imported_particles")}, {"abinit_K": classes}
    last = abinit = jobs.finished("abinit", "homo_abinit", particles, params | settings["abinit_params"])
    if settings["refine"]:
        maps = [(abinit.uid, f"volume_class_{k}") for k in range(classes)]
        inputs = {"particles": (abinit.uid, "particles_all_classes"), "volume": maps}
        kind = "hetero_refine" if classes > 1 else "homo_refine_new"
        last = jobs.finished("refine", kind, inputs, settings["refine_params"])
    fetch(last, folder / "files")
    jobs.record(version=sparc.api.config.get_version(), last=last.uid)


class Jobs:
    """The jobs of one run by the step that they are; the account of them outlives this process."""

    def __init__(self, sparc: Any, project: Any, settings: dict[str, Any], account: Path) -> None:
        self.project, self.settings, self.path = project, settings, account
        self.kinds = {spec.type: spec for spec in sparc.job_register.specs}
        self.account = json.loads(account.read_text()) if account.is_file() else {"steps": {}}

    def finished(self, step: str, kind: str, connections: dict[str, Any], params: dict[str, Any]) -> Any:
        """The job of a step, run to its end: that of an earlier attempt, if there is one that did not end badly."""
        known = self.account["steps"].get(step)
        job = self.project.find_job(known["uid"]) if known else None
        if job is None or job.status in ("killed", "failed"):
            job = self._created(step, kind, connections, params)
        if job.status == "building":
            # Imports need no GPU: without a lane they run on the server itself.
            job.queue(None if step == "import" else self.settings["lane"])
        print(f"{step}: job {job.uid} ({kind}) is {job.status}", flush=True)
        status = job.wait_for_done()
        started, ended = job.model.started_at, job.model.completed_at
        wall_s = round((ended - started).total_seconds(), 1) if started and ended else None
        self.account["steps"][step].update(status=status, wall_s=wall_s)
        self.record()
        print(f"{step}: job {job.uid} ({kind}) is {status}", flush=True)
        if status != "completed":
            raise RuntimeError(f"job {job.uid} ({kind}) ended as {status}; its log in CryoSPARC says why")
        return job

    def _created(self, step: str, kind: str, connections: dict[str, Any], params: dict[str, Any]) -> Any:
        title = self.settings["workspace_title"]
        if kind not in self.kinds:
            raise RuntimeError(f"this CryoSPARC has no job type {kind}")
        allowed = self.kinds[kind].params
        unknown = [name for name in params if name not in allowed]
        if unknown:
            raise RuntimeError(f"the job type {kind} of this CryoSPARC has no parameter {unknown[0]}")
        seeded = step != "import" and "random_seed" in allowed
        if seeded:
            params = {"random_seed": self.settings["seed"], **params}
        if "workspace" not in self.account:
            self.record(workspace=self.project.create_workspace(title).uid)
        job = self.project.create_job(self.account["workspace"], kind, connections, params, title)
        self.account["steps"][step] = {"uid": job.uid, "type": kind, "seeded": seeded, "params": params}
        self.record()
        return job

    def record(self, **more: Any) -> None:
        """Write the account, with what is added to it."""
        self.account.update(more)
        partial = self.path.with_name(f".partial-{self.path.name}")
        partial.write_text(json.dumps(self.account, indent=2))
        partial.replace(self.path)


def on_the_server(project: Any, settings: dict[str, Any]) -> tuple[str, str]:
    """Paths, as the server sees them, of the STAR file and of the folder of its images."""
    star = Path(settings["particles"])
    if not settings["upload"]:
        return str(star), str(star.parent)
    target = f"hydra_bench/{settings['workspace_title']}"
    project.mkdir(target, parents=True, exist_ok=True)
    for path in (star, *sorted(star.parent.glob("*.mrcs"))):
        project.upload(f"{target}/{path.name}", path, overwrite=True)
    folder = project.dir / target
    return str(folder / star.name), str(folder)


def fetch(job: Any, folder: Path) -> None:
    """Copy a job's particles and maps of the last iteration, and what it says of itself, into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in last_files(job.list_files()):
        partial = folder / f".partial-{name}"
        job.download_file(name, partial)
        partial.replace(folder / name)


def last_files(names: list[str]) -> list[str]:
    """Of a job's files the particles, maps and job.json, each of its last iteration."""
    chosen: dict[str, tuple[int, str]] = {}
    for name in names:
        if "/" in name or not re.search(r"particles\w*\.cs$|_volume(_map)?\.mrc$|^job\.json$", name):
            continue
        found = _ITERATION.search(name)
        iteration = -1 if found is None else 10**6 if found[1] == "final" else int(found[1])
        kind = _ITERATION.sub("_", name)
        chosen[kind] = max(chosen.get(kind, (-2, "")), (iteration, name))
    return sorted(name for _, name in chosen.values())


if __name__ == "__main__":
    main(sys.argv[1:])
