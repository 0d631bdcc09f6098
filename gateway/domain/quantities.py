"""The closed list of physical quantities, spoken by profiles, MQTT, stores and API alike."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Quantity:
    """One physical quantity: its name everywhere in the product, and the dimension its unit must have."""

    name: str
    dimension: str
    name_zh: str
    name_en: str


def _phases(name: str, dimension: str, name_zh: str, name_en: str) -> tuple[Quantity, ...]:
    return tuple(
        Quantity(f"{name}_l{phase}", dimension, f"{'ABC'[phase - 1]}相{name_zh}", f"{name_en} L{phase}")
        for phase in (1, 2, 3)
    )


def _tariffs(name: str, name_zh: str, name_en: str) -> tuple[Quantity, ...]:
    return tuple(
        Quantity(f"{name}_t{tariff}", "energy", f"费率{tariff}{name_zh}", f"{name_en}, tariff {tariff}")
        for tariff in (1, 2, 3, 4)
    )


QUANTITIES: dict[str, Quantity] = {
    quantity.name: quantity
    for quantity in (
        Quantity("active_energy_import", "energy", "正向有功电能", "active energy, import"),
        Quantity("active_energy_export", "energy", "反向有功电能", "active energy, export"),
        *_tariffs("active_energy_import", "正向有功电能", "active energy, import"),
        *_tariffs("active_energy_export", "反向有功电能", "active energy, export"),
        Quantity("reactive_energy_import", "reactive_energy", "正向无功电能", "reactive energy, import"),
        Quantity("reactive_energy_export", "reactive_energy", "反向无功电能", "reactive energy, export"),
        Quantity("active_power", "power", "有功功率", "active power"),
        Quantity("reactive_power", "reactive_power", "无功功率", "reactive power"),
        Quantity("apparent_power", "apparent_power", "视在功率", "apparent power"),
        Quantity("active_demand", "power", "有功需量", "active demand"),
        Quantity("power_factor", "ratio", "功率因数", "power factor"),
        Quantity("frequency", "frequency", "频率", "frequency"),
        *_phases("voltage", "voltage", "电压", "voltage"),
        *_phases("current", "current", "电流", "current"),
        *_phases("active_power", "power", "有功功率", "active power"),
        Quantity("volume", "volume", "累积体积", "volume"),
        Quantity("volume_reverse", "volume", "反向累积体积", "volume, reverse"),
        Quantity("volume_flow", "volume_flow", "体积流量", "volume flow"),
        Quantity("mass", "mass", "累积质量", "mass"),
        Quantity("mass_flow", "mass_flow", "质量流量", "mass flow"),
        Quantity("heat", "energy", "累积热量", "heat"),
        Quantity("heat_power", "power", "热功率", "heat power"),
        Quantity("temperature", "temperature", "温度", "temperature"),
        Quantity("temperature_supply", "temperature", "供水温度", "supply temperature"),
        Quantity("temperature_return", "temperature", "回水温度", "return temperature"),
        Quantity("pressure", "pressure", "压力", "pressure"),
        Quantity("density", "density", "密度", "density"),
        # As received (收到基低位): what a laboratory states of a batch, and what standard coal is reckoned with.
        Quantity("net_calorific_value", "specific_energy", "低位发热量", "net calorific value"),
        Quantity("moisture", "ratio", "全水分", "total moisture"),
        Quantity("belt_load", "linear_density", "皮带负荷", "belt load"),
        Quantity("belt_speed", "speed", "皮带速度", "belt speed"),
        Quantity("running", "ratio", "运行状态", "running"),  # 1 = running, 0 = standing still
        Quantity("valve_state", "ratio", "阀门状态", "valve state"),  # 0 = open, 1 = closed, 3 = abnormal
        Quantity("battery_low", "ratio", "电池欠压", "battery low"),  # 1 = low, 0 = in order
        Quantity("stock", "mass", "库存", "stock"),
        Quantity("stock_volume", "volume", "库存体积", "stock, by volume"),
    )
}
