"""The counts of the acquiring process as text: Prometheus's exposition format, and one JSON object a line.

Source: Prometheus, Exposition formats, text format 0.0.4. Ids of lines and meters need no escaping: the site file
takes letters, digits, '.', '_' and '-'.
"""

import json
from collections.abc import Iterable, Iterator
from itertools import accumulate

from collectors.line_counts import AcquireCounts, DeviceCounts, Histogram, LineCounts
from gateway.acquire_socket import RUNNING
from gateway.clock_state import ClockState
from gateway.domain.readings import MICROSECONDS

_Samples = Iterable[tuple[str, float]]  # (what follows the name, value)


def metrics_text(counts: AcquireCounts, clock: ClockState, *, trusted: bool, now: int) -> Iterator[str]:
    """All of it, in pieces of one metric and line, so that whoever sends it can let others run in between."""
    yield RUNNING
    start = counts.since / MICROSECONDS
    yield from _gauge("emg_acquire_start_time_seconds", "Since when is counted", [("", start)])
    states = [
        (f'{{state="{name}"}}', int(clock.state == name)) for name in ("synchronised", "unsynchronised", "unknown")
    ]
    yield from _gauge("emg_clock_state", "How the clock of the machine is kept", states)
    if clock.error_us is not None:
        error = [("", clock.error_us / MICROSECONDS)]
        yield from _gauge("emg_clock_max_error_seconds", "Greatest error of the clock by the kernel's estimate", error)
    yield from _gauge("emg_clock_trusted", "0 after the clock was set by more than an hour", [("", int(trusted))])
    help_ = "Lists of polled readings that wait for the journal"
    yield from _gauge("emg_journal_waiting_lists", help_, [("", counts.waiting)])
    yield _head("emg_journal_commit_seconds", "histogram", "From handing readings over until they are durable")
    yield _histogram("emg_journal_commit_seconds", "", counts.commit)
    lines = list(counts.lines.items())
    yield from _line_metrics(lines)
    devices = [
        (f'line="{line}",meter="{meter}"', device) for line, one in lines for meter, device in one.devices.items()
    ]
    yield from _device_metrics(devices, now)


def _line_metrics(lines: list[tuple[str, LineCounts]]) -> Iterator[str]:
    for name, help_, number in (
        ("readings", "Readings made durable", "readings"),
        ("connect_failures", "Attempts that led to no connection", "not_connected"),
        ("late_answers", "Answers after their question was given up, dropped", "late"),
        ("rejected_messages", "Messages that could not be booked", "rejected"),
        ("failures", "Times that the line failed as a whole and was started again", "failed"),
    ):
        samples = [(f'{{line="{line}"}}', getattr(one, number)) for line, one in lines]
        yield from _metric(f"emg_line_{name}_total", "counter", help_, samples)
    newest = [(f'{{line="{line}"}}', one.durable / MICROSECONDS) for line, one in lines if one.durable]
    yield from _gauge("emg_line_newest_reading_timestamp_seconds", "Instant of the newest durable value", newest)
    polled = [(f'line="{line}"', one) for line, one in lines if one.devices]
    for name, help_, histogram in (
        ("round_trip", "From question to answer", "round_trip"),
        ("sampling_offset", "How far samples lie from slot and phase", "jitter"),
    ):
        yield _head(f"emg_line_{name}_seconds", "histogram", help_)
        for labels, one in polled:
            yield _histogram(f"emg_line_{name}_seconds", labels, getattr(one, histogram))


