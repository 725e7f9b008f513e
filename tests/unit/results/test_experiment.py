"""Experiments resolved: our own as we publish them, the real ones of the catalog, and hostile ones."""

from __future__ import annotations

import json
from collections.abc import Mapping
from itertools import islice
from typing import Any

import pytest
import yaml

from broker.errors import InputError, StagingError
from broker.results.catalogplan import plan
from broker.results.experiment import Experiment, resolve
from broker.results.osc import HOME
from broker.results.tree import Files
from tests.peers.osc import catalog
from tests.unit.results.mutants import mutants
from tests.unit.results.samples import JOB, a_request, a_run, published

E = f"experiments/water-bodies-{JOB}"
W = "workflows/water-bodies"
OWN = {**catalog(), **plan(Files(catalog()), a_request(), published(entry="water.cwl#main")).files}

NOTEBOOK = {"rel": "application", "href": "https://a.example/x.ipynb", "type": "application/x-ipynb+json"}
BOMB = b"a0: &a0 [x]\n" + b"".join(b"a%d: &a%d [%s]\n" % (n, n, b"*a%d, " % (n - 1) * 99) for n in range(1, 6))


def resolved(files: Mapping[str, bytes], path: str = f"{E}/record.json") -> Experiment:
    """The experiment of a catalog where nothing else can be reached."""

    def read(address: str, limit: int) -> bytes:
        content = files.get(address.removeprefix(HOME))
        if content is None:
            raise StagingError(f"{address} does not answer.")
        assert limit > 0
        return content[: limit + 1]

    return resolve(HOME + path, read)


def errors(found: Experiment) -> dict[str, str]:
    return {one.code: one.message for one in found.remarks if one.level == "error"}


def changed(path: str, change: Any) -> dict[str, bytes]:
    """The catalog with our experiment, one of its JSON files changed."""
    document = json.loads(OWN[path])
    change(document)
    return {**OWN, path: json.dumps(document).encode()}


def with_yaml(name: str, content: bytes) -> dict[str, bytes]:
    return {**OWN, f"{E}/{name}.yaml": content}


HARMFUL: tuple[Any, ...] = (
    5,
    None,
    ["x"],
    [None],
    {},
    "http://[x",
    "\ud800",
    "a\x00b",
    "../../../../etc/passwd",
    "https://x.org:abc/y",
)


@pytest.mark.parametrize("path", [f"{E}/record.json", f"{W}/record.json", f"{E}/input.yaml", f"{E}/outputs.yaml"])
def test_records_of_strangers_may_hold_anything(path: str) -> None:
    """Whatever is in them is resolved or refused in words that can be told."""
    for mutant in islice(mutants(yaml.safe_load(OWN[path]), HARMFUL), 0, None, 7):
        try:
            found = resolved({**OWN, path: json.dumps(mutant.document).encode()})
        except InputError:
            continue
        told = [found.name, found.title, dict(found.workflow), found.inputs, found.environment, found.outputs]
        shown = [*told, *(one.message for one in found.remarks)]
        assert json.dumps(shown, ensure_ascii=False, default=dict).encode()


def test_what_we_publish_is_found_again_whole() -> None:
    found, run = resolved(OWN), a_run()
    assert found.remarks == ()
    assert (found.name, found.href) == (f"water-bodies-{JOB}", f"{HOME}{E}/record.json")
    assert found.package is not None
    assert found.package.content == published().package
    assert (found.digest, found.entry) == (run["process"]["digest"], "water.cwl#main")
    assert found.inputs["bbox"] == run["inputs"]["bbox"]["value"]
    scene = found.inputs["scene"]
    assert (scene["class"], scene["location"]) == ("File", run["inputs"]["scene"][0]["location"])
    assert scene["sha256"] == "1a" * 32
    assert set(found.outputs) == {"water/otsu.tif", "water/catalog.json"}
    assert found.outputs["water/otsu.tif"]["sha256"] == "2b" * 32
    assert (found.process_id, found.platform) == ("water-bodies", "local")
    assert found.images == {"ghcr.io/example/crop:1.0": "sha256:" + "4d" * 32}


def test_a_real_openeo_experiment_has_a_process_graph_and_no_inputs() -> None:
    found = resolved(catalog(), "experiments/esa-world-cereal-extent-experiment/record.json")
    assert found.package is not None
    assert found.package.href.endswith("/process_graph.json")
    assert found.package.media_type == "application/vnd.openeo+json"
    assert "experiments/esa-world-cereal-extent-experiment/input.yaml is empty" in errors(found)["input-empty"]


def test_a_real_argo_experiment_is_refused_with_advice_but_its_inputs_are_read() -> None:
    found = resolved(catalog(), "experiments/polarwarp/record.json")
    assert found.package is None
    assert set(errors(found)) == {"argo"}
    assert found.inputs["num_gcps"] == 4
    assert found.inputs["date"] == "2025-02-25"
    [argo] = [one for one in found.remarks if one.code == "argo"]
    assert "CommandLineTool" in str(argo.advice)


