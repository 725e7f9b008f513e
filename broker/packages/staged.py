"""Files and Directories of an execute request: where each is put below `inputs/`, and what brings its bytes there."""

from __future__ import annotations

import base64
import binascii
import json
import mimetypes
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import unquote, unquote_to_bytes, urlsplit

from broker.jobs.model import StageItem
from broker.packages.references import patterned
from broker.packages.types import GEOJSON, GEOMETRIES, media_type


@dataclass(frozen=True, slots=True)
class UploadRef:
    """An upload that a request names: a link the broker trusts, and what is known of the bytes."""

    url: str
    name: str
    media_type: str | None = None
    size: int | None = None
    sha256: str | None = None


Uploads = Callable[[str], "UploadRef | None"]
SCHEMES = ("http", "https", "s3")
JSON_TYPES = ("application/json", "application/geo+json", "application/stac+json")
GEOJSON_TYPES = frozenset({*GEOJSON, *GEOMETRIES})
_SHA256 = re.compile(r"[0-9a-f]{64}\Z")
_EXTENSIONS = {
    "image/tiff": ".tif", "application/geo+json": ".geojson", "application/json": ".json", "text/plain": ".txt",
    "text/csv": ".csv", "image/jpeg": ".jpg", "application/x-hdf5": ".h5", "application/netcdf": ".nc",
    "application/yaml": ".yaml",
}  # fmt: skip


class Misfit(Exception):
    """A value that is no File or Directory; says why."""


def basename(name: str, fallback: str) -> str:
    """A safe file name: the last part of a path or URL path, without control characters."""
    last = re.sub(r"[\x00-\x1f\x7f]", "_", name.rstrip("/").rpartition("/")[2]).strip()
    return fallback if last in ("", ".", "..") else last.encode()[-200:].decode("utf-8", "ignore")


def extension(media: str | None) -> str:
    plain = (media or "").split(";")[0].strip().lower()
    return _EXTENSIONS.get(plain) or mimetypes.guess_extension(plain) or ""


def same_media(declared: str | None, given: Any) -> bool:
    """False where both are known and differ; parameters, wildcards and `+json` kinds are let through."""
    if not declared or not isinstance(given, str) or "/" not in given:
        return not isinstance(given, str) or "/" in given or not given
    one, other = (text.split(";")[0].strip().lower() for text in (declared, given))
    if one == other or "*" in one + other or "octet-stream" in one + other:
        return True
    return one.endswith("json") and other.endswith("json")


def is_stac(value: Any) -> bool:
    return isinstance(value, Mapping) and "stac_version" in value


