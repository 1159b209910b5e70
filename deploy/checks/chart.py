"""The Helm chart: linted, rendered for every set of values and several versions of Kubernetes, validated, and refused."""

import copy
import functools
import json
import math
import pathlib
import re
import shutil
import tempfile
import tomllib
import urllib.parse

import helm_python as helm
import kubernetes_validate
import yaml
from helm_python import _native

KUBERNETES = ["1.31", "1.33", "1.36"]
NAMESPACE = "iot"
# Groups whose schemas Kubernetes does not ship: what has to be in each, and nothing else at the top of its spec.
CUSTOM = {
    "ServiceMonitor": ({"selector", "endpoints"}, {"namespaceSelector"}),
    "PrometheusRule": ({"groups"}, set()),
    "ScaledObject": ({"scaleTargetRef", "triggers", "minReplicaCount", "maxReplicaCount"},
                     {"pollingInterval", "cooldownPeriod", "fallback", "advanced"}),
}
# Values that must be refused, and a word of the reason.
REFUSED = [
    ({"config": {"stream": {"name": ""}}}, "config.stream.name must be set"),
    ({"config": {"bucket": {"name": ""}}}, "config.bucket.name must be set"),
    ({"config": {"schema": {"use": ""}}}, "config.schema.use or eventSchema must be set"),
    ({"eventSchema": "x = 1"}, "choose one"),
    ({"eventSchema": "# " + "x" * 210_000, "config": {"schema": {"use": ""}}}, "204800 are left"),
    ({"clusterDomain": ""}, "clusterDomain"),
    ({"networkPolicy": {"dnsCidrs": ["dns"]}}, "dnsCidrs"),
    ({"nodeLostSeconds": -1}, "nodeLostSeconds"),
    ({"config": {"epoch": {"age_maximum": "1s"}}}, "age_maximum"),
    ({"config": {"epochs": {}}}, "epochs"),
    ({"config": {"ops": {"bind": "0.0.0.0:1"}}}, "bind"),
    ({"config": {"worker": {"id": "one"}}}, "id"),
    ({"config": {"epoch": {"partitions_max": "many"}}}, "partitions_max"),
    ({"replicas": -1}, "replicas"),
    ({"replica": 3}, "replica"),
    ({"image": {"tag": "latest"}}, "tag"),
    ({"image": {"digest": "sha256:1234"}}, "digest"),
    ({"autoscaling": {"hpa": {"enabled": True}, "keda": {"enabled": True}}}, "work against each other"),
    ({"autoscaling": {"minReplicas": 5, "maxReplicas": 2}}, "below autoscaling.minReplicas"),
    ({"aws": {"identity": "irsa"}}, "aws.roleArn must name the role"),
    ({"aws": {"identity": "irsa", "roleArn": "mangrove"}}, "roleArn"),
    ({"aws": {"roleArn": "arn:aws:iam::123456789012:role/mangrove"}}, "is for aws.identity irsa"),
    ({"aws": {"identity": "keys"}}, "identity"),
    ({"terminationGracePeriodSeconds": 25}, "killed before they release their leases"),
    ({"terminationGracePeriodSeconds": 32, "preStopSeconds": 3}, "killed before they release their leases"),
    ({"config": {"worker": {"drain_timeout": "2m"}}, "terminationGracePeriodSeconds": 120}, "need 125"),
    ({"config": {"worker": {"memory_budget": "2GiB"}}}, "needs at least 2301 MiB"),
    ({"resources": {"limits": {"memory": "300Mi"}}}, "needs at least 381 MiB"),
    ({"config": {"sensors": {"live_max": 150000}}}, "live sensors"),
    ({"resources": {"limits": {"memory": "plenty"}}}, "memory"),
    ({"podDisruptionBudget": {"maxUnavailable": 3}}, "protects nothing"),
    ({"secrets": [{"env": "MANGROVE_ALERTS__WEBHOOKS", "value": "https://..."}]}, "value"),
    ({"ops": {"port": 80}}, "port"),
    ({"networkPolicy": {"httpsCidrs": ["everywhere"]}}, "httpsCidrs"),
    ({"serviceMonitor": {"interval": "15"}}, "interval"),
]


def path(root):
    return root / "deploy/k8s/mangrove"


