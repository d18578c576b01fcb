"""The record of one review session, and the files of a reviewer's sessions.

`prepare` makes the record, `services` writes it as JSON, and the App's process reads it. The file
outlives a killed session, so that the reviewer's next session can record what was edited in the App
meanwhile.
"""

import contextlib
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from curate.files import shorten_name, write_atomically
from curate.images.decode import hash_picture
from curate.relabel.queue import QueueRow
from curate.stderr import CACHE
from curate.workspace.workspace import Workspace


@dataclass(frozen=True)
class Image:
    """An image of the queue, or a copy of one.

    Attributes
    ----------
    sha256 : of the file's bytes; a decision about the image is bound to it
    given_label : class
    file : absolute path of a picture that a browser can draw
    box : `x y w h` of the face in the picture, in pixels; empty for the whole picture
    is_redundant : whether it is a redundant copy, which follows the decision about its original
    equal_files : how many other paths have the same bytes, as in `Decision`
    """

    sha256: str
    given_label: str
    file: str
    box: str = ""
    is_redundant: bool = False
    equal_files: str = ""


def is_changed(image: Image) -> bool:
    """Whether its file has other bytes now; a missing file has not, nor has a PNG copy of it."""
    file = Path(image.file)
    is_copy = file.stem == image.sha256 and CACHE in file.parts
    if not file.is_file() or is_copy:
        return False
    with contextlib.suppress(OSError):
        return hash_picture(file) != image.sha256
    return False


@dataclass(frozen=True)
class Session:
    """What the program `curate` and the App's process share about one session.

    Attributes
    ----------
    batch : name of the session in the journal; each key is a batch `BATCH.KEY`
    by : the reviewer
    blind : whether the panel hides the opinions of the model, the crowd and other reviewers
    note : the note of each decision: `ADJUDICATED` in a session over disagreements, else empty
    journal : the journal's file
    ready : file that the App's process writes once the images are loaded
    finish : file that the panel's Finish creates
    moved : as in `CurrentDecisions`
    images : path -> image, of the queue and of its copies
    queue : the images in the order of the review
    port : port of the App on 127.0.0.1; 0 until one is chosen
    uri, database : the MongoDB server and the database in it; empty until the server runs
    """

    batch: str
    by: str
    blind: bool
    note: str
    journal: Path
    ready: Path
    finish: Path
    moved: Mapping[tuple[str, str], str]
    images: Mapping[str, Image]
    queue: Sequence[QueueRow]
    port: int = 0
    uri: str = ""
    database: str = ""

    def to_json(self) -> bytes:
        """The record as one JSON object, its keys in the order of the attributes."""
        values = asdict(self)
        for name in ("journal", "ready", "finish"):
            values[name] = str(values[name])
        values["moved"] = [[*line, path] for line, path in self.moved.items()]
        return json.dumps(values).encode()

    @classmethod
    def from_json(cls, data: bytes) -> "Session":
        """The record that `to_json` wrote."""
        values = json.loads(data)
        for name in ("journal", "ready", "finish"):
            values[name] = Path(values[name])
        values["moved"] = {(old, sha256): path for old, sha256, path in values["moved"]}
        values["images"] = {path: Image(**image) for path, image in values["images"].items()}
        values["queue"] = [QueueRow(**row) for row in values["queue"]]
        return cls(**values)


@dataclass(frozen=True)
class SessionFiles:
    """The files of one reviewer's sessions, in a folder of their own in the workspace's cache.

    All of them can be made again, except those of a session that runs or was killed.
    """

    folder: Path

    @property
    def record(self) -> Path:
        """The `Session` as JSON."""
        return self.folder / "sitting.json"

    @property
    def ready(self) -> Path:
        """Written by the App's process once the images are loaded: the name of their collection."""
        return self.folder / "ready.json"

    @property
    def finish(self) -> Path:
        """Created by the panel's Finish."""
        return self.folder / "finish"

    @property
    def database(self) -> Path:
        """mongod's data."""
        return self.folder / "db"

    @property
    def pictures(self) -> Path:
        """PNG copies of the pictures that no browser draws."""
        return self.folder / "pictures"

    @property
    def key(self) -> Path:
        """The secret of the session that runs, for the App's process; of mode 600."""
        return self.folder / "key"

    @property
    def way_in(self) -> Path:
        """A page of mode 600 that leads the browser to the address with the key."""
        return self.folder / "open.html"

    @property
    def log(self) -> Path:
        """Output of the App's process."""
        return self.folder / "app.log"

    @property
    def lock(self) -> Path:
        """Held by a running session."""
        return self.folder / ".lock"


def session_files(workspace: Workspace, by: str) -> SessionFiles:
    """The files of a reviewer: each reviewer has a folder, so several can review one workspace."""
    # A name of any length and any letters has a folder of its own: `R 1` is not `R_1`.
    plain = re.sub(r"[^\w-]", "_", by)
    digest = hashlib.sha256(by.encode(errors="surrogatepass")).hexdigest()[:8]
    name = shorten_name((plain or "_") if plain == by else f"{plain}-{digest}", most_bytes=100)
    return SessionFiles((workspace.cache / "relabel" / name).absolute())


def write_session(file: Path, session: Session) -> None:
    """Write the record for the App's process, and for the next session if this one is killed.

    Nobody else may read it: the address of a database may hold a password.
    """
    write_atomically(file, session.to_json())
    file.chmod(0o600)


def read_session(file: Path) -> Session:
    """The record that `write_session` wrote."""
    return Session.from_json(file.read_bytes())
