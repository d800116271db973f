#!/bin/sh
# Does by occ what the integration guide has people click, and hands what comes of
# it to Anteroom: the OIDC app and a client of it, the group and the test user, the
# service account and its app password, keys for sessions.
#
# It runs in Nextcloud's own image, as root, with occ as www-data. It may run again
# at any time: what is there is left as it is, what a run that was cut short has
# left undone is done. It prints no secret, and puts none on a command line.
#
#   SITE                  where people find Anteroom
#   NEXTCLOUD_AT          where this job reaches Nextcloud
#   HANDOVER, OWNER       the folder for the files, and whom they are for
#   TEST_PASSWORD         of the user testdoc
#   FIRST_RUN_CLIENT_ID, FIRST_RUN_CLIENT_SECRET   a client that was made by hand
#   OCC                   how to run occ
set -eu
umask 077

SITE=${SITE:-http://localhost:8000}
NEXTCLOUD_AT=${NEXTCLOUD_AT:-http://nextcloud}
HANDOVER=${HANDOVER:-/handover}
OWNER=${OWNER:-65532:65532}
TEST_PASSWORD=${TEST_PASSWORD:-testdoc123}
OCC=${OCC:-setpriv --reuid=www-data --regid=www-data --init-groups php /var/www/html/occ}
ACCOUNT=voiceassist_service
CLIENT="Anteroom at $SITE"

say() { printf 'first-run: %s\n' "$*"; }
fail() {
	printf 'first-run: %s\n' "$*" >&2
	exit 1
}

# occ runs a command and keeps what it prints in $out. Nothing is asked.
occ() {
	# shellcheck disable=SC2086 # OCC is words
	out=$($OCC --no-interaction --no-ansi "$@" 2>&1 </dev/null)
}

# occ_with is occ for the commands that read a password, which is its first
# argument. Which of the two variables counts, differs by command.
occ_with() {
	pass=$1
	shift
	# shellcheck disable=SC2086 # OCC is words
	out=$(OC_PASS=$pass NC_PASS=$pass $OCC --no-interaction --no-ansi "$@" 2>&1 </dev/null)
}

# must is occ for what has to work.
must() { occ "$@" || fail "occ $1 failed: $out"; }
must_with() { occ_with "$@" || fail "occ $2 failed: $out"; }

# missing: the last command is not known to this Nextcloud, or to this app.
missing() { case $out in *'is not defined'* | *'no commands defined'*) return 0 ;; *) return 1 ;; esac; }

# random is a secret of 43 letters and digits, with all kinds in it.
random() { printf 'aA1%s' "$(head -c 64 /dev/urandom | base64 | tr -dc 'A-Za-z0-9' | cut -c1-40)"; }

# put takes a file's content from standard input. A reader sees the old file or
# the new one, never half.
put() {
	cat >"$HANDOVER/.$1.new"
	chown "$OWNER" "$HANDOVER/.$1.new"
	chmod 0400 "$HANDOVER/.$1.new"
	if cmp -s "$HANDOVER/.$1.new" "$HANDOVER/$1"; then
		rm -f "$HANDOVER/.$1.new"
		return
	fi
	mv -f "$HANDOVER/.$1.new" "$HANDOVER/$1"
	say "$1: handed over"
}

group() {
	if occ group:add "$1"; then
		say "group $1: made"
	else
		case $out in *'already exists'*) ;; *) fail "occ group:add failed: $out" ;; esac
	fi
}

# member puts a user into a group; who is in it stays.
member() { must group:adduser "$1" "$2"; }

test_user() {
	group users
	if ! occ user:info testdoc; then
		# The guide's password is a well-known one, which Nextcloud refuses otherwise.
		must config:app:set password_policy enforceNonCommonPassword --value=0
		must config:app:set password_policy enforceHaveIBeenPwned --value=0
		must_with "$TEST_PASSWORD" user:add --password-from-env --display-name 'Test Doctor' --group users testdoc
		say 'user testdoc: made'
	fi
	member users testdoc
	occ user:setting testdoc settings email || must user:setting testdoc settings email testdoc@example.com
}

# password_works asks Nextcloud. An app password may be shown as a Bearer token,
# and one that is refused so counts as no failed sign-in. The configuration of
# curl comes by standard input: ps shows command lines.
password_works() {
	status=$(printf 'header = "Authorization: Bearer %s"\n' "$(cat "$HANDOVER/app_password")" |
		curl -sS -K - -o /dev/null -w '%{http_code}' --max-time 30 -H 'Accept: application/json' -H 'OCS-APIRequest: true' "$NEXTCLOUD_AT/ocs/v2.php/cloud/user") ||
		fail "$NEXTCLOUD_AT does not answer; the app password stays as it is"
	case $status in
	200) return 0 ;;
	401) return 1 ;;
	*) fail "$NEXTCLOUD_AT answers $status to the app password, which stays as it is" ;;
	esac
}

