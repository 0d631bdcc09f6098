"""Sinks of a site file that would come back as readings, or work against one another, are refused with a sentence."""

import pytest

from gateway.config import load_site
from gateway.errors import ConfigError
from gateway.sink_checks import filter_meets

MQTT = """
[[sink]]
id = "{id}"
kind = "mqtt"
host = "{host}"
port = {port}
{more}
"""


def mqtt(name: str = "out", *, host: str = "localhost", port: int = 1, more: str = "") -> str:
    return MQTT.format(id=name, host=host, port=port, more=more)


def told(plant, extra: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        plant.site(extra)
    return [problem.sentence() for problem in caught.value.problems]


@pytest.mark.parametrize(
    ("topic_filter", "topic", "meets"),
    [
        ("#", "a/b/c", True),
        ("a/#", "a/b/c", True),
        ("a/b/c/#", "a/b/c", True),
        ("a/+/c", "a/b/c", True),
        ("a/+", "a/b/c", False),
        ("a/b/c/d", "a/b/c", False),
        ("+/+/reading", "a/b/c", False),
        ("a/x/volume", "a/+/volume", True),
        ("a/x/reading", "a/+/volume", False),
        ("$share/group/a/#", "a/b/c", True),
        ("$share/group/b/#", "a/b/c", False),
    ],
)
def test_a_filter_hears_a_topic(topic_filter, topic, meets):
    assert filter_meets(topic_filter, topic.split("/")) is meets


def test_topics_that_a_line_hears_are_refused_and_those_of_another_broker_are_not(plant):
    assert plant.site(mqtt()).sinks["out"].topic == "emg/v1/out"  # the default of the one is no default of the other
    listening = plant.folder / "site.toml"
    text = listening.read_text("utf-8").replace('kind = "mqtt"\nhost', 'kind = "mqtt"\ntopic = "emg/#"\nhost', 1)

    def problems(extra: str) -> list[str]:
        listening.write_text(text.split("[[sink]]")[0] + extra, "utf-8")
        try:
            load_site(listening)
        except ConfigError as error:
            return [problem.sentence() for problem in error.problems]
        return []

    [sentence] = problems(mqtt())
    assert "sink[1].topic" in sentence
    assert "line 'bus' subscribes with 'emg/#'" in sentence
    assert problems(mqtt(host="broker.example.org")) == []
    assert problems(mqtt(port=2)) == []
    assert problems(mqtt(more='topic = "other/place"')) == []
    [sentence] = problems(mqtt(more='topic = "other/place"\ndiscovery = "emg"'))
    assert "come back as a reading" in sentence


def test_two_that_would_throw_each_other_out_of_the_broker_are_refused(plant):
    [sentence] = told(plant, mqtt("bus"))
    assert "'gw-1-bus'" in sentence.replace('"', "'")
    assert "which line 'bus' has" in sentence
    [sentence] = told(plant, mqtt("a", more='client_id = "x"') + mqtt("b", more='client_id = "x"\ntopic = "o"'))
    assert "which sink 'a' has" in sentence


def test_two_sinks_do_not_share_a_folder(plant):
    files = '\n[[sink]]\nid = "{}"\nkind = "files"\nfolder = "{}"\n'
    [sentence] = told(plant, files.format("a", "out") + files.format("b", "./out/"))
    assert "where sink 'a' writes" in sentence
