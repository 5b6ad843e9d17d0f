"""What Innomaint's answers mean, which batches are synced when, and how the sync is doing."""
