"""A site as its `site.toml` declares it: enterprises, lines, meters, metering points, accounts."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from pathlib import Path

from gateway.domain.carriers import EnergyCarrier
from gateway.domain.destinations import JournalSettings, SinkSettings, StoreSettings
from gateway.domain.formulas import Expression
from gateway.domain.instruments import Register
from gateway.domain.readings import series_key


class LineKind(StrEnum):
    """The ways by which readings arrive."""

    MODBUS_TCP = "modbus-tcp"
    MODBUS_TLS = "modbus-tls"
    MODBUS_RTU_SERIAL = "modbus-rtu-serial"
    MODBUS_RTU_TCP = "modbus-rtu-tcp"
    DLT645_TCP = "dlt645-tcp"
    DLT645_SERIAL = "dlt645-serial"
    CJT188_TCP = "cjt188-tcp"
    CJT188_SERIAL = "cjt188-serial"
    MQTT = "mqtt"
    FILES = "files"

    @property
    def is_polled(self) -> bool:
        """True for a line whose meters are asked on a grid."""
        return self not in {LineKind.MQTT, LineKind.FILES}

    @property
    def is_modbus(self) -> bool:
        """True for a line whose meters are asked for registers."""
        return self.value.startswith("modbus-")

    @property
    def is_rtu(self) -> bool:
        """True for Modbus lines whose questions take their time on a serial wire."""
        return self in {LineKind.MODBUS_RTU_SERIAL, LineKind.MODBUS_RTU_TCP}

    @property
    def is_serial(self) -> bool:
        """True for a line behind a serial port of this machine."""
        return self.value.endswith("-serial")


EMG, SPARKPLUG_B = "emg", "sparkplug-b"  # payloads of an mqtt line that are no mapping
TOPICS = {  # the topic filters that bring them
    EMG: ("emg/v1/+/+/+/reading",),
    SPARKPLUG_B: (
        *(f"spBv1.0/+/{kind}/+" for kind in ("NBIRTH", "NDATA", "NDEATH")),
        *(f"spBv1.0/+/{kind}/+/+" for kind in ("DBIRTH", "DDATA", "DDEATH")),
    ),
}


class MeteringLevel(StrEnum):
    """The three levels of GB 17167 - 用能单位 / 次级用能单位 / 用能设备."""

    ENTERPRISE = "enterprise"
    SUBUNIT = "subunit"
    EQUIPMENT = "equipment"


class PointRole(StrEnum):
    """What flows past a metering point means for its enterprise."""

    INPUT = "input"
    OUTPUT = "output"
    INTERNAL = "internal"
    STOCK = "stock"  # what lies in store, not what flows


class AccountMethod(StrEnum):
    """How an enterprise's consumption of one fuel is found: by meters or by stock, never by both."""

    METERED = "metered"  # sum of `plus` points minus sum of `minus` points
    STOCK = "stock"  # opening stock + in - closing stock - out


