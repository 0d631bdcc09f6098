"""The front door: `emg COMMAND ...` finds the program that does it and steps aside.

Programs are loaded only when called, so that `emg check` never waits for pandas and a collector-only
installation works without it.
"""

import difflib
import sys
from collections.abc import Callable
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version

from gateway.errors import GatewayError
from gateway.parent_watch import end_with_parent

OWN_ROOMS = {"gateway", "collectors", "analytics", "api", "simulators"}
DISTRIBUTION = "energy-metrology-gateway"

# (words of the command) -> (module, function taking the remaining arguments, what it does)
COMMANDS: dict[tuple[str, ...], tuple[str, str, str]] = {
    ("demo",): ("simulators.demo", "demo_main", "a simulated plant and the whole chain, compared with the truth"),
    ("init",): ("gateway.check", "init_main", "write a commented sample site into a folder"),
    ("check",): ("collectors.checking_plans", "check_main", "check a site file, its profiles and their examples"),
    ("read",): ("collectors.reading_once", "read_main", "read the meters once and show raw words and values"),
    ("scan", "tcp"): ("collectors.scan_command", "scan_tcp_main", "find meters in a network, propose lines and meters"),
    ("run",): ("gateway.run", "run_main", "acquire, settle and serve together"),
    ("acquire",): ("collectors.acquire", "acquire_main", "read the lines, keep the journal, fill the store"),
    ("settle",): ("analytics.commands", "settle_main", "turn new readings into intervals"),
    ("serve",): ("api.serve", "serve_main", "the HTTP interface and the pages"),
    ("status",): ("gateway.status", "status_main", "age of the newest durable reading of every point"),
    ("sinks",): ("gateway.sinks.commands", "sinks_main", "how far every sink has got, and what is held back"),
    ("import", "readings"): ("collectors.importing", "import_readings_main", "readings from CSV or XLSX and a mapping"),
    ("import", "influx"): ("collectors.importing_influx", "import_influx_main", "the history of an InfluxDB"),
    ("import", "lines"): ("collectors.importing_lines", "import_lines_main", "readings from files of line protocol"),
    ("import", "certificates"): ("gateway.ledger.importing", "certificates_main", "verification, calibration"),
    ("import", "instruments"): ("gateway.ledger.importing", "instruments_main", "the instrument ledger 计量器具一览表"),
    ("import", "production"): ("gateway.ledger.importing", "production_main", "production by product and period"),
    ("import", "output-value"): ("gateway.ledger.importing", "output_value_main", "output value by period and price"),
    ("correct",): ("gateway.correcting", "correct_main", "propose a correction of a reading, approve, reject, list"),
    ("export", "readings"): ("gateway.exports.commands", "export_readings_main", "readings as CSV or Parquet files"),
    ("export", "intervals"): ("gateway.exports.commands", "export_intervals_main", "intervals as CSV or Parquet files"),
    ("derived",): ("analytics.derived_command", "derived_main", "points worked out from others, with their parts"),
    ("figures",): ("analytics.commands", "figures_main", "all figures of an enterprise and a period"),
    ("pedigree",): ("analytics.commands", "pedigree_main", "one figure unfolded to readings and certificates"),
    ("db", "backup"): ("gateway.stores.backup_commands", "backup_main", "copy a running site, with digests"),
    ("db", "restore"): ("gateway.stores.backup_commands", "restore_main", "put a backup into a folder of its own"),
    ("db", "rebuild"): ("gateway.stores.backup_commands", "rebuild_main", "reading store anew from the journal"),
    ("db", "compact"): ("gateway.stores.backup_commands", "compact_main", "seal the reading store, give room back"),
    ("db", "verify"): ("gateway.stores.backup_commands", "verify_main", "compare the reading store with the journal"),
    ("journal", "key"): ("gateway.journal_keys", "key_main", "the key that signs the journal, to give to who verifies"),
    ("journal", "rotate-key"): ("gateway.journal_keys", "rotate_key_main", "give the journal another key"),
    ("journal", "salvage"): ("gateway.journal_files", "salvage_main", "a damaged journal: what is whole, what is lost"),
    ("journal", "retain"): ("gateway.journal_files", "retain_main", "let old telemetry and evidence leave the journal"),
    ("db", "init"): ("gateway.stores.influx_commands", "init_main", "database and retention on an InfluxDB"),
    ("verify",): ("gateway.journal_files", "verify_main", "verify a journal: chain, signatures, witness, counts"),
    ("simulate",): (
        "simulators.simulate",
        "simulate_main",
        "meters of a laboratory file on the wire, with their truth",
    ),
}


def main(argv: list[str] | None = None) -> int:
    """Run one command. Returns its exit code: 0 good, 1 findings, 2 could not run."""
    end_with_parent()
    words = sys.argv[1:] if argv is None else argv
    if not words or words[0] in {"-h", "--help", "help"}:
        print(_help())  # noqa: T201 - the help is this program's output
        return 0
    if words[0] in {"-V", "--version", "version"}:
        print(f"emg {_version()}")  # noqa: T201
        return 0
    for length in (2, 1):
        found = COMMANDS.get(tuple(words[:length]))
        if found is not None:
            return _call(found, words[length:])
    return _unknown(words)


def _call(found: tuple[str, str, str], rest: list[str]) -> int:
    module, function, _ = found
    try:
        program: Callable[[list[str]], int] = getattr(import_module(module), function)
    except ModuleNotFoundError as error:
        if (error.name or "gateway").split(".")[0] in OWN_ROOMS:
            raise
        print(  # noqa: T201
            f"emg: this command needs the package {error.name!r}, which a core installation leaves out; "
            f"install it with: pip install '{DISTRIBUTION}[all]'",
            file=sys.stderr,
        )
        return 2
    try:
        return program(rest)
    except GatewayError as error:
        print(error, file=sys.stderr)  # noqa: T201
        return 2


def _unknown(words: list[str]) -> int:
    names = [" ".join(command) for command in COMMANDS]
    near = difflib.get_close_matches(" ".join(words[:2]), names, 1) or difflib.get_close_matches(words[0], names, 1)
    hint = f"; did you mean `emg {near[0]}`?" if near else "."
    print(f"emg: there is no command {words[0]!r}{hint} `emg --help` lists them.", file=sys.stderr)  # noqa: T201
    return 2


def _help() -> str:
    width = max(len(" ".join(command)) for command in COMMANDS)
    rows = [f"  emg {' '.join(command):<{width}}  {what}" for command, (_, _, what) in COMMANDS.items()]
    return "\n".join(
        [
            f"emg {_version()}: reads a plant's energy meters, keeps the readings as evidence, and turns them into",
            "figures with a pedigree. Every command takes --help; every one that prints takes --json.",
            "",
            *rows,
            "",
            "Exit codes: 0 good, 1 findings, 2 could not run.",
        ]
    )


def _version() -> str:
    try:
        return version(DISTRIBUTION)
    except PackageNotFoundError:
        return "(not installed)"


if __name__ == "__main__":
    sys.exit(main())
