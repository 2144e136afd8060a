"""Recording and alert rules for Prometheus; data alone, shared by plain files and the chart.

`recording.yaml` holds what the others and the dashboards build on. Each alert has a page in
docs/runbooks, and tests run every rule over made-up series with promtool.
"""
