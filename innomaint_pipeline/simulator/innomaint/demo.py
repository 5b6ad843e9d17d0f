"""The demonstration's script of faults: enough to see every kind of outcome, the same each time.

Belongs here: what goes wrong in the demonstration, and the counts it announces.
"""

from dataclasses import dataclass

from innomaint_pipeline.simulator.dice import build_dice
from innomaint_pipeline.simulator.innomaint.faults import FaultScript, Status
from innomaint_pipeline.simulator.innomaint.world import World

CMMS_ASSETS_PER_BATCH = 100
UNKNOWN_SHARE = 0.013
REQUESTS_PER_BATCH_RUN = 6
"""What one batch run sends at most to a CMMS asset: two passes of three attempts."""

# Where in the report an ailing batch lies, as a share of all batches, and how many of its CMMS assets ail.
_AILING = ((0.2, 3), (0.5, 2), (0.8, 1))
_HICCUP_SHARE = 0.003


@dataclass(frozen=True, slots=True)
class DemoFaults:
    """The script and whom it hits; the three groups hold different serial numbers, each in report order.

    `unknown`: 404 for good. `ailing`: 503 for as many requests as one batch run sends, then healed, so that
    their batches fail once and succeed when repeated; `ailing_batches` numbers those batches from 0, in
    consecutive hundreds. `hiccups`: a single 500, made good by the first repetition.
    """

    script: FaultScript
    unknown: tuple[str, ...]
    ailing: tuple[str, ...]
    ailing_batches: tuple[int, ...]
    hiccups: tuple[str, ...]

    @property
    def counts(self) -> dict[str, int]:
        """How many serial numbers each group holds, and how many batches fail at first."""
        return {
            "unknown": len(self.unknown),
            "ailing": len(self.ailing),
            "ailing_batches": len(self.ailing_batches),
            "hiccups": len(self.hiccups),
        }


def demo_faults(world: World) -> DemoFaults:
    """Return the script for a world; it never hits the first CMMS asset.

    It follows from the world's size and seed. From 300 CMMS assets on 6 are ailing, in 3 batches; smaller
    worlds have fewer batches for them.
    """
    size = len(world)
    dice = build_dice(world.seed, "demo")
    ailing: list[int] = []
    batches: list[int] = []
    full_batches = size // CMMS_ASSETS_PER_BATCH
    for share, count in _AILING:
        batch = int(full_batches * share)
        if batch < full_batches and batch not in batches:
            batches.append(batch)
            # Never the first few of a batch: the first of all answers the vendor's example.
            ailing += dice.sample(
                range(batch * CMMS_ASSETS_PER_BATCH + 5, (batch + 1) * CMMS_ASSETS_PER_BATCH), count
            )
    free = [position for position in range(1, size) if position not in ailing]
    unknown = _spread(free, round(size * UNKNOWN_SHARE), offset=0.5)
    healthy = sorted(set(free) - set(unknown))
    hiccups = _spread(healthy, round(size * _HICCUP_SHARE), offset=0.25)

    script = FaultScript()
    groups = [
        tuple(world.serials[position] for position in sorted(group)) for group in (unknown, ailing, hiccups)
    ]
    for serial in groups[0]:
        script.always(serial, Status(404))
    for serial in groups[1]:
        script.next(serial, *[Status(503)] * REQUESTS_PER_BATCH_RUN)
    for serial in groups[2]:
        script.next(serial, Status(500))
    return DemoFaults(script, groups[0], groups[1], tuple(batches), groups[2])


def _spread(positions: list[int], count: int, *, offset: float) -> list[int]:
    """Choose so many of the positions, evenly spaced."""
    return [positions[int((number + offset) * len(positions) / count)] for number in range(count)]
