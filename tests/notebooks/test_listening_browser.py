"""The listening test in a real browser, in JupyterLab and by `ipr listen`: by keyboard alone, through a kill, blind."""

import os
import re
import signal
import subprocess
import sys
import time
from contextlib import contextmanager

import nbformat
import numpy as np
import pytest
import soundfile

from helpers.lab import FLAGS, SECONDS, Visit, chromium, jupyter_lab
from helpers.shipped_notebooks import read
from ipr_core.votes import record

CLASSES = ["angry", "happy", "sad", "neutral"]
CLIPS = 30
TELLTALE = "telltale"
"""In every id, file name and speaker of the corpus, beside the label; nothing with it may reach a page."""
RUN_CODE = """(code) => new Promise((resolve) => {
    const {kernelId} = JSON.parse(document.querySelector("#jupyter-config-data").textContent), replies = [];
    const socket = new WebSocket(`ws://${location.host}/api/kernels/${kernelId}/channels`);
    const ask = (msg_type, content) => socket.send(JSON.stringify({
        header: {msg_id: msg_type, msg_type, session: "1", username: "", version: "5.3", date: ""},
        parent_header: {}, metadata: {}, content, channel: "shell", buffers: [],
    }));
    socket.onmessage = ({data}) => {
        replies.push(JSON.parse(data).header.msg_type);
        if (replies.at(-1) === "kernel_info_reply") setTimeout(() => resolve(replies), 500);
    };
    socket.onopen = () => {
        ask("execute_request", {code, silent: false, store_history: false, user_expressions: {}, allow_stdin: false});
        ask("kernel_info_request", {});
    };
})"""
"""What a stranger's script would do in the page: ask the kernel to run code, then a question that it answers."""
OVERLAPS = """() => {
    const test = document.querySelector(".ipr-listening");
    return test.getBoundingClientRect().right > innerWidth || test.scrollWidth > test.clientWidth;
}"""
TIMES = "() => performance.getEntriesByName('ipr-vote-to-sound').map((entry) => Math.round(entry.duration))"


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """The manifest of thirty clips of 1.5 s."""
    folder = tmp_path_factory.mktemp("corpus")
    lines = ["id,path,speaker,label"]
    for number in range(CLIPS):
        emotion = CLASSES[number % len(CLASSES)]
        name = f"{TELLTALE}_{emotion}_{number}"
        tone = 0.3 * np.sin(2 * np.pi * (150 + 20 * number) * np.arange(24_000) / 16_000)
        soundfile.write(folder / f"{name}.wav", tone, 16_000)
        lines.append(f"{name},{name}.wav,{TELLTALE},{emotion}")
    (folder / "manifest.csv").write_text("\n".join(lines) + "\n")
    return folder / "manifest.csv"


@pytest.fixture(scope="module")
def context():
    """Return a browser's context in a window of 1,000 pixels."""
    sync = pytest.importorskip("playwright.sync_api")
    path = chromium()
    with sync.sync_playwright() as play:
        browser = play.chromium.launch(executable_path=path, args=list(FLAGS))
        context = browser.new_context(viewport={"width": 1000, "height": 900})
        context.set_default_timeout(1000 * SECONDS)
        yield context
        browser.close()


class Listener:
    """A person with a keyboard alone, and everything that their page was told."""

    def __init__(self, page):
        self.page, self.frames = page, []
        page.on("websocket", self._watch)

    def _watch(self, socket):
        socket.on("framereceived", lambda frame: self.frames.append(frame))

    def begin(self):
        """Press Enter, which has the focus, and return the number of the clip that plays."""
        test = self.page.locator(".ipr-listening")
        test.wait_for()
        self.page.wait_for_function("() => document.activeElement.closest('.ipr-listening')")
        self.page.keyboard.press("Enter")
        self.page.locator(".ipr-listening[data-state=voting]:not([data-sound=awaited])").wait_for()
        return int(test.get_attribute("data-clip"))

    def vote(self, clip):
        """Vote on a clip by keys, and wait for what follows."""
        self.page.locator(f".ipr-listening[data-clip='{clip}']:not([data-sound=awaited])").wait_for()
        for key in (str(1 + clip % len(CLASSES)), *(["ArrowUp"] if clip % 3 == 0 else []), "Enter"):
            self.page.keyboard.press(key)
        state = f"[data-clip='{clip + 1}']" if clip + 1 < CLIPS else "[data-state=over]"
        self.page.locator(f".ipr-listening{state}").wait_for()

    def overlaps(self):
        """Return whether the test is wider than its place."""
        return self.page.evaluate(OVERLAPS)

    def assert_blind(self):
        """Assert that neither the page, nor its source, nor any message names a clip."""
        assert TELLTALE not in self.page.content()
        assert len(self.frames) > CLIPS
        contents = [frame if isinstance(frame, bytes) else frame.encode() for frame in self.frames]
        assert not [content for content in contents if TELLTALE.encode() in content]


