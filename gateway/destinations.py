"""From the tables of a site file to the destinations of the domain, and the secrets that belong to them."""

import os
from pathlib import Path

from gateway.destination_form import (
    FilesSinkForm,
    InfluxServerForm,
    InfluxStoreForm,
    JournalForm,
    MqttSinkForm,
    MqttWitnessForm,
    SinkForm,
    StoreForm,
    VictoriaMetricsSinkForm,
    WitnessForm,
)
from gateway.domain.destinations import (
    BrokerAddress,
    InfluxServer,
    JournalSettings,
    SinkKind,
    SinkSettings,
    StoreKind,
    StoreSettings,
    WitnessKind,
    WitnessSettings,
)
from gateway.errors import ConfigError, Problem

_BROKER = {"host", "port", "version", "username"}
_SERVER = set(InfluxServerForm.model_fields)


def store_settings(form: StoreForm) -> StoreSettings:
    """The reading store."""
    if isinstance(form, InfluxStoreForm):
        return StoreSettings(kind=StoreKind.INFLUXDB, influx=InfluxServer(**form.model_dump(include=_SERVER)))
    return StoreSettings(keep_months=form.keep_months)


def sink_settings(form: SinkForm, gateway_id: str, folder: Path) -> SinkSettings:
    """One sink; relative paths are taken from `folder`."""
    kind, enterprises = SinkKind(form.kind), tuple(form.enterprises)
    if isinstance(form, FilesSinkForm):
        return SinkSettings(
            id=form.id, kind=kind, enterprises=enterprises, folder=folder / form.folder, format=form.format
        )
    if isinstance(form, MqttSinkForm):
        broker = _broker(form, f"{gateway_id}-{form.id}", folder)
        return SinkSettings(
            id=form.id, kind=kind, enterprises=enterprises, broker=broker, topic=form.topic, discovery=form.discovery
        )
    server = InfluxServer(**form.model_dump(include=_SERVER))
    lag_s = form.ack_lag_s if isinstance(form, VictoriaMetricsSinkForm) else 0
    return SinkSettings(id=form.id, kind=kind, enterprises=enterprises, influx=server, ack_lag_s=lag_s)


def journal_settings(form: JournalForm, witness: WitnessForm | None, gateway_id: str, folder: Path) -> JournalSettings:
    """How the journal is kept and who witnesses it."""
    return JournalSettings(**form.model_dump(), witness=_witness(witness, gateway_id, folder))


def _witness(form: WitnessForm | None, gateway_id: str, folder: Path) -> WitnessSettings | None:
    if form is None:
        return None
    if isinstance(form, MqttWitnessForm):
        broker = _broker(form, f"{gateway_id}-witness", folder)
        return WitnessSettings(kind=WitnessKind.MQTT, broker=broker, topic=form.topic)
    return WitnessSettings(kind=WitnessKind.HTTPS, url=form.url)


def _broker(form: MqttSinkForm | MqttWitnessForm, client_id: str, folder: Path) -> BrokerAddress:
    return BrokerAddress(
        **form.model_dump(include=_BROKER),
        client_id=form.client_id or client_id,
        tls_ca=str(folder / form.tls_ca) if form.tls_ca else "",
    )


def secret(name: str) -> str:
    """The secret of this name: the environment variable, or the file of this name in $EMG_SECRETS_DIR; "" if none.

    Raises ConfigError when the file is there and cannot be read.
    """
    if (given := os.environ.get(name)) is not None:
        return given
    folder = os.environ.get("EMG_SECRETS_DIR")
    if not folder or not (path := Path(folder) / name).is_file():
        return ""
    try:
        return path.read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        why = "bytes that are no UTF-8" if isinstance(error, UnicodeDecodeError) else f"{error.strerror}"
        problem = Problem(file=str(path), line=None, key=name, found=why, expected="a secret as one line of text")
        raise ConfigError([problem]) from error


def secret_of_sink(sink_id: str, what: str) -> str:
    """The secret EMG_SINK_<ID>_<WHAT> of a sink, its id in capitals and with '_' for '-' and '.'."""
    word = sink_id.upper().replace("-", "_").replace(".", "_")
    return secret(f"EMG_SINK_{word}_{what}")
