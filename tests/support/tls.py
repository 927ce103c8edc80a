"""Certificates for the tests' servers: two CAs of one life, made with the `openssl` program."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from tests.support.programs import find_program, run

_NEW_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
_ONE_LIFE = ("-days", "2")


@dataclass(frozen=True)
class Certificates:
    """A CA, the certificate it gave to `localhost` and 127.0.0.1, and another CA that gave nothing."""

    ca_file: Path
    certificate: Path
    key: Path
    wrong_ca_file: Path

    @classmethod
    def of(cls, folder: Path) -> Self:
        """Those that `make_certificates` has written into a folder."""
        return cls(folder / "ca.crt", folder / "server.crt", folder / "server.key", folder / "wrong-ca.crt")

    def server_context(self) -> ssl.SSLContext:
        """For a server written in Python."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.certificate, self.key)
        return context


def make_certificates(folder: Path) -> Certificates:
    """Makes `folder` and writes them into it; keys are readable by their owner only."""
    folder.mkdir(mode=0o755)
    made = Certificates.of(folder)
    for ca in (made.ca_file, made.wrong_ca_file):
        key = ca.with_suffix(".key")
        _openssl("req", "-x509", *_NEW_KEY, "-keyout", key, "-out", ca, "-subj", f"/CN=ehg {ca.stem}", *_ONE_LIFE)
    request, names = folder / "server.csr", folder / "server.ext"
    names.write_text("subjectAltName=DNS:localhost,IP:127.0.0.1\n")
    _openssl("req", *_NEW_KEY, "-keyout", made.key, "-out", request, "-subj", "/CN=localhost")
    signer = ("-CA", made.ca_file, "-CAkey", made.ca_file.with_suffix(".key"), "-CAcreateserial")
    _openssl("x509", "-req", "-in", request, *signer, "-out", made.certificate, "-extfile", names, *_ONE_LIFE)
    made.key.chmod(0o600)
    return made


def _openssl(*arguments: str | Path) -> None:
    run([find_program("openssl", "openssl"), *arguments])
