"""What a person sees while a plan is computed: a bar on a terminal, nothing when piped."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def bar_shown(description: str) -> Iterator[Callable[[int, int], None]]:
    """Yield what is to be told how many parts are done, of how many.

    Yields:
        The listener.
    """
    if not sys.stderr.isatty():
        yield lambda done, total: None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(description, total=None)

        def show(done: int, total: int) -> None:
            bar.update(task, completed=done, total=total)

        yield show
