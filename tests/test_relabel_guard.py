"""The guard of the review server, without the App: what is let through, and each kind of attack.

The attacks on a running session are in `test_relabel_attacks.py`.
"""

import asyncio
import json
import os
import socket
import sys
from pathlib import Path
from urllib.parse import quote

import pymongo
import pytest
from accounts import NOBODY, as_nobody, needs_accounts
from review_session import users_mongod

from curate.errors import ServiceError
from curate.fiftyone_host import mongod, peers
from curate.fiftyone_host.mongod import find_mongod, start_mongod
from curate.fiftyone_host.peers import find_owner, may_connect
from curate.fiftyone_host.private import make_private, write_private
from curate.fiftyone_host.processes import open_listener
from curate.relabel import guard
from curate.relabel.app_labels import require_server
from curate.relabel.guard import PAGE, Guard, Pass
from curate.relabel.prepare import list_files
from curate.relabel.session import Image

KEY = "k" * 32
HOLDER = Pass(KEY, 5151, frozenset({"/faces/a b.png", "/faces/é.png"}))
COOKIE = f"candid-5151={KEY}"
ORIGIN = "http://127.0.0.1:5151"
JSON = "application/json"
DECIDE = {"operator_uri": "@candid/review/review_decide", "params": {}}
EVIL = "@voxel51/operators/mes_plot_resolver"


class Answer:
    """What one request got: the answer's parts, whether the App saw it, and the lines logged."""

    def __init__(self, sent, bodies, lines):
        start = next((part for part in sent if part["type"].endswith("start")), {})
        self.status = start.get("status")
        self.headers = {name.decode(): value.decode() for name, value in start.get("headers", [])}
        self.text = b"".join(part.get("body", b"") for part in sent).decode()
        self.closed = [part["code"] for part in sent if part["type"] == "websocket.close"]
        self.bodies, self.lines = bodies, lines


def call(method="POST", path="/operators/execute", *, query="", body=DECIDE, headers=(), **changes):
    """Send a request that is right but for `changes`: headers of other values, None for without."""
    usual = {"host": "127.0.0.1:5151", "origin": ORIGIN, "cookie": COOKIE, "content_type": JSON}
    named = {name.replace("_", "-"): value for name, value in (usual | changes).items()}
    pairs = [*((name, value) for name, value in named.items() if value is not None), *headers]
    is_socket = method == "websocket"
    scope = {
        "type": "websocket" if is_socket else "http",
        "path": path,
        "query_string": query.encode(),
        "headers": [(name.encode(), value.encode()) for name, value in pairs],
        **({} if is_socket else {"method": method}),
    }
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    halves = [data[:5], data[5:]]
    parts = [
        {"type": "http.request", "body": half, "more_body": k == 0} for k, half in enumerate(halves)
    ]
    sent, bodies, lines = [], [], []

    async def application(_scope, receive, send):
        whole, is_more = b"", True
        while is_more:
            message = await receive()
            whole += message.get("body", b"")
            is_more = message.get("more_body", False)
        bodies.append(whole)
        theirs = [(b"cross-origin-resource-policy", b"cross-origin"), (b"etag", b"1")]
        await send({"type": "http.response.start", "status": 200, "headers": theirs})
        await send({"type": "http.response.body", "body": b"done"})

    async def receive():
        return parts.pop(0) if parts else {"type": "http.disconnect"}

    async def send(message):
        sent.append(message)

    asyncio.run(Guard(application, HOLDER, lines.append)(scope, receive, send))
    return Answer(sent, bodies, lines)


def assert_refused(answer, reason, status=403):
    assert (answer.status, answer.bodies) == (status, [])
    assert len(answer.lines) == 1
    assert reason in answer.lines[0]
    assert reason in answer.text
    assert KEY not in answer.lines[0] + answer.text


def media(file):
    return {"method": "GET", "path": "/media", "query": f"filepath={quote(file, safe='')}"}


