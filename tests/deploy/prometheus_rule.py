"""`make rules`: the alert rules as an object of the Prometheus operator.

Kustomize cannot put one file into another, so the object is a copy; a test compares it with the rules.
"""

from tests.deploy.files import DEPLOY, RULES

OBJECT = DEPLOY / "kubernetes/components/prometheus-operator/prometheusrule.yaml"
HEAD = """\
# Made of deploy/prometheus/rules.yml by `make rules`. A Prometheus may choose rules by a label (release): add it.
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: viewer-consumer
  labels: { app.kubernetes.io/name: viewer-consumer }
spec:
"""


def prometheus_rule() -> str:
    """The text of the object."""
    rules = RULES.read_text(encoding="utf-8")
    groups = rules[rules.index("groups:") :].splitlines()
    return HEAD + "".join(f"  {line}".rstrip() + "\n" for line in groups)


if __name__ == "__main__":
    OBJECT.write_text(prometheus_rule(), encoding="utf-8")
