"""The form of a meter profile as a person writes it: its keys, and what each of them means."""

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, StrictInt, StrictStr

from gateway.domain.carriers import EnergyCarrier
from gateway.domain.instruments import RecordClass, RegisterKind
from gateway.toml_form import Form, Number

Order = Literal["big", "little"]
Text = Annotated[StrictStr, Field(min_length=1)]


def _one_or_many(value: object) -> object:
    return value if isinstance(value, list) else [value]


class RegisterForm(Form):
    """One register: a quantity that the meter shows, and where it is found."""

    unit: Text = Field(description="the unit in which the register is shown, e.g. kWh")
    kind: RegisterKind = Field(description="cumulative, instantaneous or interval; it is never guessed")
    at: StrictInt | None = Field(default=None, ge=0, le=0xFFFF, description="address of the first word, from 0")
    type: Text | None = Field(default=None, alias="as", description="how the words are to be read, e.g. float32")
    scale: Number | None = Field(default=None, gt=0, description="what one raw unit is worth in the unit")
    word_order: Order | None = Field(default=None, description="which word of a value comes first")
    byte_order: Order | None = Field(default=None, description="which byte of a word comes first")
    absent: Annotated[list[StrictInt], BeforeValidator(_one_or_many)] = Field(
        default_factory=list, description="bit pattern that means 'no value', or a list of them"
    )
    field: Text | None = Field(default=None, description="key in the message, where it is not the quantity's name")
    resolution: Number | None = Field(default=None, gt=0, description="smallest step of the register, in its unit")
    modulus: StrictInt | None = Field(
        default=None, gt=1, description="first count of the resolution that is shown as zero again"
    )
    interval_s: StrictInt | None = Field(
        default=None, ge=0, description="seconds that an interval value covers; 0 = booked at an instant"
    )
    limit: Number | None = Field(default=None, gt=0, description="largest value that is physically possible")
    max_rate: Number | None = Field(default=None, gt=0, description="largest growth of the total per hour")
    record: RecordClass | None = Field(default=None, description="evidence or telemetry")


class ModbusForm(Form):
    """What holds for all registers of a Modbus meter."""

    table: Literal["holding", "input"] = Field(description="holding (function 3) or input (function 4)")
    word_order: Order = Field(default="big", description="which word of a value comes first")
    byte_order: Order = Field(default="big", description="which byte of a word comes first")


class ExampleForm(Form):
    """Words or a message in, values out, and where the example comes from."""

    origin: Literal["captured", "manual", "worked"] = Field(
        description="captured from a real meter, printed in the maker's manual, or worked by hand from its encoding"
    )
    came_from: Text = Field(alias="from", description="meter and time, page of the manual, or the calculation")
    words: dict[StrictStr, Text] = Field(default_factory=dict, description='words by address, e.g. "42F7 0000"')
    message: dict[StrictStr, Number] = Field(default_factory=dict, description="numbers by key of the message")
    shows: dict[StrictStr, Number | Literal["absent"]] = Field(
        min_length=1, description='values by quantity, in the register\'s unit, or "absent"'
    )


class ProfileForm(Form):
    """One meter model."""

    maker: Text = Field(description="the maker's name")
    model: Text = Field(description="the model as on the name plate")
    carrier: EnergyCarrier = Field(description="the carrier, as the folder is called")
    source: Text = Field(description="the document from which the addresses were read")
    side: Literal["primary", "secondary", "none"] | None = Field(
        default=None, description="the side of the instrument transformers that the meter shows; none = no transformer"
    )
    accuracy: dict[StrictStr, Text] = Field(
        default_factory=dict, description='class sign by quantity as on the name plate, e.g. "0.5S"'
    )
    presupposes: list[Text] = Field(
        default_factory=list, description="settings of the meter without which the profile is wrong"
    )
    modbus: ModbusForm | None = Field(default=None, description="present for a meter that is read over Modbus")
    wire: Literal["message"] | None = Field(default=None, description="message, for values that come by name")
    registers: dict[StrictStr, RegisterForm] = Field(min_length=1, description="registers by quantity")
    examples: list[ExampleForm] = Field(
        default_factory=list, alias="example", description="words in, values out; at least one"
    )
