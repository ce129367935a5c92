# `make demo` and `make test` do everything from a clean clone, set-up included.
CARGO_TARGET_DIR ?= $(CURDIR)/target
export CARGO_TARGET_DIR
LIBRARY := $(CARGO_TARGET_DIR)/release/libwasm_engine.so
BUILD   := $(CURDIR)/build
GUESTS  := $(BUILD)/guests
CMAKE   := $(BUILD)/cmake
# Other Wasm libraries, for tests that have them beside this one.
PEERS   := $(CARGO_TARGET_DIR)/peers

.PHONY: demo check check-all fuzz fuzz-smoke fuzz-seeds test setup install test-install wheel test-wheel library library-pgo \
  static deb deb-symbols tarball test-deb test-packages newcomer reproducible peers guests configure tool cpp header clean \
  lint docs test-docs test-rust miri test-header test-symbols test-abi test-bindings test-cpp test-sanitized renew-instructions \
  abi-baseline licences deny advisories update-wasmtime mosquitto test-mosquitto bench-mosquitto \
  daemon test-daemon-quick test-daemon test-cluster bench-kafka bench-kafka-page demo-kafka \
  soak bench bench-quick bench-pages bench-peers bench-ready bench-identity bench-calls bench-density bench-modes bench-throws \
  bench-cache bench-crc bench-stall bench-failures bench-record-calls bench-codecs bench-many bench-records bench-preempted \
  bench-remote bench-tool faults faults-memory

demo: setup library guests tool
	@scripts/demo.sh $(CMAKE)/tools/wasm-transform $(GUESTS)

test: setup library peers guests cpp lint test-docs test-rust test-header test-symbols test-abi test-bindings test-install \
  test-wheel test-mosquitto test-deb test-cpp test-daemon-quick

# For every few minutes: less than three of them, with a warm target directory. Each suite once, but for what takes seconds
# or has a program of its own.
SLOW := '^(process|signals)\.|^TimeLimit|^GoGuest|GuestSoak'
check: lint test-docs test-header test-symbols test-abi
	cargo test --release --locked -p wasm-engine-batch -p wasm-engine-promise
	@$(MAKE) --no-print-directory configure
	cmake --build $(CMAKE) --target wasm_engine_tests asio_suite libuv_suite
	cd $(CMAKE) && ctest --output-on-failure --no-tests=error -j 2 -L plain -E $(SLOW)

# check, and each fast fuzz target for 20 seconds.
check-all: check fuzz-smoke

# Fuzzing: docs/reliability.md. One process at the lowest priority. A finding ends it with an error.
TARGET ?= batch
TIME   ?= 60
fuzz:
	@scripts/setup.sh fuzz
	@scripts/fuzz.sh run $(TARGET) $(TIME)

fuzz-smoke:
	@scripts/setup.sh fuzz
	@scripts/fuzz.sh smoke 20

# Guests and others as inputs to begin with, beside those in git.
fuzz-seeds: guests
	@scripts/setup.sh fuzz
	@scripts/fuzz.sh seeds $(GUESTS)

setup:
	@scripts/setup.sh all

library:
	cargo build --release --locked

# libwasm_engine.a beside the shared library.
STATIC_LIBRARY := $(CARGO_TARGET_DIR)/release/libwasm_engine.a
static: library
	cargo build --release --locked -p wasm-engine-static
	scripts/static-library.sh $(CARGO_TARGET_DIR)/release/libwasm_engine_static.a $(LIBRARY) $(STATIC_LIBRARY)

# Library, headers, what CMake and pkg-config look for, and the tool. TOOL=OFF: without the tool, which wants the
# packages of `scripts/setup.sh core`. STATIC=ON: with libwasm_engine.a. REMOTE=ON: with libwasm_engine_remote.a and
# `wasm-transform serve`, which want gRPC (`scripts/setup.sh remote`).
PREFIX  ?= /usr/local
DESTDIR ?=
TOOL    ?= ON
STATIC  ?= OFF
REMOTE  ?= OFF
install: $(if $(filter ON,$(STATIC)),static,library)
	@mkdir -p $(BUILD)
	@cmake -S . -B $(BUILD)/install -DCMAKE_INSTALL_PREFIX=$(PREFIX) -DWASM_ENGINE_LIBRARY=$(LIBRARY) \
	  -DWASM_ENGINE_TOOL=$(TOOL) -DWASM_ENGINE_STATIC=$(STATIC) -DWASM_ENGINE_REMOTE=$(REMOTE) >$(BUILD)/install.log \
	  || { cat $(BUILD)/install.log; exit 1; }
	cmake --build $(BUILD)/install
	DESTDIR=$(DESTDIR) cmake --install $(BUILD)/install

