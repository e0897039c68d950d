"""`varde`, and `python -m agent`."""

from agent.cli import root


def main() -> None:
    root(prog_name="varde")


if __name__ == "__main__":
    main()
