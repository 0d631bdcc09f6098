"""What in a site file would make sinks work against the lines, or against one another."""

from collections.abc import Iterator
from functools import partial
from posixpath import normpath

from gateway.destination_form import FilesSinkForm, MqttSinkForm, is_loopback
from gateway.domain.quantities import QUANTITIES
from gateway.errors import Problem
from gateway.line_form import FilesForm, MqttForm
from gateway.site_draft import SiteDraft
from gateway.toml_form import shown
from gateway.toml_lines import Place

ANY = "+"  # a level of a topic that may be anything: an enterprise, a point


def sink_contradictions(draft: SiteDraft) -> Iterator[Problem]:
    """Topics that would come back to us, sessions and folders that two would use."""
    gateway_id = draft.site.gateway_id if draft.site else ""
    lines = [line for line in draft.ways.values() if isinstance(line, MqttForm)]
    sessions = {(_broker(line), line.client_id or f"{gateway_id}-{line.id}"): f"line {line.id!r}" for line in lines}
    folders = {
        normpath(line.folder): f"line {line.id!r} takes files"
        for line in draft.ways.values()
        if isinstance(line, FilesForm)
    }
    for place, sink in draft.sinks.items():
        if isinstance(sink, MqttSinkForm):
            for line in lines:
                yield from _loop(draft, place, sink, line)
            session = (_broker(sink), sink.client_id or f"{gateway_id}-{sink.id}")
            other = sessions.setdefault(session, f"sink {sink.id!r}")
            if other != f"sink {sink.id!r}":
                yield draft.lines.problem(
                    (*place, "client_id"),
                    f"{shown(session[1])}, which {other} has at the same broker",
                    "a session of its own",
                    "Each would throw the other out; give one of them another client_id.",
                )
        elif isinstance(sink, FilesSinkForm):
            other = folders.setdefault(normpath(sink.folder), f"sink {sink.id!r} writes")
            if other != f"sink {sink.id!r} writes":
                yield draft.lines.problem(
                    (*place, "folder"), f"{shown(sink.folder)}, where {other}", "a folder of its own"
                )


def _loop(draft: SiteDraft, place: Place, sink: MqttSinkForm, line: MqttForm) -> Iterator[Problem]:
    if _broker(sink) != _broker(line):
        return
    levels = [*sink.topic.split("/"), ANY, ANY]
    topics = [[*levels, quantity] for quantity in QUANTITIES]
    if sink.discovery:
        topics.append([*sink.discovery.split("/"), "sensor", ANY, ANY, "config"])
    heard = [
        topic_filter
        for topic_filter in draft.heard.get(line.id, ())
        if any(map(partial(filter_meets, topic_filter), topics))
    ]
    if heard:
        yield draft.lines.problem(
            (*place, "topic"),
            f"{shown(sink.topic)}, which line {line.id!r} subscribes with {heard[0]!r} at the same broker",
            "topics that no line of this site hears",
            "What is published would come back as a reading.",
        )


def filter_meets(topic_filter: str, topic: list[str]) -> bool:
    """True if a subscription can hear a topic, some of whose levels may be ANY.

    Source: MQTT Version 5.0, OASIS Standard - §4.7 Topic Names and Topic Filters, §4.8.2 Shared Subscriptions
    """
    levels = topic_filter.split("/")
    if levels[0] == "$share":
        levels = levels[2:]
    for number, level in enumerate(levels):
        if level == "#":
            return True
        if number >= len(topic) or (level not in {ANY, topic[number]} and topic[number] != ANY):
            return False
    return len(levels) == len(topic)


def _broker(form: MqttSinkForm | MqttForm) -> tuple[str, int]:
    host = form.host.lower()
    return ("localhost" if is_loopback(host) else host), (
        form.port if isinstance(form, MqttSinkForm) else form.broker_port
    )
