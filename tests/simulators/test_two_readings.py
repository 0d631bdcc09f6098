"""The simulator's register maps and the product's profiles were written apart: here they meet, without a wire."""

from datetime import UTC, datetime

import pytest

from gateway.decoding import decode_words
from gateway.domain.instruments import RegisterKind
from gateway.domain.periods import to_instant
from gateway.profile import load_profile
from simulators.lab import load_lab
from simulators.models import MODELS
from simulators.plant import Plant

EPOCH = to_instant(datetime(2026, 10, 1, tzinfo=UTC))
PLANT = Plant(load_lab("cement"), epoch=EPOCH)
AT = EPOCH + 5 * 86_400_000_000 + 1_234_000_000
PROFILES = {
    "E-MAIN": "electricity/acrel_adw300",
    "E-AUX": "electricity/eastron_sdm630",
    "E-OFFICE": "electricity/emg_message_electricity",
    "W-MAIN": "water/siemens_mag6000",
    "W-KILN": "water/emg_message_water",
    "G-MAIN": "gas/emg_message_gas",
    "O-MAIN": "oil/tuf2000",
    "C-BELT": "coal/siemens_bw500",
    "S-WHR": "steam/spirax_tva",
}


@pytest.mark.parametrize(("point", "name"), PROFILES.items())
def test_profile_and_simulated_meter_agree_on_units_steps_and_moduli(point, name):
    profile, meter = load_profile(name), PLANT.meters[point]
    shown = {field.quantity: field for field in meter.model.fields}
    for quantity in shown.keys() & profile.registers.keys():
        register = profile.registers[quantity].register
        assert register.unit == shown[quantity].unit
        assert (register.kind is RegisterKind.CUMULATIVE) == shown[quantity].total
        if shown[quantity].total:
            assert (register.resolution, register.modulus) == (shown[quantity].step, shown[quantity].modulus)
    assert shown.keys() <= profile.registers.keys() | {"temperature_return"}


@pytest.mark.parametrize(
    "point", [point for point in PROFILES if MODELS[PLANT.meters[point].model.name].fields[0].table]
)
def test_the_product_decodes_what_the_simulated_meter_says(point):
    profile, meter = load_profile(PROFILES[point]), PLANT.meters[point]
    for quantity, register in profile.registers.items():
        field = meter.model.field(quantity)
        assert (register.table, register.address) == (field.table, field.address)
        words = meter.words_at(field, AT)
        decoded = decode_words(register.encoding, register.register, words)
        assert decoded == pytest.approx(meter.shown_at(quantity, AT), rel=1e-12), quantity
