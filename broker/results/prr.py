"""Publishes items to ESA's results repository (PRR): EOEPCA's reg-api, with an S3 bucket that files are staged in.

What reg-api does not do is done here (version 0.0.2 of its interface, and what was seen of it):

- It registers an item before it moves the files, so a 201 says little: every asset is looked at afterwards.
- It says 422 "not found in the staging area" to an item that it has: what is there is asked for before each POST and
  after each refusal, and the same checksums are the same item.
- It answers a batch with an error although some of it was taken: items go one by one.

There is no way to replace an item, and only the repository's administrators delete one.
"""

from __future__ import annotations

import copy
import hashlib
import io
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urljoin, urlsplit

from broker.egress import Egress
from broker.errors import StorageError, TargetRefused, TargetUnavailable
from broker.results.archive import Bytes, opened
from broker.results.remotefile import difference
from broker.results.restapi import Reply, RestApi, basic, reason
from broker.results.target import MULTIHASH, File, Files, Finding, Json
from broker.storage.s3 import S3Storage
from broker.storage.signing import S3Account

CONTACT = "earth-code@esa.int"
RESTAGED = 2  # times that files which vanished from the bucket are sent again
_NOT_STAGED = "staging area"
PART, PARTS = 5 * 2**20, 9_000  # bytes of the smallest part, and the most parts, that S3 takes (10,000)
_BUFFER = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Place:
    """One repository, as the operator configured it, with the credential of who publishes.

    `reg_api` and `stac`: addresses of the write and the read interface; `bucket` at `account` is the user's staging
    area; `whole`: assets of up to so many bytes are read back, of larger ones only the size is asked for.
    """

    reg_api: str
    stac: str
    collection: str
    user: str
    password: str = field(repr=False)
    account: S3Account
    bucket: str
    whole: int = 64 * 2**20


class Prr:
    """See `Target`."""

    kind = "prr"

    def __init__(self, egress: Egress, place: Place) -> None:
        self._egress = egress
        self._place = place
        self._write = RestApi(egress, place.reg_api, basic(place.user, place.password))
        self._read = RestApi(egress, place.stac)

    def check(self) -> list[Finding]:
        """See `Target.check`. An item without anything in it is sent, which reg-api refuses after it has looked at the
        credential and the collection."""
        found = self.check_collection()
        collection, bucket = self._place.collection, self._place.bucket
        try:
            if not found:
                self._write.post({}, "collections", collection, "items")
        except TargetRefused as refusal:
            found.append(_asked("collection", f"Nothing may be registered in {collection}: {refusal.detail}"))
        try:
            S3Storage(self._place.account, bucket).size("earthcode-broker-check")
        except StorageError as error:
            found.append(
                _asked("bucket", f"The staging bucket {bucket} cannot be used with this credential: {error.detail}")
            )
        return found

    def check_collection(self) -> list[Finding]:
        """Whether the repository has it."""
        if self._read.get("collections", self._place.collection).status == 200:
            return []
        return [_asked("collection", f"The repository has no collection {self._place.collection}.")]

    def plan(self, items: list[Json]) -> Json:
        """See `Target.plan`."""
        return {"target": self.kind, "collection": self._place.collection, "items": items}

    def step(self, plan: Mapping[str, Any], receipt: Mapping[str, Any] | None, files: Files) -> Json:
        """See `Target.step`."""
        made: Json = copy.deepcopy(dict(receipt or {"state": "planned", "items": {}}))
        for planned in plan["items"]:
            own = made["items"].setdefault(planned["item"]["id"], {"state": "planned"})
            if own["state"] != "verified":
                _Step(self._egress, self._place, self._read, self._write, planned, own, files).take()
                break
        states = {own["state"] for own in made["items"].values()}
        whole = len(made["items"]) == len(plan["items"]) and states <= {"verified"}
        return made | {"state": "verified" if whole else "staging"}


