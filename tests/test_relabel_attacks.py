"""Attacks on a running review: other accounts, other pages in the reviewer's browser, other files.

Each must be refused and be one line of the log, and leave the journal as it was.
"""

import http.client
import http.server
import json
import re
import socket
import stat
import threading
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psutil
import pymongo
import pytest
from accounts import NOBODY, as_nobody, needs_accounts
from kills import kill_app
from review_session import (
    START_SECONDS,
    RunningSession,
    draw_workspace,
    open_browser,
    ranked,
    start_session,
    users_mongod,
)

from curate.relabel.guard import OPERATORS
from curate.workspace.workspace import Workspace

pytestmark = pytest.mark.browser

EXECUTE = "/operators/execute"
# What wrote a file as root before there was a guard.
CODE = {
    "operator_uri": "@voxel51/operators/mes_plot_resolver",
    "dataset_name": "relabel",
    "params": {"scenario_type": "custom_code", "code": "open('{marker}', 'w')"},
}
FINISH = {"operator_uri": "@candid/review/review_finish", "dataset_name": "relabel", "params": {}}


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    return draw_workspace(tmp_path_factory.mktemp("review"), faces=20)


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the command gave to the browser as arguments."""
    return tmp_path_factory.mktemp("browser") / "arguments"


@pytest.fixture(scope="module")
def session(workspace: Workspace, opened: Path) -> RunningSession:
    """A session that opens a browser: a script that writes down its arguments."""
    script = opened.with_name("browser")
    script.write_text(f'#!/bin/sh\necho "$@" > {opened}\n')
    script.chmod(0o700)
    env = {"DISPLAY": ":99", "BROWSER": f"{script} %s"}
    session = start_session(workspace, "--browser", env=env)
    yield session
    if session.process.poll() is None:
        assert session.finish() == 0


@pytest.fixture(scope="module")
def key(session: RunningSession) -> str:
    return session.address.partition("?key=")[2]


@pytest.fixture(autouse=True)
def unharmed(session: RunningSession):
    """Whatever is tried, nothing is decided and the session goes on."""
    lines = len(session.workspace.read_journal())
    yield
    assert len(session.workspace.read_journal()) == lines
    assert not session.files.finish.exists()
    assert session.process.poll() is None


def refusals(session: RunningSession) -> list[str]:
    return [line for line in session.files.log.read_text().splitlines() if " refused: " in line]


def send(session: RunningSession, path: str, order: object = None, *, user=None, **headers: str):
    """Status and text of the answer, and the lines that the log has got; `user` may be nobody."""
    before, port = len(refusals(session)), session.record.port

    def act() -> tuple[int, str]:
        link = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        if order is None:
            link.request("GET", path, headers=named)
        else:
            named = {"Content-Type": "application/json", **named}
            link.request("POST", path, json.dumps(order), named)
        answer = link.getresponse()
        return answer.status, answer.read().decode("latin-1")

    status, text = as_nobody(act) if user == NOBODY else act()
    return status, text, refusals(session)[before:]


def cookie_of(session: RunningSession, key: str) -> dict[str, str]:
    return {"Cookie": f"candid-{session.record.port}={key}"}


def code_that_writes(marker: Path) -> Any:
    return json.loads(json.dumps(CODE).replace("{marker}", str(marker)))


@needs_accounts
def test_another_account_gets_nothing_without_the_key_and_runs_no_code(session, tmp_path):
    marker = tmp_path / "marker"
    order = code_that_writes(marker)
    for path, body, headers in (
        (EXECUTE, order, {"Content-Type": "text/plain"}),
        (EXECUTE, order, {}),
        (EXECUTE, FINISH, {}),
        ("/media?filepath=/etc/shadow", None, {}),
        ("/datasets/relabel", None, {}),
        ("/plugins", None, cookie_of(session, "guess")),
        ("/?key=guess", None, {}),
    ):
        status, text, lines = send(session, path, body, user=NOBODY, **headers)
        assert (status, len(lines)) == (403, 1), (path, text)
        assert "open the address that `curate relabel` has printed" in text
    assert not marker.exists()


@needs_accounts
def test_another_account_gets_nothing_with_the_key_of_the_session_either(session, key):
    for path, body, headers in (
        (EXECUTE, FINISH, cookie_of(session, key)),
        ("/plugins", None, cookie_of(session, key)),
        (f"/?key={key}", None, {}),
    ):
        status, text, lines = send(session, path, body, user=NOBODY, **headers)
        assert (status, len(lines)) == (403, 1)
        assert "a program of another account" in lines[0]
        assert "open the address from the account that runs `curate relabel`" in text


def test_the_reviewer_with_the_cookie_reaches_only_what_the_review_needs(session, key, tmp_path):
    mine = cookie_of(session, key)
    marker = tmp_path / "marker"
    order = code_that_writes(marker)
    shown = session.record.images[ranked(session.workspace)[0]].file
    queue = {"operator_uri": "@candid/review/review_queue", "dataset_name": "relabel"}
    for path, body, headers, expected in (
        (EXECUTE, queue, {}, 200),
        (EXECUTE, queue, {"Content-Type": "text/plain"}, 415),
        (EXECUTE, order, {}, 403),
        ("/operators/resolve-type", order, {}, 403),
        (f"/media?filepath={quote(shown)}", None, {}, 200),
        ("/media?filepath=/etc/passwd", None, {}, 403),
        (f"/media?filepath={quote(str(session.workspace.manifest))}", None, {}, 403),
        ("/operators/execute/generator", order, {}, 404),
        ("/plugins", None, {"Host": "evil.test"}, 403),
        ("/plugins", None, {"Origin": "http://evil.test"}, 403),
    ):
        status, _, lines = send(session, path, body, **mine, **headers)
        assert (status, len(lines)) == (expected, int(expected != 200)), path
    assert not marker.exists()


def test_the_app_has_no_other_operator_than_those_of_the_review(session, key):
    _, text, _ = send(session, "/operators", {"dataset_name": "relabel"}, **cookie_of(session, key))
    uris = {operator["uri"] for operator in json.loads(text)["operators"]}
    assert uris == OPERATORS


@needs_accounts
def test_mongod_has_no_port_and_its_socket_is_closed_to_other_accounts(session):
    mongod = session.services()["mongod"]
    assert mongod.net_connections(kind="inet") == []
    sockets = {Path(link.laddr) for link in mongod.net_connections(kind="unix") if link.laddr}
    assert session.files.database / "mongod.sock" in sockets
    for path in sockets:
        assert path.parent == session.files.database
        found = as_nobody(partial(socket.socket(socket.AF_UNIX).connect, str(path)))
        assert found.startswith("PermissionError")


def test_the_key_is_in_no_argument_environment_log_or_file_that_others_may_read(
    session, key, opened
):
    way_in = session.files.way_in
    assert opened.read_text().split() == [way_in.as_uri()]
    own = psutil.Process(session.process.pid)
    for process in (own, *own.children(recursive=True)):
        assert key not in " ".join(process.cmdline())
        assert key not in " ".join(process.environ().values())
    folder = session.files.folder
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    for file in (way_in, session.files.key, session.files.record):
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
    holders = [file for file in folder.rglob("*") if file.is_file() and key in _text_of(file)]
    assert sorted(holders) == sorted([way_in, session.files.key])


def _text_of(file: Path) -> str:
    return file.read_bytes().decode("latin-1")


# Pages in the reviewer's browser


@pytest.fixture(scope="module")
def browser():
    """A Chromium for which evil.test is this machine: what DNS rebinding ends in."""
    with open_browser("--host-resolver-rules=MAP evil.test 127.0.0.1") as browser:
        yield browser


class Attacker(http.server.BaseHTTPRequestHandler):
    """A site of somebody else's; it keeps the cookies that it is sent."""

    page = ""
    cookies: list[str] = []  # noqa: RUF012

    def do_GET(self) -> None:
        self.cookies.append(self.headers.get("Cookie", ""))
        body = self.page.encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def attacker():
    """The port of the attacker's site."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Attacker) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_address[1]
        server.shutdown()


@pytest.fixture(scope="module")
def reviewer(browser: Any, session: RunningSession) -> Any:
    """The browser's profile in which the review is open, by the redirect file."""
    context = browser.new_context()
    page = context.new_page()
    assert open_panel_in(page, session.files.way_in.as_uri()) == ranked(session.workspace)[0]
    assert "key=" not in page.url
    yield context
    context.close()


