"""Progress of a training run on stderr: one bar that tells what is being done."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def bars() -> Iterator[Callable[[str, int, int], None]]:
    """Yield ``progress(what, done, total)``; the bar begins anew when the total is another."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn(),
    )  # fmt: skip
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=None)
        known = 0

        def show(what: str, done: int, total: int) -> None:
            nonlocal known
            if total != known:
                bar.reset(task, total=total)
                known = total
            bar.update(task, description=what, completed=done)

        yield show
