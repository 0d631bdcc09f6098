"""`/metrics`: what the acquiring process counts, passed on; and that none runs, where none does."""

from api.access import caller_scope
from collectors.counts_server import CountsServer
from collectors.line_counts import AcquireCounts
from gateway.acquire_socket import RUNNING
from gateway.clock_watch import ClockWatch
from gateway.clocks import SystemClock
from gateway.domain.scopes import scope_of
from tests.api.works import Caller, application


async def test_the_counts_of_the_acquiring_process_are_passed_on_while_it_runs(works):
    caller = Caller(application(works))
    counts = AcquireCounts(since=1_790_000_000_000_000)
    counts.line("bus").serve([("m-1", 1, ["alpha/p/q"])])
    counts.line("bus").answer(1, 1000)
    clock = SystemClock()
    server = CountsServer(counts, ClockWatch(clock))
    await server.start(works.data_dir, "")
    try:
        answer = await caller.get("/metrics")
        assert answer.status_code == 200
        assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
        assert "emg_acquire_running 1\n" in answer.text
        assert 'emg_device_polls_total{line="bus",meter="m-1",result="answered"} 1\n' in answer.text
        # lines serve several enterprises: who may see one of them alone is told no more than that it runs
        app = application(works)
        app.dependency_overrides[caller_scope] = lambda: scope_of("alpha")
        assert (await Caller(app).get("/metrics")).text == RUNNING
    finally:
        server.close()
    answer = await caller.get("/metrics")
    assert answer.status_code == 200
    assert answer.text.endswith("emg_acquire_running 0\n")
    assert "emg_device" not in answer.text
