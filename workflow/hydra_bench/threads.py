"""CPU threads, so that results can be repeated."""

from __future__ import annotations


def set_threads(threads: int, device: str = "cpu") -> None:
    """Fix the number of threads, on which sums and so the last digits depend; on a CPU, repeatable kernels only.

    Raises InputError for fewer than one thread.
    """
    import torch

    from hydra_bench.errors import InputError

    if threads < 1:
        raise InputError(f"--threads: {threads}; 1 or more is allowed")
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(mode=device == "cpu")
    torch.utils.deterministic.fill_uninitialized_memory = False  # 4 % of the time; nothing reads what it did not write
    # The first call of MKL's vector functions on new threads may differ from all later ones in the last digits
    # (seen with torch 2.13: sqrt, in about a third of the processes); this call's results are thrown away.
    for function in (torch.sqrt, torch.exp, torch.sin, torch.cos, torch.log):
        function(torch.ones(1 << 20))
