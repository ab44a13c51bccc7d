#!/bin/bash
# day2.sh: what an operator does with a cluster that serves: rotate keys and
# certificates, back up and restore, upgrade, go back, and an upgrade to a
# release that cannot start. A token, a user and a server must outlive it all,
# and requests through the virtual address go on during the upgrade.
#
# Runs at the operator's seat (in a lab: its namespace) against the deployed
# cluster in STATE_DIR. NEXT is another build of hastack.
set -euo pipefail
: "${STATE_DIR:?}" "${BIN:?}" "${NEXT:?}" "${WORK:?}"
say() { printf '%s %s\n' "$(date +%T)" "$*"; }
ok() { printf '%s ok   %s\n' "$(date +%T)" "$*"; }
fail() { printf 'FAIL %s\n' "$*" >&2; exit 1; }
here=$(cd "$(dirname "$0")" && pwd)
at=(--cluster-dir "$STATE_DIR")
eval "$("$BIN" env "${at[@]}" --admin)"
api=$(awk '/auth_url/{print $2; exit}' "$STATE_DIR/clouds.yaml")

# works TOKEN: tells whether a token is taken.
works() { [ "$(curl -s -o /dev/null -w '%{http_code}' --retry 3 --retry-all-errors --cacert "$OS_CACERT" -H "X-Auth-Token: $1" "$api/auth/projects")" = 200 ]; }

# ---------------------------------------------------------------- keys
old=$(openstack token issue -f value -c id)
"$BIN" rotate keys "${at[@]}" >/dev/null
new=$(openstack token issue -f value -c id)
works "$old" || fail "a token does not outlive a rotation"
works "$new" || fail "a token of the new key is not taken"
# Killed in the middle, and run again.
for after in 0.1 0.4 0.8; do
  timeout -s KILL "$after" "$BIN" rotate keys "${at[@]}" >/dev/null 2>&1 || true
  works "$old" && works "$new" || fail "tokens are refused after a rotation that was killed after $after s"
done
"$BIN" rotate keys "${at[@]}" >/dev/null
works "$(openstack token issue -f value -c id)" || fail "a token is not taken after rotations that were killed"
ok "token keys rotate, also when it is killed"
"$BIN" rotate certs "${at[@]}" >"$WORK/certs.log" || fail "rotate certs: $(tail -3 "$WORK/certs.log")"
works "$(openstack token issue -f value -c id)" || fail "no token after the certificates were renewed"
ok "certificates rotate"

# ---------------------------------------------------------------- backup
openstack user create --password day2-secret day2 >/dev/null
id=$(openstack user show day2 -f value -c id)
"$BIN" backup "$WORK/day2.tar.gz" "${at[@]}" >/dev/null
[ "$(stat -c %a "$WORK/day2.tar.gz")" = 600 ] || fail "the backup is readable by others"
openstack user delete day2
openstack project create since-the-backup >/dev/null
servers=$(openstack server list --all-projects -f value -c ID | sort)
"$BIN" restore "$WORK/day2.tar.gz" --yes "${at[@]}" >/dev/null
[ "$(openstack user show day2 -f value -c id)" = "$id" ] || fail "the user did not come back"
! openstack project show since-the-backup >/dev/null 2>&1 || fail "the project that came after the backup is still there"
[ "$(openstack server list --all-projects -f value -c ID | sort)" = "$servers" ] || fail "the servers are others"
OS_PROJECT_NAME='' openstack --os-cloud '' --os-auth-url "$api" --os-username day2 --os-password day2-secret --os-user-domain-name Default \
  --os-identity-api-version 3 --os-cacert "$OS_CACERT" token issue -f value -c user_id >/dev/null || fail "the user cannot log in"
openstack user delete day2
ok "a backup brings back what was deleted"
mv "$STATE_DIR" "$STATE_DIR.lost"
"$BIN" restore "$WORK/day2.tar.gz" "${at[@]}" >/dev/null
"$BIN" rotate keys "${at[@]}" >/dev/null || fail "the directory from the backup does not reach the cluster"
rm -rf "$STATE_DIR.lost"
ok "the operator's directory comes back from a backup"

# ---------------------------------------------------------------- upgrade
"$here/requests.py" "$api" "$STATE_DIR/clouds.yaml" >"$WORK/requests" &
probe=$!
"$NEXT" upgrade "${at[@]}" | tee "$WORK/upgrade.log"
kill -TERM $probe && wait $probe || true
cat "$WORK/requests"
grep -q ' 0 failed after one retry' "$WORK/requests" || fail "requests failed during the upgrade"
ok "upgrade under load"
"$NEXT" upgrade --rollback "${at[@]}" >/dev/null
ok "rollback"
cat >"$WORK/broken" <<'X'
#!/bin/sh
case $1 in version) echo '{"version": "broken"}' ;; db) exit 0 ;; *) echo "this release cannot start" >&2; exit 1 ;; esac
X
chmod 755 "$WORK/broken"
if "$BIN" upgrade --binary "$WORK/broken" "${at[@]}" >"$WORK/broken.log" 2>&1; then fail "a release that cannot start was taken"; fi
grep -q 'the upgrade was undone' "$WORK/broken.log" || fail "not undone: $(tail -3 "$WORK/broken.log")"
works "$(openstack token issue -f value -c id)" || fail "the cluster does not serve after the upgrade that was undone"
ok "a release that cannot start is undone"
