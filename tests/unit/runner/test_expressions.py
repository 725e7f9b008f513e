"""QuickJS gives what CWL expects of JavaScript, and nothing of the machine."""

from __future__ import annotations

from typing import Any

import pytest
from cwl_utils.errors import JavascriptException

from broker.runner.expressions import QuickJSEngine

ENGINE = QuickJSEngine()


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("(1 + 1)", 2),
        ("(1e10)", 10_000_000_000),
        ("(0.5)", 0.5),
        ("('a' + 'é' + '😀')", "aé😀"),
        ("([1, 'b', null])", [1, "b", None]),
        ("({a: {b: [1]}}.a)", {"b": [1]}),
        ("{ var x = []; for (var i = 0; i < 3; i++) { x.push(i * i); } return x; }", [0, 1, 4]),
        ("(undefined)", None),
        ("(null)", None),
        ("(0/0)", None),
        ("(true)", True),
        ("{return {class: 'File', contents: 'x'};}", {"class": "File", "contents": "x"}),
        ("([3, 1, 2].sort().map(x => x + 1))", [2, 3, 4]),
        ("(new Date(0).toISOString())", "1970-01-01T00:00:00.000Z"),
    ],
)  # fmt: skip
def test_values(expression: str, value: Any) -> None:
    assert ENGINE.eval(expression) == value


def test_library_is_seen() -> None:
    library = 'var base = 40; function add(x) { return base + x; }\nvar inputs = {"n": 2};'
    assert ENGINE.eval("(add(inputs.n))", library) == 42


def test_nothing_is_left_from_one_evaluation_to_the_next() -> None:
    ENGINE.eval("{Array.prototype.first = function() { return 'changed'; }; return 1;}")
    assert ENGINE.eval("(typeof [].first)") == "undefined"


def test_strict() -> None:
    with pytest.raises(JavascriptException, match="undeclared"):
        ENGINE.eval("{undeclared = 1; return undeclared;}")


@pytest.mark.parametrize(
    ("expression", "reason"),
    [
        ("(nowhere.x)", "'nowhere' is not defined"),
        ("{throw new Error('too wet');}", "too wet"),
        ("(1 +)", "SyntaxError"),
    ],
)
def test_errors_say_what_and_where(expression: str, reason: str) -> None:
    with pytest.raises(JavascriptException) as caught:
        ENGINE.eval(expression)
    assert reason in str(caught.value)
    assert expression in str(caught.value)
    assert "<eval>" not in str(caught.value)


def test_endless_loop_ends() -> None:
    with pytest.raises(JavascriptException, match=r"ran for more than 0\.2 s"):
        QuickJSEngine(seconds=0.2).eval("{while (true) {}}")


def test_memory_is_bounded() -> None:
    with pytest.raises(JavascriptException, match="more than 16 MiB"):
        QuickJSEngine(memory=16 * 2**20).eval("{var a = []; while (true) { a.push('xxxxxxxx' + a.length); }}")


def test_deep_recursion_is_an_error() -> None:
    with pytest.raises(JavascriptException, match="stack"):
        ENGINE.eval("{function f(n) { return f(n + 1) + 1; } return f(0);}")


@pytest.mark.parametrize(
    "expression",
    [
        "(globalThis.constructor.constructor('return process')())",
        "(require('fs'))",
        "(std.open('/etc/passwd', 'r'))",
        "(os.readdir('/'))",
        "(fetch('http://127.0.0.1/'))",
        "(new Worker('x.js'))",
    ],
)
def test_no_way_out(expression: str) -> None:
    with pytest.raises(JavascriptException, match="not defined"):
        ENGINE.eval(expression)


def test_no_process_is_ever_started() -> None:
    with pytest.raises(NotImplementedError):
        ENGINE.exec_js_process("1")
    with pytest.raises(NotImplementedError):
        ENGINE.new_js_proc("1")
