"""Pages that need nothing but themselves: one HTML file with styles, scripts and data in it.

The scripts are modules under ``web/``, which a browser would load by their imports from a server.
A page opened as a file may not, so they are put one behind another into a single module, each after
those that it imports. Their top-level names must differ; a test looks after that.
"""

import html
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

WEB = Path(__file__).parent / "web"
IMPORT = re.compile(r'^import \{[^}]*\} from "\./(?P<module>[\w-]+)\.js";\n', re.MULTILINE)
EXPORT = re.compile(r"^export (?=(?:const|let|function|class|async function)\b)", re.MULTILINE)
PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; \
style-src 'unsafe-inline'; script-src 'unsafe-inline'">
<title>{title}</title>
<style>
{style}</style>
</head>
<body>
<script type="application/json" id="data">{data}</script>
<script type="module">
{script}</script>
</body>
</html>
"""


def page(title: str, module: str, data: Mapping[str, Any]) -> str:
    """The page that runs the module of this name over the data."""
    text = json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return PAGE.format(
        title=html.escape(title),
        style=(WEB / "style.css").read_text(encoding="utf-8"),
        data=text.replace("<", "\\u003c"),  # no text in it can end the element
        script=bundle(module),
    )


def bundle(module: str) -> str:
    """The module of this name and all that it imports, as one module."""
    return "\n".join(_in_order(module, {}).values())


def _in_order(module: str, placed: dict[str, str]) -> dict[str, str]:
    """The texts of modules, without imports and exports, after those that they need."""
    if module not in placed:
        text = (WEB / f"{module}.js").read_text(encoding="utf-8")
        for found in IMPORT.finditer(text):
            _in_order(found["module"], placed)
        placed[module] = f"// {module}.js\n" + EXPORT.sub("", IMPORT.sub("", text))
    return placed
