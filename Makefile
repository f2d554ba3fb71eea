# Each target sets up what it needs by itself. What is done is in scripts/.
.PHONY: help demo test check install

help:
	@echo "make demo   generate a clip into demo/, setting everything up first"
	@echo "make test   everything CI checks: format, lint, types, import arrows, spelling, tests"
	@echo "make check  the same without the tests"

demo:
	@scripts/install
	@scripts/demo

test:
	@scripts/install --dev
	@scripts/check
	@scripts/test

check:
	@scripts/install --dev
	@scripts/check

install:
	@scripts/install --dev
