"""The simulated meter models: which quantity each shows, where it lies on the wire, and when its total starts again.

Written from the makers' documents named in each model, independently of the product's profiles: two readings
of the same document meet on the wire. Addresses are 0-based protocol addresses.
"""

from dataclasses import dataclass
from decimal import Decimal

from simulators.words import Encoding


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """One value that a model shows: in `unit`, by steps of `step` [unit]; a total starts again at `modulus` counts."""

    quantity: str
    unit: str
    step: Decimal
    total: bool = False
    modulus: int = 0
    table: str = ""  # "holding" (function 03) or "input" (04); "" where the wire has no addresses
    address: int = 0
    encoding: Encoding = Encoding.TEXT


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """A meter model of the simulator."""

    name: str
    title: str
    source: str
    fields: tuple[Field, ...]

    def field(self, quantity: str) -> Field:
        """The value named so. Raises KeyError where the model does not show it."""
        for field in self.fields:
            if field.quantity == quantity:
                return field
        raise KeyError(f"model {self.name} does not show {quantity}")


def _at(
    table: str, address: int, encoding: Encoding, quantity: str, unit: str, step: str = "1", modulus: int = 0
) -> Field:
    return Field(
        quantity=quantity,
        unit=unit,
        step=Decimal(step),
        total=modulus > 0,
        modulus=modulus,
        table=table,
        address=address,
        encoding=encoding,
    )


def _phases(
    table: str, addresses: tuple[int, int, int], encoding: Encoding, name: str, unit: str, step: str
) -> list[Field]:
    return [
        _at(table, address, encoding, f"{name}_l{phase}", unit, step)
        for phase, address in enumerate(addresses, start=1)
    ]


def _text(quantity: str, unit: str, step: str, modulus: int = 0) -> Field:
    return Field(quantity=quantity, unit=unit, step=Decimal(step), total=modulus > 0, modulus=modulus)


_HOLDING, _INPUT = "holding", "input"

_ADW300 = Model(
    name="acrel_adw300",
    title="Acrel ADW300",
    source="ADW300 register list: U 20-22, I 26-28, P 30/32/34, sum 36, +Ea 62, -Ea 64, function 03, high word first",
    fields=(
        *_phases(_HOLDING, (20, 21, 22), Encoding.U16, "voltage", "V", "0.1"),
        *_phases(_HOLDING, (26, 27, 28), Encoding.U16, "current", "A", "0.01"),
        *_phases(_HOLDING, (30, 32, 34), Encoding.I32, "active_power", "W", "1"),
        _at(_HOLDING, 36, Encoding.I32, "active_power", "W"),
        _at(_HOLDING, 62, Encoding.I32, "active_energy_import", "kWh", "0.01", 2**31),
        _at(_HOLDING, 64, Encoding.I32, "active_energy_export", "kWh", "0.01", 2**31),
    ),
)

_SDM630 = Model(
    name="eastron_sdm630",
    title="Eastron SDM630",
    source="SDM630 Modbus protocol document: input registers, function 04, float32, high word first",
    fields=(
        *_phases(_INPUT, (0x0000, 0x0002, 0x0004), Encoding.FLOAT32, "voltage", "V", "1"),
        *_phases(_INPUT, (0x0006, 0x0008, 0x000A), Encoding.FLOAT32, "current", "A", "1"),
        *_phases(_INPUT, (0x000C, 0x000E, 0x0010), Encoding.FLOAT32, "active_power", "W", "1"),
        _at(_INPUT, 0x0034, Encoding.FLOAT32, "active_power", "W"),
        _at(_INPUT, 0x0046, Encoding.FLOAT32, "frequency", "Hz"),
        _at(_INPUT, 0x0048, Encoding.FLOAT32, "active_energy_import", "kWh", "0.01", 10**9),
        _at(_INPUT, 0x004A, Encoding.FLOAT32, "active_energy_export", "kWh", "0.01", 10**9),
    ),
)

