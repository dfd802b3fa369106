{{/* PodDisruptionBudget and HorizontalPodAutoscaler of a role. With a dict of root and role. */}}
{{- define "dunlin.budget" -}}
{{- $values := get .root.Values .role }}
{{- if $values.podDisruptionBudget.enabled }}
---
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata:
  name: {{ include "dunlin.fullname" .root }}-{{ .role }}
  namespace: {{ .root.Release.Namespace }}
  labels:
    {{- include "dunlin.labels" . | nindent 4 }}
spec:
  maxUnavailable: {{ $values.podDisruptionBudget.maxUnavailable }}
  # A pod that cannot work protects nothing.
  unhealthyPodEvictionPolicy: AlwaysAllow
  selector:
    matchLabels:
      {{- include "dunlin.selector" . | nindent 6 }}
{{- end }}
{{- end }}

{{- define "dunlin.autoscaler" -}}
{{- $scaling := (get .root.Values .role).autoscaling }}
{{- if $scaling.enabled }}
---
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata:
  name: {{ include "dunlin.fullname" .root }}-{{ .role }}
  namespace: {{ .root.Release.Namespace }}
  labels:
    {{- include "dunlin.labels" . | nindent 4 }}
spec:
  scaleTargetRef:
    apiVersion: apps/v1
    kind: Deployment
    name: {{ include "dunlin.fullname" .root }}-{{ .role }}
  minReplicas: {{ $scaling.minReplicas }}
  maxReplicas: {{ $scaling.maxReplicas }}
  metrics:
    - type: Resource
      resource:
        name: cpu
        target:
          type: Utilization
          averageUtilization: {{ $scaling.targetCPUUtilizationPercentage }}
  behavior:
    # A pod that goes drains first; one a minute is soon enough.
    scaleDown:
      stabilizationWindowSeconds: 300
      policies:
        - {type: Pods, value: 1, periodSeconds: 60}
{{- end }}
{{- end }}

{{/* A Deployment of a role. With a dict of root, role and advertise. */}}
{{- define "dunlin.deployment" -}}
{{- $values := get .root.Values .role }}
---
apiVersion: apps/v1
kind: Deployment
metadata:
  name: {{ include "dunlin.fullname" .root }}-{{ .role }}
  namespace: {{ .root.Release.Namespace }}
  labels:
    {{- include "dunlin.labels" . | nindent 4 }}
spec:
  {{- if not $values.autoscaling.enabled }}
  replicas: {{ $values.replicas }}
  {{- end }}
  revisionHistoryLimit: 3
  strategy:
    type: RollingUpdate
    rollingUpdate: {maxSurge: 1, maxUnavailable: 0}
  selector:
    matchLabels:
      {{- include "dunlin.selector" . | nindent 6 }}
  template:
    {{- include "dunlin.pod" . | trim | nindent 4 }}
{{- end }}
