"""The guard in front of the App's server: only the reviewer of this session gets an answer.

FiftyOne's server has no login, takes orders from any page that is open in the reviewer's browser,
serves any file, and has an operator that runs the code that it is sent. In: the App's ASGI
application and the `Pass` of the session. Out: an ASGI application that lets nothing through but

- to the one address of the session, and from its own page
- with the key of the session: once in the address that the command prints, then in a cookie
- from the account that runs it, where the system shows whose a connection is
- JSON, to the routes, operators and pictures that the review needs

Everything else gets an answer of one line, and is one line of the log.
"""

import hmac
import json
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs

from curate.fiftyone_host.peers import may_connect
from curate.fiftyone_host.processes import HOST

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

PAGE = "/datasets/relabel?workspace=review"  # the address of the panel, without the key
# Of our plugin, and what the grid and the App's own labelling call.
OPERATORS = frozenset(
    f"@candid/review/{name}"
    for name in (
        "review_queue",
        "review_decide",
        "review_undo",
        "review_finish",
        "accept_selected",
        "keep_selected",
        "drop_selected",
        "set_selected",
    )
) | frozenset(
    f"@voxel51/operators/{name}"
    for name in (
        "activate_label_schemas",
        "generate_label_schemas",
        "get_label_schemas",
        "list_valid_annotation_fields",
        "list_workspaces",
        "load_workspace",
        "set_active_label_schemas",
        "update_label_schema",
        "validate_label_schemas",
    )
)
# Method -> its routes; one that ends with a slash is any route below it.
ROUTES = {
    "GET": (
        "/",
        "/assets/",
        "/datasets/",
        "/favicon.ico",
        "/media",
        "/plugins",
        "/plugins/review/",
    ),
    "POST": (
        "/events",
        "/graphql",
        "/operators",
        "/operators/execute",
        "/operators/resolve-execution-options",
        "/operators/resolve-placements",
        "/operators/resolve-type",
        "/tag",
        "/tagging",
    ),
    "PATCH": ("/dataset/",),
}
NO_OPERATOR = ("/operators", "/operators/resolve-placements")  # they name none
# No form can send these: another page would first have to get our permission.
JSON_TYPES = ("application/json", "application/json-patch+json")
STREAM_TYPE = "text/event-stream"  # the App calls /events, with JSON, by this name
LONGEST_BODY = 32 * 1024 * 1024  # bytes
MOST_REFUSALS = 1000  # lines of the log
ADVICE = "open the address that `curate relabel` has printed"
INSIDE = "a session serves its panel, its grid and its pictures"  # to who has the key
# For every answer. Pages of others may neither frame ours nor load anything of it.
HEADERS = {
    b"cross-origin-resource-policy": b"same-origin",
    b"content-security-policy": b"frame-ancestors 'none'; form-action 'self'; base-uri 'self'",
    b"referrer-policy": b"same-origin",
    b"x-content-type-options": b"nosniff",
    b"x-frame-options": b"DENY",
}
# A file that is opened by itself runs no script of its own, whatever it holds.
ALONE = {b"content-security-policy": b"default-src 'none'; frame-ancestors 'none'; sandbox"}
WAY_IN = f"""<!doctype html><meta charset="utf-8"><title>Candid</title>
<meta http-equiv="refresh" content="0; url={PAGE}">"""


@dataclass(frozen=True)
class Pass:
    """What a session admits.

    Attributes
    ----------
    key : its secret, of letters, digits, `-` and `_`
    port : of the App on 127.0.0.1
    files : absolute paths of the pictures that may be read, in every form that the App uses
    """

    key: str
    port: int
    files: frozenset[str]

    @property
    def host(self) -> str:
        return f"{HOST}:{self.port}"

    @property
    def cookie(self) -> str:
        """Its name: browsers send a cookie to every port of an address."""
        return f"candid-{self.port}"

    @property
    def address(self) -> str:
        """What the reviewer opens."""
        return f"http://{self.host}/?key={self.key}"


class RefusedError(Exception):
    """A request that gets no answer: the status of HTTP, the reason for the log, the way out."""

    def __init__(self, reason: str, status: int = 403, advice: str = ADVICE) -> None:
        super().__init__(reason)
        self.reason, self.status, self.advice = reason, status, advice


