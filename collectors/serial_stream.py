"""A serial port of this machine as a byte stream of the running loop; the only file that knows pyserial."""

import asyncio
import os
import termios

import serial

from collectors.byte_stream import ByteStream
from gateway.errors import LineSilent

_PARITY = {"even": serial.PARITY_EVEN, "odd": serial.PARITY_ODD, "none": serial.PARITY_NONE}
_CHUNK = 4096


def open_serial(stream: ByteStream, port: str, *, baud: int, parity: str) -> None:
    """Open the port for this program alone (8 data bits, 1 stop bit), and let it feed `stream`. Raises LineSilent."""
    try:
        opened = serial.Serial(port, baud, parity=_PARITY[parity], timeout=0, write_timeout=0, exclusive=True)
    except (OSError, ValueError) as error:  # SerialException is an OSError
        raise LineSilent(f"serial port {port} cannot be opened: {error}") from None
    except termios.error as error:
        said = f"serial port {port} cannot be set to {baud} baud, parity {parity}: {error.args[-1]}"
        raise LineSilent(said) from None
    stream.open_to(_SerialOutlet(stream, opened))


class _SerialOutlet:
    """Reads when the loop says that there is something, and writes at once: a question fits the driver's buffer."""

    def __init__(self, stream: ByteStream, port: serial.Serial) -> None:
        self._stream = stream
        self._port = port
        self._loop = asyncio.get_running_loop()
        self._descriptor = port.fileno()
        self._loop.add_reader(self._descriptor, self._read)

    def write(self, data: bytes, /) -> None:
        """Send. Raises OSError, also where the driver takes only a part."""
        if os.write(self._descriptor, data) < len(data):
            raise OSError(f"{self._port.name}: the port does not take what is sent")

    def close(self) -> None:
        """Give the port back."""
        self._loop.remove_reader(self._descriptor)
        self._port.close()

    def _read(self) -> None:
        try:
            data = os.read(self._descriptor, _CHUNK)
        except BlockingIOError:
            return
        except OSError as error:  # the adapter was pulled out
            self._gone(error)
            return
        if data:
            self._stream.data_received(data)
        else:
            self._gone(None)

    def _gone(self, error: OSError | None) -> None:
        self._loop.remove_reader(self._descriptor)
        self._stream.connection_lost(error)
