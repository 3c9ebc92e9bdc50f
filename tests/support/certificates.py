"""Self-signed certificates as people make them, old and weak ones too."""

from __future__ import annotations

import datetime as dt
import os
import ssl
from dataclasses import dataclass

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa


@dataclass(frozen=True, slots=True)
class Certificate:
    """The paths of a certificate and of its key, and the SHA-256 of it in DER as hexadecimal digits."""

    certificate: str
    key: str
    fingerprint: str

    def server_context(self) -> ssl.SSLContext:
        """What a server that shows it uses, however weak it is."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.set_ciphers("ALL:@SECLEVEL=0")
        context.load_cert_chain(self.certificate, self.key)
        return context


def make_certificate(directory: str, name: str = "mycert", *, bits: int = 0) -> Certificate:
    """Make NAME.pem and NAME.key in `directory`, or new ones in their place; `bits` make it an RSA key."""
    key = rsa.generate_private_key(65537, bits) if bits else ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "anybody")])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=2))
        # It has ended: nobody but the browser minds.
        .not_valid_after(now - dt.timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    paths = os.path.join(directory, f"{name}.pem"), os.path.join(directory, f"{name}.key")
    private = serialization.PrivateFormat.TraditionalOpenSSL
    texts = (
        certificate.public_bytes(serialization.Encoding.PEM),
        key.private_bytes(serialization.Encoding.PEM, private, serialization.NoEncryption()),
    )
    for path, text in zip(paths, texts, strict=True):
        with open(path, "wb") as file:
            file.write(text)
        os.chmod(path, 0o600)
    return Certificate(*paths, certificate.fingerprint(hashes.SHA256()).hex())
