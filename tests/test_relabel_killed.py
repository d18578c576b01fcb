"""Check g) of the review: the command, mongod and the browser, killed during a burst of keys."""

import os

import pytest
from kills import run_kills
from review_session import draw_workspace

KILLS = int(os.environ.get("CANDID_KILLS", "1"))  # of each part

pytestmark = [pytest.mark.browser, pytest.mark.timeout(120 + 60 * KILLS)]


def test_no_acknowledged_decision_is_lost_and_none_applied_twice(tmp_path):
    rounds = list(run_kills(draw_workspace(tmp_path, faces=120), KILLS))
    assert len(rounds) == KILLS
    assert all(min(acknowledged.values()) > 0 for acknowledged in rounds)
