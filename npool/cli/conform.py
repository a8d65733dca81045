"""`npool conform [NAME…]`: the written rules, run against npool and its peers."""

from __future__ import annotations


def conform() -> None:
    """Not there yet."""
