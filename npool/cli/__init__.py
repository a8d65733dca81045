"""The `npool` command (extra `cli`): pool files, a demonstration, what is installed, conformance.

Importing this module loads neither typer nor rich, so that a plain install can say in one line
what is missing.
"""

from __future__ import annotations

import sys

__all__ = ["main"]


def main() -> None:
    """Run the `npool` command on ``sys.argv`` and leave the process with its exit status.

    0: done. 1: the command ran and found something wrong (a demonstration or a rule that does
    not hold). 2: it was asked for something that cannot be done, said in one line on stderr.
    130, 143: interrupted, terminated.
    """
    try:
        from npool.cli.app import app
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] not in ("typer", "rich"):
            raise
        sys.stderr.write(f'npool: the command line needs {error.name}: pip install "npool[cli]"\n')
        sys.exit(2)
    app(prog_name="npool")
