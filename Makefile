# Every target makes .venv and installs what it needs; on a bare machine, Python 3.11+ and make are enough.
# PYTHON=... picks the interpreter, ARGS=... is handed on (make test ARGS="-k deadlines").
.DEFAULT_GOAL := help
SHELL := /bin/sh

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
SPARK := .cache/spark
ARGS ?=

.PHONY: help setup run test lint beside alone clients spark matrix bench long soak score check docs picture pins clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## /{printf "  make %-9s %s\n", $$1, $$2}' Makefile

$(STAMP): pyproject.toml requirements/run.txt requirements/dev.txt packaging/setup-venv
	@packaging/setup-venv $(VENV)
	@touch $@

setup: $(STAMP) ## make .venv, nothing else

run: $(STAMP) ## play the freeze without and with the gateway: no key, no client, no network
	@$(BIN)/holdfast demo $(ARGS)

lint: $(STAMP) ## ruff and the type checker
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

test: lint beside alone ## lint, then every test but the long ones and those of real clients

beside: $(STAMP) ## those of them that may run beside each other, four at a time
	$(BIN)/pytest -m "not client and not long and not spark and not alone" -n 4 --dist loadscope $(ARGS) || [ $$? -eq 5 ]

alone: $(STAMP) ## those of them that load or measure the whole machine
	$(BIN)/pytest -m "alone and not client and not long and not spark" $(ARGS) || [ $$? -eq 5 ]

clients: $(STAMP) ## drive the real clients, two at a time (needs node and npm; skipped, and said so, where they are missing)
	$(BIN)/pytest -m "client and not long" -n 2 -rs $(ARGS)

spark: $(STAMP) ## count a fleet's tables on a local Spark cluster too (450 MB, once; skipped, and said so, where it cannot be had)
	@packaging/setup-spark $(BIN)/python $(SPARK)
	PYTHONPATH=$(SPARK) JAVA_HOME=$(CURDIR)/$(SPARK)/java $(BIN)/pytest -m spark -rs $(ARGS) tests/spark || [ $$? -eq 5 ]

matrix: $(STAMP) ## play every break with every real client, 8 minutes at a time, and write docs/breaks-real-clients.md
	$(BIN)/python -m tests.clients.matrix $(ARGS)

long: $(STAMP) ## the tests that take minutes, real clients at true length included
	$(BIN)/pytest -m long --timeout=3600 -rs $(ARGS)

soak: $(STAMP) ## ten million simulated schedules, hours on two cores; goes on where it was interrupted
	$(BIN)/python -m tests.simulation --seeds 100000:10100000 --resume .cache/soak.json $(ARGS)

score: $(STAMP) ## hold the diagnosis against 600 homes with known causes; goes on where it was interrupted
	$(BIN)/python -m tests.diagnosis.score_long $(ARGS)

bench: $(STAMP) ## ratios against nginx and others on this machine
	$(BIN)/python -m bench $(ARGS)

check: test clients spark ## all that CI runs

docs: $(STAMP) ## write docs/reference.md and the tables of docs/endings.md from the program
	$(BIN)/python -m holdfast.cli.reference docs/reference.md
	$(BIN)/python -m holdfast.cli.endings_page docs/endings.md

picture: $(STAMP) ## play the demo and draw docs/demo.svg from it
	$(BIN)/python docs/picture.py docs/demo.svg

pins: $(STAMP) ## move requirements/*.txt to the newest versions allowed
	packaging/refresh-pins $(BIN)/python

clean: ## remove .venv and all caches
	rm -rf $(VENV) .cache .mypy_cache .pytest_cache .ruff_cache .hypothesis build dist
	find src tests bench -name __pycache__ -type d -prune -exec rm -rf {} +
