"""The review in the App, driven by a browser: its speed, a reviewer's effort, losses by kills.

    python benchmarks/relabel.py fer2013 WORKSPACE VOTES    a flagged workspace of FER2013
    python benchmarks/relabel.py kills 20                   20 kills of each part during the saves
    python benchmarks/relabel.py picture                    docs/relabel.png, of drawn faces

VOTES is a table of path and a count per class. The reviewer of `fer2013` is the crowd: each image
gets the key of the class that most annotators chose. WORKSPACE is not changed.
"""

import argparse
import json
import os
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from statistics import median, quantiles
from typing import Any

from results import RESULTS, ROOT, describe_machine, replace_section, run_command, to_table

from curate.labels import VOCABULARY
from curate.workspace.votes import choose_majority
from curate.workspace.workspace import Workspace

sys.path.insert(0, str(ROOT / "tests"))  # the tests' session and kills
from kills import run_kills
from review_session import (
    Panel,
    RunningSession,
    draw_workspace,
    open_browser,
    open_panel,
    start_session,
)

FLAGGED = 2000
REVIEWED = 100
KEYS = 200  # timed one by one
BURST = 60  # typed without waiting
PICTURE = ROOT / "docs" / "relabel.png"
ACTIONS = {"a": "accept", "k": "keep", "d": "drop", "u": "unsure"}  # by key
# Milliseconds from a key to the next image on the page, and to "all saved", by the page's clock.
TIME_KEYS = """
window.timings = [];
window.addEventListener("keydown", () => {
  const start = performance.now();
  let shown = 0;
  const look = () => {
    const picture = document.querySelector(".c-picture");
    if (!shown && picture.complete && picture.naturalWidth) shown = performance.now() - start;
    if (shown && document.querySelector("[data-candid=saved]").textContent === "all saved")
      window.timings.push([shown, performance.now() - start]);
    else setTimeout(look, 1);
  };
  setTimeout(look, 0);
}, true);
"""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    fer2013 = commands.add_parser("fer2013")
    fer2013.add_argument("workspace", type=Path)
    fer2013.add_argument("votes", type=Path)
    commands.add_parser("kills").add_argument("rounds", type=int)
    commands.add_parser("picture")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        if options.command == "fer2013":
            review_fer2013(Path(scratch), options.workspace, options.votes)
        elif options.command == "kills":
            count_losses(Path(scratch), options.rounds)
        else:
            take_picture(Path(scratch))


def review_fer2013(scratch: Path, source: Path, votes: Path) -> None:
    """The section `relabel`."""
    load = os.getloadavg()[0]
    workspace = Workspace(scratch / "manifests")
    ignored = shutil.ignore_patterns(".cache", "runs", "*.jsonl", "*.html")
    shutil.copytree(source, workspace.root, ignore=ignored)
    run_command(["curate", "build", "--votes", str(votes), "-w", str(workspace.root)])
    rows = measure_speed(workspace) + measure_review(workspace)
    body = (
        "Measured by `python benchmarks/relabel.py fer2013` on FER2013, headless Chromium beside "
        f"the App on the same {describe_machine()}; load average before the start {load:.1f}. The "
        "reviewer is a program with the crowd's majority: its seconds are those of the tool, "
        "without those in which a person looks and thinks."
    )
    table = to_table(["what", "measured"], rows)
    replace_section(RESULTS, "relabel", f"## Reviewing in the App\n\n{body}\n\n{table}")
    print(table)


def measure_speed(workspace: Workspace) -> list[Sequence[object]]:
    """Start, and the time from a key to the next image and to the disk."""
    session = start_session(workspace, "--top", FLAGGED, by="speed")
    with open_browser() as browser:
        start = time.perf_counter()
        panel = open_panel(browser, session.address, script=TIME_KEYS)
        opened = time.perf_counter() - start
        for _ in range(KEYS):
            panel.press("k")
            panel.wait_saved()
        shown, saved = zip(*panel.page.evaluate("window.timings"), strict=True)
        start = time.perf_counter()
        panel.press(*["k"] * BURST)
        typed = time.perf_counter() - start
        panel.wait_saved()
        all_saved = time.perf_counter() - start
    finish(session)
    assert len(saved) == KEYS
    start = f"start with {FLAGGED:,} flagged images, until the address is printed"
    next_image = f"from a key to the next image, median and 95 % of {KEYS} keys"
    return [
        [start, f"{session.seconds:.1f} s"],
        ["from opening the address to the first image", f"{opened:.1f} s"],
        [next_image, format_milliseconds(shown)],
        ["from a key to saved on the disk and in the App", format_milliseconds(saved)],
        [f"{BURST} keys without waiting: typed, all saved", f"{typed:.1f} s, {all_saved:.1f} s"],
    ]


