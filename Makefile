# Thin: what people type. The build itself is CMake (CMakePresets.json), what runs a local cluster is packaging/local_cluster.py.

# Debian's interpreter: its pytest belongs to it, whatever else is first in PATH.
PYTHON := /usr/bin/python3
JOBS := $(shell nproc)
BIN := build/release/bin

.PHONY: all programs run start stop reset run-both run-meta run-block test test-unit test-system lint format sim bench bench-quick bench-raft bench-failover bench-visibility bench-memory bench-space bench-blocks bench-fragments bench-cpu bench-kv scenarios soak \
    build-debug build-release build-asan build-tsan deps clean

all: build-release

deps:
	@packaging/deps.sh

build-debug build-release build-asan build-tsan: build-%: deps
	@mkdir -p build
	@cmake --preset $* >build/$*.cmake.log 2>&1 || { cat build/$*.cmake.log >&2; exit 1; }
	@cmake --build --preset $* -j $(JOBS)

# What is run, without tests and benchmarks. What it does is in a file, and only told when it fails.
PROGRAMS := surfd surffs surfctl
programs: deps
	@mkdir -p build
	@[ -x $(BIN)/surfd ] || echo "Building $(PROGRAMS): some minutes the first time."
	@{ cmake --preset release && cmake --build --preset release -j $(JOBS) --target $(PROGRAMS); } >build/programs.log 2>&1 || { cat build/programs.log >&2; exit 1; }

# A three-node cluster and two mounts on this machine; shows itself working and leaves it running.
run: programs
	@$(PYTHON) packaging/local_cluster.py run --bin $(BIN)

start:
	@$(PYTHON) packaging/local_cluster.py start --bin $(BIN)

stop:
	@$(PYTHON) packaging/local_cluster.py stop --bin $(BIN)

reset:
	@$(PYTHON) packaging/local_cluster.py reset --bin $(BIN)

# Single servers in the foreground. run-meta uses the block server that run-block starts.
run-both: programs
	exec $(BIN)/surfd -s both -p 8080 -l --data run/single-both

run-meta: programs
	exec $(BIN)/surfd -s meta -p 8080 -l --data run/single-meta 127.0.0.1:8081

run-block: programs
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

# Raft's speed beside etcd's, which packaging/deps.sh bench installs.
bench-raft:
	@packaging/deps.sh bench
	@$(MAKE) --no-print-directory build-release
	@$(PYTHON) bench/raft.py --bin $(BIN)

# Keys over the text protocol and HTTP, beside etcd.
bench-kv:
	@packaging/deps.sh bench
	@$(MAKE) --no-print-directory build-release
	@$(PYTHON) bench/kv.py --bin $(BIN)

# What another mount sees when a call has returned.
bench-visibility: build-release
	@$(PYTHON) bench/visibility.py --bin $(BIN)

# What a mount needs to know 1,000,000 files.
bench-memory: build-release
	@$(PYTHON) bench/client_memory.py --bin $(BIN)

# How the space of 10 GiB comes back after rm -rf: some minutes.
bench-space: build-release
	@$(PYTHON) bench/space.py --bin $(BIN)

# What a block server's store needs for ten million blocks, and what it does with all of them: half an hour.
bench-blocks: build-release
	@$(BIN)/surf-bench-blocks --blocks 10000000 --size 512

# Sequential reads of a file that was written in random pages; MORE="--mib 1024 --writes 1000000" takes minutes.
bench-fragments: build-release
	@$(PYTHON) bench/fragments.py --bin $(BIN) $(MORE)

# Where the CPU time of a GiB goes; needs perf.
bench-cpu: build-release
	@$(PYTHON) bench/cpu.py --bin $(BIN)

# What users of a mount wait when the leader goes: a quarter of an hour.
bench-failover: build-release
	@$(PYTHON) bench/failover.py --bin $(BIN)

# The checks of the systems whose uses SurfFS covers, a line each: docs/SCENARIOS.md. ONLY="S0.7 S1.6": some.
scenarios: build-release
	@SURF_BIN=$(CURDIR)/$(BIN) $(PYTHON) tests/scenarios.py $(ONLY)

# Hours, on real mounts: large programs, histories under faults, random calls. SECONDS: of each test that can go on for ever.
SECONDS ?= 300
soak:
	@packaging/deps.sh soak
	@$(MAKE) --no-print-directory build-release
	@SURF_SOAK_SECONDS=$(SECONDS) SURF_BIN=$(CURDIR)/$(BIN) $(PYTHON) -m pytest -q -s tests/system/test_large_programs.py tests/system/test_coherence.py \
	    tests/system/test_linearizable.py tests/system/test_counters.py tests/system/posix/test_random.py tests/system/posix/test_file_bytes.py \
	    tests/system/posix/test_links.py

clean:
	rm -rf build
