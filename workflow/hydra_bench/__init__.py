"""hydra-bench: reproducible benchmarks of heterogeneous cryo-EM reconstruction.

Imports run one way: cli -> report / bench -> metrics -> baselines / hydra -> physics -> contracts.

contracts   stack, truth, reconstruction (on files, errors)
physics     structures, density, rotations, fourier, ctf, simulate
methods     hydra, baselines
"""

__version__ = "0.1.0"
