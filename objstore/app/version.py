"""The version that `objstore version`, `/info` and node reports show; a test keeps it equal to pyproject.toml."""

VERSION = "0.1.0"