def _device_metrics(devices: list[tuple[str, DeviceCounts]], now: int) -> Iterator[str]:
    polls = [
        (f'{{{labels},result="{result}"}}', number)
        for labels, one in devices
        for result, number in (
            ("answered", one.answered),
            ("silent", one.silent),
            ("garbled", one.garbled),
            ("refused", one.refused.total()),
        )
    ]
    yield from _metric("emg_device_polls_total", "counter", "Questions by what came of them", polls)
    refused = [
        (f'{{{labels},code="{code}"}}', number)
        for labels, one in devices
        for code, number in sorted(one.refused.items())
    ]
    yield from _metric("emg_device_exceptions_total", "counter", "Exceptions of the device by code", refused)
    slots = [
        (f'{{{labels},outcome="{outcome}"}}', number)
        for labels, one in devices
        for outcome, number in (
            ("on_time", one.on_time),
            ("late", one.read - one.on_time),
            ("empty", one.empty),
            ("passed_over", one.passed),
        )
    ]
    help_ = "Slots: sampled within 1 % of the period, sampled later, without a value, passed over"
    yield from _metric("emg_device_slots_total", "counter", help_, slots)
    failures = [(f"{{{labels}}}", one.patience.failures) for labels, one in devices]
    yield from _gauge("emg_device_failures_in_a_row", "Turns in a row without a usable answer", failures)
    waits = [(f"{{{labels}}}", backoff_s(one, now)) for labels, one in devices]
    yield from _gauge("emg_device_backoff_seconds", "How much longer the device is left alone", waits)
    newest = [(f"{{{labels}}}", one.durable / MICROSECONDS) for labels, one in devices if one.durable]
    yield from _gauge("emg_device_newest_reading_timestamp_seconds", "Instant of the newest durable value", newest)


def backoff_s(device: DeviceCounts, now: int) -> float:
    """How much longer a device is left alone after `now` [us, UTC], in seconds."""
    return max(0, device.patience.not_before - now) / MICROSECONDS if device.patience.failures else 0.0


def _gauge(name: str, help_: str, samples: _Samples) -> Iterator[str]:
    return _metric(name, "gauge", help_, samples)


def _metric(name: str, kind: str, help_: str, samples: _Samples) -> Iterator[str]:
    yield _head(name, kind, help_)
    for labels, value in samples:
        yield f"{name}{labels} {value}\n"


def _head(name: str, kind: str, help_: str) -> str:
    return f"# HELP {name} {help_}.\n# TYPE {name} {kind}\n"


def _histogram(name: str, labels: str, histogram: Histogram) -> str:
    """All samples of one histogram, its bounds [us] in seconds."""
    before, own = (f"{labels},", f"{{{labels}}}") if labels else ("", "")
    bounds = [*(str(bound / MICROSECONDS) for bound in histogram.bounds), "+Inf"]
    sums = list(accumulate(histogram.counts))
    buckets = [f'{name}_bucket{{{before}le="{bound}"}} {number}\n' for bound, number in zip(bounds, sums, strict=True)]
    return "".join(buckets) + f"{name}_sum{own} {histogram.total / MICROSECONDS}\n{name}_count{own} {sums[-1]}\n"


def counts_lines(counts: AcquireCounts, clock: ClockState, *, trusted: bool, now: int) -> Iterator[str]:
    """One JSON object for the process, then one for each line with its devices; times in seconds."""
    told = {
        "since": counts.since,
        "clock": clock.state,
        "clock_error_us": clock.error_us,
        "clock_trusted": trusted,
        "waiting_lists": counts.waiting,
        "commit": _told(counts.commit),
    }
    yield json.dumps(told) + "\n"
    for line, one in list(counts.lines.items()):
        yield json.dumps({"line": line, **_line(one, now)}) + "\n"


def _line(one: LineCounts, now: int) -> dict[str, object]:
    return {
        "readings": one.readings,
        "not_connected": one.not_connected,
        "late_answers": one.late,
        "rejected": one.rejected,
        "failed": one.failed,
        "newest_age_s": _age_s(one.durable, now),
        "round_trip": _told(one.round_trip),
        "sampling_offset": _told(one.jitter),
        "devices": {meter: _device(device, now) for meter, device in one.devices.items()},
    }


def _device(one: DeviceCounts, now: int) -> dict[str, object]:
    return {
        "polls": one.polls,
        "answered": one.answered,
        "silent": one.silent,
        "garbled": one.garbled,
        "refused": {str(code): number for code, number in sorted(one.refused.items())},
        "slots_on_time": one.on_time,
        "slots_late": one.read - one.on_time,
        "slots_empty": one.empty,
        "slots_passed_over": one.passed,
        "failures_in_a_row": one.patience.failures,
        "backoff_s": backoff_s(one, now),
        "newest_age_s": _age_s(one.durable, now),
    }


def _age_s(instant: int, now: int) -> float | None:
    return (now - instant) / MICROSECONDS if instant else None


def _told(histogram: Histogram) -> dict[str, object]:
    """Counts per bucket, the last beyond the last bound, in microseconds."""
    return {"bounds_us": histogram.bounds, "counts": histogram.counts, "sum_us": histogram.total}
