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
