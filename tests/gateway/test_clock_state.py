"""The state of the clock is the kernel's word, read from the right place; where nobody knows, that is said."""

import shutil
import subprocess
from pathlib import Path

import pytest

from gateway import clock_state as module
from gateway.clock_state import ClockState, clock_state

PROGRAM = """
#include <stdio.h>
#include <sys/timex.h>
int main(void)
{
    struct timex timex = {.modes = 0};
    int state = adjtimex(&timex);
    printf("%d %d %ld %ld %ld\\n", state, !(timex.status & STA_UNSYNC), timex.maxerror, timex.esterror, timex.freq);
    return 0;
}
"""


@pytest.mark.servers
def test_it_says_what_the_kernel_says_to_a_c_program(tmp_path: Path):
    if shutil.which("cc") is None:
        pytest.skip("needs a C compiler: apt-get install gcc libc6-dev")
    source = tmp_path / "ask.c"
    source.write_text(PROGRAM)
    subprocess.run(["cc", str(source), "-o", str(tmp_path / "ask")], check=True, timeout=60)
    asked = subprocess.run([str(tmp_path / "ask")], check=True, capture_output=True, text=True, timeout=10).stdout
    state, synchronised, max_error_us, _, _ = map(int, asked.split())
    found = clock_state(tmp_path / "absent")
    if state < 0:
        assert found == ClockState("unknown")
    else:
        assert found.state == ("synchronised" if synchronised else "unsynchronised")
        if synchronised:
            assert found.error_us is not None
            assert abs(found.error_us - max_error_us) <= 1_000_000  # it grows by 500 us a second


def test_where_the_kernel_gives_no_word_timesyncd_does_or_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module.ctypes, "CDLL", lambda name: None)  # a system without adjtimex
    mark = tmp_path / "synchronized"
    assert clock_state(mark) == ClockState("unknown")
    mark.touch()
    assert clock_state(mark) == ClockState("synchronised")
