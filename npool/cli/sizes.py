"""What the command line's short spellings mean: `2x2`, `1:2x0:1`, `-2,-1`, `128M`."""

from __future__ import annotations

import re

from npool.cli.refusal import Refusal

__all__ = ["parse_axes", "parse_memory", "parse_padding", "parse_sizes"]

_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30}


def parse_sizes(text: str, option: str) -> int | tuple[int, ...]:
    """``"3"`` is 3; ``"2x2"`` is (2, 2); ``"3x"`` is (3,). Anything else is refused in words."""
    entries = _split(text)
    if len(entries) == 2 and entries[1] == "":
        entries.pop()
        return (_size(entries[0], text, option),)
    sizes = tuple(_size(entry, text, option) for entry in entries)
    return sizes[0] if len(sizes) == 1 else sizes


def parse_padding(text: str) -> str | int | tuple[int | tuple[int, int], ...]:
    """As :func:`parse_sizes`, and `before:after` for an axis, `valid`, `same`, `same_lower`."""
    name = text.strip().lower().replace("-", "_")
    if name in ("valid", "same", "same_lower"):
        return name
    entries = _split(text)
    sole = len(entries) == 2 and entries[1] == ""
    if sole:
        entries.pop()
    padding: list[int | tuple[int, int]] = []
    for entry in entries:
        sides = entry.split(":")
        if len(sides) > 2:
            raise _unreadable(text, "--padding")
        values = [_size(side, text, "--padding") for side in sides]
        padding.append(values[0] if len(values) == 1 else (values[0], values[1]))
    if len(padding) == 1 and isinstance(padding[0], int) and not sole:
        return padding[0]
    return tuple(padding)


def parse_axes(text: str) -> tuple[int, ...]:
    """``"0,2"`` is (0, 2); ``"-1"`` is (-1,)."""
    entries = [entry.strip() for entry in text.split(",")]
    if not all(re.fullmatch(r"[+-]?\d+", entry, re.ASCII) for entry in entries):
        raise Refusal(f"--axes {text!r} is not a list of axes: write, for example, 0,1 or -2,-1")
    return tuple(_integer(entry, text, "--axes") for entry in entries)


def parse_memory(text: str) -> int:
    """``"128M"`` in bytes (K, M and G are powers of 1,024)."""
    found = re.fullmatch(r"(\d{1,12})\s*([KMG]?)(?:i?B)?", text.strip(), re.ASCII | re.IGNORECASE)
    if found is None:
        raise Refusal(f"--memory {text!r} is not a size: write, for example, 128M or 2G")
    size = int(found[1]) * _UNITS[found[2].upper()]
    if size < 1 << 20:
        raise Refusal(f"--memory {text!r} is less than the least, 1M: give more")
    return size


def _split(text: str) -> list[str]:
    return [entry.strip() for entry in re.split(r"[x×,]", text.strip().lower())]


def _size(entry: str, text: str, option: str) -> int:
    if not re.fullmatch(r"\d+", entry, re.ASCII):
        raise _unreadable(text, option)
    return _integer(entry, text, option)


def _integer(entry: str, text: str, option: str) -> int:
    # Python refuses to convert more than 4,300 digits; nothing past 20 is a size anyway.
    if len(entry) > 30:
        raise Refusal(f"{option} {text[:20]}… has a number of {len(entry)} digits: use a smaller")
    return int(entry)


def _unreadable(text: str, option: str) -> Refusal:
    more = ", 1:2x0:1 (before:after), valid, same or same_lower" if option == "--padding" else ""
    return Refusal(
        f"{option} {text!r} cannot be read: write whole numbers, one an axis, as in 3 or 2x2{more}"
    )
