"""A site that is edited while it is read: noticed, judged as a whole, then applied, or refused and told.

Looked at every 2 s. What was edited is taken when it did not change between two looks (an editor may be in the middle
of it), or at once on SIGHUP. A file in which anything is wrong changes nothing.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import NamedTuple

from collectors.acquire_setup import Setup, read_setup
from collectors.examining import examine_whole
from collectors.recording import Recording
from collectors.site_changes import Changes, changes, kept_until_restart
from collectors.site_files import Content, SiteFiles
from gateway.alarm import CONFIG, Alarm, set_alarm
from gateway.clocks import Clock
from gateway.errors import GatewayError

REFUSED = "config_refused"
POLL_S = 2
MOST_REASONS, LONGEST_REASON = 50, 1000  # that the journal keeps of one refusal
log = logging.getLogger("emg.acquire")

Apply = Callable[[Setup, Mapping[str, object]], Awaitable[None]]


class Sound(NamedTuple):
    """What was read from files in which nothing is wrong, and how it differs from what is in force."""

    setup: Setup
    changes: Changes


class Reloading:
    """The files of a running site. `at_once` makes it look now, and take what it finds."""

    def __init__(self, setup: Setup, clock: Clock, at_once: asyncio.Event) -> None:
        self._setup = setup
        self._clock = clock
        self._at_once = at_once
        self._files = SiteFiles(setup.site.file)
        self._applied = self._judged = self._files.content()

    async def keep_looking(self, recording: Recording, apply: Apply) -> None:
        """Look for ever; a sound change is handed to `apply` with what the journal is to say. Raises JournalError."""
        if self._judged == self._applied:
            self._tell(None)
        seen: Content | None = None
        while True:
            at_once = await self._pause()
            content = await asyncio.to_thread(self._files.content)
            if content != self._judged and (at_once or content == seen):
                await self._judge(content, recording, apply)
            elif at_once:
                log.info("%s: nothing has changed since it was judged last", self._setup.site.file)
            seen = content

    async def _pause(self) -> bool:
        """Wait for the next look; True when somebody asked for it."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._at_once.wait(), POLL_S)
        asked = self._at_once.is_set()
        self._at_once.clear()
        return asked

    async def _judge(self, content: Content, recording: Recording, apply: Apply) -> None:
        if content == self._applied:
            log.info("%s is again what it was when it was applied", self._setup.site.file)
        else:
            found = await asyncio.to_thread(self._examined)
            if await asyncio.to_thread(self._files.content, afresh=True) != content:
                return  # edited once more: what was judged is not what lies there now
            if isinstance(found, Sound):
                await self._accept(content, found, apply)
            else:
                await self._refuse(content, recording, found)
                return
        self._judged = content
        self._tell(None)

    def _examined(self) -> Sound | list[str]:
        """What the files say, or all that is wrong with them, in sentences."""
        file = self._setup.site.file
        try:
            found = examine_whole(file)
            if found.site is None or not found.ok:
                return [problem.sentence() for problem in found.problems]
            if kept := kept_until_restart(self._setup.site, found.site):
                return [problem.sentence() for problem in kept]
            setup = read_setup(found.site)
            return Sound(setup, changes(self._setup, setup))
        except GatewayError as error:
            return str(error).splitlines()
        except Exception as error:  # whatever a file does to its reader, the acquiring goes on
            log.exception("%s cannot be examined", file)
            return [f"{file}: it cannot be examined: {error!r}"]

    async def _accept(self, content: Content, sound: Sound, apply: Apply) -> None:
        setup, found = sound
        told = {"lines": dict(found.lines), "others": list(found.others)}
        await apply(setup, {"old": dict(self._setup.rules), "new": dict(setup.rules), **told})
        self._setup, self._applied = setup, content
        said = "; ".join(found.sentences()) or "no setting differs"
        log.info("%s is applied: %s", setup.site.file, said)

    async def _refuse(self, content: Content, recording: Recording, wrong: list[str]) -> None:
        files = {path: content.get(path, "") for path in {**self._applied, **content}}
        differ = {path: digest for path, digest in files.items() if digest != self._applied.get(path, "")}
        reasons = [_plain(reason)[:LONGEST_REASON] for reason in wrong[:MOST_REASONS]]
        told = {_plain(path): digest for path, digest in differ.items()}
        await recording.event(REFUSED, files=told, reasons=reasons, mistakes=len(wrong))
        self._judged = content
        self._tell("\n".join(reasons))
        log.error("%s is not applied, and all goes on as before: %s", self._setup.site.file, "\n".join(wrong))

    def _tell(self, why: str | None) -> None:
        """Say to whoever watches why the files are not applied; None: they are."""
        alarm = None if why is None else Alarm(self._clock.now(), why)
        set_alarm(self._setup.site.data_dir, alarm, CONFIG)


def _plain(text: str) -> str:
    """Text that the journal can keep: the name of a file need not be Unicode."""
    return text.encode("utf-8", "backslashreplace").decode()