# Each returns what the page could read, or the error.
TRIES = {
    "form": """() => { const form = document.createElement('form'); form.method = 'post';
        form.enctype = 'text/plain'; form.action = GOAL + '/operators/execute';
        form.target = 'hidden'; const input = document.createElement('input');
        input.name = ORDER.slice(0, -1) + ',"a":"'; input.value = '"}'; form.append(input);
        const frame = document.createElement('iframe'); frame.name = 'hidden';
        document.body.append(frame, form);
        return new Promise((done) => {
          frame.onload = () => done('sent'); form.submit(); }); }""",
    "fetch of text": """() => fetch(GOAL + '/operators/execute', { method: 'POST', body: ORDER,
        mode: 'no-cors', credentials: 'include' })
        .then((answer) => answer.text()).catch(() => 'refused')""",
    "fetch of JSON": """() => fetch(GOAL + '/operators/execute', { method: 'POST', body: ORDER,
        credentials: 'include', headers: { 'Content-Type': 'application/json' } })
        .then((answer) => answer.text()).catch(() => 'refused')""",
    "picture": """() => new Promise((done) => { const picture = new Image();
        picture.onload = () => done('loaded'); picture.onerror = () => done('refused');
        picture.src = GOAL + '/media?filepath=' + encodeURIComponent(FILE) + '&new'; })""",
    "frame": """() => new Promise((done) => { const frame = document.createElement('iframe');
        frame.onload = () => done('sent'); frame.src = GOAL + '/datasets/relabel';
        document.body.append(frame); })""",
    "web socket": """() => new Promise((done) => {
        const link = new WebSocket(GOAL.replace('http', 'ws') + '/graphql');
        link.onopen = () => done('open'); link.onclose = () => done('refused'); })""",
}


