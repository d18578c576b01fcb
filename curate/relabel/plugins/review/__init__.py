"""The operators of the review plugin: the panel and the buttons of the grid call them.

They run in the App's process. A request comes in as JSON, the answer goes out as JSON; `save`
records the decisions. FiftyOne imports the `__init__.py` of a plugin and calls its `register`, so
the operators are here. The panel itself is `panel.js`.
"""

import secrets
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

import fiftyone.operators as foo
from fiftyone.operators import types

from curate.labels import VOCABULARY
from curate.relabel.queue import QueueRow
from curate.relabel.save import current_session, current_writer
from curate.relabel.session import Image
from curate.relabel.session_journal import DecisionRequest


class _Hidden(foo.Operator):  # type: ignore[misc]
    """An operator of the panel, not listed in the App's menu."""

    name = ""

    @property
    def config(self) -> foo.OperatorConfig:
        return foo.OperatorConfig(name=self.name, label=self.name.replace("_", " "), unlisted=True)


class ReviewQueue(_Hidden):
    """The images of the session and the state of each."""

    name = "review_queue"

    def execute(self, _ctx: Any) -> dict[str, Any]:
        session, session_journal = current_session(), current_writer().session_journal
        states = session_journal.states()
        return {
            "queue": [asdict(row) for row in session.queue],
            "by": session.by,
            "blind": session.blind,
            "note": session.note,
            "batch": session.batch,
            "images": {path: self._facts(image) for path, image in session.images.items()},
            "classes": list(VOCABULARY),
            "states": {path: asdict(state) for path, state in states.items()},
            "undoable": session_journal.batches(session.by),
        }

    def _facts(self, image: Image) -> dict[str, Any]:
        names = ("file", "box", "given_label", "is_redundant")
        return {name: getattr(image, name) for name in names}


class ReviewDecide(_Hidden):
    """One key that decides."""

    name = "review_decide"

    def execute(self, ctx: Any) -> dict[str, Any]:
        requests = [DecisionRequest(**request) for request in ctx.params["requests"]]
        return current_writer().decide(ctx.params["token"], requests)


class ReviewUndo(_Hidden):
    """The key Z."""

    name = "review_undo"

    def execute(self, ctx: Any) -> dict[str, Any]:
        return current_writer().undo(ctx.params["token"], ctx.params["batch"])


class ReviewFinish(_Hidden):
    """The button that ends the session: the program `curate` waits for the file it creates."""

    name = "review_finish"

    def execute(self, _ctx: Any) -> dict[str, Any]:
        current_session().finish.touch()
        return {"finished": True}


class _OnSelection(foo.Operator):  # type: ignore[misc]
    """A button above the grid that decides about all selected images at once.

    `choose_decision` is the action and label for one of them; an empty action leaves it alone.
    """

    name = ""
    label = ""
    prompts = False
    choose_decision: Callable[[QueueRow, Any], tuple[str, str]]

    @property
    def config(self) -> foo.OperatorConfig:
        return foo.OperatorConfig(name=self.name, label=self.label, dynamic=self.prompts)

    def resolve_placement(self, _ctx: Any) -> types.Placement:
        button = types.Button(label=self.label, prompt=self.prompts)
        return types.Placement(types.Places.SAMPLES_GRID_ACTIONS, button)

    def execute(self, ctx: Any) -> dict[str, Any]:
        samples = list(ctx.dataset.select(ctx.selected)) if ctx.selected else []
        rows = {row.path: row for row in current_session().queue}
        requests = []
        for sample in samples:
            action, label = self.choose_decision(rows[sample.path], ctx)
            if action:
                seen = (sample.label.label, sample.batch)
                requests.append(DecisionRequest(sample.path, action, label, *seen))
        refused: Sequence[str] = []
        if requests:
            token = f"grid-{secrets.token_hex(4)}"
            refused = current_writer().decide(token, requests)["refused"]
        saved = len(requests) - len(refused)
        is_partial = bool(refused) or not saved
        ctx.ops.notify(
            _format_outcome(saved, len(samples), len(refused)),
            variant="warning" if is_partial else "success",
        )
        ctx.ops.reload_samples()
        return {"saved": saved, "refused": refused}


def _format_outcome(saved: int, selected: int, refused: int) -> str:
    if not selected:
        return "Select images first"
    outcome = f"{saved} of {selected} selected images decided"
    return f"{outcome}; {refused} refused: somebody else changed them" if refused else outcome


class AcceptSelected(_OnSelection):
    """The suggestion of each image; one without a suggestion is left alone."""

    name, label = "accept_selected", "Accept"

    def choose_decision(self, row: QueueRow, _ctx: Any) -> tuple[str, str]:
        return ("relabel", row.suggested_label) if row.suggested_label else ("", "")


class KeepSelected(_OnSelection):
    """The given label of each image."""

    name, label = "keep_selected", "Keep"

    def choose_decision(self, _row: QueueRow, _ctx: Any) -> tuple[str, str]:
        return "keep", ""


class DropSelected(_OnSelection):
    """None of the images is of use."""

    name, label = "drop_selected", "Drop"

    def choose_decision(self, _row: QueueRow, _ctx: Any) -> tuple[str, str]:
        return "drop", ""


class SetSelected(_OnSelection):
    """One class for all images."""

    name, label, prompts = "set_selected", "Set label…", True

    def resolve_input(self, ctx: Any) -> types.Property:
        choices = types.RadioGroup()
        for name in VOCABULARY:
            choices.add_choice(name, label=name)
        inputs = types.Object()
        inputs.enum(
            "label",
            choices.values(),
            label=f"Label of {len(ctx.selected)} images",
            required=True,
            view=choices,
        )
        return types.Property(inputs)

    def choose_decision(self, row: QueueRow, ctx: Any) -> tuple[str, str]:
        label = ctx.params["label"]
        return ("keep", "") if label == row.given_label else ("relabel", label)


def register(plugin: Any) -> None:
    """Called by FiftyOne."""
    for operator in (ReviewQueue, ReviewDecide, ReviewUndo, ReviewFinish):
        plugin.register(operator)
    for operator in (AcceptSelected, KeepSelected, DropSelected, SetSelected):
        plugin.register(operator)
