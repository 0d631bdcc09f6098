"""A serial port of this machine as a byte stream of the running loop: pymodbus's transport, which pyserial feeds.

Of pymodbus the port is taken and nothing else. Its framer cuts answers by what they say of their own length and asks
for no silence before them, so that what belongs to another question can be taken for ours; here every answer is
checked against what was asked.
"""

import asyncio
import termios

import serial
from pymodbus.transport.serialtransport import SerialTransport

from collectors.byte_stream import ByteStream
from gateway.errors import LineSilent

_PARITY = {"even": serial.PARITY_EVEN, "odd": serial.PARITY_ODD, "none": serial.PARITY_NONE}
_DATA_BITS = 8


def open_serial(stream: ByteStream, port: str, *, baud: int, parity: str, stop_bits: int = 1) -> None:
    """Open the port for this program alone, with 8 data bits, and let it feed `stream`. Raises LineSilent."""
    loop = asyncio.get_running_loop()
    try:
        transport = SerialTransport(loop, stream, port, baud, _DATA_BITS, _PARITY[parity], stop_bits, 0)
    except (OSError, ValueError) as error:  # SerialException is an OSError
        raise LineSilent(f"serial port {port} cannot be opened: {error}") from None
    except termios.error as error:
        said = f"serial port {port} cannot be set to {baud} baud, parity {parity}: {error.args[-1]}"
        raise LineSilent(said) from None
    transport.setup()
    stream.open_to(transport)
