"""Licence and authors: of the package itself, else of the files of its repository."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest

from broker.packages import credits, source

CITATION = """cff-version: 1.2.0
license: [MIT, Apache-2.0]
authors:
  - {family-names: Lovelace, given-names: Ada, orcid: https://orcid.org/0000-0002-1825-0097}
  - {name: Analytical Engines, website: https://example.org}
  - {alias: nobody}
"""
CODEMETA = {
    "@context": "https://w3id.org/codemeta/3.0",
    "license": "https://spdx.org/licenses/GPL-3.0-only.html",
    "author": {"@id": "https://orcid.org/0000-0002-1825-0097", "givenName": "Ada", "familyName": "Lovelace"},
}
ADA = {"name": "Ada Lovelace", "identifier": "https://orcid.org/0000-0002-1825-0097"}
APACHE = "\n                                 Apache License\n                           Version 2.0, January 2004\n"


def told(files: Mapping[str, str]) -> dict[str, Any]:
    def read(name: str) -> bytes:
        if name not in files:
            raise FileNotFoundError(2, "not there", name)
        return files[name].encode()

    return credits.of_repository(read)


def test_files_of_a_repository() -> None:
    company = {"name": "Analytical Engines", "identifier": "https://example.org"}
    assert told({"CITATION.cff": CITATION, "LICENSE": APACHE}) == {"license": "MIT", "authors": [ADA, company]}
    assert told({"codemeta.json": json.dumps(CODEMETA)}) == {"license": "GPL-3.0-only", "authors": [ADA]}
    assert told({"CITATION.cff": "authors: [{name: A}]", "LICENSE": APACHE}) == {
        "license": "Apache-2.0",
        "authors": [{"name": "A"}],
    }
    assert told({}) == {}


@pytest.mark.parametrize(
    ("text", "name"),
    [
        (APACHE, "Apache-2.0"),
        ("MIT License\n\nCopyright (c) 2026 A", "MIT"),
        ("Permission is hereby granted, free of charge, to any person", "MIT"),
        ("GNU GENERAL PUBLIC LICENSE\n                       Version 3, 29 June 2007", "GPL-3.0-only"),
        ("GNU LESSER GENERAL PUBLIC LICENSE\n Version 3, 29 June 2007", "LGPL-3.0-only"),
        ("GNU AFFERO GENERAL PUBLIC LICENSE\n Version 3", "AGPL-3.0-only"),
        ("EUROPEAN UNION PUBLIC LICENCE v. 1.2", "EUPL-1.2"),
        ("Redistribution and use in source and binary forms ... Neither the name of", "BSD-3-Clause"),
        ("Redistribution and use in source and binary forms, with or without", "BSD-2-Clause"),
        ("Attribution 4.0 International\n\nCreative Commons", "CC-BY-4.0"),
        ("All rights reserved.", None),
    ],
)
def test_licence_texts(text: str, name: str | None) -> None:
    assert told({"LICENSE": text}).get("license") == name


@pytest.mark.parametrize(
    "bad", ["[" * 10_000, "5", "[]", "authors: 5", "license: {}", "\0", "authors: [[1], {name: [2]}]"]
)
def test_odd_files_say_nothing(bad: str) -> None:
    assert told({"CITATION.cff": bad, "codemeta.json": bad, "LICENSE": bad}) == {}


def test_the_package_itself_counts_more() -> None:
    person = {
        "class": "https://schema.org/Person",
        "https://schema.org/name": "Grace",
        "s:identifier": ADA["identifier"],
    }
    process = {
        "https://schema.org/license": {"url": "https://www.apache.org/licenses/LICENSE-2.0"},
        "https://schema.org/author": [person, "Hopper", 5],
    }
    found = source.completed({"commit": "c", "license": "MIT", "authors": [ADA]}, process)
    assert found == {
        "commit": "c",
        "license": "https://www.apache.org/licenses/LICENSE-2.0",
        "authors": [{"name": "Grace", "identifier": ADA["identifier"]}, {"name": "Hopper"}],
    }
    assert source.completed({}, {}) is None


def test_the_description_says_it_once() -> None:
    given = {"repository": "https://h/x", "commit": "c", "license": "MIT", "authors": [ADA]}
    described = source.described(given, {"id": "p", "metadata": [{"role": "https://schema.org/license", "title": "X"}]})
    assert [one["title"] for one in described["metadata"]] == ["X", "https://h/x at c", "Ada Lovelace"]
    assert described["metadata"][2]["href"] == ADA["identifier"]
    assert source.described({}, {"id": "p"}) == {"id": "p"}
