"""The examination behind `coppice doctor`: small checks, each giving findings with a remedy.

What may NOT happen here: mending anything, or letting one failed check hide the next.
"""
