"""`python -m gpuanom`, and the program `gpuanom`."""

import sys


def main() -> None:
    """Run the command line; an interrupt in the tenths of a second that its imports take needs no traceback."""
    try:
        from gpuanom.cli import main as run
    except KeyboardInterrupt:
        sys.stderr.write("interrupted\n")
        sys.exit(130)
    run()


if __name__ == "__main__":
    main()
