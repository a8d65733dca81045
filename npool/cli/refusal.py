"""One line for every mistake: what cannot be done, and what to do instead."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Any

from typer.core import TyperGroup

__all__ = ["OneLineGroup", "Refusal", "one_line", "reason"]


class Refusal(Exception):
    """What was asked for cannot be done. The text says why, and what to do, in one line."""


def reason(error: OSError) -> str:
    """Why the operating system refused, without the names of files that only we know."""
    return error.strerror.lower() if error.strerror else " ".join(str(error).split())


def one_line(error: BaseException) -> str:
    """The text of `error` on one line."""
    if isinstance(error, MemoryError):
        return f"not enough memory ({' '.join(str(error).split()) or 'out of memory'})"
    return " ".join(str(error).split()) or type(error).__name__


class OneLineGroup(TyperGroup):
    """A group of commands whose errors are one line on stderr and exit status 2.

    Typer's own way is a box of several lines. Anything that is neither a :class:`Refusal` nor a
    mistake in the arguments is a bug, and keeps its traceback.
    """

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        windows_expand_args: bool = True,
        **extra: Any,
    ) -> Any:
        """Run, and turn every mistake into one line. See :class:`OneLineGroup`."""
        try:
            status = super().main(
                args,
                prog_name,
                complete_var,
                standalone_mode=False,
                windows_expand_args=windows_expand_args,
                **extra,
            )
        except Refusal as error:
            _say(one_line(error))
            status = 2
        except BrokenPipeError:
            # Whoever read our output has left (`npool info | head -1`): nothing to say to them,
            # and nothing left for the interpreter to flush at its exit.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            status = 1
        except Exception as error:
            # Click's usage errors, whether typer brings click along or imports it.
            message = getattr(error, "format_message", None)
            if message is None:
                raise
            text = " ".join(str(message()).split())
            # `npool` alone has printed its help.
            if type(error).__name__ != "NoArgsIsHelpError":
                context = getattr(error, "ctx", None)
                path = context.command_path if context is not None else "npool"
                _say(f"{text.rstrip('.')} (see: {path} --help)")
            status = 2
        if not standalone_mode:
            return status
        sys.exit(status if isinstance(status, int) else 0)


def _say(text: str) -> None:
    sys.stderr.write(f"npool: {text}\n")
