"""What the command lines share: an error is one line, unless --debug asks for the traceback."""

from __future__ import annotations

import argparse
import sys

from edge_emotion.errors import EdgeEmotionError


def run_command(options: argparse.Namespace, *, on_interrupt: str = "") -> int:
    """Call ``options.command(options)``; its exit code, that of its error, or 130 after Ctrl-C."""
    try:
        return int(options.command(options) or 0)
    except KeyboardInterrupt:
        if on_interrupt:
            print(on_interrupt, file=sys.stderr)
        return 130
    except BrokenPipeError:
        # The reader of our output is gone (| head): nothing to say, and nobody to say it to.
        sys.stderr.close()
        return 0
    except EdgeEmotionError as error:
        if options.debug:
            raise
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
