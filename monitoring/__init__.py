"""The judging plane: events in, verdicts out.

What may NOT happen here: training, moving traffic, writing the routing table or the registry, or
importing torch or another plane.
"""