@pytest.mark.parametrize(
    "request_",
    [
        {},
        {"origin": None},  # a program of the reviewer's
        {"content_type": "Application/JSON; charset=utf-8"},
        {"cookie": f"a=b; candid-5151=other; {COOKIE}"},  # another port has set one too
        {"sec_fetch_site": "same-origin"},
        {"path": "/graphql", "body": {"query": "{ a }"}},
        {"path": "/events", "content_type": "text/event-stream"},
        {"path": "/operators", "body": {"dataset_name": "relabel"}},
        {"method": "PATCH", "path": "/dataset/1/sample/2"},
        {"method": "PATCH", "path": "/dataset/1/sample/2", "content_type": guard.JSON_TYPES[1]},
        {"method": "GET", "path": "/datasets/relabel", "origin": None, "sec_fetch_site": "none"},
        {"method": "GET", "path": "/datasets/assets/index.js"},
        {"method": "GET", "path": "/plugins/review/panel.js"},
        {"method": "GET", "path": "/"},
        media("/faces/a b.png"),
        media("/faces/é.png"),
        {**media("/faces/é.png"), "method": "HEAD"},
    ],
)
def test_what_the_review_needs_is_let_through_unchanged(request_):
    answer = call(**request_)
    body = request_.get("body", DECIDE)
    assert answer.bodies == [json.dumps(body).encode()]
    assert (answer.status, answer.text, answer.lines) == (200, "done", [])
    assert answer.headers["etag"] == "1"
    assert answer.headers["cross-origin-resource-policy"] == "same-origin"
    assert answer.headers["x-frame-options"] == "DENY"
    assert answer.headers["referrer-policy"] == "same-origin"


def test_a_picture_that_is_opened_by_itself_runs_no_script():
    policy = call(**media("/faces/é.png")).headers["content-security-policy"]
    assert policy == "default-src 'none'; frame-ancestors 'none'; sandbox"
    assert "sandbox" not in call().headers["content-security-policy"]


def test_a_file_that_a_browser_would_take_for_a_page_is_not_served():
    names = ("a.png", "b.svg", "c.html", "d.JPG", "e", "x/../f.webp")
    images = {name: Image("0", "sad", f"/faces/{name}") for name in names}
    served = {"/faces/a.png", "/faces/d.JPG", "/faces/x/../f.webp", "/faces/f.webp"}
    assert list_files(images) == served


@pytest.mark.parametrize(
    "cookie",
    [
        None,
        "",
        f"candid-5151={KEY[:-1]}",
        f"candid-5151={KEY}k",
        "candid-5151=",
        f"candid-5152={KEY}",  # of a session on another port
        f"key={KEY}",
        f"candid-5151 ={KEY}",
        "candid-5151=é",
    ],
)
def test_a_request_without_the_key_of_the_session_is_refused(cookie):
    for request_ in ({}, media("/faces/é.png"), {"method": "GET", "path": "/datasets/relabel"}):
        assert_refused(call(cookie=cookie, **request_), "no cookie with the key of this session")


@pytest.mark.parametrize(
    "host",
    [
        None,
        "",
        "evil.test:5151",
        "127.0.0.1",
        "127.0.0.1:5152",
        "localhost:5151",
        "0.0.0.0:5151",
        "127.1:5151",
        "127.0.0.1:5151.evil.test",
        "127.0.0.1:5151@evil.test",
        "[::1]:5151",
    ],
)
def test_a_host_other_than_that_of_the_session_is_refused_with_the_right_address(host):
    for request_ in ({}, {"method": "GET", "path": "/", "query": f"key={KEY}", "origin": None}):
        answer = call(host=host, **request_)
        assert_refused(answer, "another host than that of this session")
        assert "open http://127.0.0.1:5151;" in answer.text
    assert_refused(call(headers=[("host", "evil.test")]), "another host")


@pytest.mark.parametrize(
    "origin",
    ["null", "", "http://evil.test", "http://127.0.0.1:9", "https://127.0.0.1:5151", f"{ORIGIN}/"],
)
def test_a_page_of_another_origin_is_refused_with_the_right_cookie_too(origin):
    assert_refused(call(origin=origin), "a page of another origin")
    assert_refused(call(headers=[("origin", origin)]), "a page of another origin")
    assert_refused(call(**media("/faces/é.png"), origin=origin), "a page of another origin")


@pytest.mark.parametrize("site", ["cross-site", "same-site", "none, cross-site"])
def test_what_another_page_loads_without_naming_its_origin_is_refused(site):
    answer = call(**media("/faces/é.png"), origin=None, sec_fetch_site=site)
    assert_refused(answer, "a page of another origin")


@pytest.mark.parametrize(
    "content_type",
    [
        None,
        "",
        "text/plain",
        "text/plain; application/json",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=a",
        "application/jsonp",
        "text/event-stream",
        "text/plain, application/json",
    ],
)
def test_a_body_that_is_not_named_json_is_refused(content_type):
    for path in ("/operators/execute", "/graphql", "/tag"):
        assert_refused(call(path=path, content_type=content_type), "a body that is not JSON", 415)
    twice = call(content_type="text/plain", headers=[("content-type", JSON)])
    assert_refused(twice, "a body that is not JSON", 415)