@pytest.mark.parametrize("name", list(TRIES))
@pytest.mark.parametrize("site", ["localhost", "127.0.0.1", "evil.test"])
def test_a_page_of_another_origin_is_refused_and_reads_nothing(
    session, reviewer, attacker, site, name
):
    """A page of 127.0.0.1 is of the same site, whatever its port: `SameSite` is no help there."""
    page = reviewer.new_page()
    page.goto(f"http://{site}:{attacker}/")
    before = len(refusals(session))
    facts = {
        "GOAL": f"http://127.0.0.1:{session.record.port}",
        "ORDER": json.dumps(FINISH),
        "FILE": session.record.images[ranked(session.workspace)[0]].file,
    }
    for variable, value in facts.items():
        page.evaluate(f"window.{variable} = {json.dumps(value)}")
    assert page.evaluate(TRIES[name]) in ("", "sent", "refused")
    page.wait_for_timeout(100)
    found = refusals(session)[before:]
    assert len(found) == 1, found
    assert re.search("another origin|no cookie", found[0])
    page.close()


def test_a_name_that_leads_to_this_machine_is_refused(session, reviewer):
    page = reviewer.new_page()
    before = len(refusals(session))
    answer = page.goto(f"http://evil.test:{session.record.port}/datasets/relabel")
    assert answer.status == 403
    assert f"open http://127.0.0.1:{session.record.port};" in answer.text()
    order = json.dumps(FINISH)
    found = page.evaluate(
        "(body) => fetch('/operators/execute', { method: 'POST', body, headers: "
        "{ 'Content-Type': 'application/json' } }).then((answer) => answer.status)",
        order,
    )
    assert found == 403
    lines = [line for line in refusals(session)[before:] if "favicon" not in line]
    assert [line.rpartition(": ")[2] for line in lines] == [
        "another host than that of this session"
    ] * 2
    page.close()


