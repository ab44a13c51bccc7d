#!/usr/bin/env python3
"""requests.py API CLOUDS: idempotent requests through the virtual address, ten
a second, each tried again once, until SIGTERM; then a line of figures."""
import json, signal, ssl, sys, time, urllib.request

import yaml

api, clouds = sys.argv[1:3]
cloud = yaml.safe_load(open(clouds))["clouds"]["hastack-demo"]
tls = ssl.create_default_context(cafile=cloud["cacert"])
root = api.removesuffix("/identity/v3")


def ask(url, token=None, body=None):
    head = {"Content-Type": "application/json", **({"X-Auth-Token": token} if token else {})}
    return urllib.request.urlopen(urllib.request.Request(url, data=body, headers=head), timeout=5, context=tls)


def log_in():
    user = {"name": "demo", "domain": {"name": "Default"}, "password": cloud["auth"]["password"]}
    scope = {"project": {"name": "demo", "domain": {"name": "Default"}}}
    auth = {"auth": {"identity": {"methods": ["password"], "password": {"user": user}}, "scope": scope}}
    return ask(api + "/auth/tokens", body=json.dumps(auth).encode()).headers["X-Subject-Token"]


done = []
signal.signal(signal.SIGTERM, lambda *_: done.append(True))
paths = ["/compute/v2.1/servers", "/network/v2.0/networks", "/image/v2/images?limit=1", "/identity/v3/auth/projects"]
token, n, first, again, slowest, told = log_in(), 0, 0, 0, 0.0, []
while not done:
    path, begun = paths[n % len(paths)], time.monotonic()
    for attempt in range(2):
        try:
            ask(root + path, token).read()
            break
        except Exception as e:
            first, again = first + (attempt == 0), again + (attempt == 1)
            told.append(f"{path}: {e}")
    slowest, n = max(slowest, time.monotonic() - begun), n + 1
    time.sleep(0.1)
print(f"{n} requests, {first} failed at first, {again} failed after one retry, slowest {slowest:.2f} s")
for line in told[:10]:
    print(" ", line)
