"`python -m numpygpt` is the command `numpygpt`"
import sys


def main() -> None:
    "The command, with what stops its import told in one line, too"
    try: from .cli import main as command
    except (ValueError, RuntimeError) as error: sys.exit(f"numpygpt: {error}")
    except KeyboardInterrupt: sys.exit(130)
    command()


if __name__ == "__main__": main()
