"""The page as a reader sees it: opened from a file in a headless Chromium, on a desk, on a phone and on paper."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Browser, Page, Request, sync_playwright
from predictions_kit import keep_predictions
from reports_builder import run_result, several_seeds, stage
from storage_kit import LOCAL

from minidisc_ray.reports.run.page import write_report
from minidisc_ray.run_files.history import append_epoch
from minidisc_ray.training.state import EpochRecord

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium to open the page in; install it")

DESK, PHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 844}


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A MaxiDisc run's page beside eight other runs, with classes and every kind of figure but the bars."""
    folder = tmp_path_factory.mktemp("run")
    (folder / "config.yaml").write_text("seed: 0\nschedule:\n  kind: maxidisc\n", encoding="utf-8")
    names = [f"a class of number {number}" for number in range(8)]
    runs = several_seeds(label_names=names, student_trial="a40")
    labels = np.arange(200) % 8
    keep_predictions(folder, np.eye(8)[(labels + (np.arange(200) % 7 == 0)) % 8], labels, trial="a40")
    for trial, scale in (("a55", 55), ("a40", 40)):
        for name, percent in (("assistant", scale), ("student", 10)):
            for epoch in (1, 2, 3):
                append_epoch(LOCAL, folder, trial, name, epoch, epoch_record(epoch, percent))
    return write_report(LOCAL, folder, runs[-1], runs)


def epoch_record(epoch: int, percent: int) -> EpochRecord:
    score = 0.8 + percent / 1000 + epoch / 100
    losses = {"logits": 1 / epoch, "hidden": 0.2}
    return EpochRecord(epoch=epoch, losses=losses, metrics={percent: {"f1": score}}, selection_score=score)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=CHROMIUM)
        yield found
        found.close()


@pytest.fixture
def opened(browser: Browser, report: Path) -> Iterator[Page]:
    """The open page; whatever it asked for or complained about fails the test."""
    page = browser.new_page(viewport=DESK)
    requests: list[str] = []
    complaints: list[str] = []
    page.on("request", lambda request: requests.append(request.url))
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto(report.as_uri())
    yield page
    page.close()
    assert requests == [report.as_uri()]
    assert complaints == []


def test_title_and_headline_are_seen(opened: Page):
    assert opened.title() == "mrpc-maxidisc-40-10pc-seed1"
    tiles = opened.locator(".tiles li")
    for tile, number in zip(tiles.all(), ("84.5", "32.9M", "8.51M", "1.12G", "123"), strict=True):
        shown = tile.locator("b")
        assert shown.inner_text() == number
        assert shown.is_visible()
    assert opened.get_by_role("heading", name="Cost by stage", exact=True).is_visible()


@pytest.mark.parametrize("width", [390, 768, 1280])
def test_figures_are_drawn_and_nothing_overflows(opened: Page, width: int):
    opened.set_viewport_size({"width": width, "height": 900})
    figures = opened.locator("figure.drawing")
    assert figures.count() == 5
    for figure in figures.all():
        image = figure.locator("img")
        box = image.bounding_box()
        assert box is not None
        assert box["width"] > 300
        assert box["height"] > 200
        assert image.get_attribute("alt").startswith("Chart: ")
        assert "seed" in figure.locator("figcaption").inner_text()
        # What is written is never below eight pixels: the smallest letters of a figure have eight points.
        points = 0.75 * image.evaluate("image => image.naturalWidth")
        assert box["width"] / points > 0.98
    widths = opened.evaluate("[document.documentElement.scrollWidth, document.documentElement.clientWidth]")
    assert widths == [width, width]


def test_every_letter_of_a_figure_lies_inside_it(browser: Browser, report: Path):
    page = browser.new_page(viewport=DESK)
    files = sorted(report.parent.glob("figures/*.svg"))
    assert len(files) == 5
    for path in files:
        page.goto(path.as_uri())
        letters, outside = page.evaluate(
            """() => {
                const frame = document.documentElement.getBoundingClientRect();
                const texts = [...document.querySelectorAll("text")];
                return [texts.length, texts.filter((text) => {
                    const box = text.getBoundingClientRect();
                    return box.left < frame.left - 1 || box.right > frame.right + 1
                        || box.top < frame.top - 1 || box.bottom > frame.bottom + 1;
                }).map((text) => text.textContent)];
            }"""
        )
        assert letters > 5
        assert outside == []
    page.close()


def test_tables_that_fit_do_not_scroll_for_an_arrow(opened: Page):
    too_wide = opened.evaluate(
        """() => [...document.querySelectorAll(".wide")].filter((box) => {
            const table = box.querySelector("table");
            return table.offsetWidth <= box.clientWidth && box.scrollWidth > box.clientWidth;
        }).map((box) => box.ariaLabel)"""
    )
    assert too_wide == []


def test_the_matrix_shades_each_cell_by_its_share(opened: Page):
    matrix = opened.get_by_role("region", name="Student: labels in rows, predictions in columns", exact=True)
    colours = matrix.locator("td.share").evaluate_all("all => all.map((one) => getComputedStyle(one).backgroundColor)")
    assert len(colours) == 64
    # On the diagonal, beside it, and where no row is.
    assert len({colours[0], colours[1], colours[2]}) == 3
    assert colours[2] == colours[3]


