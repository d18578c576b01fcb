"""The operators of the review plugin: what the panel and the buttons of the grid call in the App's process."""

import secrets
from dataclasses import asdict
from pathlib import Path
from typing import Any

import fiftyone.operators as foo
from fiftyone.operators import types

from curate.labels import VOCABULARY
from curate.relabel.save import current_saver, current_session
from curate.relabel.session_journal import DecisionRequest


class _Hidden(foo.Operator):  # type: ignore[misc]
    """An operator of the panel, not listed for people."""

    name = ""

    @property
    def config(self) -> foo.OperatorConfig:
        return foo.OperatorConfig(name=self.name, label=self.name.replace("_", " "), unlisted=True)


class ReviewQueue(_Hidden):
    """The images of the session and what stands about each."""

    name = "review_queue"

    def execute(self, _ctx: Any) -> dict[str, Any]:
        session, saver = current_session(), current_saver()
        names = ("queue", "by", "blind", "note", "batch")
        images = {
            path: {name: image[name] for name in ("file", "box", "given_label", "is_redundant")}
            for path, image in session["images"].items()
        }
        return {
            **{name: session[name] for name in names},
            "images": images,
            "classes": list(VOCABULARY),
            "states": {
                path: asdict(state) for path, state in saver.session_journal.states().items()
            },
            "undoable": saver.session_journal.batches(session["by"]),
        }


class ReviewDecide(_Hidden):
    """One key."""

    name = "review_decide"

    def execute(self, ctx: Any) -> dict[str, Any]:
        requests = [DecisionRequest(**request) for request in ctx.params["wishes"]]
        return current_saver().decide(ctx.params["token"], requests)


class ReviewUndo(_Hidden):
    """Z."""

    name = "review_undo"

    def execute(self, ctx: Any) -> dict[str, Any]:
        return current_saver().undo(ctx.params["token"], ctx.params["batch"])


class ReviewFinish(_Hidden):
    """The button that ends the session: the program `curate` waits for this file."""

    name = "review_finish"

    def execute(self, _ctx: Any) -> dict[str, Any]:
        Path(current_session()["finish"]).touch()
        return {"finished": True}


class _OnSelection(foo.Operator):  # type: ignore[misc]
    """A button above the grid that decides about all selected images at once."""

    name = ""
    label = ""
    prompts = False

    @property
    def config(self) -> foo.OperatorConfig:
        return foo.OperatorConfig(name=self.name, label=self.label, dynamic=self.prompts)

    def resolve_placement(self, _ctx: Any) -> types.Placement:
        button = types.Button(label=self.label, prompt=self.prompts)
        return types.Placement(types.Places.SAMPLES_GRID_ACTIONS, button)

    def wish_for(self, row: dict[str, Any], ctx: Any) -> tuple[str, str]:
        """The action and label for one selected image."""
        raise NotImplementedError

    def execute(self, ctx: Any) -> dict[str, Any]:
        samples = list(ctx.dataset.select(ctx.selected)) if ctx.selected else []
        rows = {row["path"]: row for row in current_session()["queue"]}
        requests = [
            DecisionRequest(
                sample.path,
                *self.wish_for(rows[sample.path], ctx),
                sample.label.label,
                sample.batch,
            )
            for sample in samples
        ]
        requests = [request for request in requests if request.action]
        answer = (
            current_saver().decide(f"grid-{secrets.token_hex(4)}", requests)
            if requests
            else {"refused": []}
        )
        saved = len(requests) - len(answer["refused"])
        told = (
            f"{saved} of {len(samples)} selected images decided"
            if samples
            else "Select images first"
        )
        refused = (
            f"; {len(answer['refused'])} refused: somebody else changed them"
            if answer["refused"]
            else ""
        )
        ctx.ops.notify(told + refused, variant="warning" if refused or not saved else "success")
        ctx.ops.reload_samples()
        return {"saved": saved, "refused": answer["refused"]}


class AcceptSelected(_OnSelection):
    """The suggestion of each; an image without one is left alone."""

    name, label = "accept_selected", "Accept"

    def wish_for(self, row: dict[str, Any], _ctx: Any) -> tuple[str, str]:
        return ("relabel", row["suggested_label"]) if row["suggested_label"] else ("", "")


class KeepSelected(_OnSelection):
    """The given label of each."""

    name, label = "keep_selected", "Keep"

    def wish_for(self, _row: dict[str, Any], _ctx: Any) -> tuple[str, str]:
        return "keep", ""


class DropSelected(_OnSelection):
    """None of them is of use."""

    name, label = "drop_selected", "Drop"

    def wish_for(self, _row: dict[str, Any], _ctx: Any) -> tuple[str, str]:
        return "drop", ""


class SetSelected(_OnSelection):
    """One class for all."""

    name, label, prompts = "set_selected", "Set label…", True

    def resolve_input(self, ctx: Any) -> types.Property:
        inputs = types.Object()
        view = types.RadioGroup()
        for name in VOCABULARY:
            view.add_choice(name, label=name)
        inputs.enum(
            "label",
            view.values(),
            label=f"Label of {len(ctx.selected)} images",
            required=True,
            view=view,
        )
        return types.Property(inputs)

    def wish_for(self, row: dict[str, Any], ctx: Any) -> tuple[str, str]:
        label = ctx.params["label"]
        return ("keep", "") if label == row["given_label"] else ("relabel", label)


def register(plugin: Any) -> None:
    """Called by FiftyOne."""
    for operator in (ReviewQueue, ReviewDecide, ReviewUndo, ReviewFinish):
        plugin.register(operator)
    for operator in (AcceptSelected, KeepSelected, DropSelected, SetSelected):
        plugin.register(operator)
