"""The network: nothing is asked for but what the user has named.

The chain runs where there is no route to anywhere, under strace: every attempt to connect is seen,
a look-up of a name among them, of every process and every native library.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

import curate as package

ROOT = Path(package.__file__).parent.parent
SCRIPT = Path(__file__).parent / "network_chain.py"
# Loopback alone is up: whoever asks for more fails, and is in the trace.
NAMESPACE = (
    "unshare",
    "--net",
    "--map-root-user",
    "sh",
    "-c",
    'ip link set lo up; exec "$@"',
    "sh",
)
STRACE = (
    "strace",
    "-f",
    "--seccomp-bpf",
    "-qq",
    "-e",
    "trace=connect,sendto,sendmsg,sendmmsg",
    "-o",
)
ADDRESS = re.compile(r'inet_addr\("([^"]+)"\)|inet_pton\(AF_INET6, "([^"]+)"')
HERE = re.compile(r"127\.|::1$|::ffff:127\.|0\.0\.0\.0$|::$")


def may_isolate() -> bool:
    if not all(map(shutil.which, ("unshare", "strace", "ip"))):
        return False
    command = [*NAMESPACE, *STRACE, "/dev/null", "true"]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


needs_isolation = pytest.mark.skipif(
    not may_isolate(), reason="needs strace, ip and the right to make a network namespace"
)


def list_asked(trace: str) -> set[str]:
    """The addresses outside of this machine that a trace shows."""
    found = {first or second for first, second in ADDRESS.findall(trace)}
    return {address for address in found if not HERE.match(address)}


def run_isolated(folder: Path, *command: str, scratch: Path | None = None) -> set[str]:
    """The addresses that a command and its children have asked for; it must end with 0."""
    home, trace = folder / "home", folder / "trace"
    home.mkdir(exist_ok=True)
    kept = {"PATH": os.environ["PATH"], "LANG": "C.UTF-8", "PYTHONPATH": str(ROOT)}
    mongod = {name: value for name, value in os.environ.items() if name == "CURATE_MONGOD"}
    done = subprocess.run(
        [*NAMESPACE, *STRACE, str(trace), sys.executable, *command],
        env={**kept, **mongod, "HOME": str(home), "TMPDIR": str(scratch or folder)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-1000:] + done.stderr[-3000:]
    return list_asked(trace.read_text(errors="replace"))


@needs_isolation
@pytest.mark.long
def test_the_chain_with_training_exports_and_pages_asks_nobody(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    assert run_isolated(tmp_path, str(SCRIPT), str(tmp_path / "data"), "chain") == set()
    left = {
        file.relative_to(tmp_path / "home").as_posix()
        for file in (tmp_path / "home").rglob("*")
        if file.is_file()
    }
    # A number of the machine, by onnxruntime, is none of them.
    assert not [name for name in left if re.search("microsoft|onnx|device|telemetry", name, re.I)]


@needs_isolation
@pytest.mark.long
def test_the_review_and_the_fiftyone_dataset_ask_nobody(tmp_path: Path) -> None:
    assert run_isolated(tmp_path, str(SCRIPT), str(tmp_path / "data"), "review") == set()


@needs_isolation
def test_the_trace_of_this_test_sees_a_look_up_and_a_connection(tmp_path: Path) -> None:
    code = (
        "import socket, contextlib\n"
        "for ask in (lambda: socket.create_connection(('192.0.2.7', 80), 1),\n"
        "            lambda: socket.create_connection(('2001:db8::7', 80), 1),\n"
        "            lambda: socket.create_connection(('127.0.0.1', 9), 1),\n"
        "            lambda: socket.socket(type=2).sendto(b'x', ('192.0.2.8', 53))):\n"
        "    with contextlib.suppress(OSError):\n"
        "        ask()\n"
    )
    assert run_isolated(tmp_path, "-c", code) == {"192.0.2.7", "2001:db8::7", "192.0.2.8"}


@pytest.mark.ray
@needs_isolation
@pytest.mark.long
def test_a_cluster_of_ray_on_this_machine_asks_no_cloud_and_reports_nothing(tmp_path: Path) -> None:
    pytest.importorskip("ray")
    code = (
        "from curate import engine\n"
        "numbers = engine.map(abs, [-1, 2], what='', engine='ray', workers=1)\n"
        "assert list(numbers) == [1, 2]\n"
        "import time; time.sleep(3)\n"
    )
    # The path of a socket has at most 107 bytes.
    with tempfile.TemporaryDirectory(prefix="ray") as short:
        asked = run_isolated(tmp_path, "-c", code, scratch=Path(short))
    # Ray finds its own address with sockets for datagrams, and sends nothing through them.
    assert asked <= {"8.8.8.8", "2001:4860:4860::8888"}
    trace = (tmp_path / "trace").read_text(errors="replace")
    assert not re.search(r"send\w+\([^\n]*(8\.8\.8\.8|4860)", trace)
