# The developer's targets: `make help`. Each calls a script or a ctest label
# that can be called without make as well.

BUILD ?= build/release
CTEST = ctest --output-on-failure --no-label-summary --no-tests=error

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "%-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

build: ## build/release
	cmake --preset release
	cmake --build build/release

debug: ## build/debug
	cmake --preset debug
	cmake --build build/debug

test: ## everything but the nightly tests (./test)
	./test

test-quick: ## without the slow ones (./test --quick)
	./test --quick

nightly: ## the long tests (./test --nightly)
	./test --nightly

asan ubsan tsan:
	cmake --preset $@
	cmake --build build/$@ --target sanitized_tests
	$(CTEST) --test-dir build/$@ -L sanitized

fuzz: ## hostile pools: libFuzzer, ASan, UBSan, with clang, RUNS=1000000 each (docs/fuzzing.md)
	cmake --preset fuzz
	cmake --build build/fuzz --target fuzzers
	tests/fuzz/campaign.sh build/fuzz $(or $(RUNS),1000000)

asan: ## unit tests, crash states and a storm under AddressSanitizer
ubsan: ## the same under UndefinedBehaviorSanitizer
tsan: ## unit tests under ThreadSanitizer

apps: build ## real programs on both sides (tests/apps)
	python3 tests/apps/run.py --build $(BUILD)

bench: ## the benchmark against tmpfs, half an hour (./bench; ./bench --quick)
	./bench

bench-check: build ## fails when a ratio to tmpfs fell by a third from benchmarks/recorded.json
	$(CTEST) --test-dir $(BUILD) -L bench

bench-record: build ## writes benchmarks/recorded.json
	./bench --record

lint: ## layering, exports, needed libraries, banned calls, links
	python3 tests/lint/lint.py --build $(BUILD)

explore: build ## the long exploration of crash states (docs/crash-testing.md)
	cmake --build $(BUILD) --target crash_long

dax: build ## a guest with an emulated NVDIMM: fsdax, devdax, power cuts (installs packages)
	tests/dax/run.sh $(BUILD)

soak: build ## real programs and kills on one pool for an hour (MINUTES=60)
	python3 tests/soak/soak.py --build $(BUILD) --minutes $(or $(MINUTES),60)

install-check: build ## installs, moves, and uses what is installed
	$(CTEST) --test-dir $(BUILD) -L install

chroot: ## ./quickstart and ./test in a bare Debian 12 (as root)
	scripts/bare-chroot

format: ## clang-format over the sources
	git ls-files '*.cc' '*.h' | xargs clang-format -i

.PHONY: help build debug test test-quick nightly asan ubsan tsan fuzz apps bench bench-check bench-record lint explore install-check dax soak chroot format
