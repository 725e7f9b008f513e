"""The results of a job in whichever packaging they come: as CWL outputs, and where their bytes are. No network here.

Read are: a document of results (results.yaml), a list of `{id, value}` alone or under `outputs` (pygeoapi), one output
as JSON, a CWL output object (a broker of our kind), multipart/related, and Link headers without a body (1.0, raw by
reference). A file is referred to by its address, or by `#path` where the results hold it.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from email import message_from_bytes
from email.message import Message
from typing import Any
from urllib.parse import unquote, urljoin, urlsplit

from adapters.ogcapi.server import JSON, Reply
from broker.errors import PlatformRefused
from broker.packages.inputs import folder
from broker.packages.staged import basename, extension
from broker.platform import OutputFile

CWL_OUTPUT = "application/vnd.commonwl.output+json"
MULTIPART = "multipart/related"
ACCEPT = f"{CWL_OUTPUT}, {JSON};q=0.9, {MULTIPART};q=0.8, */*;q=0.5"
LARGEST_VALUE = 64 * 1024  # of JSON, as text: what is larger becomes a file
MOST_FILES = 100_000
_QUALIFIED = frozenset({"value", "mediaType", "encoding", "schema", "format"})
_LINK = re.compile(r"<([^>]*)>((?:\s*;\s*[\w-]+\*?=(?:\"[^\"]*\"|[^\",;]*))*)")
_PARAMETER = re.compile(r";\s*([\w-]+)\*?=(?:\"([^\"]*)\"|([^\",;]*))")
_ITEM = frozenset({"item", "enclosure", "result", "http://www.opengis.net/def/rel/ogc/1.0/results"})


@dataclass
class Results:
    """`base`: the address that links are relative to; `outputs`: as `Collected` has them; `contents`: by `ref`, the
    bytes of files that came with the results."""

    base: str
    outputs: dict[str, Any] = field(default_factory=dict)
    files: list[OutputFile] = field(default_factory=list)
    contents: dict[str, bytes] = field(default_factory=dict)
    _taken: dict[str, int] = field(default_factory=dict)

    def value(self, name: str, value: Any, place: str | None = None) -> Any:
        """A value as CWL has it; `place`: the directory that its files belong to."""
        place = place or folder(name)
        if isinstance(value, list):
            before = len(self.files)
            items = [self.value(name, one, place) for one in value]
            return items if len(self.files) > before else self._kept(name, items, place)
        if not isinstance(value, Mapping):
            return self._kept(name, value, place)
        if value.get("class") == "File" and isinstance(value.get("location"), str):
            return self.located(value, place)
        if value.get("class") == "Directory":
            return self.directory(value, place)
        if isinstance(value.get("href"), str):
            title = str(value.get("title") or "")
            return self.link(value["href"], _kind(value.get("type")), title if "." in title else "", place)
        if "value" in value and {*value} <= _QUALIFIED:
            return self.qualified(name, value, place)
        return self._kept(name, dict(value), place)

    def qualified(self, name: str, value: Mapping[str, Any], place: str) -> Any:
        """`{value, mediaType, encoding}`: JSON is a value, everything else a file."""
        form = value.get("format")
        full = {**form, **value} if isinstance(form, Mapping) else value
        media, encoding, content = _kind(full.get("mediaType")), str(full.get("encoding") or "").lower(), value["value"]
        if encoding == "base64" and isinstance(content, str):
            try:
                return self.content(name, base64.b64decode(content), media, place)
            except binascii.Error as error:
                raise PlatformRefused(f"The output {name} is not base64.", code="output-refused") from error
        if isinstance(content, str) and media is not None and not media.endswith("json"):
            return self.content(name, content.encode(), media, place)
        return self.value(name, content, place)

    def located(self, value: Mapping[str, Any], place: str) -> dict[str, Any]:
        """A CWL File, its secondary files beside it."""
        size = value.get("size")
        checksum = str(value.get("checksum") or "")
        found = self.link(
            value["location"],
            _kind(value.get("format")),
            str(value.get("basename") or ""),
            place,
            size if isinstance(size, int) else None,
        )
        if checksum:
            found["checksum"] = checksum
        if isinstance(others := value.get("secondaryFiles"), list):
            found["secondaryFiles"] = [self.value("", one, place) for one in others]
        return found

    def directory(self, value: Mapping[str, Any], place: str) -> dict[str, Any]:
        inside = self._place(place, basename(str(value.get("basename") or ""), "directory"))
        listing = [one for one in value.get("listing") or () if isinstance(one, Mapping)]
        for one in listing:
            self.value("", one, inside)
        return {"class": "Directory", "location": inside, "basename": inside.rpartition("/")[2]}

    def link(self, href: str, media: str | None, name: str, place: str, size: int | None = None) -> dict[str, Any]:
        """A file at an address."""
        path = self._place(place, basename(name or unquote(urlsplit(href).path), "data" + extension(media)))
        return self._file(OutputFile(path, urljoin(self.base, href), size, media))

    def content(self, name: str, data: bytes, media: str | None, place: str) -> dict[str, Any]:
        """A file that came with the results."""
        path = self._place(place, folder(name) + extension(media))
        self.contents[f"#{path}"] = data
        return self._file(OutputFile(path, f"#{path}", len(data), media))

    def _kept(self, name: str, value: Any, place: str) -> Any:
        """The value itself, or a file that holds it where it is large."""
        if isinstance(value, bool | int | float | None):
            return value
        text = value if isinstance(value, str) else json.dumps(value)
        if len(text) <= LARGEST_VALUE:
            return value
        return self.content(name, text.encode(), "text/plain" if isinstance(value, str) else JSON, place)

    def _file(self, file: OutputFile) -> dict[str, Any]:
        if len(self.files) >= MOST_FILES:
            raise PlatformRefused(f"The results have more than {MOST_FILES} files.", code="output-too-large")
        self.files.append(file)
        return {"class": "File", "location": file.path, "basename": file.path.rpartition("/")[2]}

    def _place(self, folder_of: str, name: str) -> str:
        """A path that nothing else has."""
        number = self._taken.get(f"{folder_of}/{name}", 0)
        path = f"{folder_of}/{number + 1}_{name}" if number else f"{folder_of}/{name}"
        self._taken[f"{folder_of}/{name}"] = number + 1
        return path if not number else self._place(folder_of, path.rpartition("/")[2])


def results(reply: Reply, known: frozenset[str]) -> Results:
    """What an answer with results holds; `known`: the names of the process's outputs. Raises PlatformRefused."""
    if reply.media_type.startswith("multipart/"):
        return _multipart(reply)
    links = [(href, fields) for href, fields in _links(reply) if fields.get("rel") in _ITEM]
    if reply.status == 204 or (not reply.body and links):
        return _referred(reply, links, known)
    if reply.media_type.endswith("json"):
        document = reply.json()
        if document is None and reply.body.strip() != b"null":
            raise PlatformRefused("The results are not valid JSON.", code="output-refused")
        return of_document(document, known, reply.url)
    found, name = Results(reply.url), _only(known)
    found.outputs[name] = found.link(
        reply.url, _kind(reply.media_type), folder(name) + extension(reply.media_type), folder(name)
    )
    return found


