{{- define "mangrove.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{- define "mangrove.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 63 | trimSuffix "-" -}}
{{- else if contains (include "mangrove.name" .) .Release.Name -}}
{{- .Release.Name | trunc 63 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name (include "mangrove.name" .) | trunc 63 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "mangrove.namespace" -}}
{{- default .Release.Namespace .Values.namespaceOverride -}}
{{- end -}}

{{/* What never changes: selectors are immutable. */}}
{{- define "mangrove.release" -}}
app.kubernetes.io/name: {{ include "mangrove.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "mangrove.selector" -}}
{{ include "mangrove.release" . }}
app.kubernetes.io/component: worker
{{- end -}}

{{- define "mangrove.labels" -}}
{{ include "mangrove.release" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "mangrove.metadata" -}}
name: {{ include "mangrove.fullname" . }}
namespace: {{ include "mangrove.namespace" . }}
labels:
  {{- include "mangrove.labels" . | nindent 2 }}
{{- end -}}

{{- define "mangrove.serviceAccount" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "mangrove.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{- define "mangrove.image" -}}
{{- $repository := .Values.image.repository -}}
{{- with .Values.image.registry -}}{{- $repository = printf "%s/%s" . $repository -}}{{- end -}}
{{- if .Values.image.digest -}}
{{- printf "%s@%s" $repository .Values.image.digest -}}
{{- else -}}
{{- printf "%s:%s" $repository (default .Chart.AppVersion .Values.image.tag) -}}
{{- end -}}
{{- end -}}

{{/* Workers. An autoscaler starts from what is there: a manifest without a number would be one with 1, and all workers but
one would leave before it is asked. Nobody is there at the first install, and in a rendering without a cluster. */}}
{{- define "mangrove.replicas" -}}
{{- $least := .Values.autoscaling.minReplicas | int -}}
{{- if not (or .Values.autoscaling.hpa.enabled .Values.autoscaling.keda.enabled) -}}
{{- .Values.replicas -}}
{{- else -}}
{{- $live := lookup "apps/v1" "Deployment" (include "mangrove.namespace" .) (include "mangrove.fullname" .) -}}
{{- include "mangrove.replicasOf" (dict "live" $live "least" $least) -}}
{{- end -}}
{{- end -}}

{{/* What an autoscaler begins with, of the live Deployment (`live`, empty if there is none) and minReplicas (`least`).
None at all was somebody's decision, and switches an autoscaler off: it stays. */}}
{{- define "mangrove.replicasOf" -}}
{{- $replicas := dig "spec" "replicas" .least .live | int -}}
{{- if eq $replicas 0 }}0{{ else }}{{ max $replicas .least }}{{ end -}}
{{- end -}}

{{/* Whom the configuration names beside AWS' own addresses: endpoint and receivers of alerts, as a JSON list of
{host, port, namespace}; namespace is empty for what is no service of the cluster. */}}
{{- define "mangrove.called" -}}
{{- $alerts := default dict .Values.config.alerts -}}
{{- $urls := concat (default list $alerts.webhooks) (default list $alerts.alertmanagers) -}}
{{- with (default dict .Values.config.aws).endpoint_url }}{{ $urls = append $urls . }}{{ end -}}
{{- $called := list -}}
{{- range $urls -}}
{{- $url := urlParse . -}}
{{- $host := regexReplaceAll ":[0-9]+$" $url.host "" -}}
{{- $port := regexFind ":[0-9]+$" $url.host | trimPrefix ":" | default (ternary "443" "80" (eq $url.scheme "https")) | int -}}
{{- $namespace := ternary (index (splitList "." (print $host ".")) 1) "" (regexMatch "^[^.]+[.][^.]+[.]svc([.]|$)" $host) -}}
{{- $called = append $called (dict "host" $host "port" $port "namespace" $namespace) -}}
{{- end -}}
{{- $called | uniq | toJson -}}
{{- end -}}

{{/* Seconds of a duration such as "25s", "1m 30s", "500ms", rounded up. */}}
{{- define "mangrove.seconds" -}}
{{- $units := dict "ms" 0.001 "s" 1.0 "sec" 1.0 "m" 60.0 "min" 60.0 "h" 3600.0 -}}
{{- $total := 0.0 -}}
{{- range regexFindAll "[0-9]+ *[a-z]+" . -1 -}}
{{- $unit := regexFind "[a-z]+" . -}}
{{- if not (hasKey $units $unit) }}{{ fail (printf "the chart cannot read the duration %q: write it in ms, s, m or h" .) }}{{ end -}}
{{- $total = addf $total (mulf (regexFind "[0-9]+" . | float64) (get $units $unit)) -}}
{{- end -}}
{{- ceil $total | int -}}
{{- end -}}

{{/* MiB of a size such as "128MiB" or of a quantity such as "1Gi". */}}
{{- define "mangrove.mib" -}}
{{- $text := . | toString -}}
{{- $number := regexFind "^[0-9]+" $text | float64 -}}
{{- $unit := regexReplaceAll "^[0-9]+ *" $text "" -}}
{{- $units := dict "" 9.5367431640625e-07 "KiB" 0.0009765625 "Ki" 0.0009765625 "MiB" 1.0 "Mi" 1.0 "M" 0.953674 "MB" 0.953674 "GiB" 1024.0 "Gi" 1024.0 "G" 953.674 "GB" 953.674 -}}
{{- if not (hasKey $units $unit) }}{{ fail (printf "the chart cannot read the size %q: write it in MiB or GiB (Mi, Gi)" $text) }}{{ end -}}
{{- mulf $number (get $units $unit) | floor | int -}}
{{- end -}}

{{/* Whether workers send traces. */}}
{{- define "mangrove.traces" -}}
{{- if (default dict .Values.config.traces).endpoint }}yes{{ end -}}
{{- end -}}

{{/* The drain, what comes before it, the last traces, and time to die. */}}
{{- define "mangrove.graceMin" -}}
{{- $traces := default "2s" (default dict .Values.config.traces).flush_timeout -}}
{{- $flush := ternary (include "mangrove.seconds" $traces | int) 0 (eq (include "mangrove.traces" .) "yes") -}}
{{- add (include "mangrove.seconds" .Values.config.worker.drain_timeout | int) .Values.preStopSeconds $flush 5 -}}
{{- end -}}

{{- define "mangrove.grace" -}}
{{- if .Values.terminationGracePeriodSeconds -}}
{{- .Values.terminationGracePeriodSeconds | int -}}
{{- else -}}
{{- add (include "mangrove.graceMin" . | int) 5 -}}
{{- end -}}
{{- end -}}

{{/* The restricted pod security standard is no option. */}}
{{- define "mangrove.podSecurity" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
seccompProfile:
  type: RuntimeDefault
{{- end -}}

{{- define "mangrove.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end -}}

{{/* mangrove.toml: what is configured, and what belongs to the pod. JSON's scalars and lists are TOML's. */}}
{{- define "mangrove.toml" -}}
{{- $config := deepCopy .Values.config -}}
{{- $name := include "mangrove.fullname" . -}}
{{- $service := list $name (printf "%s.%s" $name (include "mangrove.namespace" .)) (printf "%s.%s.svc" $name (include "mangrove.namespace" .)) (printf "%s.%s.svc.%s" $name (include "mangrove.namespace" .) .Values.clusterDomain) -}}
{{- $ops := default dict $config.ops -}}
{{- $_ := set $ops "bind" (printf "%s:%d" (ternary "[::]" "0.0.0.0" .Values.ops.ipv6) (.Values.ops.port | int)) -}}
{{- $_ := set $ops "allow_remote" true -}}
{{- $_ := set $ops "hosts" (concat $service (default list $ops.hosts) | uniq) -}}
{{- $_ := set $config "ops" $ops -}}
{{- if .Values.eventSchema -}}
{{- $_ := set $config "schema" (omit (merge (dict "file" "schema.toml") $config.schema) "use") -}}
{{- end -}}
{{- with .Values.aws.region -}}
{{- $_ := set $config "aws" (merge (dict "region" .) (default dict $config.aws)) -}}
{{- end -}}
# Made by the chart; later sources win: this file, then the environment.
{{- range $section, $keys := $config }}

[{{ $section }}]
{{- range $key, $value := $keys }}
{{- if not (kindIs "invalid" $value) }}
{{ $key }} = {{ toJson $value }}
{{- end }}
{{- end }}
{{- end }}
{{- end -}}
