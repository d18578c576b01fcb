"""One drawn photograph of one person.

An expression, a person's number and a photograph's number go in, one small grey face comes out. The law: `draw_face` is
a pure function of its arguments, so any worker draws the same bytes in any order.
"""

import cv2
import numpy as np
import numpy.typing as npt

from curate.demo.people import Floats, Person, choose_actions, make_person

Image = npt.NDArray[np.uint8]

SUPERSAMPLING = (
    4  # drawn at four times the size and averaged down: smooth edges without anti-aliased filling
)
SUBPIXEL_BITS = 4  # cv2 takes coordinates in sixteenths of a pixel
STEPS = np.linspace(-1.0, 1.0, 11)  # along a lip or a lid; at 192 pixels no piece is longer than 10
ARC = np.linspace(0.0, 2 * np.pi, 36, endpoint=False)
HEAD_DEPTH = 0.55  # how far the nose tip stands before the ears, in half frames; drives how a turn moves features


def draw_face(
    expression: str, identity: int, seed: int, *, intensity: float | None = None, size: int = 48
) -> Image:
    """One photograph of one person.

    Parameters
    ----------
    expression : one of EXPRESSIONS
    identity : the person, 0 or above
    seed : the photograph (pose, light, background, noise), 0 or above
    intensity : how strongly the expression shows, 0 (not at all) to 1; None draws it, at least half
    size : side of the picture in pixels

    Returns
    -------
    (size, size) uint8 grey, 0-255
    """
    person = make_person(identity)
    rng = np.random.default_rng(seed)
    face = choose_actions(expression, person, intensity, rng)
    sketch = Sketch(size, person, rng)
    draw_background(sketch, rng)
    draw_head(sketch, person, face)
    draw_eyes(sketch, person, face, gaze=rng.normal(0, 0.25))
    draw_brows(sketch, person, face)
    draw_nose(sketch, person, face)
    draw_mouth(sketch, person, face)
    draw_hair(sketch, person)
    draw_glasses(sketch, person)
    return expose(sketch, size, rng)


