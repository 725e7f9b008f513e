"""References of images: the grammar of the distribution specification, nothing that a command line could mistake."""

from __future__ import annotations

import pytest

from broker.errors import PackageError
from broker.packages.images import Reference, allowed

DIGEST = "sha256:" + "0" * 64


@pytest.mark.parametrize(
    ("text", "full"),
    [
        ("debian", "docker.io/library/debian:latest"),
        ("debian:12", "docker.io/library/debian:12"),
        ("osgeo/gdal:alpine-3", "docker.io/osgeo/gdal:alpine-3"),
        ("docker.io/debian", "docker.io/library/debian:latest"),
        ("index.docker.io/osgeo/gdal", "docker.io/osgeo/gdal:latest"),
        ("ghcr.io/a/b/c:v1.2_x", "ghcr.io/a/b/c:v1.2_x"),
        ("localhost/mine:1", "localhost/mine:1"),
        ("localhost:5000/mine", "localhost:5000/mine:latest"),
        ("Registry.example.org/mine", "Registry.example.org/mine:latest"),
        ("[2001:db8::1]:5000/mine:1", "[2001:db8::1]:5000/mine:1"),
        (f"debian@{DIGEST}", f"docker.io/library/debian@{DIGEST}"),
        (f"ghcr.io/a/b:v1@{DIGEST}", f"ghcr.io/a/b@{DIGEST}"),
        ("a__b/c--d.e:1", "docker.io/a__b/c--d.e:1"),
    ],
)
def test_the_one_full_spelling(text: str, full: str) -> None:
    assert str(Reference.parse(text)) == full
    assert str(Reference.parse(full)) == full


@pytest.mark.parametrize(
    "text",
    [
        "", " ", "-v", "--volume=/:/host", "--privileged", "debian:", "debian:-x", ":1", "/debian", "debian/", "a//b",
        "Debian", "ghcr.io/A/b", "a/_b", "a/b_", "a..b/c", "debian@sha256:12", "debian@md5:" + "0" * 32, "debian@",
        f"debian@{DIGEST}@{DIGEST}", "debian 12", "debian\n", "debian\t", "debian;id", "$(id)", "a`id`", "a/../b",
        "./a", "file:///etc/passwd", "docker://debian", "oci-archive:/etc/passwd", "dir:/etc", "https://ghcr.io/a/b",
        "http://169.254.169.254/x", "user@ghcr.io/a", "ghcr.io:99999/a", "ghcr.io:/a", "-ghcr.io/a", "ghcr-.io/a",
        "0" * 64, "ä/b", "debian:" + "x" * 129, "a" * 256, "debian\0",
    ],
)  # fmt: skip
def test_what_is_none(text: str) -> None:
    with pytest.raises(PackageError):
        Reference.parse(text)


def test_nothing_begins_like_an_option() -> None:
    for text in ("debian", "a-b/c:1", "x.y-z/a"):
        assert not str(Reference.parse(text)).startswith("-")


def test_pinned() -> None:
    assert str(Reference.parse("debian:12").pinned(DIGEST)) == f"docker.io/library/debian@{DIGEST}"
    assert str(Reference.parse("debian:12").pinned(None)) == "docker.io/library/debian:12"


@pytest.mark.parametrize(
    ("image", "registries", "expected"),
    [
        ("debian", ["*"], True),
        ("debian", [], False),
        ("debian", ["docker.io"], True),
        ("debian", ["docker.io/library"], True),
        ("evil/debian", ["docker.io/library"], False),
        ("evil/debian", ["docker.io/library/"], False),
        ("ghcr.io/org/x", ["ghcr.io/org"], True),
        ("ghcr.io/organ/x", ["ghcr.io/org"], False),
        ("ghcr.io/org", ["ghcr.io/org"], True),
        ("ghcr.io.evil.example/org/x", ["ghcr.io"], False),
        ("ghcr.io:444/org/x", ["ghcr.io"], False),
        ("localhost/x", ["docker.io"], False),
    ],
)
def test_the_list_of_registries(image: str, registries: list[str], expected: bool) -> None:
    assert allowed(Reference.parse(image), registries) is expected