def assert_votes(folder, count):
    """Assert so many votes, each on a clip of its own, by the keys that were pressed."""
    table = record.read(folder)
    assert len(table) == count
    assert table["audio"].is_unique
    assert table["emotions"].tolist() == [(CLASSES[clip % len(CLASSES)],) for clip in range(count)]
    assert table["sure"].isna().tolist() == [clip % 3 > 0 for clip in range(count)]
    assert (table["seconds"] > 0).all()


def test_thirty_clips_in_jupyterlab_and_a_killed_kernel(corpus, context, tmp_path, capsys):
    notebook = read("04_listening")
    settings = dict(listener="ada", votes=str(tmp_path / "votes"), corpus=str(corpus), classes=CLASSES, repeats=0)
    for cell in notebook.cells:
        if "parameters" in cell.metadata.get("tags", []):
            cell.source += "".join(f"\n{key} = {value!r}" for key, value in settings.items())
    nbformat.write(notebook, tmp_path / "test.ipynb")
    environment = {"IPR_CACHE": str(tmp_path / "cache"), "OMP_NUM_THREADS": "1"}
    with jupyter_lab(tmp_path, **environment) as address:
        visit = Visit(context, address, "test.ipynb")
        listener = Listener(visit.page)
        visit.page.reload()  # so that the kernel's messages are seen from the first on
        visit.until_idle()
        visit.run_all()
        assert listener.begin() == 0
        assert not listener.overlaps()
        for clip in range(17):
            listener.vote(clip)
        os.kill(int(visit.in_kernel("import os; print(os.getpid())")), signal.SIGKILL)
        assert_votes(tmp_path / "votes", 17)
        run_again(visit)
        assert listener.begin() == 17
        assert visit.page.get_by_text("18 of 30", exact=True).is_visible()
        for clip in range(17, CLIPS):
            listener.vote(clip)
        report(visit.page, capsys, "JupyterLab")
        listener.assert_blind()
        assert visit.hosts <= {"127.0.0.1", None}
        visit.close()
    assert_votes(tmp_path / "votes", CLIPS)


def run_again(visit):
    """Run the notebook in the kernel that JupyterLab has started after the kill."""
    button = visit.page.get_by_role("button", name="Ok", exact=True)
    button.wait_for()
    button.click()
    visit.until_idle()
    visit.page.evaluate("() => { window.jupyterapp.commands.execute('notebook:clear-all-cell-outputs') }")
    visit.page.locator(".ipr-listening").wait_for(state="detached")
    visit.run_all()


def report(page, capsys, title):
    """Print the times from vote to next sound, which no test judges on a machine that others use too."""
    times = page.evaluate(TIMES)
    with capsys.disabled():
        print(f"\n{title}, vote to next sound: median {np.median(times):.0f} ms, longest {max(times)} ms ({times})")


@contextmanager
def served(folder, corpus):
    """Start `ipr listen`, and yield the address that it prints."""
    words = ["listen", str(corpus), "--listener", "ada", "--votes", "votes", "--repeats", "0", "--no-browser"]
    environment = os.environ | {"IPR_CACHE": str(folder / "cache"), "OMP_NUM_THREADS": "1"}
    log = folder / "log"
    with log.open("w") as stream:
        server = subprocess.Popen(
            [sys.executable, "-m", "ipr_core", *words, "--classes", ",".join(CLASSES)],
            env=environment, stdout=stream, stderr=stream, cwd=folder,
        )  # fmt: skip
    try:
        end = time.monotonic() + SECONDS
        while not (address := re.search(r"http://127\.0\.0\.1:\d+/\?token=\S+", log.read_text())):
            assert time.monotonic() < end, log.read_text()
            assert server.poll() is None, log.read_text()
            time.sleep(0.1)
        yield address[0]
        server.send_signal(signal.SIGINT)
        assert server.wait(SECONDS) == 0, log.read_text()
    finally:
        server.kill()
        server.wait()


