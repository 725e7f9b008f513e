"""JavaScript of CWL expressions, evaluated in QuickJS: no file, network or process can be reached from it."""

from __future__ import annotations

import json
import re
import signal
from typing import Any, cast

import quickjs
from cwl_utils import sandboxjs
from cwl_utils.errors import JavascriptException
from cwl_utils.types import CWLOutputType

MEMORY = 256 * 2**20
STACK = 1 * 2**20
SECONDS = 20.0
GRACE = 1.2
ENDED_BY = signal.SIGVTALRM

_WHERE = re.compile(r"\n\s+at .*")


class QuickJSEngine(sandboxjs.NodeJSEngine):
    """The engine cwltool asks; each evaluation gets a context of its own, with bounds on memory and CPU seconds.

    Only `regex_eval` (parameter references) is inherited: no node process is ever started.
    """

    def __init__(self, seconds: float = SECONDS, memory: int = MEMORY) -> None:
        super().__init__()
        self.seconds = seconds
        self.memory = memory

    def exec_js_process(self, *_: Any, **__: Any) -> tuple[int, str, str]:
        raise NotImplementedError("expressions are evaluated in QuickJS, never in a process")

    def new_js_proc(self, *_: Any, **__: Any) -> Any:
        raise NotImplementedError("expressions are evaluated in QuickJS, never in a process")

    def eval(self, scan: str, jslib: str = "", timeout: float = SECONDS, *_: Any, **__: Any) -> CWLOutputType:
        """The JSON value of the expression `scan` (`(…)` or `{…}`); raises JavascriptException."""
        seconds = min(self.seconds, timeout) if timeout else self.seconds
        body = scan if len(scan) > 1 and scan[0] == "{" else f"{{return ({scan});}}"
        context = quickjs.Context()
        context.set_memory_limit(self.memory)
        context.set_max_stack_size(STACK)
        # set_time_limit counts CPU seconds of the process from each eval on.
        context.set_time_limit(seconds)
        # Its clock is not looked at inside of regular expressions and the like, so that there is a second one: the
        # end of this process, which `keeper` understands.
        signal.setitimer(signal.ITIMER_VIRTUAL, GRACE * seconds + 1)
        try:
            context.eval(f'"use strict";\n{jslib}\n')
            text = context.eval(f'"use strict";\nJSON.stringify((function(){body})())')
        except quickjs.JSException as error:
            raise JavascriptException(self._sentence(scan, str(error), seconds)) from error
        except (UnicodeError, ValueError) as error:
            raise JavascriptException(f"Expression ${scan} gives text that is not valid Unicode.") from error
        finally:
            signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        return cast(CWLOutputType, json.loads(text)) if isinstance(text, str) else cast(CWLOutputType, None)

    def _sentence(self, scan: str, error: str, seconds: float) -> str:
        reason = _WHERE.sub("", error).strip()
        if reason == "InternalError: interrupted":
            reason = f"it ran for more than {seconds:g} s"
        elif reason in ("", "null", "InternalError: out of memory"):
            reason = f"it used more than {self.memory // 2**20} MiB of memory"
        shown = scan if len(scan) <= 400 else scan[:400] + " …"
        return f"Expression ${shown} failed: {reason}"


def install() -> None:
    """Make cwltool evaluate every expression of this process in QuickJS."""
    sandboxjs.set_js_engine(QuickJSEngine())