@pytest.mark.parametrize(
    "path",
    ["/operators/execute", "/operators/resolve-type", "/operators/resolve-execution-options"],
)
@pytest.mark.parametrize(
    "body",
    [
        {"operator_uri": EVIL, "params": {"scenario_type": "custom_code"}},
        {"operator_uri": "@voxel51/operators/download_file"},
        {"operator_uri": "@voxel51/operators/list_files"},
        {"operator_uri": "@voxel51/panels/model_evaluation_panel_builtin"},
        {"operator_uri": "@candid/review/Review_decide"},
        {"operator_uri": f"@candid/review/review_decide {EVIL}"},
        {"operator_uri": ["@candid/review/review_decide"]},
        {"operator_uri": None},
        {},
        [DECIDE],
        b'{"operator_uri": "@candid/review/review_decide", "operator_uri": "%s"}' % EVIL.encode(),
    ],
)
def test_an_operator_that_the_review_does_not_need_is_refused(path, body):
    assert_refused(call(path=path, body=body), "the operator ")


def test_an_order_that_is_no_json_or_ends_early_or_is_too_long_is_refused(monkeypatch):
    assert_refused(call(body=b"operator_uri=@candid/review/review_decide"), "not JSON", 415)
    assert_refused(call(body=b"\xff\xfe{}"), "not JSON", 415)
    assert_refused(call(body=json.dumps(DECIDE).encode("utf-16")), "not JSON", 415)
    assert_refused(call(body=b"[" * 100_000), "not JSON", 415)
    monkeypatch.setattr(guard, "LONGEST_BODY", 20)
    assert_refused(call(), "a body of over 20 bytes", 413)


@pytest.mark.parametrize(
    "query",
    [
        "",
        "filepath=",
        "filepath=/etc/shadow",
        "filepath=/faces/a%20b.png&filepath=/etc/shadow",
        "filepath=/etc/shadow&filepath=/faces/a%20b.png",
        "filepath=/faces/../faces/a%20b.png",
        "filepath=/faces/a%2520b.png",
        "filepath=/faces/a%20b.png/",
        "filepath=/faces/a%20b.png%00",
        "filepath=/faces/a%20b.png&filepath=",
    ],
)
def test_a_file_that_is_no_picture_of_the_session_is_refused(query):
    for method in ("GET", "HEAD"):
        answer = call(method, "/media", query=query)
        assert_refused(answer, "a file that is no picture of this session")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/operators/execute"),
        ("GET", "/graphql"),
        ("POST", "/media"),
        ("OPTIONS", "/operators/execute"),
        ("PUT", "/dataset/1"),
        ("DELETE", "/dataset/1/sample/2"),
        ("POST", "/operators/execute/generator"),
        ("POST", "/operators/execute/"),
        ("POST", "/operators/subscribe-execution-store"),
        ("POST", "//operators/execute"),
        ("POST", "/event"),
        ("POST", "/sort"),
        ("GET", "/screenshot/a.html"),
        ("GET", "/runtime-assets/models/sam2/a"),
        ("GET", "/media/"),
        ("GET", "/plugins/other/index.js"),
        ("get", "/plugins"),
    ],
)
def test_a_route_that_the_review_does_not_need_is_refused(method, path):
    assert_refused(call(method, path), "a route that the review does not need", 404)


def test_a_web_socket_is_refused_with_or_without_the_key():
    reasons = []
    for changes in ({}, {"cookie": None}, {"origin": "http://evil.test"}, {"host": "evil.test"}):
        answer = call("websocket", "/graphql", **changes)
        assert (answer.closed, answer.bodies, len(answer.lines)) == ([1008], [], 1)
        reasons.append(answer.lines[0].partition(": ")[2])
    assert len(set(reasons)) == 4
    assert all(reason.startswith("'web socket' '/graphql'") for reason in reasons)


