# Two commands: `make harden` and `make test`. The others are the steps they are made of.
# What a step does is in tests/tools/<step>.
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory
STEPS = .venv/new/bin/python tests/tools/steps.py

export INVENTORY CORE ARGS HOST

.PHONY: help harden test test-all venv lint unit differential sanity tarball hosts molecule e2e faults faults-vm selftest table hosts-down ssh clean

help:  ## this list
	@echo 'make TARGET [VARIABLE=...]'
	@sed -n 's/^\([a-z0-9-]*\):[^#]*## \(.*\)/  \1|\2/p; s/^#: \(.*\)/  |  \1/p' Makefile \
		| awk -F'|' '{ printf "%-15s %s\n", $$1, $$2 }'

harden:  ## take hosts from passwords to keys only
#: INVENTORY=inventory  your hosts; without it: throw-away test hosts, built and started for it
#: CORE=2.16            where the inventory has AlmaLinux 8 (Python 3.6)
#: ARGS='-k -K'         passed to ansible-playbook; also: --check --diff --limit NAME
	@tests/tools/harden

test: venv  ## everything that CI runs
	@$(STEPS) lint unit differential sanity tarball / hosts molecule faults e2e

test-all: venv  ## the same, with every start state on every generation
	@LATCHKEY_MATRIX=full $(STEPS) lint unit differential sanity tarball / hosts molecule faults e2e

venv:  ## the Python environments below .venv (new: newest ansible-core, 2.16: for AlmaLinux 8)
	@tests/tools/venv 2.16 test & tests/tools/venv new test && wait $$!

lint: venv  ## ruff, yamllint, mypy, ansible-lint
	@$(STEPS) $@

unit: venv  ## tests/unit on each of Python 3.6, 3.9, 3.12 that is there
	@$(STEPS) $@

differential: venv  ## our parsers against this machine's ssh-keygen and sshd
	@$(STEPS) $@

sanity: venv  ## ansible-test sanity, newest core and 2.16
	@$(STEPS) $@

tarball: venv  ## build the collection, install it elsewhere, use it from there
	@$(STEPS) $@

molecule: venv  ## the Molecule scenarios
	@$(STEPS) $@

e2e: venv  ## the main job on live test hosts
	@$(STEPS) $@

faults: venv  ## whatever may die while a host is changed: all of it, an hour (make test has a short part)
#: ARGS=--list          the ids; 9/APPLIED sshd runs those that contain one of these words; --again
	@tests/hosts/hosts setup
	@tests/hosts/hosts build
	@.venv/new/bin/python tests/faults/faults $(ARGS)

faults-vm: venv  ## the same on a virtual machine: SELinux enforcing, real restarts, power cuts, clocks; an hour or two
#: ARGS=--list          as above
	@.venv/new/bin/python tests/faults/faults --vm $(ARGS)

selftest:  ## HOST=user@host: a throw-away AlmaLinux VM of yours is locked out, killed, rebooted, and has to come back
#: ARGS='--power-on "virsh start NAME"'  what switches it on again; --help lists the other options
	@tests/tools/selftest

hosts:  ## build and start the three stock test hosts alma8, alma9, alma10
	@tests/hosts/hosts setup
	@tests/hosts/hosts build
	@tests/hosts/hosts up --stock

table: venv  ## write the README's test table from the newest results
	@.venv/new/bin/python tests/tools/table.py

hosts-down:  ## stop and remove all test hosts
	@tests/hosts/hosts down

ssh:  ## HOST=alma9: log in to a test host as its operator
	@tests/tools/ssh $(HOST)

clean:  ## remove build/ and .venv/ (stop the test hosts first: make hosts-down)
	@rm -rf build .venv
