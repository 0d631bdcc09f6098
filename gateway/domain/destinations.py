"""Where what was read is kept, copied to and witnessed, as `site.toml` declares it."""

from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from pathlib import Path


class StoreKind(StrEnum):
    """What keeps readings for settling, figures and pages."""

    EMBEDDED = "embedded"
    INFLUXDB = "influxdb"


class SinkKind(StrEnum):
    """What gets a copy of every reading."""

    INFLUXDB = "influxdb"
    VICTORIAMETRICS = "victoriametrics"
    MQTT = "mqtt"
    FILES = "files"


class WitnessKind(StrEnum):
    """Where checkpoints of the journal are kept by somebody else."""

    HTTPS = "https"
    MQTT = "mqtt"


@dataclass(frozen=True, slots=True, kw_only=True)
class InfluxServer:
    """A server that takes line protocol. Its token or password comes from the environment, never from a file.

    `version` is declared, not guessed: "1" has databases and users, "2" buckets, organisations and tokens, "3"
    databases and tokens. `database` is the database or the bucket.
    """

    url: str
    database: str
    version: str = "2"
    org: str = ""
    username: str = ""  # version 1 with users; otherwise the token alone says who we are
    gzip: bool = False  # pays over slow links only
    timeout_s: Decimal = Decimal(10)
    keep_days: int = 0  # retention that `emg db init` sets; 0 = for ever


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokerAddress:
    """An MQTT broker that is published to. Its password comes from the environment."""

    host: str
    port: int = 1883
    version: str = "5"  # "5" or "3.1.1"
    client_id: str = ""
    username: str = ""
    tls_ca: str = ""  # file of the CA that signed the broker's certificate; "" = no TLS


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreSettings:
    """The reading store. `influx` is given for kind INFLUXDB only."""

    kind: StoreKind = StoreKind.EMBEDDED
    keep_months: int = 0  # embedded: readings older than that leave the store (never the journal); 0 = all stay
    influx: InfluxServer | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SinkSettings:
    """One sink; of its addresses the one that its kind needs is given. No `enterprises` = all of them."""

    id: str
    kind: SinkKind
    enterprises: tuple[str, ...] = ()
    influx: InfluxServer | None = None  # influxdb, victoriametrics
    ack_lag_s: int = 0  # how long after its acknowledgement a server may still lose what it acknowledged
    broker: BrokerAddress | None = None  # mqtt
    topic: str = "emg/v1/out"  # mqtt: readings go to <topic>/<enterprise>/<point>/<quantity>
    discovery: str = ""  # mqtt: prefix of Home Assistant's discovery topics; "" = none are published
    folder: Path = Path()  # files
    format: str = "csv"  # files: "csv" or "line-protocol"


@dataclass(frozen=True, slots=True, kw_only=True)
class WitnessSettings:
    """Who keeps our checkpoints, so that a journal cut off or restored from an older copy shows."""

    kind: WitnessKind
    url: str = ""  # https
    broker: BrokerAddress | None = None  # mqtt
    topic: str = "emg/v1/checkpoints"  # mqtt: checkpoints go to <topic>/<gateway>


@dataclass(frozen=True, slots=True, kw_only=True)
class JournalSettings:
    """How evidence is kept: signed every so often, and for how long (0 = for ever; otherwise 24 months at least)."""

    checkpoint_every_s: int = 60
    keep_evidence_months: int = 0
    keep_telemetry_months: int = 0
    witness: WitnessSettings | None = None
