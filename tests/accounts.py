"""For tests: act as another account of this machine."""

import json
import os
import sys
from collections.abc import Callable
from typing import Any

import pytest

NOBODY = 65534

needs_accounts = pytest.mark.skipif(
    not sys.platform.startswith("linux") or os.geteuid() != 0,
    reason="only root on Linux can act as another account",
)


def as_nobody(act: Callable[[], Any], *, meanwhile: Callable[[], Any] | None = None) -> Any:
    """What `act` returns, as JSON, in a child process of the account nobody.

    An error is returned as its class and text. `meanwhile` runs here, beside the child.
    """
    read, write = os.pipe()
    child = os.fork()
    if not child:
        try:
            os.setgroups([])
            os.setgid(NOBODY)
            os.setuid(NOBODY)
            result = act()
        except BaseException as error:
            result = f"{type(error).__name__}: {error}"
        finally:
            os.write(write, json.dumps(result).encode())
            os._exit(0)
    os.close(write)
    try:
        if meanwhile:
            meanwhile()
    finally:
        with os.fdopen(read, "rb") as stream:
            data = stream.read()
        os.waitpid(child, 0)
    return json.loads(data)
