"""The door to Keras: a quiet import, and the number format this machine is fast in.

Every module that needs Keras imports it from here (`from train.backend import keras`). TensorFlow 2.21 logs lines about
CUDA and oneDNN that no setting of TF_CPP_MIN_LOG_LEVEL suppresses before its logger has started, so the import itself
runs with the file descriptor of stderr pointed away; an exception still shows, and what the native code had written is
given back with it.
"""

import os
import platform
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from curate.errors import UsageError

FLOAT32 = "float32"
BFLOAT16 = "mixed_bfloat16"
PRECISIONS = ("auto", FLOAT32, BFLOAT16)
# CPU flags under which bfloat16 was measured to be faster than float32, in CPU-seconds for an epoch of FER2013:
# avx512_bf16 (AMD Zen 4): `fast` 81 -> 50, `five-layer` 173 -> 99; amx_bf16 (Intel): `five-layer` 121 -> 48.
FAST_BFLOAT16_FLAGS = ("amx_bf16", "avx512_bf16")
# CUDA's compute capability of the first GPUs that multiply in bfloat16 (Ampere).
BFLOAT16_CAPABILITY = (8, 0)


@contextmanager
def mute_stderr() -> Iterator[None]:
    """Keep native code from writing to stderr; what it wrote is shown if the block fails."""
    sys.stderr.flush()
    with tempfile.TemporaryFile() as kept:
        stderr = os.dup(2)
        os.dup2(kept.fileno(), 2)
        failed = True
        try:
            yield
            failed = False
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)
            if failed:
                kept.seek(0)
                os.write(2, kept.read())


os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
with mute_stderr():
    import keras

    if keras.backend.backend() == "tensorflow":
        import tensorflow

        HAS_GPU = bool(tensorflow.config.list_physical_devices("GPU"))
    elif keras.backend.backend() == "jax":
        import jax

        HAS_GPU = jax.default_backend() == "gpu"
    elif keras.backend.backend() == "torch":
        import torch

        HAS_GPU = torch.cuda.is_available()
    else:
        HAS_GPU = False

__all__ = [
    "BFLOAT16", "FLOAT32", "HAS_GPU", "PRECISIONS", "choose_precision", "compiles_whole", "describe_machine", "keras",
    "mute_stderr", "use_one_thread", "use_precision",
]  # fmt: skip


def compiles_whole() -> bool:
    """Whether Keras is told to compile each step as a whole (its `jit_compile`).

    Under JAX, or it would compute operation by operation. Never under TensorFlow: on a CPU, XLA costs 5 to 12 times the
    time. Torch computes as it is.
    """
    return bool(keras.backend.backend() == "jax")


def choose_precision(asked: str = "auto") -> tuple[str, str]:
    """The Keras dtype policy to train with, and why.

    The rule: a CPU that names one of `FAST_BFLOAT16_FLAGS`, or a GPU of at least `BFLOAT16_CAPABILITY`, trains in bfloat16
    (weights and sums stay float32); every other machine in float32, because there bfloat16 is emulated and several times
    slower.

    Parameters
    ----------
    asked : auto, float32 or mixed_bfloat16

    Returns
    -------
    policy, reason

    Raises
    ------
    UsageError  if it is none of these
    """
    if asked not in PRECISIONS:
        raise UsageError(f"--precision {asked}: must be one of {', '.join(PRECISIONS)}")
    if asked != "auto":
        return asked, "asked for"
    if HAS_GPU:
        return _choose_on_gpu(read_gpu_capability())
    found = [flag for flag in FAST_BFLOAT16_FLAGS if flag in cpu_flags()]
    if found:
        return BFLOAT16, f"the CPU has {found[0]}"
    return FLOAT32, f"the CPU has neither {' nor '.join(FAST_BFLOAT16_FLAGS)}"


def _choose_on_gpu(capability: tuple[int, int] | None) -> tuple[str, str]:
    if capability is None:
        return FLOAT32, "the GPU does not tell its compute capability"
    told = ".".join(map(str, capability))
    if capability >= BFLOAT16_CAPABILITY:
        return BFLOAT16, f"the GPU has compute capability {told}"
    least = ".".join(map(str, BFLOAT16_CAPABILITY))
    return FLOAT32, f"the GPU has compute capability {told}, and bfloat16 begins with {least}"


def read_gpu_capability() -> tuple[int, int] | None:
    """The least compute capability of the GPUs of this machine; None where one does not tell."""
    backend = keras.backend.backend()
    if backend == "tensorflow":
        gpus = tensorflow.config.list_physical_devices("GPU")
        told = [
            tensorflow.config.experimental.get_device_details(gpu).get("compute_capability")
            for gpu in gpus
        ]
    elif backend == "jax":
        told = [getattr(gpu, "compute_capability", None) for gpu in jax.devices("gpu")]
    else:
        told = [torch.cuda.get_device_capability(gpu) for gpu in range(torch.cuda.device_count())]
    found = [parse_capability(each) for each in told]
    known = [each for each in found if each is not None]
    return min(known) if known and len(known) == len(found) else None


def parse_capability(told: Any) -> tuple[int, int] | None:
    """(8, 6) or "8.6", as the backends tell it; None for anything else, such as AMD's "gfx90a"."""
    parts = told.split(".") if isinstance(told, str) else told
    try:
        major, minor = parts
        return int(major), int(minor)
    except (TypeError, ValueError):
        return None


@contextmanager
def use_precision(policy: str) -> Iterator[None]:
    """Layers built inside take this dtype policy; the policy of before is restored (clear_session would lose it)."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def use_one_thread() -> None:
    """Compute in one thread from now on; too late, and without effect, where TensorFlow has computed before."""
    if keras.backend.backend() == "tensorflow":
        with suppress(RuntimeError):
            tensorflow.config.threading.set_intra_op_parallelism_threads(1)


def cpu_flags() -> frozenset[str]:
    """The instruction sets of this CPU; empty where the system does not tell."""
    return frozenset(read_cpuinfo("flags").split())


def read_cpuinfo(name: str) -> str:
    """What Linux tells of the first core under that name; empty where it does not, and on other systems."""
    if platform.system() != "Linux":
        return ""
    for line in Path("/proc/cpuinfo").read_text(errors="replace").splitlines():
        if line.startswith(name):
            return line.partition(":")[2].strip()
    return ""


def describe_machine() -> dict[str, Any]:
    """Processor, cores and GPUs, for the record of a run."""
    processor = read_cpuinfo("model name") or platform.processor()
    return {
        "processor": processor,
        "machine": platform.machine(),
        "cores": os.cpu_count(),
        "gpus": name_gpus(),
    }


def name_gpus() -> list[str]:
    """The GPUs that the backend sees, each by its name."""
    if not HAS_GPU:
        return []
    backend = keras.backend.backend()
    if backend == "tensorflow":
        gpus = tensorflow.config.list_physical_devices("GPU")
        details = [tensorflow.config.experimental.get_device_details(gpu) for gpu in gpus]
        return [str(each.get("device_name", "GPU")) for each in details]
    if backend == "jax":
        return [str(gpu.device_kind) for gpu in jax.devices("gpu")]
    return [torch.cuda.get_device_name(gpu) for gpu in range(torch.cuda.device_count())]
