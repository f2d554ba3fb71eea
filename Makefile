# Each target installs what it needs first; the commands are in scripts/.
.PHONY: help demo test check install

help:
	@echo "make demo     install Reelgrid and generate a clip in demo/"
	@echo "make test     run the checks and the tests, like CI"
	@echo "make check    check format, lint, types, import contracts and spelling"
	@echo "make install  make .venv with everything for development"

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
