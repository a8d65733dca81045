"""How many problems go through the PTX of each kernel, and over how many windows: one table.

Nothing here needs CUDA: the documentation reads it too. `away.call` notes which kernels a call
launched, and after each test `check` holds it to its rows.
"""

from collections import defaultdict
from dataclasses import dataclass

#: Of each kernel, for each architecture.
PROBLEMS, GEOMETRIES = 200, 20


@dataclass(frozen=True)
class Proof:
    """A kernel and the test that runs it.

    `case` is the test's parameter where one case of it has all the geometries; else each case is
    one geometry. There are `problems` of each.
    """

    kernel: str
    test: str
    case: str = ""
    geometries: int = 24
    problems: int = 9
    #: Cases of the test that another kernel does.
    without: tuple[str, ...] = ()


def _each(test, *kernels, cases=(), **more):
    if cases:
        return [Proof(kernel, test, case, **more) for kernel, case in zip(kernels, cases,
                                                                          strict=True)]  # fmt: skip
    return [Proof(kernel, test, **more) for kernel in kernels]


_FOLDS = ("max", "max with positions", "min", "min with positions", "avg", "sum")
_OTHERS = ("any", "all", "prod", "range", "absmax", "rms", "var", "std", "logsumexp")
_INTEGERS = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")
_FLOATS = ("float16", "bfloat16", "float64")
_SMALL = {"geometries": 20, "problems": 10}
_LARGE = ("max", "max with positions", "min", "avg")

PROOFS = [
    *_each("test_folds", *(f"written out: {op}" for op in (*_FOLDS, "lp"))),
    *_each("test_other_reducers", *(f"written out: {op}" for op in _OTHERS), **_SMALL),
    *_each("test_types", *(f"written out: {dtype}" for dtype in ("bool", *_INTEGERS, *_FLOATS)),
           **_SMALL),
    *_each("test_complex_averages_of_real_elements", "written out: avg, complex"),
    *(proof for family, kernel in (("walked", "walked"), ("built", "built from 1, 8, 64…"),
                                   ("separable", "one axis after another"),
                                   ("pieces", "in pieces"))
      for proof in _each("test_large", *(f"{kernel}: {op}" for op in _LARGE),
                         cases=[f"{family}-{op}" for op in _LARGE])),
    *_each("test_large", "walked: sum", cases=["walked-sum"]),
    *_each("test_bins", "bins: max", "bins: max with positions", "bins: avg",
           "gradient of maxima, bins", "gradient of averages, bins", geometries=28),
    *_each("test_windows_that_begin_elsewhere_in_each_plane", "drawn: max",
           "drawn: max with positions"),
    *_each("test_gradients", "gradient of maxima"),
    # At a stride of 1 it is pooling, read backwards.
    *_each("test_gradients", "gradient of sums", "gradient of averages", geometries=23,
           without=("5s1d2-C",)),
    *_each("test_gradients_that_lie_apart_from_their_positions", "gradient of maxima, apart"),
    *_each("test_gradients_of_norms", "gradient of norms, p = 2", "gradient of norms, p = 1, apart",
           "gradient of norms, any p, apart"),
    *_each("test_gradients_of_windows_that_begin_elsewhere", "gradient at positions anywhere"),
    *_each("test_unpooling", "un-pooling"),
    *_each("test_elements_at_positions", "elements at positions"),
    *_each("test_gradients_of_types", *(f"gradient: {dtype}" for dtype in _FLOATS), **_SMALL),
    *_each("test_what_is_moved", *(f"put back or taken: {size} bytes" for size in (1, 2, 8)),
           **_SMALL),
]  # fmt: skip


# --- what was launched ----------------------------------------------------------------------------

_noted = defaultdict(lambda: [0, set()])


def note(architecture, steps, geometry):
    """One call: a problem for each kernel that it launched."""
    for kernel in {name for step in steps for name in names(step, steps)}:
        found = _noted[kernel, architecture]
        found[0] += 1
        found[1].add(geometry)


