"""What flows through the meters: energy carriers and energy-consumed media.

Source: GB/T 2589-2020 - General rules for calculation of the comprehensive energy consumption - §3.
"""

from enum import StrEnum


class EnergyCarrier(StrEnum):
    """The metered kinds. A fuel grade (raw coal, diesel) is an attribute that picks the conversion row."""

    COAL = "coal"
    OIL = "oil"
    WATER = "water"  # an energy-consumed medium in GB/T 2589's terms; counted by its rules
    ELECTRICITY = "electricity"
    GAS = "gas"
    HEAT = "heat"
    STEAM = "steam"
    COMPRESSED_AIR = "compressed_air"  # an energy-consumed medium


NAMES_ZH = {
    EnergyCarrier.COAL: "煤",
    EnergyCarrier.OIL: "油",
    EnergyCarrier.WATER: "水",
    EnergyCarrier.ELECTRICITY: "电",
    EnergyCarrier.GAS: "气",
    EnergyCarrier.HEAT: "热",
    EnergyCarrier.STEAM: "蒸汽",
    EnergyCarrier.COMPRESSED_AIR: "压缩空气",
}

NAMES_EN = {carrier: carrier.value.replace("_", " ") for carrier in EnergyCarrier}

MEDIA = frozenset({EnergyCarrier.WATER, EnergyCarrier.COMPRESSED_AIR})  # 耗能工质
