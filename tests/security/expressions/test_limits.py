"""JavaScript of strangers: no way to the machine, and no way to keep it busy."""

from __future__ import annotations

import os

import pytest
from cwl_utils.errors import JavascriptException

from broker.jobs.model import Fault, Reason
from broker.jobs.observation import State
from broker.runner import expressions, kernel
from broker.runner.expressions import QuickJSEngine
from tests.peers.runner import RunnerPeer

SCRIPT = """\
cwlVersion: v1.2
class: ExpressionTool
requirements: {{InlineJavascriptRequirement: {{}}}}
inputs: []
outputs: {{o: Any}}
expression: "${{return {{o: {0}}};}}"
"""


@pytest.mark.parametrize(
    "expression",
    [
        "globalThis.constructor.constructor('return process')()",
        "this.constructor.constructor('return process')()",
        "(function(){return this})().process.env",
        "Function('return process')().mainModule.require('fs')",
        "[].constructor.constructor('return require(`child_process`)')()",
        "Reflect.construct(Function, ['return process'])()",
        "std.getenv('PATH')",
        "os.exec(['id'])",
        "scriptArgs",
        "bjson.read(new ArrayBuffer(8), 0, 8)",
    ],
)
def test_escapes(runner: RunnerPeer, expression: str) -> None:
    """The first of these gave stock cwltool's host away (node's `process`)."""
    _, seen = runner.run(SCRIPT.format(expression))
    assert seen.state == State.FAILED
    assert seen.failure is not None
    assert (seen.failure.fault, seen.failure.reason) == (Fault.PACKAGE, Reason.EXPRESSION)


def test_one_evaluation_leaves_nothing_to_the_next() -> None:
    engine = QuickJSEngine()
    engine.eval("{Object.prototype.x = 1; JSON.stringify = function() { return '666'; }; return 1;}")
    assert engine.eval("({}.x === undefined)") is True


BUSY = [
    "{while (true) {}}",
    "(/^(a+)+$/.test('a'.repeat(60) + '!'))",
    "(/(x+x+)+y/.test('x'.repeat(60)))",
    "(new Array(4294967295).indexOf(1))",
    "{var a = []; a.length = 4294967295; return a.join('');}",
]


@pytest.mark.parametrize("expression", BUSY)
def test_busy_expressions_end(expression: str) -> None:
    """QuickJS looks at its clock between instructions only: a regular expression is one. Then the process ends."""

    def child() -> int:
        try:
            QuickJSEngine(seconds=0.5).eval(expression)
        except JavascriptException:
            return 7
        return 0

    pid = kernel.fork(child)
    assert kernel.ended(pid, 60)
    _, status = os.waitpid(pid, 0)
    ended_by_clock = expression == BUSY[0]  # which QuickJS sees
    assert os.waitstatus_to_exitcode(status) in ((7,) if ended_by_clock else (7, -expressions.ENDED_BY))


def test_an_engine_that_was_ended_says_why(runner: RunnerPeer) -> None:
    """The one test that waits for the whole time that an expression has (some 25 s of CPU)."""
    _, seen = runner.run(SCRIPT.format("/^(a+)+$/.test('a'.repeat(60) + '!')"))
    assert seen.failure is not None
    assert (seen.failure.fault, seen.failure.reason) == (Fault.PACKAGE, Reason.EXPRESSION)


@pytest.mark.parametrize(
    "expression",
    [
        "{var a = []; while (true) a.push(new Array(1000).fill('x'));}",
        "('x'.repeat(2**30 - 1))",
        "(new ArrayBuffer(2**31))",
        "{var s = 'x'; while (true) s += s;}",
        "{function f() { return f() + 1; } return f();}",
        "(JSON.parse('['.repeat(200000)))",
    ],
)
def test_memory_and_depth(expression: str) -> None:
    with pytest.raises(JavascriptException) as caught:
        QuickJSEngine(seconds=5, memory=32 * 2**20).eval(expression)
    assert "ran for more than" not in str(caught.value)  # it ends by its bound, not by the clock
