"""The report is one file that shows everything, escapes everything and reads well in a real browser."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import re
import shutil
import subprocess
import zlib
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from equipoise.errors import InputError
from equipoise.orders import Side
from equipoise.record import BeforeAfter, FillRecord, RunOutcome, RunRecord
from equipoise.report import outcome, render_report, write_report
from equipoise.report.plot import linear_axis, log_axis, time_axis
from equipoise.report.series import Run, columns_at_peak, envelope, markouts, time_mean

Make = Callable[..., RunRecord]

SECTIONS = ("summary", "market", "equity", "margin", "entropy", "execution", "refusals", "speed", "fills", "settings")
VOID = {"meta", "br", "wbr", "link", "img", "input", "hr", "path", "rect", "circle"}
HOSTILE = "\"><script>alert('x')</script><img src=//evil.example onerror=alert(1)>\x00&"

PAIR = BeforeAfter(
    before=RunOutcome(
        name="Both sides get all the margin",
        orders_sent=1_000,
        orders_refused=498,
        ladders=200,
        ladders_below_floor=140,
        idle_share=0.21,
        demand_share_max=2.0,
    ),
    after=RunOutcome(
        name="One margin, split",
        orders_sent=1_000,
        orders_refused=0,
        ladders=200,
        ladders_below_floor=0,
        idle_share=0.004,
        demand_share_max=0.9997,
    ),
)


class Page(HTMLParser):
    """Checks nesting, and keeps ids, attributes, texts by tag."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.words: list[str] = []
        self.tags: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        for name, value in attrs:
            self.attributes.append((tag, name, value or ""))
            if name == "id":
                self.ids.append(value or "")
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] not in {"style", "script"}:
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(self.words)


def empty(**changes: object) -> RunRecord:
    base = RunRecord(
        title="nothing",
        symbol="X",
        market_source="none",
        rule="sum",
        policy="inventory",
        optimizer="entropy",
        leverage=10.0,
        balance_start=0.0,
        seed=0,
        started_ns=0,
        ended_ns=0,
        samples={},
    )
    return dataclasses.replace(base, **changes)  # type: ignore[arg-type]


def test_every_section_is_there_once_and_linked(make_record: Make) -> None:
    page = Page(render_report([make_record()], before_after=PAIR))
    assert len(page.ids) == len(set(page.ids))
    for name in (*SECTIONS, "comparison"):
        assert page.ids.count(name) == 1
        assert ("a", "href", f"#{name}") in page.attributes


def test_the_page_refers_to_nothing_outside_itself(make_record: Make) -> None:
    text = render_report([make_record()], before_after=PAIR)
    page = Page(text)
    for tag, name, value in page.attributes:
        assert tag not in {"link", "iframe", "object", "embed", "img", "base"}
        if name in {"src", "href", "srcset", "action", "data", "xlink:href"}:
            assert value.startswith("#"), (tag, name, value)
    assert not re.search(r"@import|url\((?!#)|https?:(?!//www\.w3\.org/2000/svg)", text)


def test_the_same_record_gives_the_same_page(make_record: Make) -> None:
    assert render_report([make_record()]) == render_report([make_record()])


def test_hostile_words_are_escaped_everywhere(make_record: Make) -> None:
    record = make_record(count=60)
    fill = FillRecord(
        time_ns=record.started_ns, order_id=HOSTILE, side=Side.BID, price=1.0, size=1.0, fee=0.0, realised_pnl=0.0,
        mid=1.0, position_after=1.0,
    )  # fmt: skip
    record = dataclasses.replace(
        record,
        title=HOSTILE,
        symbol=HOSTILE,
        market_source=HOSTILE,
        rule=HOSTILE,
        policy=HOSTILE,
        optimizer=HOSTILE,
        currency=HOSTILE,
        refusals={HOSTILE: 1},
        counters={HOSTILE: 2},
        notes=(HOSTILE,),
        settings={HOSTILE: {HOSTILE: HOSTILE}},
        fills=(*record.fills, fill),
    )
    pair = BeforeAfter(
        before=dataclasses.replace(PAIR.before, name=HOSTILE),
        after=dataclasses.replace(PAIR.after, name=HOSTILE),
        scenario=HOSTILE,
        notes=(HOSTILE,),
    )
    text = render_report([record, record], before_after=pair)
    page = Page(text)
    assert page.tags.count("script") == 1
    assert "img" not in page.tags
    assert "\x00" not in text
    assert not any(name.startswith("on") for _, name, _ in page.attributes)


