"""The actions: what each class does to the people who stand there, as curves over the phase of the action.

A script receives one idle `Motion` a person and a `Take`, and bends the motion. Side 0 is the acting side; performances
by the other hand are mirrored afterwards. Classes differ in how the body moves: not in tempo or size, not in left and
right, not in one pose alone.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np

from shards.sources.synthetic.body import Motion
from shards.sources.synthetic.take import Take


@dataclasses.dataclass(frozen=True, kw_only=True)
class Action:
    """One class: its name, how long it takes in seconds at tempo 1, how many people, and its script."""

    name: str
    seconds: tuple[float, float]
    script: Callable[[list[Motion], Take], None]
    people: int = 1


def _toward(channel: np.ndarray, weight: np.ndarray, goal: np.ndarray | list[float] | float) -> None:
    """Blend a channel (T, ...) in place towards `goal`, all the way where `weight` (T,) is 1."""
    channel += weight.reshape(-1, *[1] * (channel.ndim - 1)) * (np.asarray(goal) - channel)


def _place(*axes: np.ndarray | float) -> np.ndarray:
    """Curves and constants to one (T, 3) array."""
    return np.stack(np.broadcast_arrays(*axes), -1)


def _repeats(take: Take, low: int, high: int) -> np.ndarray:
    """(T,) phase within each repetition, 0 to 1, of an action done `low` to `high` times in a row."""
    count = take.count(low, high)
    return np.clip(take.phase * count, 0.0, count - 1e-9) % 1.0


def wave(people: list[Motion], take: Take) -> None:
    (me,) = people
    up = take.over(0.0, 0.2, 0.8, 1.0)
    side = take.swing(take.count(2, 4), 0.12, 0.9) * take.vigour
    height = take.draw(0.05, 0.55)
    _toward(me.hands[:, 0], up, _place(0.35 + 0.28 * side, height - 0.08 * side**2, 0.45))
    _toward(me.elbows[:, 0], up, take.draw(0.4, 0.9))
    me.wrists[:, 0] += 0.3 * up * side
    me.spine[:, 1] -= 0.06 * up * side + 0.05 * up
    me.pelvis[:, 0] += 0.02 * up * side
    me.head[:, 1] += 0.08 * up * side


def drink(people: list[Motion], take: Take) -> None:
    (me,) = people
    up = take.over(0.0, 0.3, 0.7, 1.0)
    sip = take.over(0.28, 0.45, 0.6, 0.75)
    _toward(me.hands[:, 0], up, _place(-0.22, 0.22 + 0.10 * sip, 0.42 - 0.06 * sip))
    _toward(me.elbows[:, 0], up, 0.35 + 0.5 * sip)
    me.wrists[:, 0] += 0.6 * sip
    me.head[:, 0] += 0.15 * up - 0.60 * sip * take.vigour
    me.spine[:, 0] -= 0.12 * sip


def throw(people: list[Motion], take: Take) -> None:
    (me,) = people
    back = take.over(0.0, 0.35, 0.42, 0.55)
    out = take.over(0.42, 0.58, 0.64, 0.85)
    through = take.over(0.58, 0.74, 0.80, 1.0)
    _toward(me.hands[:, 0], back, [0.35, take.draw(0.1, 0.5), -0.30])
    _toward(me.hands[:, 0], out, [0.05, take.draw(0.1, 0.4), 0.90 * take.vigour])
    _toward(me.hands[:, 0], through, [-0.45, -0.45, 0.60])
    _toward(me.hands[:, 1], back, [0.25, -0.15, 0.75])
    _toward(me.elbows[:, 0], back + out, 1.2)
    me.spine[:, 2] += (-0.55 * back + 0.45 * out + 0.5 * through) * take.vigour
    me.spine[:, 0] += -0.15 * back + 0.25 * out + 0.30 * through
    me.pelvis[:, 2] += -0.08 * back + 0.10 * (out + through)
    _step(me, 1, take.over(0.30, 0.50, 0.80, 1.0), 0.25)


def point(people: list[Motion], take: Take) -> None:
    (me,) = people
    out = take.over(0.0, 0.3, 0.7, 1.0)
    aim, rise = take.draw(-0.35, 0.5), take.draw(-0.15, 0.45)
    _toward(me.hands[:, 0], out, [aim, rise, 0.93])
    me.spine[:, 2] += 0.22 * out * take.vigour
    me.spine[:, 0] += 0.06 * out
    me.head[:, 2] -= 0.25 * out * aim
    me.pelvis[:, 2] += 0.03 * out


def kick(people: list[Motion], take: Take) -> None:
    (me,) = people
    back = take.over(0.0, 0.25, 0.35, 0.5)
    out = take.over(0.33, 0.52, 0.58, 0.90)
    height = take.draw(0.2, 0.5) * take.vigour
    _toward(me.feet[:, 0], back, [0.02, 0.18, -0.42])
    _toward(me.feet[:, 0], out, [0.0, height, 0.80])
    me.toes[:, 0] += 0.7 * back + 0.2 * out
    me.pelvis[:, 0] += 0.10 * (back + out)
    me.tilt[:, 0] += 0.12 * back - 0.22 * out
    me.spine[:, 0] += 0.10 * back - 0.15 * out
    me.spine[:, 2] += -0.2 * back + 0.3 * out
    _toward(me.hands[:, 1], 0.8 * out, [0.3, -0.5, 0.5])
    _toward(me.hands[:, 0], 0.8 * out, [0.4, -0.7, -0.3])


def squat(people: list[Motion], take: Take) -> None:
    (me,) = people
    cycle = _repeats(take, 1, 3)
    down = np.sin(np.pi * cycle) ** 2 * min(take.vigour, 1.15)
    _crouch(me, 0.48 * down)
    reach = take.draw(0.0, 1.0) * down
    _toward(me.hands[:, 0], reach, [0.0, -0.10, 0.90])
    _toward(me.hands[:, 1], reach, [0.0, -0.10, 0.90])


def jump(people: list[Motion], take: Take) -> None:
    (me,) = people
    cycle = _repeats(take, 1, 3)
    dip = np.exp(-0.5 * ((cycle - 0.28) / 0.11) ** 2) + 0.7 * np.exp(-0.5 * ((cycle - 0.82) / 0.08) ** 2)
    flight = np.clip((cycle - 0.42) / 0.32, 0.0, 1.0)
    air = 4 * flight * (1 - flight)
    me.base[:, 1] += take.draw(0.14, 0.30) * take.vigour * air
    _crouch(me, 0.26 * dip)
    me.toes += 0.8 * air[:, None]
    arms = take.draw(0.4, 0.9)
    for side in (0, 1):
        _toward(me.hands[:, side], 0.8 * np.minimum(dip, 1.0), [0.2, -0.80, -0.35])
        _toward(me.hands[:, side], arms * air, [0.25, 0.45, 0.55])


def clap(people: list[Motion], take: Take) -> None:
    (me,) = people
    up = take.over(0.0, 0.18, 0.82, 1.0)
    apart = 0.5 + 0.5 * take.swing(take.count(3, 5), 0.12, 0.9)
    height, width = take.draw(-0.35, 0.15), 0.40 * take.vigour
    for side in (0, 1):
        _toward(me.hands[:, side], up, _place(-0.30 + width * apart, height, 0.55 - 0.1 * apart))
        _toward(me.elbows[:, side], up, 0.7)
    me.spine[:, 0] += 0.05 * up * (1 - apart)


def sit_down(people: list[Motion], take: Take) -> None:
    _seat(people[0], take, take.rise(0.15, 0.85), take.over(0.05, 0.45, 0.6, 1.0))


def stand_up(people: list[Motion], take: Take) -> None:
    _seat(people[0], take, 1 - take.rise(0.20, 0.85), take.over(0.0, 0.35, 0.5, 0.9))


def bow(people: list[Motion], take: Take) -> None:
    (me,) = people
    down = take.over(0.0, 0.4, 0.6, 1.0) * take.vigour
    me.tilt[:, 0] += 0.55 * down
    me.spine[:, 0] += 0.45 * down
    me.head[:, 0] += 0.25 * down
    me.pelvis[:, 2] -= 0.12 * down
    together = take.draw(0.0, 0.8) * np.minimum(down, 1.0)
    for side in (0, 1):
        _toward(me.hands[:, side], together, [-0.15, -0.80, 0.25])


def pick_up(people: list[Motion], take: Take) -> None:
    (me,) = people
    down = take.over(0.0, 0.38, 0.45, 0.85)
    carry = take.over(0.48, 0.85, 0.93, 1.0)
    _crouch(me, take.draw(0.18, 0.38) * down)
    me.tilt[:, 0] += 0.45 * down
    me.spine[:, 0] += 0.35 * down
    _toward(me.hands[:, 0], down, [take.draw(-0.1, 0.2), -0.93, 0.35])
    _toward(me.hands[:, 0], 0.9 * carry, [-0.15, -0.30, 0.55])
    me.spine[:, 2] += 0.25 * down


def walk(people: list[Motion], take: Take) -> None:
    (me,) = people
    on = take.over(0.0, 0.12, 0.88, 1.0)
    stride = take.swing(0.5 * take.count(4, 7))
    height = take.draw(0.16, 0.32) * take.vigour
    for side, lift in enumerate((np.maximum(stride, 0), np.maximum(-stride, 0))):
        me.feet[:, side, 1] += height * on * lift
        me.feet[:, side, 2] += 0.10 * on * lift
        me.toes[:, side] += 0.5 * on * lift
        forward = -stride if side == 0 else stride
        _toward(me.hands[:, side], on, _place(0.14, -0.85, 0.10 + 0.40 * take.vigour * forward))
    me.pelvis[:, 0] += 0.03 * on * stride
    me.pelvis[:, 1] += 0.02 * on * np.abs(stride)
    me.spine[:, 2] -= 0.10 * on * stride


def turn(people: list[Motion], take: Take) -> None:
    (me,) = people
    me.heading += np.pi * take.draw(0.7, 1.2) * take.rise(0.05, 0.95)
    me.head[:, 2] += 0.4 * take.over(0.0, 0.2, 0.5, 0.9)
    stride = take.swing(1.5, 0.05, 0.95)
    me.feet[:, 0, 1] += 0.10 * np.maximum(stride, 0) ** 2
    me.feet[:, 1, 1] += 0.10 * np.maximum(-stride, 0) ** 2
    me.pelvis[:, 0] += 0.04 * stride
    for side in (0, 1):
        _toward(me.hands[:, side], take.over(0.1, 0.4, 0.6, 0.9), [0.25, -0.85, 0.10])


def handshake(people: list[Motion], take: Take) -> None:
    _face(people, take, gap=take.draw(0.85, 1.0))
    shake = take.swing(take.count(2, 4), 0.28, 0.78)
    for me in people:
        out = take.over(take.draw(0.0, 0.08), 0.28, 0.75, take.draw(0.92, 1.0))
        _toward(me.hands[:, 0], out, _place(-0.30, -0.28 + 0.13 * shake * take.vigour, 0.68))
        me.spine[:, 0] += 0.10 * out
        me.spine[:, 2] += 0.12 * out
        me.head[:, 0] += 0.15 * out * np.abs(shake)


def push(people: list[Motion], take: Take) -> None:
    _face(people, take, gap=take.draw(0.75, 0.9))
    me, other = people
    back = take.over(0.0, 0.22, 0.26, 0.38)
    out = take.over(0.24, 0.40, 0.50, 0.75)
    hit = take.rise(0.38, 0.70)
    for side in (0, 1):
        _toward(me.hands[:, side], back, [0.10, -0.20, 0.25])
        _toward(me.hands[:, side], out, [-0.08, -0.02, 0.92])
    me.spine[:, 0] += -0.08 * back + 0.25 * out * take.vigour
    me.pelvis[:, 2] += 0.12 * out
    _step(me, 0, take.over(0.2, 0.38, 0.6, 0.95), 0.2)
    other.base[:, 2] -= np.cos(other.heading) * 0.45 * take.vigour * hit
    other.base[:, 0] -= np.sin(other.heading) * 0.45 * take.vigour * hit
    stagger = take.swing(1.0, 0.40, 0.75)
    other.feet[:, 0, 1] += 0.12 * np.maximum(stagger, 0)
    other.feet[:, 1, 1] += 0.12 * np.maximum(-stagger, 0)
    reel = take.over(0.36, 0.46, 0.55, 0.9)
    other.spine[:, 0] -= 0.25 * reel
    other.head[:, 0] += 0.3 * reel
    for side in (0, 1):
        _toward(other.hands[:, side], 0.8 * reel, [0.35, -0.45, 0.55])


def _crouch(me: Motion, depth: np.ndarray) -> None:
    """Lower the pelvis by `depth` leg lengths with the trunk kept over the feet."""
    me.pelvis[:, 1] -= depth
    me.pelvis[:, 2] -= 0.45 * depth
    me.tilt[:, 0] += 0.9 * depth
    me.spine[:, 0] += 0.3 * depth


def _seat(me: Motion, take: Take, seated: np.ndarray, lean: np.ndarray) -> None:
    depth = take.draw(0.42, 0.55)
    me.pelvis[:, 1] -= depth * seated
    me.pelvis[:, 2] -= 0.55 * seated
    me.tilt[:, 0] += -0.12 * seated + 0.30 * lean
    me.spine[:, 0] += 0.30 * lean * take.vigour
    rest = [take.draw(-0.1, 0.15), take.draw(-0.75, -0.6), take.draw(0.25, 0.55)]
    for side in (0, 1):
        _toward(me.hands[:, side], 0.9 * seated, rest)


def _step(me: Motion, side: int, out: np.ndarray, length: float) -> None:
    """One foot goes `length` leg lengths forward, lifted on its way."""
    me.feet[:, side, 2] += length * out
    me.feet[:, side, 1] += 0.4 * length * 4 * out * (1 - out)


def _face(people: list[Motion], take: Take, gap: float) -> None:
    """Two people face each other across `gap` metres, the first one towards +z."""
    for me, place, heading in zip(people, (-0.5, 0.5), (0.0, np.pi), strict=True):
        me.base[:, 2] += place * gap
        me.heading += heading + take.draw(-0.12, 0.12)


ACTIONS = (
    Action(name="wave", seconds=(1.25, 1.95), script=wave),
    Action(name="drink", seconds=(1.25, 1.95), script=drink),
    Action(name="throw", seconds=(1.0, 1.5), script=throw),
    Action(name="point", seconds=(1.05, 1.75), script=point),
    Action(name="kick", seconds=(1.0, 1.5), script=kick),
    Action(name="squat", seconds=(1.3, 2.1), script=squat),
    Action(name="jump", seconds=(1.05, 1.95), script=jump),
    Action(name="clap", seconds=(1.15, 1.85), script=clap),
    Action(name="sit down", seconds=(1.0, 1.6), script=sit_down),
    Action(name="stand up", seconds=(1.0, 1.6), script=stand_up),
    Action(name="bow", seconds=(1.15, 1.85), script=bow),
    Action(name="pick up", seconds=(1.15, 1.85), script=pick_up),
    Action(name="walk in place", seconds=(1.3, 2.1), script=walk),
    Action(name="turn around", seconds=(1.25, 1.95), script=turn),
    Action(name="shake hands", seconds=(1.25, 1.95), script=handshake, people=2),
    Action(name="push", seconds=(1.0, 1.5), script=push, people=2),
)
"""Class A001 is the first, and so on."""
