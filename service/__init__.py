"""The data plane: it answers.

What may NOT happen here: training, judging, importing torch or evidently or another plane, or
blocking an answer on anything but the local outbox.
"""
