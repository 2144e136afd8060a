"""Keep the processes of `coppice up` running: start in order, restart with patience, drain at end.

What may NOT happen here: knowing what the processes do. `up` names them; the rest sees programs.
"""
