"""What the plays need: a certificate that is thrown away, and settings from the flags that a row shows."""

from __future__ import annotations

import pytest
import trustme

from holdfast.lab.stage import Certificate


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    """For 127.0.0.1, with the authority that vouches for it."""
    place, authority = tmp_path_factory.mktemp("certificate"), trustme.CA()
    made = authority.issue_cert("127.0.0.1")
    authority.cert_pem.write_to_path(place / "authority.pem")
    made.private_key_pem.write_to_path(place / "key.pem")
    for pem in made.cert_chain_pems:
        pem.write_to_path(place / "chain.pem", append=True)
    return Certificate(place / "chain.pem", place / "key.pem", place / "authority.pem")
