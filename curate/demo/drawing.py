"""Drawing one image of one person's face.

Comes in: an expression, the person's number, a seed. Goes out: one small grey face. `draw_face` is
a pure function of its arguments, so every worker draws the same bytes in any order.
"""

import cv2
import numpy as np
import numpy.typing as npt

from curate.demo.people import Floats, Person, choose_actions, make_person

Image = npt.NDArray[np.uint8]

# Drawn at four times the size and averaged: smooth edges without anti-aliased filling.
SUPERSAMPLING = 4
SUBPIXEL_BITS = 4  # cv2 coordinates in sixteenths of a pixel
STEPS = np.linspace(-1.0, 1.0, 11)  # along a lip or a lid; at 192 pixels no piece is longer than 10
ARC = np.linspace(0.0, 2 * np.pi, 36, endpoint=False)
# Distance of the nose tip from the plane of the ears, in half image sides: how much a turn of the
# head moves the features.
HEAD_DEPTH = 0.55


def draw_face(
    expression: str, identity: int, seed: int, *, intensity: float | None = None, size: int = 48
) -> Image:
    """One image of one person.

    Parameters
    ----------
    expression : one of EXPRESSIONS
    identity : the person, 0 or above
    seed : of pose, light, background and noise, 0 or above
    intensity : strength of the expression, 0 (none) to 1; None draws it, at least 0.5
    size : side of the image in pixels

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
    """A canvas that draws in head coordinates, whose unit is half the side of the image.

    Attributes
    ----------
    tone : (side, side) uint8, flat grey tones
    shadow : (side / 2, side / 2) uint8, soft folds that darken `tone` after a blur
    """

    def __init__(self, size: int, person: Person, rng: np.random.Generator) -> None:
        self.side = size * SUPERSAMPLING
        self.tone: Image = np.empty((self.side, self.side), np.uint8)
        self.shadow: Image = np.zeros((self.side // 2, self.side // 2), np.uint8)
        self.inverse_axes = np.array([person.width, person.height]) ** -2.0
        # Radians: a detector of frontal faces still finds them.
        yaw, pitch, roll = rng.normal(0, (0.2, 0.1, 0.08))
        self.zoom = rng.uniform(1.08, 1.3)
        turn = np.array([[np.cos(roll), np.sin(roll)], [-np.sin(roll), np.cos(roll)]])
        self.matrix = self.zoom * np.array([[np.cos(yaw)], [np.cos(pitch)]]) * turn
        self.lean = self.zoom * HEAD_DEPTH * np.array([np.sin(yaw), np.sin(pitch)]) @ turn
        self.centre = rng.normal(0, 0.035, 2) - 0.5 * self.lean

    def place(self, points: Floats, depth: float) -> Floats:
        """Head coordinates (N, 2) to image coordinates, -1 to 1.

        `depth` is 1 on the skin and 0 in the plane of the ears.
        """
        height = depth * np.maximum(1.0 - points**2 @ self.inverse_axes, 0.0)
        placed: Floats = points @ self.matrix + height[:, None] * self.lean + self.centre
        return placed

    def pixels(self, points: Floats, depth: float, side: int) -> npt.NDArray[np.int32]:
        """Head coordinates (N, 2) to cv2's fixed-point pixels (N, 2)."""
        scale = side / 2 * (1 << SUBPIXEL_BITS)
        return ((self.place(points, depth) + 1.0) * scale).astype(np.int32)

    def fill(self, points: Floats, tone: float, depth: float = 1.0) -> None:
        pixels = self.pixels(points, depth, self.side)
        cv2.fillPoly(self.tone, [pixels], tone, cv2.LINE_8, SUBPIXEL_BITS)

    def stroke(self, points: Floats, tone: float, width: float, *, closed: bool = False) -> None:
        """A line of `width` half image sides, at least one pixel of the canvas."""
        thick = max(1, round(width * self.zoom * self.side / 2))
        pixels = self.pixels(points, 1.0, self.side)
        cv2.polylines(self.tone, [pixels], closed, tone, thick, cv2.LINE_8, SUBPIXEL_BITS)

    def fold(self, points: Floats, strength: float, width: float = 0.03) -> None:
        """A soft crease that removes up to `strength` (0-1) of the light."""
        if strength < 1 / 255:  # drawn, it would erase the fold below
            return
        thick = max(1, round(width * self.zoom * self.side / 4))
        pixels = self.pixels(points, 1.0, self.side // 2)
        dark = 255 * min(strength, 0.9)
        cv2.polylines(self.shadow, [pixels], False, dark, thick, cv2.LINE_8, SUBPIXEL_BITS)


def draw_background(sketch: Sketch, rng: np.random.Generator) -> None:
    """Surroundings out of focus, in half of the images with a hard-edged rectangle."""
    cells = rng.integers(2, 6)
    coarse = rng.normal(rng.uniform(40, 215), rng.uniform(5, 50), (cells, cells)).clip(5, 250)
    tones = coarse.astype(np.uint8)
    sketch.tone[:] = cv2.resize(tones, sketch.tone.shape, interpolation=cv2.INTER_LINEAR)
    if rng.random() < 0.5:
        corner = rng.integers(0, sketch.side, 2).tolist()
        opposite = rng.integers(0, sketch.side, 2).tolist()
        cv2.rectangle(sketch.tone, corner, opposite, rng.uniform(10, 245), cv2.FILLED)


def draw_head(sketch: Sketch, person: Person, face: dict[str, float]) -> None:
    """Hair behind, shoulders, neck, ears, skin, beard, and the folds of cheeks and forehead."""
    if person.hair_style in ("long", "curly"):
        wide, low = (1.22, 1.5) if person.hair_style == "long" else (1.42, 0.75)
        back = head_outline(person, 0.0, 1.0) * (wide, 1.12)
        sketch.fill(np.where(back[:, 1:] > 0, back * (1.0, low), back), person.hair, 0.0)
    # Clothes, of any tone: the inverse of the hair's.
    sketch.fill(oval(0.0, 1.55, 1.1, 0.55), 255 - person.hair, -0.3)
    sketch.fill(oval(0.0, 0.95, 0.5 * person.width, 0.4), 0.8 * person.skin, -0.3)
    for side in (-1, 1):
        sketch.fill(oval(side * person.width, 0.02, 0.08, 0.17), 0.85 * person.skin, 0.0)
    outline = head_outline(person, face["jaw"])
    sketch.fill(outline, person.skin, 0.0)
    if person.beard in ("full", "stubble"):
        share = 0.75 if person.beard == "full" else 0.25
        lower = outline[outline[:, 1] > 0.0]
        beard = between(lower, bow(0.0, 0.1, -person.width, 0.35))
        sketch.fill(beard, share * person.hair + (1 - share) * person.skin, 0.1)
    smile = max(face["corners"], 0.0) + max(face["wrinkle"], 0.0) + max(face["upper_lip"], 0.0)
    for side in (-1, 1):
        cheek = np.array([[0.14, 0.12], [0.24, 0.24], [0.3, 0.42]]) * (side, 1.0)
        sketch.fold(cheek, 0.08 + 0.1 * person.age + 0.2 * smile)
    raised = max(0.5 * (face["inner"] + face["outer"]), 0.0)
    for line in (-0.5, -0.42):
        sketch.fold(bow(0.0, line, 0.3, -0.05), raised * (0.1 + 0.25 * person.age), 0.02)


def draw_eyes(sketch: Sketch, person: Person, face: dict[str, float], *, gaze: float) -> None:
    """Whites, irises and lids; `gaze` is in half widths of the eye, 0 straight ahead."""
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
        top = slope + np.maximum(-reach, -opening * room)
        bottom = slope + np.minimum(reach, below * room)
        iris = between(np.stack([x + across, top], axis=1), np.stack([x + across, bottom], axis=1))
        sketch.fill(iris, person.iris)
        sketch.stroke(upper, 0.3 * person.skin, 0.022)
        sketch.stroke(lower, 0.65 * person.skin, 0.012)
        bag = 0.08 + 0.1 * person.age + 0.15 * max(face["cheeks"], 0.0)
        sketch.fold(bow(x, y + 0.07 + below, width, 0.03), bag)


def draw_brows(sketch: Sketch, person: Person, face: dict[str, float]) -> None:
    visible = min(person.hair, person.skin - 40)  # darker than the skin even with fair hair
    tone = 0.75 * person.hair + 0.25 * visible
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
        above = [[0.09, person.eye_height], [0.06, tip - 0.14]]
        below = [[wide, tip - 0.03], [0.8 * wide, tip + 0.03]]
        flank = np.array(above + below)
        sketch.fold(flank * (side, 1.0), 0.3, 0.03)
        sketch.fill(oval(side * 0.5 * wide, tip + 0.015, 0.035, 0.02), 0.4 * person.skin)
        for line in (0.02, 0.08):
            y = person.eye_height + line
            crease = np.array([[0.02, y], [0.11, y - 0.05]])
            sketch.fold(crease * (side, 1.0), 0.6 * max(face["wrinkle"], 0.0), 0.025)
    sketch.fold(bow(0.0, tip + 0.03, 0.8 * wide, 0.02), 0.35, 0.03)


def draw_mouth(sketch: Sketch, person: Person, face: dict[str, float]) -> None:
    """Lips, the opening with its teeth, the creases at the corners, and a moustache over them."""
    middle, jaw = person.mouth_height, max(face["jaw"], 0.0)
    widening = 1 + 0.25 * face["corners"] + 0.25 * face["stretch"] - 0.06 * face["press"]
    half = person.mouth_width * widening
    half *= 1 - 0.2 * jaw
    corner = middle - 0.14 * face["corners"] + 0.05 * jaw
    top = middle - 0.08 * max(face["upper_lip"], 0.0) - 0.01 * jaw - corner
    bottom = max(middle + 0.26 * jaw + 0.03 * max(face["upper_lip"], 0.0) - corner, top)
    lips = person.lips * (1 - 0.75 * min(max(face["press"], 0.0), 1.0))
    upper_edge, lower_edge = top - lips, bottom + 1.2 * lips
    outline = between(bow(0, corner, half, upper_edge), bow(0, corner, half, lower_edge))
    sketch.fill(outline, 0.72 * person.skin)
    upper = bow(0, corner, 0.94 * half, top)
    if bottom - top > 0.03:
        sketch.fill(between(upper, bow(0, corner, 0.94 * half, bottom)), 0.2 * person.skin)
        teeth = bow(0, corner, 0.94 * half, top + min(0.5 * (bottom - top), 0.08))
        sketch.fill(between(upper, teeth), 0.5 * person.skin + 110)
    else:
        sketch.stroke(upper, 0.3 * person.skin, 0.022)
    sketch.fold(bow(0, middle + 0.12 + 0.24 * jaw, 0.5 * half, -0.02), 0.3, 0.04)
    for side in (-1, 1):
        crease = np.array([[half, corner], [half + 0.05, corner + 0.08]]) * (side, 1.0)
        sketch.fold(crease, 0.4 * max(-face["corners"], 0.0), 0.03)
    if person.beard in ("moustache", "full"):
        above = bow(0, corner + 0.02, 1.1 * half, upper_edge - 0.12)
        below = bow(0, corner + 0.02, 1.1 * half, upper_edge)
        sketch.fill(between(above, below), person.hair)


def draw_hair(sketch: Sketch, person: Person) -> None:
    """Hair, fringe or hat over the forehead."""
    if person.hair_style == "bald":
        return
    grow = 1.3 if person.hair_style == "curly" else person.volume
    top = head_outline(person, 0.0, grow)
    top = top[top[:, 1] < -0.28]
    low = {"fringe": -0.42, "hat": -0.5}.get(person.hair_style, person.hairline)
    tilt = 0.0 if person.hair_style == "hat" else 0.3 * person.part
    edge = bow(0.0, -0.3, grow * person.width, low + 0.3, tilt)
    tone = 255 - person.hair if person.hair_style == "hat" else person.hair
    sketch.fill(between(top, edge), tone, 0.5)


def draw_glasses(sketch: Sketch, person: Person) -> None:
    if person.glasses == "none":
        return
    width = 0.02 if person.glasses == "thin" else 0.045
    radius = 0.95 * person.eye_distance - 0.05
    for side in (-1, 1):
        rim = oval(side * person.eye_distance, person.eye_height + 0.02, radius, 0.8 * radius)
        sketch.stroke(rim, 30, width, closed=True)
        hinge = [person.eye_distance + radius, person.eye_height]
        temple = np.array([hinge, [person.width, person.eye_height - 0.04]])
        sketch.stroke(temple * (side, 1.0), 30, width)
    sketch.stroke(bow(0.0, person.eye_height, person.eye_distance - radius, -0.03), 30, width)


def expose(sketch: Sketch, size: int, rng: np.random.Generator) -> Image:
    """The sketch as a camera sees it: light on the round head, lens blur, contrast, grain.

    Returns
    -------
    (size, size) uint8 grey, 0-255
    """
    folds = cv2.GaussianBlur(sketch.shadow, (0, 0), size / 40)
    folds = cv2.resize(folds, (size, size), interpolation=cv2.INTER_AREA)
    tones = cv2.resize(sketch.tone, (size, size), interpolation=cv2.INTER_AREA)
    picture = tones * (1 - folds / 255)
    across = np.linspace(-1, 1, size)
    u = (across[None, :] - sketch.centre[0]) / (0.7 * sketch.zoom)
    v = (across[:, None] - sketch.centre[1]) / (0.95 * sketch.zoom)
    side, above = rng.normal(0, 0.2), rng.normal(-0.1, 0.12)
    light = 1 - 0.2 * np.minimum(u**2 + v**2, 1.2) + side * np.tanh(u) + above * np.tanh(v)
    lit = picture * np.clip(light, 0.15, 1.6)
    blurred = cv2.GaussianBlur(lit, (0, 0), size / 48 * rng.uniform(0.25, 0.7))
    graded = (blurred - blurred.mean()) * rng.uniform(0.7, 1.25) + rng.uniform(80, 165)
    grain = rng.standard_normal((size, size)) * rng.uniform(1, 6)
    developed: Image = np.clip(graded + grain, 0, 255).astype(np.uint8)
    return developed


def bow(x: float, y: float, half_width: float, rise: float, tilt: float = 0.0) -> Floats:
    """A parabola from x - half_width to x + half_width; its middle is `rise` below (x, y).

    y points down; `tilt` is the slope of the line through both ends.
    """
    along = y + rise * (1 - STEPS**2) + tilt * half_width * STEPS
    return np.stack([x + half_width * STEPS, along], axis=1)


def between(upper: Floats, lower: Floats) -> Floats:
    """The outline of the area between two curves with the same direction."""
    return np.concatenate([upper, lower[::-1]])


def oval(x: float, y: float, half_width: float, half_height: float) -> Floats:
    return np.stack([x + half_width * np.cos(ARC), y + half_height * np.sin(ARC)], axis=1)


def head_outline(person: Person, jaw_drop: float, grow: float = 1.0) -> Floats:
    """The outline of the face from the front.

    It is narrower below by `person.jaw`, and longer by the open mouth (`jaw_drop`).
    """
    down = np.sin(ARC)
    lower = np.maximum(down, 0.0)
    x = person.width * np.cos(ARC) * (1 - person.jaw * lower**2)
    return grow * np.stack([x, person.height * down + 0.1 * max(jaw_drop, 0.0) * lower], axis=1)
