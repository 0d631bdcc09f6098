"""TLS as it is spoken to brokers and devices: one authority trusted, names checked, our own certificate where asked."""

import ssl

from gateway.errors import ConfigError, Problem


def tls_context(ca_file: str, cert_file: str = "", key_file: str = "") -> ssl.SSLContext | None:
    """Trusts this CA alone, checks the host's name, TLS 1.2 or newer; None = no TLS.

    With a certificate of our own and its key, PEM and not encrypted. Raises ConfigError, naming the file.
    """
    if not ca_file:
        return None
    key, expected = "tls_ca", "a file with a CA certificate in PEM form"
    try:
        context = ssl.create_default_context(cafile=ca_file)
        if cert_file:
            key, expected = "tls_cert", "a certificate in PEM form, and its own key, not encrypted, under tls_key"
            # a password would be asked for on the terminal, where a service has none
            context.load_cert_chain(cert_file, key_file, password="")
    except OSError as error:
        file = ca_file if key == "tls_ca" else cert_file
        raise ConfigError([Problem(file=file, line=None, key=key, found=str(error), expected=expected)]) from error
    context.sslsocket_class = _ClosedWhenRefused
    return context


class _ClosedWhenRefused(ssl.SSLSocket):
    """paho-mqtt forgets a socket whose handshake failed: it would stay open until somebody sweeps."""

    def do_handshake(self, block: bool = False) -> None:  # noqa: FBT001 - as it is inherited
        try:
            super().do_handshake(block)
        except OSError:
            self.close()
            raise
