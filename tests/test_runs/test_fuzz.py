"""Mutated inputs of every kind end in one line; and the program that feeds them sees what does not."""

import sys

import fuzz
from programs import ROOT

# A worker whose kinds do what no kind should.
PLANTED = """
import os, sys, time
sys.path[:0] = [{helpers!r}, {root!r}]
import fuzz, typing
from dvae.errors import UserError

class Kind(typing.NamedTuple):
    good: str
    run: typing.Callable
    refusals: tuple = (UserError,)
    def mutate(self, rng, good):
        return "mutated"

def refuse(text):
    raise UserError(text)

class TwoLines(Exception):
    pass

def say(text):
    raise TwoLines(text)

held = []
def planted(bad):
    return Kind("good", lambda given: bad() if given == "mutated" else None, (UserError, TwoLines))

fuzz.work(lambda folder: {{
    "fine": planted(lambda: None),
    "refused": planted(lambda: refuse("must be something else")),
    "traceback": planted(lambda: 1 // 0),
    "lines": planted(lambda: say("one\\ntwo")),
    "silent": planted(lambda: refuse(" ")),
    "surrogate": planted(lambda: say("\\udcff")),
    "died": planted(lambda: os._exit(3)),
    "hang": planted(lambda: [None for _ in iter(int, 1)]),
    "waits": planted(lambda: time.sleep(600)),
    "memory": planted(lambda: held.append(b"x" * 300 * 2**20)),
}})
"""
OUTCOMES = {
    "fine": "accepted", "refused": "refused", "traceback": "traceback", "lines": "not one line",
    "silent": "not one line", "surrogate": "not text", "died": "died", "hang": "hang", "waits": "hang",
    "memory": "memory",
}  # fmt: skip


def test_what_must_not_happen_is_seen():
    """Every planted fault is found, and what comes after it is tried all the same."""
    program = PLANTED.format(helpers=str(ROOT / "tests" / "helpers"), root=str(ROOT))
    wanted = [f"{kind}/{i}" for i in range(2) for kind in OUTCOMES if "hang" not in OUTCOMES[kind] or not i]
    answers = fuzz.fuzz(
        wanted, most_seconds=2.0, most_wall=30.0, most_mib=200.0, command=(sys.executable, "-c", program)
    )
    assert [answer.name for answer in answers] == wanted
    assert {a.name: a.outcome for a in answers} == {name: OUTCOMES[name.partition("/")[0]] for name in wanted}


def test_mutated_inputs_end_in_one_line():
    """A hundred of the two thousand of `make fuzz`."""
    answers = fuzz.fuzz(fuzz.names(100))
    assert {answer.name.partition("/")[0] for answer in answers} == set(fuzz.SHARES)
    failures = [answer for answer in answers if answer.is_failure]
    assert not failures, "\n".join(f"{a.name}: {a.outcome}\n{a.detail}" for a in failures)
    # Not all are refused before they are looked at.
    assert {answer.outcome for answer in answers} == {"accepted", "refused"}
