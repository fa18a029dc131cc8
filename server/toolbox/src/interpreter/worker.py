"""Runs code of one context, piece after piece, in one namespace.

Requests come and messages go as lines of JSON on the socket that the process is started with as its stdin; an empty
line says that a result has been passed on. What the code prints goes to stdout and stderr as ever.
"""

import os
import sys

# Nothing of the user's is imported by accident.
_here = sys.path.pop(0) if sys.path and sys.path[0] == "" else None

import _ast
import builtins
import fcntl
import io
import json
import linecache
import signal
import threading
import traceback
import types

if _here is not None:
    sys.path.insert(0, _here)

OWN_FILE = "<interpreter>"
AWAIT = _ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
COROUTINE = 0x80
LIMIT = 16 << 20
# Out of reach of code that closes or counts on low numbers.
HIGH = 900

REPRESENTATIONS = {
    "text/html": "_repr_html_",
    "text/markdown": "_repr_markdown_",
    "text/latex": "_repr_latex_",
    "image/svg+xml": "_repr_svg_",
    "image/png": "_repr_png_",
    "image/jpeg": "_repr_jpeg_",
    "application/json": "_repr_json_",
}


def ignore(_signal, _frame):
    """Between two pieces of code there is nothing to interrupt."""


def keep(fd):
    """A copy that programs started by the code do not get."""
    try:
        return fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, HIGH)
    except OSError:
        return os.dup(fd)


class Channel:
    """The socket to the agent."""

    def __init__(self):
        self.fd = keep(0)
        self.owner = os.getpid()
        self.buffer = bytearray()
        self.lock = threading.Lock()
        self.sent = 0
        self.passed_on = 0
        null = os.open(os.devnull, os.O_RDONLY)
        os.dup2(null, 0)
        os.close(null)
        os.register_at_fork(after_in_child=self.close)

    def close(self):
        """Forked children have no part in it."""
        os.close(self.fd)

    @property
    def own(self):
        return os.getpid() == self.owner

    def line(self):
        """The next line without its end; the process ends with the agent."""
        while True:
            end = self.buffer.find(b"\n")
            if end >= 0:
                line = bytes(self.buffer[:end])
                del self.buffer[: end + 1]
                return line
            data = os.read(self.fd, 1 << 16)
            if not data:
                os._exit(0)
            self.buffer += data

    def request(self):
        while True:
            line = self.line()
            if line:
                return json.loads(line)
            self.passed_on += 1

    def send(self, message):
        flush()
        data = memoryview(json.dumps(message, ensure_ascii=False).encode("utf-8", "replace") + b"\n")
        with self.lock:
            while data:
                data = data[os.write(self.fd, data) :]

    def send_result(self, message):
        """Also waits until it is passed on, so that what is printed next comes after it."""
        if threading.current_thread() is not threading.main_thread():
            with self.lock:
                self.sent += 1
            return self.send(message)
        # An interrupt must not tear a line.
        interrupts = []
        handler = signal.signal(signal.SIGINT, lambda *_: interrupts.append(True))
        try:
            with self.lock:
                self.sent += 1
                number = self.sent
            self.send(message)
            while self.passed_on < number:
                self.line()
                self.passed_on += 1
        finally:
            signal.signal(signal.SIGINT, signal.default_int_handler if handler is None else handler)
            if interrupts:
                os.kill(os.getpid(), signal.SIGINT)


def flush():
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except Exception:
            pass
    ctypes = sys.modules.get("ctypes")
    if ctypes is not None:
        # What C code has printed.
        try:
            ctypes.CDLL(None).fflush(None)
        except Exception:
            pass