# As users get it: installed, found by CMake and pkg-config, as a subproject; and the examples.
test-install: cpp static
	cd scripts/tests && LIBRARY=$(LIBRARY) GUESTS=$(GUESTS) BUILD=$(CMAKE) \
	  python3 -B -m unittest -q test_install test_static test_paths test_examples

# For pip: build/wheel/wasm_engine-….whl. Debian's Python, for which Debian's cffi is.
wheel: library
	rm -rf python/build $(BUILD)/wheel
	WASM_ENGINE_LIBRARY=$(LIBRARY) /usr/bin/python3 -m pip wheel -q --no-deps --no-build-isolation \
	  -w $(BUILD)/wheel ./python

test-wheel: setup guests wheel
	cd scripts/tests && WHEEL=$(BUILD)/wheel GUESTS=$(GUESTS) python3 -B -m unittest -q test_wheel

# Debian's packages, and an archive for others, in build/packages. deb-symbols writes down exports that are new. DAEMON=ON: with
# wasm-transformd, which takes minutes more. TOOL=OFF: without the tool, which takes most of the time.
PACKAGES := $(BUILD)/packages
DAEMON   ?= OFF
export DAEMON TOOL
deb: setup static
	$(if $(filter ON,$(DAEMON)),@scripts/setup.sh daemon)
	scripts/deb.sh $(LIBRARY) $(PACKAGES)
deb-symbols: setup static
	scripts/deb.sh $(LIBRARY) $(PACKAGES) --new-symbols
tarball: static
	scripts/tarball.sh $(LIBRARY) $(PACKAGES)

# What is in them, without the tool's, whose files test-install looks at; and, which takes minutes and root, what they do in a Debian that has nothing of this checkout.
IN_PACKAGES := cd scripts/tests && PACKAGES=$(PACKAGES) GUESTS=$(GUESTS) python3 -B -m unittest -q
test-deb: export COMPRESSION := 1
test-deb: TOOL := OFF
test-deb: deb
	@$(MAKE) --no-print-directory tarball
	$(IN_PACKAGES) test_packages.Contents
test-packages: guests deb
	@$(MAKE) --no-print-directory tarball
	@scripts/setup.sh packages
	$(IN_PACKAGES) test_packages

# What the pages for getting started say, typed into a new Debian and timed, for docs/installing.md. As root.
newcomer: guests deb wheel
	@scripts/setup.sh packages
	scripts/newcomer.py $(PACKAGES) $(BUILD)/wheel $(GUESTS) --write

# Two builds in two folders give the same library. Half an hour or more.
reproducible:
	scripts/reproducible.sh $(BUILD)/reproducible

# The plugin for the broker Mosquitto, with the installed library as its users build it; its tests with real brokers and
# clients, in a minute; its cost beside a broker without it.
MOSQUITTO := $(BUILD)/mosquitto
MQTT_PYTHON = $(or $(WASM_ENGINE_MQTT),$(or $(XDG_CACHE_HOME),$(HOME)/.cache)/wasm-engine/mqtt)/bin/python -B
mosquitto: library
	@scripts/setup.sh mosquitto
	@mkdir -p $(MOSQUITTO)
	@{ cmake -S . -B $(MOSQUITTO)/library -DCMAKE_INSTALL_PREFIX=$(MOSQUITTO)/prefix -DWASM_ENGINE_LIBRARY=$(LIBRARY) \
	  -DWASM_ENGINE_TOOL=OFF && cmake --build $(MOSQUITTO)/library && cmake --install $(MOSQUITTO)/library && \
	  cmake -S plugins/mosquitto -B $(MOSQUITTO)/plugin -DCMAKE_PREFIX_PATH=$(MOSQUITTO)/prefix \
	  -DCMAKE_INSTALL_PREFIX=$(MOSQUITTO)/prefix -DCMAKE_CXX_FLAGS="-Wall -Wextra -Werror"; } >$(MOSQUITTO)/log \
	  || { cat $(MOSQUITTO)/log; exit 1; }
	cmake --build $(MOSQUITTO)/plugin
	@cmake --install $(MOSQUITTO)/plugin >$(MOSQUITTO)/log