def value_sets(root):
    files = sorted(path(root).glob("ci/*-values.yaml")) + [path(root) / "values-production.yaml"]
    return {file.name: yaml.safe_load(file.read_text()) for file in files}


def render(root, values, version=KUBERNETES[-1], name="r"):
    chart = helm.Chart.load(str(path(root)))
    options = {"name": name, "namespace": NAMESPACE, "kube_version": f"v{version}.0"}
    texts = _native.call_string("helm_render", chart._raw(), json.dumps(values), json.dumps(options))
    texts = json.loads(texts) if isinstance(texts, str) else texts
    found = []
    for template, text in texts.items():
        if not template.endswith(".txt"):
            found += [document for document in yaml.safe_load_all(text) if document]
    return found


def one(documents, kind):
    return next((document for document in documents if document["kind"] == kind), None)


def pod_specs(documents):
    for document in documents:
        if document["kind"] == "Pod":
            yield document["metadata"], document["spec"]
        elif "template" in document.get("spec", {}):
            yield document["spec"]["template"]["metadata"], document["spec"]["template"]["spec"]


def matches(selector, labels):
    return all(labels.get(key) == value for key, value in selector.items())


def lints(root):
    problems = []
    for name, values in value_sets(root).items():
        found = helm.lint(str(path(root)), values, strict=True, kube_version=f"v{KUBERNETES[0]}.0")
        # 1 is information: the missing icon.
        problems += [f"{name}: {message}" for message in found["messages"] if message["severity"] >= 2]
        problems += [f"{name}: {error}" for error in found["errors"] or []]
    return problems


def validates(root):
    problems = []
    for name, values in value_sets(root).items():
        for version in KUBERNETES:
            for document in render(root, values, version):
                label = f"{name}, {version}, {document['kind']} {document['metadata']['name']}"
                if document["kind"] in CUSTOM:
                    required, optional = CUSTOM[document["kind"]]
                    keys = set(document["spec"])
                    if not required <= keys <= required | optional:
                        problems.append(f"{label}: its spec has {sorted(keys)}")
                    continue
                try:
                    kubernetes_validate.validate(document, version, strict=True)
                except kubernetes_validate.ValidationError as error:
                    problems.append(f"{label}: {error.message} at {'.'.join(map(str, error.path))}")
    return problems


def is_restricted(root):
    """The restricted pod security standard, for every pod, tests too."""
    problems = []
    for name, values in value_sets(root).items():
        for metadata, spec in pod_specs(render(root, values)):
            pod = spec.get("securityContext", {})
            label = f"{name}, pod {metadata.get('name', 'template')}"
            if pod.get("runAsNonRoot") is not True or pod.get("runAsUser", 0) == 0:
                problems.append(f"{label} may run as root")
            if pod.get("seccompProfile", {}).get("type") != "RuntimeDefault":
                problems.append(f"{label} has no seccomp profile")
            if spec.get("automountServiceAccountToken") is not False:
                problems.append(f"{label} mounts a token that it does not need")
            for what in ("hostNetwork", "hostPID", "hostIPC"):
                if spec.get(what):
                    problems.append(f"{label} uses {what}")
            volumes = {kind for volume in spec.get("volumes", []) for kind in volume if kind != "name"}
            if not volumes <= {"configMap", "secret", "emptyDir", "projected", "downwardAPI"}:
                problems.append(f"{label} mounts {sorted(volumes)}")
            for container in spec.get("initContainers", []) + spec["containers"]:
                own = container.get("securityContext", {})
                wanted = {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}}
                if own != wanted:
                    problems.append(f"{label}, container {container['name']} is not restricted: {own}")
                resources = container.get("resources", {})
                if "memory" not in resources.get("limits", {}) or "cpu" not in resources.get("requests", {}):
                    problems.append(f"{label}, container {container['name']} lacks a memory limit or a processor request")
                if re.search(r":latest$|^[^:@]+$", container["image"]):
                    problems.append(f"{label} runs {container['image']}: whatever that is today")
    return problems


