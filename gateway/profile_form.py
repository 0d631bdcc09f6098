"""The form of a meter profile as a person writes it: its keys, and what each of them means."""

import re
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, StrictBool, StrictInt, StrictStr

from gateway.domain.carriers import EnergyCarrier
from gateway.domain.instruments import RecordClass, RegisterKind
from gateway.encoding import ORDERS
from gateway.toml_form import Form, Number

Text = Annotated[StrictStr, Field(min_length=1)]


def _one_or_many(value: object) -> object:
    return value if isinstance(value, list) else [value]


def _word_order(value: object) -> object:
    if value not in ORDERS and not re.fullmatch("[1-4]{2,4}", str(value)):
        raise ValueError('big, little, or the rank of each word as they come, as in "2143"')
    return value


Address = Annotated[StrictInt, Field(ge=0, le=0xFFFF)]
WordOrder = Annotated[StrictStr, BeforeValidator(_word_order)]
ByteOrder = Literal["big", "little"]
Patterns = Annotated[list[StrictInt], BeforeValidator(_one_or_many)]
Names = Annotated[list[Text], BeforeValidator(_one_or_many)]
Said = Annotated[list[StrictInt | Text], BeforeValidator(_one_or_many)]


class PartForm(Form):
    """One part of a total that the meter shows in several."""

    at: Address = Field(description="address of the first word, from 0")
    type: Text = Field(alias="as", description="how its words are to be read, e.g. u32")
    weight: Number = Field(default=1, gt=0, validate_default=True, description="what one of it is worth")
    word_order: WordOrder | None = Field(default=None, description="which word comes first")
    byte_order: ByteOrder | None = Field(default=None, description="which byte of a word comes first")
    absent: Patterns = Field(default_factory=list, description="bit pattern that means 'no value', or a list of them")


class RegisterForm(Form):
    """One register: a quantity that the meter shows, and where it is found."""

    unit: Text = Field(description="the unit in which the register is shown, e.g. kWh")
    kind: RegisterKind = Field(description="cumulative, instantaneous or interval; it is never guessed")
    identifier: StrictInt | None = Field(
        default=None, ge=0, le=0xFFFFFFFF, description="data identifier (DL/T 645, CJ/T 188), e.g. 0x00010000"
    )
    at: Address | None = Field(
        default=None, description="address of the first word, from 0; byte of an identifier's data"
    )
    unit_at: StrictInt | None = Field(default=None, ge=0, le=255, description="byte of the data that names the unit")
    table: Literal["holding", "input"] | None = Field(default=None, description="where it is not in the meter's table")
    type: Text | None = Field(default=None, alias="as", description="how the words are to be read, e.g. float32")
    scale: Number | None = Field(default=None, gt=0, description="what one raw unit is worth in the unit")
    scale_factor: Address | None = Field(
        default=None, description="address of the power of ten that the meter gives beside the value (SunSpec)"
    )
    bit: StrictInt | None = Field(default=None, ge=0, le=15, description="which bit of the word, 0 = least significant")
    parts: list[PartForm] = Field(default_factory=list, description="the parts of a value that lies in several")
    word_order: WordOrder | None = Field(default=None, description="which word of a value comes first")
    byte_order: ByteOrder | None = Field(default=None, description="which byte of a word comes first")
    absent: Patterns = Field(default_factory=list, description="bit pattern that means 'no value', or a list of them")
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
    reread: bool = Field(
        default=False, description="true: read twice, for a total whose words the meter does not renew together"
    )
    record: RecordClass | None = Field(default=None, description="evidence or telemetry")


class ModbusForm(Form):
    """What holds for all registers of a Modbus meter."""

    table: Literal["holding", "input"] = Field(description="holding (function 3) or input (function 4)")
    word_order: WordOrder = Field(default="big", description="which word of a value comes first")
    byte_order: ByteOrder = Field(default="big", description="which byte of a word comes first")
    max_words: StrictInt = Field(default=125, ge=1, le=125, description="longest block that the meter answers")
    forbidden: list[Annotated[list[Address], Field(min_length=2, max_length=2)]] | None = Field(
        default=None,
        description="first and last of the addresses that the meter refuses; [] = none, every hole may be read",
    )
    relative: bool = Field(
        default=False, description="true: addresses count from the base_address of the meter in the site file"
    )


