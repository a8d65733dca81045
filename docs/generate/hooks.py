"""What MkDocs calls while it builds: tables are filled in, pictures must be as drawn now."""

from __future__ import annotations

import logging
from typing import Any

import pictures
import tables

log = logging.getLogger("mkdocs.hooks.npool")


def on_pre_build(config: Any) -> None:
    """Warn (which is an error in a strict build) of pictures that the geometry has outgrown."""
    for name, draw in pictures.PICTURES.items():
        path = pictures.FOLDER / f"{name}.svg"
        if not path.is_file() or path.read_text(encoding="utf-8") != draw():
            log.warning("%s is not what docs/generate/pictures.py draws: run it", path.name)


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Fill in the tables of a page."""
    return tables.filled(markdown)
