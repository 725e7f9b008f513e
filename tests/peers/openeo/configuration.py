"""What the back-end is set up with: `PEER` in its environment, as JSON, and of that what openeo-driver reads itself.

Members: port; scene, a directory of one-band GeoTIFFs; work, a directory; secret and expiration (seconds) of signed
links; issuer, of an identity provider or null; clients, default ones for people there; workers, jobs that run at a
time; cwltool, its command.
"""
# mypy: ignore-errors

from __future__ import annotations

import json
import os

from openeo_driver.config import OpenEoBackendConfig
from openeo_driver.urlsigning import UrlSigner
from openeo_driver.users.oidc import OidcProvider

SETTINGS = json.loads(os.environ["PEER"])

config = OpenEoBackendConfig(
    id="earthcode-broker-test",
    capabilities_title="Test back-end",
    capabilities_backend_version="1.2.3-test",
    enable_basic_auth=True,
    valid_basic_auth=lambda username, password: password == f"{username}123",
    oidc_providers=[
        OidcProvider(
            id="test",
            issuer=SETTINGS["issuer"],
            scopes=["openid"],
            title="Test",
            default_clients=SETTINGS["clients"],
        )
    ]
    if SETTINGS["issuer"]
    else [],
    url_signer=UrlSigner(secret=SETTINGS["secret"], expiration=SETTINGS["expiration"]),
)
