"""Makes a self-signed certificate for a Jupyter server, and reads when one ends. Does no I/O."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

#: Browsers ask anew about each new one, so it lives long; Apple's take none that is made for more than 825
#: days (Apple HT210176), not even one that the user trusts himself.
VALID_DAYS: Final = 730
#: From how many days before its end on it is worth a word.
SOON_DAYS: Final = 30
#: Clocks differ.
_BEFORE: Final = timedelta(hours=24)
_ALWAYS: Final = ("localhost", "127.0.0.1", "::1")
_DNS_NAME: Final = re.compile(
    r"(?=.{1,253}$)([A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.)*[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
)


@dataclass(frozen=True, slots=True)
class Made:
    """A certificate and its key, both PEM; `names` are those it is for."""

    certificate: str
    key: str = field(repr=False)
    names: tuple[str, ...]
    ends: datetime


def make_certificate(names: Iterable[str], now: datetime) -> Made:
    """Make one for loopback and these names and addresses; what cannot stand in a certificate is left out."""
    chosen = tuple(dict.fromkeys(name for name in (*_ALWAYS, *names) if _general_name(name) is not None))
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Jupyter, made by jtunnel setup")])
    ends = (now + timedelta(days=VALID_DAYS)).replace(microsecond=0)
    public = key.public_key()
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _BEFORE)
        .not_valid_after(ends)
        .add_extension(
            x509.SubjectAlternativeName([made for name in chosen if (made := _general_name(name))]), False
        )
        # No authority: whoever steals the key can pretend to be this server, and nothing else.
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        .sign(key, hashes.SHA256())
    )
    return Made(
        certificate.public_bytes(serialization.Encoding.PEM).decode("ascii"),
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ).decode("ascii"),
        chosen,
        ends,
    )


def end_of(pem: str) -> datetime | None:
    """When the first certificate in a text ends; None where there is none that can be read."""
    try:
        return x509.load_pem_x509_certificate(pem.encode()).not_valid_after_utc
    except ValueError:
        return None


def remark(ends: datetime, now: datetime) -> str:
    """When it ends, in words, and what to do if that is soon."""
    days = (ends - now).days
    if days < 0:
        return f"the certificate ended on {ends:%Y-%m-%d}: make a new one with --renew"
    words = f"the certificate is good until {ends:%Y-%m-%d}"
    return f"{words}, {days} more days only: make a new one with --renew" if days < SOON_DAYS else words


def _general_name(name: str) -> x509.GeneralName | None:
    try:
        return x509.IPAddress(ipaddress.ip_address(name.partition("%")[0]))
    except ValueError:
        return x509.DNSName(name) if _DNS_NAME.fullmatch(name) else None


def _key_usage() -> x509.KeyUsage:
    unused = ("content_commitment", "key_encipherment", "data_encipherment", "key_agreement", "key_cert_sign")
    more = ("crl_sign", "encipher_only", "decipher_only")
    return x509.KeyUsage(digital_signature=True, **dict.fromkeys((*unused, *more), False))
