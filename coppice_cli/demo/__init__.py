"""The demonstration: the whole loop on real digit scans, with real traffic, on one machine.

What may NOT happen here: telling the loop what to conclude. The demo changes the world (what is
scanned, which candidate is forced) and then only reads the event log, as any onlooker could.
"""
