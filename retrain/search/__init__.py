"""The search for widths: what each group of channels costs, what it is worth, and what to keep.

`loop` is the flow. `widths`, `estimate`, `front` and `words` are pure rules; `sensitivity`, `table`
and `probes` measure; `store` keeps what was measured, so that nothing is ever measured twice.
"""
