"""The Kubernetes API, as thin as the backends need it: get, patch, replace, watch."""
