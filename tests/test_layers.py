"""The shape of the source: who may import what, what an import loads, what `__all__` and the
docstrings say, how long a file may be.

`MAY_IMPORT` is the table of architecture.md: a room, what it may import when it is imported, and
what it may import only inside a function, when that is called.
"""

import ast
import importlib
import inspect
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "npool"
FILES = sorted(PACKAGE.rglob("*.py"))
LONGEST_FILE = 400


def module_name(path):
    """`npool/cpu/tiles.py` is `npool.cpu.tiles`; a package is named by its folder."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


# --- who may import what ------------------------------------------------------------------------

STDLIB = "the standard library"


@dataclass(frozen=True)
class Room:
    """Modules of one kind: what they import at once, and what only inside a function."""

    at_once: tuple[str, ...]
    lazily: tuple[str, ...] = ()
    why: str = ""


#: What a room that runs reductions through the public face may know of npool.
PUBLIC = ("npool", "npool.geometry", "npool.reducers", "npool.testing")
FRAMEWORKS = ("torch", "jax", "onnx", "onnxruntime", "scipy", "skimage", "cv2", "tinybrain")
#: The core, from the bottom up: a module may import those that are in lines above its own.
WORDS = ("npool.values", "npool.scalars")
RULES = ("npool.lengths", "npool.geometry", "npool.bins", "npool.threads", "npool.dtypes",
         "npool.layout", "npool.memory", "npool.dispatch")  # fmt: skip
VALUES = (*WORDS, *RULES, "npool.reducer", "npool.reducers", "npool.arrays", "npool.averages")

#: The longest name that a module starts with decides. A name here stands for itself and all
#: that lies below it, except `npool`, which stands for the public names alone.
MAY_IMPORT = {
    "npool": Room(("npool.adaptive", "npool.api", "npool.faces", "npool.fractional",
                   "npool.functional", "npool.gradients", "npool.reducers", "npool.threads",
                   "npool.unpool", "npool.warming"), why="public names, and no code"),
    # Words and rules: they know no engine, and those without numpy no array.
    "npool.values": Room((), why="how values are read and shown"),
    "npool.scalars": Room((), why="the meaning of a reducer, in plain Python"),
    "npool.lengths": Room((), why="arithmetic that symbolic lengths obey too"),
    "npool.dispatch": Room(
        (), ("npool.cuda.device", "npool.torch"),
        why="frameworks are known by name, and adapters imported by it; where an array lies",
    ),
    "npool.rebinding": Room((), why="functions, whatever engine they are for"),
    "npool.identities": Room(("numpy", "npool.dtypes", "npool.reducer")),
    "npool.geometry": Room(
        ("npool.values", "npool.lengths"), why="shape rules are integers: no numpy"
    ),
    "npool.bins": Room(("npool.values", "npool.geometry"), why="shape rules, too"),
    "npool.threads": Room(("npool.values",), why="a setting; the pool is the engine's"),
    "npool.dtypes": Room(("numpy", "npool.values"), ("ml_dtypes",)),
    "npool.memory": Room(("numpy",)),
    "npool.layout": Room(("numpy", "npool.memory")),
    "npool.reducer": Room(("numpy", *WORDS, "npool.dtypes"), why="the class, without the table"),
    "npool.reducers": Room(("numpy", *WORDS, "npool.dtypes", "npool.reducer"), why="words"),
    "npool.arrays": Room(
        ("numpy", "npool.values", "npool.dispatch", "npool.dtypes", "npool.layout", "npool.memory")
    ),
    "npool.averages": Room(("numpy", *WORDS, "npool.dtypes", "npool.reducers")),
    # The only way from the API to an engine is inside a call.
    "npool.operation": Room(("numpy", *VALUES), ("npool.cpu.engine",)),
    "npool.api": Room(
        ("numpy", *VALUES, "npool.operation", "npool.dispatch"), ("npool.cpu.engine",)
    ),
    "npool.faces": Room(("numpy", *VALUES, "npool.api", "npool.dispatch")),
    "npool.adaptive": Room(("numpy", *VALUES, "npool.operation", "npool.dispatch")),
    "npool.fractional": Room(("numpy", *VALUES, "npool.operation", "npool.dispatch")),
    "npool.unpool": Room(("numpy", *VALUES, "npool.dispatch"), ("npool.cpu.unpooling",)),
    "npool.functional": Room(
        ("numpy", *VALUES, "npool.api", "npool.faces", "npool.adaptive", "npool.fractional",
         "npool.unpool", "npool.functional"),
    ),
    "npool.gradients": Room(
        ("numpy", *VALUES, "npool.operation", "npool.gradients"),
        ("npool.cpu.spreading", "npool.cpu.spread_axes", "npool.cpu.scattering",
         "npool.cpu.expanding", "npool.cpu.tapping"),
        why="what gradients mean; how they are computed is the engine's",
    ),
    "npool.warming": Room(
        ("numpy", *VALUES, "npool.operation", "npool.gradients"), ("npool.cpu.compiling",),
        why="tiny calls, and how many kernels they made",
    ),
    # The engine: the only room that knows numba.
    "npool.cpu": Room(
        ("numpy", "numba", "llvmlite", "npool", "npool.cpu", "npool.operation", "npool.identities",
         "npool.rebinding", *VALUES),
        ("ml_dtypes",),
    ),
    # The other engine: one file of it knows which package compiles for CUDA.
    "npool.cuda": Room(
        ("numpy", "npool.cuda", "npool.operation", "npool.unpool", "npool.fractional",
         "npool.identities",
         "npool.rebinding", "npool.cpu.interpreted", *VALUES),
        ("ml_dtypes", "cuda"),
        why="the same plans and reducers; numba-cuda by way of npool.cuda.toolkit",
    ),
    "npool.cuda.toolkit": Room(("numba", "numba_cuda", "llvmlite"), why="the one shim"),
    # What judges: nothing of npool but what anybody could import, and that by name.
    "npool.testing": Room(
        ("numpy", "hypothesis", "npool.testing"), ("npool", "ml_dtypes", *FRAMEWORKS)
    ),
    "npool.testing.oracle": Room(
        ("numpy", "npool.testing.exact", "npool.testing.operations"),
        why="an oracle that shares code with what it judges would repeat its mistakes",
    ),
    "npool.testing.gradients": Room(
        ("numpy", "npool.testing.oracle"), why="as the oracle, of whose geometry it is made"
    ),
    "npool.testing.oracle_sizes": Room(
        ("numpy", "npool.testing.exact", "npool.testing.operations"), why="as the oracle's",
    ),
    "npool.testing.operations": Room(("numpy", "npool.testing.exact")),
    "npool.testing.exact": Room(("numpy",), ("ml_dtypes",)),
    # The command line: its own tools, the public names, nothing of the engine but the
    # directory that `npool info` shows.
    "npool.cli": Room(
        ("numpy", "typer", "rich", "npool.cli", "npool.warming", *PUBLIC),
        ("PIL", "tifffile", "imagecodecs", "platformdirs", "skimage", "torch", "onnx",
         "onnxruntime", "cv2", "scipy", "ml_dtypes", "llvmlite", "numba", "npool.cpu.cache",
         "npool.cuda"),
    ),
    "npool.cli.__init__": Room((), ("npool.cli.app",), why="it says what is not installed"),
    # Leaves: each its framework, the public names, and the rules that say what a call means.
    "npool.torch": Room(
        ("numpy", "torch", "npool", "npool.torch", "npool.functional", "npool.gradients.taps",
         "npool.reducers", "npool.operation", "npool.unpool", *RULES),
        ("ml_dtypes",), why="an adapter knows the public core, and no engine",
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Import:
    """One imported module: by whom, where, and whether only when a function is called."""

    importer: str
    line: int
    module: str
    lazy: bool


def imports_of(path):
    """Every import of a file, `importlib.import_module("name")` too, but those for types alone."""
    name = module_name(path)
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    found = []

    def visit(node, lazy):
        modules = []
        if isinstance(node, ast.Import):
            modules = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                above = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*above, *([node.module] if node.module else [])])
            modules = [_module(base, alias.name) for alias in node.names]
        elif isinstance(node, ast.Call) and node.args:
            called = getattr(node.func, "attr", getattr(node.func, "id", ""))
            if called in ("import_module", "__import__") and isinstance(node.args[0], ast.Constant):
                modules = [node.args[0].value]
        found.extend(Import(name, node.lineno, module, lazy) for module in modules)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            return
        inside = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        for child in ast.iter_child_nodes(node):
            visit(child, lazy or inside)

    visit(ast.parse(path.read_text()), False)
    return found


def _module(base, name):
    """`from base import name`: the module `base.name` if there is one, else `base`."""
    inner = f"{base}.{name}"
    place = ROOT.joinpath(*inner.split("."))
    return inner if place.is_dir() or place.with_suffix(".py").is_file() else base


def covers(allowed, module):
    """Whether an entry of the table allows a module."""
    if allowed == "npool":
        return module == "npool"
    return module == allowed or module.startswith(allowed + ".")


def room_of(importer):
    """The entry of the table that a module falls under."""
    if importer == "npool.cli":
        return "npool.cli.__init__"
    rooms = [
        room
        for room in MAY_IMPORT
        if room == importer or (room != "npool" and importer.startswith(room + "."))
    ]
    assert rooms, f"{importer} is in no room: give it a line in MAY_IMPORT"
    return max(rooms, key=len)


def forbidden(found):
    """What is wrong with an import, or None."""
    if found.module.partition(".")[0] in sys.stdlib_module_names:
        return None
    name = room_of(found.importer)
    room = MAY_IMPORT[name]
    if any(covers(allowed, found.module) for allowed in room.at_once):
        return None
    here = f"{found.importer}, line {found.line}, imports {found.module}"
    if any(covers(allowed, found.module) for allowed in room.lazily):
        return None if found.lazy else f"{here} when it is imported: do it inside a function"
    may = ", ".join((STDLIB, *room.at_once, *room.lazily))
    return f"{here}; {name} may import only {may}" + (f" ({room.why})" if room.why else "")


ALL_IMPORTS = [found for path in FILES for found in imports_of(path)]


def test_imports_keep_to_the_table():
    wrong = {message for found in ALL_IMPORTS if (message := forbidden(found))}
    assert not wrong, "\n".join(sorted(wrong))


@pytest.mark.parametrize("room", MAY_IMPORT)
def test_every_line_of_the_table_is_about_something(room):
    rooms = {room_of(module_name(path)) for path in FILES}
    assert room in rooms, f"no module falls under {room}: strike it from MAY_IMPORT"


@pytest.mark.parametrize(
    ("importer", "module", "lazy", "complaint"),
    [
        ("npool.operation", "npool.cpu.engine", False, "inside a function"),
        ("npool.reducers", "npool.geometry", False, "may import only"),
        ("npool.api", "numba", True, "may import only"),
        ("npool.geometry", "numpy", True, "no numpy"),
        ("npool.testing.oracle", "npool.geometry", False, "repeat its mistakes"),
        ("npool.testing.rules_values", "npool.reducers", False, "may import only"),
        ("npool.testing.peers", "torch", False, "inside a function"),
        ("npool.torch.operators", "npool.cpu.engine", True, "no engine"),
        ("npool.torch", "npool.api", True, "may import only"),
        ("npool.cli.pool", "npool.cpu.engine", True, "may import only"),
        ("npool.functional.norm", "npool.cpu.engine", True, "may import only"),
        ("npool.cuda.words", "numba", False, "by way of npool.cuda.toolkit"),
        ("npool.dispatch", "npool.cuda.device", False, "inside a function"),
    ],
)
def test_the_table_refuses_what_it_should(importer, module, lazy, complaint):
    message = forbidden(Import(importer, 1, module, lazy))
    assert message is not None
    assert complaint in message


def test_the_walk_sees_every_way_of_importing(tmp_path, monkeypatch):
    path = tmp_path / "npool" / "cpu" / "sample.py"
    path.parent.mkdir(parents=True)
    path.write_text(
        "import numba.core, os\n"
        "from npool.cpu import tiles\n"
        "from . import lanes\n"
        "from ..geometry import Plan\n"
        "if True:\n    import torch\n"
        "class A:\n    import jax\n"
        "def f():\n    import cv2\n    import_module('onnx')\n"
    )
    for name in ("tiles", "lanes"):
        (path.parent / f"{name}.py").touch()
    monkeypatch.setattr(sys.modules[__name__], "ROOT", tmp_path)
    found = {(one.module, one.lazy) for one in imports_of(path)}
    assert found == {
        ("numba.core", False), ("os", False), ("npool.cpu.tiles", False),
        ("npool.cpu.lanes", False), ("npool.geometry", False), ("torch", False), ("jax", False),
        ("cv2", True), ("onnx", True),
    }  # fmt: skip


# --- kernels are written once ---------------------------------------------------------------------

#: The loops and the driver; what they are bound to is in binding, instructions and interpreted.
TEMPLATES = ("lanes", "parts", "folds", "pooled", "strips", "fetch", "tiles", "planes", "wholes",
             "van_herk", "wide", "bins", "unpool", "spread", "scatter", "expand")  # fmt: skip
#: Addresses and positions are int64, run-time numbers float64, whatever the array holds.
OF_THE_ENGINE = {"int64", "float64"}


@pytest.mark.parametrize("name", TEMPLATES)
def test_loops_know_no_type_and_no_reducer(name):
    import builtins

    from npool import REDUCERS
    from npool.testing import OPERATIONS

    types = {dtype for row in OPERATIONS.values() for dtype in row.dtypes}
    assert len(types) == 15
    # Words of Python too, such as bool and max, say nothing.
    told = {name for name in (types - OF_THE_ENGINE) | {*REDUCERS} if not hasattr(builtins, name)}
    tree = ast.parse((PACKAGE / "cpu" / f"{name}.py").read_text())
    words = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    words |= {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    assert len(words) > 10
    known = words & told
    assert not known, f"npool/cpu/{name}.py is written for {sorted(known)}"


# --- what importing loads -----------------------------------------------------------------------

HEAVY = ("numba", "numba_cuda", "cuda", "llvmlite", "hypothesis", "typer", "rich",
         "ml_dtypes", "matplotlib", "PIL",
         "cupy", "dask", "xarray", "tensorflow", *FRAMEWORKS)  # fmt: skip


def fresh(code, cache):
    """The output of `code` in an interpreter of its own, with an empty kernel cache."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        cwd=ROOT,
        env={**os.environ, "NPOOL_CACHE_DIR": str(cache), "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_import_loads_no_framework_and_compiles_nothing(tmp_path):
    code = f"""
import sys, threading
import npool, npool.functional, npool.cli
npool.output_shape((4, 4), (2, 2))
npool.Reducer("mine", lambda a, b: a + b, 0)
print([name for name in {HEAVY!r} if name in sys.modules], threading.active_count())
"""
    assert fresh(code, tmp_path / "cache") == "[] 1"
    assert not (tmp_path / "cache").exists(), "importing npool made a kernel cache"


def test_a_call_loads_numba_and_compiles(tmp_path):
    # The counterpart: what the test above looks for does appear once there is work.
    code = f"""
import sys
import numpy, npool
npool.max_pool(numpy.zeros(4), (2,))
print([name for name in {HEAVY!r} if name in sys.modules])
"""
    loaded = set(ast.literal_eval(fresh(code, tmp_path / "cache")))
    # Numba itself looks for scipy.
    assert {"numba", "llvmlite"} <= loaded <= {"numba", "llvmlite", "scipy"}, loaded
    assert list((tmp_path / "cache").glob("*/*.nbc")), "the call left no kernel in the cache"


def test_testing_loads_no_framework(tmp_path):
    code = f"""
import sys
import npool.testing
print([name for name in {HEAVY!r} if name in sys.modules])
"""
    loaded = set(ast.literal_eval(fresh(code, tmp_path / "cache")))
    assert loaded <= {"hypothesis", "rich"}, loaded  # Hypothesis loads rich where it finds it


# --- __all__ ------------------------------------------------------------------------------------

PACKAGES = ("npool", "npool.functional", "npool.testing", "npool.cli", "npool.torch",
            "npool.torch.functional")  # fmt: skip
MODULES = sorted(module_name(path) for path in FILES if path.name != "__main__.py")


def imported(name):
    """The module, or a skip where an extra that it needs is not installed."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("npool"):
            raise
        pytest.skip(f"{name} needs {error.name}, which is not installed")


def defined_in(module):
    """Public functions and classes that a module defines itself."""
    return {
        name: value
        for name, value in vars(module).items()
        if not name.startswith("_")
        and (inspect.isfunction(value) or inspect.isclass(value))
        and value.__module__ == module.__name__
    }


@pytest.mark.parametrize("name", MODULES)
def test_all_is_what_there_is(name):
    if name.startswith("npool.cuda."):
        pytest.importorskip("numba_cuda", reason="the CUDA engine needs numba-cuda")
    module = imported(name)
    listed = getattr(module, "__all__", None)
    if name in PACKAGES:
        assert listed is not None, f"{name} has no __all__"
    if listed is None:
        return
    absent = [entry for entry in listed if not hasattr(module, entry)]
    assert not absent, f"{name}.__all__ names {absent}, which {name} does not have"
    assert len(listed) == len(set(listed)), f"{name}.__all__ names something twice"
    unlisted = sorted(set(defined_in(module)) - set(listed))
    assert not unlisted, (
        f"{name} defines {unlisted}, which its __all__ does not list: list them, or let their "
        "names begin with an underscore"
    )


def test_star_import_gives_all():
    import npool

    space = {}
    exec("from npool import *", space)
    assert set(npool.__all__) <= set(space)


# --- docstrings ---------------------------------------------------------------------------------

#: One-liners that are bound by their names elsewhere: the module's docstring speaks for them.
SPOKEN_FOR = {"npool.cpu.parts"}


def public_definitions(path):
    """``(name, node)`` of each public function and class at the top level of a file."""
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
            yield node.name, node


@pytest.mark.parametrize("path", FILES, ids=module_name)
def test_everything_public_has_a_docstring(path):
    tree = ast.parse(path.read_text())
    assert ast.get_docstring(tree) or not tree.body, f"{path.name} does not say what it is"
    if module_name(path) in SPOKEN_FOR:
        return
    bare = [name for name, node in public_definitions(path) if not ast.get_docstring(node)]
    assert not bare, f"{module_name(path)}: no docstring for {', '.join(bare)}"


#: Where a user looks: every function and class listed there has the whole of a numpydoc docstring.
DOCUMENTED = ("npool", "npool.functional", "npool.reducers", "npool.testing",
              "npool.torch.functional")  # fmt: skip
SECTION = re.compile(r"^([A-Z][A-Za-z ]+)\n-{3,}$", re.MULTILINE)
#: Classes whose objects are handed out: nobody makes one, so no example does.
HANDED_OUT = {"Case", "ConformanceReport", "Deviation", "Outcome", "Rule"}


def documented():
    for module in DOCUMENTED:
        for name in imported(module).__all__:
            value = getattr(imported(module), name)
            if inspect.isfunction(value) or inspect.isclass(value):
                yield f"{module}.{name}", value


def sections(text):
    """Section titles of a numpydoc docstring, and what is under each."""
    parts = SECTION.split(inspect.cleandoc(text))
    return {"Summary": parts[0], **dict(zip(parts[1::2], parts[2::2], strict=True))}


def parameters_described(text):
    """The names that a Parameters section describes: the unindented lines, up to the colon."""
    names = set()
    for line in text.splitlines():
        if line and not line[0].isspace():
            names |= {name.strip().lstrip("*") for name in line.partition(" : ")[0].split(",")}
    return names


def signature_of(value):
    """The parameters, or none for an exception that has only those of all exceptions."""
    try:
        return inspect.signature(value)
    except ValueError:
        return inspect.Signature()


def docstring_faults(where, value):
    """What a docstring lacks, in words."""
    name = where.rpartition(".")[2]
    found = sections(value.__doc__ or "")
    signature = signature_of(value)
    names = {name for name in signature.parameters if name != "self"}
    is_class = inspect.isclass(value)
    faults = []
    summary = found["Summary"].strip().split("\n\n")[0]
    if not re.search(r"[.:]$", summary):
        faults.append(f"the first paragraph is no sentence: {summary!r}")
    if names:
        given = found.get("Parameters", "") + (found.get("Attributes", "") if is_class else "")
        described = parameters_described(given)
        if missing := sorted(names - described):
            faults.append(f"Parameters does not describe {', '.join(missing)}")
        if strange := sorted(described - names) if "Parameters" in found else []:
            faults.append(f"Parameters describes {', '.join(strange)}, which it does not have")
    if name not in HANDED_OUT and ">>>" not in found.get("Examples", ""):
        faults.append("no Examples with a line that doctest runs")
    if not is_class:
        nothing = (None, "None", inspect.Signature.empty)
        if signature.return_annotation not in nothing and not {"Returns", "Yields"} & set(found):
            faults.append("no Returns")
        if names and "Raises" not in found:
            faults.append("no Raises")
    if "_pool" in name:
        source = found.get("References", "") + found.get("Notes", "")
        if "http" not in source:
            faults.append("no source of the formula (a link under References or Notes)")
    return faults


EVERYTHING = dict(documented())


@pytest.mark.parametrize("where", EVERYTHING)
def test_docstrings_are_whole(where):
    faults = docstring_faults(where, EVERYTHING[where])
    assert not faults, f"{where}: " + "; ".join(faults)


def test_docstrings_that_lack_something_are_seen():
    def some_pool(x, kernel_size) -> int:
        """Pools

        Parameters
        ----------
        x, y : int
            What.
        """

    faults = docstring_faults("npool.some_pool", some_pool)
    assert len(faults) == 7
    assert faults[1:3] == [
        "Parameters does not describe kernel_size",
        "Parameters describes y, which it does not have",
    ]


# --- how long a file may be ---------------------------------------------------------------------


@pytest.mark.parametrize("path", FILES, ids=module_name)
def test_files_are_short(path):
    lines = path.read_text().count("\n")
    assert lines <= LONGEST_FILE, (
        f"{path.relative_to(ROOT)} has {lines} lines, over {LONGEST_FILE}: one room too many in it"
    )
