"""The way into the command line: the command `innomaint`, and `python -m innomaint_pipeline.cli`.

Belongs here: what must stand before the imports, which take a second in which a person may press Ctrl-C.
"""

import os
import signal
from contextlib import suppress


def _end(*_: object) -> None:
    """End at once, as any interrupted command ends: nothing has begun that would have to be cleaned up."""
    with suppress(OSError):
        os.write(2, b"Interrupted; nothing was begun.\n")
    os._exit(130)


def run() -> None:
    """Import the command line and run it; Ctrl-C meanwhile is told in one line."""
    before = signal.getsignal(signal.SIGINT)
    # Not where it is ignored, as in a shell's background.
    is_heard = before is signal.default_int_handler
    if is_heard:
        signal.signal(signal.SIGINT, _end)
    from innomaint_pipeline.cli.main import main

    if is_heard:
        signal.signal(signal.SIGINT, before)
    main()


if __name__ == "__main__":
    run()
