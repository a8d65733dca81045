"""Output files that appear whole or not at all."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import signal
import stat
import sys
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import IO

from npool.cli.refusal import Refusal, reason

try:
    import fcntl
except ModuleNotFoundError:  # pragma: no cover - Windows: no locks, so nothing is swept
    fcntl = None  # type: ignore[assignment]

__all__ = ["Output", "check_place", "signals_unwind"]


def check_place(path: Path, source: Path | None, force: bool) -> Path:
    """Refuse, in words, a place where no output may go; return it with its links followed.

    `source` is the file that is read; it is never written, even with `force`.
    """
    if path.name in ("", ".."):
        raise Refusal(f"{path}: names no file: give the output a name, such as out.npy")
    try:
        place = path.resolve()
        try:
            os.lstat(place)
            present = True
        except FileNotFoundError:
            present = False
        directory = place.parent
        if not directory.is_dir():
            kind = "is not a directory" if directory.exists() else "does not exist"
            raise Refusal(f"{path}: the directory {directory} {kind}: make it first")
        if present:
            if place.is_dir():
                raise Refusal(f"{path}: is a directory: give a file's name, such as {path}/out.npy")
            if source is not None and source.exists() and os.path.samefile(source, place):
                raise Refusal(f"{path}: is the input itself: give the output another name")
            if not stat.S_ISREG(place.stat().st_mode):
                raise Refusal(f"{path}: is not a regular file: give a file's name")
            if not force:
                raise Refusal(f"{path}: exists already: add --force to replace it")
        if not os.access(directory, os.W_OK | os.X_OK):
            raise Refusal(f"{path}: the directory {directory} cannot be written: choose another")
    except OSError as error:
        raise Refusal(f"{path}: cannot be written: {reason(error)}") from None
    except RuntimeError:  # before Python 3.13
        raise Refusal(f"{path}: is a loop of links: name the file itself") from None
    return place


class Output:
    """A file that takes its name only once it is whole.

    It is written beside its place under a temporary name that begins with a dot, put on the disk
    (fsync), and renamed by :meth:`publish`. Leaving the context without that removes it. A
    process that is killed outright leaves at most the temporary; the next writer of the same
    output removes it, knowing by a lock (which dies with its holder) that nobody writes it.

    Parameters
    ----------
    place : Path
        Where it shall appear, as :func:`check_place` gave it.
    force : bool
        Whether it may replace a file. Without it, even a file that appeared meanwhile stays.
    """

    def __init__(self, place: Path, force: bool) -> None:
        self.place = place
        self.force = force
        self._sweep()
        self._temporary, self.file = self._open()
        self.published = False

    def __enter__(self) -> Output:
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):  # a full disk says so again on close
            self.file.close()
        with contextlib.suppress(FileNotFoundError):
            self._temporary.unlink()

    def publish(self) -> None:
        """Give the finished file its name."""
        self.file.flush()
        os.fsync(self.file.fileno())
        if self.force:
            os.replace(self._temporary, self.place)
        else:
            try:
                # Unlike a rename, a link never replaces anything.
                os.link(self._temporary, self.place)
            except FileExistsError:
                raise Refusal(
                    f"{self.place}: appeared while it was being computed: add --force to replace it"
                ) from None
            except OSError:  # a file system without links
                if os.path.lexists(self.place):
                    raise Refusal(
                        f"{self.place}: exists already: add --force to replace it"
                    ) from None
                os.replace(self._temporary, self.place)
        self.published = True
        with contextlib.suppress(OSError):  # the name, too, must survive a power cut
            directory = os.open(self.place.parent, os.O_RDONLY)
            try:
                os.fsync(directory)
            finally:
                os.close(directory)

    def withdraw(self) -> None:
        """Take back a published file that was new, because its companion failed."""
        if self.published and not self.force:
            self.place.unlink(missing_ok=True)

    def _open(self) -> tuple[Path, IO[bytes]]:
        while True:
            name = f".{self.place.name[:150]}.npool-{secrets.token_hex(6)}.tmp"
            temporary = self.place.parent / name
            try:
                # Not tempfile's 0600: the output gets the permissions that any new file gets.
                file = open(temporary, "x+b")  # noqa: SIM115 - closed by __exit__
            except OSError as error:
                raise Refusal(f"{self.place}: cannot be written: {reason(error)}") from None
            if fcntl is not None:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    swept = not temporary.exists()
                except BlockingIOError:
                    swept = True
                except OSError:  # a file system without locks
                    swept = False
                if swept:  # between our open and our lock, by another writer of this output
                    file.close()
                    continue
            return temporary, file

    def _sweep(self) -> None:
        if fcntl is None:  # pragma: no cover
            return
        ours = re.compile(re.escape(f".{self.place.name[:150]}.npool-") + r"[0-9a-f]{12}\.tmp")
        for entry in self.place.parent.iterdir():
            if not ours.fullmatch(entry.name):
                continue
            with contextlib.suppress(OSError):  # gone meanwhile, locked by its writer, not ours
                descriptor = os.open(entry, os.O_RDWR)
                try:
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    entry.unlink()
                finally:
                    os.close(descriptor)


@contextlib.contextmanager
def signals_unwind() -> Iterator[None]:
    """Let SIGTERM and SIGHUP unwind the stack as Ctrl-C does, so that temporaries are removed."""

    def leave(number: int, frame: FrameType | None) -> None:
        sys.stderr.write(f"npool: stopped by {signal.Signals(number).name}: nothing was written\n")
        sys.exit(128 + number)

    names = [n for n in ("SIGTERM", "SIGHUP") if hasattr(signal, n)]
    try:
        # nohup's choice to ignore a signal stands.
        before = {
            getattr(signal, n): signal.getsignal(getattr(signal, n))
            for n in names
            if signal.getsignal(getattr(signal, n)) is signal.SIG_DFL
        }
        for number in before:
            signal.signal(number, leave)
    except ValueError:  # not in the main thread: its owner minds the signals
        yield
        return
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
