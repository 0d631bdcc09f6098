"""The form of a site file's tables that say where readings are kept and copied to, and who witnesses the journal."""

import ipaddress
from collections.abc import Mapping
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, StrictBool, StrictInt, StrictStr
from pydantic_core import PydanticCustomError

from gateway.domain.readings import is_identifier
from gateway.toml_form import Form, Number


def identifier(text: str) -> str:
    """`text` if it may name a thing of the site. Raises ValueError."""
    if not is_identifier(text):
        raise ValueError("1 to 64 letters, digits, '.', '_' or '-', beginning with a letter or digit")
    return text


def is_loopback(host: str) -> bool:
    """True if `host` is this machine itself."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _server_url(text: str) -> str:
    try:
        parts = urlsplit(text)
        port_fits = parts.port is None or parts.port > 0
    except ValueError:
        port_fits = False
    if not port_fits or parts.scheme not in {"http", "https"} or not parts.hostname or parts.query or parts.fragment:
        raise PydanticCustomError("url", "an address like http://127.0.0.1:8086 or https://influx.example.org")
    if parts.username or parts.password:
        mend = "Secrets come from the environment, never from a file."
        raise PydanticCustomError("url", "an address without user name and password", {"mend": mend})
    return text.rstrip("/")


def _witness_url(text: str) -> str:
    _server_url(text)
    parts = urlsplit(text)
    if parts.scheme != "https" and not is_loopback(parts.hostname or ""):
        raise PydanticCustomError("url", "an https address (http only for this machine itself)")
    return text


Id = Annotated[StrictStr, AfterValidator(identifier)]
Text = Annotated[StrictStr, Field(min_length=1)]
Port = Annotated[StrictInt, Field(ge=1, le=65535)]
ServerUrl = Annotated[StrictStr, AfterValidator(_server_url)]
WitnessUrl = Annotated[StrictStr, AfterValidator(_witness_url)]
# What names a database on all versions: it is pasted into `CREATE DATABASE`, which takes no bound value.
Database = Annotated[
    StrictStr, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$", description="database (1, 3) or bucket (2)")
]
Months = Annotated[StrictInt, Field(ge=0, le=1200)]


def _two_years(months: int) -> int:
    if 0 < months < 24:
        mend = "Evidence of energy use is asked for years later; 0 keeps it for ever."
        raise PydanticCustomError("months", "0 or at least 24", {"mend": mend})
    return months


class EmbeddedStoreForm(Form):
    """Readings in one SQLite file of the data folder."""

    kind: Literal["embedded"] = Field(default="embedded", description="kind of reading store")
    keep_months: Months = Field(default=0, description="readings older than that leave the store; 0 = all stay")


class InfluxServerForm(Form):
    """A server that takes line protocol; its token comes from the environment."""

    url: ServerUrl = Field(description="address of the server, e.g. http://127.0.0.1:8086")
    database: Database
    version: Literal["1", "2", "3"] = Field(description="first number of the server's version")
    org: StrictStr = Field(default="", description="organisation (version 2)")
    username: StrictStr = Field(default="", description="user name (version 1 with users)")
    gzip: StrictBool = Field(default=False, description="compress what is written; pays over slow links")
    timeout_s: Number = Field(
        default=10, gt=0, le=300, validate_default=True, description="seconds that an answer may take"
    )
    keep_days: StrictInt = Field(default=0, ge=0, description="retention that `emg db init` sets; 0 = for ever")


class InfluxStoreForm(InfluxServerForm):
    """Readings in InfluxDB. The token or password is EMG_STORE_TOKEN."""

    kind: Literal["influxdb"] = Field(description="kind of reading store")


class InfluxSinkForm(InfluxServerForm):
    """A copy of every reading for an InfluxDB. The token or password is EMG_SINK_<ID>_TOKEN."""

    id: Id = Field(description="short name of the sink")
    kind: Literal["influxdb"]
    enterprises: list[StrictStr] = Field(default_factory=list, description="ids of enterprises; none = all")


class VictoriaMetricsSinkForm(Form):
    """A copy of every reading for a VictoriaMetrics."""

    id: Id = Field(description="short name of the sink")
    kind: Literal["victoriametrics"]
    enterprises: list[StrictStr] = Field(default_factory=list, description="ids of enterprises; none = all")
    url: ServerUrl = Field(description="address of the server, e.g. http://127.0.0.1:8428")
    database: Database = Field(default="emg", description="value of the label db", validate_default=True)
    username: StrictStr = Field(default="", description="user name, where a proxy asks for one")
    gzip: StrictBool = Field(default=False, description="compress what is written; pays over slow links")
    timeout_s: Number = Field(
        default=10, gt=0, le=300, validate_default=True, description="seconds that an answer may take"
    )
    ack_lag_s: StrictInt = Field(
        default=30, ge=0, le=3600, description="how long it may lose what it acknowledged; the cursor waits for that"
    )


class BrokerForm(Form):
    """An MQTT broker that is published to."""

    host: Text = Field(description="host name or address of the broker")
    port: Port = Field(default=1883, description="TCP port, 1 to 65535")
    version: Literal["5", "3.1.1"] = Field(default="5", description="version of MQTT")
    client_id: StrictStr = Field(default="", description="name of the session; gateway and sink if empty")
    username: StrictStr = Field(default="", description="user name at the broker")
    tls_ca: StrictStr = Field(default="", description="file of the certificate authority; empty = no TLS")


# A topic that is published to: levels of plain characters, no wildcard, nothing empty.
Topic = Annotated[StrictStr, Field(pattern=r"^[A-Za-z0-9_.-]+(/[A-Za-z0-9_.-]+)*$")]


class MqttSinkForm(BrokerForm):
    """Every reading republished to a broker. The password is EMG_SINK_<ID>_PASSWORD."""

    id: Id = Field(description="short name of the sink")
    kind: Literal["mqtt"]
    enterprises: list[StrictStr] = Field(default_factory=list, description="ids of enterprises; none = all")
    topic: Topic = Field(default="emg/v1/out", description="topics begin with this")
    discovery: Topic | Literal[""] = Field(
        default="", description='prefix of Home Assistant\'s discovery, usually "homeassistant"; empty = none'
    )


class FilesSinkForm(Form):
    """Every reading in files, one per enterprise and day."""

    id: Id = Field(description="short name of the sink")
    kind: Literal["files"]
    enterprises: list[StrictStr] = Field(default_factory=list, description="ids of enterprises; none = all")
    folder: Text = Field(description="the folder, relative to this file")
    format: Literal["csv", "line-protocol"] = Field(default="csv", description="csv or line-protocol")


class HttpsWitnessForm(Form):
    """Checkpoints are posted to an address. A bearer token is EMG_WITNESS_TOKEN."""

    kind: Literal["https"]
    url: WitnessUrl = Field(description="the address that takes them")


class MqttWitnessForm(BrokerForm):
    """Checkpoints are published to a broker, retained. The password is EMG_WITNESS_PASSWORD."""

    kind: Literal["mqtt"]
    topic: Topic = Field(default="emg/v1/checkpoints", description="they go to <topic>/<gateway>")


class JournalForm(Form):
    """How evidence is kept."""

    checkpoint_every_s: StrictInt = Field(default=60, ge=1, le=3600, description="seconds between signed checkpoints")
    keep_evidence_months: Annotated[Months, AfterValidator(_two_years)] = Field(
        default=0, description="0 = for ever, otherwise at least 24"
    )
    keep_telemetry_months: Months = Field(default=0, description="payloads of telemetry registers; 0 = as evidence")


StoreForm = EmbeddedStoreForm | InfluxStoreForm
SinkForm = InfluxSinkForm | VictoriaMetricsSinkForm | MqttSinkForm | FilesSinkForm
WitnessForm = HttpsWitnessForm | MqttWitnessForm
STORE_FORMS: Mapping[str, type[StoreForm]] = {"embedded": EmbeddedStoreForm, "influxdb": InfluxStoreForm}
SINK_FORMS: Mapping[str, type[SinkForm]] = {
    "influxdb": InfluxSinkForm,
    "victoriametrics": VictoriaMetricsSinkForm,
    "mqtt": MqttSinkForm,
    "files": FilesSinkForm,
}
WITNESS_FORMS: Mapping[str, type[WitnessForm]] = {"https": HttpsWitnessForm, "mqtt": MqttWitnessForm}