def read_whole(media: str) -> bool:
    """Whether results of this type are read at once; all others are one file, which may be large."""
    return media.endswith("json") or media.startswith("multipart/")


def of_document(document: Any, known: frozenset[str], url: str) -> Results:
    """The results in a JSON document, links relative to its address."""
    found = Results(url)
    for name, value in _entries(document, known):
        found.outputs[name] = found.value(name, value)
    return found


def _only(known: frozenset[str]) -> str:
    """The name of a single output that came without one."""
    return next(iter(known)) if len(known) == 1 else "result"


def _entries(document: Any, known: frozenset[str]) -> Iterator[tuple[str, Any]]:
    whole = document
    if isinstance(whole, Mapping) and {*whole} == {"outputs"} and "outputs" not in known:
        whole = whole["outputs"]
    if isinstance(whole, Mapping) and "value" in whole and _named(whole) and "id" not in known:
        whole = [whole]
    if isinstance(whole, list) and whole and all(isinstance(one, Mapping) for one in whole):
        if len(whole) == 1 and not _named(whole[0]) and {*whole[0]} <= known:
            whole = whole[0]  # a keyed object in a list (pygeoapi, of processes that keep to the standard)
        elif all(_named(one) for one in whole):
            yield from ((str(one["id"]), {key: one[key] for key in one if key != "id"}) for one in whole)
            return
    if isinstance(whole, Mapping) and (not whole or {*whole} & known or not known):
        yield from ((str(name), value) for name, value in whole.items())
    else:
        yield _only(known), whole


def _named(value: Mapping[str, Any]) -> bool:
    return isinstance(value.get("id"), str) and ({"value", "href"} & {*value} != set())


def _multipart(reply: Reply) -> Results:
    """Parts are outputs by their Content-ID; an empty one with Content-Location is a link (1.0)."""
    head = f"Content-Type: {reply.headers.get('Content-Type', '')}\r\n\r\n".encode()
    found = Results(reply.url)
    whole = message_from_bytes(head + reply.body)
    for part in whole.get_payload() if whole.is_multipart() else ():
        if not isinstance(part, Message):
            continue
        name = str(part.get("Content-ID") or "result").strip("<>").partition("@")[0]
        data = part.get_payload(decode=True)
        media, where = part.get_content_type(), part.get("Content-Location")
        if where and not data:
            found.outputs[name] = found.link(where, media, "", folder(name))
        elif media == JSON and isinstance(data, bytes):
            found.outputs[name] = found.value(name, _json(data))
        elif isinstance(data, bytes):
            found.outputs[name] = found.content(name, data, media, folder(name))
    return found


def _json(data: bytes) -> Any:
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as error:
        raise PlatformRefused("A part of the results is not valid JSON.", code="output-refused") from error


def _links(reply: Reply) -> Iterator[tuple[str, dict[str, str]]]:
    for href, rest in _LINK.findall(reply.headers.get("Link", "")):
        yield urljoin(reply.url, href), {key: quoted or plain for key, quoted, plain in _PARAMETER.findall(rest)}


def monitor(reply: Reply) -> str | None:
    """The job that an answer belongs to (Location, or a link of that kind), if it has one."""
    if location := reply.headers.get("Location"):
        return location
    return next((href for href, fields in _links(reply) if fields.get("rel") == "monitor"), None)


def _referred(reply: Reply, links: list[tuple[str, dict[str, str]]], known: frozenset[str]) -> Results:
    """Outputs that are links only; `title` is the name of the output, where it is one."""
    found = Results(reply.url)
    for href, fields in links:
        name = fields.get("title", "")
        name = name if name in known else _only(known)
        file = found.link(href, _kind(fields.get("type")), "", folder(name))
        before = found.outputs.get(name)
        found.outputs[name] = file if before is None else [*(before if isinstance(before, list) else [before]), file]
    return found


def _kind(media: Any) -> str | None:
    return media if isinstance(media, str) and re.fullmatch(r"[\w.+-]+/[\w.+-]+(\s*;.*)?", media) else None
