{{- /* Every secret that Anteroom reads from a file: the file's name here, and its key in the configuration (without _file). */}}
{{- define "anteroom.secrets.known" -}}
client-secret: signin.client_secret
session-keys: session.keys
jwt-keys: identity.jwt.keys
jwt-secret: identity.jwt.secret
redis-url: session.redis.url
redis-password: session.redis.password
redis-sentinel-password: session.redis.sentinel_password
webdav-password: integrations.webdav.password
caldav-password: integrations.caldav.password
carddav-password: integrations.carddav.password
directory-password: integrations.directory.password
mail-password: integrations.mail.password
audit-key: audit.key
audit-token: audit.token
watch-token: watch.webhook.token
otlp-headers: telemetry.otlp_headers
{{- end }}

{{- /*
Where each secret in use comes from, as YAML: file → {secret: the Secret's name, key: in it}.
*/}}
{{- define "anteroom.secrets.sources" -}}
{{- $s := .Values.secrets }}
{{- $made := include "anteroom.fullname" . }}
{{- $from := dict }}
{{- range $file, $at := $s.existing }}
{{- $_ := set $from $file (dict "secret" $at.name "key" (default $file $at.key)) }}
{{- end }}
{{- range $file, $at := $s.external.data }}
{{- if hasKey $from $file }}{{ fail (printf "secrets.external.data.%s: it is in secrets.existing, too; keep one" $file) }}{{ end }}
{{- $_ := set $from $file (dict "secret" (printf "%s-external" $made) "key" $file) }}
{{- end }}
{{- range $file, $text := $s.values }}
{{- if hasKey $from $file }}{{ fail (printf "secrets.values.%s: it is in secrets.existing or secrets.external, too; keep one" $file) }}{{ end }}
{{- $_ := set $from $file (dict "secret" $made "key" $file) }}
{{- end }}
{{- if .Values.redis.enabled }}
{{- if hasKey $from "redis-password" }}{{ fail "secrets: redis-password is the bundled Redis' own; use redis.existingSecret, or another Redis and redis.enabled: false" }}{{ end }}
{{- $_ := set $from "redis-password" (dict "secret" (include "anteroom-redis.secret" .Subcharts.redis) "key" "password") }}
{{- end }}
{{- range $file := include "anteroom.secrets.made" . | fromYamlArray }}
{{- $_ := set $from $file (dict "secret" $made "key" $file) }}
{{- end }}
{{- toYaml $from }}
{{- end }}

{{- /* The files that the chart makes secrets for: what secrets.generate says and nothing else gives. */}}
{{- define "anteroom.secrets.made" -}}
{{- $s := .Values.secrets }}
{{- $algorithm := dig "identity" "jwt" "algorithm" "ES256" .Values.config }}
{{- $made := list }}
{{- range $file, $wanted := $s.generate }}
{{- $given := or (hasKey $s.existing $file) (hasKey $s.external.data $file) (hasKey $s.values $file) }}
{{- $moot := and (eq $file "jwt-keys") (has $algorithm (list "HS256" "none")) }}
{{- if and $wanted (not $given) (not $moot) }}
{{- if and (eq $file "jwt-keys") (ne $algorithm "ES256") }}
{{- fail (printf "secrets.generate.jwt-keys: the chart makes keys for ES256 alone, and config.identity.jwt.algorithm is %s; put what \"anteroom keys new --jwt %s\" prints into a Secret and name it in secrets.existing.jwt-keys" $algorithm $algorithm) }}
{{- end }}
{{- $made = append $made $file }}
{{- end }}
{{- end }}
{{- toYaml $made }}
{{- end }}

{{- /*
A signing key as a private JWK. Helm makes one in SEC 1's DER, which for P-256 has its parts
at fixed places: the private number at 7, the point's coordinates at 57 and 89, 32 bytes each.
*/}}
{{- define "anteroom.secrets.jwk" -}}
{{- $der := genPrivateKey "ecdsa" | replace "-----BEGIN EC PRIVATE KEY-----" "" | replace "-----END EC PRIVATE KEY-----" "" | replace "\n" "" | b64dec }}
{{- $d := substr 7 39 $der | b64enc | replace "+" "-" | replace "/" "_" | trimSuffix "=" }}
{{- $x := substr 57 89 $der | b64enc | replace "+" "-" | replace "/" "_" | trimSuffix "=" }}
{{- $y := substr 89 121 $der | b64enc | replace "+" "-" | replace "/" "_" | trimSuffix "=" }}
{{- dict "kty" "EC" "crv" "P-256" "alg" "ES256" "use" "sig" "kid" (randAlphaNum 22) "d" $d "x" $x "y" $y | toJson }}
{{- end }}

{{- /* A new secret for a file. */}}
{{- define "anteroom.secrets.new" -}}
{{- if eq . "jwt-keys" -}}
{"keys":[{{ include "anteroom.secrets.jwk" . }},{{ include "anteroom.secrets.jwk" . }}]}
{{- else -}}
{{ randBytes 32 }}
{{- end }}
{{- end }}
