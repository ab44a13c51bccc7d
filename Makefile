# Hastack. `make up` gives a running cloud, `make test` passes the tests.
SHELL := /bin/bash
STATE_DIR ?= /var/lib/hastack
BIN := bin/hastack
IMAGE := bin/image/disk.qcow2

# What a cloud with real servers runs, and what builds its guest image.
PACKAGES := qemu-system-x86 qemu-utils dnsmasq-base nftables iproute2 iputils-ping procps openssh-client \
	genisoimage novnc python3-openstackclient curl \
	busybox-static cpio lz4 e2fsprogs dosfstools mtools fdisk binutils openssl
# What the tests start beside it: the engines of a cluster.
TEST_PACKAGES := mariadb-server rabbitmq-server memcached arping tcpdump conntrack jq debootstrap systemd-container

.PHONY: all deps test-deps build image up down reset test check lint race bench bench-packages e2e cluster compat hostile clean
all: build

deps:
	@packaging/deps.sh $(PACKAGES)

test-deps: deps
	@packaging/deps.sh $(TEST_PACKAGES)

build: $(BIN)
# Whatever is embedded counts as source.
$(BIN): go.mod $(shell find cmd internal -type f ! -path '*/testdata/*' 2>/dev/null)
	@packaging/step.sh build "$(BIN)" go build -buildvcs=auto -o $(BIN) ./cmd/hastack

image: $(IMAGE)
$(IMAGE): $(shell find image -type f)
	@packaging/step.sh image "testvm from Debian packages" image/build.sh bin/image

up: deps $(BIN) $(IMAGE)
	@$(BIN) up --state-dir $(STATE_DIR)

down: $(BIN)
	@$(BIN) down --state-dir $(STATE_DIR)

reset: $(BIN)
	@$(BIN) reset --yes --state-dir $(STATE_DIR)

# The tests need no root, network or daemon; what needs them says why it skips.
test:
	go test ./...

race:
	go test -race ./...

lint:
	@packaging/lint.sh

check: lint race build

# The figures of doc/performance.md. Counts, not durations: test/bench makes a
# cloud for each measurement. TMPDIR says on which disk. Real servers need root.
bench: $(BIN) $(IMAGE)
	HASTACK_BIN=$(CURDIR)/$(BIN) go test -run '^$$' -bench 'Token|Logins' -benchtime 20000x -timeout 20m ./test/bench
	HASTACK_BIN=$(CURDIR)/$(BIN) go test -run '^$$' -bench 'Detail|Port|Claim|Create|Boot' -benchtime 500x -timeout 20m ./test/bench
	HASTACK_BIN=$(CURDIR)/$(BIN) go test -run '^$$' -bench 'Start|Idle' -benchtime 3x -timeout 20m ./test/bench
	@if [ $$(id -u) = 0 ]; then test/bench/qemu.sh; else echo "not root: no figures of real servers"; fi

# Each package by itself, client included.
bench-packages:
	go test -run '^$$' -bench . -benchmem -timeout 30m ./internal/...

# The whole cloud with real servers, in a network namespace of its own.
e2e: test-deps $(BIN) $(IMAGE)
	test/e2e/run.sh cloud.sh
	test/e2e/run.sh faults.sh

# Three servers with everything: lab, deployment, end-to-end script, drills.
cluster: test-deps $(BIN) $(IMAGE)
	test/cluster/run.sh

# gophercloud's own acceptance tests against the built binary.
compat: $(BIN)
	test/compat/run.sh

# Bad input and secrets against the built binary, with simulated servers.
hostile: $(BIN)
	HASTACK_BIN=$(CURDIR)/$(BIN) go test -count=1 ./test/hostile

clean:
	rm -rf bin