class Streams:
    """stdin, stdout and stderr; brought back for the next piece of code when they were closed."""

    def __init__(self):
        self.copies = {fd: keep(fd) for fd in range(3)}
        self.open("stdin", 0)
        self.open("stdout", 1)
        self.open("stderr", 2)

    @staticmethod
    def open(name, fd):
        stream = getattr(sys, name)
        if fd == 0:
            stream = open(0, closefd=False)
        else:
            errors = "surrogateescape" if fd == 1 else "backslashreplace"
            stream = open(fd, "w", buffering=1, encoding="utf-8", errors=errors, closefd=False)
        setattr(sys, name, stream)
        setattr(sys, "__" + name + "__", stream)

    def restore(self):
        for fd, copy in self.copies.items():
            try:
                os.fstat(fd)
            except OSError:
                os.dup2(copy, fd)
        for fd, name in enumerate(("stdin", "stdout", "stderr")):
            if getattr(getattr(sys, name), "closed", True):
                self.open(name, fd)


def encoded(value):
    if isinstance(value, bytes):
        import base64

        return base64.b64encode(value).decode("ascii")
    return value


def picture(figure):
    file = io.BytesIO()
    figure.savefig(file, format="png", bbox_inches="tight")
    return encoded(file.getvalue())


def is_figure(value):
    module = sys.modules.get("matplotlib.figure")
    return module is not None and isinstance(value, module.Figure)


def plain_json(value):
    """The value, if JSON can say it."""
    text = json.dumps(value, allow_nan=False)
    return json.loads(text) if len(text) <= LIMIT else None


def represent(value):
    """What a result shows, by MIME type."""
    text = repr(value)
    data = {"text/plain": text if len(text) <= LIMIT else text[:LIMIT] + "..."}
    found = {}
    if not isinstance(value, type):
        for mime, name in REPRESENTATIONS.items():
            try:
                found[mime] = getattr(value, name)()
            except Exception:
                continue
        try:
            bundle = value._repr_mimebundle_()
            bundle = bundle[0] if isinstance(bundle, tuple) else bundle
            found.update(bundle)
        except Exception:
            pass
    for mime, shown in found.items():
        try:
            shown = encoded(shown[0] if isinstance(shown, tuple) else shown)
            if mime.endswith("json"):
                shown = plain_json(shown)
            elif not isinstance(shown, str) or len(shown) > LIMIT:
                continue
        except Exception:
            continue
        if shown is not None:
            data[mime] = shown
    if isinstance(value, (dict, list)):
        try:
            shown = plain_json(value)
        except Exception:
            shown = None
        if shown is not None:
            data.setdefault("application/json", shown)
    if is_figure(value) and "image/png" not in data:
        data["image/png"] = picture(value)
    return data