def test_secrets_in_settings_are_not_shown(make_record: Make) -> None:
    text = render_report([make_record(count=60)])
    assert "must-not-show" not in text
    assert "(hidden)" in text


def test_an_empty_record_makes_a_whole_page() -> None:
    page = Page(render_report([empty()]))
    assert set(SECTIONS) <= set(page.ids)
    assert "Nothing was filled." in page.text
    assert "No order was refused" in page.text
    assert not re.search(r"\bnan\b|\binf\b", page.text, re.IGNORECASE)


def test_one_sample_is_drawn(make_record: Make) -> None:
    text = render_report([make_record(count=1)])
    assert Page(text).tags.count("svg") > 20
    assert not re.search(r"(nan|inf)[ \"hHVLM]", text)


def test_no_fills_leaves_the_other_pictures(make_record: Make) -> None:
    page = Page(render_report([make_record(fills=())]))
    assert "Nothing was filled." in page.text
    assert "No fill has a markout yet." in page.text
    assert page.tags.count("svg") > 20


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_unknown_samples_break_the_lines_and_nothing_else(make_record: Make, value: float) -> None:
    record = make_record(count=300)
    samples = {name: values.copy() for name, values in record.samples.items()}
    for name, values in samples.items():
        if name != "time_s":
            values[100:140] = value
    samples["equity"][:] = value
    text = render_report([dataclasses.replace(record, samples=samples)])
    page = Page(text)
    paths = [value for tag, name, value in page.attributes if tag == "path" and name == "d"]
    assert paths
    assert not [d for d in paths if re.search(r"nan|inf", d)]
    assert not re.search(r"\bnan\b|\binf\b", page.text, re.IGNORECASE)


def test_constant_series_and_extreme_scales_have_axes(make_record: Make) -> None:
    record = make_record(count=50)
    for scale in (0.0, 1e-9, 1e12, -5e300):
        samples = {n: v if n == "time_s" else np.full_like(v, scale) for n, v in record.samples.items()}
        text = render_report([dataclasses.replace(record, samples=samples)])
        assert not re.search(r'd="[^"]*(nan|inf)', text)


def test_samples_of_unequal_length_are_refused_by_name(make_record: Make) -> None:
    record = make_record(count=50)
    samples = {**record.samples, "mid": np.zeros(49)}
    with pytest.raises(InputError, match=r"samples\.mid must be an array of shape \(50,\)"):
        render_report([dataclasses.replace(record, samples=samples)])
    with pytest.raises(InputError, match=r"ladders\.bid_price"):
        render_report([dataclasses.replace(record, ladders={"bid_price": np.zeros((49, 5))})])
    with pytest.raises(InputError, match="records must be at least one run"):
        render_report([])


def test_samples_out_of_order_are_sorted(make_record: Make) -> None:
    record = make_record(count=200)
    order = np.random.default_rng(1).permutation(200)
    shuffled = dataclasses.replace(
        record,
        samples={name: values[order] for name, values in record.samples.items()},
        ladders={name: values[order] for name, values in record.ladders.items()},
        fills=tuple(reversed(record.fills)),
    )
    assert render_report([shuffled]) == render_report([record])


