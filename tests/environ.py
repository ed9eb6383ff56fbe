"""The environment that a test gives to a process."""

import os
from pathlib import Path

ROOT = Path(__file__).parent.parent


def clean_environ(environ: dict[str, str]) -> dict[str, str]:
    """Return these settings and no others, whatever the developer's own environment holds."""
    return {"PATH": os.environ["PATH"], "ENV_FILE": "", "FLASK_SKIP_DOTENV": "1", **environ}
