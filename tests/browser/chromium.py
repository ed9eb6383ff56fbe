"""The Chromium of this machine."""

import shutil

# The first has no window, whose tabs and buttons take more of the processor than our pages do.
CHROMIUM = (
    shutil.which("chromium-headless-shell")
    or shutil.which("chromium")
    or shutil.which("google-chrome")
)
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"]
