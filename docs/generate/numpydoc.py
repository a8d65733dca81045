"""What numpydoc writes and Markdown does not know: roles, references, parameters described at once.

A Griffe extension: mkdocstrings runs it over the docstrings before it renders them.
"""

from __future__ import annotations

import re
import sys
from itertools import groupby
from typing import Any

import griffe

import npool
import npool.testing

#: What has a place of its own in the reference, so that a link to it leads somewhere.
PLACES = {
    f"{module.__name__}.{name}"
    for module in (npool, npool.functional, npool.testing)
    for name in module.__all__
    # A function that shares its name with a module is documented under its own module.
    if callable(getattr(module, name)) and f"{module.__name__}.{name}" not in sys.modules
}


def markdown(text: str, module: str) -> str:
    """A docstring in which what only Sphinx would read is Markdown."""

    def link(found: re.Match[str]) -> str:
        name = found["name"]
        for place in (name, f"{module}.{name}", f"npool.{name}"):
            if place in PLACES:
                return f"[`{name}`][{place}]"
        return f"`{name}`"

    text = re.sub(r":(?:py:)?(?:func|class|meth|mod|data|exc):`~?(?P<name>[\w.]+)`", link, text)
    text = re.sub(r"^( *)\.\. \[(\w+)\] ", r"\1- ", text, flags=re.MULTILINE)
    text = re.sub(r" \[\w+\]_", "", text)
    text = re.sub(r"::$", ":", text, flags=re.MULTILINE)
    return re.sub(r"(?<![<(\"'])(https?://[^\s,)>]+[^\s,).>])", r"<\1>", text)


def grouped(parameters: list[Any]) -> list[Any]:
    """Parameters that one line describes as one: their types and defaults are not the same."""
    result = []
    for text, group in groupby(parameters, key=lambda parameter: parameter.description):
        same = list(group)
        if len(same) == 1 or not text:
            result += same
        else:
            names = ", ".join(parameter.name for parameter in same)
            result.append(griffe.DocstringParameter(names, description=text))
    return result


class Numpydoc(griffe.Extension):
    """See the module."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Called for each object that Griffe has read."""
        if obj.docstring is None:
            return
        obj.docstring.value = markdown(obj.docstring.value, obj.module.path)
        if not (obj.is_function or obj.is_class):
            return
        for section in obj.docstring.parsed:
            if section.kind in (
                griffe.DocstringSectionKind.parameters, griffe.DocstringSectionKind.attributes,
            ):  # fmt: skip
                section.value[:] = grouped(section.value)
            for item in section.value if isinstance(section.value, list) else ():
                if isinstance(getattr(item, "annotation", None), str):
                    item.annotation = item.annotation.replace("`", "")
