"""The vocabulary of the embedded model: the words for each property of a clip.

How the properties look is defined in `train`.
"""

import random
import re
from collections.abc import Iterable, Mapping

NOUNS: Mapping[str, tuple[str, ...]] = {
    "ball": ("ball", "ball", "ball", "sphere", "circle", "disc", "orb"),
    "box": ("box", "square", "cube", "block"),
    "triangle": ("triangle", "triangle", "pyramid", "wedge"),
    "star": ("star", "star", "star", "starlet"),
    "cross": ("cross", "cross", "plus", "plus sign"),
    "ring": ("ring", "ring", "hoop", "donut", "doughnut"),
}
COLOURS: Mapping[str, tuple[str, ...]] = {
    "red": ("red", "red", "red", "crimson", "scarlet"),
    "orange": ("orange", "orange", "orange", "tangerine"),
    "yellow": ("yellow", "yellow", "yellow", "golden", "lemon"),
    "green": ("green", "green", "green", "emerald"),
    "cyan": ("cyan", "cyan", "turquoise", "teal", "aqua"),
    "blue": ("blue", "blue", "blue", "azure", "navy"),
    "purple": ("purple", "purple", "violet", "lilac"),
    "pink": ("pink", "pink", "rose", "magenta"),
}
SIZES: Mapping[str, tuple[str, ...]] = {
    "small": ("small", "small", "little", "tiny"),
    "medium": ("medium", "medium-sized", "mid-sized"),
    "large": ("large", "big", "huge", "giant"),
}
SCENES: Mapping[str, tuple[str, ...]] = {
    "studio": (
        "in a studio", "in the studio", "on a grey background", "in front of a plain wall",
        "in a grey room", "on a gray background", "indoors",
    ),
    "meadow": (
        "on a meadow", "in a meadow", "on grass", "on the grass", "in the grass", "in a field",
        "on a lawn", "in a park",
    ),
    "desert": (
        "in the desert", "in a desert", "on sand", "on the sand", "over the dunes", "on a beach",
        "at the beach",
    ),
    "night": (
        "at night", "in the dark", "in the night", "under a night sky", "after dark",
        "in the moonlight", "at midnight",
    ),
    "snow": (
        "in the snow", "on snow", "over the snow", "in winter", "on ice", "on the ice",
        "in a snowy landscape",
    ),
}  # fmt: skip

# Phrases with the same words as their opposites: the small text encoder hardly reads word order, so
# the tokenizer replaces them by simpler ones.
ORDERED: Mapping[str, str] = {
    "from (the )?left to (the )?right": "to the right",
    "from (the )?right to (the )?left": "to the left",
    "from (the )?bottom to (the )?top": "upwards",
    "from (the )?top to (the )?bottom": "downwards",
}

_GOES = (
    ("moves", "moving"), ("rolls", "rolling"), ("slides", "sliding"), ("glides", "gliding"),
    ("goes", "going"), ("drifts", "drifting"), ("flies", "flying"), ("travels", "travelling"),
    ("runs", "running"), ("floats", "floating"),
)  # fmt: skip
_RIGHT = ("to the right", "right", "rightwards", "rightward", "from left to right")
_LEFT = ("to the left", "left", "leftwards", "leftward", "from right to left")
_UP = ("up", "upwards", "upward", "to the top", "from bottom to top")
_DOWN = ("down", "downwards", "downward", "to the bottom", "from top to bottom")
_CIRCLE = ("in a circle", "in circles", "around", "around in a circle", "round and round")
_SWAY = ("from side to side", "back and forth", "left and right", "to and fro")


def _with_goes(ways: Iterable[str]) -> tuple[tuple[str, str], ...]:
    return tuple((f"{goes} {way}", f"{going} {way}") for way in ways for goes, going in _GOES)