def format_milliseconds(times: Sequence[float]) -> str:
    """Median and 95 % quantile."""
    return f"{median(times):.0f} ms, {quantiles(times, n=20)[-1]:.0f} ms"


def measure_review(workspace: Workspace) -> list[Sequence[object]]:
    """Flagged images with votes, decided by the crowd; labels equal to its majority."""
    before = workspace.read().set_index("path")
    queue = ("--issues", "--where", "votes!=", "--top", REVIEWED)
    session = start_session(workspace, *queue, by="crowd")
    keys: list[str] = []
    reviewed = []
    with open_browser() as browser:
        panel = open_panel(browser, session.address)
        start = time.perf_counter()
        for _ in range(REVIEWED):
            reviewed.append(panel.path)
            keys.append(choose_key(before.loc[panel.path]))
            panel.press(keys[-1])
            panel.wait_saved()
        seconds = time.perf_counter() - start
        assert panel.text("count") == f"{REVIEWED} of {REVIEWED}"
    finish(session)
    after = workspace.read().set_index("path")
    crowd = {path: majority_of(before.loc[path]) for path in reviewed}
    voted = [path for path in reviewed if crowd[path] in VOCABULARY]
    agreed_before = sum(before.at[path, "label"] == crowd[path] for path in voted)
    agreed_after = sum(after.at[path, "label"] == crowd[path] for path in voted)
    suggested = sum(before.at[path, "suggested_label"] == crowd[path] for path in voted)
    actions = Counter(ACTIONS.get(key, "set") for key in keys)
    per_action = ", ".join(f"{name} {actions[name]}" for name in sorted(actions))
    return [
        ["images decided", f"{len(set(reviewed))}: {per_action}"],
        ["keystrokes per decision", f"{len(keys) / len(set(reviewed)):.2f}"],
        ["seconds per decision, each saved before the next key", f"{seconds / len(keys):.2f}"],
        ["of them with a class by the crowd's majority", len(voted)],
        ["labels equal to the majority, before and after", f"{agreed_before}, {agreed_after}"],
        ["suggestions equal to the majority", suggested],
    ]


def majority_of(row: Any) -> str:
    return choose_majority(json.loads(row["votes"]), row["given_label"])


def choose_key(row: Any) -> str:
    """The crowd's key: keep, accept, another class, drop without a face, or unsure."""
    majority = majority_of(row)
    if majority not in VOCABULARY:
        return "d" if majority == "NF" else "u"
    if majority == row["given_label"]:
        return "k"
    return "a" if majority == row["suggested_label"] else str(VOCABULARY.index(majority) + 1)


def finish(session: RunningSession) -> None:
    assert session.finish() == 0, session.outcome
    print(session.outcome.splitlines()[-1], flush=True)


def count_losses(scratch: Path, rounds: int) -> None:
    """The section `relabel-kills`; a lost decision or one applied twice is an error."""
    acknowledged: Counter[str] = Counter()
    kills = run_kills(draw_workspace(scratch, faces=120), rounds)
    for number, by_part in enumerate(kills, start=1):
        acknowledged.update(by_part)
        print(number, dict(acknowledged), flush=True)
    rows = [[f"`kill -9` of {part}", rounds, count, 0, 0] for part, count in acknowledged.items()]
    losses = ["decisions acknowledged", "lost", "applied twice"]
    table = to_table(["killed in a burst of 24 keys", "times", *losses], rows)
    body = (
        f"Measured by `python benchmarks/relabel.py kills {rounds}` on drawn faces, "
        f"{describe_machine()}."
    )
    replace_section(RESULTS, "relabel-kills", f"## Killed while saving\n\n{body}\n\n{table}")


def take_picture(scratch: Path) -> None:
    """The panel in the middle of a session, before an image with a copy under another label."""
    session = start_session(draw_workspace(scratch, faces=120), by="ann")
    with open_browser() as browser:
        panel = open_panel(browser, session.address, width=1440, height=920)
        type_as_a_person(panel, "akak7aadak" * 2)
        panel.go_to("faces/fear/conflict.png")
        panel.wait_saved()
        panel.page.wait_for_timeout(500)
        panel.page.screenshot(path=PICTURE)
    finish(session)
    print(f"{PICTURE}: {PICTURE.stat().st_size:,} bytes")


def type_as_a_person(panel: Panel, keys: str) -> None:
    for key in keys:
        panel.press(key)
        panel.page.wait_for_timeout(1200)


if __name__ == "__main__":
    main()
