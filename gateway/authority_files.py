"""Files of certificate authorities that a site names for its brokers: which they are, and whether they are there."""

from collections.abc import Iterator
from pathlib import Path

from gateway.domain.sites import Site
from gateway.errors import Problem


def authority_files(site: Site) -> dict[str, Path]:
    """The CA files of the site's lines, sinks and witness, by the key that names each."""
    named = {f"line {line.id!r}.tls_ca": line.tls_ca for line in site.lines.values()}
    named |= {f"sink {sink.id!r}.tls_ca": sink.broker.tls_ca for sink in site.sinks.values() if sink.broker}
    if site.journal.witness is not None and site.journal.witness.broker is not None:
        named["witness.tls_ca"] = site.journal.witness.broker.tls_ca
    return {key: Path(path) for key, path in named.items() if path}


def missing_authorities(site: Site) -> Iterator[Problem]:
    """A mistake for each CA file that is not there. Not told at loading: a sink without one must not stop reading."""
    for key, path in authority_files(site).items():
        if not path.is_file():
            found, expected = f"{str(path)!r}, where no file is", "the file of the authority, in PEM form"
            mend = "Put it there; without it nothing is sent to or heard from this broker."
            yield Problem(file=str(site.file), line=None, key=key, found=found, expected=expected, mend=mend)
