"""The disk cache of kernels: whatever is done to it, results are right and nothing is said twice.

Every case is a process of its own with a cache of its own, mostly a copy of one that a first
process filled. The process compares its results with NumPy's and counts what Numba compiles.
"""

import json
import os
import random
import shutil
import signal
import stat
import textwrap
from pathlib import Path

import pytest
from fresh_process import check_runs, copied, ended, run, start

from npool.cpu.stored import Damaged, framed, unframed

pytestmark = pytest.mark.skipif(os.name != "posix", reason="owners and modes are POSIX's")

#: Keeps what npool logs, and counts what Numba compiles.
WATCHING = textwrap.dedent("""
    import json, logging, os, signal, sys
    import numpy as np, npool
    from numba.core import event

    class Lines(logging.Handler):
        def emit(self, record):
            lines.append(record.getMessage())

    class Compiled(event.Listener):
        def on_start(self, event):
            compiled.append(event.data["dispatcher"].py_func.__qualname__)

        def on_end(self, event):
            pass

    lines, compiled = [], []
    logging.getLogger("npool").addHandler(Lines())
    event.register("numba:compile", Compiled())
""")
#: Windows of ten taps, for which five loops are compiled, and the driver "strips".
#: Distinct small integers, so that float32 is exact and every position is one alone.
POOLS = textwrap.dedent("""
    x = np.random.default_rng(1).permutation(480).astype(np.float32).reshape(2, 12, 20)
    windows = np.lib.stride_tricks.sliding_window_view(x, (3, 10), (1, 2))[:, ::3, ::2]
    rows, columns = np.divmod(np.argsort(x.reshape(-1)), 20)
    place = rows % 12 * 20 + columns
    for again in range(2):
        values, positions = npool.max_pool(x, (3, 10), (3, 2), return_indices=True)
        best = windows.max((3, 4))
        assert np.array_equal(values, best), "max"
        assert np.array_equal(positions, place[best.astype(int)]), "positions"
        assert np.array_equal(npool.sum_pool(x, (3, 10), (3, 2)), windows.sum((3, 4))), "sum"
        means = windows.mean((3, 4), dtype=np.float64).astype(np.float32)
        assert np.array_equal(npool.avg_pool(x, (3, 10), (3, 2)), means), "avg"
    print(json.dumps([compiled, lines]))
""")


def pools(cache, *arguments, before="", **options):
    """A process pools, rightly and in silence; what it compiled, and what it logged."""
    code = WATCHING + textwrap.dedent(before) + POOLS
    compiled, lines = json.loads(
        check_runs(code, *arguments, NPOOL_CACHE_DIR=str(cache), **options)
    )
    assert len(lines) <= 1, lines
    return compiled, lines


def kernels(cache, *names):
    """Files of a cache, those of reducers and drivers of these names alone if there are any."""
    found = sorted(p for p in Path(cache).rglob("*.nbc") if p.is_file())
    return [p for p in found if not names or any(n in p.name for n in names)]


def kernel(path):
    """The name of the kernel that a file holds, as Numba says it."""
    return path.name.rsplit(".", 2)[0]


def loops_of(compiled):
    """The loops among what was compiled, without the functions they call."""
    kinds = ("rows", "fill", "store", "split")
    return sorted(n for n in compiled if n.partition("-")[0] in kinds)


@pytest.fixture(scope="session")
def filled(tmp_path_factory):
    """A cache with all kernels of `POOLS`; to be left as it is."""
    folder = tmp_path_factory.mktemp("cache") / "of" / "npool"
    compiled, lines = pools(folder)
    assert len(compiled) > 16
    assert lines == []
    assert len(kernels(folder)) == 16  # five for each reducer, and a driver
    return folder


@pytest.fixture
def cache(filled, tmp_path):
    """A copy of the filled cache, to be spoilt."""
    return Path(shutil.copytree(filled, tmp_path / "npool"))


def whole_again(cache, filled):
    """Whether all kernels of a cache can be used; their files need not be the same bytes."""
    names = [p.name for p in kernels(cache)]
    return names == [p.name for p in kernels(filled)] and pools(cache) == ([], [])


# --- where it is ---------------------------------------------------------------------------------


def test_the_next_process_compiles_nothing(filled):
    before = {p: p.stat().st_mtime_ns for p in filled.rglob("*")}
    assert pools(filled) == ([], [])
    assert {p: p.stat().st_mtime_ns for p in filled.rglob("*")} == before