@dataclass(slots=True)
class _Step:
    """One step of one item; `own` is its part of the receipt, which is changed."""

    egress: Egress
    place: Place
    read: RestApi
    write: RestApi
    planned: Mapping[str, Any]
    own: Json
    files: Files

    @property
    def name(self) -> str:
        return str(self.planned["item"]["id"])

    def take(self) -> None:
        wanted = {href: File.from_json(value) for href, value in self.planned["files"].items()}
        measured = self.own.setdefault("files", {})
        unknown = next((href for href, file in wanted.items() if file.checksum is None and href not in measured), None)
        if unknown is not None:
            measured[unknown] = self.measure(wanted[unknown])
        elif self.own["state"] == "planned":
            self.own["state"] = "staging"
            if not self.adopt():
                self.stage(wanted)
        elif self.own["state"] == "staging":
            self.stage(wanted)
        elif self.own["state"] == "staged":
            if not self.adopt():
                self.register()
        else:
            self.verify()

    # ---- what is there already

    def item(self) -> Json:
        """The item as it is registered: with the size and checksum of every file."""
        item: Json = copy.deepcopy(dict(self.planned["item"]))
        for asset in item["assets"].values():
            if (file := self.planned["files"].get(asset["href"])) is not None:
                known = self.own["files"].get(asset["href"]) or file
                asset |= {"file:size": known["size"], "file:checksum": MULTIHASH + known["sha256"]}
                asset["href"] = self.staged_name(asset["href"])
        return item

    def staged_name(self, href: str) -> str:
        """Where a file is put in the bucket: a function of what it is for, so that a second try is the same try."""
        return f"{self.place.collection}/{self.name}/{href.rpartition('/')[2]}"

    def adopt(self) -> bool:
        """Whether the repository has this item; that is the end of staging. Raises TargetRefused for another one."""
        found = self.found()
        if found is None:
            return False
        self.own |= {"state": "registered", "assets": {}}
        return True

    def found(self) -> Json | None:
        reply = self.read.get("collections", self.place.collection, "items", self.name)
        if reply.status == 404:
            return None
        if reply.status != 200 or not isinstance(reply.document, dict):
            raise TargetUnavailable(f"The repository does not say whether it has the item {self.name}.")
        if (how := _other(self.item(), reply.document)) is not None:
            raise TargetRefused(
                f"The repository has another item {self.name} already: {how}.",
                hint="Items are never replaced: publish under another id, or ask the repository to delete that one.",
            )
        return reply.document

    # ---- bytes

    def measure(self, file: File) -> Json:
        """Size and sha256 of an archive, which are known only once it was made."""
        digest, count = hashlib.sha256(), 0
        for chunk in opened(file, self.files):
            digest.update(chunk)
            count += len(chunk)
            self.files.progress(count)
        return {"size": count, "sha256": digest.hexdigest()}

    def stage(self, wanted: Mapping[str, File]) -> None:
        """Send the next file. One that was sent, and whose receipt was lost, is sent again to the same place."""
        sent = self.own.setdefault("sent", [])
        for href, file in wanted.items():
            if href not in sent:
                self.send(href, file)
                sent.append(href)
                break
        if len(sent) == len(wanted):
            self.own["state"] = "staged"

    def send(self, href: str, file: File) -> None:
        expected = self.own["files"].get(href) or {"size": file.size, "sha256": file.sha256}
        name = self.staged_name(href)
        source = io.BufferedReader(Bytes(opened(file, self.files)), _BUFFER)
        # Parts as small as an upload of this size allows: what is on its way is what a worker holds in memory.
        part = max(PART, -(-expected["size"] // PARTS))
        staging = S3Storage(self.place.account, self.place.bucket, part=part)
        try:
            kept = staging.keep(name, source, media_type=file.media_type, progress=self.files.progress)
        except StorageError as error:
            raise TargetUnavailable(f"{file.path} cannot be sent to the staging area: {error}") from error
        if (kept.size, kept.sha256) != (expected["size"], expected["sha256"]):
            staging.delete(name)
            raise TargetRefused(f"{file.path} is not what the job made any more: its checksum is another one.")

    # ---- the item

    def register(self) -> None:
        reply = self.write.post(self.item(), "collections", self.place.collection, "items")
        if reply.status in (200, 201):
            self.own |= {"state": "registered", "assets": {}}
        elif not self.adopt():
            self.refused(reply)

    def refused(self, reply: Reply) -> None:
        why, again = reason(reply), int(self.own.get("restaged", 0))
        if reply.status == 422 and _NOT_STAGED in why and again < RESTAGED and self.own.get("sent"):
            self.own |= {"state": "planned", "sent": [], "restaged": again + 1}
            return
        raise TargetRefused(f"The repository refused the item {self.name}: {why}.", hint=f"Ask {CONTACT}.")

    def verify(self) -> None:
        """Look at the next asset, where readers find it."""
        item = self.found()
        if item is None:
            raise TargetUnavailable(f"The repository does not show the item {self.name} yet.")
        seen = self.own["assets"]
        for key, asset in item["assets"].items():
            if key not in seen:
                seen[key] = self.looked_at(key, asset)
                break
        if len(seen) == len(item["assets"]):
            self.own |= {
                "state": "verified",
                "href": self.read.url("collections", self.place.collection, "items", self.name),
            }

    def looked_at(self, key: str, asset: Mapping[str, Any]) -> Json:
        ours, url = self.item()["assets"][key], urljoin(self.place.stac, str(asset.get("href")))
        known = {"href": url, "size": ours.get("file:size"), "checksum": ours.get("file:checksum")}
        sha256 = str(known["checksum"] or "").removeprefix(MULTIHASH) or None
        # An address that the repository gives may lead anywhere; only its own servers are the operator's choice.
        trusted = self.read.owns(url) or self.write.owns(url)
        wrong = difference(self.egress, url, size=known["size"], sha256=sha256, whole=self.place.whole, trusted=trusted)
        if wrong is None:
            return known
        if "://" not in ours["href"]:
            raise TargetUnavailable(
                f"The item {self.name} is registered, but its file {key} {wrong} ({url}).",
                hint="The repository moves files after it has registered an item. If this lasts, its staging was "
                f"interrupted: ask {CONTACT} to delete the item, then publish again.",
            )
        raise TargetRefused(f"The file {key} of the item {self.name} {wrong} ({url}).", hint="Check the link.")


def _other(ours: Mapping[str, Any], found: Mapping[str, Any]) -> str | None:
    """How a registered item is not ours: in its assets, their checksums or their links to elsewhere."""
    kept = found.get("assets")
    assets = {key: value for key, value in (kept if isinstance(kept, Mapping) else {}).items() if _leads(value)}
    if set(assets) != set(ours["assets"]):
        return f"it has the assets {', '.join(sorted(assets)) or 'none'}"
    for key, asset in ours["assets"].items():
        checksum = asset.get("file:checksum")
        if checksum is not None and assets[key].get("file:checksum") != checksum:
            return f"the checksum of {key} is another one"
        if "://" in asset["href"] and assets[key].get("href") != asset["href"]:
            return f"{key} lies elsewhere"
    return None


def _leads(asset: Any) -> bool:
    """Whether it is an asset, with a link that can be followed."""
    if not isinstance(asset, Mapping) or not isinstance(asset.get("href"), str):
        return False
    try:
        return urlsplit(asset["href"]).geturl() != ""
    except ValueError:  # such as http://[x
        return False


def _asked(name: str, message: str) -> Finding:
    return Finding("error", name, message, grants=CONTACT)
