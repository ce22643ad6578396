"""A report in a real browser, Chromium without a window, where there is one."""

import json
import shutil
import time
from pathlib import Path

import numpy as np
import pytest

from jssm import __main__ as command
from jssm.shape import shape_model
from jssm.shape.correcting import correct
from jssm.shape.integrity import integrity
from tests import studies
from tests.rings import ring

CHROMIUM, DRIVER = (
    next(filter(None, map(shutil.which, names)), None)
    for names in (("chromium", "chromium-browser", "google-chrome"), ("chromedriver",))
)
pytestmark = pytest.mark.skipif(
    not (CHROMIUM and DRIVER), reason="Chromium and its driver are needed (.ci/run installs them)"
)
LONGEST_S = 10
FLAGS = ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage")


@pytest.fixture(scope="module")
def downloads(tmp_path_factory):
    return tmp_path_factory.mktemp("downloads")


@pytest.fixture(scope="module")
def browser(downloads):
    """Chromium; its pages have logged no error at the end."""
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM or ""
    for flag in (*FLAGS, "--window-size=1280,900"):
        options.add_argument(flag)
    options.add_experimental_option("prefs", {"download.default_directory": str(downloads)})
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(DRIVER))
    yield driver
    logged = driver.get_log("browser")
    driver.quit()
    assert logged == []


@pytest.fixture(scope="module")
def study(tmp_path_factory, small_shape):
    return studies.write_study(tmp_path_factory.mktemp("study"), small_shape, chosen=["report"])


@pytest.fixture(scope="module")
def report(browser, study):
    """The browser with the report open."""
    (path,) = study.glob("*_report.html")
    browser.get(path.as_uri())
    wait(lambda: run(browser, "document.body.classList.contains('ready')"))
    return browser


def run(browser, expression, *arguments):
    """The value of an expression in the page."""
    return browser.execute_script(f"return {expression}", *arguments)


def wait(is_done):
    """Wait until something is so."""
    end = time.monotonic() + LONGEST_S
    while not is_done():
        assert time.monotonic() < end, "it takes too long"
        time.sleep(0.02)


def press(browser, key, *, control=False):
    """Press a key in the page."""
    from selenium.webdriver import ActionChains, Keys

    chain = ActionChains(browser)
    if control:
        chain = chain.key_down(Keys.CONTROL).send_keys(key).key_up(Keys.CONTROL)
    else:
        chain = chain.send_keys(key)
    chain.perform()


def drag(browser, point, right, down):
    """Drag a point of the frame that is shown, by CSS pixels."""
    from selenium.webdriver import ActionChains
    from selenium.webdriver.common.by import By

    canvas = browser.find_element(By.CSS_SELECTOR, ".stage canvas")
    x, y = run(browser, "report.player.screenPoint(arguments[0])", point)
    size = canvas.size
    place = (round(x - size["width"] / 2), round(y - size["height"] / 2))
    chain = ActionChains(browser, duration=20).move_to_element_with_offset(canvas, *place)
    chain.click_and_hold().move_by_offset(right, down).release().perform()


def test_the_page_tells_what_the_summary_tells(report, study):
    summary = summary_of(study, run(report, "report.cine.record.id"))
    compare(run(report, "report.numbersNow()"), summary)
    text = run(report, "document.body.innerText")
    assert f"{summary['ef_percent']:.0f}" in text
    assert "Biplane" in text
    assert len(unknown(report)) == 6 + 2  # there is no 3ch cine; of each other one is doubted


def test_it_plays_and_steps(report, downloads):
    run(report, "report.go(0)")
    press(report, " ")
    wait(lambda: run(report, "report.player.frame") > 1)
    press(report, " ")
    assert run(report, "report.timer") is None
    run(report, "report.go(2)")
    from selenium.webdriver import Keys

    press(report, Keys.ARROW_RIGHT)
    assert run(report, "report.player.frame") == 3
    lines = "[...document.querySelectorAll('.cursor')].map((line) => line.getAttribute('x1'))"
    assert len(set(run(report, lines))) == 1
    for colour in ("strain", "thickness", "uncertainty"):
        press(report, "c")
        assert run(report, "report.player.show.colour") == colour
        report.save_screenshot(str(downloads / f"{colour}.png"))
    press(report, "c")


def test_a_dragged_point_moves_the_shape_as_jssm_does(report, study, downloads, small_shape):
    run(report, "report.go(3)")
    record = run(report, "report.cine.record")
    before = run(report, "report.numbersNow()")
    drag(report, 5, 25, -12)
    pins = run(report, "[...report.cine.pins[3]]")
    assert [point for point, _ in pins] == [5]
    moved = np.array(run(report, "Array.from(report.cine.points[3])")).reshape(-1, 2)
    target, weights = np.zeros_like(moved), np.zeros(len(moved))
    target[5], weights[5] = pins[0][1], record["hand_px"] ** -2
    near = np.array(record["near_px"][3]) ** -2
    theta, beta = correct(
        small_shape,
        np.array(record["theta"][3]),
        np.array(record["beta"][3]),
        target,
        weights,
        near,
    )
    canonical = np.asarray(small_shape.deform(beta))
    expected = canonical @ np.asarray(theta)[:, :2].T + np.asarray(theta)[:, 2]
    assert np.abs(moved - expected).max() < 0.01
    assert run(report, "report.numbersNow()") != before
    report.save_screenshot(str(downloads / "corrected.png"))


