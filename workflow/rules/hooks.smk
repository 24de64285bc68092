# Before the first job: is everything there that the jobs need? After a failed one: a report all the same.
# Snakemake takes hooks from the main Snakefile alone, so both Snakefiles include this file, and one that has them as a
# module may. They are run by the main process, not in dry runs and not by jobs; where that process lacks the libraries
# that jobs have (--sdm conda), rules/start.smk takes their place, and no report is made after a failure.
# What they need is imported in them: every job reads this file, too, and rules/common.smk says where the package lies.
import sys
from pathlib import Path


def asked_for():
    """What each job that is to run asks for, as the doctor reads it."""
    jobs = []
    for job in workflow.dag.needrun_jobs():
        # What is computed only when the job starts is no number yet.
        asked = {name: job.resources.get(name) for name in ("runtime", "mem_mb", "gpu", "nodes")}
        numbers = {name: value for name, value in asked.items() if isinstance(value, int)}
        resources = {
            "partition": job.resources.get("slurm_partition"),
            "gpu_model": job.resources.get("gpu_model"),
            "gpus": numbers.pop("gpu", 0),
            "on_cpu": job.resources.get("device") == "cpu",
        }
        jobs.append({"rule": job.rule.name, "cpus": job.threads, "local": job.is_local, **resources, **numbers})
    return jobs


def before_the_first_job():
    """Ends the run where something is wrong."""
    from hydra_bench.config import configuration
    from hydra_bench.contracts.places import Results
    from hydra_bench.core.errors import InputError
    from hydra_bench.jobs import doctor, slurm
    from hydra_bench.jobs.start import start

    results = Results()
    try:
        checked = configuration.validate(config, workflow.configfiles)
        jobs = asked_for()
        if workflow.local_exec:
            gpus = max([job["gpus"] for job in jobs if not job["on_cpu"]], default=0)
            submitted = []
        else:
            gpus = 0
            submitted = [job for job in jobs if not job["local"]]
        wrong = start(checked, workflow.configfiles, results, gpus, submitted)
    except InputError as error:
        print(f"hydra-bench: error: {error}", file=sys.stderr)
        sys.exit(2)
    for finding in wrong:
        print(f"hydra-bench doctor: {finding}", file=sys.stderr)
    if any(finding.state == doctor.FAILED for finding in wrong):
        sys.exit(2)
    if not workflow.local_exec and slurm.available():
        slurm.end_left_over_jobs(Path.cwd())


onstart:
    from hydra_bench.core import clone

    if clone.has_libraries():
        before_the_first_job()


onerror:
    from hydra_bench.core import clone

    # Unless stopped by its user, who wants it to end now.
    if clone.has_libraries() and workflow.scheduler._user_kill is None:
        from hydra_bench.contracts.places import Results
        from hydra_bench.core.errors import InputError, MachineError
        from hydra_bench.report.summarise import summarise

        results = Results()
        try:
            summarise(results.configuration, results.folder)
            said = f"some jobs failed; the report of what is finished: {results.page}"
        except (InputError, MachineError, OSError) as error:
            said = f"error: some jobs failed, and there is no report of what is finished: {error}"
        print(f"hydra-bench: {said}", file=sys.stderr)
