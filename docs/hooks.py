"""Hooks of MkDocs: what the pages have that Markdown has not.

Formulas are MathML, which browsers show by themselves: no script, nothing from the network. `pymdownx.arithmatex` finds
them in the pages and marks them; LaTeX becomes MathML here. A line `settings: Config` becomes a table of the settings.
"""

import dataclasses
import html
import re

from latex2mathml.converter import convert

from dvae import config

_FORMULA = re.compile(r'<(span|div) class="arithmatex">\\[(\[](.*?)\\[)\]]</\1>', re.DOTALL)
_SETTINGS = re.compile(r"^settings: (\w+)$", re.MULTILINE)


def on_page_markdown(text: str, **_: object) -> str:
    """The page with its tables of settings; called by MkDocs for every page."""
    return _SETTINGS.sub(lambda found: _table(getattr(config, found[1])), text)


def on_page_content(text: str, **_: object) -> str:
    """The page with its formulas; called by MkDocs for every page."""
    return _FORMULA.sub(_mathml, text)


def _mathml(found: re.Match[str]) -> str:
    tag, latex = found[1], html.unescape(found[2]).strip()
    formula = convert(latex, display="block" if tag == "div" else "inline")
    formula = formula.replace("<mi>log</mi>", '<mi>log</mi><mspace width="0.17em" />')  # as TeX sets operators
    return f'<{tag} class="formula">{formula}</{tag}>'


def _table(record: type) -> str:
    groups: dict[str, list[str]] = {}
    for field in dataclasses.fields(record):
        text = re.sub(r"docs/(\w+)\.md", r"[\1](../\1.md)", field.metadata["help"].replace("|", r"\|"))
        choices = field.metadata.get("choices", ())
        if names := choices() if callable(choices) else choices:
            text += ": " + ", ".join(f"`{name}`" for name in names)
        groups.setdefault(field.metadata["group"], []).append(f"| `{field.name}` | {_default(field)} | {text} |")
    head = ["", "| setting | default | |", "|---|---|---|"]
    return "\n".join(line for group, rows in groups.items() for line in (f"### {group}", *head, *rows, ""))


def _default(field: dataclasses.Field[object]) -> str:
    is_left_open = field.default is dataclasses.MISSING or field.default is None
    return "" if is_left_open else f"`{field.default}`"
