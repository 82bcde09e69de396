"""Moving in: pure translators of other supervisors' files into the keys of a whizzifest, one module a format."""
