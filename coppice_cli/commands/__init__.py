"""One module per command or group of commands; each parses, calls one function, shows the result.

What may NOT happen here: importing a heavy library, or a plane, at the top of a module.
"""