PLUGIN = PLUGIN=$(wildcard $(MOSQUITTO)/prefix/lib*/mosquitto_wasm.so $(MOSQUITTO)/prefix/lib/*/mosquitto_wasm.so)
test-mosquitto: guests mosquitto
	cd plugins/mosquitto/tests && ls test_*.py | $(PLUGIN) GUESTS=$(GUESTS) xargs -P 2 -n 1 $(MQTT_PYTHON) -m unittest -q

bench-mosquitto: guests mosquitto
	$(PLUGIN) GUESTS=$(GUESTS) $(MQTT_PYTHON) plugins/mosquitto/bench/bench.py

# The library compiled by a profile of the benchmarks: small batches take a sixth less time.
library-pgo: configure
	cmake --build $(CMAKE) --target bench-engine bench-input
	scripts/pgo.sh $(CMAKE)/bench $(GUESTS) $(BUILD)/pgo

peers:
	cd peers/wasmtime-c-api && CARGO_TARGET_DIR=$(PEERS) cargo build --release --locked

guests: setup
	$(MAKE) -C guests OUT=$(GUESTS)

configure: library guests
	@cmake -S . -B $(CMAKE) -G Ninja -DWASM_ENGINE_TESTS=ON -DWASM_ENGINE_LIBRARY=$(LIBRARY) \
	  -DWASM_ENGINE_GUESTS=$(GUESTS) -DWASMTIME_C_API=$(PEERS)/release -DBENCH_PEERS=$(PEERS) >$(BUILD)/cmake.log \
	  || { cat $(BUILD)/cmake.log; exit 1; }

tool: configure
	cmake --build $(CMAKE) --target wasm-transform

cpp: configure
	cmake --build $(CMAKE)

# The header as the sources have it, written next to the build by build.rs.
GENERATED_HEADER = $(shell ls -t $(CARGO_TARGET_DIR)/release/build/wasm-engine-*/out/wasm_engine.h | head -n 1)

header: library
	cp $(GENERATED_HEADER) include/wasm_engine.h
	scripts/dlopen_header.py

test-header: library
	diff -u include/wasm_engine.h $(GENERATED_HEADER) || { echo "include/wasm_engine.h is out of date: run make header"; exit 1; }
	scripts/dlopen_header.py --check
	scripts/check-header.sh

# Links lead somewhere, snippets compile, programs on pages print what the pages say, and claims are tested.
test-docs: library guests
	scripts/check-links.py
	scripts/check-snippets.py --run $(LIBRARY) $(GUESTS)
	scripts/draw-diagrams.py --check
	scripts/make-docs.py --check
	cd scripts/tests && LIBRARY=$(LIBRARY) GUESTS=$(GUESTS) python3 -B -m unittest -q test_check_links \
	  test_check_snippets test_newcomer test_make_docs test_concepts test_monitoring test_security test_platforms test_faq test_advisories

# The site, in build/site: the pages by mdBook, the headers by Doxygen, with all links checked.
docs:
	@scripts/setup.sh docs
	scripts/make-docs.py $(BUILD)

test-symbols: library
	scripts/check-symbols.sh $(LIBRARY)

# What the header promises is kept: docs/abi.md. FORCE=1 also if something is removed or changed.
test-abi: library guests
	scripts/abi.py check $(LIBRARY)
	cd scripts/tests && LIBRARY=$(LIBRARY) GUESTS=$(GUESTS) python3 -B -m unittest -q test_abi test_dlopen_header

abi-baseline: header
	scripts/abi.py renew $(if $(FORCE),--force)

test-bindings: setup library
	scripts/check-bindings.sh $(LIBRARY)

test-rust: library
	cargo test --release --locked --workspace
	RUSTFLAGS="--cfg loom" CARGO_TARGET_DIR=$(CARGO_TARGET_DIR)/loom cargo test --release --locked -p wasm-engine-promise --test loom

# Undefined behaviour in the crates that build without Wasmtime, by Miri, in some four minutes. Left out: Zstandard, which is C;
# checksums, whose instructions Miri does not have; tests that take it minutes. Debug builds take thrice as long.
MIRI := MIRIFLAGS="-Zmiri-permissive-provenance -Zmiri-disable-isolation" PROPTEST_CASES=1 CARGO_TARGET_DIR=$(CARGO_TARGET_DIR)/miri \
  cargo +nightly miri test --release --locked --lib