class Sketch:
    """A canvas that knows where the head stands: parts are given in head coordinates, in half frames.

    Two layers: `tone` holds flat colours, `shadow` the soft folds that darken it once blurred.
    """

    def __init__(self, size: int, person: Person, rng: np.random.Generator) -> None:
        self.side = size * SUPERSAMPLING
        self.tone: Image = np.empty((self.side, self.side), np.uint8)
        self.shadow: Image = np.zeros((self.side // 2, self.side // 2), np.uint8)
        self.inverse_axes = np.array([person.width, person.height]) ** -2.0
        yaw, pitch, roll = rng.normal(
            0, (0.2, 0.1, 0.08)
        )  # radians: faces that a detector for frontal faces finds
        self.zoom = rng.uniform(1.08, 1.3)
        turn = np.array([[np.cos(roll), np.sin(roll)], [-np.sin(roll), np.cos(roll)]])
        self.matrix = self.zoom * np.array([[np.cos(yaw)], [np.cos(pitch)]]) * turn
        self.lean = self.zoom * HEAD_DEPTH * np.array([np.sin(yaw), np.sin(pitch)]) @ turn
        self.centre = rng.normal(0, 0.035, 2) - 0.5 * self.lean

    def place(self, points: Floats, depth: float) -> Floats:
        """Head coordinates (N, 2) to the frame's, -1 to 1; `depth` 1 is on the skin, 0 in the ears' plane."""
        height = depth * np.maximum(1.0 - points**2 @ self.inverse_axes, 0.0)
        placed: Floats = points @ self.matrix + height[:, None] * self.lean + self.centre
        return placed

    def pixels(self, points: Floats, depth: float, side: int) -> npt.NDArray[np.int32]:
        """Head coordinates (N, 2) to cv2's fixed-point pixels (N, 2)."""
        scale = side / 2 * (1 << SUBPIXEL_BITS)
        return ((self.place(points, depth) + 1.0) * scale).astype(np.int32)

    def fill(self, points: Floats, tone: float, depth: float = 1.0) -> None:
        cv2.fillPoly(
            self.tone, [self.pixels(points, depth, self.side)], tone, cv2.LINE_8, SUBPIXEL_BITS
        )

    def stroke(self, points: Floats, tone: float, width: float, *, closed: bool = False) -> None:
        """A line `width` half frames wide, at least one fine pixel."""
        thick = max(1, round(width * self.zoom * self.side / 2))
        pixels = self.pixels(points, 1.0, self.side)
        cv2.polylines(self.tone, [pixels], closed, tone, thick, cv2.LINE_8, SUBPIXEL_BITS)

    def fold(self, points: Floats, strength: float, width: float = 0.03) -> None:
        """A soft crease that takes away up to `strength` (0-1) of the light."""
        if strength < 1 / 255:  # no crease; drawn, it would wipe out the one beneath
            return
        thick = max(1, round(width * self.zoom * self.side / 4))
        pixels = self.pixels(points, 1.0, self.side // 2)
        cv2.polylines(
            self.shadow, [pixels], False, 255 * min(strength, 0.9), thick, cv2.LINE_8, SUBPIXEL_BITS
        )


def draw_background(sketch: Sketch, rng: np.random.Generator) -> None:
    """Out-of-focus surroundings, at times with a hard-edged thing in them."""
    cells = rng.integers(2, 6)
    coarse = rng.normal(rng.uniform(40, 215), rng.uniform(5, 50), (cells, cells)).clip(5, 250)
    sketch.tone[:] = cv2.resize(
        coarse.astype(np.uint8), sketch.tone.shape, interpolation=cv2.INTER_LINEAR
    )
    if rng.random() < 0.5:
        corner, edge = (
            rng.integers(0, sketch.side, 2).tolist(),
            rng.integers(0, sketch.side, 2).tolist(),
        )
        cv2.rectangle(sketch.tone, corner, edge, rng.uniform(10, 245), cv2.FILLED)


def draw_head(sketch: Sketch, person: Person, face: dict[str, float]) -> None:
    """Hair behind, shoulders, neck, ears, skin, beard and the folds of cheek and forehead."""
    if person.hair_style in ("long", "curly"):
        wide, low = (1.22, 1.5) if person.hair_style == "long" else (1.42, 0.75)
        back = head_outline(person, 0.0, 1.0) * (wide, 1.12)
        sketch.fill(np.where(back[:, 1:] > 0, back * (1.0, low), back), person.hair, 0.0)
    sketch.fill(
        oval(0.0, 1.55, 1.1, 0.55), 255 - person.hair, -0.3
    )  # clothes, of any tone: the hair's opposite
    sketch.fill(oval(0.0, 0.95, 0.5 * person.width, 0.4), 0.8 * person.skin, -0.3)
    for side in (-1, 1):
        sketch.fill(oval(side * person.width, 0.02, 0.08, 0.17), 0.85 * person.skin, 0.0)
    outline = head_outline(person, face["jaw"])
    sketch.fill(outline, person.skin, 0.0)
    if person.beard in ("full", "stubble"):
        share = 0.75 if person.beard == "full" else 0.25
        lower = outline[outline[:, 1] > 0.0]
        sketch.fill(
            between(lower, bow(0.0, 0.1, -person.width, 0.35)),
            share * person.hair + (1 - share) * person.skin,
            0.1,
        )
    smile = max(face["corners"], 0.0) + max(face["wrinkle"], 0.0) + max(face["upper_lip"], 0.0)
    for side in (-1, 1):
        cheek = np.array([[0.14, 0.12], [0.24, 0.24], [0.3, 0.42]]) * (side, 1.0)
        sketch.fold(cheek, 0.08 + 0.1 * person.age + 0.2 * smile)
    raised = max(0.5 * (face["inner"] + face["outer"]), 0.0)
    for line in (-0.5, -0.42):
        sketch.fold(bow(0.0, line, 0.3, -0.05), raised * (0.1 + 0.25 * person.age), 0.02)


def draw_eyes(sketch: Sketch, person: Person, face: dict[str, float], *, gaze: float) -> None:
    """Whites, irises and lids; `gaze` is in eye half-widths, 0 straight ahead."""
    width = person.eye_size
    opening = width * max(0.06, 0.48 * (1 + 0.75 * face["lids"] - 0.15 * face["wrinkle"]))
    below = width * max(0.04, 0.38 * (1 + 0.2 * face["lids"] - 0.5 * max(face["cheeks"], 0.0)))
    for side in (-1, 1):
        x, y, tilt = side * person.eye_distance, person.eye_height, side * person.eye_tilt
        upper, lower = bow(x, y, width, -opening, tilt), bow(x, y, width, below, tilt)
        sketch.fold(bow(x, y - 0.04, 1.15 * width, -opening, tilt), 0.25, 0.06)
        sketch.fill(between(upper, lower), min(250.0, 70 + 0.8 * person.skin))
        radius = 0.46 * width
        reach = radius * np.sqrt(1 - STEPS**2)  # the iris is cut off where the lids cover it
        across = radius * STEPS + gaze * 0.5 * width
        room = 1 - (across / width) ** 2
        slope = y + tilt * across
        top, bottom = (
            slope + np.maximum(-reach, -opening * room),
            slope + np.minimum(reach, below * room),
        )
        iris = between(np.stack([x + across, top], axis=1), np.stack([x + across, bottom], axis=1))
        sketch.fill(iris, person.iris)
        sketch.stroke(upper, 0.3 * person.skin, 0.022)
        sketch.stroke(lower, 0.65 * person.skin, 0.012)
        sketch.fold(
            bow(x, y + 0.07 + below, width, 0.03),
            0.08 + 0.1 * person.age + 0.15 * max(face["cheeks"], 0.0),
        )


def draw_brows(sketch: Sketch, person: Person, face: dict[str, float]) -> None:
    tone = 0.75 * person.hair + 0.25 * min(
        person.hair, person.skin - 40
    )  # seen even on fair-haired people
    base = person.eye_height - person.brow_height
    for side in (-1, 1):
        inner = 0.5 * person.eye_distance - 0.04 * face["furrow"]
        outer = person.eye_distance + 1.15 * person.eye_size
        start = base - 0.12 * face["inner"] + 0.12 * face["furrow"] + 0.03 * face["wrinkle"]
        end = base + 0.04 - 0.14 * face["outer"] + 0.02 * face["furrow"]
        x = np.linspace(inner, outer, len(STEPS))
        y = np.linspace(start, end, len(STEPS)) - (0.05 + 0.03 * face["outer"]) * (1 - STEPS**2)
        thick = person.brow_weight * (0.8 - 0.3 * STEPS)  # thinner towards the temple
        brow = between(np.stack([x, y - thick], axis=1), np.stack([x, y + thick], axis=1))
        sketch.fill(brow * (side, 1.0), tone)
        frown = np.array([[0.05, base + 0.02], [0.06, base + 0.16]]) * (side, 1.0)
        sketch.fold(frown, 0.55 * max(face["furrow"], 0.0), 0.03)


def draw_nose(sketch: Sketch, person: Person, face: dict[str, float]) -> None:
    tip = person.eye_height + person.nose_length - 0.04 * face["wrinkle"]
    wide = person.nose_width * (1 + 0.2 * max(face["wrinkle"], 0.0))
    for side in (-1, 1):
        flank = np.array(
            [
                [0.09, person.eye_height],
                [0.06, tip - 0.14],
                [wide, tip - 0.03],
                [0.8 * wide, tip + 0.03],
            ]
        )
        sketch.fold(flank * (side, 1.0), 0.3, 0.03)
        sketch.fill(oval(side * 0.5 * wide, tip + 0.015, 0.035, 0.02), 0.4 * person.skin)
        for line in (0.02, 0.08):
            crease = np.array(
                [[0.02, person.eye_height + line], [0.11, person.eye_height + line - 0.05]]
            )
            sketch.fold(crease * (side, 1.0), 0.6 * max(face["wrinkle"], 0.0), 0.025)
    sketch.fold(bow(0.0, tip + 0.03, 0.8 * wide, 0.02), 0.35, 0.03)


def draw_mouth(sketch: Sketch, person: Person, face: dict[str, float]) -> None:
    """Lips, the opening with its teeth, the creases at the corners; below a moustache if there is one."""
    middle, jaw = person.mouth_height, max(face["jaw"], 0.0)
    half = person.mouth_width * (
        1 + 0.25 * face["corners"] + 0.25 * face["stretch"] - 0.06 * face["press"]
    )
    half *= 1 - 0.2 * jaw
    corner = middle - 0.14 * face["corners"] + 0.05 * jaw
    top = middle - 0.08 * max(face["upper_lip"], 0.0) - 0.01 * jaw - corner
    bottom = max(middle + 0.26 * jaw + 0.03 * max(face["upper_lip"], 0.0) - corner, top)
    lips = person.lips * (1 - 0.75 * min(max(face["press"], 0.0), 1.0))
    tone = 0.72 * person.skin
    sketch.fill(
        between(bow(0, corner, half, top - lips), bow(0, corner, half, bottom + 1.2 * lips)), tone
    )
    upper = bow(0, corner, 0.94 * half, top)
    if bottom - top > 0.03:
        sketch.fill(between(upper, bow(0, corner, 0.94 * half, bottom)), 0.2 * person.skin)
        sketch.fill(
            between(upper, bow(0, corner, 0.94 * half, top + min(0.5 * (bottom - top), 0.08))),
            0.5 * person.skin + 110,
        )
    else:
        sketch.stroke(upper, 0.3 * person.skin, 0.022)
    sketch.fold(bow(0, middle + 0.12 + 0.24 * jaw, 0.5 * half, -0.02), 0.3, 0.04)
    for side in (-1, 1):
        crease = np.array([[half, corner], [half + 0.05, corner + 0.08]]) * (side, 1.0)
        sketch.fold(crease, 0.4 * max(-face["corners"], 0.0), 0.03)
    if person.beard in ("moustache", "full"):
        sketch.fill(
            between(
                bow(0, corner + 0.02, 1.1 * half, top - lips - 0.12),
                bow(0, corner + 0.02, 1.1 * half, top - lips),
            ),
            person.hair,
        )


def draw_hair(sketch: Sketch, person: Person) -> None:
    """What lies over the forehead: hair, a fringe or a hat."""
    if person.hair_style == "bald":
        return
    grow = 1.3 if person.hair_style == "curly" else person.volume
    top = head_outline(person, 0.0, grow)
    top = top[top[:, 1] < -0.28]
    low = {"fringe": -0.42, "hat": -0.5}.get(person.hair_style, person.hairline)
    tilt = 0.0 if person.hair_style == "hat" else 0.3 * person.part
    edge = bow(0.0, -0.3, grow * person.width, low + 0.3, tilt)
    sketch.fill(
        between(top, edge), person.hair if person.hair_style != "hat" else 255 - person.hair, 0.5
    )


def draw_glasses(sketch: Sketch, person: Person) -> None:
    if person.glasses == "none":
        return
    width = 0.02 if person.glasses == "thin" else 0.045
    radius = 0.95 * person.eye_distance - 0.05
    for side in (-1, 1):
        rim = oval(side * person.eye_distance, person.eye_height + 0.02, radius, 0.8 * radius)
        sketch.stroke(rim, 30, width, closed=True)
        temple = np.array(
            [
                [person.eye_distance + radius, person.eye_height],
                [person.width, person.eye_height - 0.04],
            ]
        )
        sketch.stroke(temple * (side, 1.0), 30, width)
    sketch.stroke(bow(0.0, person.eye_height, person.eye_distance - radius, -0.03), 30, width)


def expose(sketch: Sketch, size: int, rng: np.random.Generator) -> Image:
    """The photograph of a sketch: light on the round head, lens blur, contrast, grain."""
    folds = cv2.GaussianBlur(sketch.shadow, (0, 0), size / 40)
    folds = cv2.resize(folds, (size, size), interpolation=cv2.INTER_AREA)
    picture = cv2.resize(sketch.tone, (size, size), interpolation=cv2.INTER_AREA) * (
        1 - folds / 255
    )
    across = np.linspace(-1, 1, size)
    u = (across[None, :] - sketch.centre[0]) / (0.7 * sketch.zoom)
    v = (across[:, None] - sketch.centre[1]) / (0.95 * sketch.zoom)
    side, above = rng.normal(0, 0.2), rng.normal(-0.1, 0.12)
    light = 1 - 0.2 * np.minimum(u**2 + v**2, 1.2) + side * np.tanh(u) + above * np.tanh(v)
    blurred = cv2.GaussianBlur(
        picture * np.clip(light, 0.15, 1.6), (0, 0), size / 48 * rng.uniform(0.25, 0.7)
    )
    graded = (blurred - blurred.mean()) * rng.uniform(0.7, 1.25) + rng.uniform(80, 165)
    grain = rng.standard_normal((size, size)) * rng.uniform(1, 6)
    developed: Image = np.clip(graded + grain, 0, 255).astype(np.uint8)
    return developed


def bow(x: float, y: float, half_width: float, rise: float, tilt: float = 0.0) -> Floats:
    """A parabola through (x, y) +- half_width whose middle stands `rise` below them (y points down)."""
    return np.stack(
        [x + half_width * STEPS, y + rise * (1 - STEPS**2) + tilt * half_width * STEPS], axis=1
    )


def between(upper: Floats, lower: Floats) -> Floats:
    """The outline of the area between two curves that run the same way."""
    return np.concatenate([upper, lower[::-1]])


def oval(x: float, y: float, half_width: float, half_height: float) -> Floats:
    return np.stack([x + half_width * np.cos(ARC), y + half_height * np.sin(ARC)], axis=1)


def head_outline(person: Person, jaw_drop: float, grow: float = 1.0) -> Floats:
    """The face from the front, narrower below by `jaw` and longer by the open mouth."""
    down = np.sin(ARC)
    lower = np.maximum(down, 0.0)
    x = person.width * np.cos(ARC) * (1 - person.jaw * lower**2)
    return grow * np.stack([x, person.height * down + 0.1 * max(jaw_drop, 0.0) * lower], axis=1)
