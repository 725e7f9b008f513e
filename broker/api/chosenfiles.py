"""A package of several files, as a browser sends it: a zip, a folder, or files chosen at once, as one bundle."""

from __future__ import annotations

import base64
import io
import posixpath
import re
import zlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NoReturn
from zipfile import ZIP_DEFLATED, ZIP_STORED, BadZipFile, ZipFile

from broker.errors import InputError, InputProblem
from broker.packages.bundle import MAX_BUNDLE, MAX_ENTRIES

_CWL = (".cwl", ".yaml", ".yml", ".json")
_USUAL = ("package", "main", "app", "workflow")  # what the document to run is called, where there are several
_DECLARED = re.compile(rb"^\s*[\"']?cwlVersion[\"']?\s*:", re.MULTILINE)


def wanted(path: str) -> bool:
    """Whether a file of a folder can be part of a package: not what version control and file managers hide there."""
    return not any(part.startswith(".") or part == "__MACOSX" for part in path.split("/"))


def is_zip(data: bytes) -> bool:
    return data[:4] == b"PK\x03\x04"


def bundle(files: Mapping[str, bytes], main: str) -> dict[str, Any]:
    """The files as a bundle, not closed yet (whoever reads it takes what the document refers to). `files`: path -> its
    bytes; of a single zip, what is in it. `main`: the path of the document to run, or nothing. Raises InputError."""
    if len(files) == 1:
        [(name, data)] = files.items()
        if is_zip(data):
            files = dict(_unpacked(name, data))
    cut = _common(list(files))
    files = {path[cut:]: data for path, data in files.items()}
    entry, _, process = (main.strip() or _entry(files)).partition("#")
    if entry not in files:
        refuse(f"there is no {entry} among the files: {_listed(sorted(files))}")
    try:
        text = files[entry].decode()
    except UnicodeDecodeError:
        refuse(f"{entry} is not a text in UTF-8")
    others = {path: base64.b64encode(data).decode() for path, data in files.items() if path != entry}
    whole = f"{entry}#{process}" if process else entry
    return {"kind": "cwl", "entry": whole, "documents": {entry: text}, "files": others}


def refuse(why: str) -> NoReturn:
    raise InputError(InputProblem("", why))


def too_large() -> NoReturn:
    refuse(
        f"the files have more than {MAX_BUNDLE // 2**20} MiB together: leave out data, which jobs take as inputs, "
        "or use broker deploy, which sends only what the package refers to"
    )


def _unpacked(name: str, data: bytes) -> Iterator[tuple[str, bytes]]:
    left = MAX_BUNDLE
    try:
        with ZipFile(io.BytesIO(data)) as archive:
            members = [one for one in archive.infolist() if not one.is_dir() and wanted(one.filename)]
            if len(members) > MAX_ENTRIES:
                refuse(f"{name} holds more than {MAX_ENTRIES} files")
            for one in members:
                if one.flag_bits & 1 or one.compress_type not in (ZIP_STORED, ZIP_DEFLATED):
                    refuse(f"{one.filename} in {name} is encrypted, or packed in an unusual way")
                with archive.open(one) as file:
                    found = file.read(left + 1)
                left -= len(found)
                if left < 0:
                    too_large()
                yield one.filename, found
    except (BadZipFile, zlib.error, EOFError, NotImplementedError, ValueError) as error:
        refuse(f"{name} is a damaged zip file: {error}")


def _common(paths: Sequence[str]) -> int:
    """How many characters of leading folders all paths share."""
    heads = [posixpath.dirname(path) for path in paths]
    if not heads or "" in heads or any(path.startswith("/") for path in paths):
        return 0
    shared = posixpath.commonpath(heads)
    return len(shared) + 1 if shared else 0


def _entry(files: Mapping[str, bytes]) -> str:
    """The document to run: the only one, else the only one that is furthest up, else the one with a usual name."""
    found = [path for path, data in files.items() if path.endswith(_CWL) and _DECLARED.search(data)]
    if not found:
        refuse(f"none of the files is CWL (it says cwlVersion): {_listed(sorted(files))}")
    top = min(path.count("/") for path in found)
    found = [path for path in found if path.count("/") == top]
    usual = [path for path in found if posixpath.basename(path).rpartition(".")[0] in _USUAL]
    if len(found) > 1 and len(usual) != 1:
        refuse(f"several files are CWL: {_listed(sorted(found))}. Write below which of them is the package")
    return (usual if len(found) > 1 else found)[0]


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")
