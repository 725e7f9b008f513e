"""Jobs: status documents through a life, the list and its filters, dismissal."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from broker.jobs.model import Failure, Fault, Progress, Reason
from tests.api.schemas import valid_problem, validate
from tests.api.server import Server

PART1 = "http://www.opengis.net/def/exceptions/ogcapi-processes-1/1.0/"
REL = "http://www.opengis.net/def/rel/ogc/1.0/"


def rels(document: dict[str, Any]) -> dict[str, str]:
    return {link["rel"]: link["href"] for link in document["links"]}


def test_a_life(api: Server) -> None:
    api.ready()
    first, job = api.execute(), api.execute()
    status = api.get(f"/jobs/{job}").json()
    validate(status, "statusInfo")
    assert status["queue"] == {"position": 2}
    assert "progress" not in status
    assert rels(status)["monitor"] == f"{api.url}/jobs/{job}"
    valid_problem(api.get(f"/jobs/{job}/results"), 404, PART1 + "result-not-ready")

    api.start(job, Progress(1, 4))
    status = api.get(f"/jobs/{job}").json()
    validate(status, "statusInfo")
    assert (status["status"], status["progress"], status["steps"]) == ("running", 25, {"done": 1, "total": 4})
    assert "queue" not in status

    other = api.succeed(first, {"number": 1})
    status = api.get(f"/jobs/{other.id}").json()
    validate(status, "statusInfo")
    assert (status["status"], status["progress"]) == ("successful", 100)
    assert datetime.fromisoformat(status["finished"]) > datetime(2026, 1, 1, tzinfo=UTC)
    assert rels(status)[REL + "results"] == f"{api.url}/jobs/{first}/results"

    api.fail(job, Failure(Fault.STAGING, Reason.INPUT_UNREACHABLE, "No answer.", "fetch", None, "404"))
    status = api.get(f"/jobs/{job}").json()
    validate(status, "statusInfo")
    assert status["failure"]["fault"] == "staging"
    assert status["message"] == "No answer."
    problem = valid_problem(api.get(f"/jobs/{job}/results"), 424)
    assert problem["reason"] == "input-unreachable"


def test_progress_without_a_total_is_absent(lone: Server) -> None:
    lone.ready()
    job = lone.execute()
    lone.start(job, Progress(3, None))
    assert "progress" not in lone.get(f"/jobs/{job}").json()


def test_the_list_and_its_filters(api: Server) -> None:
    api.ready("one", "two")
    jobs = [api.execute("one"), api.execute("two", tags=["x"]), api.execute("one", tags=["x", "y"])]
    api.start(jobs[0])
    api.succeed(jobs[1], {})
    document = api.get("/jobs").json()
    validate(document, "jobList")
    assert [job["jobID"] for job in document["jobs"]] == jobs[::-1]

    def found(query: str) -> list[int]:
        page = api.get(f"/jobs?{query}").json()
        return sorted(jobs.index(job["jobID"]) for job in page["jobs"])

    assert found("processID=one") == [0, 2]
    assert found("processID=one&processID=two") == [0, 1, 2]
    assert found("status=running") == [0]
    assert found("status=running,successful") == [0, 1]
    assert found("status=failed") == []
    assert found("type=process") == [0, 1, 2]
    assert found("tag=x") == [1, 2]
    assert found("tag=x,y") == [2]
    assert found("tag=%25") == []
    assert found("limit=2") == [1, 2]
    assert found("datetime=2020-01-01/..") == [0, 1, 2]
    assert found("datetime=../2020-01-01T00:00:00Z") == []
    assert found("datetime=2020-01-01/2020-12-31") == []
    assert found(f"datetime={datetime.now(UTC).date().isoformat()}") == [0, 1, 2]
    assert found("minDuration=1000000000") == []
    assert found("cursor=nonsense&limit=1") in ([2], [])


def test_the_list_pages_by_next_links(api: Server) -> None:
    api.ready()
    jobs = [api.execute() for _ in range(5)]
    seen, url = [], f"{api.url}/jobs?limit=2&status=accepted"
    while url:
        page = api.get(url).json()
        seen += [job["jobID"] for job in page["jobs"]]
        url = rels(page).get("next", "")
        assert not url or "status=accepted" in url
    assert seen == jobs[::-1]


def test_dismiss(api: Server) -> None:
    api.ready()
    job = api.execute()
    answer = api.delete(f"/jobs/{job}")
    assert answer.status_code == 200
    validate(answer.json(), "statusInfo")
    assert answer.json()["status"] == "dismissed"
    assert api.delete(f"/jobs/{job}").status_code == 200, "again changes nothing"
    assert api.get(f"/jobs/{job}").json()["status"] == "dismissed"
    valid_problem(api.get(f"/jobs/{job}/results"), 410)


def test_dismiss_of_a_finished_job(api: Server) -> None:
    api.ready()
    job = api.execute()
    api.succeed(job, {})
    problem = valid_problem(api.delete(f"/jobs/{job}"), 409)
    assert problem["reason"] == "wrong-phase"


def test_unknown_jobs(api: Server) -> None:
    for path in ("", "/results", "/results/x", "/logs", "/steps", "/events", "/inputs", "/files", "/files/a"):
        valid_problem(api.get(f"/jobs/nope{path}"), 404, PART1 + "no-such-job")
    valid_problem(api.delete("/jobs/nope"), 404, PART1 + "no-such-job")


def test_events_inputs_and_steps(api: Server) -> None:
    from broker.jobs.model import Step
    from broker.store import files

    api.ready()
    job = api.execute(inputs={"text": "hällo"}, outputs={"number": {}})
    api.start(job)
    with api.database.write() as tx:
        files.put_steps(tx, job, 1, [Step("say", "successful", 1.0, 2.0, 0, command=("echo",))])
    events = api.get(f"/jobs/{job}/events").json()["events"]
    assert [event["event"] for event in events] == ["accepted", "submitting", "submitted", "running"]
    inputs = api.get(f"/jobs/{job}/inputs").json()
    assert inputs["inputs"] == {"text": "hällo"}
    assert inputs["jobOrder"]["text"] == "hällo"
    steps = api.get(f"/jobs/{job}/steps").json()["steps"]
    assert steps[0]["started"] == "1970-01-01T00:00:01.000Z"