class FactForm(Form):
    """Words in which a device says something of itself."""

    at: Address = Field(description="address of the first word, from 0")
    type: Text = Field(alias="as", description="how its words are to be read, e.g. u32, or text")
    words: StrictInt | None = Field(default=None, ge=1, le=32, description="how many words a text has")
    scale: Number = Field(default=1, gt=0, validate_default=True, description="what one raw unit is worth")
    table: Literal["holding", "input"] | None = Field(default=None, description="where it is not in the meter's table")
    word_order: WordOrder | None = Field(default=None, description="which word comes first")
    byte_order: ByteOrder | None = Field(default=None, description="which byte of a word comes first")


class MarkForm(FactForm):
    """A fact by which the model is known."""

    what: Text = Field(description="what it is, e.g. meter code")
    equals: Said = Field(default_factory=list, description='what it says, or a list of that; "B23*" = begins with B23')
    between: Annotated[list[Number], Field(min_length=2, max_length=2)] | None = Field(
        default=None, description="the least and the greatest number that it says"
    )


class IdentityForm(Form):
    """How a device of this model is known."""

    marks: list[MarkForm] = Field(default_factory=list, description="words that only this model has")
    objects: dict[StrictStr, Names] = Field(
        default_factory=dict, description="what its Modbus device identification says: vendor, product, revision"
    )
    serial: FactForm | None = Field(default=None, description="where its serial number is read")


class RatioForm(Form):
    """The transformer ratios that are set in the device."""

    ct: FactForm | None = Field(default=None, description="where the ratio of the current transformers is read")
    pt: FactForm | None = Field(default=None, description="where the ratio of the voltage transformers is read")


class Cjt188Form(Form):
    """What holds for all registers of a CJ/T 188 meter, where makers differ."""

    meter_type: StrictInt = Field(ge=0, le=0xFE, description="the byte T: 0x10 water, 0x20 heat, 0x30 gas")
    identifier_order: ByteOrder = Field(
        default="little", description="which byte of an identifier goes first: 0x901F as 1F 90 (little) or 90 1F (big)"
    )
    lengths: dict[StrictStr, Annotated[StrictInt, Field(ge=1, le=250)]] = Field(
        default_factory=dict, description="bytes of data by identifier, where they are more than the registers take"
    )


class ExampleForm(Form):
    """Words or a message in, values out, and where the example comes from."""

    origin: Literal["captured", "manual", "worked"] = Field(
        description="captured from a real meter, printed in the maker's manual, or worked by hand from its encoding"
    )
    came_from: Text = Field(alias="from", description="meter and time, page of the manual, or the calculation")
    words: dict[StrictStr, Text] = Field(default_factory=dict, description='words by address, e.g. "42F7 0000"')
    data: dict[StrictStr, Text] = Field(default_factory=dict, description='bytes by identifier, e.g. "26 00 00 00"')
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
    cjt188: Cjt188Form | None = Field(default=None, description="present for a meter that speaks CJ/T 188")
    identity: IdentityForm | None = Field(default=None, description="how a device of this model is known")
    ratio: RatioForm | None = Field(default=None, description="where its transformer ratios are read")
    wire: Literal["message", "dlt645"] | None = Field(
        default=None, description="message, for values that come by name; dlt645, for a meter that speaks DL/T 645-2007"
    )
    by_hand: StrictBool = Field(
        default=False, description="true: a person reads or determines it, so that a file of its values must say who"
    )
    registers: dict[StrictStr, RegisterForm] = Field(min_length=1, description="registers by quantity")
    examples: list[ExampleForm] = Field(
        default_factory=list, alias="example", description="words in, values out; at least one"
    )
