"""The composition root: the only package that imports the planes.

What may NOT happen here: arithmetic, statistics or policy; commands wire the planes and show what
they return.
"""