def test_numbas_modules_are_imported_for_kernels_that_need_more_than_its_runtime(filled):
    unknown = "import npool.cpu.stored as s; s.llvm.address_of_symbol = lambda name: None"
    tail = "print('numba.np.arraymath' in sys.modules)"
    for before, imported in (("", "False"), (unknown, "True")):
        code = WATCHING + before + POOLS + tail
        said, found = check_runs(code, NPOOL_CACHE_DIR=str(filled)).splitlines()
        assert json.loads(said) == [[], []]
        assert found == imported


def test_it_is_for_its_owner_alone(filled):
    assert [p.name.partition("-")[0] for p in filled.iterdir()] == ["kernels"]
    assert {stat.S_IMODE(p.stat().st_mode) for p in (filled, *filled.iterdir())} == {0o700}
    files = [p for p in filled.rglob("*") if p.is_file()]
    assert {stat.S_IMODE(p.stat().st_mode) for p in files} == {0o600}


@pytest.mark.slow
def test_a_generous_umask_makes_no_generous_cache(tmp_path):
    pools(tmp_path / "npool", before="os.umask(0)")
    modes = {stat.S_IMODE(p.stat().st_mode) for p in (tmp_path / "npool").rglob("*")}
    assert modes == {0o700, 0o600}


@pytest.mark.slow
def test_switched_off_it_leaves_nothing_behind(tmp_path):
    compiled, lines = pools("", HOME=str(tmp_path), XDG_CACHE_HOME=str(tmp_path / "cache"))
    assert compiled
    assert lines == []
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_file_in_the_place_of_the_directory(tmp_path):
    (tmp_path / "npool").write_text("mine")
    compiled, _ = pools(tmp_path / "npool")
    assert compiled
    assert (tmp_path / "npool").read_text() == "mine"


@pytest.mark.parametrize("which", ["root", pytest.param("kernels", marks=pytest.mark.slow)])
def test_a_directory_that_others_can_write_to_is_neither_read_nor_written(which, cache):
    opened = cache if which == "root" else next(cache.iterdir())
    opened.chmod(0o722)
    before = {p: (p.read_bytes(), p.stat().st_mtime_ns) for p in kernels(cache)}
    compiled, (line,) = pools(cache)
    assert len(compiled) > 16
    assert f"{opened}" in line
    assert "others can write" in line
    assert {p: (p.read_bytes(), p.stat().st_mtime_ns) for p in kernels(cache)} == before


def test_a_file_that_others_could_write_is_not_loaded(cache):
    (opened,) = kernels(cache, "store-sum")
    opened.chmod(0o606)
    compiled, (line,) = pools(cache)
    assert loops_of(compiled) == [kernel(opened)]
    assert "could be written by others" in line
    assert stat.S_IMODE(opened.stat().st_mode) == 0o600


#: To be somebody whom permissions hold, also where the tests run as root: all that will be
#: needed is imported before, as that somebody may not be able to read it.
BECOME = """
    import hashlib, pickle, secrets
    import npool.cpu.engine, npool.cpu.stored, npool.reducers
    import numba
    numba.njit(lambda a: np.sqrt(a[0]))(np.ones(3))
    compiled.clear()
    if os.geteuid() == 0:
        os.setegid(65534)
        os.seteuid(65534)
    assert not os.access(sys.argv[1], os.W_OK, effective_ids=True)
"""


@pytest.mark.parametrize("content", ["kernels", pytest.param("nothing", marks=pytest.mark.slow)])
def test_a_read_only_directory(content, filled):
    # pytest's own folders are closed to others.
    place = Path("/tmp") / f"npool-test-{os.getpid()}-{content}"
    place.mkdir()
    cache = place / "npool"
    try:
        shutil.copytree(filled, cache)
        if content == "nothing":
            for path in kernels(cache):
                path.unlink()
        for path in (cache, *cache.rglob("*")):
            if os.geteuid() == 0:
                os.chown(path, 65534, 65534)
            path.chmod(0o500 if path.is_dir() else 0o400)
        compiled, lines = pools(cache, next(cache.iterdir()), before=BECOME)
        assert bool(compiled) == (content == "nothing")
        assert len(lines) == (content == "nothing")
        assert not list(cache.rglob("*.tmp*"))
    finally:
        for path in (cache, *cache.rglob("*")):
            if path.is_dir():
                path.chmod(0o700)
        shutil.rmtree(place)


