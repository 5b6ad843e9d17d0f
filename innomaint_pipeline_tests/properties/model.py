"""What must become of CMMS assets, in plain Python: a batch run without its mechanics."""

from dataclasses import dataclass, field, replace

from innomaint_pipeline.simulator.innomaint.faults import (
    Fault,
    OddValue,
    OtherSerial,
    Status,
    StatusFalse,
    Truncated,
)

RETRYABLE = {"transient", "rate_limited", "internal"}
FAULTS: dict[str, tuple[Fault, str | None]] = {
    "500": (Status(500), "transient"),
    "truncated": (Truncated(), "transient"),
    "404": (Status(404), "not_found"),
    "422": (Status(422), "data"),
    "status_false": (StatusFalse(), "contract"),
    "other_serial": (OtherSerial(), "contract"),
    "unreadable_value": (OddValue("nul", field="in_charge_person"), None),
}
"""By name: what the simulator plays, and the class that follows; None: synced, without that one value."""

Content = tuple[int, bool]
"""What tells one answer from another: how often the CMMS asset was changed, and whether a value is odd."""


@dataclass
class Asset:
    """A CMMS asset as it must be; `applied` is the content that the tables hold, `pending` one that waits."""

    batch: str
    state: tuple[str, str | None] = ("never", None)
    version: int = 0
    is_due: bool = True
    fault: str | None = None
    changes: int = 0
    applied: Content | None = None
    pending: Content | None = None

    def ask(self) -> None:
        """Ask for it: its answer waits, or it has failed. The newest answer or failure counts alone."""
        error_class = FAULTS[self.fault][1] if self.fault else None
        if error_class is None:
            self.pending = (self.changes, self.fault is not None)
        else:
            self.state, self.is_due, self.pending = ("failed", error_class), False, None

    def enrich(self) -> None:
        """Apply the answer that waits, if there is one."""
        if self.pending is not None:
            self.version += self.pending != self.applied
            self.applied, self.pending = self.pending, None
            self.state, self.is_due = ("synced", None), False

    @property
    def is_retryable(self) -> bool:
        """Whether it failed with a class worth retrying."""
        return self.state[1] in RETRYABLE


@dataclass
class Model:
    """Every CMMS asset of the master by its id, and the batches that a killed run still holds."""

    assets: dict[str, Asset] = field(default_factory=dict)
    leased: set[str] = field(default_factory=set)

    def members(self, batch: str) -> dict[str, Asset]:
        return {name: asset for name, asset in self.assets.items() if asset.batch == batch}

    def after_run(self, batch: str, names: tuple[str, ...], *, is_everything: bool) -> dict[str, Asset]:
        """Return the CMMS assets of a batch as an undisturbed run leaves them."""
        members = {name: replace(asset) for name, asset in self.members(batch).items()}
        chosen = [asset for name, asset in members.items() if not names or name in names]
        for asset in chosen:
            if is_everything or (asset.is_due and asset.pending is None):
                asset.ask()
        for asset in members.values():
            asset.enrich()
        for asset in chosen:
            if asset.is_retryable:
                asset.ask()
                asset.enrich()
        return members
