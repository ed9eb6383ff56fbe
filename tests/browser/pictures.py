"""README's pictures, taken from the demo: `make screenshots`."""

import re
import subprocess
import sys

from playwright.sync_api import Browser, Page, sync_playwright

from tests.browser.chromium import CHROMIUM, FLAGS
from tests.environ import ROOT

FOLDER = ROOT / "docs" / "pictures"
MOST_BYTES = 150_000
_PASSWORD = "a password for pictures"


def take_all(browser: Browser, invitation: str) -> None:
    """Sign in and take each picture."""
    url = invitation.partition("/invite")[0]
    context = browser.new_context(viewport={"width": 1120, "height": 740})
    page = context.new_page()
    page.goto(invitation)
    page.get_by_label("Password", exact=True).fill(_PASSWORD)
    page.get_by_label("The same password again").fill(_PASSWORD)
    page.get_by_role("button", name="Keep this password and sign in").click()
    page.wait_for_url("**/overview")
    page.wait_for_timeout(70_000)  # a good part of the campaign is to have left
    page.reload()
    save(page, "overview.png")
    page.get_by_role("link", name="End of the season").first.click()
    page.wait_for_url("**/broadcasts/*")
    address = page.url
    save(page, "broadcast.png")
    page.goto(f"{url}/inbox")
    page.locator(".threads li a").nth(1).click()
    save(page, "inbox.png")
    page.emulate_media(color_scheme="dark")
    page.set_viewport_size({"width": 360, "height": 740})
    page.goto(address)
    save(page, "phone.png")


def save(page: Page, name: str) -> None:
    """Save what the window shows.  Raises ValueError if the file is too large for a README."""
    page.wait_for_load_state("networkidle")
    path = FOLDER / name
    page.screenshot(path=path)
    if path.stat().st_size > MOST_BYTES:
        raise ValueError(f"{name} has {path.stat().st_size} bytes, at most {MOST_BYTES} are wanted")


def main() -> None:
    """Start the demo, take the pictures, end the demo."""
    FOLDER.mkdir(exist_ok=True)
    command = [sys.executable, "-m", "app.cli.demo"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as demo:
        try:
            assert demo.stdout is not None
            links = (re.search(r"http\S+/invite/\S+", line) for line in demo.stdout)
            invitation = next(link[0] for link in links if link)
            with sync_playwright() as playwright:
                browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
                take_all(browser, invitation)
                browser.close()
        finally:
            demo.terminate()


if __name__ == "__main__":
    main()
