{{- /*
The container and its volumes, for the chart's own Deployment and for an application's:

    containers:
      - name: application
      {{- include "anteroom.sidecar.container" .Subcharts.anteroom | nindent 6 }}
    volumes:
      {{- include "anteroom.sidecar.volumes" .Subcharts.anteroom | nindent 6 }}
*/}}
{{- define "anteroom.sidecar.container" -}}
- {{ include "anteroom.container" . | nindent 2 | trim }}
{{- end }}

{{- define "anteroom.sidecar.volumes" -}}
{{ include "anteroom.volumes" . }}
{{- end }}

{{- /* For the pod template's annotations: pods are replaced when the configuration changes. Secrets are left out: they are taken up without. */}}
{{- define "anteroom.sidecar.annotations" -}}
checksum/anteroom: {{ include "anteroom.config" . | sha256sum }}
{{- end }}

{{- /* For the pod template's labels. */}}
{{- define "anteroom.sidecar.labels" -}}
{{ include "anteroom.redis.client" . }}
{{- end }}

{{- /* For the pod's terminationGracePeriodSeconds: preStop, draining, and what ends after it. */}}
{{- define "anteroom.sidecar.graceSeconds" -}}
{{- add .Values.drain.preStopSeconds .Values.drain.timeoutSeconds 10 }}
{{- end }}

{{- define "anteroom.container" -}}
name: anteroom
image: {{ include "anteroom.image" . | quote }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
args: [serve]
env:
  {{- include "anteroom.env" . | nindent 2 }}
ports:
  - {name: http, containerPort: 8000}
  - {name: admin, containerPort: 9090}
  {{- if and (eq .Values.mode "forwardAuth") .Values.forwardAuth.envoy.enabled }}
  - {name: grpc, containerPort: 9191}
  {{- end }}
startupProbe:
  httpGet: {path: /healthz, port: admin}
  periodSeconds: 1
  failureThreshold: {{ .Values.probes.startupSeconds }}
livenessProbe:
  httpGet: {path: /healthz, port: admin}
  periodSeconds: {{ .Values.probes.periodSeconds }}
  timeoutSeconds: 3
readinessProbe:
  httpGet: {path: /readyz, port: admin}
  periodSeconds: {{ .Values.probes.periodSeconds }}
  timeoutSeconds: 3
  failureThreshold: 2
lifecycle:
  preStop:
    sleep: {seconds: {{ .Values.drain.preStopSeconds }}}
resources:
  {{- toYaml .Values.resources | nindent 2 }}
securityContext:
  {{- toYaml .Values.securityContext | nindent 2 }}
volumeMounts:
  {{- include "anteroom.mounts" . | nindent 2 }}
{{- end }}

{{- define "anteroom.env" -}}
- {name: ANTEROOM_CONFIG, value: /etc/anteroom/config.yaml}
{{- /* A tenth of the limit is for what is not Go's: the kernel counts sockets, too. */}}
{{- with toString (dig "limits" "memory" "" .Values.resources) }}
{{- if regexMatch "^[0-9]+[MG]i$" . }}
{{- $mi := regexFind "^[0-9]+" . | int64 | mul (ternary 1024 1 (hasSuffix "Gi" .)) }}
- {name: GOMEMLIMIT, value: {{ div (mul $mi 9) 10 }}MiB}
{{- else }}
- name: GOMEMLIMIT
  valueFrom: {resourceFieldRef: {containerName: anteroom, resource: limits.memory}}
{{- end }}
{{- end }}
{{- with .Values.env }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "anteroom.mounts" -}}
- {name: anteroom-config, mountPath: /etc/anteroom, readOnly: true}
- {name: anteroom-secrets, mountPath: /run/anteroom/secrets, readOnly: true}
{{- if .Values.tls.enabled }}
- {name: anteroom-tls, mountPath: /run/anteroom/tls, readOnly: true}
{{- end }}
{{- if .Values.caBundle.configMap }}
- {name: anteroom-ca, mountPath: /run/anteroom/ca, readOnly: true}
{{- end }}
{{- with .Values.volumeMounts }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- /* Whole folders, never single files: only those follow a Secret that changes. */}}
{{- define "anteroom.volumes" -}}
- name: anteroom-config
  configMap: {name: {{ include "anteroom.fullname" . }}}
- name: anteroom-secrets
  projected:
    defaultMode: 0444
    sources:
      {{- range $file, $at := include "anteroom.secrets.sources" . | fromYaml }}
      - secret: {name: {{ $at.secret }}, items: [{key: {{ $at.key }}, path: {{ $file }}}]}
      {{- end }}
{{- if .Values.tls.enabled }}
- name: anteroom-tls
  secret: {secretName: {{ include "anteroom.tls.secret" . }}, defaultMode: 0444}
{{- end }}
{{- if .Values.caBundle.configMap }}
- name: anteroom-ca
  configMap: {name: {{ .Values.caBundle.configMap }}, items: [{key: {{ .Values.caBundle.key }}, path: ca.crt}]}
{{- end }}
{{- with .Values.volumes }}
{{ toYaml . }}
{{- end }}
{{- end }}