miri:
	@scripts/setup.sh miri
	$(MIRI) -p wasm-engine-promise
	$(MIRI) -p wasm-engine-batch -- encode::tests::the_header encode::tests::what_cannot_be encode::tests::what_one_step \
	  reader::tests::a_few_records payload:: varint:: --skip many_headers

test-cpp: cpp
	cd $(CMAKE) && ctest --output-on-failure --no-tests=error -j 2

# wasm-transformd, and its tests against Apache Kafka's own broker, which they start and stop. test-daemon-quick takes two
# to three minutes, test-daemon some twenty.
DAEMON_BUILD := $(BUILD)/daemon
KAFKA  := $(or $(WASM_ENGINE_KAFKA),$(or $(XDG_CACHE_HOME),$(HOME)/.cache)/wasm-engine/kafka)
daemon: library
	@scripts/setup.sh daemon
	@mkdir -p $(BUILD)
	@cmake -S . -B $(DAEMON_BUILD) -G Ninja -DWASM_ENGINE_DAEMON=ON -DWASM_ENGINE_TOOL=OFF -DWASM_ENGINE_REMOTE=OFF -DWASM_ENGINE_INSTALL=OFF \
	  -DWASM_ENGINE_LIBRARY=$(LIBRARY) >$(BUILD)/daemon.log || { cat $(BUILD)/daemon.log; exit 1; }
	cmake --build $(DAEMON_BUILD) --target wasm-transformd

IN_KAFKA = WASM_TRANSFORMD=$(DAEMON_BUILD)/daemon/wasm-transformd WASM_ENGINE_GUESTS=$(GUESTS) KAFKA_LIB=$(KAFKA)/lib \
  $(KAFKA)/venv/bin/python -B
QUICK_DAEMON_TESTS := test_config test_exactly_once test_control
test-daemon-quick: daemon guests
	@scripts/setup.sh kafka
	cd daemon/tests && $(IN_KAFKA) -m unittest -q $(QUICK_DAEMON_TESTS)

# All files of tests, each with a broker of its own, and a short run of the cluster.
test-daemon: daemon guests
	@scripts/setup.sh kafka
	cd daemon/tests && for file in test_*.py; do $(IN_KAFKA) -m unittest -q $${file%.py} || exit; done
	cd daemon/tests && $(IN_KAFKA) cluster.py --seconds 120

# Three brokers, three daemons and faults at random, for ten minutes.
SECONDS ?= 600
test-cluster: daemon guests
	@scripts/setup.sh kafka
	cd daemon/tests && $(IN_KAFKA) cluster.py --seconds $(SECONDS) $(if $(SEED),--seed $(SEED))

# The daemon beside librdkafka alone and beside Kafka Streams: a quarter of an hour. ARGUMENTS='--rounds 1 --scale 0.3' is shorter.
bench-kafka: daemon guests
	@scripts/setup.sh kafka
	@scripts/setup.sh kafka-streams
	cmake --build $(DAEMON_BUILD) --target kafka-copy
	KAFKA_LIB=$(KAFKA)/lib $(KAFKA)/venv/bin/python -B daemon/bench/bench.py --daemon $(DAEMON_BUILD)/daemon/wasm-transformd \
	  --copy $(DAEMON_BUILD)/daemon/bench/kafka-copy --streams $(KAFKA)/streams --guest $(GUESTS)/c_identity.wasm \
	  --out $(BUILD)/bench-kafka $(ARGUMENTS)

# Writes the figures of the last `make bench-kafka` into the page.
bench-kafka-page:
	python3 daemon/bench/report.py $(BUILD)/bench-kafka/results.json docs/transformd.md

# A broker, the daemon with two transforms, the demo's data, what comes out.
DEMO_VENV = $(or $(WASM_ENGINE_VENV),$(or $(XDG_CACHE_HOME),$(HOME)/.cache)/wasm-engine/venv)
demo-kafka: setup daemon guests
	@scripts/setup.sh kafka
	@KAFKA_LIB=$(KAFKA)/lib $(KAFKA)/venv/bin/python -B daemon/demo.py $(DAEMON_BUILD)/daemon/wasm-transformd $(GUESTS) \
	  $(DEMO_VENV)/lib/python3.*/site-packages/vega_datasets/_data/cars.json

