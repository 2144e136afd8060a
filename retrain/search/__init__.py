"""The search for chains: which blocks to leave out, what widths to keep, and what it all costs.

`loop` is the flow. `chain`, `widths`, `estimate`, `grid`, `front` and `choice` are rules that
measure nothing; `grounds`, `sensitivity`, `gauge`, `probes` and `final` measure; all findings are
kept, so that nothing is ever measured twice.
"""