class Stager:
    """Collects StageItems. `mark` and `reset` take back what a trial of one alternative of a type added."""

    def __init__(self, uploads: Uploads) -> None:
        self.uploads = uploads
        self.items: list[StageItem] = []
        self.taken: set[str] = set()

    def mark(self) -> int:
        return len(self.items)

    def reset(self, mark: int) -> None:
        for item in self.items[mark:]:
            self.taken.discard(item.path)
        del self.items[mark:]

    def of_package(self, mark: int) -> None:
        """What was added since the mark was asked for by the package, not by the person who runs it."""
        self.items[mark:] = [replace(item, packaged=True) for item in self.items[mark:]]

    def place(self, folder: str, name: str) -> str:
        """A free path in `folder`."""
        path, number = f"{folder}/{name}", 1
        while path in self.taken:
            number += 1
            path = f"{folder}/{number}_{name}"
        self.taken.add(path)
        return path

    def put(self, path: str, **source: Any) -> None:
        self.items.append(StageItem(path=path, **source))

    # Files

    def file(self, value: Any, folder: str, parameter: Mapping[str, Any]) -> dict[str, Any]:
        """The CWL File that a value of an execute request means. Raises Misfit."""
        declared = media_type(parameter.get("format"))
        if isinstance(value, str):
            found = self.linked(value, folder, None)
        elif not isinstance(value, Mapping):
            raise Misfit(f"is {said(value)}, but a File is a link (an https URL, or an object with href)")
        elif value.get("class") == "File":
            found = self.cwl_file(value, folder)
        elif "class" in value:
            raise Misfit(f"is a {value['class']}, but a File is wanted")
        elif "href" in value:
            if not same_media(declared, value.get("type")):
                raise Misfit(f"has the media type {value['type']!r}, but {declared} is wanted")
            found = self.linked(value["href"], folder, value.get("type"))
        else:
            found = self.valued(value, folder, declared)
        if "format" not in found:
            formats = parameter.get("format")
            first = formats[0] if isinstance(formats, list) and formats else formats
            if isinstance(first, str) and "$(" not in first and "${" not in first:
                found["format"] = first
        self.secondary(found, folder, parameter)
        return found

    def linked(
        self, href: Any, folder: str, media: Any, name: str | None = None, sha256: str | None = None
    ) -> dict[str, Any]:
        if not isinstance(href, str):
            raise Misfit("has an href that is not a text")
        upload = self.uploads(href)
        if upload is not None:
            path = self.place(folder, basename(name or upload.name, "upload"))
            self.put(path, url=upload.url, trusted=True, size=upload.size, sha256=upload.sha256)
            return _cwl("File", path)
        if href.startswith("data:"):
            return self.data_url(href, folder, name)
        url = checked_url(href)
        fallback = "data" + extension(media if isinstance(media, str) else None)
        path = self.place(folder, basename(name or unquote(urlsplit(url).path), fallback))
        self.put(path, url=url, sha256=sha256)
        return _cwl("File", path)

    def data_url(self, href: str, folder: str, name: str | None) -> dict[str, Any]:
        head, comma, body = href[5:].partition(",")
        if not comma:
            raise Misfit("is a data: URL without a comma")
        media, *flags = head.split(";")
        path = self.place(folder, basename(name or "", "data" + extension(media)))
        data = body if "base64" in flags else base64.b64encode(unquote_to_bytes(body)).decode()
        self.put(path, data=checked_base64(unquote(data)))
        return _cwl("File", path)

    def valued(self, value: Mapping[str, Any], folder: str, declared: str | None) -> dict[str, Any]:
        """A File by value: `{value, mediaType, encoding}`, or a GeoJSON (or other JSON) object."""
        if "value" not in value:
            if str(value.get("type")) in GEOJSON_TYPES or is_stac(value) or (declared or "").endswith("json"):
                return self.text(json.dumps(value), folder, declared or "application/geo+json")
            raise Misfit('is neither a link ({"href": …}) nor a value ({"value": …, "mediaType": …})')
        extra = value.get("format")
        form = {**extra, **value} if isinstance(extra, Mapping) else value
        media, encoding = form.get("mediaType"), form.get("encoding")
        if not same_media(declared, media):
            raise Misfit(f"has the media type {media!r}, but {declared} is wanted")
        content = value["value"]
        if isinstance(content, Mapping) and "href" in content:
            return self.linked(content["href"], folder, content.get("type"))
        media = media if isinstance(media, str) else declared
        if not isinstance(content, str):
            return self.text(json.dumps(content), folder, media or "application/json")
        if encoding is None and content.startswith(("https://", "http://", "s3://")) and "\n" not in content:
            return self.linked(content, folder, media)
        if str(encoding).lower() == "base64":
            path = self.place(folder, "data" + extension(media))
            self.put(path, data=checked_base64(content))
            return _cwl("File", path)
        if encoding not in (None, "", "utf-8", "UTF-8", "7bit", "8bit", "binary"):
            raise Misfit(f"has the encoding {encoding!r}; use base64, or none for text")
        return self.text(content, folder, media or "text/plain")

    def text(self, content: str, folder: str, media: str | None, name: str | None = None) -> dict[str, Any]:
        path = self.place(folder, basename(name or "", "data" + extension(media)))
        self.put(path, text=content)
        return _cwl("File", path)

    def cwl_file(self, value: Mapping[str, Any], folder: str) -> dict[str, Any]:
        """A CWL File object, its secondary files beside it. With `sha256` (hex), a member that experiments have and
        CWL has not, staging takes no other file."""
        name = value.get("basename")
        if name is not None and (not isinstance(name, str) or "/" in name):
            raise Misfit("has a basename that is not a file name")
        where = value.get("location", value.get("path"))
        if where is None and isinstance(value.get("contents"), str):
            found = self.text(value["contents"], folder, None, name)
        elif where is None:
            raise Misfit("has neither a location nor contents")
        else:
            found = self.linked(where, folder, None, name, checked_sha256(value.get("sha256")))
        if isinstance(value.get("format"), str):
            found["format"] = value["format"]
        others = value.get("secondaryFiles")
        if isinstance(others, list) and others:
            found["secondaryFiles"] = [self.any(one, folder) for one in others]
        return found

    def any(self, value: Any, folder: str) -> dict[str, Any]:
        if isinstance(value, Mapping) and value.get("class") == "Directory":
            return self.directory(value, folder)
        return self.file(value, folder, {})

    def secondary(self, found: dict[str, Any], folder: str, parameter: Mapping[str, Any]) -> None:
        """Stage the secondary files that a parameter requires beside a linked File: the pattern applies to its URL."""
        item = self.items[-1] if self.items else None
        if "secondaryFiles" in found or item is None or not item.url or item.trusted or item.stac:
            return
        parts = urlsplit(item.url)
        for one in parameter.get("secondaryFiles") or []:
            pattern = one.get("pattern") if isinstance(one, Mapping) else None
            if not isinstance(pattern, str) or one.get("required") is False or "$" in pattern:
                continue
            path = self.place(folder, patterned(item.path.rpartition("/")[2], pattern))
            url = parts._replace(path=patterned(parts.path, pattern)).geturl()
            self.put(path, url=url)
            found.setdefault("secondaryFiles", []).append(_cwl("File", path))

    # Directories

    def directory(self, value: Any, folder: str) -> dict[str, Any]:
        """The CWL Directory that a value of an execute request means. Raises Misfit."""
        if isinstance(value, str):
            return self.linked_directory(value, folder, None)
        if not isinstance(value, Mapping):
            raise Misfit(f"is {said(value)}, but a Directory is a link (of a STAC item, collection or catalog)")
        if value.get("class") == "Directory":
            return self.cwl_directory(value, folder)
        if "class" in value:
            raise Misfit(f"is a {value['class']}, but a Directory is wanted")
        if "href" in value:
            return self.linked_directory(value["href"], folder, value.get("type"))
        content = value.get("value", value)
        if is_stac(content) or (isinstance(content, Mapping) and content.get("type") == "FeatureCollection"):
            path = self.place(folder, basename(str(content.get("id") or ""), "stac"))
            self.put(path, text=json.dumps(content), stac=True)
            return _cwl("Directory", path)
        if isinstance(content, str | Mapping) and content is not value:
            return self.directory(content, folder)
        raise Misfit('is neither a link ({"href": …}) nor a STAC item, collection or catalog')

    def linked_directory(
        self, href: Any, folder: str, media: Any, name: str | None = None, files: Mapping[str, str] | None = None
    ) -> dict[str, Any]:
        """Over http a link means STAC unless it ends in `/`; in s3 a prefix, unless it ends in `.json`. `files`: as in
        StageItem."""
        if not isinstance(href, str):
            raise Misfit("has an href that is not a text")
        upload = self.uploads(href)
        url = upload.url if upload else checked_url(href)
        plain = str(media or (upload.media_type if upload else "") or "").split(";")[0].strip()
        path_of = upload.name if upload else unquote(urlsplit(url).path)
        stac = plain in JSON_TYPES or path_of.endswith(".json") or bool(upload)
        if not stac and plain not in ("application/directory", "inode/directory"):
            stac = not url.startswith("s3:") and not url.endswith("/")
        path = self.place(folder, basename(name or path_of.removesuffix(".json"), "stac" if stac else "directory"))
        self.put(path, url=url, stac=stac, directory=not stac, trusted=upload is not None, files=files)
        return _cwl("Directory", path)

    def cwl_directory(self, value: Mapping[str, Any], folder: str) -> dict[str, Any]:
        name = value.get("basename")
        if name is not None and (not isinstance(name, str) or "/" in name):
            raise Misfit("has a basename that is not a file name")
        where = value.get("location", value.get("path"))
        listing = value.get("listing")
        if isinstance(listing, list):
            fallback = basename(str(where or ""), "directory")
            path = self.place(folder, basename(name or "", fallback))
            entries = [self.any(one, path) for one in listing]
            if _materialised(listing):
                found = _cwl("Directory", path)
                # A literal's listing is part of its value; that of a directory which is somewhere is for
                # `loadListing` to show, and only says here what to stage.
                return found if where is not None else {**found, "listing": entries}
            return {"class": "Directory", "basename": path.rpartition("/")[2], "listing": entries}
        if where is None:
            raise Misfit("has neither a location nor a listing")
        return self.linked_directory(where, folder, None, name, _expected(value.get("files")))


