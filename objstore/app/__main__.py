"""`python -m objstore.app` is the command `objstore`."""

from objstore.app.cli import main

if __name__ == "__main__":
    main()
