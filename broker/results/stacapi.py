"""Publishes items whose data lies elsewhere to a STAC API with transactions: no bytes are sent, only documents.

Source: https://github.com/stac-api-extensions/transaction and .../collection-transaction (v1.0.0).
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from broker.egress import Egress
from broker.errors import TargetRefused, TargetUnavailable
from broker.results.remotefile import difference
from broker.results.restapi import Reply, RestApi, reason
from broker.results.target import MULTIHASH, Files, Finding, Json

_BY_SERVER = frozenset({"links", "collection", "stac_extensions", "created", "updated"})  # servers change these


class StacApi:
    """See `Target`. `address`: of the API; `document`: the collection, made where it is not there (None: it has to be);
    `authorization`: the header's value; `whole`: bytes of the largest file that is read to compare its checksum."""

    kind = "stac-api"

    def __init__(
        self,
        egress: Egress,
        address: str,
        collection: str,
        *,
        authorization: str | None = None,
        document: Mapping[str, Any] | None = None,
        whole: int = 64 * 2**20,
    ) -> None:
        self._egress = egress
        self._api = RestApi(egress, address, authorization)
        self._collection = collection
        self._document = document
        self._whole = whole

    def check(self) -> list[Finding]:
        """See `Target.check`."""
        if self._document is None and self._api.get("collections", self._collection).status == 404:
            message = f"{self._api.address} has no collection {self._collection}."
            return [Finding("error", "collection", message, grants="who runs this STAC API")]
        return []

    def plan(self, items: list[Json]) -> Json:
        """See `Target.plan`. Raises TargetRefused for items with files."""
        for planned in items:
            if planned["files"]:
                raise TargetRefused(
                    f"The item {planned['item']['id']} has files to be sent, which a STAC API does not keep.",
                    hint="Publish it to a results repository, or give links to where its data lies.",
                )
        plan: Json = {"target": self.kind, "collection": self._collection, "items": items}
        return plan | ({"document": dict(self._document)} if self._document else {})

    def step(self, plan: Mapping[str, Any], receipt: Mapping[str, Any] | None, files: Files) -> Json:
        """See `Target.step`."""
        made: Json = copy.deepcopy(dict(receipt or {"state": "planned", "items": {}}))
        if "collection" not in made:
            made["collection"] = self._api.url("collections", self._collection)
            if plan.get("document"):
                self._put(plan["document"], ("collections",), (self._collection,))
                return made | {"state": "staging"}
            if findings := self.check():  # some answer with 500 to an item of a collection that they do not have
                raise TargetRefused(
                    findings[0].message, hint="Have it made, or publish with the collection's document."
                )
        for planned in plan["items"]:
            own = made["items"].setdefault(planned["item"]["id"], {"state": "planned"})
            if own["state"] != "verified":
                self._go_on(planned["item"], own)
                break
        states = {own["state"] for own in made["items"].values()}
        whole = len(made["items"]) == len(plan["items"]) and states <= {"verified"}
        return made | {"state": "verified" if whole else "staging"}

    def _go_on(self, item: Json, own: Json) -> None:
        if own["state"] == "planned":
            ours = {**item, "collection": self._collection}
            href = self._put(ours, ("collections", self._collection, "items"), (item["id"],))
            own |= {"state": "registered", "href": href, "assets": {}}
            return
        if self._found(item, ("collections", self._collection, "items", item["id"])) is None:
            raise TargetUnavailable(f"The STAC API does not show the item {item['id']} yet.")
        for key, asset in item["assets"].items():
            if key not in own["assets"]:
                own["assets"][key] = self._looked_at(item["id"], key, asset)
                break
        if len(own["assets"]) == len(item["assets"]):
            own["state"] = "verified"

    def _put(self, document: Mapping[str, Any], place: tuple[str, ...], name: tuple[str, ...]) -> str:
        """Create a document where it is not there; its address. An equal one that is there is the same."""
        if self._found(document, (*place, *name)) is None:
            reply = self._api.post(document, *place)
            if reply.status not in (200, 201) and self._found(document, (*place, *name)) is None:
                raise TargetRefused(f"The STAC API refused {document['id']}: {reason(reply)}.")
        return self._api.url(*place, *name)

    def _found(self, ours: Mapping[str, Any], place: tuple[str, ...]) -> Json | None:
        """What is there under this name, None for nothing. Raises TargetRefused where it is something else."""
        reply: Reply = self._api.get(*place)
        if reply.status == 404:
            return None
        if reply.status != 200 or not isinstance(reply.document, dict):
            raise TargetUnavailable(f"The STAC API does not say whether it has {ours['id']}: {reason(reply)}.")
        if (where := other(ours, reply.document)) is not None:
            raise TargetRefused(
                f"The STAC API has another {ours['id']} already: {where or 'the document'} differs.",
                hint="Publish under another id, or have that one removed.",
            )
        return reply.document

    def _looked_at(self, name: str, key: str, asset: Mapping[str, Any]) -> Json:
        url, size = str(asset["href"]), asset.get("file:size")
        known = {"href": url, "size": size, "checksum": asset.get("file:checksum")}
        if not url.startswith(("http://", "https://")):
            return known | {"unchecked": True}
        sha256 = str(known["checksum"] or "").removeprefix(MULTIHASH) or None
        wrong = difference(self._egress, url, size=size, sha256=sha256, whole=self._whole)
        if wrong is not None:
            raise TargetRefused(f"The file {key} of the item {name} {wrong} ({url}).", hint="Check the link.")
        return known


def other(ours: Any, found: Any, where: str = "") -> str | None:
    """The first place where a kept document does not say what ours says; None where it says all of it. Servers add
    members, order extensions and write times in their own way."""
    if isinstance(ours, Mapping) and isinstance(found, Mapping):
        for key, value in ours.items():
            if key in _BY_SERVER or (value is None and key not in found):
                continue
            if key not in found:
                return f"{where}/{key}"
            if (deeper := other(value, found[key], f"{where}/{key}")) is not None:
                return deeper
        return None
    if _list(ours) and _list(found):
        if len(ours) != len(found):
            return where
        pairs = enumerate(zip(ours, found, strict=True))
        return next((deeper for n, (a, b) in pairs if (deeper := other(a, b, f"{where}/{n}")) is not None), None)
    return None if ours == found or _same_time(ours, found) else where


def _list(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str)


def _same_time(one: Any, two: Any) -> bool:
    try:
        return isinstance(one, str) and datetime.fromisoformat(one) == datetime.fromisoformat(two)
    except (ValueError, TypeError):
        return False
