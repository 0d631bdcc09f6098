"""The form of a site file as a person writes it: its tables, their keys, and what each of them means."""

import zoneinfo
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, StrictInt, StrictStr
from pydantic_core import PydanticCustomError

from gateway.destination_form import (
    EmbeddedStoreForm,
    Id,
    JournalForm,
    SinkForm,
    StoreForm,
    Text,
    WitnessForm,
    is_loopback,
)
from gateway.domain.carriers import EnergyCarrier
from gateway.domain.sites import AccountMethod, MeteringLevel, PointRole
from gateway.line_form import LineForm
from gateway.toml_form import Form, Number, closest


def _zone(text: str) -> str:
    try:
        zoneinfo.ZoneInfo(text)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        mend = closest(text, zoneinfo.available_timezones())
        raise PydanticCustomError("zone", "an IANA time zone", {"mend": mend}) from None
    return text


def _loopback(text: str) -> str:
    if not is_loopback(text):
        mend = "There are no users yet, so the API serves this machine only; put a proxy with access control before it."
        raise PydanticCustomError("loopback", "127.0.0.1, ::1 or localhost", {"mend": mend})
    return text


class SiteTable(Form):
    """The installation as a whole."""

    name: Text = Field(description="the installation's name")
    timezone: Annotated[StrictStr, AfterValidator(_zone)] = Field(
        description='the plant\'s time zone, e.g. "Asia/Shanghai"'
    )
    data_dir: Text = Field(description="folder for journal and stores, relative to this file")
    gateway_id: Id = Field(description="name of this gateway in its journal")


class EnterpriseForm(Form):
    """用能单位: the body that accounts for its energy."""

    id: Id = Field(description="short name of the enterprise")
    name_zh: Text = Field(description="Chinese name")
    name_en: Text = Field(description="English name")


class MeterForm(Form):
    """A meter on a line."""

    id: Id = Field(description="management number of the meter")
    line: StrictStr = Field(description="id of the line on which it is read")
    profile: StrictStr = Field(description="its profile, <carrier>/<maker>_<model>")
    serial: StrictStr = Field(default="", description="serial number")
    device_address: StrictInt = Field(default=1, ge=0, le=255, description="device address on a Modbus line, 0 to 255")
    address: StrictStr = Field(
        default="", description="all digits of the address, in quotes: 12 for DL/T 645, 14 for CJ/T 188"
    )
    ct_ratio: Number = Field(default=1, gt=0, validate_default=True, description="ratio of the current transformers")
    pt_ratio: Number = Field(default=1, gt=0, validate_default=True, description="ratio of the voltage transformers")
    base_address: StrictInt = Field(
        default=0, ge=0, le=65535, description="where its register map begins, for a profile that counts from there"
    )
    max_words: StrictInt = Field(default=125, ge=1, le=125, description="longest block that it answers")
    source: StrictStr = Field(default="", description="what messages call it, where that is not the id of its point")
    phase_s: Number = Field(
        default=0, ge=0, lt=60, validate_default=True, description="seconds after the line's slots at which it is asked"
    )


class PointForm(Form):
    """A metering point."""

    id: Id = Field(description="short name of the point")
    enterprise: StrictStr = Field(description="id of the enterprise")
    name_zh: Text = Field(description="Chinese name")
    name_en: Text = Field(description="English name")
    carrier: EnergyCarrier = Field(description="what flows there")
    level: MeteringLevel = Field(description="enterprise, subunit or equipment")
    role: PointRole = Field(description="input, output, internal or stock")
    counts: StrictStr = Field(description="the quantity that is accounted here")
    meter: StrictStr = Field(default="", description="id of the meter that is read here")
    parent: StrictStr = Field(default="", description="id of the point above")


class DerivedPointForm(Form):
    """A point that no meter shows: it is worked out from others."""

    id: Id = Field(description="short name of the point")
    enterprise: StrictStr = Field(description="id of the enterprise")
    name_zh: Text = Field(description="Chinese name")
    name_en: Text = Field(description="English name")
    formula: Text = Field(description='other points of the enterprise put together, e.g. "main - mill - kiln"')
    unit: Text = Field(description="unit of its values, e.g. kWh or kWh/t")


class AccountForm(Form):
    """How one enterprise accounts for one fuel or medium."""

    enterprise: StrictStr = Field(description="id of the enterprise")
    carrier: EnergyCarrier = Field(description="what is accounted")
    conversion: Text = Field(description="row of the conversion table, e.g. raw_coal")
    method: AccountMethod = Field(description="metered or stock")
    plus: list[StrictStr] = Field(min_length=1, description="ids of the points that count as consumption or receipts")
    minus: list[StrictStr] = Field(default_factory=list, description="ids of the points that are taken off")
    stock: list[StrictStr] = Field(default_factory=list, description="ids of the points of role stock")
    density: Number | None = Field(default=None, gt=0, description="kg/m3")
    density_source: StrictStr = Field(default="", description="where the density comes from")
    ncv: Number | None = Field(default=None, gt=0, description="measured net calorific value, kJ per unit of the row")
    ncv_source: StrictStr = Field(default="", description="where the calorific value comes from")


class ApiForm(Form):
    """Where the API and its pages are served."""

    host: Annotated[StrictStr, AfterValidator(_loopback)] = Field(
        default="127.0.0.1", description="a loopback address, until there are users"
    )
    port: StrictInt = Field(default=8460, ge=0, le=65535, description="TCP port; 0 = any free one")


def _loopback_port(text: str) -> str:
    try:
        at = urlsplit(f"//{text}")
        fits = is_loopback(at.hostname or "") and bool(at.port) and at.netloc == text and "@" not in text
    except ValueError:
        fits = False
    if not fits:
        mend = "It serves this machine only; put a proxy with access control before it."
        raise PydanticCustomError("loopback", "a loopback address with its port, like 127.0.0.1:9464", {"mend": mend})
    return text


class MetricsForm(Form):
    """Where the acquiring process itself tells its counts to a Prometheus."""

    listen: Annotated[StrictStr, AfterValidator(_loopback_port)] | None = Field(
        default=None, description="loopback address and port; without it nothing listens"
    )


class SettleForm(Form):
    """How readings become intervals."""

    interval_s: StrictInt = Field(default=900, ge=60, le=3600, description="length of an interval in seconds")
    interpolate_within_s: StrictInt = Field(
        default=1200, gt=0, description="a boundary farther between two readings than this stays missing"
    )


class MetrologyForm(Form):
    """How instruments are watched."""

    due_soon_days: StrictInt = Field(default=30, ge=0, le=3650, description="days before the due date")


class SiteForm(Form):
    """A whole site file."""

    site: SiteTable
    enterprise: list[EnterpriseForm] = Field(min_length=1)
    line: list[Annotated[LineForm, Field(discriminator="kind")]] = Field(default_factory=list)
    meter: list[MeterForm] = Field(default_factory=list)
    point: list[PointForm | DerivedPointForm] = Field(default_factory=list)
    account: list[AccountForm] = Field(default_factory=list)
    store: Annotated[StoreForm, Field(discriminator="kind")] = EmbeddedStoreForm()
    sink: list[Annotated[SinkForm, Field(discriminator="kind")]] = Field(default_factory=list)
    journal: JournalForm = JournalForm()
    witness: Annotated[WitnessForm, Field(discriminator="kind")] | None = None
    api: ApiForm = ApiForm()
    metrics: MetricsForm = MetricsForm()
    settle: SettleForm = SettleForm()
    metrology: MetrologyForm = MetrologyForm()