def pressed(page):
    """Return the names of the buttons that are pressed."""
    return page.locator(".ipr-listening [aria-pressed=true] .ipr-name").all_inner_texts()


def try_every_key(page):
    """Choose, take back, play again and pause on the first clip; in the end nothing is chosen."""
    test, word = page.locator(".ipr-listening"), page.get_by_role("textbox")
    for key, names in [("1", ["angry"]), ("s", ["angry", "sad"]), ("x", ["cannot tell"]), ("2", ["happy"]), ("h", [])]:
        page.keyboard.press(key)
        assert pressed(page) == names
    page.keyboard.press("Enter")
    assert page.get_by_role("status").inner_text().startswith("Choose an emotion first")
    page.keyboard.press("o")
    page.keyboard.type("1 sad owl")
    assert word.input_value() == "1 sad owl"
    page.keyboard.press("Escape")
    page.keyboard.press("ArrowUp")
    page.keyboard.press("ArrowUp")
    assert pressed(page) == ["other", "fairly"]
    for key in ("ArrowDown", "ArrowDown", "o"):
        page.keyboard.press(key)
    assert pressed(page) == []
    assert not word.is_visible()
    page.locator(".ipr-listening[data-sound=ended]").wait_for()
    page.keyboard.press("Space")
    assert test.get_attribute("data-sound") == "playing"
    page.keyboard.press("Backspace")
    assert page.get_by_role("status").inner_text() == "This is the first clip."
    page.keyboard.press("Escape")
    assert test.get_attribute("data-state") == "paused"
    page.keyboard.press("Enter")
    assert test.get_attribute("data-state") == "voting"
    page.get_by_role("button", name="neutral").click()
    page.keyboard.press("n")  # keys go on after a click
    assert pressed(page) == []


def reach_everything_by_tab(page):
    """Go through the page by Tab: each control has a name, and an outline when it has the focus."""
    names = []
    for _ in range(12):
        page.keyboard.press("Tab")
        name, outline = page.evaluate(
            "() => [document.activeElement.innerText.split('\\n')[0], getComputedStyle(document.activeElement).outline]"
        )
        names.append(name)
        assert "solid 3px" in outline, (name, outline)
    choices = [*CLASSES, "other", "cannot tell", "a guess", "fairly", "very"]
    assert names == ["Pause for today", "Play again", *choices, "Back"]
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("Space")
    assert pressed(page) == ["very"]
    page.keyboard.press("Space")
    page.locator(".ipr-listening").focus()


def go_back(page, clip):
    """Go back by a clip, find the vote there, and keep it again."""
    page.keyboard.press("ArrowLeft")
    page.locator(f".ipr-listening[data-clip='{clip - 1}']").wait_for()
    assert pressed(page)[0] == CLASSES[(clip - 1) % len(CLASSES)]
    page.keyboard.press("Enter")
    page.locator(f".ipr-listening[data-clip='{clip}']").wait_for()


def test_the_same_page_without_a_notebook(corpus, context, tmp_path, capsys):
    with served(tmp_path, corpus) as address:
        page = context.new_page()
        listener = Listener(page)
        assert context.request.get(address.partition("?")[0]).url.partition("?")[0].endswith("/login")
        page.goto(address)
        assert listener.begin() == 0
        assert not listener.overlaps()
        try_every_key(page)
        reach_everything_by_tab(page)
        for clip in range(17):
            listener.vote(clip)
        go_back(page, 17)
        page.reload()  # as one does who comes back another day
        assert listener.begin() == 17
        for clip in range(17, CLIPS):
            listener.vote(clip)
        report(page, capsys, "ipr listen")
        listener.assert_blind()
        assert "listen(" not in page.content()
        assert not page.locator(".jp-InputArea:visible").count()
        assert "execute_reply" not in page.evaluate(RUN_CODE, f"open({str(tmp_path / 'harm')!r}, 'w')")
        assert not (tmp_path / "harm").exists()
        page.close()
    assert_votes(tmp_path / "votes", CLIPS)
