{{- /* Names and labels. In sidecar mode the context is the same: .Subcharts.anteroom of the application's chart. */}}

{{- define "anteroom.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- /* Short enough for every ending that is added. */}}
{{- define "anteroom.fullname" -}}
{{- $name := include "anteroom.name" . }}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 48 | trimSuffix "-" }}
{{- else if contains $name .Release.Name }}
{{- .Release.Name | trunc 48 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name $name | trunc 48 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{- define "anteroom.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
app.kubernetes.io/name: {{ include "anteroom.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Values.image.tag | default .Chart.AppVersion | trunc 63 | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- /* Which pods are meant: the chart's own, or the application's. */}}
{{- define "anteroom.selector" -}}
{{- if eq .Values.mode "sidecar" -}}
{{ toYaml .Values.sidecar.selectorLabels }}
{{- else -}}
app.kubernetes.io/name: {{ include "anteroom.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: proxy
{{- end }}
{{- end }}

{{- /* Labels by which the bundled Redis lets pods in. */}}
{{- define "anteroom.redis.client" -}}
{{- if .Values.redis.enabled -}}
{{ include "anteroom-redis.fullname" .Subcharts.redis }}-client: "true"
{{- end }}
{{- end }}

{{- define "anteroom.serviceAccount" -}}
{{- if .Values.serviceAccount.create }}
{{- default (include "anteroom.fullname" .) .Values.serviceAccount.name }}
{{- else }}
{{- default "default" .Values.serviceAccount.name }}
{{- end }}
{{- end }}

{{- define "anteroom.image" -}}
{{- with .Values.image }}
{{- if .digest }}{{ .repository }}@{{ .digest }}{{ else }}{{ .repository }}:{{ .tag | default $.Chart.AppVersion }}{{ end }}
{{- end }}
{{- end }}

{{- define "anteroom.scheme" -}}
{{- ternary "https" "http" .Values.tls.enabled }}
{{- end }}

{{- define "anteroom.tls.secret" -}}
{{- default (printf "%s-tls" (include "anteroom.fullname" .)) .Values.tls.secretName }}
{{- end }}

{{- /* The Service as other namespaces name it. */}}
{{- define "anteroom.address" -}}
{{ include "anteroom.fullname" . }}.{{ .Release.Namespace }}.svc.cluster.local
{{- end }}

{{- /* The site's host, of config.server.public_url. */}}
{{- define "anteroom.host" -}}
{{- (urlParse .Values.config.server.public_url).host | splitList ":" | first }}
{{- end }}

{{- /* How many pods there may be. */}}
{{- define "anteroom.pods" -}}
{{- if eq .Values.mode "sidecar" }}0{{ else if .Values.autoscaling.enabled }}{{ .Values.autoscaling.maxReplicas }}{{ else }}{{ .Values.replicas }}{{ end }}
{{- end }}
