{{/* The pod of a role: what its Deployment or StatefulSet puts under `template`. With a dict of
     root, role and advertise (how others reach the pod). */}}
{{- define "dunlin.pod" -}}
{{- $values := get .root.Values .role }}
{{- $pause := int (get $values "preStopSeconds" | default 0) }}
metadata:
  labels:
    {{- include "dunlin.labels" . | nindent 4 }}
  annotations:
    # A changed dunlin.toml starts new pods.
    checksum/config: {{ include "dunlin.toml" . | sha256sum }}
    {{- with $values.podAnnotations }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
spec:
  serviceAccountName: {{ include "dunlin.serviceAccount" .root }}
  automountServiceAccountToken: false
  # A Service named dunlin-shuffle would set DUNLIN_SHUFFLE_PORT, which is an option of ours.
  enableServiceLinks: false
  # Drain, leave and close have the limit twice at most (see docs/operate/kubernetes.md).
  terminationGracePeriodSeconds: {{ add $pause (mul 2 (int .root.Values.drainLimit)) 10 }}
  {{- with .root.Values.imagePullSecrets }}
  imagePullSecrets:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  securityContext:
    {{- toYaml .root.Values.podSecurityContext | nindent 4 }}
  topologySpreadConstraints:
    {{- range $key := list "kubernetes.io/hostname" "topology.kubernetes.io/zone" }}
    - maxSkew: 1
      topologyKey: {{ $key }}
      whenUnsatisfiable: ScheduleAnyway
      labelSelector:
        matchLabels:
          {{- include "dunlin.selector" $ | nindent 10 }}
    {{- end }}
  {{- with $values.nodeSelector }}
  nodeSelector:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $values.tolerations }}
  tolerations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $values.affinity }}
  affinity:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  containers:
    - name: dunlin
      image: {{ printf "%s:%s" .root.Values.image.repository (default .root.Chart.AppVersion .root.Values.image.tag) | quote }}
      imagePullPolicy: {{ .root.Values.image.pullPolicy }}
      args:
        {{- include "dunlin.args" . | trim | nindent 8 }}
      env:
        {{- include "dunlin.env" . | nindent 8 }}
      {{- with .root.Values.objectStore.secretName }}
      envFrom:
        - secretRef:
            name: {{ . }}
      {{- end }}
      ports:
        {{- if eq .role "gateway" }}
        - name: flight
          containerPort: {{ include "dunlin.port.flight" . }}
        {{- else if eq .role "shuffle" }}
        - name: shuffle
          containerPort: {{ include "dunlin.port.shuffle" . }}
        {{- end }}
        - name: admin
          containerPort: {{ include "dunlin.port.admin" . }}
      {{- include "dunlin.probes" . | trim | nindent 6 }}
      {{- if $pause }}
      lifecycle:
        preStop:
          exec:
            command: ["sleep", {{ $pause | toString | quote }}]
      {{- end }}
      resources:
        {{- toYaml $values.resources | nindent 8 }}
      securityContext:
        allowPrivilegeEscalation: false
        readOnlyRootFilesystem: true
        capabilities:
          drop: [ALL]
      volumeMounts:
        - name: config
          mountPath: /etc/dunlin
          readOnly: true
        {{- if .root.Values.tls.secretName }}
        - name: tls
          mountPath: /etc/dunlin-tls
          readOnly: true
        {{- end }}
        - name: scratch
          mountPath: /var/lib/dunlin
        - name: tmp
          mountPath: /tmp
        {{- with .root.Values.extraVolumeMounts }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
  volumes:
    {{- include "dunlin.volumes" . | trim | nindent 4 }}
{{- end }}

{{/* The command line. Options rather than DUNLIN_ variables: those are also read as configuration
     keys, and the program warns about the ones that are none. */}}
{{- define "dunlin.args" -}}
{{- $values := .root.Values }}
- serve
- --config=/etc/dunlin/dunlin.toml
- --roles={{ .role }}
- --metadata=etcd://{{ join "," $values.etcd.endpoints }}/{{ $values.etcd.prefix }}
- {{ printf "--blobs=%s" (required "blobs.url is required" $values.blobs.url) | quote }}
- --scratch=/var/lib/dunlin
- --listen=0.0.0.0
- --advertise={{ .advertise }}
- --admin-port={{ include "dunlin.port.admin" . }}
{{- if eq .role "gateway" }}
- --flight-port={{ include "dunlin.port.flight" . }}
{{- if $values.users.enabled }}
- --users
{{- end }}
{{- else if eq .role "shuffle" }}
- --shuffle-port={{ include "dunlin.port.shuffle" . }}
{{- end }}
- --drain-limit={{ int $values.drainLimit }}
{{- if $values.tls.secretName }}
- --tls-cert=/etc/dunlin-tls/tls.crt
- --tls-key=/etc/dunlin-tls/tls.key
- --tls-ca=/etc/dunlin-tls/ca.crt
{{- end }}
{{- if $values.insecure }}
- --insecure
{{- end }}
{{- range (get $values .role).extraArgs }}
- {{ . | quote }}
{{- end }}
{{- end }}

{{- define "dunlin.env" -}}
- name: POD_IP
  valueFrom:
    fieldRef:
      fieldPath: status.podIP
- name: POD_NAME
  valueFrom:
    fieldRef:
      fieldPath: metadata.name
- name: POD_NAMESPACE
  valueFrom:
    fieldRef:
      fieldPath: metadata.namespace
{{- with .root.Values.extraEnv }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* /readyz asks the metadata store and gives it two seconds. */}}
{{- define "dunlin.probes" -}}
startupProbe:
  httpGet: {path: /livez, port: admin}
  periodSeconds: 2
  failureThreshold: 30
livenessProbe:
  httpGet: {path: /livez, port: admin}
  periodSeconds: 10
  timeoutSeconds: 5
  failureThreshold: 6
readinessProbe:
  httpGet: {path: /readyz, port: admin}
  periodSeconds: 5
  timeoutSeconds: 3
  failureThreshold: 2
{{- end }}

{{- define "dunlin.volumes" -}}
{{- $scratch := (get .root.Values .role).scratch }}
- name: config
  configMap:
    name: {{ include "dunlin.fullname" .root }}-{{ .role }}
{{- with .root.Values.tls.secretName }}
- name: tls
  secret:
    secretName: {{ . }}
    defaultMode: 0440
{{- end }}
- name: tmp
  emptyDir:
    sizeLimit: 64Mi
{{- if ne .role "shuffle" }}
- name: scratch
  {{- if $scratch.storageClass }}
  ephemeral:
    volumeClaimTemplate:
      spec:
        {{- include "dunlin.claim" $scratch | nindent 8 }}
  {{- else }}
  emptyDir:
    sizeLimit: {{ $scratch.size }}
  {{- end }}
{{- end }}
{{- with .root.Values.extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* A claim of a scratch volume. */}}
{{- define "dunlin.claim" -}}
accessModes: [ReadWriteOnce]
{{- with .storageClass }}
storageClassName: {{ . }}
{{- end }}
resources:
  requests:
    storage: {{ .size }}
{{- end }}
