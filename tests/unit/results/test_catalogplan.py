"""The plan of a publication in the catalog: the records and what leads to them, for every kind of thing published."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest
import yaml

from broker.errors import InputError
from broker.results.catalogplan import Plan, plan
from broker.results.tree import Changed, Files, Tree
from tests.peers.osc import catalog
from tests.unit.results.samples import JOB, a_request, a_run, published

W = "workflows/water-bodies/record.json"
E = f"experiments/water-bodies-{JOB}"
P = "products/water-bodies-sierra/collection.json"
PROCESS = a_run()["process"]


@pytest.fixture
def tree() -> Tree:
    return Files(catalog())


def document(found: Plan, path: str) -> dict[str, Any]:
    read: dict[str, Any] = json.loads(found.files[path])
    return read


def links(found: Plan, path: str, rel: str) -> list[str]:
    return [one["href"] for one in document(found, path)["links"] if one["rel"] == rel]


def problems(tree: Tree, request: Mapping[str, Any], **values: Any) -> dict[str, str]:
    with pytest.raises(InputError) as caught:
        plan(tree, request, published(**values))
    return {one.pointer: one.detail for one in caught.value.problems}


def test_a_run_becomes_three_records_with_all_their_links(tree: Tree) -> None:
    found = plan(tree, a_request(), published())
    assert found.findings == ()
    assert sorted(found.files) == [
        "eo-missions/sentinel-2/catalog.json",
        "experiments/catalog.json",
        f"{E}/environment.yaml",
        f"{E}/input.yaml",
        f"{E}/outputs.yaml",
        f"{E}/record.json",
        "products/catalog.json",
        P,
        "projects/fairsendd/collection.json",
        "themes/land/catalog.json",
        "variables/cropland-mask/catalog.json",
        "workflows/catalog.json",
        "workflows/water-bodies/package.cwl",
        W,
    ]
    assert links(found, f"{E}/record.json", "child") == [f"../../{P}"]
    assert f"../../{W}" in links(found, f"{E}/record.json", "related")
    assert links(found, W, "child") == [f"../../{E}/record.json"]
    assert document(found, P)["osc:experiment"] == f"water-bodies-{JOB}"
    assert document(found, "projects/fairsendd/collection.json")["osc:workflows"] == ["water-bodies"]
    again = plan(Changed(tree, found.files), a_request(), published())
    assert (again.files, again.findings) == ({}, ())


def test_inputs_and_environment_are_those_of_the_run(tree: Tree) -> None:
    found = plan(tree, a_request(), published())
    order = yaml.safe_load(found.files[f"{E}/input.yaml"])
    assert order["scene"] == {
        "class": "File",
        "location": "https://data.example.org/S2B_10TFK_20210713.tif",
        "sha256": "1a" * 32,
        "size": 1024,
        "stacId": "S2B_10TFK",
    }
    environment = yaml.safe_load(found.files[f"{E}/environment.yaml"])
    assert environment["package"]["digest"] == "5f" * 32
    assert environment["steps"][0]["imageDigest"] == "sha256:" + "4d" * 32
    assert environment["platform"] == {"name": "local", "adapter": "local", "isolation": "bubblewrap"}
    outputs = yaml.safe_load(found.files[f"{E}/outputs.yaml"])
    assert [one["sha256"] for one in outputs["water"]] == ["2b" * 32, "3c" * 32]


def test_an_input_that_nobody_can_read_is_told_until_it_has_an_address(tree: Tree) -> None:
    run = a_run()
    del run["inputs"]["scene"][0]["location"]
    found = plan(tree, a_request(), published(run))
    assert [(one.rule, one.path) for one in found.findings] == [("input", f"{E}/input.yaml")]
    places = {
        JOB: {
            "inputs/scene.tif": "https://prr.example.org/d/scene.tif",
            "water/otsu.tif": "https://prr.example.org/d/o",
        }
    }
    found = plan(tree, a_request(), published(run, places=places))
    assert found.findings == ()
    assert yaml.safe_load(found.files[f"{E}/input.yaml"])["scene"]["location"] == "https://prr.example.org/d/scene.tif"
    assert yaml.safe_load(found.files[f"{E}/outputs.yaml"])["water"][0]["location"] == "https://prr.example.org/d/o"


def with_directory(**members: Any) -> dict[str, Any]:
    """A run on a directory of two files, one of them in a directory within."""
    run = a_run()
    files = [
        {"path": f"inputs/tiles/{name}", "sha256": digest * 32, "size": 3, **members}
        for name, digest in (("a.tif", "1a"), ("deep/b.tif", "2b"))
    ]
    run["inputs"]["tiles"] = [{"path": "inputs/tiles", "size": 6, "files": files}]
    run["jobOrder"]["tiles"] = {"class": "Directory", "location": "inputs/tiles", "basename": "tiles"}
    return run


def test_the_files_of_a_directory_are_told_with_their_checksums(tree: Tree) -> None:
    run = with_directory()
    run["inputs"]["tiles"][0]["location"] = "https://stac.example.org/tiles.json"
    found = plan(tree, a_request(), published(run))
    assert found.findings == ()
    order = yaml.safe_load(found.files[f"{E}/input.yaml"])["tiles"]
    assert order["location"] == "https://stac.example.org/tiles.json"
    assert order["files"] == [
        {"path": "a.tif", "sha256": "1a" * 32, "size": 3},
        {"path": "deep/b.tif", "sha256": "2b" * 32, "size": 3},
    ]
    del run["inputs"]["tiles"][0]["files"][1]["sha256"]
    (problem,) = plan(tree, a_request(), published(run)).findings
    assert problem.rule == "input"


def test_a_directory_that_was_sent_along_is_a_listing_once_its_files_have_addresses(tree: Tree) -> None:
    (problem,) = plan(tree, a_request(), published(with_directory())).findings
    assert problem.rule == "input"
    home = "https://prr.example.org"
    places = {JOB: {f"inputs/tiles/{name}": f"{home}/{name}" for name in ("a.tif", "deep/b.tif")}}
    found = plan(tree, a_request(), published(with_directory(), places=places))
    assert found.findings == ()
    assert yaml.safe_load(found.files[f"{E}/input.yaml"])["tiles"] == {
        "class": "Directory",
        "basename": "tiles",
        "listing": [
            {"class": "File", "basename": "a.tif", "sha256": "1a" * 32, "size": 3, "location": f"{home}/a.tif"},
            {
                "class": "Directory",
                "basename": "deep",
                "listing": [
                    {
                        "class": "File",
                        "basename": "b.tif",
                        "sha256": "2b" * 32,
                        "size": 3,
                        "location": f"{home}/deep/b.tif",
                    }
                ],
            },
        ],
    }


def test_source_licence_authors_and_a_link_that_opens_the_broker(tree: Tree) -> None:
    found = plan(tree, a_request(contacts=None), published(package_href="https://prr.example.org/d/package.cwl"))
    workflow, experiment = document(found, W), document(found, f"{E}/record.json")
    assert workflow["properties"]["license"] == "Apache-2.0"
    assert workflow["properties"]["version"] == "1.4.1"
    assert workflow["properties"]["contacts"][0]["identifier"] == "https://orcid.org/0000-0002-1825-0097"
    vcs = next(one for one in workflow["links"] if one["rel"] == "vcs")
    assert (vcs["href"], vcs["vcs:commit"]) == ("https://github.com/example/water-bodies", "ab" * 20)
    assert links(found, W, "application") == ["https://prr.example.org/d/package.cwl"]
    assert "workflows/water-bodies/package.cwl" not in found.files
    via = next(one for one in experiment["links"] if one["rel"] == "via")
    assert via["type"] == "text/html"
    assert via["href"].startswith("https://broker.example.org/reproductions/new?experiment=https%3A%2F%2Fesa-earthcode")
    assert f"water-bodies-{JOB}" in via["href"]


def test_the_record_of_a_package_is_written_once(tree: Tree) -> None:
    first = plan(tree, a_request(), published())
    live = Changed(tree, first.files)
    second = plan(live, a_request(product={"id": "water-two"}), published(a_run("other"), id="second"))
    assert second.findings == ()
    assert "../../experiments/water-bodies-other/record.json" in links(second, W, "child")
    before, after = json.loads(first.files[W]), document(second, W)
    assert {**after, "links": 0} == {**before, "links": 0}
    assert after["links"][:-1] == before["links"]


def test_another_package_of_the_process_gets_a_record_of_its_own(tree: Tree) -> None:
    live = Changed(tree, plan(tree, a_request(), published()).files)
    run = a_run("other")
    run["process"] |= {"digest": "77" * 32, "version": "2.0"}
    found = plan(live, a_request(product={"id": "water-two"}), published(run, id="second"))
    assert found.findings == ()
    assert W not in found.files
    assert document(found, "workflows/water-bodies-2.0/record.json")["properties"]["version"] == "2.0"
    experiment = document(found, "experiments/water-bodies-other/record.json")
    assert experiment["properties"]["osc:workflow"] == "water-bodies-2.0"


def test_a_process_alone(tree: Tree) -> None:
    found = plan(tree, a_request(extent=None, collection=None, product=None), published(runs=(), process=PROCESS))
    assert found.findings == ()
    assert list(found.records) == ["workflow"]
    assert not any(path.startswith(("experiments/", "products/")) for path in found.files)
    again = plan(Changed(tree, found.files), a_request(extent=None), published(runs=(), process=PROCESS))
    assert again.files == {}


def test_data_that_lies_elsewhere(tree: Tree) -> None:
    request = a_request(access=[{"href": "https://zenodo.org/records/1", "type": "text/html"}], collection=None)
    found = plan(tree, request, published(runs=(), package=None))
    assert found.findings == ()
    assert list(found.records) == ["product"]
    assert "osc:experiment" not in document(found, P)
    assert links(found, P, "via") == ["https://zenodo.org/records/1"]
    assert not any(path.startswith(("experiments/", "workflows/")) for path in found.files)


def test_one_product_of_several_jobs(tree: Tree) -> None:
    found = plan(tree, a_request(), published(a_run("one"), a_run("two")))
    assert found.findings == ()
    names = [f"../../experiments/water-bodies-{job}/record.json" for job in ("one", "two")]
    assert [href for href in links(found, P, "related") if "experiments" in href] == names
    assert links(found, W, "child") == names
    for name in names:
        assert links(found, name.removeprefix("../../"), "child") == [f"../../{P}"]


def test_a_product_that_is_there_gets_the_run_and_no_more(tree: Tree) -> None:
    request = a_request(product={"id": "polarwarp"}, project="cerulean-information-factory", extent=None)
    found = plan(tree, request, published())
    path = "products/polarwarp/collection.json"
    before = catalog()[path].decode()
    assert [one for one in found.findings if one.path == path] == []
    after = json.loads(found.files[path])
    assert after["osc:experiment"] == f"water-bodies-{JOB}"
    assert after["title"] == json.loads(before)["title"]
    assert len(found.files[path].decode().splitlines()) == len(before.splitlines()) + 7
    other = plan(tree, a_request(product={"id": "polarwarp"}), published())
    assert [one.rule for one in other.findings if one.path == path] == ["owner"]


@pytest.mark.parametrize("previous", [None, "other"])
def test_a_record_of_others_is_not_written_over(tree: Tree, previous: str | None) -> None:
    request = a_request(product={"id": "polarwarp"}, previous=previous)
    found = plan(tree, request, published(runs=(), package=None))
    assert {"owner"} <= {one.rule for one in found.findings} <= {"owner", "exists"}
    found = plan(tree, a_request(experiment={"id": "polarwarp"}, previous=previous), published())
    assert ("owner", "experiments/polarwarp/record.json") in {(one.rule, one.path) for one in found.findings}


def test_a_correction_keeps_when_it_was_made(tree: Tree) -> None:
    live = Changed(tree, plan(tree, a_request(), published()).files)
    request = a_request(description="Corrected.", previous="7c9e6679")
    found = plan(live, request, published(id="second", moment="2026-12-01T00:00:00Z"))
    product = document(found, P)
    assert (product["created"], product["updated"]) == ("2026-11-22T10:00:00Z", "2026-12-01T00:00:00Z")
    assert "Corrects: 7c9e6679" in found.message
    assert set(found.files) == {P, f"{E}/record.json"}


def test_another_title_is_corrected_where_it_is_listed(tree: Tree) -> None:
    live = Changed(tree, plan(tree, a_request(), published()).files)
    later = published(id="second", moment="2026-12-01T00:00:00Z")
    assert {one.rule for one in plan(live, a_request(title="Lakes"), later).findings} == {"exists"}
    found = plan(live, a_request(title="Lakes", previous="7c9e6679"), later)
    assert found.findings == ()
    listed = [one for one in document(found, "products/catalog.json")["links"] if "water-bodies" in one["href"]]
    assert [one["title"] for one in listed] == ["Lakes"]


def test_doi_and_what_a_product_may_have(tree: Tree) -> None:
    request = a_request(
        doi="10.5281/zenodo.7",
        region="Sierra",
        parameters=[{"name": "water", "unit": "1"}],
        workflow={"doi": "declined"},
        browser="https://prr.example.org/browser/x",
    )
    found = plan(tree, request, published())
    assert found.findings == ()
    product = document(found, P)
    assert product["sci:doi"] == "10.5281/zenodo.7"
    assert links(found, P, "cite-as") == ["https://doi.org/10.5281/zenodo.7"]
    assert product["cf:parameter"] == [{"name": "water", "unit": "1"}]
    assert document(found, W)["properties"]["osc:skip_doi"] is True
    for doi in ("requested", "declined"):
        product = document(plan(tree, a_request(doi=doi), published()), P)
        assert not {"sci:doi", "osc:skip_doi"} & set(product)


def test_openeo_is_published_as_a_process_graph(tree: Tree) -> None:
    run = a_run()
    run["process"]["kind"] = "openeo"
    found = plan(tree, a_request(), published(run, package=b"{}"))
    assert found.findings == ()
    assert links(found, W, "process_graph") == ["./process_graph.yaml"]


def test_every_problem_of_a_request_is_named_at_once(tree: Tree) -> None:
    told = problems(
        tree,
        a_request(
            project="fairsend",
            themes=["lands"],
            variables=["nothing-like-it"],
            licence="Apache 2",
            titel="x",
            contacts=[{"name": "Ada", "orcid": "0000-0002-1825-0098", "email": "ada"}],
        ),
    )
    assert told == {"/titel": "is not known; did you mean title?"}
    told = problems(
        tree,
        a_request(
            project="fairsend",
            themes=["lands"],
            missions=["sentinel-99"],
            licence="Apache 2",
            description=None,
            doi="zenodo.1",
            status="done",
            contacts=[{"name": "Ada", "orcid": "0000-0002-1825-0098", "email": "ada"}],
            collection=None,
            extent={"bbox": [0, 50, 10, 40], "interval": ["2021-07-13T00:00:00Z", None]},
            product={"id": "Not A Name"},
        ),
    )
    assert sorted(told) == [
        "/access",
        "/contacts/0/email",
        "/contacts/0/orcid",
        "/description",
        "/doi",
        "/extent",
        "/licence",
        "/missions",
        "/product/id",
        "/project",
        "/status",
        "/themes",
    ]
    assert "allowed are cryosphere, land, oceans" in told["/themes"]
    assert "Apache-2.0" in told["/licence"]
    assert "SPDX" in problems(tree, a_request(licence=None))["/licence"]


@pytest.mark.parametrize(
    ("changes", "pointer"),
    [
        ({"project": None}, "/project"),
        ({"themes": None}, "/themes"),
        ({"extent": None}, "/extent"),
        ({"records": ["dataset"]}, "/records"),
        ({"keywords": "water"}, "/keywords"),
        ({"workflow": {"nme": "x"}}, "/workflow/nme"),
        ({"access": [{"href": "https://me:secret@example.org/"}]}, "/access/0/href"),
        ({"collection": "s3://bucket"}, "/collection"),
        ({"parameters": [{"units": "m"}]}, "/parameters/0"),
        ({"contacts": ["Ada"]}, "/contacts"),
    ],
)
def test_a_problem(tree: Tree, changes: dict[str, Any], pointer: str) -> None:
    assert pointer in problems(tree, a_request(**changes))


def test_only_what_succeeded_is_published(tree: Tree) -> None:
    assert "successful" in problems(tree, a_request(), runs=(a_run(phase="failed"),))[""]
    other = a_run("other")
    other["process"]["digest"] = "00" * 32
    assert "different packages" in problems(tree, a_request(), runs=(a_run(), other))[""]


def test_the_plan_depends_on_nothing_but_what_it_is_made_of(tree: Tree) -> None:
    one, other = (plan(tree, a_request(), published()) for _ in range(2))
    assert one == other
    commit = {"README.md": b"x"}
    assert plan(Changed(tree, commit), a_request(), published()).digest == one.digest
    assert plan(tree, a_request(title="y"), published()).digest != one.digest
