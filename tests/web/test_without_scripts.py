"""The pages in Chromium with scripts switched off, by a person who has logged in at the real provider."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page

from tests.security.identity import Known
from tests.security.test_identity_browser import log_in
from tests.web.site import Site

pytestmark = [pytest.mark.xdist_group("pages"), pytest.mark.timeout(240)]


@pytest.fixture(scope="module")
def page(known: Known, chrome: Browser) -> Iterator[Page]:
    context = chrome.new_context(java_script_enabled=False)
    context.set_default_timeout(15_000)
    opened = context.new_page()
    log_in(opened, known, "olga")
    yield opened
    context.close()


def test_every_page_says_what_it_is_and_its_forms_can_be_sent(page: Page, signed_in: tuple[Site, object]) -> None:
    site = signed_in[0]
    headers = {"Cookie": "; ".join(f"{one['name']}={one['value']}" for one in page.context.cookies())}
    pages, _ = site.pages(headers)
    for path in pages:
        page.goto(site.server.url + path)
        assert page.locator("h1").count() == 1, path
        assert page.locator("h1").is_visible(), path
        assert page.locator("h1").inner_text().strip(), path
        assert page.get_by_role("navigation", name="Main").is_visible(), path
        for form in page.locator("main form").all():
            assert form.locator("button:not([type=button]), input[type=submit]").count(), (path, form.inner_html())


def test_a_token_a_credential_and_a_quota(page: Page, known: Known) -> None:
    here = known.server.url
    page.goto(f"{here}/tokens")
    page.get_by_label("Name").fill("my script")
    page.get_by_label("run: execute").check()
    page.get_by_role("button", name="Make the token").click()
    secret = page.locator("pre.copy").first.inner_text().strip()
    assert known.get("/jobs", secret).status_code == 200
    page.get_by_role("button", name="Revoke my script").click()
    assert page.url == f"{here}/tokens?f=html"
    assert known.get("/jobs", secret).status_code == 401

    page.goto(f"{here}/credentials")
    page.get_by_role("link", name="A GitHub repository").click()
    page.get_by_label("Name").fill("catalog")
    page.get_by_label("Repository").fill("not a repository")
    page.get_by_label("Token").fill("ghp-secret")
    page.get_by_label("Try it first").uncheck()
    page.get_by_role("button", name="Keep it").click()
    assert page.get_by_role("alert").is_visible()
    assert page.get_by_label("Name").input_value() == "catalog"
    assert page.get_by_label("Token").input_value() == ""
    assert not page.get_by_label("Try it first").is_checked()
    page.get_by_label("Repository").fill("esa/catalog")
    page.get_by_label("Token").fill("ghp-secret")
    page.get_by_role("button", name="Keep it").click()
    assert page.get_by_role("heading", name="Credential catalog").is_visible()
    assert "ghp-secret" not in page.content()
    page.get_by_role("button", name="Remove catalog").click()
    assert page.get_by_role("heading", name="Credentials", exact=True).is_visible()

    page.goto(f"{here}/quotas")
    page.get_by_label("Id", exact=True).fill("somebody")
    page.get_by_label("Jobs that run").fill("2")
    page.get_by_role("button", name="Set the quota").click()
    assert page.get_by_role("heading", name="Quota of the person somebody").is_visible()
    page.get_by_role("button", name="Unset the quota").click()
    assert page.get_by_role("button", name="Unset the quota").count() == 0


def test_an_upload_is_sent_shared_and_deleted(page: Page, known: Known, tmp_path: Path) -> None:
    here = known.server.url
    page.goto(f"{here}/projects")
    page.get_by_label("Id", exact=True).fill("water")
    page.get_by_role("button", name="Make the project").click()
    file = tmp_path / "scene 1.tif"
    file.write_bytes(b"II*\0" * 100_000)
    page.goto(f"{here}/uploads")
    page.get_by_label("File").set_input_files(file)
    page.get_by_role("button", name="Upload", exact=True).click()
    assert page.get_by_role("heading", name="scene 1.tif").is_visible()
    assert "400 kB" in page.inner_text("main")
    page.get_by_label("Share with").select_option("project:water")
    page.get_by_role("button", name="Share", exact=True).click()
    assert "The members of the project water see it." in page.inner_text("main")
    page.goto(f"{here}/uploads?project=water&f=html")
    page.get_by_role("link", name="scene 1.tif").click()
    page.get_by_role("button", name="Delete the upload").click()
    assert page.get_by_role("heading", name="Uploads").is_visible()
    assert page.get_by_role("link", name="scene 1.tif").count() == 0


def test_the_audit_is_filtered(page: Page, known: Known) -> None:
    page.goto(f"{known.server.url}/audit")
    page.get_by_label("What").fill("login")
    page.get_by_role("button", name="Filter").click()
    assert page.get_by_label("What").input_value() == "login"
    verbs = {row.locator("td").nth(2).inner_text() for row in page.locator("tbody tr").all()}
    assert verbs == {"login"}
