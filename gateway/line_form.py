"""The form of the `[[line]]` tables of a site file, one class for each kind of line."""

from collections.abc import Mapping
from typing import Literal

from pydantic import Field, StrictBool, StrictInt, StrictStr

from gateway.destination_form import Id, Port, Text
from gateway.domain.sites import EMG
from gateway.toml_form import Form, Number


class PolledForm(Form):
    """What all lines have in common whose meters are asked on a grid."""

    id: Id = Field(description="short name of the line")
    period_s: Number = Field(
        default=60, ge=0.05, le=86400, validate_default=True, description="polling period in seconds"
    )
    phase_s: Number = Field(default=0, ge=0, validate_default=True, description="seconds after the start of a period")
    timeout_s: Number = Field(
        default=1, gt=0, le=60, validate_default=True, description="seconds that an answer may take"
    )


class ModbusTcpForm(PolledForm):
    """A line that polls meters over Modbus TCP."""

    kind: Literal["modbus-tcp"]
    host: Text = Field(description="host name or address of the meter or its converter")
    port: Port = Field(default=502, description="TCP port, 1 to 65535")
    max_words: StrictInt = Field(default=125, ge=1, le=125, description="longest block that its devices answer")
    pipeline: StrictInt = Field(default=1, ge=1, le=16, description="questions that may be on their way at a time")
    transaction_ids: Literal["echoed", "ignored"] = Field(
        default="echoed", description="ignored: for a converter that answers with transaction ids of its own"
    )


class ModbusTlsForm(ModbusTcpForm):
    """A line that polls meters over Modbus/TCP Security: TLS with certificates at both ends."""

    kind: Literal["modbus-tls"]  # type: ignore[assignment]  # the one key that differs in kind
    port: Port = Field(default=802, description="TCP port, 1 to 65535")
    tls_ca: Text = Field(description="file of the authority that signed the device's certificate")
    tls_cert: StrictStr = Field(default="", description="file of our own certificate, where the device asks for one")
    tls_key: StrictStr = Field(default="", description="file of its private key, readable by its owner alone")


Baud = Literal[300, 600, 1200, 2400, 4800, 9600, 19200, 38400, 57600, 115200]
Parity = Literal["even", "odd", "none"]


class ModbusRtuForm(PolledForm):
    """What all lines of Modbus RTU have in common."""

    max_words: StrictInt = Field(default=125, ge=1, le=125, description="longest block that its devices answer")
    baud: Baud = Field(default=9600, description="bits per second on the serial line")
    parity: Parity = Field(default="even", description="the parity bit on the serial line")
    stop_bits: Literal[1, 2] = Field(default=1, description="stop bits on the serial line")
    gap_s: Number = Field(
        default=0, ge=0, le=10, validate_default=True, description="silence before each question; 0: 3.5 characters"
    )
    echo: StrictBool = Field(default=False, description="true: the adapter hears what it sends itself")


class ModbusRtuTcpForm(ModbusRtuForm):
    """A line that polls Modbus RTU meters through a transparent serial server."""

    kind: Literal["modbus-rtu-tcp"]
    host: Text = Field(description="host name or address of the serial server")
    port: Port = Field(description="TCP port, 1 to 65535")


class ModbusRtuSerialForm(ModbusRtuForm):
    """A line that polls Modbus RTU meters through a serial port of this machine."""

    kind: Literal["modbus-rtu-serial"]
    serial_port: Text = Field(description='device file of the port, e.g. "/dev/ttyUSB0"')


class MeterTcpForm(PolledForm):
    """A line that polls such meters through a transparent serial server."""

    kind: Literal["dlt645-tcp", "cjt188-tcp"]
    host: Text = Field(description="host name or address of the serial server")
    port: Port = Field(description="TCP port, 1 to 65535")
    timeout_s: Number = Field(
        default=2, gt=0, le=60, validate_default=True, description="seconds that an answer may take"
    )


class MeterSerialForm(PolledForm):
    """A line that polls such meters through a serial port of this machine."""

    kind: Literal["dlt645-serial", "cjt188-serial"]
    serial_port: Text = Field(description='device file of the port, e.g. "/dev/ttyUSB0"')
    baud: Baud = Field(default=2400, description="bits per second")
    parity: Parity = Field(default="even", description="the parity bit")
    timeout_s: Number = Field(
        default=2, gt=0, le=60, validate_default=True, description="seconds that an answer may take"
    )


class MqttForm(Form):
    """A line that listens to an MQTT broker. Its password comes from the environment."""

    id: Id = Field(description="short name of the line")
    kind: Literal["mqtt"]
    host: Text = Field(description="host name or address of the broker")
    port: Port | None = Field(default=None, description="TCP port, 1 to 65535; 1883, with TLS 8883, if it is not given")
    payload: Text = Field(
        default=EMG, description="emg, sparkplug-b, the name of a shipped payload mapping, or the file of your own"
    )
    topic: StrictStr = Field(default="", description="topic filter that is subscribed; that of the payload if empty")
    share: StrictStr = Field(default="", description="group of a shared subscription; empty = not shared")
    zone: StrictStr = Field(default="", description="IANA zone of times without an offset, where the payload has such")
    sparkplug_host: StrictStr = Field(
        default="", description="host id under which edge nodes are told that a host listens; empty = nothing is told"
    )
    rebirth: StrictBool = Field(
        default=False, description="true: Sparkplug edge nodes may be asked for their births (the one command sent)"
    )
    client_id: StrictStr = Field(default="", description="name of the persistent session; gateway and line if empty")
    version: Literal["5", "3.1.1"] = Field(default="5", description="version of MQTT")
    username: StrictStr = Field(default="", description="user name at the broker")
    tls_ca: StrictStr = Field(default="", description="file of the certificate authority; empty = no TLS")
    tls_cert: StrictStr = Field(default="", description="file of our own certificate, where the broker asks for one")
    tls_key: StrictStr = Field(default="", description="file of its private key, readable by its owner alone")

    @property
    def broker_port(self) -> int:
        """The TCP port, given or usual."""
        return self.port or (8883 if self.tls_ca else 1883)


class FilesForm(Form):
    """A line that takes files from a drop folder."""

    id: Id = Field(description="short name of the line")
    kind: Literal["files"]
    folder: Text = Field(description="the drop folder, relative to this file")
    mapping: Text = Field(description="the mapping file that reads what lands there, relative to this file")


LineForm = (
    ModbusTcpForm
    | ModbusTlsForm
    | ModbusRtuTcpForm
    | ModbusRtuSerialForm
    | MeterTcpForm
    | MeterSerialForm
    | MqttForm
    | FilesForm
)
LINE_FORMS: Mapping[str, type[LineForm]] = {
    "modbus-tcp": ModbusTcpForm,
    "modbus-tls": ModbusTlsForm,
    "modbus-rtu-tcp": ModbusRtuTcpForm,
    "modbus-rtu-serial": ModbusRtuSerialForm,
    "dlt645-tcp": MeterTcpForm,
    "dlt645-serial": MeterSerialForm,
    "cjt188-tcp": MeterTcpForm,
    "cjt188-serial": MeterSerialForm,
    "mqtt": MqttForm,
    "files": FilesForm,
}
