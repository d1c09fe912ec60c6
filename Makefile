# Thin: what people type. The build itself is CMake (CMakePresets.json), what runs a local cluster is packaging/local_cluster.py.

# Debian's interpreter: its pytest belongs to it, whatever else is first in PATH.
PYTHON := /usr/bin/python3
JOBS := $(shell nproc)
BIN := build/release/bin

.PHONY: all run start stop reset run-both run-meta run-block test test-unit test-system lint format sim bench bench-quick \
    build-debug build-release build-asan build-tsan deps clean

all: build-release

deps:
	@packaging/deps.sh

build-debug build-release build-asan build-tsan: build-%: deps
	@mkdir -p build
	@cmake --preset $* >build/$*.cmake.log 2>&1 || { cat build/$*.cmake.log >&2; exit 1; }
	@cmake --build --preset $* -j $(JOBS)

# A three-node cluster and two mounts on this machine; shows itself working and leaves it running.
run: build-release
	@$(PYTHON) packaging/local_cluster.py run --bin $(BIN)

start:
	@$(PYTHON) packaging/local_cluster.py start --bin $(BIN)

stop:
	@$(PYTHON) packaging/local_cluster.py stop --bin $(BIN)

reset:
	@$(PYTHON) packaging/local_cluster.py reset --bin $(BIN)

# Single servers in the foreground. run-meta uses the block server that run-block starts.
run-both: build-release
	exec $(BIN)/surfd -s both -p 8080 -l --data run/single-both

run-meta: build-release
	exec $(BIN)/surfd -s meta -p 8080 -l --data run/single-meta 127.0.0.1:8081

run-block: build-release
	exec $(BIN)/surfd -s block -p 8081 -l --id 2 --data run/single-block

# Everything that gates.
test: deps
	@$(PYTHON) tests/run_all.py

test-unit: build-debug
	@ctest --test-dir build/debug --output-on-failure -j $(JOBS)

test-system: build-release
	@SURF_BIN=$(CURDIR)/$(BIN) $(PYTHON) -m pytest tests/system -q

lint: deps
	@$(PYTHON) -m pytest tests/lint -q

format:
	@git ls-files '*.c' '*.h' | xargs clang-format -i

# A soak: make sim SEEDS=100000 FROM=1
SEEDS ?= 10000
FROM ?= 1
sim: build-release
	@$(BIN)/../test-bin/sim --seeds $(FROM) $(SEEDS)

bench: build-release
	@$(PYTHON) bench/run.py --bin $(BIN)

bench-quick: build-release
	@$(PYTHON) bench/run.py --bin $(BIN) --quick

clean:
	rm -rf build
