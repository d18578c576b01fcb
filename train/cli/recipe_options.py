"""Add `--recipe` and one option for each field of a recipe to a command.

The options are added to the command's signature, which Typer reads. The values of the fields reach
the command as its keywords `**fields`, None where an option is not given.
"""

import inspect
from collections.abc import Callable
from dataclasses import Field
from typing import Annotated, Any, Literal

import typer

from train.recipes.presets import FAST, RECIPES
from train.recipes.recipe import (
    ALIASES,
    MASKS,
    MONITORS,
    OPTIMIZERS,
    SCHEDULES,
    SCHEMES,
    TARGETS,
    format_option,
    option_fields,
)

METAVARS = {
    "weights": "none|imagenet|FILE",
    "class_weights": f"[{'|'.join(SCHEMES)}|FILE]",
    "targets": "|".join(TARGETS),
    "optimizer": "|".join(OPTIMIZERS),
    "schedule": "|".join(SCHEDULES),
    "monitor": "|".join(MONITORS),
    "mask": "|".join(MASKS),
    "widths": "N,N...",
    "brightness": "LOW,HIGH",
}


def add_recipe_options(command: Callable[..., None]) -> Callable[..., None]:
    """The command itself, with `recipe` and the fields in its signature.

    Fields that begin with `oof_` are left out: only `train oof` uses them.
    """
    items = [item for item in option_fields() if not item.name.startswith("oof_")]
    added = {"recipe": _recipe_annotation()} | {item.name: _annotate(item) for item in items}
    signature = inspect.signature(command)
    parameters = {
        name: parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY)
        for name, parameter in signature.parameters.items()
        if parameter.kind is not inspect.Parameter.VAR_KEYWORD
    }
    for name, annotation in added.items():
        default = FAST.name if name == "recipe" else None
        parameters[name] = inspect.Parameter(
            name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation
        )
    signature = signature.replace(parameters=list(parameters.values()))
    command.__signature__ = signature  # type: ignore[attr-defined]
    command.__annotations__ = {name: each.annotation for name, each in parameters.items()}
    return command


def _recipe_annotation() -> Any:
    """A choice of the named recipes."""
    about = typer.Option(
        "--recipe", metavar="RECIPE", help="What to train and how; `train recipes` lists them."
    )
    return Annotated[Literal[tuple(RECIPES)], about]


def _annotate(item: Field[Any]) -> Any:
    """Type and help of a field's option; a tuple is given as text with commas."""
    kind = str if isinstance(item.default, tuple) else type(item.default)
    option = f"--{item.name.replace('_', '-')}"
    names = [f"{option}/--no-{option[2:]}"] if kind is bool else [option]
    if item.name in ALIASES:
        names.append(format_option(item.name))
    about = typer.Option(*names, metavar=METAVARS.get(item.name), help=item.metadata["what"])
    return Annotated[kind | None, about]
