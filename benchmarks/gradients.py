"""Gradients of npool and of torch, in turn, on one thread: ratios of the fastest of many rounds.

Run as ``python -m benchmarks.gradients [rounds]``; each answer is compared first. Results are
allocated by both.
"""

import sys
import time
from functools import partial

import numpy as np
import torch

import npool

CASES = [
    # shape, kernel, stride, padding
    ((4, 96, 96, 96), 2, 2, 0),
    ((4, 96, 96, 96), 3, 2, 1),
    ((4, 96, 96, 96), 3, 1, 1),
    ((8, 256, 14, 14), 3, 1, 1),
    ((32, 2048, 7, 7), 7, 7, 0),
    ((2, 4, 512, 512), 31, 1, 15),
    ((2, 16, 48, 48, 48), 2, 2, 0),
    ((2, 16, 48, 48, 48), 3, 1, 1),
    ((4, 64, 16384), 4, 4, 0),
    ((4, 64, 16384), 3, 1, 1),
]
LAST = {1: None, 2: torch.channels_last, 3: torch.channels_last_3d}


def calls(op, shape, kernel, stride, padding, last):
    """npool's gradient and torch's, as functions of nothing."""
    rank = len(shape) - 2
    x = torch.randn(shape)
    if last:
        x = x.to(memory_format=LAST[rank])
    x.requires_grad_()
    arguments = ((kernel,) * rank, stride, padding)
    function = getattr(torch.nn.functional, f"{op}_pool{rank}d")
    places = None
    if op == "max":
        output, indices = function(x, *arguments, return_indices=True)
        if last:
            indices = indices.contiguous(memory_format=LAST[rank])
        places = indices.numpy()
    else:
        output = function(x, *arguments)
    gradient = torch.rand(output.shape)
    if last:
        gradient = gradient.to(memory_format=LAST[rank])
    given = gradient.numpy()

    def theirs():
        return torch.autograd.grad(output, x, gradient, retain_graph=True)[0].numpy()

    def ours():
        if op == "max":
            return npool.max_pool_backward(given, places, shape, *arguments)
        return npool.avg_pool_backward(given, shape, *arguments)

    return ours, theirs


def main():
    """Print a line for each case."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 30
    torch.set_num_threads(1)
    npool.set_num_threads(1)
    for op in ("max", "avg"):
        for shape, kernel, stride, padding in CASES:
            for last in (False, True)[: 2 if len(shape) > 3 else 1]:
                both = calls(op, shape, kernel, stride, padding, last)
                np.testing.assert_allclose(both[0](), both[1](), 1e-4, 1e-5)
                best = [float("inf")] * 3
                pair = np.ones(shape, np.float32), np.ones(shape, np.float32)
                for _ in range(rounds):
                    for k, call in enumerate((*both, partial(np.copyto, *pair))):
                        began = time.thread_time()
                        call()
                        best[k] = min(best[k], time.thread_time() - began)
                ours, theirs, copy = (1e3 * seconds for seconds in best)
                print(
                    f"{op} {kernel}/{stride} p{padding} {shape} {'last' if last else 'first'}: "
                    f"{ours:.2f} ms, torch {theirs:.2f} ms, {theirs / ours:.1f} times; "
                    f"a copy of the result {copy:.2f} ms",
                    flush=True,
                )


if __name__ == "__main__":
    main()
