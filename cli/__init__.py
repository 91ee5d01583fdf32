"""The ``ta2n`` command. Thin: it parses, calls a stage, prints; heavy imports stay inside the commands."""

import os


def main() -> None:
    """Runs the command line."""
    # Before torch loads its OpenMP: threads that wait by spinning keep each other from the cores as soon as another
    # program wants one. Measured on two cores with one of them busy: 0.2 training episodes/s spinning, 2.0 sleeping.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    from ta2n.cli.app import main

    main()
