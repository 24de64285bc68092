"""An archive of a results folder: an RO-Crate (www.researchobject.org/ro-crate) of the workflow and of what it made.

It holds what is needed to judge the results and to make them again: the workflow's files, the configuration, versions
of everything installed, results without the images of stacks (but a sample of each, and what the stack is made of), and
the SHA-256 of every file.
"""

import datetime
import platform
import shutil
import struct
import zipfile
import zlib
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path, PurePosixPath

from rocrate.model.contextentity import ContextEntity
from rocrate.model.person import Person
from rocrate.rocrate import ROCrate
from tqdm import tqdm

from hydra_bench import __version__
from hydra_bench.contracts.places import IMAGES_NAME, Results
from hydra_bench.core.checksums import NAME as CHECKSUMS
from hydra_bench.core.checksums import check_checksums, write_checksums
from hydra_bench.core.clone import CLONE
from hydra_bench.core.errors import InputError
from hydra_bench.core.files import atomic, partial_folder, write_json, writing
from hydra_bench.core.json_values import JsonObject
from hydra_bench.core.partial import PREFIX
from hydra_bench.core.reading import regular_file
from hydra_bench.core.records import read_record
from hydra_bench.core.yaml_files import read_yaml
from hydra_bench.sharing.identity import identity_of, write_sample

WORKFLOW_FILES = (
    "Snakefile",
    "workflow",
    "config",
    "envs",
    "pyproject.toml",
    "requirements.lock",
    "CITATION.cff",
    "LICENSE",
)
ENVIRONMENT = "environment.json"
RESULTS, IDENTITY, SAMPLE = "results", "identity.json", "sample.mrcs"
_LEFT_OUT = (IMAGES_NAME, "checkpoints", "__pycache__", ".snakemake_timestamp", f"{PREFIX}*")
_MEANINGS = {
    "configuration.json": "The configuration of the run, checked, with all defaults",
    "metrics": "Scores of every run",
    "reconstructions": "What each method gave back: classes, poses, latents, maps",
    "datasets": "Of each dataset the list of particles, the truth, its identity and a sample of its images",
    "tables": "Tables of the report",
    "figures": "Figures of the report",
    "report": "The report's page",
    "paper": "Figures of the paper's kind",
    "logs": "What each job said and cost",
}


@dataclass(frozen=True)
class Author:
    """Who hands results in."""

    name: str
    orcid: str | None = None


@dataclass(frozen=True)
class _Named:
    """What a configuration says that ran."""

    datasets: list[str]
    methods: list[str]


def archive(results: Results, out: Path, author: Author | None = None, with_images: bool = False) -> None:
    """Write an archive of a results folder as a zip file.

    Raises InputError if the folder lacks the record of a run or its metrics, or the archive would lie in it.
    """
    folder = results.folder
    if not results.configuration.is_file():
        raise InputError(f"{folder}: holds no {results.configuration.name}; the folder of a run's results is expected")
    if not any(results.metrics.glob("*/*/*.json")):
        raise InputError(f"{results.metrics}: no metrics; a finished run is expected")
    if folder.resolve() in out.resolve().parents:
        raise InputError(f"{out}: lies in {folder}, which is archived; another place is expected")
    with writing(out), partial_folder(out.resolve()) as content:
        _lay_out(results, content, with_images)
        crate = _crate(content, read_record(results.configuration, _Named), author)
        # The library writes what describes the folder, and the folder is its own: nothing is copied.
        crate.metadata.write(content)
        crate.preview.write(content)
        with atomic(out) as temporary:
            write_zip(content, temporary)


def _lay_out(results: Results, content: Path, with_images: bool) -> None:
    """Put what is archived into a folder, by links where the disk has them, and its checksums beside it."""
    ignored = shutil.ignore_patterns(*(name for name in _LEFT_OUT if not with_images or name != IMAGES_NAME))
    for name in WORKFLOW_FILES:
        source = CLONE / name
        if source.is_dir():
            shutil.copytree(source, content / name, ignore=ignored, copy_function=_linked)
        elif source.is_file():
            content.mkdir(parents=True, exist_ok=True)
            _linked(str(source), str(content / name))
    shutil.copytree(results.folder, content / RESULTS, ignore=ignored, copy_function=_linked)
    datasets = Results(content / RESULTS).datasets
    for dataset in sorted(results.datasets.glob("*/stack")):
        name = dataset.parent.name
        write_json(datasets / name / IDENTITY, asdict(identity_of(dataset.parent, name)))
        write_sample(dataset.parent, datasets / name / SAMPLE)
    write_json(content / ENVIRONMENT, environment())
    write_checksums(content)


