{{- define "webhook-gateway.name" -}}
{{- if contains "webhook-gateway" .Release.Name -}}
{{- .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-webhook-gateway" .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "webhook-gateway.selector" -}}
app.kubernetes.io/name: webhook-gateway
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "webhook-gateway.labels" -}}
{{ include "webhook-gateway.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end -}}

{{- define "webhook-gateway.image" -}}
{{- with .Values.image -}}
{{- if .digest -}}
{{ .repository }}@{{ .digest }}
{{- else -}}
{{ .repository }}:{{ .tag | default $.Chart.AppVersion }}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* The port of a listener, by its key in listen. */}}
{{- define "webhook-gateway.port" -}}
{{- $address := index .Values.config.listen .key | required (printf "config.listen.%s: give an address such as :8080" .key) -}}
{{- regexFind "[0-9]+$" $address | required (printf "config.listen.%s: %q has no port: give an address such as :8080" .key $address) -}}
{{- end -}}

{{/* What the internal HTTP port speaks. */}}
{{- define "webhook-gateway.scheme" -}}
{{- $tls := dig "tls" "internal_http" dict .Values.config -}}
{{- if get $tls "require_client_certificate" -}}
{{- fail "config.tls.internal_http.require_client_certificate: leave it out, the probes of Kubernetes have no certificate; access says who may do what" -}}
{{- end -}}
{{- if get $tls "certificate" }}https{{ else }}http{{ end -}}
{{- end -}}

{{/* The configuration of the gateway. Its internal HTTP port answers to the names of its service. */}}
{{- define "webhook-gateway.config" -}}
{{- $config := deepCopy .Values.config -}}
{{- if not (get $config "access") -}}
{{- $_ := unset $config "access" -}}
{{- end -}}
{{- if dig "store" "pebble" "path" "" $config -}}
{{- fail "config.store.pebble.path: leave it out, it is /data/store on the volume" -}}
{{- end -}}
{{- $name := printf "%s.%s" (include "webhook-gateway.name" .) .Release.Namespace -}}
{{- $names := list $name (printf "%s.svc" $name) (printf "%s.svc.cluster.local" $name) -}}
{{- $_ := set $config.listen "internal_hosts" (concat (get $config.listen "internal_hosts" | default list) $names) -}}
{{- toYaml $config -}}
{{- end -}}

{{/* The port that the gateways call each other at; nothing without a commit log. */}}
{{- define "webhook-gateway.peers" -}}
{{- $engine := dig "store" "commit_log" "engine" "none" .Values.config -}}
{{- if ne $engine "none" -}}
{{- if and .Values.networkPolicy.enabled (not .Values.networkPolicy.egress) -}}
{{- fail "networkPolicy.egress: name the servers of config.store.commit_log, which the gateway has to reach, and DNS" -}}
{{- end -}}
{{- $address := dig "cluster" "listen" ":9091" .Values.config -}}
{{- regexFind "[0-9]+$" $address | required (printf "config.cluster.listen: %q has no port: give an address such as :9091" $address) -}}
{{- else if gt (int .Values.replicas) 1 -}}
{{- fail "replicas: several gateways share their events by config.store.commit_log: name its engine, or leave it at 1" -}}
{{- end -}}
{{- end -}}