@dataclass(frozen=True, slots=True, kw_only=True)
class Enterprise:
    """用能单位: the body that accounts for its energy."""

    id: str
    name_zh: str
    name_en: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One way into the field with its own timing. Keys that a kind does not use stay at their default."""

    id: str
    kind: LineKind
    period_s: Decimal = Decimal(60)  # lines that are polled: the grid
    phase_s: Decimal = Decimal(0)
    timeout_s: Decimal = Decimal(1)
    host: str = ""
    port: int = 0
    serial_port: str = ""  # serial lines: the device file, e.g. "/dev/ttyUSB0"
    baud: int = 2400
    parity: str = "even"  # "even", "odd" or "none"; always 8 data bits
    stop_bits: int = 1
    gap_s: Decimal = Decimal(0)  # modbus-rtu: silence before each question; 0: 3.5 characters
    echo: bool = False  # modbus-rtu: the adapter hears what it sends itself
    max_words: int = 125  # modbus-tcp: longest block a device of this line answers
    pipeline: int = 1  # modbus-tcp: questions that may be on their way at a time
    transaction_ids: str = "echoed"  # modbus-tcp: or "ignored", where the converter does not echo them
    payload: str = EMG  # mqtt: EMG, SPARKPLUG_B, or the path of a payload mapping
    topic: str = ""  # mqtt: topic filter; "" = that of the payload
    share: str = ""  # mqtt: group whose members divide the messages among them
    zone: str = ""  # mqtt: zone of times that carry none
    sparkplug_host: str = ""  # mqtt: the name by which we tell edge nodes that a host listens; "" = nothing is told
    rebirth: bool = False  # mqtt: True if edge nodes may be asked for their births
    client_id: str = ""  # mqtt: names the persistent session
    version: str = "5"  # mqtt: "5" or "3.1.1"
    username: str = ""  # mqtt: the password comes from the environment (EMG_MQTT_<LINE>_PASSWORD)
    tls_ca: str = ""
    tls_cert: str = ""
    tls_key: str = ""
    folder: Path = Path()  # files: the drop folder
    mapping: Path = Path()  # files: the mapping file that reads what lands there


@dataclass(frozen=True, slots=True, kw_only=True)
class Meter:
    """A meter on a line. CT and PT ratios turn secondary values into primary ones."""

    id: str  # management number
    line: str
    profile: str  # "<carrier>/<maker>_<model>"
    serial: str = ""
    device_address: int = 1
    address: str = ""  # DL/T 645, CJ/T 188: all digits of the meter's address, with its leading zeros
    ct_ratio: Decimal = Decimal(1)
    pt_ratio: Decimal = Decimal(1)
    base_address: int = 0  # where its register map begins, for a profile that counts from there
    source: str = ""  # mqtt: what messages call it, where that is not the id of its point
    max_words: int = 125  # longest block that it answers, where that is less than its profile says
    phase_s: Decimal = Decimal(0)  # how long after the line's slots it is asked; its slot stays the line's

    @property
    def asked_at(self) -> int | str:
        """The address by which it is asked: a number on Modbus, all digits where the meter has digits."""
        return self.address or self.device_address

    def ratio(self, dimension: str) -> Decimal:
        """The factor from the secondary to the primary side for a quantity of this dimension."""
        if dimension == "current":
            return self.ct_ratio
        if dimension == "voltage":
            return self.pt_ratio
        electrical = {"energy", "reactive_energy", "power", "reactive_power", "apparent_power"}
        return self.ct_ratio * self.pt_ratio if dimension in electrical else Decimal(1)


@dataclass(frozen=True, slots=True, kw_only=True)
class MeteringPoint:
    """The place whose consumption is wanted; meters come and go, the point stays."""

    id: str
    enterprise: str
    name_zh: str
    name_en: str
    carrier: EnergyCarrier
    level: MeteringLevel
    role: PointRole
    counts: str  # the quantity that is accounted here, e.g. "active_energy_import", "volume", "mass", "stock"
    meter: str = ""  # id of the meter that is read here; "" where only people or files bring readings
    parent: str = ""  # id of the point above, "" at the top


@dataclass(frozen=True, slots=True, kw_only=True)
class DerivedPoint:
    """A point that no meter shows: the amounts of others put together by a formula, interval by interval.

    `unit` is that of its values, e.g. "kWh" or "kWh/t"; `formula` names points of the same enterprise.
    """

    id: str
    enterprise: str
    name_zh: str
    name_en: str
    formula: str
    unit: str
    expression: Expression


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """How one enterprise accounts for one fuel or medium, and which conversion row it takes.

    `density` [kg/m3] turns a metered volume into the mass that the conversion row asks for; `ncv` [kJ per
    the row's unit] is a measured calorific value, which goes before every default.
    """

    enterprise: str
    carrier: EnergyCarrier
    conversion: str  # code of carriers.csv or working_media.csv, e.g. "raw_coal", "electricity_equivalent"
    method: AccountMethod
    plus: tuple[str, ...]  # point ids: consumption (metered) or receipts (stock)
    minus: tuple[str, ...] = ()  # point ids: passed on or exported
    stock: tuple[str, ...] = ()  # point ids of role stock, for method "stock"
    density: Decimal | None = None
    density_source: str = ""
    ncv: Decimal | None = None
    ncv_source: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """One register of one metering point: everything about it that a reading does not carry.

    `resolution` [unit] is the profile's resolution times the meter's CT/PT ratio: counts stay as read.
    `ratio` is that ratio, by which instantaneous values are multiplied when they are decoded. `by_hand`: a
    person reads it, so that a file of its values must say who.
    """

    key: str
    enterprise: str
    point: str
    meter: str
    profile: str
    register: Register
    resolution: Decimal | None
    ratio: Decimal = Decimal(1)
    by_hand: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """One installation. `series` holds every register of every point, in the order of the file."""

    name: str
    timezone: str
    file: Path
    data_dir: Path
    gateway_id: str
    enterprises: dict[str, Enterprise]
    lines: dict[str, Line]
    meters: dict[str, Meter]
    points: dict[str, MeteringPoint]  # keyed by point id, unique within the site
    accounts: tuple[Account, ...]
    series: dict[str, Series] = field(default_factory=dict)
    derived: dict[str, DerivedPoint] = field(default_factory=dict)  # keyed by point id
    store: StoreSettings = field(default_factory=StoreSettings)
    sinks: dict[str, SinkSettings] = field(default_factory=dict)
    journal: JournalSettings = field(default_factory=JournalSettings)
    api_host: str = "127.0.0.1"
    api_port: int = 8460
    metrics_listen: str = ""  # "host:port" at which the acquiring process tells its counts; "" where it does not
    interval_s: int = 900
    interpolate_within_s: int = 1200  # settle: a boundary farther between readings than this stays MISSING
    due_soon_days: int = 30

    def series_of(self, point: MeteringPoint) -> Iterator[Series]:
        """The series of one point."""
        return (series for series in self.series.values() if series.point == point.id)

    def counting_series(self, point_id: str) -> Series:
        """The series whose consumption is accounted at this point. Raises KeyError when there is none."""
        point = self.points[point_id]
        return self.series[series_key(point.enterprise, point.id, point.counts)]