# The suites once more, compiled with AddressSanitizer and UndefinedBehaviorSanitizer: some ten minutes. Before changes
# of unsafe code, of ownership or of the C++ layer are handed in.
test-sanitized: configure
	cmake -S . -B $(CMAKE) -DWASM_ENGINE_SANITIZED_TESTS=ON >$(BUILD)/cmake.log || { cat $(BUILD)/cmake.log; exit 1; }
	cmake --build $(CMAKE) --target wasm_engine_tests_sanitized asio_suite_sanitized libuv_suite_sanitized \
	  $$(test -d $(CMAKE)/remote && echo remote_suite_sanitized)
	cd $(CMAKE) && ctest --output-on-failure --no-tests=error -R sanitized

# Guests in each language with a million records each, and ten minutes of a host that does everything at random. `make test` has a
# hundred thousand records and half a minute. SECONDS=3600, SEED=N.
soak: setup configure
	cmake --build $(CMAKE) --target wasm_engine_tests random_host
	$(CMAKE)/cpp_tests/random_host $(CMAKE)/cpp_tests/wat/t_later.wasm --seconds $(SECONDS) $(if $(SEED),--seed $(SEED))
	WASM_ENGINE_SOAK_RECORDS=1000000 $(CMAKE)/cpp_tests/wasm_engine_tests --gtest_filter='*GuestSoak*'

lint:
	scripts/check-wings.py
	cd scripts/tests && python3 -B -m unittest -q test_check_wings test_licences
	cargo fmt --all --check
	cargo clippy --release --locked --workspace --all-targets -- -D warnings

# THIRD-PARTY.md and the SBOM, after Cargo.lock or the toolchain has changed. `make lint` compares.
licences:
	scripts/licences.py

# deny.toml: licences, crates in two versions, sources. The first time it compiles cargo-deny, for some ten minutes.
DENY := $(or $(WASM_ENGINE_CARGO_TOOLS),$(or $(XDG_CACHE_HOME),$(HOME)/.cache)/wasm-engine/cargo)/bin/cargo-deny
deny:
	@scripts/setup.sh deny
	$(DENY) --locked check licenses bans sources

# Known vulnerabilities. Needs GitHub, from where cargo-deny clones the database of RustSec.
advisories:
	@scripts/setup.sh deny
	$(DENY) --locked check advisories

# The newest patch release of Wasmtime's line, with all tests and figures. It ends at once if there is none.
update-wasmtime:
	scripts/update-wasmtime.sh

clean:
	rm -rf $(BUILD) python/build python/*.egg-info
	cargo clean

# Everything beside its peers, in some ten minutes; bench-quick is the most telling part of it, in two minutes.
BENCH := python3 scripts/bench.py --build $(CMAKE)/bench --guests $(GUESTS) --wat $(CMAKE)/cpp_tests/wat --peers $(PEERS) \
  --direct-calls $(CARGO_TARGET_DIR)/release/examples/direct-calls --out $(BUILD)/bench

bench: bench-ready
	$(BENCH)
	/usr/bin/python3 scripts/benchmark/plot.py $(BUILD)/bench/results.json $(BUILD)/bench/time-per-record

# Writes the figures of the last `make bench` into the pages.
bench-pages:
	scripts/benchmark/page.py $(BUILD)/bench/results.json README.md docs/performance.md
	cp $(BUILD)/bench/time-per-record.svg docs/time-per-record.svg

bench-quick: bench-ready
	$(BENCH) --quick

bench-ready: setup bench-peers
	@scripts/setup.sh bench
	@$(MAKE) --no-print-directory configure
	cmake --build $(CMAKE) --target bench-contenders wat_guests
	cargo build --release --locked --example direct-calls

# Those who are raced against, compiled for speed: up to half an hour, once. Wasmer's build wants a directory named target.
GO = $(or $(WASM_ENGINE_VENV),$(or $(XDG_CACHE_HOME),$(HOME)/.cache)/wasm-engine/venv)/bin/go
bench-peers:
	@scripts/setup.sh guests
	cd peers/wasmtime-c-api && CARGO_TARGET_DIR=$(PEERS) cargo build --profile bench-peer --locked
	cd peers/extism-host && CARGO_TARGET_DIR=$(PEERS) cargo build --release --locked
	cd peers/wasmer-c-api && CARGO_TARGET_DIR=$(PEERS)/wasmer/target cargo build --release --locked
	cd peers/wazero-host && GOTOOLCHAIN=local $(GO) build -mod=readonly -trimpath -o $(PEERS)/bench-wazero .

# Writes down how many instructions the hot path has; a test compares.
renew-instructions: setup configure
	cmake --build $(CMAKE) --target bench-instructions
	scripts/instructions.py $(CMAKE)/bench/bench-instructions $(GUESTS)/c_identity.wasm --renew

# Lets system calls fail, takes limits away, kills, interrupts and turns the clock, and prints what came of it: some three minutes.
# ARGUMENTS='--only kills --kills 10000', '--seed N'.
faults: setup configure
	cmake --build $(CMAKE) --target faults_host
	scripts/faults.py $(CMAKE)/cpp_tests/faults_host $(GUESTS)/c_identity.wasm $(ARGUMENTS)

# Refuses every single allocation of every scenario, where `make test` refuses some. Hours for what compiles: choose with
# FAULTS='*/Transforms*'.
FAULTS ?= *
faults-memory: setup configure
	cmake --build $(CMAKE) --target process_shortage
	WASM_ENGINE_EVERY_ALLOCATION=1 $(CMAKE)/cpp_tests/process_shortage --gtest_filter='$(FAULTS)'

