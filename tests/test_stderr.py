"""Progress of long work where there is no terminal."""

import pytest

from curate import stderr
from curate.stderr import with_progress


def test_long_work_without_a_terminal_prints_a_line_now_and_then(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    now = [0.0]
    monkeypatch.setattr(stderr.time, "monotonic", lambda: now[0])
    for _ in with_progress(range(400), "train oof"):
        now[0] += 30.0
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "train oof: 1 % after 3 min, about 3 h 17 min left"
    assert lines[-1] == "train oof: 100 % after 3 h 20 min, about 0 min left"
    assert len(lines) == 198
    for _ in with_progress(iter(range(10)), "search"):
        now[0] += 60.0
    assert capsys.readouterr().err.splitlines()[0] == "search: 3 after 3 min"
    for _ in with_progress(range(10), ""):
        now[0] += 600.0
    assert capsys.readouterr().err == ""