def names(step, steps):
    """What the table may call a kernel of a call."""
    code = step.code
    form, kinds = code.form, code.kinds
    dtype = kinds.source.name
    suffix = "" if dtype == "float32" else f": {dtype}"
    moved = [f"put back or taken: {kinds.source.itemsize} bytes"]
    kind = type(form).__name__
    if kind == "Gather":
        base = {"add": "gradient of maxima", "sum": "gradient of sums", "last": "un-pooling",
                "average": "gradient of averages",
                "norm": "gradient of norms"}[form.kind]  # fmt: skip
        if form.power:
            base += {"one": ", p = 1", "two": ", p = 2", "any": ", any p"}[form.power]
        base += ", bins" if any(not tap.kernel for tap in form.axes) else ""
        if suffix:
            return moved if form.kind == "last" else [f"gradient{suffix}"]
        return [base + (", apart" if form.apart else "")]
    if kind == "Anywhere":
        return ["gradient at positions anywhere"] if form.stage == "add" and not suffix else []
    if kind == "Taking":
        return moved if suffix else ["elements at positions"]
    op = code.reducer.name + (" with positions" if form.placed else "")
    op += ", complex" if getattr(form, "imaginary", False) else ""
    if kind == "Drawing":
        return [f"drawn: {op}{suffix}"]
    if kind == "Walk":
        how = {"window": "walked", "adaptive": "bins", "finish": ""}[form.kind]
        return [f"{how}: {op}{suffix}"] if how else []
    if form.finishing and not form.folded:
        if dtype == "float32":
            return [f"written out: {op}"]
        return [f"written out: {dtype}"]
    # A pass along one axis: which way of taking it apart it belongs to, the call's passes say.
    passes = [s.code.form for s in steps if type(s.code.form).__name__ == "Form"]
    walks = any(type(s.code.form).__name__ == "Walk" and s.code.form.kind != "finish"
                for s in steps)  # fmt: skip
    if walks:
        return []
    if any(f.adding for f in passes) or any(f.row.dilation >= 8 for f in passes):
        return [f"built from 1, 8, 64…: {op}{suffix}"]
    if any(f.row.stride >= f.row.kernel * f.row.dilation and f.row.kernel == 32 for f in passes):
        return [f"in pieces: {op}{suffix}"]
    return [f"one axis after another: {op}{suffix}"]


def geometry_of(array, arguments):
    """What is compiled of a call: its windows, and how its elements lie."""
    said = [arguments.get(name) for name in ("kernel_size", "stride", "dilation", "output_size")]
    order = tuple(sorted(range(array.ndim), key=lambda a: -abs(array.strides[a])))
    dense = array.flags.c_contiguous or array.flags.f_contiguous
    return repr(said), order, dense


def forget():
    """Before a test."""
    _noted.clear()


def check(test, case):
    """Each kernel of the table was launched as often as it says, for sm_90 and sm_100."""
    for proof in PROOFS:
        if proof.test != test or proof.case not in ("", case):
            continue
        wanted = proof.geometries if proof.case else int(case not in proof.without)
        for architecture in ((9, 0), (10, 0)):
            problems, geometries = _noted[proof.kernel, architecture]
            assert problems >= wanted * proof.problems, (
                f"{proof.kernel}: {problems} problems for {architecture}"
            )
            assert len(geometries) >= wanted, f"{proof.kernel}: {len(geometries)} geometries"


def assert_enough(module):
    """The rows of a module's tests are as many as its tests' cases, and enough of each."""
    found = 0
    for proof in PROOFS:
        test = getattr(module, proof.test, None)
        if test is None:
            continue
        found += 1
        cases = next(mark.args[1] for mark in test.pytestmark if mark.name == "parametrize")
        assert proof.case or len(cases) == proof.geometries + len(proof.without), proof
        assert proof.geometries >= GEOMETRIES
        assert proof.geometries * proof.problems >= PROBLEMS
    assert found
