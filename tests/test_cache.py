"""The disk cache of kernels: used where it can be, and never an error or a stale answer."""

import itertools
import os
import pickle
import random
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from fresh_process import copied, ended, run, start

import npool

pytestmark = pytest.mark.skipif(os.name != "posix", reason="owners and modes are POSIX's")
ROOT = hasattr(os, "geteuid") and os.geteuid() == 0

#: Pools, and counts what Numba compiles for it.
COUNTING = """
    import os, sys
    import numpy as np, npool
    from numba.core import event

    class Compiled(event.Listener):
        def __init__(self):
            self.names = []

        def on_start(self, event):
            self.names.append(event.data["dispatcher"].py_func.__qualname__)

        def on_end(self, event):
            pass

    compiled = Compiled()
    event.register("numba:compile", compiled)
    x = np.arange(8.0)
"""
CALLS = (
    COUNTING
    + """
    y = [npool.sum_pool(x, (2,)).tolist(), npool.max_pool(x, (4,), 2).tolist()]
    print(y, len(compiled.names))
"""
)
RIGHT = "[[1.0, 5.0, 9.0, 13.0], [3.0, 5.0, 7.0]]"
NOWHERE = dict.fromkeys(("NPOOL_CACHE_DIR", "XDG_CACHE_HOME", "HOME"))


def check_right(code=CALLS, *arguments, compiles=None, complains=False, right=RIGHT, **options):
    """The answer is right, with at most one line of complaint; how many kernels were compiled."""
    status, out, err = run(code, *arguments, **options)
    assert status == 0, err
    assert err.count("\n") <= 1, err
    assert not complains or ("npool" in err and "cache" in err), err
    answer, _, count = out.rpartition(" ")
    assert answer == right
    if compiles is not None:
        assert (int(count) > 0) == compiles, f"{count} compiled\n{err}"
    return int(count)


def entries(folder):
    """The files of a cache, by suffix."""
    found = sorted(Path(folder).rglob("*.nb*"))
    return [p for p in found if p.suffix == ".nbi"], [p for p in found if p.suffix == ".nbc"]


@pytest.fixture(scope="module")
def filled(tmp_path_factory):
    """A cache that holds the kernels of CALLS."""
    folder = tmp_path_factory.mktemp("cache") / "of" / "npool"
    assert check_right(NPOOL_CACHE_DIR=str(folder), compiles=True) > 5
    return folder


@pytest.fixture
def cache(filled, tmp_path):
    """A copy of the filled cache, to be spoilt."""
    return Path(shutil.copytree(filled, tmp_path / "npool"))


# --- where it is ---------------------------------------------------------------------------------


def test_the_next_process_compiles_nothing(filled):
    indexes, codes = entries(filled)
    assert len(indexes) == len(codes) > 5
    check_right(NPOOL_CACHE_DIR=str(filled), compiles=False)


def test_the_directory_is_made_for_its_owner_alone(filled):
    for path in (filled, *filled.iterdir()):
        assert stat.S_IMODE(path.stat().st_mode) == 0o700
    assert [p.name.split("-")[0] for p in filled.iterdir()] == ["kernels"]


def test_a_generous_umask_makes_no_generous_cache(tmp_path):
    code = "    import os\n    os.umask(0)\n" + CALLS
    check_right(code, NPOOL_CACHE_DIR=str(tmp_path / "npool"), compiles=True)
    assert stat.S_IMODE((tmp_path / "npool").stat().st_mode) == 0o700
    check_right(code, NPOOL_CACHE_DIR=str(tmp_path / "npool"), compiles=False)


def test_importing_touches_no_cache(tmp_path):
    status, _, err = run("import npool", **{**NOWHERE, "NPOOL_CACHE_DIR": str(tmp_path / "npool")})
    assert (status, err) == (0, "")
    assert list(tmp_path.iterdir()) == []


WHERE = """
    from npool.cpu.cache import cache_directory, cache_root
    print(cache_root(), cache_directory() is not None)
"""


