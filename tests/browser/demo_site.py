"""`varde demo` with one thing going wrong: Patriot turns a client down. Run as a process by the browser tests."""

import functools
import sys
from pathlib import Path

import trio

from agent.demo import lab
from agent.demo.run import run_demo
from agent.patriot.simulator import PatriotSimulator

FAILED = "1234BASE11"
WORDS = "could not be imported: area code 9999 is <unknown>"

if __name__ == "__main__":
    lab.PatriotSimulator = functools.partial(PatriotSimulator, failures={FAILED: WORDS})
    trio.run(run_demo, Path(sys.argv[1]), None)