class Guard:
    """The ASGI application that is served: `application`, for the holder of the pass alone."""

    def __init__(self, application: Application, holder: Pass, log: Callable[[str], None]) -> None:
        self.application = application
        self.holder = holder
        self._log = log
        self._refusals = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, as ASGI 3 defines it."""
        if scope["type"] == "lifespan":
            return await self.application(scope, receive, send)
        try:
            if self._is_way_in(scope):
                return await self._let_in(scope, send)
            require_pass(scope, self.holder)
            require_route(scope, self.holder)
            receive = await require_operator(scope, receive)
        except RefusedError as refusal:
            self._note(scope, refusal)
            return await _refuse(scope, send, refusal)
        headers = HEADERS | ALONE if scope["path"] == "/media" else HEADERS
        await self.application(scope, receive, _add_headers(send, headers))

    def _is_way_in(self, scope: Scope) -> bool:
        """Whether it is the printed address with the right key.

        Raises
        ------
        RefusedError  if the key is wrong
        """
        is_page = scope["type"] == "http" and scope["method"] == "GET" and scope["path"] == "/"
        keys = parse_qs(scope["query_string"].decode("latin-1")).get("key", [])
        if not is_page or not keys:
            return False
        require_address(scope, self.holder)
        if len(keys) != 1 or not _is_same(keys[0], self.holder.key):
            raise RefusedError("another key than that of this session")
        require_account(scope)
        return True

    async def _let_in(self, scope: Scope, send: Send) -> None:
        """Set the cookie and go to the address without the key.

        After a link on a page of another origin, the redirect file too, a browser sends no `Strict`
        cookie along a redirect; a page of ours that goes on by itself is the same origin.
        """
        cookie = f"{self.holder.cookie}={self.holder.key}; Path=/; HttpOnly; SameSite=Strict"
        headers = {b"set-cookie": cookie.encode(), b"referrer-policy": b"no-referrer"}
        if _header(scope, b"sec-fetch-site") in ("", "none", "same-origin"):
            headers[b"location"] = PAGE.encode()
            await _answer(send, 303, "", headers)
        else:
            headers[b"content-type"] = b"text/html; charset=utf-8"
            await _answer(send, 200, WAY_IN, headers)

    def _note(self, scope: Scope, refusal: RefusedError) -> None:
        """One line of the log; no query of an address, which may hold a key."""
        self._refusals += 1
        if self._refusals <= MOST_REFUSALS:
            method = scope.get("method", "web socket")
            self._log(f"refused: {method!a} {scope['path'][:200]!a}: {refusal.reason}")
        elif self._refusals == MOST_REFUSALS + 1:
            self._log("refused: more than are listed")


def require_pass(scope: Scope, holder: Pass) -> None:
    """Raise RefusedError unless the request is from the session's page, reviewer and account."""
    require_address(scope, holder)
    _require_own_page(scope, holder)
    if not any(_is_same(value, holder.key) for value in _cookies(scope, holder.cookie)):
        raise RefusedError("no cookie with the key of this session")
    require_account(scope)


def require_address(scope: Scope, holder: Pass) -> None:
    """Raise RefusedError unless the request names the one address of the session.

    A page whose name an attacker has moved to 127.0.0.1 (DNS rebinding) names another.
    """
    hosts = [value.decode("latin-1") for name, value in scope["headers"] if name == b"host"]
    if hosts != [holder.host]:
        advice = f"open http://{holder.host}; a tunnel has this port number at both ends"
        raise RefusedError("another host than that of this session", advice=advice)


def _require_own_page(scope: Scope, holder: Pass) -> None:
    origins = [value for name, value in scope["headers"] if name == b"origin"]
    if origins not in ([], [f"http://{holder.host}".encode()]):
        raise RefusedError("a page of another origin")
    if _header(scope, b"sec-fetch-site") not in ("", "none", "same-origin"):
        raise RefusedError("a page of another origin")


def require_account(scope: Scope) -> None:
    """Raise RefusedError if the system knows that the connection is another account's."""
    client, server = scope.get("client"), scope.get("server")
    if client and server and not may_connect(tuple(client), tuple(server)):
        advice = "open the address from the account that runs `curate relabel`"
        raise RefusedError("a program of another account", advice=advice)