bench-stall: setup configure
	cmake --build $(CMAKE) --target bench-stall
	$(CMAKE)/bench/bench-stall

bench-codecs: setup configure
	cmake --build $(CMAKE) --target bench-codecs
	$(CMAKE)/bench/bench-codecs $(GUESTS)/c_identity.wasm

bench-many: setup configure
	cmake --build $(CMAKE) --target bench-many
	$(CMAKE)/bench/bench-many $(foreach g,c rust cpp go,$(GUESTS)/$(g)_identity.wasm)

# Records that are in no batch beside the same records in one.
bench-records: setup configure
	cmake --build $(CMAKE) --target bench-records
	$(foreach size,64 1024,$(CMAKE)/bench/bench-records --size $(size) $(GUESTS)/c_identity.wasm &&) true

# The command-line tool beside jq and kcat on one file.
bench-tool: setup configure
	@scripts/setup.sh bench
	cmake --build $(CMAKE) --target wasm-transform
	scripts/bench_tool.py $(CMAKE)/tools/wasm-transform $(GUESTS)/c_identity.wasm

bench-preempted: setup configure
	cmake --build $(CMAKE) --target bench-preempted
	$(CMAKE)/bench/bench-preempted $(GUESTS)/c_identity.wasm

bench-remote: setup configure
	cmake --build $(CMAKE) --target bench-remote remote_test_server
	$(CMAKE)/bench/bench-remote $(CMAKE)/remote/tests/remote_test_server $(GUESTS)/c_identity.wasm

bench-failures: setup configure
	cmake --build $(CMAKE) --target bench-failures
	$(CMAKE)/bench/bench-failures

bench-identity: setup configure
	cmake --build $(CMAKE) --target bench-identity
	$(CMAKE)/bench/bench-identity $(foreach g,c rust cpp go,$(GUESTS)/$(g)_identity.wasm)

bench-calls: setup configure
	cmake --build $(CMAKE) --target bench-calls wat_guests
	$(CMAKE)/bench/bench-calls $(CMAKE)/cpp_tests/wat/h_bench.wasm
	cargo run --release --locked --example direct-calls

# CRC-32C by each way that the processor has.
bench-crc:
	cargo run --release --locked -p wasm-engine-batch --example crc32c

bench-density: setup configure
	cmake --build $(CMAKE) --target bench-density
	$(CMAKE)/bench/bench-density $(foreach g,c rust cpp go,$(GUESTS)/$(g)_identity.wasm)

bench-modes: setup configure
	cmake --build $(CMAKE) --target bench-modes
	$(CMAKE)/bench/bench-modes $(foreach g,c rust,$(GUESTS)/$(g)_identity.wasm)

bench-record-calls: setup configure
	cmake --build $(CMAKE) --target bench-record_calls
	$(CMAKE)/bench/bench-record_calls $(foreach g,c rust cpp go,$(GUESTS)/$(g)_identity.wasm)

bench-throws: setup configure
	cmake --build $(CMAKE) --target bench-throws
	$(CMAKE)/bench/bench-throws $(GUESTS)/c_identity.wasm

bench-cache: setup configure
	cmake --build $(CMAKE) --target bench-cache
	$(CMAKE)/bench/bench-cache $(foreach g,c rust cpp go,$(GUESTS)/$(g)_identity.wasm)
