"""A progress bar on a terminal, and nothing where output is piped."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from mipin_ref.options import checked_flag
from mipin_ref.text import printable

Advance = Callable[[int], None]


@contextmanager
def progress_bar(enabled: bool) -> Iterator[Callable[[str, int], Advance]]:
    """Yields start(text, total), which begins a bar and returns the function that advances it."""
    checked_flag("progress", enabled)
    if enabled:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        console = Console(stderr=True)
        if console.is_terminal:
            columns = (
                TextColumn("{task.description}", markup=False),
                BarColumn(),
                MofNCompleteColumn(),
                TimeRemainingColumn(),
            )
            with Progress(*columns, console=console) as bar:

                def start(text: str, total: int) -> Advance:
                    task = bar.add_task(printable(text), total=total)
                    return lambda n: bar.advance(task, n)

                yield start
            return
    yield lambda text, total: lambda n: None