def test_zero_refusals_are_shown_by_reason(make_record: Make) -> None:
    text = Page(render_report([make_record(count=60)])).text
    assert "MARK_MOVED 0 0.00" in re.sub(r"\s+", " ", text.replace("\N{NO-BREAK SPACE}", " "))
    refused = Page(render_report([make_record(count=60, refusals={"MARGIN": 3, "TICK": 0})])).text
    assert "3 orders were refused for margin" in refused
    moved = Page(render_report([make_record(count=60, refusals={"MARGIN": 0, "POST_ONLY": 2, "MARK_MOVED": 1})])).text
    assert "No order was refused for margin" in moved
    assert "3 for other reasons" in moved


def worst_side(record: RunRecord) -> RunRecord:
    changed = {"held_asks": record.samples["held_asks"] * 3, "margin_held": record.samples["held_bids"]}
    return dataclasses.replace(record, rule="worst_side", samples={**record.samples, **changed})


def test_nothing_is_drawn_outside_its_picture(make_record: Make) -> None:
    for record in (make_record(), worst_side(make_record(count=400)), make_record(count=1), make_record(count=2)):
        text = render_report([record])
        pictures = re.findall(r'<svg class="plot [a-z]+" viewBox="0 0 (\d+) (\d+)"(.*?)</svg>', text, re.DOTALL)
        assert len(pictures) > 20
        for width, height, body in pictures:
            for d in re.findall(r' d="([^"]*)"', body):
                for command, first, second in re.findall(r"([MLHV])(-?[\d.]+)(?: (-?[\d.]+))?", d):
                    x, y = (second or "0", first) if command == "V" else (first, second or "0")
                    assert -1 <= float(x) <= float(width) + 1, (record.rule, d[:80])
                    assert -1 <= float(y) <= float(height) + 1, (record.rule, d[:80])


def test_a_rule_that_does_not_add_the_sides_up_is_not_stacked(make_record: Make) -> None:
    text = render_report([worst_side(make_record(count=400))])
    assert "held by the rule" in text
    assert "resting bids" not in text


def test_several_runs_keep_their_ids_apart(make_record: Make) -> None:
    page = Page(render_report([make_record(count=60), make_record(seed=8, count=60)], before_after=PAIR))
    assert len(page.ids) == len(set(page.ids))
    assert {"run1-margin", "run2-margin", "comparison"} <= set(page.ids)


def test_figures_have_units_and_thousands_separators(make_record: Make) -> None:
    text = Page(render_report([make_record()])).text
    assert "26,000" in text
    for unit in ("USD", "contracts", "nats", "bps of price", "% of available", "time since the start"):
        assert unit in text
    assert "\N{MINUS SIGN}" in text


def test_every_picture_says_what_it_shows_and_has_its_table(make_record: Make) -> None:
    text = render_report([make_record()])
    labels = re.findall(r'<svg class="plot [a-z]+"[^>]*role="img" aria-label="([^"]*)"', text)
    assert len(labels) == text.count('<svg class="plot')
    assert all(len(label) > 20 for label in labels)
    figures = re.findall(r"<figure.*?</figure>", text, re.DOTALL)
    assert len(figures) >= 13
    assert sum("<details>" not in figure for figure in figures) == 1, "only the close look has no table of its own"


def test_a_long_run_stays_a_small_file_and_keeps_its_spikes(make_record: Make, tmp_path: Path) -> None:
    count = 200_000
    time = np.arange(count) * 0.5
    mid = 200 + np.sin(time / 5_000)
    mid[123_456] = 230.0
    record = empty(samples={"time_s": time, "mid": mid, "equity": mid}, ended_ns=int(1e14))
    path = write_report([record], tmp_path / "deep" / "report.html")
    assert path.stat().st_size < 1_500_000
    assert "230" in path.read_text()


