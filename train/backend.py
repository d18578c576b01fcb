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

from curate.errors import UsageError

FLOAT32 = "float32"
BFLOAT16 = "mixed_bfloat16"
PRECISIONS = ("auto", FLOAT32, BFLOAT16)
# CPU flags under which bfloat16 was measured to be faster than float32, in CPU-seconds for an epoch of FER2013:
# avx512_bf16 (AMD Zen 4): `fast` 81 -> 50, `five-layer` 173 -> 99; amx_bf16 (Intel): `five-layer` 121 -> 48.
FAST_BFLOAT16_FLAGS = ("amx_bf16", "avx512_bf16")


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
    else:
        import torch

        HAS_GPU = torch.cuda.is_available()

__all__ = [
    "BFLOAT16", "FLOAT32", "HAS_GPU", "PRECISIONS", "choose_precision", "keras", "mute_stderr", "use_one_thread",
    "use_precision",
]  # fmt: skip


def choose_precision(asked: str = "auto") -> tuple[str, str]:
    """The Keras dtype policy to train with, and why.

    The rule: a CPU that names one of `FAST_BFLOAT16_FLAGS`, or a GPU, trains in bfloat16 (weights and sums stay float32);
    every other machine in float32, because there bfloat16 is emulated and several times slower.

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
        return BFLOAT16, "a GPU is present"
    found = [flag for flag in FAST_BFLOAT16_FLAGS if flag in cpu_flags()]
    if found:
        return BFLOAT16, f"the CPU has {found[0]}"
    return FLOAT32, f"the CPU has neither {' nor '.join(FAST_BFLOAT16_FLAGS)}"


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
    if platform.system() != "Linux":
        return frozenset()
    for line in Path("/proc/cpuinfo").read_text(errors="replace").splitlines():
        if line.startswith("flags"):
            return frozenset(line.partition(":")[2].split())
    return frozenset()