def test_the_environment_says_where(tmp_path):
    home, cache, own = tmp_path / "home", tmp_path / "cache", tmp_path / "own"
    home.mkdir()
    apple = sys.platform == "darwin"
    below = home / ("Library/Caches" if apple else ".cache") / "npool"
    for changes, wanted in (
        ({"HOME": home}, below),
        ({"HOME": home, "XDG_CACHE_HOME": cache}, cache / "npool"),
        ({"HOME": home, "XDG_CACHE_HOME": "relative"}, below),
        ({"HOME": home, "XDG_CACHE_HOME": ""}, below),
        ({"HOME": home, "XDG_CACHE_HOME": cache, "NPOOL_CACHE_DIR": own}, own),
    ):
        settings = {name: str(path) for name, path in changes.items()}
        status, out, err = run(WHERE, **{**NOWHERE, **settings})
        assert (status, out, err) == (0, f"{wanted} True\n", "")


@pytest.mark.parametrize(
    "changes",
    [
        {},  # no HOME at all
        {"HOME": ""},
        {"HOME": "relative"},
        {"NPOOL_CACHE_DIR": ""},
        {"NPOOL_CACHE_DIR": "", "HOME": "/home"},
        {"NPOOL_CACHE_DIR": "/dev/null"},
        {"NPOOL_CACHE_DIR": "/dev/null/npool"},
        {"NPOOL_CACHE_DIR": "/proc/npool/cache"},
        {"NPOOL_CACHE_DIR": "/tmp/" + "x" * 300},
    ],
    ids=lambda changes: "-".join(f"{k}={v[:20]}" for k, v in changes.items()) or "nothing",
)
def test_without_a_cache_kernels_are_compiled(changes):
    # one small kernel: that nothing fails is the point
    status, out, err = run(WHERE, **{**NOWHERE, **changes})
    assert status == 0, err
    assert out.split()[-1] == "False"
    assert err.count("\n") <= 1


def test_switched_off_it_leaves_nothing_behind(tmp_path):
    settings = {"HOME": str(tmp_path), "NPOOL_CACHE_DIR": ""}
    check_right(compiles=True, **{**NOWHERE, **settings})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["with spaces", "ünïcödé", "[x]*?", "per%cent", "npool\udcff"])
def test_any_name_of_a_directory(name, cache, tmp_path):
    try:
        os.rename(cache, tmp_path / name)
    except OSError:
        pytest.skip("this file system cannot hold such a name")
    check_right(NPOOL_CACHE_DIR=str(tmp_path / name), compiles=False)


def test_a_link_to_a_private_directory(cache, tmp_path):
    (tmp_path / "link").symlink_to(cache)
    check_right(NPOOL_CACHE_DIR=str(tmp_path / "link"), compiles=False)


# --- whom it trusts ------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", [0o777, 0o770, 0o702, 0o1777])
@pytest.mark.parametrize("which", ["root", "kernels"])
def test_what_others_can_write_to_is_not_loaded(which, mode, cache):
    spoilt = cache if which == "root" else next(cache.iterdir())
    spoilt.chmod(mode)
    before = {p: p.read_bytes() for p in cache.rglob("*.nb*")}
    check_right(NPOOL_CACHE_DIR=str(cache), compiles=True, complains=True)
    assert {p: p.read_bytes() for p in cache.rglob("*.nb*")} == before


def test_what_others_can_only_read_is_used(cache):
    for path in (cache, *cache.iterdir()):
        path.chmod(0o755)
    check_right(NPOOL_CACHE_DIR=str(cache), compiles=False)


def test_what_belongs_to_somebody_else_is_not_loaded(cache):
    code = CALLS
    if ROOT:
        os.chown(cache, 65534, 65534)
    else:
        code = "    import os\n    me = os.geteuid()\n    os.geteuid = lambda: me + 1\n" + CALLS
    check_right(code, NPOOL_CACHE_DIR=str(cache), compiles=True, complains=True)


#: To be somebody whom permissions hold, also where the tests run as root: all that will be
#: needed is imported before, as the new user may not be able to read it.
SOMEBODY = """
    import os, sys, logging, hashlib, pickle
    import numba, numpy as np
    import npool.cpu.engine, npool.reducers
    numba.njit(lambda a: np.sqrt(a[0]) + a.ctypes.data)(np.ones(3))
"""
BECOME = """
    if os.geteuid() == 0:
        os.setegid(65534)
        os.seteuid(65534)
    assert not os.access(sys.argv[1], os.W_OK, effective_ids=True)
"""