def test_what_there_is_to_say_is_said_once_to_whoever_listens(cache):
    for path in kernels(cache, "-sum-"):
        path.write_bytes(b"")
    status, _, err = run(
        "import numpy as np, npool\nnpool.sum_pool(np.ones((9, 9), np.float32), (3, 3))",
        NPOOL_CACHE_DIR=str(cache),
    )
    assert status == 0
    assert err.count("\n") == 1
    assert err.startswith("npool: ")


# --- damage --------------------------------------------------------------------------------------


def flipped(place):
    def flip(data):
        changed = bytearray(data)
        changed[int(place * (len(data) - 1))] ^= 1 << int(100 * place) % 8
        return bytes(changed)

    return flip


DAMAGES = {
    "nothing left": lambda data: b"",
    "half": lambda data: data[: len(data) // 2],
    "a byte missing": lambda data: data[:-1],
    "a byte more": lambda data: data + b"\0",
    "zeros": lambda data: bytes(len(data)),
    "noise": lambda data: random.Random(1).randbytes(len(data)),
    "content of zeros": lambda data: data[:64] + bytes(len(data) - 64),
    "a bit of the head": flipped(0.0),
    "a bit of the digest": lambda data: data[:40] + bytes([data[40] ^ 4]) + data[41:],
    "a bit in the first half": flipped(0.3),
    "a bit in the second half": flipped(0.77),
    "the last bit": flipped(1.0),
}


# Of each kind one: every byte is turned and every length cut below, and all damages met at once.
@pytest.mark.parametrize(
    "damage",
    ["half", "a bit in the second half",
     *(pytest.param(damage, marks=pytest.mark.slow)
       for damage in ("nothing left", "a byte more", "zeros", "noise", "content of zeros"))],
)  # fmt: skip
def test_damage_is_compiled_anew(damage, cache):
    spoilt = kernels(cache, "-sum-")
    assert len(spoilt) == 5
    for path in spoilt:
        path.write_bytes(DAMAGES[damage](path.read_bytes()))
    compiled, lines = pools(cache)
    assert loops_of(compiled) == sorted(kernel(p) for p in spoilt)
    assert len(lines) == 1
    assert pools(cache) == ([], [])


@pytest.mark.slow
@pytest.mark.parametrize("turn", [0, 5])
def test_all_files_damaged_in_all_ways(turn, cache, filled):
    ways = list(DAMAGES.values())
    for i, path in enumerate(kernels(cache)):
        path.write_bytes(ways[(i + turn) % len(ways)](path.read_bytes()))
    _, lines = pools(cache)
    assert len(lines) == 1
    assert whole_again(cache, filled)


def test_a_bit_flipped_anywhere_is_noticed(filled):
    path = min(kernels(filled), key=lambda p: p.stat().st_size)
    name, stored = f"{path.parent.name}/{path.name}", path.read_bytes()
    assert framed(name, unframed(name, stored)) == stored
    changed = bytearray(stored)
    for i in range(len(stored)):
        changed[i] ^= 1 << i % 8
        with pytest.raises(Damaged):
            unframed(name, bytes(changed))
        changed[i] = stored[i]


def test_a_file_cut_anywhere_is_noticed(filled):
    path = min(kernels(filled), key=lambda p: p.stat().st_size)
    name, stored = f"{path.parent.name}/{path.name}", path.read_bytes()
    for length in range(len(stored)):
        with pytest.raises(Damaged):
            unframed(name, stored[:length])


@pytest.mark.parametrize(
    "other", ["kernels-1/store.1.nbc", "kernels-2/store.0.nbc", "kernels-1/store.0.nbc\0", ""]
)
def test_a_file_is_known_by_its_name(other):
    stored = framed("kernels-1/store.0.nbc", b"code")
    assert unframed("kernels-1/store.0.nbc", stored) == b"code"
    with pytest.raises(Damaged):
        unframed(other, stored)


@pytest.mark.parametrize(
    "kind", ["store", *(pytest.param(k, marks=pytest.mark.slow) for k in ("fill", "rows-source"))]
)
def test_kernels_in_each_others_place_are_noticed(kind, cache):
    one, other = kernels(cache, f"{kind}-avg", f"{kind}-sum")
    # Nothing but the digest tells: Numba's key, in the last part of the name, is the same.
    assert one.name[-20:] == other.name[-20:]
    data = one.read_bytes()
    one.write_bytes(other.read_bytes())
    other.write_bytes(data)
    compiled, lines = pools(cache)
    assert [n.partition("-float")[0][: len(kind) + 4] for n in loops_of(compiled)] == [
        f"{kind}-avg",
        f"{kind}-sum",
    ]
    assert len(lines) == 1
    assert pools(cache) == ([], [])


@pytest.mark.slow
def test_one_kernel_under_all_names(cache, filled):
    data = kernels(cache, "store-sum")[0].read_bytes()
    for path in kernels(cache, "-sum-", "-avg-"):
        path.write_bytes(data)
    _, lines = pools(cache)
    assert len(lines) == 1
    assert whole_again(cache, filled)


@pytest.mark.slow
def test_kernels_of_another_version_are_noticed(cache, tmp_path):
    # Of the same names: another instruction is another directory, and nothing else.
    root = copied(tmp_path, ("cpu/instructions.py", '(_extreme(">"))', '(_extreme("<"))'))
    code = """
        import numpy as np, npool
        print(npool.max_pool(np.arange(200, dtype=np.float32), (2,), 1, 0, 100)[:1].tolist())
    """
    options = {"NPOOL_CACHE_DIR": str(cache)}
    old = next(cache.iterdir())
    assert check_runs(code, **options) == "[100.0]\n"
    assert check_runs(code, root=root, **options) == "[0.0]\n"
    (new,) = set(cache.iterdir()) - {old}
    names = {p.name for p in kernels(new)}
    assert len(names) == 3
    for name in names:
        shutil.copy(old / name, new / name)
    status, out, err = run(code, root=root, **options)
    assert (status, out) == (0, "[0.0]\n")
    assert err.count("\n") == 1


@pytest.mark.slow
def test_files_missing(cache, filled):
    for path in kernels(cache, "store", "fill-max"):
        path.unlink()
    compiled, lines = pools(cache)
    assert compiled
    assert lines == []
    assert whole_again(cache, filled)


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["strips", "rows-source-max", "rows-scratch-sum", "fill-avg", "store-max", "split-sum"]
)
def test_one_file_missing(name, cache):
    (path,) = kernels(cache, name)
    path.unlink()
    compiled, lines = pools(cache)
    assert compiled[0] == kernel(path)
    assert lines == []
    assert pools(cache) == ([], [])


