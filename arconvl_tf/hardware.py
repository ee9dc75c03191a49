"""What this machine is good at, and the precision that suits it."""

import contextlib
import os
import pathlib

import keras
import tensorflow as tf

if keras.backend.backend() != "tensorflow":  # in Keras' own file of settings, or imported before
    received = keras.backend.backend()
    raise ImportError(f"Expected Keras on TensorFlow. Received: the backend {received}. Set KERAS_BACKEND=tensorflow")

# Instructions that multiply bfloat16 matrices; without them the type is emulated and far slower than float32.
BFLOAT16_CPU_FLAGS = {"amx_bf16", "avx512_bf16"}
BFLOAT16_GPU_CAPABILITY = (8, 0)


def fast_bfloat16():
    """Whether the GPU, or else the processor, has fast bfloat16 matrix units."""
    gpus = tf.config.list_physical_devices("GPU")
    if gpus:
        capability = tf.config.experimental.get_device_details(gpus[0]).get("compute_capability", (0, 0))
        return tuple(capability) >= BFLOAT16_GPU_CAPABILITY
    return bool(BFLOAT16_CPU_FLAGS & _cpu_flags())


def default_precision():
    """`"mixed_bfloat16"` where it is fast, `"float32"` elsewhere."""
    return "mixed_bfloat16" if fast_bfloat16() else "float32"


def usable_cores():
    """How many processor cores this process may use, which on a shared machine may be few of them."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def rounds_float32_products():
    """Whether float32 matrix products may keep 10 bits only (TF32), TensorFlow's default on recent GPUs."""
    return bool(tf.config.list_physical_devices("GPU")) and tf.config.experimental.tensor_float_32_execution_enabled()


@contextlib.contextmanager
def precision(policy):
    """Keras' global policy, for the layers made inside the block."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def _cpu_flags():
    """The processor's feature flags; empty where the system does not list them."""
    try:
        text = pathlib.Path("/proc/cpuinfo").read_text()
    except OSError:
        return set()
    return {flag for line in text.splitlines() if line.startswith("flags") for flag in line.split(":")[1].split()}
