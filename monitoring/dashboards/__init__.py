"""Grafana dashboards: written down in `boards`, laid out by `panels`, kept as JSON beside them.

`python -m monitoring.dashboards monitoring/dashboards` writes the JSON anew; a test fails when it
is stale. Nothing here is imported by the monitor.
"""