def test_envelope_keeps_the_least_and_greatest_of_every_column() -> None:
    random = np.random.default_rng(3)
    x = np.sort(random.uniform(0, 100, 5_000))
    y = random.normal(size=5_000)
    (run,) = envelope(x, y, 0.0, 100.0, 50)
    column = np.minimum((x / 2).astype(int), 49)
    kept = np.minimum((run[0] / 2).astype(int), 49)
    for index in range(50):
        assert y[column == index].min() == run[1][kept == index].min()
        assert y[column == index].max() == run[1][kept == index].max()
    assert run[0].size <= 100
    assert np.all(np.diff(run[0]) >= 0)


def test_envelope_breaks_only_where_a_whole_column_is_unknown() -> None:
    x = np.arange(1_000.0)
    y = np.ones(1_000)
    y[500:600] = np.nan
    y[250] = np.nan
    runs = envelope(x, y, 0.0, 1_000.0, 100)
    assert [(run[0][0], run[0][-1]) for run in runs] == [(0.0, 499.0), (600.0, 999.0)]


def test_stacks_take_all_parts_from_one_moment() -> None:
    x = np.arange(1_000.0)
    total = np.random.default_rng(5).uniform(size=1_000)
    chosen = columns_at_peak(x, total, 0.0, 1_000.0, 10)
    assert [int(index) for index in chosen] == [int(np.argmax(total[a : a + 100])) + a for a in range(0, 1_000, 100)]


def fill(side: Side, at_s: float, price: float, mid: float, size: float = 1.0) -> FillRecord:
    return FillRecord(
        time_ns=int(at_s * 1e9), order_id="o", side=side, price=price, size=size, fee=0.0, realised_pnl=0.0, mid=mid,
        position_after=0.0,
    )  # fmt: skip


def test_markouts_follow_the_mid_from_the_side_of_the_fill() -> None:
    time = np.arange(0.0, 41.0)
    mid = np.where(time < 5, 100.0, 101.0)
    fills = (fill(Side.BID, 2.5, 99.9, 100.0), fill(Side.ASK, 2.5, 100.1, 100.0), fill(Side.ASK, 20.5, 101.2, 101.0))
    marks = markouts(Run(empty(samples={"time_s": time, "mid": mid}, fills=fills)))
    np.testing.assert_allclose(marks.captured_bps, [10, 10, 0.2 / 101 * 1e4])
    np.testing.assert_allclose(marks.markout_bps[0], [10, 110, 110, np.nan])
    np.testing.assert_allclose(marks.markout_bps[1], [10, -90, -90, np.nan])
    np.testing.assert_allclose(marks.markout_bps[2], [0.2 / 101 * 1e4] * 2 + [np.nan] * 2)


def test_markouts_are_unknown_inside_a_hole_of_the_samples() -> None:
    time = np.r_[np.arange(0.0, 10.0), np.arange(40.0, 60.0)]
    record = empty(samples={"time_s": time, "mid": time * 0 + 100}, fills=(fill(Side.BID, 9.0, 99, 100),))
    marks = markouts(Run(record))
    assert np.isfinite(marks.markout_bps[0]).tolist() == [True, False, False, False]
    at_end = markouts(Run(dataclasses.replace(record, fills=(fill(Side.BID, 58.5, 99, 100),))))
    assert not np.isfinite(at_end.markout_bps).any(), "the run ended before the horizon"
    later = markouts(
        Run(empty(samples={"time_s": time, "mid": time * 0 + 100}, fills=(fill(Side.BID, 12.0, 99, 100),)))
    )
    assert np.isfinite(later.markout_bps[0]).tolist() == [False, False, True, False]


def test_mean_markout_is_weighted_by_value() -> None:
    fills = (fill(Side.BID, 0.0, 99.0, 100.0, 3.0), fill(Side.BID, 0.0, 100.0, 100.0, 1.0))
    marks = markouts(Run(empty(fills=fills)))
    mean, error, count = marks.mean(marks.captured_bps, marks.is_bid)
    assert mean == pytest.approx(100 * 297 / 397)
    assert count == 2
    assert error > 0


