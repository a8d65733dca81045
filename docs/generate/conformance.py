"""Write docs/conformance.md: `python docs/generate/conformance.py [--max-examples N]`.

It takes everything that is installed of the libraries it compares; the page names the versions.
The random problems come from a fixed seed, so the same versions give the same page.
"""

from __future__ import annotations

import argparse
import platform
import sys
from pathlib import Path

from npool import testing

PAGE = Path(__file__).resolve().parent.parent / "conformance.md"

INTRODUCTION = """\
---
hide: [toc] # the matrix needs the room
---

# Conformance

How npool and other libraries keep to the [semantics](semantics.md), rule by rule. A deviation is no
fault: each library has rules of its own. It is where results change when code moves, and each
comes with the smallest problem that was found.

| Mark | Meaning |
| --- | --- |
| ✓ | keeps the rule |
| ✗ | deviates: see below |
| · | does not apply: the library has no such parameter, dtype or operation |

The first column is the section of the semantics; what each rule says is under
[The rules](testing.md#the-rules). The versions are those at the head of the columns. Made with
Python {python}, and {examples} random problems for each rule and library, from a fixed seed, by

```console
$ python docs/generate/conformance.py --max-examples {examples}
```

`npool conform` shows the same for what you have installed.

"""


def page(report: testing.ConformanceReport) -> str:
    """The report as a page of the documentation."""
    body = report.to_markdown()
    matrix = body[body.index("| § |") :]
    head = INTRODUCTION.format(python=platform.python_version(), examples=report.max_examples)
    return head + matrix


def main() -> int:
    """Run the suite, write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--max-examples", type=int, default=60, metavar="N")
    parser.add_argument("--output", type=Path, default=PAGE, metavar="FILE")
    parser.add_argument("names", nargs="*", help="which libraries (default: all installed)")
    asked = parser.parse_args()

    def progress(done: int, total: int, label: str) -> None:
        if sys.stderr.isatty():
            print(f"\r\033[K{done}/{total} {label}", end="", file=sys.stderr)

    report = testing.conform(
        asked.names or None, max_examples=asked.max_examples, progress=progress
    )
    asked.output.write_text(page(report), encoding="utf-8")
    print(f"\n{asked.output}: {len(report.deviations())} deviations")
    return int(bool(report.deviations("npool")))


if __name__ == "__main__":
    sys.exit(main())
