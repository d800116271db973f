{{- /*
Paths that lead to Anteroom, as YAML: a list of {path, exact}. In forwardAuth mode they are those for people and
programs: what front proxies ask (/auth/verify, /auth/forward) is not for clients to ask.
*/}}
{{- define "anteroom.paths" -}}
{{- if .Values.ingress.paths }}
{{- range .Values.ingress.paths }}
- {path: {{ . | quote }}, exact: false}
{{- end }}
{{- else if ne .Values.mode "forwardAuth" }}
- {path: /, exact: false}
{{- else }}
{{- $callback := (urlParse (dig "signin" "redirect_uri" "/auth/callback" .Values.config)).path }}
{{- range list "/" "/auth" "/auth/" "/auth/login" $callback "/auth/logout" "/auth/signed-in" "/auth/me" "/auth/token" "/auth/mirror" "/auth/backchannel-logout" "/auth/frontchannel-logout" "/.well-known/jwks.json" | uniq }}
- {path: {{ . }}, exact: true}
{{- end }}
{{- range list "/auth/assets" "/auth/sessions" "/auth/nextcloud" }}
- {path: {{ . }}, exact: false}
{{- end }}
{{- $dav := dict "webdav" "/dav" "caldav" "/calendar" "carddav" "/contacts" }}
{{- $served := dig "integrations" dict .Values.config }}
{{- range $service, $mount := $dav }}
{{- if and (hasKey $served $service) (ne (dig $service "mount" $mount $served) "none") }}
- {path: {{ dig $service "mount" $mount $served }}, exact: false}
{{- if ne $service "webdav" }}
- {path: /.well-known/{{ $service }}, exact: true}
{{- end }}
{{- end }}
{{- end }}
{{- if $served }}
- {path: /integrations, exact: false}
{{- end }}
{{- end }}
{{- end }}

{{- /* What a front proxy hands to the application of a yes: the headers that config.identity names. */}}
{{- define "anteroom.forwardAuth.headers" -}}
{{- $named := dig "identity" "headers" dict .Values.config }}
{{- $default := list (list "user" "X-Forwarded-User") (list "preferred_username" "X-Forwarded-Preferred-Username") (list "email" "X-Forwarded-Email") (list "name" "X-Forwarded-Name") (list "groups" "X-Forwarded-Groups") }}
{{- range $default }}
{{- $name := dig (first .) (last .) $named }}
{{- if ne $name "none" }}
- {{ $name }}
{{- if eq (first .) "groups" }}
- {{ $name }}-Truncated
{{- end }}
{{- end }}
{{- end }}
{{- if ne (dig "identity" "jwt" "algorithm" "ES256" .Values.config) "none" }}
- {{ dig "identity" "jwt" "header" "Authorization" .Values.config }}
{{- end }}
- Cookie
- X-Request-Id
{{- end }}
