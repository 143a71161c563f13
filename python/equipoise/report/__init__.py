"""One run, or several, as a single HTML file that needs no network.

The page is complete without its few lines of script, which add a theme switch and values under the pointer. The same
records give the same bytes: nothing is read from the clock.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

from equipoise.errors import InputError
from equipoise.record import BeforeAfter, RunRecord
from equipoise.report import sections
from equipoise.report.sections import comparison, facts, run_sections, verdict
from equipoise.report.series import Run, markouts, outcome
from equipoise.report.text import escape

if TYPE_CHECKING:
    from equipoise.policies import PolicyComparison

__all__ = ["outcome", "render_report", "write_report"]

PATTERNS = """<svg class="defs" aria-hidden="true"><defs>
<pattern id="hatch-bid" width="6" height="6" patternUnits="userSpaceOnUse"><rect class="bid" width="6" height="6"/>
<path class="bid" d="M-1 7L7 -1M-1 1L1 -1M5 7L7 5"/></pattern>
<pattern id="hatch-ask" width="6" height="6" patternUnits="userSpaceOnUse"><rect class="ask" width="6" height="6"/>
<path class="ask" d="M-1 -1L7 7M-1 5L1 7M5 -1L7 1"/></pattern>
<pattern id="hatch-exec" width="5" height="5" patternUnits="userSpaceOnUse"><rect class="exec" width="5" height="5"/>
<circle class="exec" cx="1.5" cy="1.5" r="0.9"/><circle class="exec" cx="4" cy="4" r="0.9"/></pattern>
<pattern id="hatch-both" width="6" height="6" patternUnits="userSpaceOnUse"><rect class="both" width="6" height="6"/>
<path class="both" d="M0 3H6"/></pattern>
<pattern id="hatch-move" width="4" height="4" patternUnits="userSpaceOnUse"><rect class="move" width="4" height="4"/>
<path class="move" d="M2 0V4"/></pattern>
</defs></svg>"""


def _asset(name: str) -> str:
    return resources.files("equipoise.report").joinpath(name).read_text(encoding="utf-8")


def _links(entries: Sequence[tuple[str, str]]) -> str:
    items = "".join(f'<li><a href="#{name}">{escape(heading)}</a></li>' for name, heading in entries)
    return f'<nav aria-label="On this page"><ul>{items}</ul></nav>'


def render_report(
    records: Sequence[RunRecord],
    *,
    before_after: BeforeAfter | None = None,
    policies: PolicyComparison | None = None,
) -> str:
    """The report as the text of one HTML page.

    Parameters
    ----------
    records
        Runs, one or more; each gets its own parts, in the order given.
    before_after
        The older way against the new one, shown first.
    policies
        Both policies on the same market, shown first.

    Returns
    -------
    str
        A page that refers to nothing outside itself; every word that came from a record is escaped.

    Raises
    ------
    InputError
        There is no record, or samples of a record differ in length.
    """
    if not records:
        raise InputError("records", None, "at least one run", "none")
    runs = [Run(record) for record in records]
    links: list[tuple[str, str]] = []
    body: list[str] = []
    for index, run in enumerate(runs):
        prefix = f"run{index + 1}-" if len(runs) > 1 else ""
        parts = run_sections(run, markouts(run), prefix)
        if prefix:
            links.append((parts[0][0], run.record.title))
            heading = f'<h1 class="run">{escape(run.record.title)}</h1>{verdict(run)}{facts(run)}'
            body.append(f'<div class="run">{heading}</div>')
        else:
            links += [(name, heading) for name, heading, _ in parts]
        body += [html for _, _, html in parts]
    if before_after is not None:
        # After the heading of a first run, if it has one, and its summary.
        body.insert(2 if len(runs) > 1 else 1, comparison(before_after))
        links.insert(1, ("comparison", "Before and after"))
    if policies is not None:
        body.insert(0, sections.policies(policies))
        links.insert(0, ("policies", "Inventory rule against joint policy"))
    first = runs[0]
    title = first.record.title if len(runs) == 1 else f"{len(runs)} runs"
    header = (
        '<button class="theme" type="button" hidden>Theme: auto</button><div class="eyebrow">Equipoise run report</div>'
        f"<h1>{escape(title)}</h1>{verdict(first) + facts(first) if len(runs) == 1 else ''}{_links(links)}"
    )
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'; "
        "script-src 'unsafe-inline'\">"
        f"<title>{escape(title)}</title><style>{_asset('page.css')}</style></head><body>{PATTERNS}"
        f'<header class="page">{header}</header><main>{"".join(body)}</main>'
        "<footer><div>Written by Equipoise. Lines are thinned to the least and greatest value of each pixel; nothing "
        "is smoothed. Markouts use the mid samples of the run and are left out where the run ends first.</div></footer>"
        f"<script>{_asset('page.js')}</script></body></html>\n"
    )


def write_report(
    records: Sequence[RunRecord],
    path: str | Path,
    *,
    before_after: BeforeAfter | None = None,
    policies: PolicyComparison | None = None,
) -> Path:
    """Write the report to one self-contained HTML file.

    Parameters
    ----------
    records, before_after, policies
        As for `render_report`.
    path
        File to write; replaced when it exists. Its folder is made when it is missing.

    Returns
    -------
    Path
        The file written.

    Raises
    ------
    InputError
        There is no record, or samples of a record differ in length.
    """
    text = render_report(records, before_after=before_after, policies=policies)
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(text, encoding="utf-8")
    return target
