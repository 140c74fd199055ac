"""Failures of a device: too little memory, or one after which its process is of no use.

torch, cuBLAS, NCCL and gloo raise RuntimeErrors, so most of it stands in their texts. Nothing here imports torch.
"""

from __future__ import annotations

_FULL = (
    "can't allocate memory",  # torch's allocator for the CPU, which has no exception of its own
    "out of memory",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "CUDNN_STATUS_ALLOC_FAILED",
    "CUSOLVER_STATUS_ALLOC_FAILED",
    "Failed to CUDA calloc",  # NCCL
)
_BROKEN = (
    "CUDA error",
    "CUDA driver error",
    "CUDA-capable device",
    "CUBLAS_STATUS_",
    "CUDNN_STATUS_",
    "NCCL error",
    "No CUDA GPUs are available",
    "Connection closed by peer",  # gloo
    "Connection reset by peer",
)
_OF_THE_PROGRAM = "device-side assert"  # a check in the program's own kernel, such as an index out of range


def is_out_of_memory(error: BaseException) -> bool:
    """Whether a device, or the machine, has no memory left for what was asked."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    return isinstance(error, RuntimeError) and says_full(str(error))


def says_full(text: str) -> bool:
    return any(mark in text for mark in _FULL)


def breaks_process(error: BaseException) -> bool:
    """Whether a device or a connection between devices has failed: what the process tries next would fail as well."""
    if is_out_of_memory(error) or not isinstance(error, RuntimeError):
        return False
    named = type(error).__name__ in ("AcceleratorError", "DistBackendError", "DistNetworkError")
    return named or any(mark in str(error) for mark in _BROKEN)


def is_broken(error: BaseException) -> bool:
    """Whether a device has failed so by itself: a failure that the program causes would come again on any other."""
    return breaks_process(error) and _OF_THE_PROGRAM not in str(error)
