"""Sending probes: a token from inside the source's namespace, by one connection, until an answer or the end of its patience."""

from __future__ import annotations

import asyncio
import math
import secrets
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from lace_sdn.lab import frames
from lace_sdn.lab.conversations import BY_PROTOCOL, Conversation, Sources
from lace_sdn.lab.probes import Observation

if TYPE_CHECKING:
    from collections.abc import Coroutine, Mapping

    from lace_sdn.lab.probes import Probe
    from lace_sdn.lab.residents import Arrivals

AT_ONCE = 400
"""Probes in flight at a time: the switches share the machine's cores with the probes."""
_COMPANIES_AT_ONCE = 8
_TICK = 0.25
"""Seconds. Patience is counted in ticks that this process has had: a busy machine makes it longer."""
_LATE = 0.05
"""Seconds after the last answer in which an arrival elsewhere is still noticed, at least."""


@dataclass
class _Sent:
    """A probe on its way, the signs of its packets, and who answered. ``seconds``: until its first answer."""

    probe: Probe
    signs: list[bytes | int] = field(default_factory=list)
    answers: list[str] = field(default_factory=list)
    seconds: float = 0.0
    refused: bool = False
    lost: bool = False


class Sender:
    """Sends from the places of a lab; ``namespaces`` are theirs, by name."""

    def __init__(self, namespaces: Mapping[str, str], arrivals: Arrivals) -> None:
        self._namespaces = namespaces
        self._arrivals = arrivals
        self._sources = Sources()

    async def send_all(self, probes: list[Probe]) -> list[Observation]:
        """All probes. Those of one place and protocol with one source port are a company: they are connected at the same time.

        Arrivals count until the last of them is over. Raises KeyError for a source that is not in the lab, OSError for a
        source port that somebody there has.
        """
        for probe in probes:
            self._namespaces[probe.source]
        every = [_Sent(probe) for probe in probes]
        companies: dict[object, list[_Sent]] = defaultdict(list)
        for sent in every:
            its = sent.probe
            companies[(its.source, its.protocol, its.source_port) if its.source_port else id(sent)].append(
                sent
            )
        alone, together = asyncio.Semaphore(AT_ONCE), asyncio.Semaphore(_COMPANIES_AT_ONCE)
        try:
            async with asyncio.TaskGroup() as group:
                for company in companies.values():
                    is_alone = not company[0].probe.source_port
                    group.create_task(self._send(company, alone if is_alone else together))
            await asyncio.sleep(max([_LATE, *(sent.seconds for sent in every)]))
        except* OSError as problems:
            raise _first(problems) from None
        finally:
            seen = [self._seen(sent) for sent in every]
        return [_observation(*each) for each in zip(every, seen, strict=True)]

    async def _send(self, company: list[_Sent], free: asyncio.Semaphore) -> None:
        everybody = asyncio.Barrier(len(company))
        async with free, asyncio.TaskGroup() as group:
            for sent in company:
                group.create_task(self._converse(sent, everybody))

    async def _converse(self, sent: _Sent, everybody: asyncio.Barrier) -> None:
        probe = sent.probe
        kind = BY_PROTOCOL[probe.protocol]
        with kind(probe, self._namespaces[probe.source], self._arrivals, self._sources) as conversation:
            sent.signs = conversation.signs
            await self._ask(sent, conversation)
            await everybody.wait()
            if probe.source_port and sent.answers:
                answered = len(sent.answers)
                await self._ask(sent, conversation)
                sent.lost = len(sent.answers) == answered
            await everybody.wait()

    async def _ask(self, sent: _Sent, conversation: Conversation) -> None:
        token = frames.MAGIC + secrets.token_hex(8).encode()
        began = asyncio.get_running_loop().time()
        try:
            answer = await _patiently(conversation.ask(token), sent.probe.patience)
        except ConnectionRefusedError:
            sent.refused = True
        else:
            sent.answers += [] if answer is None else [answer]
        sent.seconds = asyncio.get_running_loop().time() - began if sent.answers or sent.refused else 0.0

    def _seen(self, sent: _Sent) -> set[str]:
        return set[str]().union(*(self._arrivals.forget(sign) for sign in sent.signs))


def _observation(sent: _Sent, seen: set[str]) -> Observation:
    # An echo reply bears no name: it is the answer of whoever saw the request.
    answered = {name for answer in sent.answers for name in ([answer] if answer else seen)}
    return Observation(tuple(sorted(seen)), tuple(sorted(answered)), sent.refused, sent.lost)


def _first(problems: BaseExceptionGroup) -> BaseException:
    """Of those that several tasks ended with."""
    problem: BaseException = problems
    while isinstance(problem, BaseExceptionGroup):
        problem = problem.exceptions[0]
    return problem


async def _patiently(work: Coroutine[None, None, str], seconds: float) -> str | None:
    """What ``work`` returns, None if it does not within ``seconds``, counted in ticks."""
    task = asyncio.create_task(work)
    try:
        for _ in range(math.ceil(seconds / _TICK)):
            done, _ = await asyncio.wait({task}, timeout=min(_TICK, seconds))
            if done:
                return task.result()
        return None
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
