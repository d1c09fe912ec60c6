"""The page that every node serves, in a real browser without a screen. packaging/deps.sh browser gets one."""

import os
import shutil

import pytest

import cluster as clusters
from web import Web

webdriver = pytest.importorskip("selenium.webdriver")
if not shutil.which("chromedriver"):
    pytest.skip("there is no chromedriver: packaging/deps.sh browser", allow_module_level=True)

from selenium.webdriver.common.by import By  # noqa: E402
from selenium.webdriver.common.keys import Keys  # noqa: E402


@pytest.fixture(scope="module")
def web(tmp_path_factory, request):
    c, failed_before = clusters.Cluster(tmp_path_factory.mktemp("cluster"), 3), request.session.testsfailed
    w = Web(c)
    try:
        w.start()
        c.wait_formed()
        a = c.mount("a").path
        (a / "papers").mkdir()
        (a / "papers" / "<b>draft.txt").write_text("hello")
        (a / "data").write_bytes(os.urandom(2 << 20))
        clusters.wait_until("a session", lambda: w.get(1, "/files/").status == 200)
        yield w
    finally:
        c.close(check=request.session.testsfailed == failed_before)


@pytest.fixture(scope="module")
def browser():
    options = webdriver.ChromeOptions()
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--window-size=1200,1600"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.chrome.service.Service(shutil.which("chromedriver")))
    driver.set_page_load_timeout(60 * clusters.PATIENCE)
    yield driver
    driver.quit()


@pytest.fixture
def page(web, browser):
    browser.get(f"http://127.0.0.1:{web.ports[1]}/")
    clusters.wait_until("the nodes to be shown", lambda: len(states(browser)) == 3)
    yield browser
    errors = [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE" and "/admin/" not in entry["message"]]
    assert not errors, errors


def states(browser):
    """As one script: the cards are made anew each second."""
    return {int(n): s for n, s in browser.execute_script(
        "return [...document.querySelectorAll('#node-list article')].map(a => [a.dataset.node, a.dataset.state])")}


def leader_shown(browser):
    leaders = [n for n, s in states(browser).items() if s == "LEADER"]
    return leaders[0] if len(leaders) == 1 else None


def press(browser, number, verb):
    """By keyboard, as the focus stays on the button when its card is made anew."""
    clusters.wait_until(f"the button {verb}", lambda: browser.execute_script(
        f"const b = document.getElementById('b-{number}-{verb}'); if (b) b.focus(); return !!b && document.activeElement === b"))
    browser.switch_to.active_element.send_keys(Keys.ENTER)


def text(browser, id):
    return browser.find_element(By.ID, id).text


def save(browser, name):
    """SURF_SCREENSHOTS=docs makes those of the documentation anew."""
    if "SURF_SCREENSHOTS" in os.environ:
        browser.save_screenshot(os.path.join(os.environ["SURF_SCREENSHOTS"], name))


def test_crash_the_leader_and_see_another_one(web, page):
    old = clusters.wait_until("a leader to be shown", lambda: leader_shown(page))
    press(page, old, "crash")
    new = clusters.wait_until("another leader to be shown", lambda: leader_shown(page) not in (None, old) and leader_shown(page))
    assert web.cluster.wait_leader() == new
    clusters.wait_until("the old one to be shown", lambda: states(page)[old] == "CRASHED")
    clusters.wait_until("it to be told", lambda: f"Node {new} leads" in text(page, "event-list"))
    assert f"Node {new} leads" in text(page, "summary")
    save(page, "page.png")
    press(page, old, "restore")
    clusters.wait_until("it to be back", lambda: states(page)[old] == "FOLLOWER")
    press(page, old, "leader")
    clusters.wait_until("its leadership", lambda: leader_shown(page) == old)


def test_partition_and_heal(page):
    leader = clusters.wait_until("a leader to be shown", lambda: leader_shown(page))
    page.find_element(By.CSS_SELECTOR, f"#partition-nodes input[value='{leader}']").click()
    page.find_element(By.CSS_SELECTOR, "#partition button[type=submit]").click()
    # As one script: the card is made anew each second.
    card = f"return document.querySelector(\"article[data-node='{leader}']\").innerText"
    clusters.wait_until("it to hear nobody", lambda: leader_shown(page) not in (None, leader) and "Does not hear" in page.execute_script(card))
    page.find_element(By.ID, "heal").click()
    clusters.wait_until("all to follow one", lambda: sorted(states(page).values()) == ["FOLLOWER", "FOLLOWER", "LEADER"]
                        and "Does not hear" not in text(page, "node-list"))


def test_files_with_versions_and_hashes(page):
    page.find_element(By.ID, "reload-files").click()
    clusters.wait_until("the export", lambda: "data" in text(page, "file-list"))
    page.find_element(By.CSS_SELECTOR, "button[aria-label='Blocks of data']").click()
    clusters.wait_until("two blocks", lambda: len(page.find_elements(By.CSS_SELECTOR, "#block-list .hash")) == 2)
    assert all(len(e.text) == 64 for e in page.find_elements(By.CSS_SELECTOR, "#block-list .hash"))
    [e for e in page.find_elements(By.CSS_SELECTOR, "#file-list button") if e.text == "papers/"][0].click()
    clusters.wait_until("the directory", lambda: "<b>draft.txt" in text(page, "file-list"))  # as text: it is no markup


def test_on_a_phone_and_in_the_dark(page):
    page.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", {"width": 360, "height": 740, "deviceScaleFactor": 1, "mobile": True})
    page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": "dark"}]})
    try:
        assert page.execute_script("return document.documentElement.scrollWidth") <= 360
        back = page.execute_script("return getComputedStyle(document.body).backgroundColor")
        assert back == "rgb(17, 21, 26)"
        for card in page.execute_script("return [...document.querySelectorAll('#node-list .state')].map(e => e.textContent)"):
            assert card[0] in "★●" and card[2:] in ("LEADER", "FOLLOWER")  # a sign and a word, not a colour alone
        save(page, "page-phone.png")
    finally:
        page.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
        page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})


def test_the_policy_lets_nothing_else_in(web, page):
    policy = web.get(1, "/").headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy and "unsafe" not in policy
    assert page.execute_script("return performance.getEntriesByType('resource').every(r => new URL(r.name).host === location.host)")
    page.execute_script("const s = document.createElement('script'); s.textContent = 'window.got_in = true'; document.head.append(s)")
    assert page.execute_script("return window.got_in === undefined")
    page.get_log("browser")  # the refusal is told there
