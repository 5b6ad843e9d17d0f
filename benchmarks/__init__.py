"""What the program costs, beside what a user would pick instead: `python -m benchmarks`.

One module measures one thing; `report` prints, `picture` draws, `place` is the ground that all stand on.
"""
