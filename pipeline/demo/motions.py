"""The classes of the demo's clips: what one or two copies of a shape do between rest and rest."""

from typing import NamedTuple


class Pose(NamedTuple):
    """One copy of the shape: its offset in frame widths (y down), factors of its size, clockwise turn in degrees."""

    x: float = 0.0
    y: float = 0.0
    wide: float = 1.0
    tall: float = 1.0
    turn: float = 0.0

    def towards(self, other: "Pose", part: float) -> "Pose":
        """Go `part` of the way: offsets and turns evenly, sizes by equal factors in equal time."""
        near, far = 1 - part, part
        return Pose(
            x=near * self.x + far * other.x,
            y=near * self.y + far * other.y,
            wide=self.wide**near * other.wide**far,
            tall=self.tall**near * other.tall**far,
            turn=near * self.turn + far * other.turn,
        )


Motion = tuple[tuple[Pose, ...], ...]
"""One track for each copy of the shape: the poses it goes through, from rest and back to rest."""

REST = Pose()
LEFT, RIGHT, UP, DOWN = Pose(x=-0.33), Pose(x=0.33), Pose(y=-0.33), Pose(y=0.33)
UP_LEFT, DOWN_RIGHT = Pose(x=-0.28, y=-0.28), Pose(x=0.28, y=0.28)
BIG, SMALL = Pose(wide=2.4, tall=2.4), Pose(wide=0.35, tall=0.35)
WIDE, TALL = Pose(wide=2.2, tall=0.5), Pose(wide=0.5, tall=2.2)
CLOCKWISE, ANTICLOCKWISE = Pose(turn=100), Pose(turn=-100)

# Every action starts and ends at rest, so that only what happens between tells the class. Each split has pairs with the
# same poses in another order, which no mean over time can tell apart; without them there would be nothing to align.
MOTIONS: dict[str, dict[str, Motion]] = {
    "train": {
        "up-then-down": ((UP, DOWN),),
        "down-then-up": ((DOWN, UP),),
        "wide-then-tall": ((WIDE, TALL),),
        "tall-then-wide": ((TALL, WIDE),),
        "big-then-small": ((BIG, SMALL),),
        "small-then-big": ((SMALL, BIG),),
        "turn-clockwise": ((CLOCKWISE, CLOCKWISE),),
        "turn-anticlockwise": ((ANTICLOCKWISE, ANTICLOCKWISE),),
        "left": ((LEFT, LEFT),),
        "part-up-and-down": ((UP, UP), (DOWN, DOWN)),
    },
    "val": {
        "right-then-up": ((RIGHT, UP),),
        "up-then-right": ((UP, RIGHT),),
        "wide": ((WIDE, WIDE),),
        "tall": ((TALL, TALL),),
        "part-diagonally": ((UP_LEFT, UP_LEFT), (DOWN_RIGHT, DOWN_RIGHT)),
    },
    "test": {
        "left-then-right": ((LEFT, RIGHT),),
        "right-then-left": ((RIGHT, LEFT),),
        "big": ((BIG, BIG),),
        "small": ((SMALL, SMALL),),
        "part-left-and-right": ((LEFT, LEFT), (RIGHT, RIGHT)),
    },
}


def pose_at(track: tuple[Pose, ...], progress: float) -> Pose:
    """Where a track is at a progress in [0, 1]; each leg takes an equal share and slows down at both ends."""
    stops = (REST, *track, REST)
    leg, part = divmod(progress * (len(stops) - 1), 1)
    if leg == len(stops) - 1:
        return REST
    return stops[int(leg)].towards(stops[int(leg) + 1], part * part * (3 - 2 * part))
