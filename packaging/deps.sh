#!/bin/bash
# Installs the Debian packages it is given; does nothing once they are there,
# so that it also passes where there is no way out.
set -euo pipefail
missing=()
for p in "$@"; do
  [ "$(dpkg-query -W -f '${db:Status-Status}' "$p" 2>/dev/null || true)" = installed ] || missing+=("$p")
done
if [ ${#missing[@]} -eq 0 ]; then
  printf '%-11sok (%d present)\n' packages $#
  exit 0
fi
if [ "$(id -u)" != 0 ]; then
  echo "hastack: packages are missing: run as root (sudo make deps), or install ${missing[*]}" >&2
  exit 1
fi
printf '%-11sinstalling %s\n' packages "${missing[*]}"
export DEBIAN_FRONTEND=noninteractive
log=$(mktemp)
trap 'rm -f "$log"' EXIT
# Daemons of these packages must not start by themselves: Hastack starts its own.
policy=/usr/sbin/policy-rc.d
if [ ! -e $policy ]; then
  printf '#!/bin/sh\nexit 101\n' >$policy && chmod 755 $policy
  trap 'rm -f "$log" '$policy EXIT
fi
if ! { apt-get update -qq && apt-get install -y -qq --no-install-recommends "${missing[@]}"; } >"$log" 2>&1; then
  tail -20 "$log" >&2
  echo "hastack: packages could not be installed: see above, then make deps" >&2
  exit 1
fi
