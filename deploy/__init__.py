"""The control plane: candidates and verdicts in, routes out.

What may NOT happen here: judging, training, answering requests, or importing another plane.
"""
