"""All that can be said against a release without a cluster: rules, references, schemas."""

from __future__ import annotations

from tests.support import chart, kinds, manifests, manifests_security, references, wiring

RULES = (*manifests.RULES, *wiring.RULES, *manifests_security.RULES)


def faults(found: chart.Release, *, namespace: str = chart.NAMESPACE) -> list[str]:
    """Return a sentence for each fault of a release, on the oldest version that is supported."""
    built_in = [each for each in found.objects if not kinds.is_custom(each)]
    custom = [each for each in found.objects if kinds.is_custom(each)]
    return [
        *(told for rule in RULES for told in rule(found.objects)),
        *references.missing(found.objects, found.values),
        *references.urls(found.objects, namespace),
        *(told for each in built_in for told in kinds.faults_on(kinds.VERSIONS[0], each)),
        *(told for each in custom for told in kinds.of_tools(each)),
    ]
