"""npool for PyTorch: pooling of tensors, differentiable, and npool under torch's own operators.

`functional` and `nn` have torch's names, so that an import is all that changes;
:func:`npool.max_pool` and its kin take tensors as they take arrays; :func:`accelerate` makes a
model faster that knows nothing of npool. Tensors are pooled where they lie, on the CPU or
a CUDA device, without a copy.
"""

from __future__ import annotations

from npool.torch import (
    faces,  # noqa: F401  (it defines the operators)
    functional,
    nn,
)
from npool.torch.acceleration import Acceleration, Call, accelerate
from npool.torch.threads import lend_threads

__all__ = ["Acceleration", "Call", "accelerate", "functional", "nn"]

lend_threads()
