{{/* Ports. The Service's port of the gateways is a value; those of pods need not be. */}}
{{- define "dunlin.port.flight" -}}8815{{- end }}
{{- define "dunlin.port.admin" -}}8816{{- end }}
{{- define "dunlin.port.shuffle" -}}8817{{- end }}

{{- define "dunlin.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 40 | trimSuffix "-" }}
{{- end }}

{{/* Short enough that "-executor" and the suffixes of pods fit into 63 letters. */}}
{{- define "dunlin.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" }}
{{- else if contains (include "dunlin.name" .) .Release.Name }}
{{- .Release.Name | trunc 40 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name (include "dunlin.name" .) | trunc 40 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{- define "dunlin.serviceAccount" -}}
{{- if .Values.serviceAccount.create }}
{{- default (include "dunlin.fullname" .) .Values.serviceAccount.name }}
{{- else }}
{{- default "default" .Values.serviceAccount.name }}
{{- end }}
{{- end }}

{{/* What never changes in a release's life. With a dict of root and role. */}}
{{- define "dunlin.selector" -}}
app.kubernetes.io/name: {{ include "dunlin.name" .root }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .role }}
{{- end }}

{{- define "dunlin.labels" -}}
{{ include "dunlin.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" }}
{{- end }}

{{/* dunlin.toml of a role: the common keys, then its own over them. Numbers come as floats from
     YAML, and toToml would write 4.0; as JSON they stay whole, and JSON texts are TOML texts. */}}
{{- define "dunlin.toml" -}}
{{- $config := merge (deepCopy (get .root.Values .role).config) .root.Values.config }}
{{- range $key, $value := $config }}
{{- if not (kindIs "map" $value) }}
{{ $key }} = {{ $value | toJson }}
{{- end }}
{{- end }}
{{- range $key, $value := $config }}
{{- if kindIs "map" $value }}

[{{ $key }}]
{{- range $name, $setting := $value }}
{{ $name | quote }} = {{ $setting | toJson }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}

{{/* `dunlin serve` refuses this as well, but a pod that never starts is a late answer. */}}
{{- define "dunlin.check" -}}
{{- if not .Values.insecure }}
{{- if not .Values.tls.secretName }}
{{- fail "pods can be reached from elsewhere: name a Secret in tls.secretName, or set insecure" }}
{{- end }}
{{- if and .Values.gateway.enabled (not .Values.users.enabled) }}
{{- fail "gateways can be reached by anybody: set users.enabled, or insecure" }}
{{- end }}
{{- end }}
{{- end }}