def test_undo_takes_it_back(report):
    before = run(report, "report.numbersNow()")
    drag(report, 0, -10, 6)
    assert run(report, "report.cine.pins[3].size") == 2
    press(report, "z", control=True)
    assert run(report, "report.cine.pins[3].size") == 1
    assert run(report, "report.numbersNow()") == before


def test_keys_choose_and_move_a_point(report):
    from selenium.webdriver import ActionChains, Keys

    press(report, "n")
    point = run(report, "report.player.selected")
    x = run(report, "report.cine.points[3][2 * arguments[0]]", point)
    ActionChains(report).key_down(Keys.ALT).send_keys(Keys.ARROW_RIGHT).key_up(Keys.ALT).perform()
    assert run(report, "report.cine.pins[3].get(arguments[0])[0]", point) == pytest.approx(x + 0.5)
    press(report, "z", control=True)


def test_a_doubted_segment_is_shown_once_both_its_frames_are_corrected(report):
    from selenium.webdriver import ActionChains, Keys

    assert run(report, "[report.cine.pins[0].size, report.cine.pins[3].size]") == [0, 1]
    doubted = run(report, f"report.cine.record.segments[{studies.DOUBTED}]")
    assert doubted in unknown(report)
    run(report, "report.go(0)")
    press(report, "n")
    ActionChains(report).key_down(Keys.ALT).send_keys(Keys.ARROW_RIGHT).key_up(Keys.ALT).perform()
    assert len(unknown(report)) == 6 + 1
    assert doubted not in unknown(report)
    press(report, "z", control=True)
    assert doubted in unknown(report)


def unknown(report):
    """The names of the bull's-eye's segments of which nothing is told."""
    titles = run(
        report, "[...document.querySelectorAll('.bullseye title')].map((t) => t.textContent)"
    )
    assert len(titles) == 18
    return [title.split(":")[0] for title in titles if title.endswith("unknown")]


def test_what_is_saved_measures_the_same(report, study, downloads, tmp_path):
    numbers, cine = (run(report, f"report.{what}") for what in ("numbersNow()", "cine.record.id"))
    press(report, "s", control=True)
    saved = downloads / f"{cine}_points.json"
    wait(saved.exists)
    assert command.main(["measure", str(saved), "--out", str(tmp_path)]) == 0
    summary = summary_of(tmp_path, cine)
    assert summary["corrected"] is True
    compare(numbers, summary)
    points = json.loads((tmp_path / cine / "points.json").read_text())["points_px"]
    np.testing.assert_allclose(points, json.loads(saved.read_text())["points_px"], atol=2e-3)


@pytest.fixture(scope="module", params=[False, True], ids=["open", "closed"])
def bent(request, small_shape):
    """The small shape model, and one of rings."""
    if not request.param:
        return small_shape
    return small_shape.replace(
        mean=ring(4, centre=(0, 0), inner=0.7, outer=1.2).astype(np.float32), closed=True
    )


@pytest.fixture(scope="module")
def explorer(browser, report, bent, tmp_path_factory):
    """The browser with a page of a shape model's modes open."""
    folder = tmp_path_factory.mktemp("modes")
    shape_model.save(folder / "shape_model.npz", bent)
    run(browser, "window.report?.cines.forEach((cine) => { cine.isUnsaved = false; })")
    out = folder / "modes.html"
    assert command.main(["modes", str(folder), "--out", str(out)]) == 0
    browser.get(out.as_uri())
    wait(lambda: run(browser, "document.body.classList.contains('ready')"))
    return browser


def test_the_modes_bend_the_shape_and_tell_when_it_folds(explorer, bent, downloads):
    verdicts = set()
    for weights in ([0, 0], [3, 0], [-3, 0], [0, -3], [3, 3], [-3, 3], [-3, -3]):
        run(explorer, "arguments[0].forEach((weight, k) => modes.set(k, weight))", weights)
        points = np.array(run(explorer, "Array.from(modes.points)")).reshape(-1, 2)
        beta = np.array(weights) * np.sqrt(bent.variances)
        np.testing.assert_allclose(points, bent.deform(beta), atol=1e-5)
        expected = integrity(points, closed=bent.closed)
        told = run(explorer, "document.querySelector('.verdict').innerText")
        assert ("Whole" in told) == bool(expected.ok)
        assert f"{int(expected.flipped_triangles)} triangles turned" in told
        assert f"{int(expected.crossings)} crossings" in told
        verdicts.add(bool(expected.ok))
    assert verdicts == {True, False}
    explorer.save_screenshot(str(downloads / "modes.png"))


def summary_of(out: Path, cine: str) -> dict:
    """The summary of a cine."""
    return json.loads((out / cine / "summary.json").read_text())


def compare(numbers, summary):
    """Every number of a page is that of the summary."""
    assert len(numbers) > 10
    for key, value in numbers.items():
        assert value == pytest.approx(summary[key], rel=1e-4, abs=1e-3), key
