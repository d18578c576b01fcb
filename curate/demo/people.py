"""Who is photographed and what the face does: a person's looks, and the facial actions of an expression.

A person's number goes in, their looks come out (`make_person`); an expression goes in, the strength of each facial
action comes out (`choose_actions`). Expressions are mixtures of facial actions after Ekman and Friesen's FACS (1978);
many show it by half or lean towards a neighbour. The law: a number always gives the same person.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

EXPRESSIONS: tuple[str, ...] = ("angry", "disgust", "fear", "happy", "neutral", "sad", "surprise")

# Columns of RECIPES. In FACS: AU1, AU2, AU4, AU5 (below 0: AU7), AU6, AU9, AU10, AU12 (below 0: AU15), AU26,
# AU24, AU20
ACTIONS = (
    "inner", "outer", "furrow", "lids", "cheeks", "wrinkle", "upper_lip", "corners", "jaw", "press",
    "stretch",
)  # fmt: skip

# Two ways of showing each expression, mixed anew in every photograph: anger presses the lips or shouts
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

# The expression each one is most often taken for; a photograph leans towards it by up to LEAN
NEIGHBOURS = {
    "angry": "disgust", "disgust": "angry", "fear": "surprise", "happy": "neutral", "neutral": "sad",
    "sad": "neutral", "surprise": "fear",
}  # fmt: skip
LEAN = 0.2  # a person could still tell: what nobody can is planted, and recorded as faint


@dataclass(frozen=True)
class Person:
    """What stays the same from photograph to photograph; lengths in half frames, tones 0-255."""

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
    rest: (
        Floats  # (11,) actions of the face at rest: some people look stern or sad without being so
    )


def make_person(identity: int) -> Person:
    """The looks of one person, always the same for the same number."""
    rng = np.random.default_rng(
        [identity, 0xFACE]
    )  # a stream of its own: photo seeds count from 0 as well
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
    """What each part of the face does in this photograph; 0 is at rest, 1 is full strength."""
    drawn, way, lean = 0.5 + 0.5 * rng.beta(2.6, 1.1), rng.random(), LEAN * rng.beta(1, 2)
    recipe = (1 - way) * np.array(RECIPES[expression][0]) + way * np.array(RECIPES[expression][1])
    neighbour = np.array(RECIPES[NEIGHBOURS[expression]][0])
    strength = drawn if intensity is None else intensity
    mixed = strength * ((1 - lean) * recipe + lean * neighbour)
    values = mixed + person.rest + rng.normal(0, 0.08, len(ACTIONS))
    return dict(zip(ACTIONS, values.tolist(), strict=True))


def pick(rng: np.random.Generator, **shares: float) -> str:
    """One of the names, each as often as its share says; the shares sum to 1."""
    return str(rng.choice(list(shares), p=list(shares.values())))
