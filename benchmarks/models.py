"""Whole models with and without `npool.torch.accelerate`: forward, and a step of training.

Random weights: what is timed is arithmetic and memory, which know nothing of what was learned.
``python -m benchmarks.models --check`` compares answers and gradients on small inputs instead.
"""

from __future__ import annotations

import ctypes
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from statistics import median
from typing import Annotated, Any

import torch
import typer
from rich.console import Console
from rich.table import Table
from torch import nn

import npool
from npool.torch import accelerate

__all__ = ["MODELS", "Model", "check", "measure"]


def _convolution(inputs: int, outputs: int, kernel: int, **more: Any) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, bias=False, **more),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
    )


def vgg11() -> nn.Module:
    """VGG-11: five max poolings of 2 x 2 between eight convolutions (arXiv:1409.1556)."""
    layers: list[nn.Module] = []
    inputs = 3
    for width in (64, "M", 128, "M", 256, 256, "M", 512, 512, "M", 512, 512, "M"):
        if width == "M":
            layers.append(nn.MaxPool2d(2))
        else:
            layers += [nn.Conv2d(inputs, width, 3, padding=1), nn.ReLU(inplace=True)]
            inputs = width
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(7), nn.Flatten(), nn.Linear(25088, 1000))


class _Residual(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            _convolution(width, width, 3), nn.Conv2d(width, width, 3, padding=1, bias=False),
            nn.BatchNorm2d(width),
        )  # fmt: skip

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu(x + self.body(x))


def resnet_stem() -> nn.Module:
    """ResNet-18's stem, whose max pooling is of 3 x 3 at stride 2, and its first stage."""
    return nn.Sequential(
        _convolution(3, 64, 7, stride=2), nn.MaxPool2d(3, 2, 1), _Residual(64), _Residual(64)
    )


