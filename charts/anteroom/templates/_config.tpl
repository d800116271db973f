{{- /*
The configuration: what Kubernetes decides, overlaid by .Values.config. It is refused here
only where it would put a secret into a ConfigMap, or where chart and configuration would
contradict each other; the rest is "anteroom check"'s.
*/}}
{{- define "anteroom.config" -}}
{{- include "anteroom.config.refuse" . }}
{{- $config := deepCopy .Values.config }}
{{- $server := dict "listen" ":8000" "admin_listen" ":9090" "drain_timeout" (printf "%ds" (int .Values.drain.timeoutSeconds)) }}
{{- if .Values.tls.enabled }}
{{- $_ := set $server "tls" (dict "cert" "/run/anteroom/tls/tls.crt" "key" "/run/anteroom/tls/tls.key") }}
{{- end }}
{{- if and (eq .Values.mode "forwardAuth") .Values.forwardAuth.envoy.enabled }}
{{- $_ := set $server "ext_authz_listen" ":9191" }}
{{- end }}
{{- $ours := dict "server" $server }}
{{- if eq .Values.mode "forwardAuth" }}
{{- $_ := set $ours "upstream" "none" }}
{{- else if eq .Values.mode "sidecar" }}
{{- $_ := set $ours "upstream" (printf "http://localhost:%d" (int .Values.sidecar.applicationPort)) }}
{{- end }}
{{- if .Values.caBundle.configMap }}
{{- $_ := set $ours "nextcloud" (dict "ca_file" "/run/anteroom/ca/ca.crt") }}
{{- end }}
{{- if .Values.redis.enabled }}
{{- $redis := dict "url" (printf "redis://%s:6379/0" (include "anteroom-redis.fullname" .Subcharts.redis)) "username" "anteroom" "prefix" .Values.redis.prefix }}
{{- $_ := set $ours "session" (dict "store" "redis" "redis" $redis) }}
{{- end }}
{{- $config = mustMergeOverwrite $ours $config }}
{{- range $file, $at := include "anteroom.secrets.sources" . | fromYaml }}
{{- $path := index (include "anteroom.secrets.known" $ | fromYaml) $file | splitList "." }}
{{- $section := $config }}
{{- range initial $path }}
{{- if not (hasKey $section .) }}{{ $_ := set $section . dict }}{{ end }}
{{- $section = index $section . }}
{{- end }}
{{- $_ := set $section (printf "%s_file" (last $path)) (printf "/run/anteroom/secrets/%s" $file) }}
{{- end }}
{{- $plain := dig "server" "allow_plaintext" list $config }}
{{- if and (include "anteroom.config.plainApplication" $config) (not (has "application" $plain)) }}{{ $plain = append $plain "application" }}{{ end }}
{{- if and .Values.redis.enabled (not (has "redis" $plain)) }}{{ $plain = append $plain "redis" }}{{ end }}
{{- if $plain }}{{ $_ := set $config.server "allow_plaintext" $plain }}{{ end }}
{{- toYaml $config }}
{{- end }}

{{- /* Not empty where an application is reached by plain HTTP under a name that only the cluster knows: one label, or name.namespace.svc. */}}
{{- define "anteroom.config.plainApplication" -}}
{{- $urls := list (dig "upstream" "" .) (dig "identity" "provision" "url" "" .) }}
{{- range dig "routes" list . }}{{ $urls = append $urls (dig "upstream" "" .) }}{{ end }}
{{- range $urls }}
{{- if regexMatch "^(http|h2c)://([a-z0-9-]+|[a-z0-9-]+\\.[a-z0-9-]+\\.svc(\\.[a-z0-9.-]+)?)(:[0-9]+)?/?" . }}
{{- $host := regexReplaceAll "^[a-z0-9]+://([^:/]+).*$" . "${1}" }}
{{- if and (ne $host "localhost") (regexMatch "^([a-z0-9-]+|[a-z0-9-]+\\.[a-z0-9-]+\\.svc(\\.[a-z0-9.-]+)?)$" $host) }}yes{{ end }}
{{- end }}
{{- end }}
{{- end }}

