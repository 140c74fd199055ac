# make sweep   a whole transfer study, offline, and its report      make unit   the tests without Ray, DeepSpeed or processes
# make test    all tests but the long ones
# make test-models   every type of model and kind of adapter, about twenty minutes; writes docs/models.md
# make test-device   on a device that says `cuda` and is none: where things lie, what is waited for, out-of-memory
# make gpu           what a GPU has to settle, within ten minutes and offline; writes build/gpu
# make test-faults   the long ones: 30 studies under random faults (FAULT_RUNS, FAULT_SEED), nodes that come and go
#                    (`make test` has the quick calibration of the statistics; all of it: python -m bench.calibration)
# make audit   known vulnerabilities of what is pinned, by PyPI; lock.txt is renewed by ./install.sh renew
# make lint    ruff, mypy, import contracts                         make smollm2   the same study on a real model
# make docs    the documentation as a site, offline: build/site
CONFIG ?= examples/quickstart/study.yaml
STORE ?= runs/quickstart
PY := .venv/bin/python

.PHONY: install sweep smollm2 unit test test-device gpu test-models test-faults lint docs audit clean

install:
	@./install.sh
	@$(if $(filter install,$(MAKECMDGOALS)),echo "Installed. Now: source .venv/bin/activate; your own data: docs/tutorial.md; the quickstart: make sweep")

sweep: install
	@code=0; $(PY) -m orchestrator.sweep $(CONFIG) || code=$$?; \
	if [ $$code -le 1 ]; then $(PY) -m analysis.report $(STORE) || code=$$?; fi; exit $$code

smollm2: install
	@$(PY) -m examples.smollm2.gguf smollm2
	@$(MAKE) --no-print-directory sweep CONFIG=examples/smollm2/study.yaml STORE=runs/smollm2

unit: install
	@tests/run.sh unit

test: install
	@tests/run.sh

test-device: install
	@OMP_NUM_THREADS=1 $(PY) -m pytest -p tests.device.fake tests/device/on_device

gpu: install
	@$(PY) -m bench.gpu

test-faults: install
	@trap 'exit 130' INT; code=0; FAULT_RUNS=$${FAULT_RUNS:-30} $(PY) -m pytest tests/faults -s || code=$$?; \
	$(PY) -m pytest -m long --ignore tests/faults || code=$$?; exit $$code

test-models: install
	@rm -rf build/zoo && mkdir -p build/zoo && $(PY) -m tests.zoo.types build/zoo/types.jsonl \
	&& $(PY) -m tests.zoo.kinds build/zoo/kinds.jsonl \
	&& $(PY) -m tests.zoo.table build/zoo/types.jsonl build/zoo/kinds.jsonl docs/models.md

lint: install
	@.venv/bin/ruff check . && .venv/bin/ruff format --check . && .venv/bin/mypy && .venv/bin/lint-imports

docs: install
	@NO_MKDOCS_2_WARNING=1 .venv/bin/mkdocs build --quiet --clean && echo "Site: build/site/index.html"

audit: install
	@mkdir -p build && [ -x build/audit/bin/pip-audit ] || { $(PY) -m venv build/audit && build/audit/bin/pip install -q --no-deps --require-hashes -r audit.txt; }
	@build/audit/bin/pip-audit --requirement lock.txt --disable-pip --require-hashes --strict --progress-spinner off || { \
	echo "make audit: something is vulnerable, as told above, or PyPI could not be asked about it: then try again with a network" >&2; exit 1; }

clean:
	rm -rf .venv runs build
