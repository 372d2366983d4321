"""Other people's formats, and our own lines, read into `Example`s; one module a format."""