# Every phrase twice: after a subject ("rolls to the right"), and behind it ("rolling ...").
MOTIONS: Mapping[str, tuple[tuple[str, str], ...]] = {
    "right": _with_goes(_RIGHT),
    "left": _with_goes(_LEFT),
    "up": (
        *_with_goes(_UP), *(("rises", "rising"), ("climbs", "climbing"), ("ascends", "ascending"),
        ("rises up", "rising up"), ("lifts off", "lifting off")) * 5,
    ),
    "down": (
        *_with_goes(_DOWN), *(("falls", "falling"), ("drops", "dropping"), ("sinks", "sinking"),
        ("falls down", "falling down"), ("descends", "descending")) * 5,
    ),
    "bounce": (
        ("bounces", "bouncing"), ("bounces", "bouncing"), ("jumps", "jumping"),
        ("hops", "hopping"), ("bounces up and down", "bouncing up and down"),
        ("jumps up and down", "jumping up and down"), ("moves up and down", "moving up and down"),
    ),
    "circle": (
        *_with_goes(_CIRCLE), *(("circles", "circling"), ("orbits", "orbiting"),
        ("circles around", "circling around")) * 8,
    ),
    "sway": (
        *_with_goes(_SWAY), *(("sways", "swaying"), ("swings", "swinging"),
        ("oscillates", "oscillating"), ("wobbles", "wobbling")) * 8,
    ),
    "grow": (
        ("grows", "growing"), ("grows", "growing"), ("expands", "expanding"),
        ("swells", "swelling"), ("gets bigger", "getting bigger"),
        ("gets larger", "getting larger"), ("becomes bigger", "becoming bigger"),
    ),
    "shrink": (
        ("shrinks", "shrinking"), ("shrinks", "shrinking"), ("contracts", "contracting"),
        ("gets smaller", "getting smaller"), ("becomes smaller", "becoming smaller"),
        ("dwindles", "dwindling"),
    ),
    "still": (
        ("stands still", "standing still"), ("stays still", "staying still"),
        ("does not move", "not moving"), ("rests", "resting"), ("stays in place", "at rest"),
        ("keeps still", "motionless"), ("stands", "standing"),
    ),
}  # fmt: skip
_FILLERS = (
    "a video of", "a clip of", "please show", "an animation of", "a cinematic shot of",
    "show me", "there is", "we see", "a beautiful", "slowly", "quickly", "smoothly", "very",
    "which", "that is", "is", "and", "the", "an", "it", "while", "high quality", "nice", "clip",
    "video", "scene", "one", "single", "coloured", "colored", "shiny", "with", "of", "its",
)  # fmt: skip


def describe(
    *,
    colour: str,
    shape: str,
    motion: str,
    scene: str,
    size: str,
    rng: random.Random,
    skip: float = 0.0,
) -> str:
    """Return a prompt for a clip, in one of many wordings.

    Args:
        colour: A key of `COLOURS`; the others likewise.
        shape: What moves.
        motion: How it moves.
        scene: Where.
        size: How large it is.
        rng: Chooses words and order.
        skip: Probability that a property goes unsaid (the size three times as often).
    """
    said = lambda text, often=1.0: "" if rng.random() < skip * often else text  # noqa: E731
    paint = said(rng.choice(COLOURS[colour]))
    noun = said(rng.choice(NOUNS[shape])) or "object"
    moves, moving = rng.choice(MOTIONS[motion]) if rng.random() >= skip else ("", "")
    where = said(rng.choice(SCENES[scene]), 2.0)
    big = said(rng.choice(SIZES[size]), 3.0)
    article = rng.choice(("a", "a", "the", "one", ""))
    thing = f"{article} {big} {paint} {noun}"
    plain = f"{article} {noun} that is {big} {paint}" if paint else thing
    parts = [f"{big} {paint} {noun}", moving, where]
    rng.shuffle(parts)
    orders = (
        f"{thing} {moves} {where}",
        f"{thing} {moves} {where}",
        f"{thing} {moving} {where}",
        f"{where}, {thing} {moves}",
        f"{where} {thing} is {moving}",
        f"{moving} {where}: {thing}",
        f"{plain} {moves} {where}",
        f"{thing} {where} {moves}",
        ", ".join(parts),
        f"{paint} {big} {noun} {moves} {where}",
    )
    text = rng.choice(orders)
    if rng.random() < 0.2:
        text = f"{rng.choice(_FILLERS)} {text}"
    return " ".join(text.replace(" ,", ",").split())


def split(text: str) -> list[str]:
    """Return the words of a text as the tokenizer reads them: lower case, without punctuation."""
    return re.findall(r"[a-z0-9]+", text.lower())


def vocabulary() -> tuple[str, ...]:
    """Return every word that the model knows, sorted."""
    tables = (NOUNS, COLOURS, SIZES, SCENES)
    phrases = [phrase for table in tables for row in table.values() for phrase in row]
    phrases += [phrase for row in MOTIONS.values() for pair in row for phrase in pair]
    phrases += [*_FILLERS, "a", "the", "one", "object", "that is"]
    return tuple(sorted({word for phrase in phrases for word in split(phrase)}))


def unknown_words(prompt: str) -> tuple[str, ...]:
    """Return the words of a prompt that the model does not know, in order, each once."""
    known = set(vocabulary())
    return tuple(dict.fromkeys(word for word in split(prompt) if word not in known))


def notices(prompt: str) -> tuple[str, ...]:
    """Return the warnings for a prompt: its unknown words, and words that are known."""
    unknown = unknown_words(prompt)
    if not unknown:
        return ()
    colours, shapes = ", ".join(COLOURS), ", ".join(NOUNS)
    return (
        f"the embedded model does not know {', '.join(map(repr, unknown))}; it knows colours "
        f"({colours}), shapes ({shapes}), motions (to the right, up, bounces, circles, sways, "
        f"grows, shrinks, stands still ...) and scenes (studio, meadow, desert, night, snow)",
    )
