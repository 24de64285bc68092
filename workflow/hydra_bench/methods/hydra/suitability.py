"""Whether Hydra can be run with given parameters, and on a stack of a given size: asked before hours of it are begun.

The card of the program names these functions (docs/adding-a-method.md).
"""

from hydra_bench.core.json_values import JsonObject
from hydra_bench.methods.hydra.settings import Settings


def check_parameters(parameters: JsonObject) -> None:
    """Raises InputError for what no stack could make right."""
    Settings.from_parameters(parameters)


def check_fit(parameters: JsonObject, n_particles: int, box_px: int) -> None:
    """Raises InputError for settings that a stack of so many images, of that box, cannot be run with."""
    from hydra_bench.methods.hydra.fit.training_input import check_sizes

    check_sizes(Settings.from_parameters(parameters), n_particles, box_px)