def test_the_printed_address_sets_the_cookie_and_leads_to_the_address_without_the_key():
    way_in = {"method": "GET", "path": "/", "query": f"key={KEY}", "origin": None, "cookie": None}
    assert HOLDER.address == f"http://127.0.0.1:5151/?key={KEY}"
    answer = call(**way_in)
    assert (answer.status, answer.headers["location"]) == (303, PAGE)
    assert answer.headers["set-cookie"] == f"{COOKIE}; Path=/; HttpOnly; SameSite=Strict"
    assert (answer.bodies, answer.lines) == ([], [])
    # From a file or another page a browser keeps a strict cookie back from a redirect.
    page = call(**way_in, sec_fetch_site="cross-site")
    assert (page.status, f'url={PAGE}"' in page.text) == (200, True)
    assert page.headers["set-cookie"] == answer.headers["set-cookie"]
    for found in (answer, page):
        assert found.headers["referrer-policy"] == "no-referrer"
        assert found.headers["cache-control"] == "no-store"
        assert KEY not in found.text + found.headers.get("location", "")


@pytest.mark.parametrize("query", ["key=other", f"key={KEY}k", f"key={KEY}&key=other", "key=%E9"])
def test_an_address_with_another_key_is_refused(query):
    answer = call("GET", "/", query=query, origin=None, cookie=None)
    assert_refused(answer, "another key than that of this session")
    assert "set-cookie" not in answer.headers
    elsewhere = call("GET", "/plugins", query=f"key={KEY}", origin=None, cookie=None)
    assert_refused(elsewhere, "no cookie")


def test_a_refusal_is_one_line_without_the_query_and_a_flood_of_them_is_cut(monkeypatch):
    answer = call("GET", "/a\nrefused: b", query=f"key={KEY}", cookie=None)
    assert answer.lines == [
        r"refused: 'GET' '/a\nrefused: b': no cookie with the key of this session"
    ]
    monkeypatch.setattr(guard, "MOST_REFUSALS", 2)
    lines = []

    async def flood():
        guarded = Guard(None, HOLDER, lines.append)
        scope = {"type": "http", "method": "GET", "path": "/", "query_string": b"", "headers": []}
        for _ in range(5):
            await guarded(scope, None, _ignore)

    asyncio.run(flood())
    assert (len(lines), lines[-1]) == (3, "refused: more than are listed")


async def _ignore(_message):
    pass


# Accounts


def connect():
    """A connection to a listener of ours: the listener, the client's end, the server's end."""
    listener = open_listener(None)
    client = socket.create_connection(listener.getsockname())
    return listener, client, listener.accept()[0]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux shows the owner")
def test_the_owner_of_a_connection_is_known_until_it_is_closed():
    listener, client, server = connect()
    with listener, server:
        ends = client.getsockname(), listener.getsockname()
        assert find_owner(*ends) == os.geteuid()
        assert may_connect(*ends)
        client.close()
        assert find_owner(*ends) == -1  # shown as root's: nobody waits for an answer any more
        assert not may_connect(*ends)


@needs_accounts
def test_a_connection_of_another_account_is_known_as_its(monkeypatch):
    with open_listener(None) as listener:
        place = listener.getsockname()

        def check():
            server, client = listener.accept()
            with server:
                assert find_owner(client, place) == NOBODY
                assert not may_connect(client, place)
                scope = {"type": "http", "client": client, "server": place}
                with pytest.raises(guard.RefusedError, match="a program of another account"):
                    guard.require_account(scope)
                monkeypatch.setenv("SUDO_UID", str(NOBODY))  # who called `sudo curate relabel`
                assert may_connect(client, place)

        def connect():
            with socket.create_connection(place) as theirs:
                return len(theirs.recv(1))

        assert as_nobody(connect, meanwhile=check) == 0


def test_where_the_system_does_not_show_the_owner_the_key_alone_decides(monkeypatch):
    monkeypatch.setattr(peers.sys, "platform", "darwin")
    assert may_connect(("127.0.0.1", 1), ("127.0.0.1", 2))


# Databases


def test_a_server_of_the_users_that_admits_everybody_is_refused_unless_that_is_accepted(
    tmp_path, monkeypatch
):
    with users_mongod(tmp_path) as port:
        uri = f"mongodb://127.0.0.1:{port}/?authMechanism=SCRAM-SHA-256&w=1"
        for address in (
            uri.replace("authMechanism=SCRAM-SHA-256&", ""),
            f"mongodb://127.0.0.1:{port}",
        ):
            with pytest.raises(ServiceError) as caught:
                require_server(address)
            assert str(caught.value) == (
                "FIFTYONE_DATABASE_URI: the server admits everybody who reaches it, who could "
                "decide in your name: give it a password, or unset the variable to use a mongod of "
                "our own, or set CURATE_OPEN_DATABASE=1 if nobody else reaches it"
            )
        monkeypatch.setenv("CURATE_OPEN_DATABASE", "1")
        require_server(address)


