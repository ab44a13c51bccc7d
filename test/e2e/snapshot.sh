#!/bin/bash
# Prints everything on this machine that a cloud could leave behind: the
# network of this namespace, named namespaces, and processes of our kinds.
set -euo pipefail
echo "links:"; ip -o link show | awk -F': ' '{print $2}' | sort
echo "addresses:"; ip -o addr show | awk '{print $2, $3, $4}' | sort
echo "routes:"; { ip route show table all; ip -6 route show table all; } | grep -v -e ' lo ' -e 'dev lo' | sort || true
echo "rules:"; nft list ruleset
echo "namespaces:"; { ls /run/netns 2>/dev/null || true; } | { grep -E '^q(router|dhcp)-' || true; } | sort
echo "processes:"
for p in /proc/[0-9]*; do
  exe=$(readlink "$p/exe" 2>/dev/null || true)
  case "$exe" in
    */qemu-system-* | */dnsmasq | */hastack) [ "$(readlink "$p/ns/net")" = "$(readlink /proc/self/ns/net)" ] && echo "${exe##*/}" ;;
  esac
done | sort || true
