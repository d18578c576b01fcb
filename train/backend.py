"""Import Keras quietly, choose the number format that is fast here, describe the machine.

Every module that needs Keras imports it from here (`from train.backend import keras`). TensorFlow
2.21 logs lines about CUDA and oneDNN that no setting of TF_CPP_MIN_LOG_LEVEL suppresses before its
logger has started. So the import runs with the file descriptor of stderr redirected; if it fails,
the exception and the redirected text are shown.
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
from curate.stderr import show_status

FLOAT32 = "float32"
BFLOAT16 = "mixed_bfloat16"
PRECISIONS = ("auto", FLOAT32, BFLOAT16)
# CPU flags with which bfloat16 was measured to be faster than float32, in CPU-seconds for an epoch
# of FER2013. avx512_bf16 (AMD Zen 4): `fast` 81 -> 50, `five-layer` 173 -> 99; amx_bf16 (Intel):
# `five-layer` 121 -> 48.
FAST_BFLOAT16_FLAGS = ("amx_bf16", "avx512_bf16")
# Models of depthwise convolutions: with avx512_bf16 a batch of `mobilenetv2` takes a fifth longer
# in bfloat16 than in float32 (`benchmarks/batch_cost.py`).
DEPTHWISE_MODELS = ("mobilenetv2",)
# CUDA compute capability of the first GPUs that multiply in bfloat16 (Ampere).
BFLOAT16_CAPABILITY = (8, 0)


@contextmanager
def mute_stderr() -> Iterator[None]:
    """Suppress what native code writes to stderr; if the block fails, the text is shown."""
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


# By default TensorFlow uses oneDNN's convolutions only on x86 CPUs with AVX512-VNNI or better. With
# AVX2 alone they are faster than TensorFlow's own too: `benchmarks/batch_cost.py` compares them.
ONEDNN_MACHINES = ("x86_64", "AMD64")

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
if platform.machine() in ONEDNN_MACHINES:
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
with show_status("loading Keras ..."), mute_stderr():
    import keras

    if keras.backend.backend() == "tensorflow":
        import tensorflow

        # Its warnings are about the speed of our code (`retracing`): nothing for a user to do.
        tensorflow.get_logger().setLevel("ERROR")
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
    "BFLOAT16", "FLOAT32", "HAS_GPU", "PRECISIONS", "choose_precision", "compiles_whole",
    "describe_machine", "keras", "mute_stderr", "use_one_thread", "use_precision",
]  # fmt: skip


def compiles_whole() -> bool:
    """Whether Keras compiles each step as a whole (its `jit_compile`).

    True with JAX, which would otherwise compute operation by operation. False with TensorFlow: on a
    CPU, XLA takes 5 to 12 times as long. False with Torch, which needs no compilation.
    """
    return bool(keras.backend.backend() == "jax")


def choose_precision(precision: str = "auto", model: str = "") -> tuple[str, str]:
    """The Keras dtype policy to train with, and the reason.

    A CPU with one of `FAST_BFLOAT16_FLAGS`, or a GPU of at least `BFLOAT16_CAPABILITY`, trains in
    bfloat16 (weights and sums stay float32); the CPU not for `DEPTHWISE_MODELS`. Every other
    machine trains in float32, because it emulates bfloat16, which is several times slower.

    Parameters
    ----------
    precision : auto, float32 or mixed_bfloat16
    model : as `Recipe.model` names it

    Returns
    -------
    policy, reason

    Raises
    ------
    UsageError  if `precision` is none of these
    """
    if precision not in PRECISIONS:
        raise UsageError(f"--precision {precision}: must be one of {', '.join(PRECISIONS)}")
    if precision != "auto":
        return precision, "requested"
    if HAS_GPU:
        return _choose_on_gpu(read_gpu_capability())
    if model in DEPTHWISE_MODELS:
        return FLOAT32, f"on a CPU {model} is no faster in bfloat16"
    found = [flag for flag in FAST_BFLOAT16_FLAGS if flag in cpu_flags()]
    if found:
        return BFLOAT16, f"the CPU has {found[0]}"
    return FLOAT32, f"the CPU has neither {' nor '.join(FAST_BFLOAT16_FLAGS)}"


def _choose_on_gpu(capability: tuple[int, int] | None) -> tuple[str, str]:
    if capability is None:
        return FLOAT32, "the GPU reports no compute capability"
    version = ".".join(map(str, capability))
    if capability >= BFLOAT16_CAPABILITY:
        return BFLOAT16, f"the GPU has compute capability {version}"
    required = ".".join(map(str, BFLOAT16_CAPABILITY))
    return FLOAT32, f"the GPU has compute capability {version}, and bfloat16 needs {required}"


def read_gpu_capability() -> tuple[int, int] | None:
    """The lowest compute capability of this machine's GPUs; None if any GPU reports none."""
    backend = keras.backend.backend()
    if backend == "tensorflow":
        gpus = tensorflow.config.list_physical_devices("GPU")
        details = [tensorflow.config.experimental.get_device_details(gpu) for gpu in gpus]
        reported = [each.get("compute_capability") for each in details]
    elif backend == "jax":
        reported = [getattr(gpu, "compute_capability", None) for gpu in jax.devices("gpu")]
    else:
        numbers = range(torch.cuda.device_count())
        reported = [torch.cuda.get_device_capability(number) for number in numbers]
    capabilities = [parse_capability(each) for each in reported]
    known = [each for each in capabilities if each is not None]
    return min(known) if known and len(known) == len(capabilities) else None


def parse_capability(reported: Any) -> tuple[int, int] | None:
    """(8, 6) or "8.6", as the backends report it; None for other values, as AMD's "gfx90a"."""
    parts = reported.split(".") if isinstance(reported, str) else reported
    try:
        major, minor = parts
        return int(major), int(minor)
    except (TypeError, ValueError):
        return None


@contextmanager
def use_precision(policy: str) -> Iterator[None]:
    """Build layers with this dtype policy; the previous one is restored afterwards.

    `keras.utils.clear_session` would reset it to the default.
    """
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def use_one_thread() -> None:
    """Compute in one thread from now on; without effect if TensorFlow has already computed."""
    if keras.backend.backend() == "tensorflow":
        with suppress(RuntimeError):
            tensorflow.config.threading.set_intra_op_parallelism_threads(1)


def cpu_flags() -> frozenset[str]:
    """The instruction sets of this CPU; empty if the system does not report them."""
    return frozenset(read_cpuinfo("flags").split())


def read_cpuinfo(name: str) -> str:
    """A field of the first core in Linux's /proc/cpuinfo; empty if absent or on another system."""
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
    """The names of the GPUs that the backend finds."""
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
