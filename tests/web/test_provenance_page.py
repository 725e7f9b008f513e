"""The picture of a run on its job's page, and the way to the record in each notation."""

from __future__ import annotations

import re

from broker.jobs.model import Step
from broker.store import files
from tests.api.server import Server

HTML = {"Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}


def test_a_job_that_ended_shows_where_it_comes_from(lone: Server) -> None:
    lone.ready()
    job = lone.execute(title="<b>")
    assert 'class="run"' not in lone.get(f"/jobs/{job}", headers=HTML).text
    with lone.database.write() as tx:
        files.put_steps(tx, job, 1, [Step("<script>alert(1)</script>", "successful", 1.0, 2.0, 0)])
    lone.succeed(job, {"number": 4})
    page = lone.get(f"/jobs/{job}", headers=HTML).text
    (part,) = re.findall(r'<div id="provenance" data-live>(.*?)</div>\s*<h2 id="log-title"', page, re.DOTALL)
    links = re.findall(r'(?:href|src)="([^"]+)"', part)
    assert len(links) == 7
    for href in links:
        answer = lone.get(href, headers=HTML)
        assert answer.status_code == 200, href
        if "xml" in answer.headers["content-type"]:
            assert "<script>" not in answer.text
    assert lone.get(f"/jobs/{job}/prov", headers=HTML).url.endswith(f"/jobs/{job}?f=html#provenance")


def test_without_a_record_there_is_no_picture(lone: Server) -> None:
    lone.ready()
    job = lone.execute()
    assert lone.get(f"/jobs/{job}/prov").status_code == 404
    lone.succeed(job, {"number": 4})
    with lone.database.write() as tx:
        tx.exec_driver_sql("delete from provenance")
    assert 'class="run"' not in lone.get(f"/jobs/{job}", headers=HTML).text
    assert lone.get(f"/jobs/{job}/prov").status_code == 404
