"""Small definitions that several tests use."""

from typing import Any


def dataset(images: int = 30, **simulation: Any) -> dict[str, Any]:
    """Two species from embedded entries, at a small box."""
    species = {"large": ["LA0", "LB0", "L50"], "small": ["SA0", "SB0", "S60"]}
    ctf = {
        "voltage_kV": 300,
        "spherical_aberration_mm": 2.7,
        "amplitude_contrast": 0.1,
        "defocus_A": [10000, 25000],
        "astigmatism_A": [0, 500],
        "phase_shift_deg": 0,
    }
    chosen = {
        "box_px": 48,
        "pixel_size_A": 6.6,
        "delivered_box_px": 32,
        "snr": 0.5,
        "shift_px": 2,
        "b_factor_A2": 200,
        "ctf": ctf,
    }
    return {
        "seed": 7,
        "evaluation_particles_per_class": 2,
        "species": {
            name: {"entry": "6zu5", "chains": chains, "assembly": None, "model": 1, "images": images}
            for name, chains in species.items()
        },
        "simulation": {**chosen, **simulation},
    }


def moving_dataset(images: int = 30, states: int = 3, **simulation: Any) -> dict[str, Any]:
    """The same two species; two proteins of the second turn by a lot against its RNA."""
    definition = dataset(images, **simulation)
    motion = {"chains": ["SA?", "SB*"], "angle_deg": [-40, 60], "axis": None, "through": None, "states": states}
    definition["species"]["small"]["motion"] = motion
    return definition