def test_time_mean_weighs_a_value_by_how_long_it_held() -> None:
    assert time_mean(np.array([0.0, 9.0, 10.0]), np.array([1.0, 0.0, 7.0])) == pytest.approx(0.9)
    assert math.isnan(time_mean(np.array([0.0]), np.array([np.nan])))
    assert time_mean(np.array([3.0]), np.array([2.0])) == 2.0


def test_outcome_counts_what_the_table_shows(make_record: Make) -> None:
    record = make_record(count=400, refusals={"MARGIN_AT_MATCH": 2, "BOOK_INSUFFICIENT": 5, "POST_ONLY": 9})
    samples = {name: values.copy() for name, values in record.samples.items()}
    samples["entropy_bids"][:10] = samples["entropy_floor_bids"][:10] - 1e-6
    samples["margin_held"][7] = samples["margin_available"][7] * 2
    result = outcome(dataclasses.replace(record, samples=samples), "run")
    assert (result.orders_refused, result.orders_sent, result.fills) == (7, 4_000, len(record.fills))
    assert (result.ladders_below_floor, result.ladders) == (10, 800)
    assert result.demand_share_max == pytest.approx(2.0)
    assert 0 < result.idle_share < 0.1


@pytest.mark.parametrize(("low", "high"), [(0.0, 1.0), (-3.0, 7e9), (109_750.5, 110_272.5), (5.0, 5.0), (1e-9, 2e-9)])
def test_axes_have_a_few_distinct_round_ticks_inside_them(low: float, high: float) -> None:
    axis = linear_axis([low, high], "USD", count=5)
    labels = [label for _, label in axis.ticks]
    assert 2 <= len(labels) <= 8
    assert len(set(labels)) == len(labels)
    assert all(axis.low <= value <= axis.high for value, _ in axis.ticks)


def test_time_and_log_axes_have_distinct_labels() -> None:
    for span in (0.5, 45.0, 2_088.0, 90_000.0, 3e6):
        axis = time_axis(0.0, span, "time", width=340)
        labels = [label for _, label in axis.ticks]
        assert len(set(labels)) == len(labels) <= 10
    for low, high in ((21.0, 23.0), (1.0, 1e6), (0.3, 40.0)):
        labels = [label for _, label in log_axis(low, high, "µs", count=6).ticks]
        assert len(set(labels)) == len(labels) <= 8


# --- in a real browser ---------------------------------------------------------------------------------------------

PROBE = """<script>
window.faults = [];
addEventListener("error", (e) => faults.push(String(e.message)));
addEventListener("securitypolicyviolation", (e) => faults.push("policy: " + e.violatedDirective));
for (const name of ["error", "warn"]) { console[name] = (...a) => faults.push(name + ": " + a.join(" ")); }
</script>"""

MEASURE = """<script>
addEventListener("load", () => {
  const seen = (e) => e.getClientRects().length > 0;
  const plots = [...document.querySelectorAll("svg.plot")].filter(seen);
  const overlaps = [];
  for (const plot of plots) {
    const words = [...plot.querySelectorAll("text")].map((t) => [t.textContent, t.getBoundingClientRect()]);
    words.forEach(([a, p], i) => words.slice(i + 1).forEach(([b, q]) => {
      const w = Math.min(p.right, q.right) - Math.max(p.left, q.left);
      const h = Math.min(p.bottom, q.bottom) - Math.max(p.top, q.top);
      const title = plot.closest("figure").querySelector("h3").textContent;
      if (w > 0.5 && h > 2.5) overlaps.push(title + ": " + a + " | " + b);
    }));
  }
  const wide = [...document.querySelectorAll("body *")].filter((e) =>
    e.getBoundingClientRect().right > innerWidth + 1 && !e.closest(".scroll") && !e.closest("details:not([open])"));
  const plot = plots[0], box = plot.getBoundingClientRect();
  plot.dispatchEvent(new PointerEvent("pointermove", { clientX: box.left + box.width / 2, clientY: box.top + 50 }));
  const result = {
    width: innerWidth, scroll: document.documentElement.scrollWidth, faults, overlaps: overlaps.slice(0, 5),
    wide: wide.slice(0, 5).map((e) => e.outerHTML.slice(0, 120)), plots: plots.length,
    smallest: Math.min(...plots.map((p) => 11 * p.getBoundingClientRect().width / p.viewBox.baseVal.width)),
    readout: plot.closest("figure").querySelector(".readout").textContent,
    dark: matchMedia("(prefers-color-scheme: dark)").matches, page: getComputedStyle(document.body).backgroundColor,
  };
  parent.postMessage(JSON.stringify(result), "*");
});
</script>"""

