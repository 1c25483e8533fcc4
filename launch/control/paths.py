"""Files and directories that a command line names."""
import argparse
import pathlib


def given_path(text):
    """An empty text, as of a script's variable that is not set, would be the current directory."""
    if not text:
        raise argparse.ArgumentTypeError("is empty; it must be a path")
    return pathlib.Path(text)