def _expected(files: Any) -> dict[str, str] | None:
    """What an experiment's input.yaml says of the files of a Directory: [{path, sha256}]. Raises Misfit."""
    if files is None:
        return None
    try:
        found = {one["path"]: one["sha256"].lower() for one in files}
    except (TypeError, KeyError, AttributeError):
        raise Misfit("has files that are not a list of objects with path and sha256") from None
    if not all(isinstance(path, str) and _SHA256.match(digest) for path, digest in found.items()):
        raise Misfit("has files whose sha256 are not 64 hexadecimal digits")
    return found


def _materialised(listing: list[Any]) -> bool:
    """True where every directory below holds a file, so that staging the files makes all of them."""
    return bool(listing) and all(
        _materialised(one["listing"])
        for one in listing
        if isinstance(one, Mapping) and one.get("class") == "Directory" and isinstance(one.get("listing"), list)
    )


def _cwl(kind: str, path: str) -> dict[str, Any]:
    """`location` is a path relative to the job's directory, not percent-encoded."""
    return {"class": kind, "location": f"inputs/{path}", "basename": path.rpartition("/")[2]}


def checked_url(href: str) -> str:
    """A URL that staging may fetch. Raises Misfit."""
    if href.lower().startswith("file:") or href.startswith(("/", "./", "../")):
        raise Misfit(f"{href[:200]!r} is a file of one computer; upload it first, or use an https link")
    try:
        parts = urlsplit(href)
        host = parts.hostname
    except ValueError:
        raise Misfit(f"{href[:200]!r} is not a URL") from None
    if parts.scheme.lower() not in SCHEMES:
        raise Misfit(f'{href[:200]!r} is not a link: it must start with https:// or s3://; content goes into "value"')
    if not host or any(ord(char) <= 32 for char in href):
        raise Misfit(f"{href[:200]!r} is not a URL")
    return href


def checked_sha256(value: Any) -> str | None:
    """The digest that a file must have. Raises Misfit."""
    if value is not None and not (isinstance(value, str) and re.fullmatch(r"[0-9a-f]{64}", value)):
        raise Misfit("has a sha256 that is not 64 hexadecimal digits")
    return value


def checked_base64(text: str) -> str:
    plain = re.sub(r"\s+", "", text)
    try:
        base64.b64decode(plain, validate=True)
    except (binascii.Error, ValueError):
        raise Misfit("is not base64") from None
    return plain


def said(value: Any) -> str:
    """How a JSON value is called in a sentence."""
    if value is None:
        return "null"
    for kind, name in ((bool, "a boolean"), (int | float, "a number"), (str, "a text"), (list, "an array")):
        if isinstance(value, kind):
            return name
    return "an object"
