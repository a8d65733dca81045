"""The thread pool: one a process, started when first needed, made anew in a forked child.

Work is a range of tasks of which every output belongs to one, so results never depend on the
number of threads. Chunks are short: Ctrl-C is seen between them, and no worker still writes
when a call returns or raises.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable
from queue import SimpleQueue

__all__ = ["run"]

Work = Callable[[int, int], None]

#: Seconds that a chunk should take: between the two it keeps its size.
SHORT, LONG = 0.004, 0.02


class _Job:
    def __init__(self, work: Work, tasks: int, chunk: int, threads: int) -> None:
        self.work, self.tasks, self.chunk = work, tasks, chunk
        self.share = max(1, tasks // (4 * threads))
        self.done = 0
        self.changed = threading.Condition()
        self.active = 0
        self.stopped = False
        self.error: BaseException | None = None

    def take_chunks(self) -> None:
        while not self.stopped:
            with self.changed:
                first, last = self.done, min(self.done + self.chunk, self.tasks)
                self.done = last
            if first == last:
                return
            began = time.perf_counter()
            self.work(first, last)
            took = time.perf_counter() - began
            # What a task takes is only guessed beforehand. Results do not depend on chunks.
            if took < SHORT:
                self.chunk = min(2 * self.chunk, self.share)
            elif took > LONG:
                self.chunk = max(1, self.chunk // 2)

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

    def wait(self) -> None:
        """Until all chunks have ended."""
        with self.changed:
            while self.active or (self.done < self.tasks and not self.stopped):
                self.changed.wait()

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

    def ask(self, job: _Job, helpers: int) -> int:
        """Have up to `helpers` workers take part; how many there are."""
        with self.lock:
            try:
                while self.size < helpers:
                    threading.Thread(
                        target=_serve, args=(self.queue,), name="npool", daemon=True
                    ).start()
                    self.size += 1
            except RuntimeError:  # no more threads, or the interpreter is shutting down
                helpers = min(helpers, self.size)
        for _ in range(helpers):
            self.queue.put(job)
        return helpers


def _serve(queue: SimpleQueue[_Job]) -> None:
    while True:
        queue.get().help()


_pool = _Pool()


def _forked() -> None:
    global _pool
    _pool = _Pool()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)


def run(
    work: Work, tasks: int, chunk: int, threads: int, stop: Callable[[], None] | None = None
) -> None:
    """Call ``work(first, last)`` for chunks that cover ``range(tasks)``.

    All chunks have ended when this returns or raises; the first exception is the one raised.
    With `stop`, which makes a running chunk end early, only workers compute: the caller waits,
    so that Ctrl-C reaches it even where a single task takes long.
    """
    job = _Job(work, tasks, chunk, threads)
    helpers = min(threads, -(-tasks // chunk)) - (0 if stop else 1)
    # Daemon threads no longer run while the interpreter shuts down.
    if helpers < 1 or sys.is_finalizing():
        job.take_chunks()
        return
    try:
        if _pool.ask(job, helpers) and stop:
            job.wait()
        else:
            job.take_chunks()
    except BaseException:
        if stop:
            stop()
        raise
    finally:
        job.finish()
    if job.error is not None:
        raise job.error
