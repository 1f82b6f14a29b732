"""The dashboard in a real browser, from a push to its log. One file, so that one worker runs it serially."""

import os
import re
from pathlib import Path
from typing import Any

from playwright.async_api import Browser, expect

from tests.browser.conftest import WAIT_MS, tab
from tests.harness.installation import Towpath
from tests.harness.scenes import Scene, job, scene

HOSTILE = "<img src=x onerror=console.log('XSS')><script>console.log('XSS')</script>"

expect.set_options(timeout=WAIT_MS)
SUITE = (
    'for i in $(seq 1 30); do printf "test_$i \\033[32mPASSED\\033[0m\\n"; done; '
    "printf '\\033[31mFAILED\\033[0m test_app.py::test_login: 200 != 401\\n'; "
    "echo '::error::1 failed, 30 passed'; exit 1"
)
RED = "printf '\\033[31mFAILED\\033[0m\\n'"


async def failing(towpath: Towpath) -> tuple[Scene, Any]:
    steps = [
        {"name": "install", "run": "seq 1 400"},
        {
            "name": "pytest",
            "run": f"cat <<'END'\n{HOSTILE}\nEND\nprintf '\\033[31mFAILED\\033[0m\\n'; exit 3",
        },
    ]
    jobs = {"build": job("true"), "test": job(*steps, needs=["build"])}
    one = await scene(towpath, jobs)
    return one, await one.ran(message=HOSTILE, ref=f"refs/heads/x/{HOSTILE.replace(' ', '-')}")


async def test_a_person_signs_in_with_a_token_and_out(chromium: Browser, towpath: Towpath) -> None:
    person = await towpath.person()
    async with tab(chromium, towpath, None) as opened:
        page = opened.page
        await opened.open("/ui/runs?branch=main")
        await page.get_by_label("API token").fill("tp_wrong")
        await page.get_by_role("button", name="Sign in").click()
        await expect(page.get_by_role("alert")).to_contain_text("not known")
        await opened.open("/ui/runs?branch=main")
        await page.get_by_label("API token").fill(person.client.token or "")
        await page.keyboard.press("Enter")
        await page.wait_for_url("**/ui/runs?branch=main")
        await page.get_by_role("button", name="Sign out").click()
        await page.wait_for_url("**/ui/login")


async def test_a_link_asks_before_it_replaces_a_session(chromium: Browser, towpath: Towpath) -> None:
    one, other = await towpath.person(), await towpath.person()
    async with tab(chromium, towpath, one) as opened:
        link = (await other.client.post("/sign-in-links", {"path": "/ui/runs"})).expect(201).json["url"]
        await opened.page.goto(link)
        await expect(opened.page.get_by_text("This link ends that session")).to_be_visible()
        assert "#" not in opened.page.url
        await opened.page.get_by_role("button", name="Sign in").click()
        await opened.page.wait_for_url("**/ui/runs")


async def test_a_run_is_seen_from_push_to_green_without_a_reload(chromium: Browser, towpath: Towpath) -> None:
    gate = towpath.gate()
    waits = f"echo before; while {gate.closed()}; do sleep 0.1; done; echo after"
    one = await scene(towpath, {"build": job(waits), "test": job("true", needs=["build"])})
    run = await one.started()
    async with tab(chromium, towpath, one.person) as opened:
        page, log = opened.page, await opened.page.context.new_page()
        await opened.open(f"/ui/runs/{run['id']}")
        await expect(page.locator(".verdict")).to_contain_text("Running: build")
        await log.goto(f"{towpath.url}/ui/runs/{run['id']}/jobs/build")
        await expect(log.locator(".row", has_text="before")).to_be_visible()
        for watched in (page, log):
            await watched.evaluate("window.kept = true")
        gate.open()
        await expect(page.locator(".verdict")).to_contain_text("Succeeded: 2 jobs.")
        await expect(page).to_have_title(re.compile("^Succeeded"))
        await expect(log.locator(".row", has_text="after")).to_be_visible()
        await expect(log.locator("#job-status")).to_contain_text("Succeeded")
        for watched in (page, log):
            assert await watched.evaluate("window.kept")


async def test_a_failed_run_says_why_and_its_log_opens_at_the_failed_step(
    chromium: Browser, towpath: Towpath
) -> None:
    one, run = await failing(towpath)
    async with tab(chromium, towpath, one.person) as opened:
        page = opened.page
        await opened.open("/ui/")
        await page.get_by_role("link", name="Failed", exact=True).click()
        await expect(page.locator(".verdict")).to_have_text("Failed: job test, step “pytest” exited 3.")
        await expect(page.get_by_role("heading", level=1)).to_have_text(HOSTILE)
        await page.locator("#run-jobs").get_by_role("link", name="test").click()
        await expect(page.get_by_role("button", name="pytest exited 3")).to_have_attribute(
            "aria-expanded", "true"
        )
        await expect(page.get_by_role("button", name="install succeeded")).to_have_attribute(
            "aria-expanded", "false"
        )
        await expect(page.locator(".row", has_text="onerror")).to_contain_text(HOSTILE)
        await expect(page.locator(".row .c1")).to_have_text("FAILED")
        await opened.open(f"/ui/runs/{run['id']}/jobs/test#L120")
        await page.reload()
        await expect(page.locator("#L120.marked")).to_contain_text("119")
        assert await page.locator(".log-rows .row").count() < 200


async def test_a_log_is_read_without_scripts(chromium: Browser, towpath: Towpath) -> None:
    one, run = await failing(towpath)
    async with tab(chromium, towpath, one.person) as signed:
        state = await signed.page.context.storage_state()
        async with tab(chromium, towpath, None, java_script_enabled=False, storage_state=state) as opened:
            await opened.open(f"/ui/runs/{run['id']}/jobs/test")
            await expect(opened.page.locator(".row", has_text="onerror")).to_contain_text(HOSTILE)
            await opened.page.get_by_role("link", name="Earlier lines").click()
            await expect(opened.page.locator("#L2")).to_contain_text("1")


