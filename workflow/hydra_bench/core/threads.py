"""CPU threads, so that results can be repeated, and the memory that they free."""

import ctypes
import os

SPIN_COUNT = "1000"
"""Turns of a loop, some 10 µs, that a thread of a parallel region waits awake for the others before it sleeps.

libgomp's own 300,000 are some 3 ms, for which a processor that another process could use is kept busy at every meeting
of threads: two trainings at once took two and a half times as long as one after the other
(docs/explanation/benchmarks.md).
"""

_MOST = 4096
_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4  # of glibc's malloc.h


def keep_freed_memory(trim_bytes: int = 1 << 30) -> bool:
    """Have the C library reuse large blocks instead of returning each to the kernel; whether it could be asked.

    Training allocates and frees blocks of many MB all the time. Returned, their pages are zeroed by the kernel at
    every first touch, which takes CPU time; what is free beyond `trim_bytes` still goes back.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError):  # another C library
        return False
    return bool(mallopt(_M_MMAP_MAX, 0)) and bool(mallopt(_M_TRIM_THRESHOLD, trim_bytes))


def wait_asleep() -> None:
    """Have threads that wait for each other leave the processor to other processes; what the user has set stays.

    libgomp reads this when it is loaded, so it is to be said before torch is imported. Programs that are started
    inherit it.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", SPIN_COUNT)


def repeatable_products() -> None:
    """Have cuBLAS sum in one order; what the user has set stays. To be said before torch is imported."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")


def set_threads(threads: int, device: str = "cpu", keep_memory: bool = True, deterministic: bool = False) -> None:
    """Fix the number of threads, on which sums and so the last digits depend.

    On a CPU only kernels that repeat are used, and on a GPU where it is to be deterministic, for which
    `repeatable_products` was called; others are refused by torch.

    Raises InputError for fewer than one thread, or more than any machine has.
    """
    import torch

    from hydra_bench.core.errors import InputError

    if not 1 <= threads <= _MOST:
        raise InputError(f"--threads: {threads}; {'1 or more' if threads < 1 else f'at most {_MOST}'} is allowed")
    torch.set_num_threads(threads)
    if keep_memory:
        keep_freed_memory()
    # As torch.use_deterministic_algorithms does, which in torch 2.13 first loads its compiler.
    torch.set_deterministic_debug_mode("error" if device == "cpu" or deterministic else "default")
    # It would take time, and nothing reads what it did not write. (torch makes this attribute as it is imported.)
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    # The first call of MKL's vector functions on new threads may differ from all later ones in the last digits
    # (seen with torch 2.13: sqrt, in about a third of the processes); this call's results are thrown away.
    for function in (torch.sqrt, torch.exp, torch.sin, torch.cos, torch.log):
        function(torch.ones(1 << 20))