def write_zip(folder: Path, out: Path) -> None:
    """Write a folder as a zip file; folders have entries of their own, by which the description names them."""
    paths = sorted(folder.rglob("*"))
    # A file that says it is older than the format can say, as some file systems do, is dated 1980.
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED, strict_timestamps=False) as file:
        for path in tqdm(paths, desc="archive", unit="file", disable=None, delay=5):
            file.write(path, path.relative_to(folder))


def _linked(source: str, target: str) -> None:
    """A second name of a file, or a copy on another disk."""
    try:
        Path(target).hardlink_to(source)
    except OSError:
        shutil.copy2(source, target)


def environment() -> JsonObject:
    """What is installed where the archive is made."""
    packages = {found.name: found.version for found in metadata.distributions() if found.name}
    return {
        "hydra_bench": __version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": dict(sorted(packages.items(), key=lambda pair: pair[0].lower())),
    }


def _crate(content: Path, ran: _Named, author: Author | None) -> ROCrate:
    """The description of what lies in a folder."""
    crate = ROCrate(gen_preview=True, version="1.1")
    datasets, methods = ", ".join(ran.datasets), ", ".join(ran.methods)
    crate.name = f"hydra-bench results: {datasets}"
    crate.description = f"Heterogeneous cryo-EM reconstruction of {datasets} by {methods}, scored by hydra-bench."
    crate.license = "https://spdx.org/licenses/BSD-3-Clause"
    crate.datePublished = datetime.datetime.now(datetime.UTC)
    if author is not None:
        identifier = f"https://orcid.org/{author.orcid}" if author.orcid else None
        crate.creator = crate.add(Person(crate, identifier, {"name": author.name}))
    software = read_yaml(content / "CITATION.cff")
    paper = software["preferred-citation"]
    names = ", ".join(f"{person['given-names']} {person['family-names']}" for person in paper["authors"])
    crate.root_dataset["citation"] = crate.add(
        ContextEntity(
            crate,
            paper["url"],
            {"@type": "ScholarlyArticle", "name": paper["title"], "author": names, "datePublished": str(paper["year"])},
        )
    )
    workflow = crate.add_workflow(
        content / "Snakefile",
        "Snakefile",
        main=True,
        lang="snakemake",
        lang_version=metadata.version("snakemake"),
        properties={"name": software["title"], "description": software["abstract"], "version": __version__},
    )
    workflow["license"] = crate.license
    for path in sorted(content.iterdir()):
        if path.name == "Snakefile":
            continue
        if path.name == RESULTS:
            for part in sorted(path.iterdir()):
                properties = {"name": part.name, "description": _MEANINGS.get(part.name, part.name)}
                _add(crate, part, f"{RESULTS}/{part.name}", properties)
        else:
            _add(crate, path, path.name, {"name": path.name})
    return crate


def _add(crate: ROCrate, source: Path, place: str, properties: JsonObject) -> None:
    if source.is_dir():
        crate.add_dataset(source, f"{place}/", properties=properties)
    else:
        crate.add_file(source, place, properties=properties | {"contentSize": str(source.stat().st_size)})


def unpacked(archive_path: Path, folder: Path) -> Path:
    """Unpack an archive into a folder that is not there yet, and check what came out.

    Returns the results folder in it. Raises InputError if it is no archive of `archive`, would write outside the folder
    or more than there is room for, or a file is not what its checksum says.
    """
    try:
        with zipfile.ZipFile(regular_file(archive_path)) as file:
            entries = file.infolist()
            for entry in entries:
                place = PurePosixPath(entry.filename)
                if (
                    place.is_absolute()
                    or ".." in place.parts
                    or "\\" in entry.filename
                    or entry.external_attr >> 28 == 0xA
                ):
                    raise InputError(f"{archive_path}: {entry.filename!r} leads out of the archive; it is not unpacked")
            size = sum(entry.file_size for entry in entries)
            free = shutil.disk_usage(folder.parent).free
            if size > 0.9 * free:
                raise InputError(f"{archive_path}: {size / 1e9:.1f} GB when unpacked; {free / 1e9:.1f} GB are free")
            file.extractall(folder)
    # What the library raises where bytes are damaged: of its own, and of what unpacks them.
    except (OSError, EOFError, ValueError, RuntimeError, struct.error, zlib.error, zipfile.BadZipFile) as error:
        raise InputError(f"{archive_path}: cannot be unpacked ({error})") from None
    if not (folder / CHECKSUMS).is_file():
        raise InputError(f"{archive_path}: holds no {CHECKSUMS}; an archive of `hydra-bench archive` is expected")
    try:
        check_checksums(folder)
    except InputError as error:
        raise InputError(str(error).replace(f"{folder}/", f"{archive_path}: ")) from None
    return folder / RESULTS
