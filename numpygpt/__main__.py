"`python -m numpygpt` is the command `numpygpt`"
from .cli import main

if __name__ == "__main__": main()