async def test_a_failed_run_is_retried_and_another_cancelled(chromium: Browser, towpath: Towpath) -> None:
    one, run = await failing(towpath)
    async with tab(chromium, towpath, one.person) as opened:
        page = opened.page
        page.on("dialog", lambda dialog: dialog.accept())
        await opened.open(f"/ui/runs/{run['id']}")
        await page.get_by_role("button", name="Retry failed (1)").click()
        await expect(page.get_by_text("carried over from the run before")).to_be_visible()
        await expect(page.locator(".verdict")).to_contain_text("Failed: job test")
        waiting = await scene(towpath, {"long": job("sleep 60")})
        started = await waiting.started()
    async with tab(chromium, towpath, waiting.person) as opened:
        opened.page.on("dialog", lambda dialog: dialog.accept())
        await opened.open(f"/ui/runs/{started['id']}")
        await opened.page.get_by_role("button", name="Cancel").click()
        await expect(opened.page.locator(".verdict")).to_contain_text("Cancelled: a user cancelled it.")


async def test_other_peoples_objects_are_a_404_page(chromium: Browser, towpath: Towpath) -> None:
    one, run = await failing(towpath)
    async with tab(chromium, towpath, await towpath.person()) as opened:
        paths = [f"/ui/runs/{run['id']}", f"/ui/runs/{run['id']}/jobs/test"]
        paths += [f"/ui/pipelines/{one.pipeline['id']}", f"/ui/events/{run['event_id']}", "/ui/nowhere"]
        for path in paths:
            answer = await opened.page.goto(towpath.url + path)
            assert answer is not None
            assert answer.status == 404, path
            await expect(opened.page.get_by_role("heading", name="Not found")).to_be_visible()


async def test_a_pipeline_is_edited_and_disabled(chromium: Browser, towpath: Towpath) -> None:
    one = await scene(towpath)
    async with tab(chromium, towpath, one.person) as opened:
        page = opened.page
        await opened.open(f"/ui/pipelines/{one.pipeline['id']}")
        await page.locator("summary", has_text="Edit").click()
        good = await page.get_by_label("A save with other YAML").input_value()
        await page.get_by_label("A save with other YAML").fill(good.replace('"jobs"', '"jbos"'))
        await page.get_by_role("button", name="Save").click()
        await expect(page.get_by_role("alert").first).to_contain_text("Line")
        await page.get_by_label("A save with other YAML").fill(good.replace("true", "false"))
        await page.get_by_role("button", name="Save").click()
        await expect(page.get_by_role("link", name="2", exact=True)).to_be_visible()
        await page.get_by_role("button", name="Disable").click()
        await expect(page.get_by_role("button", name="Enable")).to_be_visible()


async def test_every_page_is_accessible_in_both_themes_and_fits_a_narrow_screen(
    chromium: Browser, towpath: Towpath
) -> None:
    one, run = await failing(towpath)
    paths = ["/ui/", "/ui/runs", f"/ui/runs/{run['id']}", f"/ui/runs/{run['id']}/jobs/test", "/ui/nowhere"]
    paths += [f"/ui/events/{run['event_id']}", f"/ui/pipelines/{one.pipeline['id']}", "/ui/login", "/ui/link"]
    paths += ["/ui/runs?branch=none", "/ui/?q=none"]
    for theme, width in (("light", 1280), ("dark", 360)):
        options = {"color_scheme": theme, "viewport": {"width": width, "height": 800}}
        async with tab(chromium, towpath, one.person, **options) as opened:
            for path in paths:
                await opened.open(path)
                assert await opened.violations() == [], (theme, path)
                assert await opened.page.evaluate("document.documentElement.scrollWidth <= innerWidth"), path


PICTURES = {"pipelines": "/ui/", "run": "/ui/runs/{run}", "log": "/ui/runs/{run}/jobs/{job}"}


async def test_the_main_pages_have_pictures(chromium: Browser, towpath: Towpath, tmp_path: Path) -> None:
    """With TOWPATH_SCREENSHOTS (`make screenshots`), those of the documents go to this folder."""
    folder = Path(os.environ.get("TOWPATH_SCREENSHOTS") or tmp_path)
    tests = {"matrix": {"python": ["3.11", "3.12", "3.13"]}, "env": {"V": "${{ matrix.python }}"}}
    steps = [
        {"name": "install", "run": "seq 1 80"},
        {"name": "pytest", "run": f"[ $V != 3.12 ] || {{ {SUITE}; }}"},
    ]
    jobs = {"build": job("true"), "lint": job("true"), "test": {**job(*steps, needs=["build"]), **tests}}
    one = await scene(towpath, {**jobs, "deploy": job("true", needs=["test", "lint"])})
    run = await one.ran(message="Refuse logins without a token", ref="refs/heads/login")
    for theme, width in (("light", 1200), ("dark", 1200), ("light", 360)):
        options = {"color_scheme": theme, "viewport": {"width": width, "height": 760}}
        async with tab(chromium, towpath, one.person, **options) as opened:
            for name, path in PICTURES.items():
                await opened.open(path.format(run=run["id"], job="test%20(3.12)"))
                if name == "log":
                    await expect(opened.page.locator(".row.bad", has_text="1 failed")).to_be_visible()
                place = folder if (theme, width) == ("light", 1200) else tmp_path
                picture = place / f"{name}-{theme}-{width}.png"
                await opened.page.screenshot(path=picture, animations="disabled")
                assert picture.stat().st_size > 5000
