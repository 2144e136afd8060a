"""The learning plane: a verdict in, a candidate out.

What may NOT happen here: answering requests, judging live traffic, writing the routing table, or
importing another plane.
"""
