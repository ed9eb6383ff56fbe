"""What pages look like: sizes, colours, contrast, versions, and what no template may have."""

import hashlib
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
STATIC = ROOT / "app" / "web" / "static"
STYLESHEET = re.sub(r"/\*.*?\*/", "", (STATIC / "clarion.css").read_text("utf-8"), flags=re.S)
# Swagger UI's page has a policy of its own.
TEMPLATES = sorted(
    path for path in (ROOT / "app/web/templates").rglob("*.html") if path.name != "docs.html"
)
_COLOUR = re.compile(
    r"#[0-9a-f]{3,8}\b|\b(?:rgba?|hsla?|hwb|lab|lch|oklab|oklch|color|color-mix)\("
    r"|:[^;{}]*\b(?:white|black|red|green|blue|gray|grey|yellow|orange|purple|brown|pink|"
    r"canvas|canvastext|graytext|buttonborder|highlight|linktext)\b",
    re.IGNORECASE,
)


def test_the_stylesheet_is_below_20_kilobytes_without_comments_and_line_ends():
    assert len(re.sub(r"\n\s*", "", STYLESHEET).encode()) < 20_000


def test_colours_are_named_in_root_and_nowhere_else():
    outside = re.sub(r":root\s*\{[^}]*\}", "", STYLESHEET)

    assert [found[0] for found in _COLOUR.finditer(outside)] == []


def test_every_colour_that_the_stylesheet_uses_is_named():
    named = set(re.findall(r"(--[a-z-]+):", STYLESHEET))

    assert set(re.findall(r"var\((--[a-z-]+)", STYLESHEET)) - named == set()


# WCAG asks 4.5 of text, and 3 of the edges of fields and of shapes.
@pytest.mark.parametrize("theme", [0, 1], ids=["light", "dark"])
@pytest.mark.parametrize(
    ("front", "back", "least"),
    [
        *[("ink", back, 7) for back in ("ground", "surface", "sunken", "wash")],
        *[("ink", back, 7) for back in ("warn-wash", "bad-wash")],
        *[("soft", back, 4.5) for back in ("ground", "surface", "sunken", "warn-wash", "bad-wash")],
        *[("accent", back, 4.5) for back in ("ground", "surface", "sunken", "wash")],
        *[("accent", back, 4.5) for back in ("warn-wash", "bad-wash")],
        *[("on-accent", back, 4.5) for back in ("accent", "accent-deep")],
        *[("warn", back, 4.5) for back in ("ground", "surface", "warn-wash")],
        *[("bad", back, 4.5) for back in ("ground", "surface", "bad-wash")],
        *[("edge", back, 3) for back in ("ground", "surface")],
        ("mid", "surface", 3),
    ],
)
def test_texts_and_shapes_are_seen_on_their_ground(front, back, least, theme):
    lighter, darker = sorted((_luminance(front, theme), _luminance(back, theme)), reverse=True)

    assert (lighter + 0.05) / (darker + 0.05) >= least


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda path: path.name)
def test_a_template_has_no_style_no_handler_and_no_script_of_its_own(template):
    text = template.read_text("utf-8")

    assert re.findall(r"<style|\sstyle\s*=|\son[a-z]+\s*=|javascript:|hx-on", text, re.I) == []
    assert re.findall(r"<script(?![^>]*\bsrc=)", text, re.I) == []
    assert re.findall(r"(?:src|href)=[\"']?(?:https?:)?//", text, re.I) == []


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda path: path.name)
def test_a_form_that_is_posted_has_a_token(template):
    forms = re.findall(r"<form[^>]*method=\"post\".*?</form>", template.read_text("utf-8"), re.S)

    assert [form for form in forms if 'name="csrf_token"' not in form] == []


def test_a_shape_that_is_used_exists():
    shapes = (ROOT / "app/web/templates/shapes.html").read_text("utf-8")
    used = set(re.findall(r"#shape-([a-z-]+)\"", "".join(map(_read, TEMPLATES))))
    used |= set(re.findall(r"shape\(\"([a-z-]+)\"\)", "".join(map(_read, TEMPLATES))))

    assert {
        name for name in used - {"bad", "warn", "decision"} if f"shape-{name}" not in shapes
    } == set()


def test_htmx_is_the_file_whose_version_and_hash_are_stated():
    code = (STATIC / "htmx.min.js").read_bytes()
    stated = _read(STATIC / "htmx-licence.txt")
    version = re.search(r"htmx\.org ([\d.]+) ", stated)[1]

    assert hashlib.sha256(code).hexdigest() == re.search(r"SHA-256: ([0-9a-f]{64})", stated)[1]
    assert f'version:"{version}"'.encode() in code
    assert f"htmx {version}" in _read(ROOT / "README.md")


def test_the_script_of_pages_has_at_most_100_lines():
    assert len(_read(STATIC / "pages.js").splitlines()) <= 100


def _read(path):
    return path.read_text("utf-8")


def _luminance(token, theme):
    """Return the relative luminance of a token, as WCAG 2 defines it."""
    pair = re.search(rf"--{token}: light-dark\((#\w{{6}}), (#\w{{6}})\)", STYLESHEET)
    parts = [int(pair[theme + 1][start : start + 2], 16) / 255 for start in (1, 3, 5)]
    linear = [
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
    ]
    return sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True))
