# Everything runs in .venv, installed from the lock. ARGS reaches the command: make test ARGS="-k windows"
VENV := .venv
BIN := $(VENV)/bin
DEPLOY := .venv-deploy
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	"$$p" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null && echo "$$p" && break; done)
ARGS ?=

.PHONY: demo test test-secure chaos chaos-short lint bench bench-quick bench-recovery bench-training bench-accuracy bench-accuracy-quick bench-streams bench-family config-reference docs docs-serve lock clean help
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

demo: $(VENV)/.project ## a broker, ticks, forecasts and a live page, all on this machine
	$(BIN)/forecaster demo $(ARGS)

test: $(VENV)/.project ## every test, also those against a real Kafka (needs Java 17 and Maven)
	$(BIN)/pytest $(ARGS)

test-secure: $(VENV)/.project ## the whole contract of both Kafka clients over TLS with SCRAM, and over mutual TLS
	FORECASTER_TEST_WHOLE_CONTRACT=1 $(BIN)/pytest tests/integration/test_secure_contract.py $(ARGS)

chaos: $(VENV)/.project ## break things for hours and count what is lost; a second call goes on (ARGS="kill --count 50")
	PYTHONPATH=tests $(BIN)/python -m chaos $(ARGS)

chaos-short: $(VENV)/.project ## each fault once, in under five minutes
	PYTHONPATH=tests $(BIN)/python -m chaos --short $(ARGS)

lint: $(VENV)/.project ## ruff and mypy
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

.PHONY: lint-deploy chart image-check
lint-deploy: $(DEPLOY)/.locked ## Dockerfile, chart, manifests and alerts against their schemas (needs npm and promtool)
	$(DEPLOY)/bin/python deploy/checks/lint.py

chart: $(VENV)/.project $(DEPLOY)/.locked ## the chart's schema anew from the settings, deploy/manifests from the chart
	$(BIN)/python deploy/settings_schema.py
	$(DEPLOY)/bin/python deploy/checks/chart.py --write

# Where no engine runs, BUILD names what builds a Dockerfile from a folder under a name all the same.
BUILD ?= ../shared/tools/build-image
image-check: $(VENV)/.project ## build the image and forecast in it as a user on a read-only root (root, buildah, Kafka)
	$(BUILD) . localhost/forecaster:check
	FORECASTER_TEST_IMAGE=localhost/forecaster:check $(BIN)/pytest tests/integration/test_image.py $(ARGS)

config-reference: $(VENV)/.project ## docs/configuration.md anew from the settings classes
	$(BIN)/python -m forecaster.config.reference > docs/configuration.md.new
	mv docs/configuration.md.new docs/configuration.md

docs: .venv-docs/.locked ## the site of docs/, in site/; a link that leads nowhere ends it (ARGS="--site-dir DIR")
	NO_MKDOCS_2_WARNING=1 .venv-docs/bin/mkdocs build --strict --quiet $(ARGS)

docs-serve: .venv-docs/.locked ## the site on this machine, made anew as pages change
	NO_MKDOCS_2_WARNING=1 .venv-docs/bin/mkdocs serve --strict $(ARGS)

.venv-docs/.locked: requirements/docs.txt
	$(PYTHON) -m venv .venv-docs
	.venv-docs/bin/python -m pip install --quiet --disable-pip-version-check --only-binary :all: --require-hashes -r $<
	@touch $@

bench: $(VENV)/.project ## throughput, latency, memory and peers on this machine, in one table (45 min; ARGS="--only latency")
	$(BIN)/python -m benchmarks $(ARGS)

bench-quick: $(VENV)/.project ## the same with fewer rounds and variants (6 min)
	$(BIN)/python -m benchmarks --quick $(ARGS)

bench-recovery: $(VENV)/.project ## what checkpoints of 100,000 series take, and the time from a start to the first forecast (10 min)
	$(BIN)/python -m benchmarks.checkpoint
	$(BIN)/python -m benchmarks.recovery $(ARGS)

bench-training: $(VENV)/.project ## training throughput beside PyTorch's GRU (an interpreter that has it: ARGS="--torch-python PATH")
	$(BIN)/python -m benchmarks.training $(ARGS)