def fits_together(root):
    """Selectors, ports, names, the grace period: what no schema sees."""
    problems = []
    for name, values in value_sets(root).items():
        documents = render(root, values)
        said = functools.partial(lambda name, text: problems.append(f"{name}: {text}"), name)
        deployment = one(documents, "Deployment")
        template = deployment["spec"]["template"]
        labels, container = template["metadata"]["labels"], template["spec"]["containers"][0]
        ports = {port["name"] for port in container["ports"]}

        names = [(document["kind"], document["metadata"]["name"]) for document in documents]
        for kind, own in names:
            if len(own) > 63:
                said(f"the name {own} is too long")
            if names.count((kind, own)) > 1:
                said(f"two {kind} are called {own}")
        for document in documents:
            # The extra one of the values is what its author wrote.
            if document["kind"] != "ConfigMap" and document["metadata"].get("namespace") != NAMESPACE:
                said(f"{document['kind']} is in no namespace")
        selectors = {
            "Deployment": deployment["spec"]["selector"]["matchLabels"],
            "Service": one(documents, "Service")["spec"]["selector"],
        }
        for kind in ("PodDisruptionBudget", "NetworkPolicy"):
            if document := one(documents, kind):
                spec = document["spec"]
                selectors[kind] = spec.get("podSelector", spec.get("selector", {}))["matchLabels"]
        for kind, selector in selectors.items():
            if not selector or not matches(selector, labels):
                said(f"the {kind} does not select the workers")
        test = one(documents, "Pod")
        if matches(selectors["Service"], test["metadata"]["labels"]):
            said("the Service selects the test")
        if policy := one(documents, "NetworkPolicy"):
            allowed = [source["podSelector"]["matchLabels"] for rule in policy["spec"]["ingress"] for source in rule["from"] if "podSelector" in source]
            if not any(matches(selector, test["metadata"]["labels"]) for selector in allowed):
                said("the NetworkPolicy keeps the test out")
            if not any("namespaceSelector" in source for rule in policy["spec"]["ingress"] for source in rule["from"]):
                said("the NetworkPolicy keeps the scrapes out")
        if monitor := one(documents, "ServiceMonitor"):
            if not matches(monitor["spec"]["selector"]["matchLabels"], one(documents, "Service")["metadata"]["labels"]):
                said("the ServiceMonitor does not select the Service")
            if any(endpoint["port"] not in {port["name"] for port in one(documents, "Service")["spec"]["ports"]} for endpoint in monitor["spec"]["endpoints"]):
                said("the ServiceMonitor scrapes a port that the Service has not")
        for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
            if container[probe]["httpGet"]["port"] not in ports:
                said(f"the {probe} asks a port that is not there")
        if container["livenessProbe"]["httpGet"]["path"] != "/livez":
            said("the liveness probe depends on more than the process")

        config = configuration(documents)
        drain = seconds(config["worker"]["drain_timeout"])
        before = container.get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0)
        traces = config.get("traces", {})
        flush = seconds(traces.get("flush_timeout", "2s")) if traces.get("endpoint") else 0
        if template["spec"]["terminationGracePeriodSeconds"] < drain + before + flush + 5:
            said("workers are killed before they have drained")
        if traces.get("endpoint") and policy:
            port = urllib.parse.urlsplit(traces["endpoint"]).port
            if port not in {port["port"] for rule in policy["spec"]["egress"] for port in rule["ports"]}:
                said("the NetworkPolicy keeps the traces in")
        if int(config["ops"]["bind"].rsplit(":", 1)[1]) != container["ports"][0]["containerPort"]:
            said("the worker listens on another port than the container says")

        if f"{deployment['metadata']['name']}.{NAMESPACE}.svc.cluster.local" not in config["ops"]["hosts"]:
            said("the worker does not answer to the full name of its Service")
        for constraint in template["spec"].get("topologySpreadConstraints", []):
            if constraint.get("nodeTaintsPolicy") != "Honor":
                said(f"a lost {constraint['topologyKey']} keeps its replacement waiting")
        tolerated = {each["key"]: each["tolerationSeconds"] for each in template["spec"]["tolerations"] if "tolerationSeconds" in each}
        for key in ("node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"):
            if tolerated.get(key, 300) > 60:
                said(f"a worker is replaced {tolerated.get(key, 300)} s after {key}")
        if "hook-failed" not in test["metadata"]["annotations"]["helm.sh/hook-delete-policy"]:
            said("a test that failed outlives the release")
    return problems


