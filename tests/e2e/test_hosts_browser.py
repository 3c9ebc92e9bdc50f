"""What the posts lead to, as a person sees it: `jtunnel setup`, then a browser at https://localhost."""

from __future__ import annotations

import base64
import hashlib

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests.support.browser import LOAD_TIMEOUT_S, browser_tab
from tests.support.keys import Key
from tests.support.laptop import NAME, new_laptop, remote_account
from tests.support.streams import free_port

pytestmark = pytest.mark.long

PASSWORD = "correct horse"


def test_a_password_opens_a_notebook_over_tls(host_key: Key, client_key: Key, jupyter_bin: str) -> None:
    with (
        remote_account() as account,
        new_laptop(account, host_key, client_key, path=jupyter_bin) as laptop,
    ):
        if account.uid == 0:
            laptop.configure({"allow_root": True})
        port = str(free_port())
        words = ("setup", NAME, "--tls", "--port", port, "--password-stdin", "--yes", "--start")
        laptop.jtunnel.check(*words, stdin=f"{PASSWORD}\n", timeout=100)
        found = laptop.server()
        assert (found["origin"], found["secure"], found["password"]) == ("adopted", True, True)
        url = laptop.jtunnel.check("url", NAME).strip()
        assert url == found["url"]
        assert url.startswith("https://localhost:")
        assert url.endswith("/lab")
        # The browser minds a certificate that nobody signed; this one it takes, and no other.
        pin = f"--ignore-certificate-errors-spki-list={public_key_hash(laptop.jupyter().certificate())}"
        with browser_tab(pin) as lab:
            lab.page.goto(url)
            lab.page.locator("input[name=password]").fill(PASSWORD)
            lab.page.keyboard.press("Enter")
            lab.page.wait_for_url("https://localhost:*/lab**", timeout=LOAD_TIMEOUT_S * 1000)
            lab.new_notebook()
            lab.run_cell("6 * 7")
            lab.wait_output(1, "42")


def public_key_hash(certificate: str) -> str:
    """The SHA-256 of its SubjectPublicKeyInfo, in base64, as Chromium takes it."""
    key = x509.load_pem_x509_certificate(certificate.encode()).public_key()
    encoded = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return base64.b64encode(hashlib.sha256(encoded).digest()).decode()