def test_a_server_of_the_users_with_a_password_is_used_and_the_password_is_in_no_message(tmp_path):
    with users_mongod(tmp_path, "--auth") as port:
        client = pymongo.MongoClient(f"mongodb://127.0.0.1:{port}/")
        client.admin.command("createUser", "ann", pwd="s3cret@", roles=["root"])
        at = f"127.0.0.1:{port}"
        for options in ("", "/", "/?authSource=admin", "/admin?authMechanism=SCRAM-SHA-256&w=1"):
            require_server(f"mongodb://ann:s3cret%40@{at}{options}")
        with pytest.raises(ServiceError, match="no MongoDB server answers") as caught:
            require_server(f"mongodb://ann:wr0ng@{at}/")
        assert "wr0ng" not in str(caught.value)


def test_a_socket_of_the_users_is_used_if_no_other_account_may_open_it(tmp_path):
    running = start_mongod(find_mongod(os.environ), tmp_path / "db")
    folders = (tmp_path / "db", tmp_path, *tmp_path.parents)
    modes = {path: path.stat().st_mode for path in folders if path.stat().st_uid == os.geteuid()}
    try:
        require_server(running.uri)
        running.socket.chmod(0o777)
        require_server(running.uri)  # its folder is closed
        for folder, mode in modes.items():
            folder.chmod(mode | 0o011)
        with pytest.raises(ServiceError, match="admits everybody"):
            require_server(running.uri)
    finally:
        for folder, mode in modes.items():
            folder.chmod(mode)
        running.stop()


def test_mongod_starts_in_a_folder_whose_path_is_too_long_for_a_socket(tmp_path):
    folder = tmp_path / ("a" * 120)
    program = find_mongod(os.environ)
    left = start_mongod(program, folder)
    short = left.socket.parent
    assert short.stat().st_mode & 0o777 == 0o700
    assert folder.stat().st_mode & 0o777 == 0o700
    left.process.kill()
    left.process.wait()
    assert short.is_dir()
    running = start_mongod(program, folder)
    assert not short.exists()  # what the killed one has left
    assert pymongo.MongoClient(running.uri).admin.command("ping")["ok"] == 1
    running.stop()
    assert not running.socket.parent.exists()


def test_the_note_of_a_socket_that_a_stranger_left_removes_nothing_of_the_users(tmp_path):
    theirs = tmp_path / "candid-mongod-1"
    theirs.mkdir()
    (theirs / "a.sock").touch()
    (tmp_path / "socket").write_text(str(theirs))
    mongod._remove_socket_folder(tmp_path)
    assert (theirs / "a.sock").exists()


# Files


def test_a_private_folder_is_for_its_owner_alone_also_if_it_was_there_before(tmp_path):
    folder = tmp_path / "a" / "b"
    make_private(folder)
    assert folder.stat().st_mode & 0o777 == 0o700
    folder.chmod(0o755)
    make_private(folder)
    assert folder.stat().st_mode & 0o777 == 0o700


def test_a_link_in_the_place_of_a_private_folder_is_refused_and_left_alone(tmp_path):
    theirs = tmp_path / "theirs"
    theirs.mkdir(mode=0o755)
    (tmp_path / "link").symlink_to(theirs)
    with pytest.raises(ServiceError, match="a link leads elsewhere: remove it and run again"):
        make_private(tmp_path / "link")
    assert theirs.stat().st_mode & 0o777 == 0o755


@needs_accounts
def test_a_private_folder_of_another_account_is_refused(tmp_path):
    os.chown(tmp_path, NOBODY, NOBODY)
    with pytest.raises(ServiceError, match="belongs to another account"):
        make_private(tmp_path)


def test_a_private_file_replaces_a_link_and_never_what_it_leads_to(tmp_path):
    victim, file = tmp_path / "victim", tmp_path / "key"
    victim.write_text("theirs")
    file.symlink_to(victim)
    write_private(file, b"secret")
    assert (file.read_bytes(), file.is_symlink(), victim.read_text()) == (
        b"secret",
        False,
        "theirs",
    )
    assert file.stat().st_mode & 0o777 == 0o600
    file.chmod(0o644)
    write_private(file, b"other")
    assert (Path(file).read_bytes(), file.stat().st_mode & 0o777) == (b"other", 0o600)