def configuration(documents):
    """What the pod's `mangrove.toml` says. It is where the volume of its own revision takes it from."""
    template = one(documents, "Deployment")["spec"]["template"]
    volume = next(volume for volume in template["spec"]["volumes"] if volume["name"] == "config")
    files = {item["path"]: item["fieldRef"]["fieldPath"] for item in volume["downwardAPI"]["items"]}
    key = re.fullmatch(r"metadata\.annotations\['(.+)'\]", files["mangrove.toml"])[1]
    return tomllib.loads(template["metadata"]["annotations"][key])


def each_revision_is_whole(root):
    """A ReplicaSet that restarts, or that a rollback brings back, runs what it was made with; nothing it mounts is shared by name."""
    problems = []
    for name, values in value_sets(root).items():
        documents = render(root, values)
        template = one(documents, "Deployment")["spec"]["template"]
        own = {document["metadata"]["name"] for document in documents if document["kind"] in ("ConfigMap", "Secret")}
        for volume in template["spec"]["volumes"]:
            shared = volume.get("configMap", {}).get("name") or volume.get("secret", {}).get("secretName")
            if shared in own:
                problems.append(f"{name}: the volume {volume['name']} is {shared}, which all revisions share")
        if values.get("eventSchema") and template["metadata"]["annotations"].get("schema.toml") != values["eventSchema"]:
            problems.append(f"{name}: the event schema is not the pod's own")
        # A chart that changes no worker restarts none.
        with tempfile.TemporaryDirectory() as scratch:
            copied = pathlib.Path(scratch) / "deploy/k8s/mangrove"
            shutil.copytree(path(root), copied)
            file = copied / "Chart.yaml"
            file.write_text(re.sub(r"(?m)^version: .*$", "version: 77.7.7", file.read_text()))
            if one(render(pathlib.Path(scratch), values), "Deployment")["spec"]["template"] != template:
                problems.append(f"{name}: another version of the chart restarts every worker")
    return problems


def scales_from_what_runs(root):
    """The number of workers is always said, and an autoscaler's beginning is what runs."""
    problems = []
    for name, values in value_sets(root).items():
        documents = render(root, values)
        scaled = any(document["kind"] in ("HorizontalPodAutoscaler", "ScaledObject") for document in documents)
        least = values.get("autoscaling", {}).get("minReplicas", 2) if scaled else values.get("replicas", 2)
        said = one(documents, "Deployment")["spec"].get("replicas", "the API server's 1")
        if said != least:
            problems.append(f"{name}: a first install begins with {said} workers, not {least}")
    # There is no cluster here to look at; what is made of what it would answer is the helper's.
    probe = '{{ $live := dict "spec" (dict "replicas" %s) }}{{ include "mangrove.replicasOf" (dict "live" $live "least" 3) }}'
    for live, wanted in ((4, "4"), (1, "3"), (0, "0")):
        seen = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "probe"}, "stringData": {"seen": probe % live}}
        values = merged(value_sets(root)["minimal-values.yaml"], {"extraObjects": [seen]})
        found = one(render(root, values), "Secret")["stringData"]["seen"]
        if str(found) != wanted:
            problems.append(f"with {live} workers and at least 3 wanted, an autoscaler begins with {found}, not {wanted}")
    if 'lookup "apps/v1" "Deployment"' not in (path(root) / "templates/_helpers.tpl").read_text():
        problems.append("nobody asks how many workers run")
    return problems


# Who gives the credentials of an identity: nobody but these, by plain HTTP.
GIVERS = {
    "podIdentity": {"169.254.170.23/32", "fd00:ec2::23/128"},
    "none": {"169.254.169.254/32", "fd00:ec2::254/128"},
    "irsa": set(),
    "secrets": set(),
}


