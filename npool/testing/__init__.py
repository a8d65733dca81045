"""The conformance suite: hold any pooling function to npool's written rules.

`check` tries one function, rule by rule; `cases` gives the rules to pytest; `conform` makes the
matrix of rules and implementations. Below them: an oracle (`npool.testing.oracle`, NumPy and the
standard library only), Hypothesis strategies for pooling problems (`problems`) and arrays
(`arrays`), named edge shapes (`EDGES`) and memory layouts (`LAYOUTS`).

Needs Hypothesis (``pip install 'npool[test]'``); no framework is imported before it is asked for.
"""

from __future__ import annotations

from . import oracle
from .checking import Case, Outcome, cases, check, examine
from .conformance import ConformanceReport, conform
from .edges import EDGES, edge
from .implementations import PARAMETERS, Implementation, from_function
from .judging import Deviation
from .layouts import LAYOUTS
from .operations import OPERATIONS, Operation
from .oracle import Fold
from .peers import INSTALLED, descriptor, found
from .problems import Noise, Problem
from .rules import RULES, Rule
from .strategies import DATA, FEATURES, Limits, arrays, elements, noise_problems, problems
from .strategies_sizes import size_problems

__all__ = [
    "DATA",
    "EDGES",
    "FEATURES",
    "INSTALLED",
    "LAYOUTS",
    "OPERATIONS",
    "PARAMETERS",
    "RULES",
    "Case",
    "ConformanceReport",
    "Deviation",
    "Fold",
    "Implementation",
    "Limits",
    "Noise",
    "Operation",
    "Outcome",
    "Problem",
    "Rule",
    "arrays",
    "cases",
    "check",
    "conform",
    "descriptor",
    "edge",
    "elements",
    "examine",
    "found",
    "from_function",
    "noise_problems",
    "oracle",
    "problems",
    "size_problems",
]