class Interpreter:
    def __init__(self):
        self.channel = Channel()
        self.streams = Streams()
        self.count = 0
        self.loop = None
        self.results = False
        self.shown = set()
        self.handler = signal.default_int_handler
        signal.signal(signal.SIGINT, ignore)
        self.main = types.ModuleType("__main__")
        self.main.__builtins__ = builtins
        sys.modules["__main__"] = self.main
        sys.argv = [""]
        builtins.display = self.display
        after_import("matplotlib.pyplot", self.hook_pyplot)  # noqa: F821 (comes before this file)

    def serve(self):
        while True:
            request = self.channel.request()
            try:
                self.run(request)
            except KeyboardInterrupt:
                pass

    def run(self, request):
        self.streams.restore()
        self.results = request.get("results", False)
        environment = request.get("envs") or {}
        before = {name: os.environ.get(name) for name in environment}
        os.environ.update(environment)
        error = None
        try:
            try:
                signal.signal(signal.SIGINT, self.handler)
                self.execute(request["code"])
            finally:
                self.handler = signal.signal(signal.SIGINT, ignore) or signal.default_int_handler
        except BaseException as caught:
            error = caught
        while True:
            try:
                signal.signal(signal.SIGINT, ignore)
                break
            except KeyboardInterrupt:
                continue
        if not self.channel.own:
            leave(error)
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
        if isinstance(error, SystemExit) and error.code in (None, 0):
            error = None
        if error is not None:
            self.channel.send(describe(error))
        interrupted = isinstance(error, KeyboardInterrupt)
        error = None
        self.channel.send({"type": "control", "text": "interrupted" if interrupted else "completed"})

    def execute(self, code):
        self.count += 1
        name = "<input %d>" % self.count
        lines = code.replace("\r\n", "\n").replace("\r", "\n").split("\n")
        linecache.cache[name] = (len(code), None, [line + "\n" for line in lines], name)
        try:
            if not self.results:
                self.evaluate(compile(code, name, "exec", AWAIT, True))
                return
            import ast

            tree = ast.parse(code, name)
            last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
            body = compile(tree, name, "exec", AWAIT, True)
            if last is not None:
                last = compile(ast.Expression(last.value), name, "eval", AWAIT, True)
            self.evaluate(body)
            if last is not None:
                value = self.evaluate(last)
                if value is not None:
                    self.show(value, True)
            self.show_figures()
        finally:
            self.shown.clear()

    def evaluate(self, code):
        value = eval(code, self.main.__dict__)
        return self.finish(value) if code.co_flags & COROUTINE else value

    def finish(self, coroutine):
        """Runs code that awaits something."""
        import asyncio

        if self.loop is None or self.loop.is_closed():
            self.loop = asyncio.new_event_loop()
        asyncio.set_event_loop(self.loop)
        task = self.loop.create_task(coroutine)
        try:
            return self.loop.run_until_complete(task)
        except BaseException:
            if not task.done():
                task.cancel()
                try:
                    self.loop.run_until_complete(task)
                except BaseException:
                    pass
            elif not task.cancelled():
                task.exception()
            raise

    def display(self, *values):
        """Shows values the way the value of the last expression is shown."""
        for value in values:
            if self.results and self.channel.own:
                self.show(value, False)
            else:
                print(repr(value))

    def show(self, value, is_main):
        if is_figure(value):
            self.shown.add(id(value))
        self.channel.send_result({"type": "result", "data": represent(value), "isMain": is_main})

    def hook_pyplot(self, pyplot):
        def show(*_args, **_kwargs):
            if self.results and self.channel.own:
                self.show_figures()

        pyplot.show = show

    def show_figures(self):
        pyplot = sys.modules.get("matplotlib.pyplot")
        if pyplot is None:
            return
        for number in pyplot.get_fignums():
            figure = pyplot.figure(number)
            if id(figure) not in self.shown:
                self.show(figure, False)
        pyplot.close("all")


def leave(error):
    """The end of a forked child that came to the end of the code."""
    code = 0
    if isinstance(error, SystemExit):
        code = error.code if isinstance(error.code, int) else int(error.code is not None)
    elif error is not None:
        sys.stderr.write(describe(error)["traceback"])
        code = 1
    flush()
    os._exit(code & 0xFF)


def describe(error):
    """An exception as the client gets it, with the frames of the user's code."""
    frames = error.__traceback__
    first = frames
    while first is not None and not first.tb_frame.f_code.co_filename.startswith("<input "):
        first = first.tb_next
    try:
        shown = traceback.TracebackException(type(error), error, first or frames)
        only = hide(shown)
        text = "".join(shown.format_exception_only() if only else shown.format())
    except Exception as failure:
        text = "%s (its traceback cannot be shown: %r)\n" % (type(error).__name__, failure)
    try:
        value = str(error)
    except Exception:
        value = "<exception str() failed>"
    return {"type": "error", "name": type(error).__name__, "value": value[:LIMIT], "traceback": text[:LIMIT]}


def hide(shown):
    """Removes this file's frames. True if nothing but the exception itself is left."""
    waiting, seen = [shown], set()
    while waiting:
        one = waiting.pop()
        if one is None or id(one) in seen:
            continue
        seen.add(id(one))
        one.stack[:] = [frame for frame in one.stack if frame.filename != OWN_FILE]
        waiting += [one.__cause__, one.__context__]
        waiting += getattr(one, "exceptions", None) or []
    return len(seen) == 1 and not shown.stack


Interpreter().serve()
