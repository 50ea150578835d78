"""A folder of its own: Python puts that of a script first on its path, where our names must not hide others'."""