@pytest.mark.parametrize(
    ("links", "declared", "code"),
    [
        ([NOTEBOOK], None, "notebook"),
        ([], "jupyter-notebook", "notebook"),
        ([], "mlflow", "mlflow"),
        ([{"rel": "git", "href": "https://a.example/x.git", "type": "application/json"}], None, "code-only"),
        ([], None, "no-package"),
        (["no link", {"rel": "git"}, {"rel": "application", "href": 5}], {"odd": 1}, "no-package"),
    ],
)  # fmt: skip
def test_what_is_no_package_is_named(links: list[Any], declared: Any, code: str) -> None:
    def change(record: dict[str, Any]) -> None:
        record["links"] = links
        record["properties"]["application:type"] = declared

    found = resolved(changed(f"{W}/record.json", change))
    assert found.package is None
    assert set(errors(found)) == {code}


@pytest.mark.parametrize(
    ("content", "code", "words"),
    [
        (b"", "input-empty", "is empty"),
        (b"$comment: none\n", "input-empty", "nothing that has a name"),
        (b"- a\n- b\n", "input-empty", "nothing that has a name"),
        (b"a: [1", "input-invalid", "YAML"),
        (b"\xff\xfe", "input-invalid", "UTF-8"),
        (b"sha256: " + b"ab" * 32 + b"\nsize: 100000\n", "input-digest", "too large"),
        (b"scene: {class: File, location: inputs/scene.tif}", "input-not-public", "scene (inputs/scene.tif)"),
        (b"all: [{class: Directory, listing: [{class: File, path: /etc/hosts}]}]", "input-not-public", "/etc/hosts"),
        (b"table: {sha256: x, size: 1}", "input-not-public", "Only the digest of the input table"),
        (b"&a [*a]", "input-invalid", "cannot be understood"),
        (b"a: " + b"[" * 500, "input-invalid", "cannot be understood"),
        (BOMB, "input-invalid", "cannot be understood"),
    ],
)  # fmt: skip
def test_inputs_that_are_none_are_told(content: bytes, code: str, words: str) -> None:
    found = resolved(with_yaml("input", content))
    assert words in errors(found)[code]


@pytest.mark.parametrize("form", ["inputs: {n: 3}", "parameters: {n: 3}\n$comment: by hand", "n: 3\nid: job"])
def test_inputs_are_taken_in_the_forms_that_people_write(form: str) -> None:
    assert resolved(with_yaml("input", form.encode())).inputs == {"n": 3}


def test_links_that_lead_elsewhere_and_files_that_are_not_there_are_told() -> None:
    def change(record: dict[str, Any]) -> None:
        hrefs = {"input": "https://a.example/code.git", "environment": "./gone.yaml"}
        for one in record["links"]:
            one["href"] = hrefs.get(one["rel"], one["href"])
        record["links"] = [one for one in record["links"] if one["rel"] != "output"]

    found = resolved(changed(f"{E}/record.json", change))
    assert "https://a.example/code.git, which is no file" in errors(found)["input-elsewhere"]
    warned = {one.code for one in found.remarks if one.level == "warning"}
    assert warned == {"environment-unreachable", "no-outputs"}
    assert found.digest == a_run()["process"]["digest"], "the workflow's record names it, too"


def test_a_workflow_or_package_that_cannot_be_read_is_told() -> None:
    gone = {path: content for path, content in OWN.items() if path != f"{W}/record.json"}
    assert "does not answer" in errors(resolved(gone))["workflow-unreachable"]
    gone = {path: content for path, content in OWN.items() if path != f"{W}/package.cwl"}
    assert "does not answer" in errors(resolved(gone))["package-unreachable"]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"[]", "is not a record"),
        (b"{", "is not JSON"),
        (b"[" * 100_000, "is not JSON"),
        (b'{"type": "Feature", "properties": {"type": "workflow"}}', "is no experiment, but a workflow"),
        (b'{"type": "Collection"}', "is no experiment, but a Collection"),
        (b'{"properties": []}', "is no experiment, but a something else"),
    ],
)
def test_what_is_no_record_of_an_experiment_is_refused(content: bytes, words: str) -> None:
    with pytest.raises(InputError, match=words):
        resolved({"experiments/x/record.json": content}, "experiments/x/record.json")


def test_outputs_are_taken_only_with_a_path_of_their_own_and_a_digest() -> None:
    files = [
        {"path": "a.tif", "sha256": "ab" * 32, "size": 3, "location": "file:///etc/passwd"},
        {"path": "../b.tif", "sha256": "ab" * 32, "size": 3},
        {"path": "/c.tif", "sha256": "ab" * 32, "size": 3},
        {"path": "d.tif", "sha256": "md5", "size": 3},
        {"path": "e.tif", "sha256": "ab" * 32, "size": -1},
        "f.tif",
    ]
    found = resolved(with_yaml("outputs", yaml.safe_dump({"all": files, "count": {"value": 3}}).encode()))
    nothing = {"href": None, "mediaType": None, "sha256": "ab" * 32}
    assert found.outputs == {"a.tif": {**nothing, "size": 3}, "e.tif": {**nothing, "size": None}}
