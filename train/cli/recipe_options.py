"""Every field of a recipe as an option of a command, with the field's own help."""

import functools
import inspect
import itertools
from collections.abc import Callable
from dataclasses import Field
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from train.recipes.recipe import ALIASES, SCHEDULES, SCHEMES, option_fields

METAVARS = {
    "weights": "none|imagenet|FILE",
    "class_weights": f"[{'|'.join(SCHEMES)}|FILE]",
    "optimizer": "muon|adam",
    "schedule": "|".join(SCHEDULES),
    "monitor": "accuracy|loss",
    "mask": "none|forehead|eyes|lower",
    "widths": "N,N...",
    "brightness": "LOW,HIGH",
}
# Options that mean something without a value too: what they then stand for.
ALONE = {"--class-weights": "workspace"}


class RecipeCommand(TyperCommand):
    """A command with an option whose value may be left out."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Give `--class-weights` its value where it stands alone."""
        filled = []
        for word, following in itertools.zip_longest(args, args[1:], fillvalue="-"):
            filled.append(word)
            if word in ALONE and following.startswith("-"):
                filled.append(ALONE[word])
        return super().parse_args(ctx, filled)


def recipe_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add one option per field; the command receives them all as the keyword `fields`, None where not given."""
    items = [
        item for item in option_fields() if not item.name.startswith("oof_")
    ]  # those are for `train oof`
    names = [item.name for item in items]

    @functools.wraps(command)
    def called(**given: Any) -> None:
        command(
            **{name: value for name, value in given.items() if name not in names},
            fields=_pick(given, names),
        )

    signature = inspect.signature(command)
    own = [parameter for name, parameter in signature.parameters.items() if name != "fields"]
    added = [
        inspect.Parameter(
            item.name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=_annotate(item)
        )
        for item in items
    ]
    own = [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in own]
    called.__signature__ = signature.replace(parameters=[*own, *added])  # type: ignore[attr-defined]
    called.__annotations__ = {parameter.name: parameter.annotation for parameter in (*own, *added)}
    return called


def _pick(given: dict[str, Any], names: list[str]) -> dict[str, Any]:
    return {name: given[name] for name in names}


def _annotate(item: Field[Any]) -> Any:
    """The type and help of a field's option; a tuple comes as text with commas."""
    kind = str if isinstance(item.default, tuple) else type(item.default)
    option = f"--{item.name.replace('_', '-')}"
    names = [f"{option}/--no-{option[2:]}"] if kind is bool else [option]
    if item.name in ALIASES:
        names.append(ALIASES[item.name])
    about = typer.Option(*names, metavar=METAVARS.get(item.name), help=item.metadata["what"])
    return Annotated[kind | None, about]