class _Inception(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.branches = nn.ModuleList([
            _convolution(192, 64, 1),
            nn.Sequential(_convolution(192, 96, 1), _convolution(96, 128, 3)),
            nn.Sequential(_convolution(192, 16, 1), _convolution(16, 32, 3)),
            nn.Sequential(nn.MaxPool2d(3, 1, 1), _convolution(192, 32, 1)),
        ])  # fmt: skip

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.cat([branch(x) for branch in self.branches], 1)


def inception() -> nn.Module:
    """GoogLeNet's first block: a max pooling of 3 x 3 at stride 1 beside convolutions."""
    return _Inception()


class _SPPF(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = _convolution(512, 256, 1)
        self.last = _convolution(1024, 512, 1)
        self.pool = nn.MaxPool2d(5, 1, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        pooled = [self.first(x)]
        for _ in range(3):
            pooled.append(self.pool(pooled[-1]))
        return self.last(torch.cat(pooled, 1))


def sppf() -> nn.Module:
    """YOLO's spatial pyramid: three max poolings of 5 x 5 at stride 1, one after another."""
    return _SPPF()


def unet3d() -> nn.Module:
    """The encoder of a 3-D U-Net: max poolings of 2 x 2 x 2 (arXiv:1606.06650)."""
    layers: list[nn.Module] = []
    inputs = 1
    for width in (16, 32, 64):
        layers += [
            nn.Conv3d(inputs, width, 3, padding=1), nn.ReLU(inplace=True),
            nn.Conv3d(width, width, 3, padding=1), nn.ReLU(inplace=True), nn.MaxPool3d(2),
        ]  # fmt: skip
        inputs = width
    return nn.Sequential(*layers)


@dataclass(frozen=True)
class Model:
    """A row: how the model is made, and the shapes that it is timed and checked on."""

    name: str
    make: Callable[[], nn.Module]
    shape: tuple[int, ...]
    small: tuple[int, ...]


MODELS = (
    Model("VGG-11", vgg11, (1, 3, 224, 224), (1, 3, 64, 64)),
    Model("ResNet stem and first stage", resnet_stem, (4, 3, 224, 224), (1, 3, 64, 64)),
    Model("Inception block", inception, (4, 192, 28, 28), (1, 192, 20, 20)),
    Model("YOLO SPPF block", sppf, (4, 512, 20, 20), (1, 512, 10, 10)),
    Model("3-D U-Net encoder", unet3d, (1, 1, 64, 64, 64), (1, 1, 16, 16, 16)),
)


def _made(model: Model, shape: tuple[int, ...], last: bool) -> tuple[nn.Module, torch.Tensor]:
    torch.manual_seed(0)
    net, x = model.make(), torch.rand(shape)
    if last:
        form = {4: torch.channels_last, 5: torch.channels_last_3d}[len(shape)]
        net, x = net.to(memory_format=form), x.to(memory_format=form)
    return net, x


def _forward(net: nn.Module, x: torch.Tensor) -> torch.Tensor:
    with torch.inference_mode():
        return net(x)


def _step(net: nn.Module, x: torch.Tensor) -> list[torch.Tensor]:
    net.zero_grad(set_to_none=True)
    net(x).square().mean().backward()
    return [p.grad for p in net.parameters() if p.grad is not None]


def check(model: Model, last: bool = False) -> str:
    """What differs with npool from what torch computes, or an empty string."""
    net, x = _made(model, model.small, last)
    net.eval()
    want, gradients = _forward(net, x), _step(net, x)
    with accelerate():
        got, others = _forward(net, x), _step(net, x)
    pairs = [("the result", want, got)]
    pairs += [("a gradient", *pair) for pair in zip(gradients, others, strict=True)]
    for name, one, other in pairs:
        scale = float(one.abs().max()) or 1.0
        if not torch.allclose(one, other, rtol=1e-3, atol=1e-5 * scale):
            return f"{name} is off by {float((one - other).abs().max()):.3g} of {scale:.3g}"
    return ""


def _share(call: Callable[[], Any]) -> float:
    """How much of a call's time torch's own pooling takes, by its profiler."""
    call()
    with torch.profiler.profile() as profile:
        call()
    events = profile.key_averages()
    total = sum(event.self_cpu_time_total for event in events)
    pooled = sum(event.self_cpu_time_total for event in events if "pool" in event.key)
    return float(pooled / total)


def keep_memory() -> None:
    """Have glibc's malloc keep what is freed, as other allocators do.

    Else it gives memory back to the system and takes it anew, 54 MB of page faults in a layer of
    the volumes, in some runs and not in others: 20 of 160 ms, where pooling has 15.
    """
    if sys.platform == "linux":
        with suppress(AttributeError, OSError):
            mallopt = ctypes.CDLL(None).mallopt
            mallopt(_MMAP_MAX, 0)
            mallopt(_TRIM_THRESHOLD, 1 << 30)


#: Names in glibc's malloc.h.
_TRIM_THRESHOLD, _MMAP_MAX = -1, -4


def measure(model: Model, last: bool, rounds: int) -> list[tuple[str, float, float, float]]:
    """``(what, seconds with torch alone, with npool, pooling's share before)``.

    Both are timed by turns, the first in every other round, so that a slow minute of the machine
    is shared; medians. Each runs once before it is timed, so that it finds what it left itself.
    """
    net, x = _made(model, model.shape, last)
    rows = []
    for what, call in (("forward", _forward), ("training step", _step)):
        net.train(what != "forward")
        share = _share(lambda call=call: call(net, x))
        times: tuple[list[float], list[float]] = ([], [])
        for turn in range(rounds):
            for accelerated in ((False, True), (True, False))[turn % 2]:
                handle = accelerate()
                if not accelerated:
                    handle.undo()
                call(net, x)
                start = time.perf_counter()
                call(net, x)
                times[accelerated].append(time.perf_counter() - start)
                handle.undo()
        rows.append((what, *map(median, times), share))
    return rows


def main(
    rows: Annotated[str, typer.Option(help="Only models whose name contains this.")] = "",
    threads: Annotated[int, typer.Option(help="Threads of torch and of npool.")] = 1,
    rounds: Annotated[int, typer.Option(help="Times each is timed.")] = 5,
    checking: Annotated[
        bool, typer.Option("--check", help="Small inputs, compared with torch; no times.")
    ] = False,
) -> None:
    """Time models with and without npool under torch's own operators."""
    console = Console()
    chosen = [model for model in MODELS if rows.lower() in model.name.lower()]
    if not chosen:
        raise typer.BadParameter(f"no model's name contains {rows!r}")
    if checking:
        faults = {model.name: fault for model in chosen if (fault := check(model))}
        for name, fault in faults.items():
            console.print(f"{name}: {fault}")
        console.print(f"{len(chosen)} models compared with and without npool")
        raise typer.Exit(1 if faults else 0)
    keep_memory()
    torch.set_num_threads(threads)
    npool.set_num_threads(threads)
    table = Table(title=f"Whole models, {threads} thread(s), torch {torch.__version__}")
    columns = ("model", "memory", "", "torch, ms", "with npool, ms", "faster by", "pooling had")
    for title in columns:
        table.add_column(title, justify="left" if title in columns[:3] else "right")
    for model in chosen:
        for last in (False, True):
            for what, before, after, share in measure(model, last, rounds):
                table.add_row(
                    model.name, "channels last" if last else "contiguous", what,
                    f"{before * 1e3:.1f}", f"{after * 1e3:.1f}", f"{before / after:.2f}x",
                    f"{share:.0%}",
                )  # fmt: skip
    console.print(table)


if __name__ == "__main__":
    typer.run(main)