def policy_lets_through(root):
    """What the identity, the address family, the name servers and the configuration need, and no metadata service besides."""
    problems = []
    base = value_sets(root)["minimal-values.yaml"]
    for identity, givers in GIVERS.items():
        role = {"roleArn": "arn:aws:iam::123456789012:role/mangrove"} if identity == "irsa" else {}
        egress = one(render(root, merged(base, {"aws": {"identity": identity, **role}})), "NetworkPolicy")["spec"]["egress"]
        let = {block["cidr"] for block in blocks(egress, 80)}
        if let != givers:
            problems.append(f"{identity}: plain HTTP goes to {sorted(let)}, not {sorted(givers)}")
        https = {block["cidr"]: block.get("except", []) for block in blocks(egress, 443)}
        if https != {"0.0.0.0/0": ["169.254.0.0/16"], "::/0": ["fd00:ec2::/32"]}:
            problems.append(f"{identity}: HTTPS goes to {https}")
        if "169.254.20.10/32" not in {block["cidr"] for block in blocks(egress, 53)}:
            problems.append(f"{identity}: NodeLocal DNS is not let through")
    called = {
        "aws": {"endpoint_url": "https://vpce.example.org:4566"},
        "alerts": {"webhooks": ["https://hooks.example.org:8443/a"], "alertmanagers": ["http://am.monitoring.svc:9093"]},
    }
    egress = one(render(root, merged(base, {"config": called})), "NetworkPolicy")["spec"]["egress"]
    for port in (443, 4566, 8443):
        if "0.0.0.0/0" not in {block["cidr"] for block in blocks(egress, port)}:
            problems.append(f"what the configuration calls on port {port} is refused")
    if "monitoring" not in {name for rule in rules(egress, 9093) for to in rule["to"] for name in to.get("namespaceSelector", {}).get("matchLabels", {}).values()}:
        problems.append("the Alertmanager that the configuration names is refused")
    production = value_sets(root)["values-production.yaml"]
    if "0.0.0.0/0" not in {block["cidr"] for block in blocks(one(render(root, production), "NetworkPolicy")["spec"]["egress"], 443)}:
        problems.append("values-production.yaml, as it stands, reaches no gateway endpoint")
    return problems


def rules(egress, port):
    return [rule for rule in egress if any(each["port"] == port for each in rule["ports"])]


def blocks(egress, port):
    return [to["ipBlock"] for rule in rules(egress, port) for to in rule["to"] if "ipBlock" in to]


def seconds(text):
    units = {"ms": 0.001, "s": 1, "m": 60, "h": 3600}
    return math.ceil(sum(int(number) * units[unit] for number, unit in re.findall(r"(\d+) *([a-z]+)", text)))


def configures(root):
    """Every key that the chart writes exists, and another configuration is another pod."""
    problems = []
    defaults = tomllib.loads((root / "deploy/local/mangrove.toml").read_text())
    for name, values in value_sets(root).items():
        config = configuration(render(root, values))
        for section, keys in config.items():
            unknown = set(keys) - set(defaults.get(section, {}))
            problems += [f"{name}: {section}.{key} is no key of the configuration" for key in sorted(unknown)]
    values = value_sets(root)["minimal-values.yaml"]
    pod = lambda values: one(render(root, values), "Deployment")["spec"]["template"]
    if pod(values) == pod(merged(values, {"config": {"epoch": {"age_max": "1s"}}})):
        problems.append("another configuration does not make another pod")
    if pod(values) != pod(merged(values, {"replicas": 7})):
        problems.append("another number of workers restarts all of them")
    role = {"identity": "irsa", "roleArn": "arn:aws:iam::123456789012:role/mangrove"}
    sessions = [e for e in pod(merged(values, {"aws": role}))["spec"]["containers"][0]["env"] if e["name"] == "AWS_ROLE_SESSION_NAME"]
    if [session["value"] for session in sessions] != ["$(MANGROVE_WORKER__ID)"]:
        problems.append("a session of IRSA has no name that stays")
    return problems


def refuses(root):
    """Nonsense is refused, with a reason that names it."""
    problems = []
    base = value_sets(root)["minimal-values.yaml"]
    for change, reason in REFUSED:
        try:
            render(root, merged(base, change))
        except helm.HelmError as error:
            if reason not in str(error):
                problems.append(f"{change} is refused, but not because of {reason!r}: {error}")
        else:
            problems.append(f"{change} is not refused")
    return problems


def merged(base, change):
    result = copy.deepcopy(base)
    for key, value in change.items():
        result[key] = merged(result[key], value) if isinstance(value, dict) and isinstance(result.get(key), dict) else value
    return result
