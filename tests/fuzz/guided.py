"""Run atheris on one target: it looks for inputs that reach new code, starting from the corpus and adding to it.

Kernels have to be plain Python for that (`NUMBA_DISABLE_JIT=1`), and modules are instrumented as they are imported: so
this is a program of its own.
"""

import hashlib
import sys

import atheris

with atheris.instrument_imports(include=["consumer.intake"]):
    from tests.fuzz.targets import CORPUS, TARGETS, seeds

LONGEST_INPUT = 2_000
INPUT_TIMEOUT_S = 20


def main() -> None:
    """Run the target that the command line names for the given seconds; atheris ends the process."""
    name, seconds = sys.argv[1:]
    corpus = CORPUS / name
    corpus.mkdir(parents=True, exist_ok=True)
    for one in seeds(name):
        (corpus / hashlib.sha1(one, usedforsecurity=False).hexdigest()).write_bytes(one)
    limits = [f"-max_total_time={seconds}", f"-max_len={LONGEST_INPUT}", f"-timeout={INPUT_TIMEOUT_S}"]
    atheris.Setup(["fuzz", str(corpus), f"-artifact_prefix={corpus}/", *limits], TARGETS[name])
    atheris.Fuzz()


if __name__ == "__main__":
    main()