def require_route(scope: Scope, holder: Pass) -> None:
    """Raise RefusedError unless the review needs the route, with JSON or for a picture of it."""
    if scope["type"] != "http":
        raise RefusedError("a web socket, which the App does not need", advice=INSIDE)
    method, path = scope["method"], scope["path"]
    routes = ROUTES.get("GET" if method == "HEAD" else method, ())
    is_below = any(
        path.startswith(route) for route in routes if route.endswith("/") and route != "/"
    )
    if path not in routes and not is_below:
        raise RefusedError("a route that the review does not need", 404, INSIDE)
    if method in ("POST", "PATCH"):
        _require_json(scope)
    if path == "/media":
        _require_picture(scope, holder)


def _require_json(scope: Scope) -> None:
    sent = _header(scope, b"content-type").partition(";")[0].strip().lower()
    if sent not in JSON_TYPES and (sent, scope["path"]) != (STREAM_TYPE, "/events"):
        raise RefusedError("a body that is not JSON", 415, INSIDE)


def _require_picture(scope: Scope, holder: Pass) -> None:
    query = parse_qs(scope["query_string"].decode("latin-1"), keep_blank_values=True)
    files = query.get("filepath", [])
    if len(files) != 1 or files[0] not in holder.files:
        raise RefusedError("a file that is no picture of this session", advice=INSIDE)


async def require_operator(scope: Scope, receive: Receive) -> Receive:
    """Raise RefusedError if the request calls an operator that the review does not need.

    Returns
    -------
    the `receive` for the application, with the body that was read here
    """
    path = scope["path"]
    if not path.startswith("/operators") or path in NO_OPERATOR:
        return receive
    body = await _read_body(receive)
    try:
        order = json.loads(body.decode())  # as FiftyOne reads it
    except (ValueError, RecursionError) as error:
        raise RefusedError("a body that is not JSON", 415, INSIDE) from error
    operator = order.get("operator_uri") if isinstance(order, dict) else None
    if not isinstance(operator, str) or operator not in OPERATORS:
        raise RefusedError(f"the operator {ascii(operator)[:100]}", advice=INSIDE)
    sent = iter([{"type": "http.request", "body": body, "more_body": False}])

    async def replay() -> Message:
        return next(sent, None) or await receive()

    return replay


async def _read_body(receive: Receive) -> bytes:
    body = bytearray()
    is_whole = False
    while not is_whole:
        message = await receive()
        if message["type"] != "http.request":
            raise RefusedError("a connection that ended early", advice=INSIDE)
        body += message.get("body", b"")
        is_whole = not message.get("more_body", False)
        if len(body) > LONGEST_BODY:
            raise RefusedError(f"a body of over {LONGEST_BODY:,} bytes", 413, INSIDE)
    return bytes(body)


def _header(scope: Scope, name: bytes) -> str:
    """The value of a header; all of them, joined, if it is there more than once."""
    values = [value.decode("latin-1") for key, value in scope["headers"] if key == name]
    return ", ".join(values)


def _cookies(scope: Scope, name: str) -> Iterator[str]:
    """The values under a name: pages of other ports can add some."""
    for key, value in scope["headers"]:
        for item in value.decode("latin-1").split(";") if key == b"cookie" else ():
            cookie, _, content = item.strip().partition("=")
            if cookie == name:
                yield content


def _is_same(value: str, key: str) -> bool:
    """Compare in a time that shows nothing of the key."""
    return hmac.compare_digest(value.encode("latin-1", "replace"), key.encode())


async def _refuse(scope: Scope, send: Send, refusal: RefusedError) -> None:
    if scope["type"] == "websocket":
        return await send({"type": "websocket.close", "code": 1008})  # before `accept`: status 403
    text = f"Refused: {refusal.reason}: {refusal.advice}\n"
    await _answer(send, refusal.status, text, {b"content-type": b"text/plain; charset=utf-8"})


async def _answer(send: Send, status: int, text: str, headers: dict[bytes, bytes]) -> None:
    body = text.encode()
    length = str(len(body)).encode()
    kept = {**HEADERS, b"cache-control": b"no-store", b"content-length": length, **headers}
    await send({"type": "http.response.start", "status": status, "headers": list(kept.items())})
    await send({"type": "http.response.body", "body": body})


def _add_headers(send: Send, headers: dict[bytes, bytes]) -> Send:
    async def send_with_headers(message: Message) -> None:
        if message["type"] == "http.response.start":
            sent = [pair for pair in message.get("headers", []) if pair[0].lower() not in headers]
            message = {**message, "headers": [*sent, *headers.items()]}
        await send(message)

    return send_with_headers
