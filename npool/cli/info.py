"""`npool info`: what is installed, found and used; what a bug report should say."""

from __future__ import annotations

import contextlib
import ctypes
import os
import platform
import sys
from importlib import metadata
from pathlib import Path

from rich.console import Console
from rich.markup import escape

import npool

__all__ = [
    "available_cores",
    "cache",
    "cuda_driver",
    "features",
    "info",
    "packages",
    "processor",
    "version_of",
]

#: Distribution names; the first installed one of a row is shown.
_ADAPTED = (("torch",), ("ml_dtypes",), ("numba-cuda",))
_PEERS = (
    ("onnxruntime", "onnxruntime-gpu"),
    ("jax",),
    ("scipy",),
    ("scikit-image",),
    ("opencv-python-headless", "opencv-python", "opencv-contrib-python"),
    ("tensorflow", "tensorflow-cpu"),
    ("tinybrain",),
    ("cupy-cuda13x", "cupy-cuda12x", "cupy"),
)
_FEATURES = (
    "sse4.2", "avx", "avx2", "fma", "f16c", "avx512f", "avx512bw", "avx512fp16", "neon", "sve",
    "sve2",
)  # fmt: skip


def info() -> None:
    """Say what is installed, found and used: versions, processor, threads, cache, devices.

    No framework is imported for it.
    """
    rows = [
        ("npool", npool.__version__),
        ("Python", f"{platform.python_version()} ({sys.executable})"),
        ("system", platform.platform()),
        *((name, version_of(name) or "not installed") for name in ("numpy", "numba", "llvmlite")),
        ("processor", processor()),
        ("features", features()),
        ("threads", f"{npool.get_num_threads()} (of {available_cores()} cores)"),
        ("kernel cache", cache()),
        ("reducers", ", ".join(npool.REDUCERS)),
        ("CUDA driver", cuda_driver()),
        ("extras", packages(_ADAPTED)),
        ("peers", packages(_PEERS)),
    ]
    console = Console(highlight=False)
    for name, value in rows:
        console.print(f"[bold]{name:14}[/]{escape(value)}", soft_wrap=True)


def version_of(*names: str) -> str | None:
    """The version of the first of these distributions that is installed."""
    for name in names:
        with contextlib.suppress(metadata.PackageNotFoundError):
            return metadata.version(name)
    return None


def packages(rows: tuple[tuple[str, ...], ...]) -> str:
    """Which of these are installed, and at which version."""
    found = []
    for names in rows:
        version = version_of(*names)
        found.append(f"{names[0]} {version}" if version else f"{names[0]} –")
    return ", ".join(found)


def processor() -> str:
    """The processor's own name, as far as the system tells it."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(errors="replace").splitlines():
            key, _, value = line.partition(":")
            if key.strip() in ("model name", "Model", "Processor"):
                return f"{value.strip()} ({platform.machine()})"
    return f"{platform.processor() or 'unknown'} ({platform.machine()})"


def features() -> str:
    """What LLVM compiles the kernels for: its name of the processor, and vector extensions."""
    try:
        from llvmlite import binding

        have = binding.get_host_cpu_features()
        names = [name for name in _FEATURES if have.get(name)]
        return f"{binding.get_host_cpu_name()}: {', '.join(names) or 'no vector extensions'}"
    except Exception as error:  # a report must come out whatever is broken
        return f"unknown ({error})"


def available_cores() -> int:
    """Cores that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def cache() -> str:
    """Where compiled kernels are kept, and how much of them."""
    from npool.cpu.cache import cache_directory

    try:
        where = cache_directory()
    except Exception as error:  # a report must come out whatever is broken
        return f"none ({error})"
    if where is None:
        return "none (kernels are compiled anew in every process)"
    sizes = []
    with contextlib.suppress(OSError):
        for path in Path(where).rglob("*"):
            with contextlib.suppress(OSError):  # replaced meanwhile by another process
                if path.is_file():
                    sizes.append(path.stat().st_size)
    return f"{where} ({sum(sizes) / 2**20:.1f} MiB in {len(sizes)} files)"


def cuda_driver() -> str:
    """The CUDA driver and its devices, asked of the driver itself."""
    name = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"
    try:
        driver = ctypes.CDLL(name)
    except OSError:
        return "not found"
    try:
        version, count = ctypes.c_int(), ctypes.c_int()
        if driver.cuInit(0) or driver.cuDriverGetVersion(ctypes.byref(version)):
            return "found, but it does not start"
        driver.cuDeviceGetCount(ctypes.byref(count))
        devices = []
        for ordinal in range(count.value):
            device, text = ctypes.c_int(), ctypes.create_string_buffer(128)
            driver.cuDeviceGet(ctypes.byref(device), ordinal)
            driver.cuDeviceGetName(text, len(text), device)
            devices.append(text.value.decode(errors="replace"))
    except Exception as error:  # a report must come out whatever is broken
        return f"found, but it cannot be asked ({error})"
    major, minor = divmod(version.value, 1000)
    return f"{major}.{minor // 10}, devices: {', '.join(devices) or 'none'}"
