"""The review in the App, driven by a browser: how fast it starts and answers, what a reviewer needs, what kills lose.

    python benchmarks/relabel.py fer2013 WORKSPACE VOTES     a flagged workspace of FER2013; VOTES: path, a count per class
    python benchmarks/relabel.py kills 20                    so many kills of each part in the middle of the saves
    python benchmarks/relabel.py picture                     docs/relabel.png, of drawn faces

The reviewer of `fer2013` is the crowd: each image gets the key that says what most annotators said. WORKSPACE stays as it is.
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

sys.path.insert(0, str(ROOT / "tests"))  # the session and the kills are those of the tests
from kills import run_kills
from review_session import Panel, Session, draw_workspace, open_browser, open_panel, start_session

FLAGGED = 2000
REVIEWED = 100
KEYS = 200  # timed one by one
BURST = 60  # typed without waiting
PICTURE = ROOT / "docs" / "relabel.png"
# Milliseconds from a key to the next image on the page, and to "all saved": in the page's own clock.
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
    shutil.copytree(
        source, workspace.root, ignore=shutil.ignore_patterns(".cache", "runs", "*.jsonl", "*.html")
    )
    run_command(["curate", "build", "--votes", str(votes), "-w", str(workspace.root)])
    rows = measure_speed(workspace) + measure_review(workspace)
    body = (
        f"Measured by `python benchmarks/relabel.py fer2013` on FER2013, headless Chromium beside the App on the same "
        f"{describe_machine()}; load average before the start {load:.1f}. The reviewer is a program that knows the "
        "crowd's majority: its seconds are those of the tool, without the looking and thinking of a person."
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
    return [
        [
            f"start with {FLAGGED:,} flagged images, until the address is printed",
            f"{session.seconds:.1f} s",
        ],
        ["from opening the address to the first image", f"{opened:.1f} s"],
        [f"from a key to the next image, median and 95 % of {KEYS} keys", tell_milliseconds(shown)],
        ["from a key to saved on the disk and in the App", tell_milliseconds(saved)],
        [f"{BURST} keys without waiting: typed, all saved", f"{typed:.1f} s, {all_saved:.1f} s"],
    ]


def tell_milliseconds(times: Sequence[float]) -> str:
    return f"{median(times):.0f} ms, {quantiles(times, n=20)[-1]:.0f} ms"


def measure_review(workspace: Workspace) -> list[Sequence[object]]:
    """Flagged images with votes, decided as the crowd would; the labels against its majority, before and after."""
    before = workspace.read().set_index("path")
    session = start_session(
        workspace, "--issues", "--where", "votes!=", "--top", REVIEWED, by="crowd"
    )
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
    crowd = {path: answer_of(before.loc[path]) for path in reviewed}
    voted = [path for path in reviewed if crowd[path] in VOCABULARY]
    agreed = [
        sum(rows.at[path, "label"] == crowd[path] for path in voted) for rows in (before, after)
    ]
    suggested = sum(before.at[path, "suggested_label"] == crowd[path] for path in voted)
    kinds = Counter(
        {"a": "accept", "k": "keep", "d": "drop", "u": "unsure"}.get(key, "set") for key in keys
    )
    return [
        [
            "images decided",
            f"{len(set(reviewed))}: {', '.join(f'{name} {kinds[name]}' for name in sorted(kinds))}",
        ],
        ["keystrokes per decision", f"{len(keys) / len(set(reviewed)):.2f}"],
        ["seconds per decision, each saved before the next key", f"{seconds / len(keys):.2f}"],
        ["of them with a class by the crowd's majority", len(voted)],
        ["labels equal to the majority, before and after", f"{agreed[0]}, {agreed[1]}"],
        ["suggestions equal to the majority", suggested],
    ]


def answer_of(row: Any) -> str:
    return choose_majority(json.loads(row["votes"]), row["given_label"])


def choose_key(row: Any) -> str:
    """What the crowd would press: it keeps, accepts, sets another class, drops what is no face, or is unsure."""
    answer = answer_of(row)
    if answer not in VOCABULARY:
        return "d" if answer == "NF" else "u"
    if answer == row["given_label"]:
        return "k"
    return "a" if answer == row["suggested_label"] else str(VOCABULARY.index(answer) + 1)


def finish(session: Session) -> None:
    assert session.finish() == 0, session.outcome
    print(session.outcome.splitlines()[-1], flush=True)


def count_losses(scratch: Path, rounds: int) -> None:
    """The section `relabel-kills`; a decision that is lost or applied twice ends it with an error."""
    told: Counter[str] = Counter()
    for number, acknowledged in enumerate(
        run_kills(draw_workspace(scratch, faces=120), rounds), start=1
    ):
        told.update(acknowledged)
        print(number, dict(told), flush=True)
    rows = [[f"`kill -9` of {part}", rounds, told[part], 0, 0] for part in told]
    header = [
        "killed in a burst of 24 keys",
        "times",
        "decisions acknowledged",
        "lost",
        "applied twice",
    ]
    body = f"Measured by `python benchmarks/relabel.py kills {rounds}` on drawn faces, {describe_machine()}."
    replace_section(
        RESULTS, "relabel-kills", f"## Killed while saving\n\n{body}\n\n{to_table(header, rows)}"
    )


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
