"""What is done at the start of a run of the workflow, before its first job."""

from collections.abc import Iterable
from pathlib import Path

from hydra_bench.config import configuration, identity
from hydra_bench.contracts.places import Results
from hydra_bench.core.json_values import JsonObject
from hydra_bench.jobs import doctor


def start(
    settings: configuration.Config,
    sources: Iterable[Path | str],
    results: Results,
    gpus: int = 0,
    submitted: list[JsonObject] | None = None,
    in_a_job: bool = False,
) -> list[doctor.Finding]:
    """Fetch entries, look into the files that a checked configuration names, record it, examine the machine.

    `sources` are the files it came from; what follows `results` is as the doctor takes it. Returns what the doctor
    finds wrong. Raises InputError for a file that cannot be had or used.
    """
    sources = list(sources)
    configuration.fetch_entries(settings, sources)
    configuration.check_contents(settings, sources)
    identity.write_configuration(results.configuration, settings)
    findings = doctor.doctor(settings, results.folder, gpus, submitted, in_a_job)
    return [finding for finding in findings if finding.state != doctor.OK]
