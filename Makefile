# Each target makes the environment .venv itself when it is missing or older than the settings.
PYTHON ?= python3
BIN    := .venv/bin
# One BLAS thread: two collapse when anything else runs on the cores.
ONE    := OPENBLAS_NUM_THREADS=1 OMP_NUM_THREADS=1 MKL_NUM_THREADS=1

.DEFAULT_GOAL := help
.PHONY: help train test slow parity evidence reference lab docs bench race runs pretrained clean

help:
	@echo "make train   train a small GPT on the embedded corpus, and let it write (under a minute)"
	@echo "make test    set up and run the tests and the notebooks"
	@echo "make lab     open JupyterLab on the chapters"
	@echo "make docs    write the README and build the site into _docs"
	@echo "make slow    every notebook from a clean kernel, a run on real text, ranks under mpiexec, the wheel alone"
	@echo "make parity  the tests against PyTorch and Hugging Face tokenizers"
	@echo "make evidence  all three suites, with their outcomes stored for chapter 41"
	@echo "make reference  the pages of formulas, symbols, papers, symptoms, names and speed, run anew"
	@echo "make bench   speed beside PyTorch"
	@echo "make race    sixty seconds of training, in bits per byte; ENTRY=folder for one of your own"
	@echo "make runs    the long runs that the chapters show (an hour or two)"
	@echo "make pretrained  the small model that comes with the package (ten minutes)"

.venv/core: settings.ini setup.py
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade "pip>=23"
	$(BIN)/python -m pip install --quiet -e .
	touch $@

.venv/dev: .venv/core
	$(BIN)/python -m pip install --quiet -e ".[dev,docs,notebooks]"
	touch $@

.venv/mpi: .venv/dev
	$(BIN)/python -m pip install --quiet -e ".[mpi]"
	touch $@

.venv/torch: .venv/dev
	$(BIN)/python -m pip install --quiet -e ".[parity]"
	touch $@

train: .venv/core
	$(BIN)/numpygpt train --preset tiny

test: .venv/dev
	$(ONE) $(BIN)/python -m pytest tests --ignore tests/parity --ignore tests/slow

# A workspace of its own: the contents of a chapter stand beside it.
WORKSPACE := JUPYTERLAB_WORKSPACES_DIR=$(CURDIR)/.venv/lab
.venv/lab: .ci/lab.json .venv/dev
	$(WORKSPACE) $(BIN)/jupyter lab workspaces import .ci/lab.json
	touch $@

lab: .venv/lab
	$(WORKSPACE) $(BIN)/jupyter lab nbs/index.ipynb

docs: .venv/dev
	$(BIN)/python .ci/build_readme.py
	$(BIN)/python .ci/build_docs.py

parity: .venv/torch
	$(ONE) $(BIN)/python -m pytest tests/parity

slow: .venv/mpi
	$(ONE) $(BIN)/python -m pytest tests/slow -rP

# Each suite stores its part whether it passes or not; the page, run anew, and its tests judge the whole.
evidence: .venv/torch .venv/mpi
	-$(ONE) $(BIN)/python -m pytest tests --ignore tests/parity --ignore tests/slow --ignore tests/test_evidence.py --evidence
	-$(ONE) $(BIN)/python -m pytest tests/parity --evidence
	-$(ONE) $(BIN)/python -m pytest tests/slow --evidence
	$(BIN)/jupyter nbconvert --to notebook --execute --inplace nbs/41_evidence.ipynb
	$(BIN)/nbdev_clean --fname nbs/41_evidence.ipynb
	$(ONE) $(BIN)/python -m pytest tests/test_evidence.py

# The pages that are computed from chapters, modules and tests; tests/test_reference.py says when.
PAGES := reference formulas glossary papers symptoms api speed changelog questions
reference: .venv/dev
	$(BIN)/jupyter nbconvert --to notebook --execute --inplace $(PAGES:%=nbs/%.ipynb)
	$(BIN)/python .ci/tidy.py $(PAGES:%=nbs/%.ipynb)

bench: .venv/torch
	$(BIN)/python benchmarks/run.py
	$(BIN)/python benchmarks/texts.py --mb 20

race: $(if $(ENTRY),.venv/core,.venv/torch)
	$(BIN)/python benchmarks/race.py $(ENTRY)

runs: .venv/core
	$(BIN)/python benchmarks/runs.py

pretrained: .venv/core
	$(BIN)/python benchmarks/pretrained.py

clean:
	rm -rf .venv _docs _proc build *.egg-info
