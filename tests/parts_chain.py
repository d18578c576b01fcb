"""The commands that need neither TensorFlow nor FiftyOne, one after the other, in one process.

    python tests/parts_chain.py FACES WORKSPACE [BLOCKED...]

In: a folder of drawn faces, a new workspace, modules that no import may find (in an installation
without them: none). Out: exit code 0 if the chain runs to its end and each command that needs an
absent part says so in one line. It imports nothing that a user's short installation lacks.
"""

import contextlib
import io
import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from pathlib import Path

ABSENT = ("tensorflow", "keras", "fiftyone", "pymongo", "matplotlib")
KERAS, FIFTYONE = "Keras with TensorFlow is not installed", "FiftyOne is not installed"
REFUSED = (
    ("curate", "relabel", FIFTYONE),
    ("curate", "export fiftyone {ws}/fo", FIFTYONE),
    ("curate", "demo {ws}/demo", KERAS),
    ("train", "run", KERAS),
    ("train", "oof --models fast", KERAS),
    ("train", "preview", KERAS),
    ("train", "evaluate runs/x", KERAS),
    ("train", "predict x.png --run runs/x", KERAS),
    ("train", "report runs/x", KERAS),
    ("train", "occlude runs/x", KERAS),
    ("train", "saliency runs/x", KERAS),
    ("train", "embed runs/x", KERAS),
    ("train", "export runs/x", KERAS),
)
WITHOUT_WORKSPACE = ("train report", "train export", "curate demo")
CHAIN = (
    "build {faces} -j 1", "inspect -j 1", "dedup -j 1", "fold --k 3", "oof --models hog -j 1",
    "flag", "decide tiny/train/sad/1.png --label fear --by A",
    "decide tiny/train/sad/1.png --drop --by B", "decide tiny/train/sad/1.png --drop --by C",
    "decide --consensus -n", "decide --consensus", "agreement", "log", "dedup -j 1",
    "split --ratios 60 20 20", "weights", "audit", "status", "check", "report",
    "export folder {ws}/out", "export csv {ws}/out.csv", "publish {ws}/published",
    "apply {ws}/published -n",
)  # fmt: skip


class Blocker(MetaPathFinder):
    """Finds no module of these names."""

    def __init__(self, names: Sequence[str]) -> None:
        self.names = frozenset(names)

    def find_spec(self, fullname: str, *_: object) -> None:
        if fullname.partition(".")[0] in self.names:
            raise ModuleNotFoundError(f"No module named {fullname!r}", name=fullname)


def run(program: str, words: Sequence[str]) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of a command."""
    import curate.cli.pipeline
    import train.cli.training

    app = {"curate": curate.cli.pipeline.app, "train": train.cli.training.app}[program]
    out, err = io.StringIO(), io.StringIO()
    code = 0
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            app(list(words), prog_name=program)
        except SystemExit as end:
            code = int(end.code or 0)
    return code, out.getvalue(), err.getvalue()


def believe_labels(root: Path) -> None:
    """A table of predictions by hand, for which no model is trained."""
    import pandas as pd

    rows = pd.read_csv(root / "manifest.csv", dtype=str, keep_default_na=False)
    rows = rows[rows["fold"] != ""]
    table = rows[["path", "fold"]].assign(model="net")
    classes = sorted(set(rows["given_label"]))
    for name in classes:
        is_given = rows["given_label"] == name
        table[f"p_{name}"] = is_given.map({True: 0.7, False: 0.3 / (len(classes) - 1)})
    (root / "predictions").mkdir()
    table.to_csv(root / "predictions" / "net.csv", index=False)


def main(faces: str, root: str, *blocked: str) -> None:
    sys.meta_path.insert(0, Blocker(blocked))
    for command in CHAIN:
        if command.startswith("oof") and blocked:  # ten seconds of CPU
            believe_labels(Path(root))
            continue
        words = command.format(faces=faces, ws=root).split()
        program = "train" if words[0] == "oof" else "curate"
        code, _, err = run(program, [*words, "-w", root])
        assert code == 0, f"{program} {command}: {code}\n{err}"
    before = sorted(Path(root).rglob("*"))
    for program, command, message in REFUSED:
        words = command.format(ws=root).split()
        has_workspace = f"{program} {words[0]}" not in WITHOUT_WORKSPACE
        code, out, err = run(program, [*words, *(["-w", root] if has_workspace else [])])
        assert (code, out, err.count("\n")) == (1, "", 1), f"{program} {command}: {code}\n{err}"
        assert err.startswith(f"{program}: {message}, and this command needs it: `pip install "), (
            err
        )
    assert sorted(Path(root).rglob("*")) == before
    code, out, _ = run("train", ["recipes"])
    assert code == 0
    assert "fernet5" in out
    loaded = {name.partition(".")[0] for name in sys.modules} & set(ABSENT)
    assert not loaded, loaded


if __name__ == "__main__":
    main(*sys.argv[1:])