# A headless window has a least width, a frame has not.
FRAME = """<!DOCTYPE html><meta charset="utf-8"><script>
addEventListener("message", (e) => {
  const holder = document.createElement("pre");
  holder.id = "measured";
  holder.textContent = e.data;
  document.body.append(holder);
});
</script><body style="margin:0"><iframe src="report.html" style="border:0" width="WIDTH" height="1000"></iframe>"""


@pytest.fixture(scope="session")
def chromium() -> str:
    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
    found = os.environ.get("CHROMIUM") or next((path for name in names if (path := shutil.which(name))), None)
    if found is None:
        if os.environ.get("CI"):
            pytest.fail("no chromium to read the report with; install one, or name it in CHROMIUM")
        pytest.skip("no chromium to read the report with")
    return found


def browse(chromium: str, folder: Path, page: Path, width: int, *options: str) -> str:
    command = [
        chromium,
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--hide-scrollbars",
        f"--user-data-dir={folder / 'profile'}",
        f"--window-size={width},1000",
        *options,
        page.as_uri(),
    ]
    done = subprocess.run(command, capture_output=True, timeout=90, check=True)
    return done.stdout.decode()


@pytest.mark.parametrize(("width", "dark"), [(1280, False), (1280, True), (800, False), (390, False), (390, True)])
def test_the_page_reads_well_in_a_browser(
    make_record: Make, chromium: str, tmp_path: Path, width: int, dark: bool
) -> None:
    text = render_report([make_record()], before_after=PAIR)
    page = tmp_path / "report.html"
    page.write_text(text.replace("<title>", PROBE + "<title>").replace("</body>", MEASURE + "</body>"))
    frame = tmp_path / "frame.html"
    frame.write_text(FRAME.replace("WIDTH", str(width)))
    options = ["--dump-dom", "--virtual-time-budget=4000", *(["--force-dark-mode"] if dark else [])]
    document = browse(chromium, tmp_path, frame, 1400, *options)
    found = re.search(r'<pre id="measured">(.*?)</pre>', document, re.DOTALL)
    assert found, "the page did not load"
    measured = json.loads(found[1].replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&"))
    assert measured["faults"] == []
    assert measured["width"] == width
    assert measured["scroll"] <= width, measured["wide"]
    assert measured["wide"] == []
    assert measured["overlaps"] == []
    assert measured["plots"] == 14
    assert measured["smallest"] >= 9, "axis labels too small to read"
    assert "mid" in measured["readout"]
    assert measured["dark"] == dark
    assert measured["page"] == ("rgb(14, 17, 22)" if dark else "rgb(247, 247, 245)")


def test_a_screenshot_is_not_blank(make_record: Make, chromium: str, tmp_path: Path) -> None:
    page = write_report([make_record()], tmp_path / "report.html")
    picture = tmp_path / "page.png"
    browse(chromium, tmp_path, page, 1280, f"--screenshot={picture}")
    data = picture.read_bytes()
    assert data.startswith(b"\x89PNG")
    chunks, at = b"", 8
    while at < len(data):
        length = int.from_bytes(data[at : at + 4], "big")
        if data[at + 4 : at + 8] == b"IDAT":
            chunks += data[at + 8 : at + 8 + length]
        at += length + 12
    assert len(set(zlib.decompress(chunks))) > 60
