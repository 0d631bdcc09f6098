"""What runs side by side while the program acquires, and what of it a change must end and start anew."""

import asyncio
from collections.abc import Callable, Coroutine, Iterable
from typing import NamedTuple


class Part(NamedTuple):
    """One thing that runs for ever. `made_of`: what it was started with; while that is equal it goes on."""

    name: str
    made_of: object
    start: Callable[[], Coroutine[object, object, None]]
    line: str = ""  # the line that it reads, if it is one


class Parts:
    """The parts that run, by name, as tasks of one group: an error of one ends all."""

    def __init__(self, tasks: asyncio.TaskGroup) -> None:
        self._tasks = tasks
        self._running: dict[str, tuple[Part, asyncio.Task[None]]] = {}

    def touched(self, wanted: Iterable[Part]) -> list[Part]:
        """Those that run and must not go on as they are, once these are wanted."""
        kept = {part.name: part.made_of for part in wanted}
        return [part for name, (part, _) in self._running.items() if name not in kept or kept[name] != part.made_of]

    async def stop(self, parts: Iterable[Part]) -> None:
        """End these; returns when all they hold is put away. What goes wrong meanwhile ends the group."""
        stopped = [self._running.pop(part.name)[1] for part in parts]
        for task in stopped:
            task.cancel()
        if stopped:
            await asyncio.wait(stopped)

    def start(self, parts: Iterable[Part]) -> None:
        """Start those of these that do not run yet."""
        for part in parts:
            if part.name not in self._running:
                self._running[part.name] = part, self._tasks.create_task(part.start(), name=part.name)

    def cancel(self) -> None:
        """Tell all of them to end; their group waits for it."""
        for _, task in self._running.values():
            task.cancel()
