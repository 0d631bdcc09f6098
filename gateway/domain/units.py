"""Units of measurement and the exact factors between them.

A factor is an exact fraction, so that a chain of conversions gives back what went in.
Sources: SI brochure, 9th edition; 1 kgce = 29 307.6 kJ and 1 kcal = 4.1868 kJ from
GB/T 2589-2020 - General rules for calculation of the comprehensive energy consumption - §?.
"""

from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction


@dataclass(frozen=True, slots=True)
class Unit:
    """One unit: `factor` times it gives the dimension's coherent unit (`offset` only for temperature)."""

    symbol: str
    dimension: str
    factor: Fraction
    name_zh: str
    name_en: str
    offset: Fraction = Fraction(0)


def _unit(symbol: str, dimension: str, factor: str, name_zh: str, name_en: str, offset: str = "0") -> Unit:
    return Unit(symbol, dimension, Fraction(factor), name_zh, name_en, Fraction(offset))


UNITS: dict[str, Unit] = {
    unit.symbol: unit
    for unit in (
        _unit("Wh", "energy", "3600", "瓦时", "watt hour"),
        _unit("kWh", "energy", "3600000", "千瓦时", "kilowatt hour"),
        _unit("MWh", "energy", "3600000000", "兆瓦时", "megawatt hour"),
        _unit("kJ", "energy", "1000", "千焦", "kilojoule"),
        _unit("MJ", "energy", "1000000", "兆焦", "megajoule"),
        _unit("GJ", "energy", "1000000000", "吉焦", "gigajoule"),
        _unit("kcal", "energy", "20934/5", "千卡", "kilocalorie"),
        _unit("kJ/kg", "specific_energy", "1000", "千焦每千克", "kilojoule per kilogram"),
        _unit("MJ/kg", "specific_energy", "1000000", "兆焦每千克", "megajoule per kilogram"),
        _unit("kcal/kg", "specific_energy", "20934/5", "千卡每千克", "kilocalorie per kilogram"),
        _unit("kgce", "standard_coal", "1", "千克标准煤", "kilogram of standard coal"),
        _unit("tce", "standard_coal", "1000", "吨标准煤", "tonne of standard coal"),
        _unit("kvarh", "reactive_energy", "1", "千乏时", "kilovar hour"),
        _unit("W", "power", "1", "瓦", "watt"),
        _unit("kW", "power", "1000", "千瓦", "kilowatt"),
        _unit("MW", "power", "1000000", "兆瓦", "megawatt"),
        _unit("var", "reactive_power", "1", "乏", "var"),
        _unit("kvar", "reactive_power", "1000", "千乏", "kilovar"),
        _unit("VA", "apparent_power", "1", "伏安", "volt-ampere"),
        _unit("kVA", "apparent_power", "1000", "千伏安", "kilovolt-ampere"),
        _unit("V", "voltage", "1", "伏", "volt"),
        _unit("kV", "voltage", "1000", "千伏", "kilovolt"),
        _unit("A", "current", "1", "安", "ampere"),
        _unit("Hz", "frequency", "1", "赫兹", "hertz"),
        _unit("mm3", "volume", "1/1000000000", "立方毫米", "cubic millimetre"),
        _unit("L", "volume", "1/1000", "升", "litre"),
        _unit("m3", "volume", "1", "立方米", "cubic metre"),
        _unit("m3/h", "volume_flow", "1/3600", "立方米每小时", "cubic metre per hour"),
        _unit("m3/s", "volume_flow", "1", "立方米每秒", "cubic metre per second"),
        _unit("L/h", "volume_flow", "1/3600000", "升每小时", "litre per hour"),
        _unit("g", "mass", "1/1000", "克", "gram"),
        _unit("kg", "mass", "1", "千克", "kilogram"),
        _unit("t", "mass", "1000", "吨", "tonne"),
        _unit("kg/h", "mass_flow", "1/3600", "千克每小时", "kilogram per hour"),
        _unit("t/h", "mass_flow", "5/18", "吨每小时", "tonne per hour"),
        _unit("kg/m3", "density", "1", "千克每立方米", "kilogram per cubic metre"),
        _unit("kg/m", "linear_density", "1", "千克每米", "kilogram per metre"),
        _unit("m/s", "speed", "1", "米每秒", "metre per second"),
        _unit("Pa", "pressure", "1", "帕", "pascal"),
        _unit("kPa", "pressure", "1000", "千帕", "kilopascal"),
        _unit("MPa", "pressure", "1000000", "兆帕", "megapascal"),
        _unit("bar", "pressure", "100000", "巴", "bar"),
        _unit("K", "temperature", "1", "开尔文", "kelvin"),
        _unit("Cel", "temperature", "1", "摄氏度", "degree Celsius", "5463/20"),
        _unit("1", "ratio", "1", "一", "one"),
        _unit("%", "ratio", "1/100", "百分之一", "per cent"),
        _unit("s", "time", "1", "秒", "second"),
        _unit("h", "time", "3600", "小时", "hour"),
        _unit("d", "time", "86400", "天", "day"),
        _unit("10^4CNY", "money", "10000", "万元", "ten thousand yuan"),
        _unit("CNY", "money", "1", "元", "yuan"),
        _unit("pc", "count", "1", "件", "piece"),
    )
}


def unit(symbol: str) -> Unit:
    """The unit with this symbol. Raises KeyError with the known symbols in its text."""
    try:
        return UNITS[symbol]
    except KeyError:
        raise KeyError(f"unknown unit {symbol!r}; known: {', '.join(UNITS)}") from None


def factor(source: str, target: str) -> Fraction:
    """The exact factor by which a number in `source` is multiplied to be in `target`.

    Raises ValueError when the units are of different dimensions or differ by an offset.
    """
    a, b = unit(source), unit(target)
    if a.dimension != b.dimension:
        raise ValueError(f"{source} is a unit of {a.dimension}, {target} of {b.dimension}")
    if a.offset != b.offset:
        raise ValueError(f"{source} and {target} differ by an offset; use convert")
    return a.factor / b.factor


def convert(value: Fraction | int | Decimal, source: str, target: str) -> Fraction:
    """`value` [source] as an exact fraction [target]. Raises ValueError on different dimensions."""
    a, b = unit(source), unit(target)
    if a.dimension != b.dimension:
        raise ValueError(f"{source} is a unit of {a.dimension}, {target} of {b.dimension}")
    return ((Fraction(value) + a.offset / a.factor) * a.factor - b.offset) / b.factor
