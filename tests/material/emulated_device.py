"""A second device without a GPU: tensors that say they are on one, and an account of what a GPU would be waited for.

Arithmetic is the CPU's. An operation that mixes host and device fails, as on a GPU or, where PyTorch would copy
silently, as a fault of its own. What makes the host wait is counted: values read back, sizes that depend on values, and
copies that are not asynchronous. In deterministic mode what CUDA has no repeatable kernel for is refused, as there.
"""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode, return_and_correct_aliasing
from torch.utils._pytree import tree_flatten, tree_map
from torch.utils.backend_registration import _setup_privateuseone_for_python_backend

WAITING = {
    "_local_scalar_dense", "nonzero", "masked_select", "unique_dim", "_unique", "_unique2", "unique_consecutive",
    "bincount", "repeat_interleave", "_linalg_check_errors", "equal", "linalg_eigh", "linalg_eig", "argwhere",
}  # fmt: skip
"""Operations that wait on CUDA: they read a value, or their result's size depends on values."""
COPIES = {"copy_", "_to_copy"}
REFUSED = {
    "put_", "histc", "kthvalue", "grid_sampler_2d_backward", "grid_sampler_3d_backward", "nll_loss2d_forward",
    "max_unpool2d", "max_unpool3d", "avg_pool3d_backward", "upsample_linear1d_backward", "upsample_bilinear2d_backward",
    "upsample_bicubic2d_backward", "upsample_trilinear3d_backward", "reflection_pad1d_backward",
    "reflection_pad2d_backward", "reflection_pad3d_backward", "_ctc_loss_backward", "_embedding_bag_backward",
}  # fmt: skip
"""What has no repeatable kernel on CUDA, by the documentation of torch.use_deterministic_algorithms; and `refused`."""


def refused(function: Any, args: Any, kwargs: Any) -> bool:
    """Whether CUDA has no repeatable kernel for an operation with these arguments."""
    name, _, overload = function.name().split("::")[1].partition(".")
    if name == "bincount":
        return (len(args) > 1 and args[1] is not None) or kwargs.get("weights") is not None
    if name in ("cumsum", "cumsum_"):
        return bool(args[0].is_floating_point() or args[0].is_complex())
    if name in ("median", "nanmedian"):
        return bool(overload.startswith("dim"))
    return name in REFUSED or (name.startswith("scatter_reduce") and "prod" in args)


class OnDevice(torch.Tensor):
    """A tensor that says it is on the emulated device; `held` is where its numbers are."""

    held: torch.Tensor

    @staticmethod
    def __new__(cls, held: torch.Tensor) -> OnDevice:
        size, stride, offset = held.size(), held.stride(), held.storage_offset()
        made: OnDevice = torch.Tensor._make_wrapper_subclass(
            cls, size, strides=stride, storage_offset=offset, dtype=held.dtype, device=device()
        )
        made.held = held
        return made

    def __reduce_ex__(self, protocol: Any) -> Any:
        return self.detach().held.__reduce_ex__(protocol)

    @classmethod
    def __torch_dispatch__(cls, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        raise AssertionError(f"{function} outside of `emulated`")


_ready = False


def device() -> torch.device:
    """The emulated device; PyTorch is told of it once a process."""
    global _ready
    if not _ready:
        _setup_privateuseone_for_python_backend("emulated")
        _ready = True
    return torch.device("emulated", 0)


class Account(TorchDispatchMode):
    """Carries operations out; waits : how often each kind was waited for, since the last `take`."""

    def __init__(self) -> None:
        super().__init__()
        self.waits: Counter[str] = Counter()

    def _wait(self, kind: str) -> None:
        """Counted with the line of the package that it is in, which a failed test then names."""
        frame: FrameType | None = sys._getframe()
        while frame and f"{os.sep}hydra_bench{os.sep}" not in frame.f_code.co_filename:
            frame = frame.f_back
        self.waits[f"{kind} in {Path(frame.f_code.co_filename).name}:{frame.f_lineno}" if frame else kind] += 1

    def take(self) -> Counter[str]:
        waits, self.waits = self.waits, Counter()
        return waits

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        name, inputs = function.name().split("::")[1].split(".")[0], tree_flatten((args, kwargs))[0]
        ours = [x for x in inputs if isinstance(x, OnDevice)]
        others = [x for x in inputs if isinstance(x, torch.Tensor) and not isinstance(x, OnDevice)]
        wanted = kwargs.get("device")
        to_device = bool(ours) if wanted is None else torch.device(wanted).type == "emulated"
        if name == "copy_":
            to_device = isinstance(args[0], OnDevice)
        if ours:
            if torch.are_deterministic_algorithms_enabled():
                assert not refused(function, args, kwargs), f"{name}: not repeatable on CUDA"
            self._check(name, args, kwargs, others, to_device)
        elif to_device and others and name in COPIES and not kwargs.get("non_blocking"):
            self._wait("copy to the device")
        if wanted is not None:
            kwargs["device"] = torch.device("cpu")
        kwargs.pop("pin_memory", None)
        plain_args, plain_kwargs = (tree_map(_held, x) for x in (args, kwargs))
        if name == "_to_copy" and wanted is not None:
            found = plain_args[0].to(plain_kwargs.get("dtype") or plain_args[0].dtype, copy=True)
        else:
            found = function(*plain_args, **plain_kwargs)
        found = tree_map(lambda x: OnDevice(x) if to_device and isinstance(x, torch.Tensor) else x, found)
        return return_and_correct_aliasing(function, args, kwargs, found) if ours else found

    def _check(self, name: str, args: Any, kwargs: Any, others: list[torch.Tensor], to_device: bool) -> None:
        if name in COPIES:
            if not to_device:
                self._wait("copy to the host")
            elif name == "copy_" and any(x.dim() for x in others) and not (kwargs.get("non_blocking") or args[2:]):
                self._wait("copy to the device")
            return
        indexed = name.startswith("index") or name == "_index_put_impl_"
        mixed = [x for x in others if x.dim() or indexed]
        assert not mixed, f"{name}: a tensor of the host {tuple(mixed[0].shape)} among those of the device"
        masks = [x for x in tree_flatten(args[1:])[0] if isinstance(x, OnDevice) and x.dtype == torch.bool]
        if name in WAITING or (name in ("index", "index_put", "index_put_", "_index_put_impl_") and masks):
            self._wait(name)


class _Factories(TorchFunctionMode):
    """Tensors of numbers are made on the host and copied, and lists of them read back, as on a GPU."""

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        if function in (torch.tensor, torch.as_tensor) and kwargs.get("device") is not None:
            where = kwargs.pop("device")
            return function(*args, **kwargs).to(where)
        if function is torch.Tensor.tolist and isinstance(args[0], OnDevice):
            return args[0].cpu().tolist()
        if function is torch.Tensor.__getitem__ and isinstance(args[0], OnDevice) and isinstance(args[1], tuple):
            index = (torch.tensor(i).to(args[0].device) if isinstance(i, list) else i for i in args[1])
            return args[0][tuple(index)] if any(isinstance(i, list) for i in args[1]) else function(*args, **kwargs)
        if function is torch.Tensor.new_tensor and isinstance(args[0], OnDevice):
            kwargs.setdefault("dtype", args[0].dtype)
            return torch.tensor(*args[1:], **kwargs).to(args[0].device)
        return function(*args, **kwargs)


def _held(x: Any) -> Any:
    return x.held if isinstance(x, OnDevice) else x


@contextmanager
def emulated() -> Iterator[Account]:
    """While it lasts, tensors can be put on `device()`."""
    device()
    with _Factories(), Account() as account:
        yield account
