"""npool for PyTorch: its pooling functions and modules on tensors, differentiable, and faster.

`functional` and `nn` have torch's names; :func:`npool.max_pool` and its kin take tensors as they
take arrays. CPU tensors are pooled where they lie, without a copy.
"""

from __future__ import annotations

from npool.torch import faces, functional

__all__ = ["faces", "functional"]