@pytest.mark.slow
def test_directories_in_the_place_of_files(cache):
    for path in kernels(cache, "-sum-"):
        path.unlink()
        path.mkdir()
    compiled, lines = pools(cache)
    assert compiled
    assert len(lines) == 1


def test_the_directory_vanishes_meanwhile(cache):
    before = """
        import shutil
        npool.max_pool(np.ones((3, 3), np.float32), (2, 2), return_indices=True)
        shutil.rmtree(sys.argv[1])
    """
    compiled, lines = pools(cache, cache, before=before)
    assert compiled
    assert len(lines) == 1


def test_no_room_for_the_files(cache):
    for path in kernels(cache, "-sum-"):
        path.unlink()
    before = """
        import resource
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (5000, 5000))
    """
    compiled, lines = pools(cache, before=before)
    assert compiled
    assert len(lines) == 1
    assert kernels(cache, "-sum-") == []
    assert not list(cache.rglob("*.tmp*"))


# --- several at once, and cut short --------------------------------------------------------------


@pytest.mark.slow
def test_processes_that_write_at_once(tmp_path, filled):
    cache = tmp_path / "npool"
    for process in [start(WATCHING + POOLS, NPOOL_CACHE_DIR=str(cache)) for _ in range(2)]:
        status, out, err = ended(process)
        assert (status, err) == (0, "")
        assert json.loads(out)[1] == []
    assert not list(cache.rglob("*.tmp*"))
    assert whole_again(cache, filled)


@pytest.mark.parametrize("written", [0, pytest.param(2, marks=pytest.mark.slow)])
def test_killed_before_a_file_has_its_name(written, cache, filled):
    for path in kernels(cache, "-sum-"):
        path.unlink()
    before = f"""
        replace, left = os.replace, list(range({written}))
        def kill(*names):
            if not left:
                os.kill(os.getpid(), signal.SIGKILL)
            left.pop()
            replace(*names)
        os.replace = kill
    """
    code = WATCHING + textwrap.dedent(before) + POOLS
    status, _, err = run(code, NPOOL_CACHE_DIR=str(cache))
    assert (status, err) == (-signal.SIGKILL, "")
    assert len(kernels(cache, "-sum-")) == written
    assert len(list(cache.rglob("*.tmp*"))) == 1
    compiled, lines = pools(cache)
    assert compiled
    assert lines == []
    assert whole_again(cache, filled)