@pytest.mark.parametrize("width", [1280, 1400])
def test_notes_on_costs_are_not_cut_off(browser: Browser, tmp_path: Path, width: int):
    gpu = {"device_type": "NVIDIA H200 141GB HBM3", "evaluation_flops": 1.1e14, "num_epochs": 10}
    stages = (
        stage("teacher", 1.5, "shared", in_ratio=False, reused=True, **gpu),
        stage("importance", 0.5, "shared", reused=True, **gpu),
        stage("student", 123.4, "scale-40", **gpu),
    )
    result = run_result("minidisc")
    result = result.model_copy(update={"cost": result.cost.model_copy(update={"stages": stages})})
    page = browser.new_page(viewport={"width": width, "height": 900})
    page.goto(write_report(LOCAL, tmp_path, result).as_uri())
    table = page.get_by_role("region", name="Cost by stage", exact=True)
    assert "charged in full; outside the sums and ratios" in table.inner_text()
    scrolled, shown = table.evaluate("box => [box.scrollWidth, box.clientWidth]")
    page.close()
    assert scrolled == shown


def column(page: Page, table: str, place: int) -> list[str]:
    return (
        page.get_by_role("region", name=table, exact=True).locator(f"tbody tr td:nth-child({place})").all_inner_texts()
    )


def test_headings_sort_numbers_by_size_and_empty_cells_last(opened: Page):
    table = opened.get_by_role("region", name="Trials", exact=True)
    heading = table.get_by_role("columnheader", name="Student validation")
    assert column(opened, "Trials", 5) == ["82.0", "84.0", ""]
    heading.get_by_role("button").click()
    assert heading.get_attribute("aria-sort") == "ascending"
    assert column(opened, "Trials", 5) == ["82.0", "84.0", ""]
    heading.get_by_role("button").click()
    assert heading.get_attribute("aria-sort") == "descending"
    assert column(opened, "Trials", 5) == ["84.0", "82.0", ""]
    # Two digits before three: by size and not by letters.
    comparison = opened.get_by_role("region", name="mrpc · student at 10% · LTSD", exact=True)
    hours = comparison.get_by_role("columnheader", name="Core-hours")
    hours.get_by_role("button").click()
    texts = comparison.locator("tbody tr").all_inner_texts()
    assert [text.split("\t")[0] for text in texts] == [
        "Teacher", "Conventional", "TA (40%)", "MiniDisc", "MaxiDisc", "Majority class",
    ]  # fmt: skip


def test_the_keyboard_sorts_and_sums_stay_at_the_foot(opened: Page):
    table = opened.get_by_role("region", name="Cost by stage", exact=True)
    heading = table.get_by_role("columnheader", name="Stage")
    heading.get_by_role("button").focus()
    opened.keyboard.press("Enter")
    assert column(opened, "Cost by stage", 1) == ["distil", "finetune", "importance"]
    opened.keyboard.press("Space")
    assert column(opened, "Cost by stage", 1) == ["importance", "finetune", "distil"]
    table.get_by_role("columnheader", name="Seconds").get_by_role("button").click()
    assert table.locator("tr").last.inner_text().startswith("Sum")
    assert table.locator("th[aria-sort]").count() == 1


def test_the_config_unfolds(opened: Page):
    config = opened.locator("details pre")
    assert not config.is_visible()
    opened.locator("summary").click()
    assert config.inner_text().startswith("seed: 0\nschedule:")


def test_the_page_is_whole_without_its_script(browser: Browser, report: Path):
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(report.as_uri())
    assert page.get_by_role("button").count() == 0
    assert page.locator("figure.drawing img").count() == 5
    assert page.get_by_role("columnheader", name="Core-hours").first.is_visible()
    context.close()


def test_the_page_lets_no_other_script_in_and_fetches_nothing(browser: Browser, report: Path, tmp_path: Path):
    """Even where a text had become an element: the page's policy forbids what it would do."""
    evil = (
        "<script>window.pwned = 1</script><img src=x onerror='window.pwned = 2'><img src='https://pwned.example/x.png'>"
        "<form action='https://pwned.example'><button id='send'></button></form>"
    )
    broken = tmp_path / "broken.html"
    broken.write_text(report.read_text(encoding="utf-8").replace("<main>", f"<main>{evil}"), encoding="utf-8")
    page = browser.new_page(viewport=DESK)
    asked: list[Request] = []
    page.on("request", lambda request: asked.append(request))
    page.goto(broken.as_uri())
    page.locator("#send").dispatch_event("click")
    assert page.evaluate("window.pwned") is None
    # What the policy stops is sentence of as well, with its reason, before it leaves.
    assert {request.url: request.failure for request in asked if request.failure != "csp"} == {broken.as_uri(): None}
    assert page.url == broken.as_uri()
    # Its own script still runs.
    assert page.get_by_role("button", name="Core-hours").count() > 0
    page.close()


def test_dark_pages_have_light_figures_and_light_paper(opened: Page):
    def background(selector: str) -> str:
        return opened.evaluate(f"getComputedStyle(document.querySelector('{selector}')).backgroundColor")

    opened.emulate_media(color_scheme="dark")
    assert background("body") == "rgb(20, 24, 30)"
    assert background("figure.drawing") == "rgb(255, 255, 255)"
    opened.emulate_media(color_scheme="dark", media="print")
    assert background("body") == "rgb(255, 255, 255)"


def test_the_page_prints(opened: Page, tmp_path: Path):
    paper = opened.pdf(format="A4")
    assert paper.startswith(b"%PDF")
    assert paper.count(b"/Type /Page\n") + paper.count(b"/Type /Page/") + paper.count(b"/Type /Page ") >= 2