@pytest.mark.parametrize("content", ["kernels", "nothing", "no directory"])
def test_a_read_only_directory(content, filled, tmp_path):
    # In a directory that nobody but its owner's processes would reach, were it not opened.
    place = Path(subprocess.check_output(["mktemp", "-d", "/tmp/npool-XXXXXX"], text=True).strip())
    try:
        place.chmod(0o755)
        cache = place / "npool"
        if content == "kernels":
            shutil.copytree(filled, cache)
        elif content == "nothing":
            cache.mkdir()
        paths = [p for p in (cache, *cache.rglob("*")) if p.exists()]
        for path in paths:
            if ROOT:
                os.chown(path, 65534, 65534)
            path.chmod(0o500 if path.is_dir() else 0o400)
        place.chmod(0o555)
        code = SOMEBODY + COUNTING + BECOME + CALLS.removeprefix(COUNTING)
        check_right(
            code, cache if cache.exists() else place,
            NPOOL_CACHE_DIR=str(cache), compiles=content != "kernels",
        )  # fmt: skip
    finally:
        place.chmod(0o755)
        for path in (p for p in (place, *place.rglob("*")) if p.is_dir()):
            path.chmod(0o700)
        shutil.rmtree(place)


# --- damaged entries -----------------------------------------------------------------------------


def spoil(cache, change, which):
    """Apply `change` to the bytes of all indexes, of all kernels, or of both."""
    indexes, codes = entries(cache)
    paths = {"indexes": indexes, "kernels": codes, "both": indexes + codes}[which]
    assert len(paths) > 5
    for path in paths:
        path.write_bytes(change(path.read_bytes()))


def check_survives(cache):
    """Right, with a line at most; and right again in the next process."""
    check_right(NPOOL_CACHE_DIR=str(cache))
    check_right(NPOOL_CACHE_DIR=str(cache))


class Missing:
    """A pickle of this cannot be loaded elsewhere."""

    def __reduce__(self):
        return getattr, (np, "nonsense")


def version_and_rest(data):
    """An index is two pickles: Numba's version, and (stamp, {key: file name})."""
    size = len(pickle.dumps(pickle.loads(data), -1))
    return data[:size], pickle.loads(data[size:])


def index_with(change):
    def changed(data):
        version, (stamp, overloads) = version_and_rest(data)
        return version + pickle.dumps(change(stamp, overloads), -1)

    return changed


