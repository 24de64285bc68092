"""Particle files for the tests: six small images in two files, listed as RELION and cryoSPARC list them."""

from pathlib import Path

import mrcfile
import numpy as np
import pandas as pd

from hydra_bench.physics.ctf import Defocus

BOX, N = 8, 6
IMAGES = np.random.default_rng(1).standard_normal((N, BOX, BOX)).astype(np.float32)
PLACES = [("b", 2), ("a", 1), ("b", 1), ("a", 3), ("b", 3), ("a", 2)]
"""File and image number (from 1) of each particle."""
DEFOCUS = Defocus(*np.random.default_rng(2).uniform([[9000], [9000], [0], [0]], [[2e4], [2e4], [180], [90]], (4, N)))
VOLTAGE = np.array([300.0, 200, 200, 300, 300, 200])
EVERY = np.arange(N)


def write_images(path: Path, images: np.ndarray, pixel_size_A: float = 2.0) -> Path:
    """An image stack (n, D, D) as mrcfile writes it; the type is that of the array."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with mrcfile.new(path, overwrite=True) as mrc:
        mrc.set_data(images)
        mrc.set_image_stack()
        mrc.voxel_size = pixel_size_A
    return path


def write_two_files(folder: Path) -> None:
    """The images, as a.mrcs and b.mrcs in the order of PLACES."""
    for name in "ab":
        mine = sorted((number, i) for i, (file, number) in enumerate(PLACES) if file == name)
        write_images(folder / f"{name}.mrcs", IMAGES[[i for _, i in mine]])


def relion_tables(prefix: str = "") -> dict[str, pd.DataFrame]:
    """RELION 3.1 and later: two groups, numbered 7 (300 kV) and 3 (200 kV), and an unused one."""
    optics = pd.DataFrame(
        {
            "rlnOpticsGroupName": ["x", "y", "unused"],
            "rlnOpticsGroup": [7, 3, 4],
            "rlnVoltage": [300.0, 200.0, 0.0],
            "rlnSphericalAberration": [2.7, 2.0, 2.7],
            "rlnAmplitudeContrast": [0.1, 0.07, 0.1],
            "rlnImagePixelSize": [2.0, 2.0, 3.0],
            "rlnImageSize": [BOX, BOX, 12],
            "rlnImageDimensionality": 2,
            "rlnCtfDataAreCtfPremultiplied": 0,
        }
    )
    particles = pd.DataFrame(
        {
            "rlnCoordinateX": 17.5,
            "rlnImageName": [f"{number:06d}@{prefix}{name}.mrcs" for name, number in PLACES],
            "rlnOpticsGroup": np.where(VOLTAGE == 300, 7, 3),
            "rlnDefocusU": DEFOCUS.u_A,
            "rlnDefocusV": DEFOCUS.v_A,
            "rlnDefocusAngle": DEFOCUS.angle_deg,
            "rlnPhaseShift": DEFOCUS.phase_shift_deg,
            "rlnClassNumber": 1,
        }
    )
    return {"general": pd.DataFrame({"rlnSomething": [1, 2]}), "optics": optics, "particles": particles}


def relion_30_table(prefix: str = "") -> pd.DataFrame:
    particles = relion_tables(prefix)["particles"].drop(columns="rlnOpticsGroup")
    return particles.assign(
        rlnVoltage=VOLTAGE,
        rlnSphericalAberration=np.where(VOLTAGE == 300, 2.7, 2.0),
        rlnAmplitudeContrast=np.where(VOLTAGE == 300, 0.1, 0.07),
        rlnDetectorPixelSize=5.0,
        rlnMagnification=25000.0,
    )


def cs_rows(**fields: np.ndarray) -> np.ndarray:
    """Rows of a .cs file with the given fields ('/' written as two underscores)."""
    columns = {name.replace("__", "/"): np.asarray(values) for name, values in fields.items()}
    dtype = [(name, values.dtype, values.shape[1:]) for name, values in columns.items()]
    rows = np.zeros(len(next(iter(columns.values()))), dtype)
    for name, values in columns.items():
        rows[name] = values
    return rows


def cs_blob(prefix: bytes = b"", suffix: bytes = b".mrcs") -> np.ndarray:
    return cs_rows(
        uid=np.arange(N, dtype=np.uint64) + 2**60,
        blob__path=np.array([prefix + name.encode() + suffix for name, _ in PLACES]),
        blob__idx=np.array([number - 1 for _, number in PLACES], dtype=np.uint32),
        blob__shape=np.full((N, 2), BOX, dtype=np.uint32),
        blob__psize_A=np.full(N, 2.0, dtype=np.float32),
        blob__sign=np.full(N, -1.0, dtype=np.float32),
    )


def cs_ctf(order: np.ndarray = EVERY) -> np.ndarray:
    return cs_rows(
        uid=np.arange(N, dtype=np.uint64) + 2**60,
        ctf__accel_kv=VOLTAGE.astype("f4"),
        ctf__cs_mm=np.where(VOLTAGE == 300, 2.7, 2.0).astype("f4"),
        ctf__amp_contrast=np.where(VOLTAGE == 300, 0.1, 0.07).astype("f4"),
        ctf__df1_A=DEFOCUS.u_A.astype("f4"),
        ctf__df2_A=DEFOCUS.v_A.astype("f4"),
        ctf__df_angle_rad=np.radians(DEFOCUS.angle_deg).astype("f4"),
        ctf__phase_shift_rad=np.radians(DEFOCUS.phase_shift_deg).astype("f4"),
    )[order]


def joined(*parts: np.ndarray) -> np.ndarray:
    names = {name: part[name] for part in parts for name in part.dtype.names}
    return cs_rows(**{name.replace("/", "__"): values for name, values in names.items()})


def save_cs(path: Path, rows: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "wb") as file:
        np.save(file, rows)
    return path


def cs_poses(group: str, vectors: np.ndarray, shifts_px: np.ndarray, pixel_A: float) -> np.ndarray:
    values = {"pose": vectors, "shift": shifts_px, "psize_A": np.full(N, pixel_A)}
    return cs_rows(**{f"{group}__{name}": value.astype("f4") for name, value in values.items()})