@needs_accounts
def test_a_cookie_that_another_accounts_port_has_got_is_of_no_use_to_it(
    session, reviewer, attacker
):
    page = reviewer.new_page()
    page.goto(f"http://127.0.0.1:{attacker}/")
    cookie = Attacker.cookies[-1]
    assert cookie.startswith(f"candid-{session.record.port}=")  # browsers do not look at the port
    page.close()
    status, _, lines = send(session, EXECUTE, FINISH, user=NOBODY, Cookie=cookie)
    assert (status, len(lines)) == (403, 1)
    assert "a program of another account" in lines[0]


def test_no_request_of_the_page_sends_the_key_but_in_its_cookie(session, browser, key):
    page = browser.new_page()
    sent: list[Any] = []
    page.on("request", lambda request: sent.append(request))
    panel = open_panel_in(page, session.address)
    assert page.url == f"http://127.0.0.1:{session.record.port}/datasets/relabel?workspace=review"
    assert [request.url for request in sent if key in request.url] == [session.address]
    assert not [request for request in sent if key in request.headers.get("referer", "")]
    assert page.evaluate("document.cookie") == ""  # no script reads it
    (cookie,) = page.context.cookies()
    assert (cookie["value"], cookie["httpOnly"], cookie["sameSite"]) == (key, True, "Strict")
    assert panel == ranked(session.workspace)[0]
    page.close()


def open_panel_in(page: Any, address: str) -> str:
    page.goto(address, timeout=1000 * START_SECONDS)
    page.wait_for_selector("[data-candid=name]", timeout=1000 * START_SECONDS)
    return str(page.locator(".c-main").get_attribute("data-path"))


# Sessions beside and after it


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory):
    """The address of a MongoDB server of the user's, with a password."""
    with users_mongod(tmp_path_factory.mktemp("database"), "--auth") as port:
        client = pymongo.MongoClient(f"mongodb://127.0.0.1:{port}/")
        client.admin.command("createUser", "ann", pwd="s3cret/", roles=["root"])
        yield f"mongodb://ann:s3cret%2F@127.0.0.1:{port}/?authSource=admin"


def test_a_second_session_has_its_own_key_which_is_of_no_use_once_it_was_killed(
    session, reviewer, key, workspace, database
):
    """It runs on the user's own server, whose password stays private too."""
    env = {"FIFTYONE_DATABASE_URI": database}
    other = start_session(workspace, by="R2", env=env)
    names = pymongo.MongoClient(database).list_database_names()
    assert [name for name in names if name.startswith("candid-")] == [other.record.database]
    assert stat.S_IMODE(other.files.record.stat().st_mode) == 0o600
    assert "s3cret" not in " ".join(other.services()["app"].cmdline())
    assert "s3cret" not in other.files.log.read_text() + other.log.read_text()
    port, other_key = other.record.port, other.address.partition("?key=")[2]
    assert other_key != key
    taken = f"candid-{port}={key}; candid-{session.record.port}={key}"
    status, _, lines = send(other, "/plugins", Cookie=taken)
    assert (status, len(lines)) == (403, 1)
    page = reviewer.new_page()  # one browser holds both
    assert open_panel_in(page, other.address) == ranked(workspace)[0]
    assert open_panel_in(page, session.address) == ranked(workspace)[0]
    page.close()
    services = list(other.services().values())
    other.process.kill()
    other.process.wait()
    assert psutil.wait_procs(services, timeout=15)[1] == []
    assert other.files.key.read_text() == other_key
    again = start_session(workspace, "--port", port, by="R2", env=env)
    for path, headers in (
        ("/plugins", cookie_of(again, other_key)),
        (f"/?key={other_key}", {}),
    ):
        status, _, lines = send(again, path, **headers)
        assert (status, len(lines)) == (403, 1)
    assert again.finish() == 0
    assert not any(file.exists() for file in (again.files.key, again.files.way_in))
    names = pymongo.MongoClient(database).list_database_names()
    assert not [name for name in names if name.startswith("candid-")]


def test_the_port_and_the_key_stay_the_reviewers_while_the_app_starts_again(session, reviewer):
    kill_app(session)
    with socket.socket() as squatter:
        squatter.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        with pytest.raises(OSError, match="in use"):
            squatter.bind(("127.0.0.1", session.record.port))
    page = reviewer.new_page()
    assert open_panel_in(page, session.address) == ranked(session.workspace)[0]
    page.close()
