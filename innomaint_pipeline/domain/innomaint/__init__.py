"""What Innomaint's answers mean, which batches are synced when, and how the sync is doing."""

SOURCE = "innomaint"
"""The name of this source: of its settings, its leases, its conditions."""
