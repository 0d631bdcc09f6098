"""The worked examples of the MODBUS Application Protocol Specification V1.1b3 for all that this product asks.

§6.1 to §6.4 as printed. In §6.21 the printed length of "Product code XX" is not that of its characters, and both
parts of the second example announce three objects; the length is set right here, the announcement is kept.
"""

EXAMPLES = [  # what is asked, the request, the answer, the data in it
    (("coil", 19, 19), bytes.fromhex("01 0013 0013"), bytes.fromhex("01 03 CD 6B 05"), bytes.fromhex("CD 6B 05")),
    (("discrete", 196, 22), bytes.fromhex("02 00C4 0016"), bytes.fromhex("02 03 AC DB 35"), bytes.fromhex("AC DB 35")),
    (
        ("holding", 107, 3),
        bytes.fromhex("03 006B 0003"),
        bytes.fromhex("03 06 022B 0000 0064"),
        bytes.fromhex("022B 0000 0064"),
    ),
    (("input", 8, 1), bytes.fromhex("04 0008 0001"), bytes.fromhex("04 02 000A"), bytes.fromhex("000A")),
]
_COMPANY, _PRODUCT, _REVISION = b"Company identification", b"Product code XX", b"V2.11"
_LONG_PRODUCT = b"Product code XXXXXXXXXXXXXXX"
IDENTIFIED = (
    bytes.fromhex("2B 0E 01 01 00 00 03 00 16") + _COMPANY + b"\x01\x0f" + _PRODUCT + b"\x02\x05" + _REVISION,
    {0: _COMPANY, 1: _PRODUCT, 2: _REVISION},
)
IDENTIFIED_IN_PARTS = (
    (
        bytes.fromhex("2B 0E 01 01 FF 02 03 00 16") + _COMPANY + b"\x01\x1c" + _LONG_PRODUCT,
        bytes.fromhex("2B 0E 01 01 00 00 03 02 05") + _REVISION,
    ),
    {0: _COMPANY, 1: _LONG_PRODUCT, 2: _REVISION},
)
