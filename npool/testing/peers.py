"""The implementations that `conform` knows: npool and the libraries whose pooling people use.

Each is described by what it has, and imported when it is asked for. The ways of calling them are
those that their users would take: the filters of scipy and OpenCV are sampled at the stride.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable
from dataclasses import dataclass

from . import peers_arrays, peers_frameworks
from .implementations import Implementation, from_function
from .oracle import Fold


@dataclass(frozen=True)
class Installed:
    """Where an implementation comes from: modules, what pip calls it, and its descriptor."""

    modules: tuple[str, ...]
    distribution: str
    describe: Callable[[], Implementation]

    def is_installed(self) -> bool:
        """Whether all its modules can be found; none is imported."""
        return all(importlib.util.find_spec(module) is not None for module in self.modules)


def describe_npool() -> Implementation:
    """npool itself, through its public functions."""
    npool = importlib.import_module("npool")
    faces = {
        "max": npool.max_pool,
        "min": npool.min_pool,
        "avg": npool.avg_pool,
        "sum": npool.sum_pool,
        "lp": npool.lp_pool,
    }
    functions = {op: faces.get(op, npool.pool) for op in npool.REDUCERS}

    def reducer(fold: Fold) -> object:
        return npool.Reducer(
            fold.name,
            combine=fold.combine,
            identity=fold.identity,
            lift=fold.lift,
            finish=fold.finish,
        )

    return from_function(
        functions,
        name="npool",
        version=npool.__version__,
        fold=reducer,
        output_shape=npool.output_shape,
        adaptive=npool.adaptive_pool,
    )


INSTALLED: dict[str, Installed] = {
    "npool": Installed(("numba",), "npool", describe_npool),
    "torch": Installed(("torch",), "torch", peers_frameworks.describe_torch),
    "onnxruntime": Installed(
        ("onnxruntime", "onnx"), "onnxruntime", peers_frameworks.describe_onnxruntime
    ),
    "jax": Installed(("jax",), "jax", peers_frameworks.describe_jax),
    "scipy": Installed(("scipy",), "scipy", peers_arrays.describe_scipy),
    "skimage": Installed(("skimage",), "scikit-image", peers_arrays.describe_skimage),
    "opencv": Installed(("cv2",), "opencv-python-headless", peers_arrays.describe_opencv),
    "tinybrain": Installed(("tinybrain",), "tinybrain", peers_arrays.describe_tinybrain),
    "numpy": Installed(("numpy",), "numpy", peers_arrays.describe_numpy),
}
"""Every implementation that `conform` knows, by name."""


def found() -> list[str]:
    """The names of those that are installed, npool first.

    Returns
    -------
    list of str
        Names in `INSTALLED`.

    Examples
    --------
    >>> found()[0]
    'npool'
    """
    return [name for name, one in INSTALLED.items() if one.is_installed()]


def descriptor(name: str) -> Implementation:
    """The descriptor of an installed implementation, with the version that is installed.

    Parameters
    ----------
    name : str
        A name in `INSTALLED`.

    Returns
    -------
    Implementation
        How to call it, and what it has.

    Raises
    ------
    KeyError
        For a name that is not known.
    ModuleNotFoundError
        If it is not installed; see `found`.

    Examples
    --------
    >>> descriptor("numpy").name
    'numpy'
    """
    return INSTALLED[name].describe()
