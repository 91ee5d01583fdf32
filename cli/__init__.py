"""The ``ta2n`` command. Thin: it parses, calls a stage, prints; heavy imports stay inside the commands."""


def main() -> None:
    """Runs the command line."""
    from ta2n.cli.process import prepare_process

    prepare_process()
    from ta2n.cli.app import main

    main()
