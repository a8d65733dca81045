"""The thread pool: one a process, started when first needed, made anew in a forked child.

Work is a range of tasks of which every output belongs to one, so results never depend on the
number of threads. Chunks are short: Ctrl-C is seen between them, and no worker still writes
when a call returns or raises.
"""

from __future__ import annotations

import itertools
import os
import threading
from collections.abc import Callable
from queue import SimpleQueue

from numba.core.compiler_lock import global_compiler_lock

__all__ = ["run"]

Work = Callable[[int, int], None]


class _Job:
    def __init__(self, work: Work, tasks: int, chunk: int) -> None:
        self.work, self.tasks, self.chunk = work, tasks, chunk
        self.turn = itertools.count()  # next() is atomic
        self.changed = threading.Condition()
        self.active = 0
        self.stopped = False
        self.error: BaseException | None = None

    def take_chunks(self) -> None:
        while not self.stopped:
            first = next(self.turn) * self.chunk
            if first >= self.tasks:
                return
            self.work(first, min(first + self.chunk, self.tasks))

    def help(self) -> None:
        """A worker's share; does nothing once the caller has stopped the job."""
        with self.changed:
            if self.stopped:
                return
            self.active += 1
        try:
            self.take_chunks()
        except BaseException as error:
            self.error = self.error or error
            self.stopped = True
        finally:
            with self.changed:
                self.active -= 1
                self.changed.notify_all()

    def finish(self) -> None:
        """Let nobody else in and wait for those within; an interrupt waits as well."""
        interrupt: BaseException | None = None
        while True:
            try:
                with self.changed:
                    self.stopped = True
                    while self.active:
                        self.changed.wait()
                break
            except BaseException as error:
                interrupt = error
        if interrupt is not None:
            raise interrupt


class _Pool:
    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.queue: SimpleQueue[_Job] = SimpleQueue()
        self.size = 0

    def ask(self, job: _Job, helpers: int) -> None:
        with self.lock:
            try:
                while self.size < helpers:
                    threading.Thread(
                        target=_serve, args=(self.queue,), name="npool", daemon=True
                    ).start()
                    self.size += 1
            except RuntimeError:  # no more threads, or the interpreter is shutting down
                helpers = self.size
        for _ in range(helpers):
            self.queue.put(job)


def _serve(queue: SimpleQueue[_Job]) -> None:
    while True:
        queue.get().help()


_pool = _Pool()


def _forked() -> None:
    global _pool
    _pool = _Pool()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)
    # A fork while another thread compiles would leave the child a lock that nobody releases.
    os.register_at_fork(
        before=global_compiler_lock.acquire,
        after_in_parent=global_compiler_lock.release,
        after_in_child=global_compiler_lock.release,
    )


def run(work: Work, tasks: int, chunk: int, threads: int) -> None:
    """Call ``work(first, last)`` for chunks that cover ``range(tasks)``.

    All chunks have ended when this returns or raises; the first exception is the one raised.
    """
    if threads == 1 or tasks <= chunk:
        for first in range(0, tasks, chunk):
            work(first, min(first + chunk, tasks))
        return
    job = _Job(work, tasks, chunk)
    try:
        _pool.ask(job, min(threads, -(-tasks // chunk)) - 1)
        job.take_chunks()
    except BaseException:
        job.stopped = True
        raise
    finally:
        job.finish()
    if job.error is not None:
        raise job.error
