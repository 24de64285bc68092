"""The options of `relion_refine`, from a method's parameters, and what of them is not RELION's default.

Options are those of version 3.1; since version 4 the stochastic gradient descent is `--grad`, with other options.
"""

import re

from hydra_bench.contracts.places import PARTICLES_NAME
from hydra_bench.core.json_values import JsonObject
from hydra_bench.methods.programs.task import Task

BOTH = ("particle_diameter", "sym", "offset", "pad")
"""Parameters of both steps that are options of the same name with a value."""

SWITCHES = ("ctf", "ctf_intact_first_peak", "norm", "scale", "zero_mask", "flatten_solvent")

SAMPLING = ("healpix_order", "oversampling", "offset_range", "offset_step", "maxsig")

CLASSIFICATION = ("iter", "tau2_fudge", "ini_high", "strict_highres_exp", *SAMPLING)

_UNREMARKABLE = {"--i", "--o", "--K", "--ref", "--sgd", "--grad", "--denovo_3dref", "--j", "--pool", "--random_seed"}
_UNREMARKABLE |= {"--gpu", "--preread_images", "--sgd_write_iter", "--grad_write_iter"}


def printed_defaults(said: str) -> dict[str, str]:
    """Option -> default, as `relion_refine --help` prints them: `--tau2_fudge (1) : ...`."""
    return dict(re.findall(r"^\s*(--\w+) \((.*?)\) :", said, re.MULTILINE))


def departures(step: str, options: list[str], defaults: dict[str, str]) -> list[str]:
    """What of a command's options is not RELION's default, for the report."""
    found, rest = [], list(options)
    while rest:
        option = rest.pop(0)
        value = rest.pop(0) if rest and not rest[0].startswith("--") else None
        default = defaults.get(option)
        if option in _UNREMARKABLE or (value is not None and _same(value, default)):
            continue
        given = option if value is None else f"{option} {value}"
        was = "off" if value is None else default if default not in (None, "") else "none"
        found.append(f"{step}: {given} (RELION's default: {was})")
    return found


def _same(value: str, default: str | None) -> bool:
    try:
        return float(value) == float(default or "")
    except ValueError:
        return value == default


def execution_options(task: Task) -> list[str]:
    """How a run is computed, which changes nothing of what."""
    return ["--j", str(task.threads), "--pool", "10", "--preread_images", *_valued(task.parameters, {"gpu": "gpu"})]


def shared_options(task: Task) -> list[str]:
    """Options of both steps. RELION takes seed 0 for no shuffling, and a negative one for the time of day."""
    parameters = task.parameters
    options = ["--i", PARTICLES_NAME, "--K", str(parameters["classes"]), "--random_seed", str(task.seed + 1)]
    options += execution_options(task) + _valued(parameters, {name: name for name in BOTH})
    return options + [f"--{name}" for name in SWITCHES if parameters[name]]


def descent_options(parameters: JsonObject, n_particles: int, major: int) -> list[str]:
    """Options of the first step; the names of version 3's --sgd, or of --grad since version 4."""
    parts = [parameters[f"sgd_{part}_iter"] for part in ("ini", "inbetween", "fin")]
    total = sum(parts)
    options = ["--denovo_3dref", *_valued(parameters, {f"sgd_{name}": name for name in SAMPLING})]
    prefix = "sgd" if major < 4 else "grad"
    for part in ("ini", "fin"):
        subset = min(parameters[f"sgd_{part}_subset"], n_particles)
        options += [f"--{prefix}_{part}_resol", _text(parameters[f"sgd_{part}_resol"])]
        options += [f"--{prefix}_{part}_subset", str(subset)]
    options += [f"--{prefix}", f"--{prefix}_write_iter", str(total)]
    if major < 4:
        names = ("ini", "inbetween", "fin")
        return options + [word for name, n in zip(names, parts, strict=True) for word in (f"--sgd_{name}_iter", str(n))]
    shares = ["--grad_ini_frac", _text(parts[0] / total), "--grad_fin_frac", _text(parts[2] / total)]
    return [*options, "--iter", str(total), *shares]


def classification_options(parameters: JsonObject) -> list[str]:
    options = _valued(parameters, {name: name for name in CLASSIFICATION})
    return options + (["--firstiter_cc"] if parameters["firstiter_cc"] else [])


def _valued(parameters: JsonObject, names: dict[str, str]) -> list[str]:
    """--<option> value, for each parameter -> option that has a value."""
    given = {option: parameters[name] for name, option in names.items() if name in parameters}
    return [word for option, value in given.items() for word in (f"--{option}", _text(value))]


def _text(value: float | str) -> str:
    return value if isinstance(value, str) else f"{value:g}"


def batch_sizes(parameters: JsonObject, n_particles: int) -> list[int]:
    """The size of each iteration's mini-batch: the initial one, then rising linearly, then the final one."""
    first, last = (min(parameters[f"sgd_{part}_subset"], n_particles) for part in ("ini", "fin"))
    between = parameters["sgd_inbetween_iter"]
    rising = [round(first + i / between * (last - first)) for i in range(between)]
    return [first] * parameters["sgd_ini_iter"] + rising + [last] * parameters["sgd_fin_iter"]