@pytest.mark.slow
@pytest.mark.parametrize("written", [0, 1, 7])
def test_killed_while_it_compiles_and_writes(written, tmp_path, filled):
    cache = tmp_path / "npool"
    process = start(WATCHING + POOLS, NPOOL_CACHE_DIR=str(cache))
    while not cache.exists() or len(kernels(cache)) < written:
        assert process.poll() is None
    os.killpg(process.pid, signal.SIGKILL)
    status, _, err = ended(process)
    assert (status, err) == (-signal.SIGKILL, "")
    compiled, lines = pools(cache)
    assert compiled
    assert lines == []
    assert whole_again(cache, filled)


# --- a Numba that has moved ----------------------------------------------------------------------

MOVED = {
    # Numba needs it as well, but only until it has compiled something.
    "no base class": """
        import numba, numba.core.caching
        numba.njit(lambda: 0)()
        compiled.clear()
        del numba.core.caching.NullCache
    """,
    "no rebuilding": "from numba.core.compiler import CompileResult as C; del C._rebuild",
    "no reducing": "from numba.core.compiler import CompileResult as C; del C._reduce",
}


@pytest.mark.slow
@pytest.mark.parametrize("what", MOVED)
def test_without_numbas_internals_there_is_no_cache_and_no_error(what, cache):
    for path in kernels(cache, "-sum-"):
        path.unlink()
    compiled, _ = pools(cache, before=MOVED[what])
    assert len([n for n in compiled if n.startswith("store")]) == (1 if "reduc" in what else 3)
    assert len(kernels(cache, "-sum-")) == (5 if "rebuil" in what else 0)


# --- never a stale answer ------------------------------------------------------------------------


@pytest.mark.slow
def test_another_source_is_another_cache(cache, tmp_path):
    root = copied(tmp_path, ("reducers.py", "    return a + b\n", "    return a + b + 1\n"))
    code = "import numpy as np, npool\nprint(npool.sum_pool(np.ones(4, np.float32), (4,))[0])"
    for _ in range(2):
        assert check_runs(code, NPOOL_CACHE_DIR=str(cache), root=root) == "7.0\n"
    assert len(list(cache.iterdir())) == 2
    assert check_runs(code, NPOOL_CACHE_DIR=str(cache)) == "4.0\n"
    assert len(list(cache.iterdir())) == 2


@pytest.mark.slow
@pytest.mark.parametrize(
    "flag", ["NUMBA_BOUNDSCHECK=1", "NUMBA_OPT=1", "NUMBA_CPU_NAME=generic",
             "NUMBA_CPU_FEATURES=+sse2", "NUMBA_DEBUGINFO=1", "NUMBA_LOOP_VECTORIZE=0"],
)  # fmt: skip
def test_other_flags_are_another_cache(flag, tmp_path):
    code = "from npool.cpu.cache import cache_directory; print(cache_directory())"
    name, value = flag.split("=")
    cache = str(tmp_path / "npool")
    plain = check_runs(code, NPOOL_CACHE_DIR=cache)
    assert check_runs(code, **{"NPOOL_CACHE_DIR": cache, name: value}) != plain


#: Reducers of one name, by a function of one name, too long to be inlined.
NAMESAKES = """
    def reducer(factor):
        steps = "".join(
            f"    t = math.sin(t * {0.1 * i + 1}) + math.cos(t + {i}) * t\\n" for i in range(60)
        )
        space = {"math": __import__("math")}
        head, tail = "def mine(a, b):\\n    t = a * 0.0\\n", f"return a + b * {factor}\\n"
        exec(f"{head}{steps}    if t > 1e300:\\n        return t\\n    {tail}", space)
        return npool.Reducer("mine", space["mine"], 0.0)

    for factor in sys.argv[1:]:
        print(npool.pool(np.arange(4.0), (2,), reduce=reducer(int(factor))).tolist())
    print(len(compiled))
"""


@pytest.mark.slow
def test_functions_of_one_name_from_two_processes_are_told_apart(tmp_path):
    # Each is the first that its process compiles: Numba gives both one symbol.
    code = WATCHING + textwrap.dedent(NAMESAKES)
    told = {"1": "[1.0, 5.0]\n", "3": "[3.0, 11.0]\n"}
    for factor, right in told.items():
        out = check_runs(code, factor, NPOOL_CACHE_DIR=str(tmp_path / "npool"))
        assert out.startswith(right)
    out = check_runs(code, *told, NPOOL_CACHE_DIR=str(tmp_path / "npool"))
    assert out == "".join(told.values()) + "0\n"
