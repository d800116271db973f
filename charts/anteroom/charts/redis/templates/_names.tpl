{{- /* Not the release and "redis": another chart's Redis in the same release has that name, and its Services these labels. */}}
{{- define "anteroom-redis.fullname" -}}
{{- printf "%s-anteroom-redis" (.Release.Name | trunc 33 | trimSuffix "-") }}
{{- end }}

{{- define "anteroom-redis.secret" -}}
{{- .Values.existingSecret | default (include "anteroom-redis.fullname" .) }}
{{- end }}

{{- define "anteroom-redis.selector" -}}
app.kubernetes.io/name: anteroom-redis
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: sessions
{{- end }}

{{- define "anteroom-redis.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{ include "anteroom-redis.selector" . }}
app.kubernetes.io/version: {{ .Values.image.tag | trunc 63 | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}

{{- /* Only the health check may come without password, and it may ask nothing but PING. */}}
{{- define "anteroom-redis.acl" -}}
user default on nopass resetkeys resetchannels -@all +ping
user anteroom on #{{ .password | sha256sum }} resetkeys ~{{ .prefix }}:* resetchannels &{{ .prefix }}:* -@all +get +set +getdel +del +hget +hmget +hset +hdel +pexpire +pexpireat +time +zadd +zrem +zrevrange +zrangebyscore +zremrangebyscore +eval +evalsha +publish +subscribe +wait +ping +info +config|get
{{- end }}

{{- define "anteroom-redis.conf" -}}
port 6379
bind * -::*
dir /data
aclfile /run/redis/users.acl
# Nothing is thrown out to make room: a session that is gone signs somebody out.
maxmemory {{ .Values.maxMemory }}
maxmemory-policy noeviction
{{- if .Values.persistence.enabled }}
appendonly yes
appendfsync everysec
{{- else }}
appendonly no
{{- end }}
save ""
{{- end }}
