"""Drawn people: the appearance of a person, and the facial actions of an expression.

`make_person` maps a person's number to the person's appearance, always the same; `choose_actions`
maps an expression to the strength of each facial action. Expressions are mixtures of facial actions
after Ekman and Friesen's FACS (1978); many are weak, or lean towards a neighbouring expression.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

EXPRESSIONS: tuple[str, ...] = ("angry", "disgust", "fear", "happy", "neutral", "sad", "surprise")

# Columns of RECIPES. In FACS: AU1, AU2, AU4, AU5 (below 0: AU7), AU6, AU9, AU10, AU12 (below 0:
# AU15), AU26, AU24, AU20.
ACTIONS = (
    "inner", "outer", "furrow", "lids", "cheeks", "wrinkle", "upper_lip", "corners", "jaw", "press",
    "stretch",
)  # fmt: skip

# Two forms of each expression, mixed anew in every image: anger presses the lips or shouts.
RECIPES = {
    "angry": (
        (0.0, 0.1, 1.0, 0.2, 0.1, 0.2, 0.0, -0.4, 0.0, 1.0, 0.0),
        (0.0, 0.2, 1.0, 0.5, 0.2, 0.4, 0.6, -0.3, 0.6, 0.0, 0.4),
    ),
    "disgust": (
        (0.0, -0.2, 0.6, -0.4, 0.5, 1.0, 0.8, -0.5, 0.0, 0.2, 0.0),
        (0.0, 0.0, 0.5, -0.6, 0.6, 1.0, 1.0, -0.3, 0.4, 0.0, 0.2),
    ),
    "fear": (
        (1.0, 0.3, 0.6, 0.8, 0.0, 0.0, 0.0, -0.3, 0.2, 0.0, 1.0),
        (0.9, 0.5, 0.5, 1.0, 0.0, 0.0, 0.2, -0.2, 0.6, 0.0, 0.7),
    ),
    "happy": (
        (0.1, 0.1, 0.0, -0.1, 0.7, 0.0, 0.0, 1.0, 0.0, 0.1, 0.2),
        (0.2, 0.2, 0.0, -0.3, 1.0, 0.0, 0.3, 1.0, 0.6, 0.0, 0.4),
    ),
    "neutral": (
        (0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0),
        (0.1, 0.1, 0.0, 0.1, 0.0, 0.0, 0.0, 0.1, 0.1, 0.0, 0.0),
    ),
    "sad": (
        (1.0, -0.3, 0.4, -0.3, 0.0, 0.0, 0.0, -0.8, 0.0, 0.2, -0.2),
        (0.8, -0.4, 0.6, -0.6, 0.4, 0.1, 0.2, -1.0, 0.2, 0.0, 0.1),
    ),
    "surprise": (
        (0.9, 1.0, 0.0, 0.6, 0.0, 0.0, 0.0, 0.0, 0.6, 0.0, -0.4),
        (1.0, 1.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.1, 1.1, 0.0, -0.3),
    ),
}

# The expression with which each one is most often confused; images lean towards it by up to LEAN.
NEIGHBOURS = {
    "angry": "disgust",
    "disgust": "angry",
    "fear": "surprise",
    "happy": "neutral",
    "neutral": "sad",
    "sad": "neutral",
    "surprise": "fear",
}
LEAN = 0.2  # a person still recognises it; what nobody can is planted, and recorded as faint


@dataclass(frozen=True)
class Person:
    """What is the same in all images of a person; lengths in half image sides, tones 0-255."""

    width: float
    height: float
    jaw: float
    skin: float
    hair: float
    hairline: float
    hair_style: str
    volume: float
    part: float
    eye_distance: float
    eye_height: float
    eye_size: float
    eye_tilt: float
    iris: float
    brow_height: float
    brow_weight: float
    nose_length: float
    nose_width: float
    mouth_height: float
    mouth_width: float
    lips: float
    beard: str
    glasses: str
    age: float
    rest: Floats  # (11,) actions of the face at rest: some people look stern or sad without reason


def make_person(identity: int) -> Person:
    """The person with this number, always the same."""
    # A stream of its own: the seeds of images count from 0 as well.
    rng = np.random.default_rng([identity, 0xFACE])
    return Person(
        width=rng.uniform(0.56, 0.72),
        height=rng.uniform(0.8, 0.96),
        jaw=rng.uniform(0.0, 0.32),
        skin=rng.uniform(120, 215),
        hair=rng.uniform(15, 120) if rng.random() < 0.75 else rng.uniform(120, 225),
        hairline=rng.uniform(-0.8, -0.5),
        hair_style=pick(rng, bald=0.1, short=0.3, long=0.25, fringe=0.15, curly=0.12, hat=0.08),
        volume=rng.uniform(1.03, 1.22),
        part=rng.uniform(-0.8, 0.8),
        eye_distance=rng.uniform(0.26, 0.33),
        eye_height=rng.uniform(-0.2, -0.08),
        eye_size=rng.uniform(0.145, 0.185),
        eye_tilt=rng.normal(0, 0.1),
        iris=rng.uniform(15, 100),
        brow_height=rng.uniform(0.18, 0.22),
        brow_weight=rng.uniform(0.028, 0.05),
        nose_length=rng.uniform(0.27, 0.37),
        nose_width=rng.uniform(0.09, 0.15),
        mouth_height=rng.uniform(0.42, 0.5),
        mouth_width=rng.uniform(0.26, 0.33),
        lips=rng.uniform(0.03, 0.06),
        beard=pick(rng, none=0.76, moustache=0.07, full=0.1, stubble=0.07),
        glasses=pick(rng, none=0.78, thin=0.12, thick=0.1),
        age=rng.uniform(0.0, 1.0),
        rest=rng.normal(0, 0.08, len(ACTIONS)),
    )


def choose_actions(
    expression: str, person: Person, intensity: float | None, rng: np.random.Generator
) -> dict[str, float]:
    """The strength of each facial action in one image; 0 is at rest, 1 is full strength."""
    drawn, form, lean = 0.5 + 0.5 * rng.beta(2.6, 1.1), rng.random(), LEAN * rng.beta(1, 2)
    first, second = np.array(RECIPES[expression])
    recipe = (1 - form) * first + form * second
    neighbour = np.array(RECIPES[NEIGHBOURS[expression]][0])
    strength = drawn if intensity is None else intensity
    mixed = strength * ((1 - lean) * recipe + lean * neighbour)
    values = mixed + person.rest + rng.normal(0, 0.08, len(ACTIONS))
    return dict(zip(ACTIONS, values.tolist(), strict=True))


def pick(rng: np.random.Generator, **shares: float) -> str:
    """One of the names, each with the probability of its share; the shares sum to 1."""
    return str(rng.choice(list(shares), p=list(shares.values())))