{{- define "anteroom.config.refuse" -}}
{{- $config := .Values.config }}
{{- range $file, $key := include "anteroom.secrets.known" . | fromYaml }}
{{- $path := splitList "." $key }}
{{- $section := $config }}
{{- range initial $path }}{{ $section = index (default dict $section) . }}{{ end }}
{{- if and (ne $file "redis-url") (hasKey (default dict $section) (last $path)) }}
{{- fail (printf "config.%s would stand in a ConfigMap for all to read: take it out, and put it into a Secret that secrets.existing.%s names (or, for a trial, into secrets.values.%s)" $key $file $file) }}
{{- end }}
{{- end }}
{{- if regexMatch "://[^/@]*:[^/@]+@" (dig "session" "redis" "url" "" $config) }}
{{- fail "config.session.redis.url has a password, and would stand in a ConfigMap for all to read: write config.session.redis.username, and put the password into a Secret that secrets.existing.redis-password names" }}
{{- end }}
{{- range $key, $instead := dict "listen" "nothing: the pod listens on 8000" "admin_listen" "nothing: the pod listens on 9090" "drain_timeout" "drain.timeoutSeconds" "ext_authz_listen" "forwardAuth.envoy.enabled" }}
{{- if hasKey (dig "server" dict $config) $key }}{{ fail (printf "config.server.%s is the chart's to set; write %s" $key $instead) }}{{ end }}
{{- end }}
{{- if dig "server" "tls" "cert" "" $config }}{{ fail "config.server.tls.cert is the chart's to set; write tls.enabled and tls.secretName" }}{{ end }}
{{- $upstream := dig "upstream" "" $config }}
{{- if and (eq .Values.mode "standalone") (not $upstream) (not (dig "routes" list $config)) }}
{{- fail "config.upstream is not set: where the application listens, such as http://voiceassist:8000 (mode: forwardAuth, where front proxies forward by themselves)" }}
{{- end }}
{{- if and (ne .Values.mode "standalone") $upstream }}
{{- fail (printf "config.upstream is the chart's to set in mode %s; leave it out%s" .Values.mode (ternary ", and write sidecar.applicationPort" "" (eq .Values.mode "sidecar"))) }}
{{- end }}
{{- if and (eq .Values.mode "forwardAuth") (not (dig "server" "trusted_proxies" list $config)) }}
{{- fail "config.server.trusted_proxies is not set, and nobody else may ask: name the networks of the front proxy's pods, such as [10.0.0.0/8]" }}
{{- end }}
{{- if and (eq .Values.mode "sidecar") (not .Values.sidecar.selectorLabels) }}
{{- fail "sidecar.selectorLabels is not set: the labels of the application's pods, by which Service and NetworkPolicy find them" }}
{{- end }}
{{- $store := ternary "redis" (dig "session" "store" "memory" $config) .Values.redis.enabled }}
{{- $elsewhere := or (dig "session" "redis" "url" "" $config) (hasKey .Values.secrets.existing "redis-url") (hasKey .Values.secrets.external.data "redis-url") (hasKey .Values.secrets.values "redis-url") }}
{{- if and .Values.redis.enabled $elsewhere }}
{{- fail "config.session.redis.url, or the secret redis-url, names a Redis, and redis.enabled brings another; keep one" }}
{{- end }}
{{- if and .Values.redis.enabled (ne (dig "session" "redis" "prefix" .Values.redis.prefix $config) .Values.redis.prefix) }}
{{- fail "config.session.redis.prefix is not the one that the bundled Redis lets Anteroom use; write redis.prefix" }}
{{- end }}
{{- if and .Values.redis.enabled (ne (dig "session" "store" "redis" $config) "redis") }}
{{- fail (printf "config.session.store is %s, and redis.enabled brings a Redis that nothing would use; keep one" $config.session.store) }}
{{- end }}
{{- if and (gt (include "anteroom.pods" . | int) 1) (ne $store "redis") }}
{{- fail (printf "%s pods cannot share sessions that are kept in %s: set redis.enabled, or config.session.store: redis and config.session.redis.url" (include "anteroom.pods" .) $store) }}
{{- end }}
{{- if not (has (dig "integrations" "rotate_every" "0s" $config | toString) (list "0s" "0")) }}
{{- fail "config.integrations.rotate_every has Anteroom write new passwords into their files, and what is mounted of a Secret cannot be written: leave it out, and change the Secret (docs/kubernetes.md)" }}
{{- end }}
{{- if and .Values.tls.certManager.enabled (not .Values.tls.enabled) }}
{{- fail "tls.certManager.enabled has a certificate made that nothing uses; set tls.enabled, too" }}
{{- end }}
{{- if and .Values.tls.certManager.enabled (not .Values.tls.certManager.issuerRef.name) }}
{{- fail "tls.certManager.issuerRef.name is not set: which Issuer, or ClusterIssuer, makes the certificate" }}
{{- end }}
{{- if and .Values.secrets.external.data (not .Values.secrets.external.storeRef.name) }}
{{- fail "secrets.external.storeRef.name is not set: which SecretStore, or ClusterSecretStore, has the secrets" }}
{{- end }}
{{- if and .Values.httpRoute.enabled (not .Values.httpRoute.parentRefs) }}
{{- fail "httpRoute.parentRefs is empty: name the Gateway, such as [{name: public, namespace: gateway}]" }}
{{- end }}
{{- if and (ne .Values.mode "forwardAuth") (or .Values.forwardAuth.traefik.enabled .Values.forwardAuth.envoy.enabled) }}
{{- fail (printf "forwardAuth is for mode: forwardAuth, and in mode %s nothing would come of it; write that mode, or leave it out" .Values.mode) }}
{{- end }}
{{- if and .Values.networkPolicy.application.podLabels (or (not .Values.networkPolicy.enabled) (ne .Values.mode "standalone")) }}
{{- fail "networkPolicy.application closes the application's own pods with networkPolicy.enabled and in mode: standalone alone, and they would stay open to all; leave it out, and make a NetworkPolicy of yours" }}
{{- end }}
{{- if and .Values.networkPolicy.egress.enabled (or (not .Values.networkPolicy.enabled) (eq .Values.mode "sidecar")) }}
{{- fail "networkPolicy.egress bounds what Anteroom may reach with networkPolicy.enabled alone, and not in mode: sidecar, where it would bound the application, too; leave it out" }}
{{- end }}
{{- if and .Values.networkPolicy.egress.enabled (not .Values.networkPolicy.egress.rules) }}
{{- fail "networkPolicy.egress.rules is empty: nobody could sign in, for Anteroom would not reach Nextcloud; say where that and the application are" }}
{{- end }}
{{- if and (not (hasKey (include "anteroom.secrets.sources" . | fromYaml) "client-secret")) (not (dig "signin" "client_secret_file" "" $config)) }}
{{- fail "the client's secret is not there: put it into a Secret that secrets.existing.client-secret names (or into secrets.external.data.client-secret, or for a trial secrets.values.client-secret)" }}
{{- end }}
{{- end }}