# service_account gives the account a password that nobody knows and makes an app
# password with it: the app password dies with it, so it is not changed after.
service_account() {
	group voiceassist_services
	if [ -s "$HANDOVER/app_password" ] && password_works; then
		member voiceassist_services "$ACCOUNT"
		return
	fi
	password=$(random)
	if occ user:info "$ACCOUNT"; then
		must_with "$password" user:resetpassword --password-from-env "$ACCOUNT"
	else
		must_with "$password" user:add --password-from-env --display-name VoiceAssist --group voiceassist_services "$ACCOUNT"
		say "user $ACCOUNT: made"
	fi
	member voiceassist_services "$ACCOUNT"
	# Its newer name, and its older one.
	if ! occ_with "$password" user:auth-tokens:add --password-from-env "$ACCOUNT" && missing; then
		occ_with "$password" user:add-app-password --password-from-env "$ACCOUNT" || :
	fi
	made=$(printf '%s\n' "$out" | grep -xE '[A-Za-z0-9]{72}') || fail "occ made no app password for $ACCOUNT"
	printf '%s' "$made" | put app_password
}

# from_list prints one key of our client, out of the indented JSON of oidc:list or
# oidc:create: one key a line.
from_list() {
	printf '%s\n' "$out" | awk -v client="$CLIENT" -v key="$1" '
		function value(line) { sub(/^[^:]*: *"/, "", line); sub(/",? *$/, "", line); return line }
		$1 == "\"name\":" { ours = value($0) == client }
		ours && $1 == "\"" key "\":" { print value($0); exit }'
}

by_hand() {
	cat >&2 <<-END
		first-run: $1
		first-run: Make a client by hand, and start again:
		first-run:   1. Sign in at Nextcloud as its administrator.
		first-run:   2. Administration settings: OpenID Connect clients, if that is there; else Security, OAuth 2.0.
		first-run:   3. Add a client: name Anteroom, redirection URI $SITE/auth/callback, confidential.
		first-run:   4. Put FIRST_RUN_CLIENT_ID=… and FIRST_RUN_CLIENT_SECRET=… into .env beside compose.yaml.
		first-run: Everything else that can be done is done.
	END
	exit 1
}

oidc_app() {
	if ! occ app:getpath oidc; then
		occ app:install oidc || by_hand 'The app oidc cannot be installed: the app store is out of reach, or has none for this Nextcloud.'
		say 'app oidc: installed'
	fi
	must app:enable oidc
}

client() {
	if [ -n "${FIRST_RUN_CLIENT_ID:-}" ]; then
		[ -n "${FIRST_RUN_CLIENT_SECRET:-}" ] || fail 'FIRST_RUN_CLIENT_ID is set, FIRST_RUN_CLIENT_SECRET is not'
		id=$FIRST_RUN_CLIENT_ID
		secret=$FIRST_RUN_CLIENT_SECRET
		say 'client: the one that was made by hand'
		return
	fi
	oidc_app
	if ! occ oidc:list; then
		! missing || by_hand 'This version of the app oidc makes no clients by occ: that came with 1.0.'
		fail 'occ oidc:list failed'
	fi
	id=$(from_list client_id)
	secret=$(from_list client_secret)
	if [ -z "$id" ]; then
		occ oidc:create --algorithm=RS256 --flow=code --type=confidential "$CLIENT" "$SITE/auth/callback" || fail 'occ oidc:create failed'
		id=$(from_list client_id)
	secret=$(from_list client_secret)
		say 'client: made'
	fi
	if [ -z "$id" ] || [ -z "$secret" ]; then
		fail 'the app oidc shows no id or no secret of the client: remove it by occ oidc:remove, and run this again'
	fi
	logout_uri
}

# logout_uri lets Nextcloud send people back after they signed out. By occ since
# the app's 2.0.6; without it they end at Nextcloud's own page.
logout_uri() {
	if ! occ oidc:list-logout-redirect-uri; then
		say "signing out: to come back after it, add $SITE/auth/logout as a logout URI in the settings of OpenID Connect"
		return
	fi
	case $out in *"\"$SITE/auth/logout\""*) return ;; esac
	must oidc:create-logout-redirect-uri "$SITE/auth/logout"
	say 'logout URI: added'
}

case $SITE in http://* | https://*) ;; *) fail "SITE is $SITE; it has to be http://… or https://…" ;; esac
[ -d "$HANDOVER" ] || fail "$HANDOVER is not there"
exec 9>"$HANDOVER/.lock"
flock 9
chown "$OWNER" "$HANDOVER"
chmod 0700 "$HANDOVER"
must status
case $out in *'installed: true'*) ;; *) fail 'Nextcloud is not installed yet: start it, wait until it is, and run this again' ;; esac

[ -s "$HANDOVER/session_keys" ] || head -c 32 /dev/urandom | base64 | put session_keys
test_user
service_account
client
printf '%s' "$secret" | put client_secret
printf 'signin:\n  client_id: "%s"\n  client_secret_file: %s/client_secret\n' "$id" "$HANDOVER" | put anteroom.yaml
say 'everything is there'