_MAG6000 = Model(
    name="siemens_mag6000",
    title="Siemens SITRANS F M MAG 6000",
    source="A5E00753974-AB p. 37: flow 3002 float32, totalizer 1 3014 float64, totalizer 2 3018 float64; set to m3",
    fields=(
        _at(_HOLDING, 3002, Encoding.FLOAT32, "volume_flow", "m3/h"),
        _at(_HOLDING, 3014, Encoding.FLOAT64, "volume", "m3", "0.001", 10**11),
        _at(_HOLDING, 3018, Encoding.FLOAT64, "volume_reverse", "m3", "0.001", 10**11),
    ),
)

_TUF2000 = Model(
    name="tuf_2000",
    title="TUF-2000 ultrasonic flow meter",
    source="TUF-2000 list (1-based 1 flow, 9 positive total, 11 its fraction, 33/35 Cel), low word first; set to m3",
    fields=(
        _at(_HOLDING, 0, Encoding.FLOAT32_LOW_FIRST, "volume_flow", "m3/h"),
        _at(_HOLDING, 8, Encoding.I32_AND_FRACTION_LOW_FIRST, "volume", "m3", "0.001", 2**31 * 1000),
        _at(_HOLDING, 32, Encoding.FLOAT32_LOW_FIRST, "temperature_supply", "Cel"),
        _at(_HOLDING, 34, Encoding.FLOAT32_LOW_FIRST, "temperature_return", "Cel"),
    ),
)

_BW500 = Model(
    name="siemens_bw500",
    title="Siemens Milltronics BW500 belt scale",
    source="A5E33482052-AD pp. 135-146: R41010-41019, two each, u32 with three fixed decimals, high word first",
    fields=(
        _at(_HOLDING, 1009, Encoding.U32, "mass_flow", "t/h", "0.001"),
        _at(_HOLDING, 1011, Encoding.U32, "belt_load", "kg/m", "0.001"),
        _at(_HOLDING, 1013, Encoding.U32, "belt_speed", "m/s", "0.001"),
        _at(_HOLDING, 1015, Encoding.U32, "mass", "t", "0.001", 2**32),
    ),
)

_TVA = Model(
    name="spirax_tva",
    title="Spirax Sarco TVA steam flow meter",
    source="IM-P192-02 p. 45: 0/1 total kg (low, high), 2 kg/h, 3 bar g x100, 4 Cel x10, 6 kW, 7/8 kWh (low, high)",
    fields=(
        _at(_HOLDING, 0, Encoding.U32_LOW_FIRST, "mass", "kg", "1", 2**32),
        _at(_HOLDING, 2, Encoding.U16, "mass_flow", "kg/h"),
        _at(_HOLDING, 3, Encoding.U16, "pressure", "bar", "0.01"),
        _at(_HOLDING, 4, Encoding.U16, "temperature", "Cel", "0.1"),
        _at(_HOLDING, 6, Encoding.U16, "heat_power", "kW"),
        _at(_HOLDING, 7, Encoding.U32_LOW_FIRST, "heat", "kWh", "1", 2**32),
    ),
)

_BY_MESSAGE = "publishes decimal text in JSON messages"

MODELS: dict[str, Model] = {
    model.name: model
    for model in (
        _ADW300,
        _SDM630,
        _MAG6000,
        _TUF2000,
        _BW500,
        _TVA,
        Model(
            name="mqtt_electricity",
            title="electricity meter with MQTT",
            source=_BY_MESSAGE,
            fields=(_text("active_energy_import", "kWh", "0.01", 10**10), _text("active_power", "kW", "0.001")),
        ),
        Model(
            name="mqtt_volume",
            title="water meter with MQTT",
            source=_BY_MESSAGE,
            fields=(_text("volume", "m3", "0.001", 10**11), _text("volume_flow", "m3/h", "0.001")),
        ),
        Model(
            name="mqtt_gas",
            title="gas meter with MQTT",
            source=_BY_MESSAGE,
            fields=(_text("volume", "m3", "0.01", 10**10), _text("volume_flow", "m3/h", "0.001")),
        ),
    )
}
