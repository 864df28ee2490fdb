"""The judge of races: a verdict from the log of a race, and from nothing else.

It shares no code with those who race. The run asks it for its verdicts, and `demo check` asks it
again about a log that somebody else may have written; there is no third place that gives one.

    events.py      a line of the log → a record, or `Malformed`
    evidence.py    all that is known about one race
    accounting.py  the rules about operations: acknowledged, entered, once each
    chains.py      the rules about tasks: versions, and each change from what the last one left
    scenarios.py   the rules of one scenario: steps, limits, and what counts as lost
    contention.py  whether there was a race at all
    results.py     `Result` and its `Witness`
    verdict.py     evidence → `Result`
    log.py         a whole log → `Judgement`
"""

from __future__ import annotations

from concord.race.judge.events import Malformed
from concord.race.judge.log import Difference, Judgement, judge_log
from concord.race.judge.results import Result, Witness
from concord.race.judge.verdict import all_is_well, judge_race, objections

__all__ = [
    "Difference",
    "Judgement",
    "Malformed",
    "Result",
    "Witness",
    "all_is_well",
    "judge_log",
    "judge_race",
    "objections",
]
