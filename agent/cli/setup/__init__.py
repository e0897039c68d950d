"""`varde setup`: guided set-up that tests before it saves.

    question (or its flag) ─→ settings model ─fault→ asked again
                                    └─ok→ tried for real ─fails→ not saved, unless --save-anyway
                                                  └─ok→ agent.toml, comments kept ─→ the whole file checked ─→ in place

`document.py` edits the file, `trial.py` tries a part, `parts.py` has the questions.
"""

from agent.cli.setup.parts import setup

__all__ = ["setup"]