ETT ?= ../shared/data/ett
bench-accuracy: $(VENV)/.project ## accuracy on ETTh1 and ETTm1 (ETT=folder); finished cells are kept, a second call goes on
	$(BIN)/python -m benchmarks.accuracy --folder $(ETT) $(ARGS)

bench-accuracy-quick: $(VENV)/.project ## the same at horizon 96 with one seed
	$(BIN)/python -m benchmarks.accuracy --folder $(ETT) --quick $(ARGS)

DATA ?= ../shared/data
bench-streams: $(VENV)/.project ## accuracy on sensors and prices beside the best of all baselines (DATA=folder)
	$(BIN)/python -m benchmarks.streams --folder $(DATA) $(ARGS)

bench-family: $(VENV)/.project ## every kind of sequence model beside its baseline on real data (DATA=folder)
	$(BIN)/python -m benchmarks.family --folder $(DATA) $(ARGS)

.PHONY: bench-viewers
bench-viewers: $(VENV)/.project ## what a hundred viewers of the live page cost the daemon (5 min)
	$(BIN)/python -m benchmarks.viewers $(ARGS)

$(VENV)/.locked: requirements/dev.txt
	@test -n "$(PYTHON)" || { echo "make: found no Python 3.11, 3.12 or 3.13; name one with PYTHON=..." >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --only-binary :all: --require-hashes -r $<
	@touch $@

$(VENV)/.project: $(VENV)/.locked pyproject.toml
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-build-isolation --no-deps --editable .
	@touch $@

$(DEPLOY)/.locked: requirements/deploy.txt deploy/checks/package-lock.json
	@test -n "$(PYTHON)" || { echo "make: found no Python 3.11, 3.12 or 3.13; name one with PYTHON=..." >&2; exit 1; }
	$(PYTHON) -m venv $(DEPLOY)
	$(DEPLOY)/bin/python -m pip install --quiet --disable-pip-version-check --no-compile --only-binary :all: --require-hashes -r $<
	npm ci --prefix deploy/checks --silent --no-audit --no-fund
	@touch $@

# editables is what hatchling asks for besides, to install a checkout in place.
# dev.txt is resolved first and constrains the others, so that what is deployed is what was tested; Quix Streams wants
# an older confluent-kafka and pydantic-settings, so the peers share what computes and the default client alone.
UV := .cache/uv/bin/uv
COMPILE = $(UV) pip compile --quiet --universal --python-version 3.11 --fork-strategy fewest \
	--generate-hashes --no-emit-index-url --custom-compile-command "make lock" $(ARGS)
BUILD_REQUIRES = $(PYTHON) -c 'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["build-system"]["requires"], "editables<1", sep="\n")'

lock: $(UV) ## the lock files anew from pyproject.toml; ARGS=--upgrade takes the newest versions
	$(BUILD_REQUIRES) | $(COMPILE) pyproject.toml - --extra cpu --extra librdkafka --extra demo --extra parquet --extra report \
		--extra otel --extra signing --extra tensorboard --extra web --group dev -o requirements/dev.txt
	$(COMPILE) -c requirements/dev.txt pyproject.toml --extra cpu --extra librdkafka --extra otel --extra signing --extra web -o requirements/cpu.txt
	$(COMPILE) -c requirements/dev.txt pyproject.toml --extra gpu --extra librdkafka --extra otel --extra signing --extra web -o requirements/gpu.txt
	$(BUILD_REQUIRES) | $(COMPILE) -c requirements/dev.txt - -o requirements/build.txt
	sed -nE '/^(tensorflow|keras|numpy|kafka-python)/s/ *\\$$//p' requirements/dev.txt \
		| $(COMPILE) pyproject.toml - --extra cpu --group peers -o requirements/peers.txt
	$(COMPILE) --group docs -o requirements/docs.txt
	$(COMPILE) --group sbom -o requirements/sbom.txt
	$(COMPILE) --group deploy -o requirements/deploy.txt

$(UV):
	$(PYTHON) -m venv .cache/uv
	.cache/uv/bin/pip install --quiet --disable-pip-version-check uv==0.13.9

clean: ## remove the environment and every cache
	rm -rf $(VENV) $(DEPLOY) deploy/checks/node_modules .venv-docs .venv-peers .cache site .hypothesis .mypy_cache .pytest_cache .ruff_cache

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-20s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