SPOILT = {
    "empty": (lambda data: b"", "both"),
    "one byte": (lambda data: data[:1], "both"),
    "half": (lambda data: data[: len(data) // 2], "both"),
    "half the kernels": (lambda data: data[: len(data) // 2], "kernels"),
    "half the indexes": (lambda data: data[: len(data) // 2], "indexes"),
    "all but a byte": (lambda data: data[:-1], "both"),
    "noise": (lambda data: random.Random(1).randbytes(len(data)), "both"),
    "zeros": (bytes, "kernels"),
    "text": (lambda data: b"<html>404</html>", "both"),
    "a number": (lambda data: pickle.dumps(3), "both"),
    "kernels are None": (lambda data: pickle.dumps(None), "kernels"),
    "kernels are tuples": (lambda data: pickle.dumps((1, 2, 3)), "kernels"),
    "kernels are dictionaries": (lambda data: pickle.dumps({}), "kernels"),
    "kernels cannot be loaded": (lambda data: pickle.dumps(Missing()), "kernels"),
    "indexes cannot be loaded": (lambda data: pickle.dumps(Missing()), "indexes"),
    "an index of a number": (index_with(lambda stamp, overloads: (stamp, 5)), "indexes"),
    "an index of one thing": (index_with(lambda stamp, overloads: stamp), "indexes"),
    "names that are no names": (
        index_with(lambda stamp, overloads: (stamp, dict.fromkeys(overloads, 7))), "indexes"),
    "files that are not there": (
        index_with(lambda stamp, overloads: (stamp, dict.fromkeys(overloads, "gone.nbc"))),
        "indexes"),
    "another stamp": (index_with(lambda stamp, overloads: ("x", overloads)), "indexes"),
    "another version of Numba": (
        lambda data: pickle.dumps("0.1") + pickle.dumps(version_and_rest(data)[1]), "indexes"),
}  # fmt: skip


@pytest.mark.parametrize("name", SPOILT)
def test_damaged_entries_are_compiled_anew(name, cache):
    spoil(cache, *SPOILT[name])
    check_right(NPOOL_CACHE_DIR=str(cache), compiles=True)
    check_right(NPOOL_CACHE_DIR=str(cache))


def test_the_damage_is_repaired_or_stays_harmless(cache):
    spoil(cache, *SPOILT["half"])
    check_survives(cache)
    check_right(NPOOL_CACHE_DIR=str(cache), compiles=False)


@pytest.mark.parametrize("seed", range(4))
def test_flipped_bits_are_noticed(seed, cache):
    # In machine code they would be a wrong answer, or a crash.
    rng = random.Random(seed)

    def flip(data):
        changed = bytearray(data)
        for _ in range(60):
            changed[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        return bytes(changed)

    spoil(cache, flip, "kernels")
    check_survives(cache)


def test_kernels_in_each_others_place_are_noticed(cache):
    _, codes = entries(cache)
    kinds = {}
    for path in codes:
        kinds.setdefault(path.name.split("-")[0], []).append(path)
    swapped = [pair for pair in kinds.values() if len(pair) == 2]
    assert swapped
    for one, other in swapped:
        data = one.read_bytes()
        one.write_bytes(other.read_bytes())
        other.write_bytes(data)
    check_survives(cache)


def test_directories_in_the_place_of_files(cache):
    for path in itertools.chain(*entries(cache)):
        path.unlink()
        path.mkdir()
    check_right(NPOOL_CACHE_DIR=str(cache), compiles=True)


def test_the_directory_vanishes_meanwhile(tmp_path):
    code = (
        COUNTING
        + """
    import shutil
    first = npool.sum_pool(x, (2,)).tolist()
    shutil.rmtree(sys.argv[1])
    print([first, npool.max_pool(x, (4,), 2).tolist()], len(compiled.names))
    """
    )
    check_right(code, tmp_path / "npool", NPOOL_CACHE_DIR=str(tmp_path / "npool"))


# --- no room -------------------------------------------------------------------------------------


FULL = """
    import resource, signal
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]), int(sys.argv[1])))
"""


@pytest.mark.parametrize("room", [0, 100, 5000])
def test_files_that_cannot_be_written_whole(room, tmp_path):
    cache = tmp_path / "npool"
    code = COUNTING + FULL + CALLS.removeprefix(COUNTING)
    check_right(code, room, NPOOL_CACHE_DIR=str(cache), compiles=True)
    check_survives(cache)


def test_a_full_disk(tmp_path):
    mounted = tmp_path / "small"
    mounted.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k,mode=0700", "tmpfs", str(mounted)],
        capture_output=True, check=False,
    ) if shutil.which("mount") and ROOT else None  # fmt: skip
    if done is None or done.returncode:
        pytest.skip("a small disk can only be mounted by root, and not everywhere")
    try:
        check_right(NPOOL_CACHE_DIR=str(mounted / "npool"), compiles=True)
        check_right(NPOOL_CACHE_DIR=str(mounted / "npool"))
    finally:
        subprocess.run(["umount", str(mounted)], check=True)


# --- several at once -----------------------------------------------------------------------------


def test_processes_that_write_at_once(tmp_path):
    cache = str(tmp_path / "npool")
    for process in [start(CALLS, NPOOL_CACHE_DIR=cache) for _ in range(3)]:
        status, out, err = ended(process)
        assert (status, err) == (0, "")
        assert out.startswith(RIGHT)
    check_right(NPOOL_CACHE_DIR=cache, compiles=False)
    assert not list(Path(cache).rglob("*.tmp*"))


def test_a_process_killed_while_it_writes(tmp_path):
    cache = tmp_path / "npool"
    for seconds in (1.0, 2.0, 3.0):
        process = start(CALLS, NPOOL_CACHE_DIR=str(cache))
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            process.kill()
        process.communicate()
    check_survives(cache)
    check_right(NPOOL_CACHE_DIR=str(cache), compiles=False)


# --- never a stale answer ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("file", "old", "new", "wrong"),
    [
        ("reducers.py", "    return a + b\n", "    return a + b + 1\n",
         "[[2.0, 6.0, 10.0, 14.0], [3.0, 5.0, 7.0]]"),
        ("cpu/instructions.py", 'maximum = intrinsic(_extreme(">"))',
         'maximum = intrinsic(_extreme("<"))', "[[1.0, 5.0, 9.0, 13.0], [0.0, 2.0, 4.0]]"),
        ("cpu/parts.py", "    return (part_combine(a[0], b[0]),)", "    return (a[0] * b[0],)",
         "[[0.0, 6.0, 20.0, 42.0], [0.0, 120.0, 840.0]]"),
    ],
)  # fmt: skip
def test_another_source_is_another_cache(file, old, new, wrong, cache, tmp_path):
    root = copied(tmp_path, (file, old, new))
    times = {p: p.stat().st_mtime_ns for p in (npool_file(file), root / "npool" / file)}
    os.utime(root / "npool" / file, ns=(0, times[npool_file(file)]))  # not told by its date
    check_right(root=root, NPOOL_CACHE_DIR=str(cache), compiles=True, right=wrong)
    check_right(root=root, NPOOL_CACHE_DIR=str(cache), compiles=False, right=wrong)
    check_right(NPOOL_CACHE_DIR=str(cache), compiles=False)
    assert len(list(cache.iterdir())) == 2


def npool_file(name):
    return Path(npool.__file__).parent / name


@pytest.mark.parametrize(
    "flag", [{"NUMBA_BOUNDSCHECK": "1"}, {"NUMBA_OPT": "1"}, {"NUMBA_CPU_NAME": "generic"}]
)
def test_other_flags_are_another_cache(flag, cache):
    check_right(NPOOL_CACHE_DIR=str(cache), compiles=True, **flag)
    assert len(list(cache.iterdir())) == 2
    check_right(NPOOL_CACHE_DIR=str(cache), compiles=False)


OWN = (
    COUNTING
    + """
    import types
    n = float(sys.argv[1])
    SCALE = n
    settings = types.ModuleType("settings")
    settings.N = n
    table = np.array([n, 1.0])

    def constant():
        space = {}
        exec(f"def lift(x):\\n    return x * {n}", space)
        return space["lift"]

    def closure():
        return lambda x: x * n

    def inner():
        def lift(x):
            def times(y):
                return y * SCALE
            return times(x)
        return lift

    def helper(x):
        return x * SCALE

    LIFTS = {
        "constant": constant(),
        "global": lambda x: x * SCALE,
        "closure": closure(),
        "default": lambda x, by=n: x * by,
        "helper": lambda x: helper(x),
        "inner": inner(),
        "module": lambda x: x * settings.N,
        "array": lambda x: x * table[0],
    }
    got = []
    for name in sys.argv[2:]:
        reducer = npool.Reducer("scaled", lambda a, b: a + b, 0.0, lift=LIFTS[name])
        got += npool.pool(x[:3], (3,), reduce=reducer).tolist()
    print(got, len(compiled.names))
"""
)
CACHED = ("constant", "global", "closure", "default", "helper", "inner")


def test_own_reducers_are_told_apart_by_what_they_refer_to(tmp_path):
    settings = {"NPOOL_CACHE_DIR": str(tmp_path / "npool")}
    names = (*CACHED, "module", "array")
    for n in (2, 10):
        right = str([3.0 * n] * len(names))
        assert check_right(OWN, n, *names, right=right, **settings) > 4 * len(names)
    right = str([6.0] * len(CACHED))
    check_right(OWN, 2, *CACHED, right=right, compiles=False, **settings)


def test_names_of_reducers_do_not_escape_the_directory(tmp_path):
    code = (
        COUNTING
        + """
    for name in ("../../../evil", "a/b", "x" * 5000, "nul\\0", "[*]", "ünï", "."):
        reducer = npool.Reducer(name, lambda a, b: a + b, 0.0)
        y = npool.pool(x, (2,), reduce=reducer).tolist()
    print([y, [3.0, 5.0, 7.0]], len(compiled.names))
    """
    )
    check_right(code, NPOOL_CACHE_DIR=str(tmp_path / "in" / "npool"))
    assert [p.name for p in tmp_path.iterdir()] == ["in"]
    assert [p.name for p in (tmp_path / "in").iterdir()] == ["npool"]
