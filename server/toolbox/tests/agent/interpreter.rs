//! The code interpreter.

use std::time::{Duration, Instant};

use crate::common::websocket::{Received, Socket};
use crate::common::{Agent, alive, eventually};
use serde_json::{Value, json};

const EXECUTE: &str = "/process/interpreter/execute";

/// What came of a run.
#[derive(Debug, Default)]
struct Ran {
    stdout: String,
    stderr: String,
    error: Value,
    results: Vec<Value>,
    control: Option<String>,
    code: u16,
    reason: String,
    /// Kinds of the messages, each once in a row.
    order: Vec<String>,
}

fn finish(mut socket: Socket) -> Ran {
    let mut ran = Ran::default();
    loop {
        match socket.next() {
            Received::Text(message) => {
                let kind = message["type"].as_str().unwrap().to_owned();
                let text = message["text"].as_str().unwrap_or_default();
                match kind.as_str() {
                    "stdout" => ran.stdout.push_str(text),
                    "stderr" => ran.stderr.push_str(text),
                    "control" => ran.control = Some(text.to_owned()),
                    "error" => ran.error = message,
                    "result" => ran.results.push(message),
                    other => panic!("{other}"),
                }
                if ran.order.last() != Some(&kind) {
                    ran.order.push(kind);
                }
            }
            Received::Closed(code, reason) => {
                (ran.code, ran.reason) = (code, reason);
                return ran;
            }
            other => panic!("{other:?}"),
        }
    }
}

fn start(agent: &Agent, request: &Value) -> Socket {
    let mut socket = agent.socket(EXECUTE);
    socket.send(request);
    socket
}

fn run_with(agent: &Agent, request: &Value) -> Ran {
    finish(start(agent, request))
}

/// A run that completes, with or without an exception.
#[track_caller]
fn run(agent: &Agent, code: &str) -> Ran {
    let ran = run_with(agent, &json!({ "code": code }));
    assert_eq!((ran.control.as_deref(), ran.code), (Some("completed"), 1000), "{ran:?}");
    ran
}

/// The output of a run without an exception.
#[track_caller]
fn output(agent: &Agent, code: &str) -> String {
    let ran = run(agent, code);
    assert_eq!((&ran.error, ran.stderr.as_str()), (&Value::Null, ""), "{ran:?}");
    ran.stdout
}

/// Reads up to this text on stdout.
fn await_text(socket: &mut Socket, text: &str) {
    let mut stdout = String::new();
    while !stdout.contains(text) {
        stdout.push_str(socket.text()["text"].as_str().unwrap());
    }
}

#[test]
fn state_is_kept() {
    let agent = Agent::start();
    agent.put("helper.py", "value = 42");
    assert_eq!(output(&agent, "import helper\ndef f(x):\n    return x + helper.value\na = f(1)"), "");
    assert_eq!(output(&agent, "print(f(a)); __name__"), "85\n", "the last expression's value is not printed");
    assert_eq!(
        output(&agent, "class A:\n  def m(self):\n    return 'm'\n\nfor c in 'ab':\n  print(A().m() + c)"),
        "ma\nmb\n"
    );
    assert_eq!(output(&agent, "# nothing"), "");
    assert_eq!(
        output(&agent, "import sys, os; print(sys.argv, os.getcwd(), __name__)"),
        format!("[''] {} __main__\n", agent.work().display())
    );
    assert_eq!(output(&agent, "os.chdir('/')"), "");
    assert_eq!(output(&agent, "print(os.getcwd())"), "/\n");
}

#[test]
fn all_output_is_delivered_in_order() {
    let agent = Agent::start();
    let code = "import os, subprocess, sys, ctypes\nprint('one')\nsubprocess.run(['echo', 'two'])\nos.write(1, b'three\\n')\nprint('four')\nos.system('echo five')\nctypes.CDLL(None).printf(b'six\\n')\nprint('se', end='')\nprint('ven', end='')";
    assert_eq!(output(&agent, code), "one\ntwo\nthree\nfour\nfive\nsevensix\n", "C code has a buffer of its own");
    let ran = run(
        &agent,
        "os.system('echo a >&2'); print('b', file=sys.stderr); os.write(2, b'c'); subprocess.run('printf d >&2', shell=True)",
    );
    assert_eq!((ran.stdout.as_str(), ran.stderr.as_str()), ("", "a\nb\ncd"));
    // The rest of the process is written after the code's end.
    assert_eq!(
        output(&agent, "subprocess.Popen('sleep 0.05; echo late', shell=True).wait(); print('x' * 100000)").len(),
        100_006
    );
}

#[test]
fn text_of_any_kind_comes_through() {
    let agent = Agent::start();
    assert_eq!(output(&agent, "print('日本語 🎈')"), "日本語 🎈\n");
    let code = "import os, time\nfor b in '🎈é'.encode():\n    os.write(1, bytes([b])); time.sleep(0.01)";
    assert_eq!(output(&agent, code), "🎈é");
    assert_eq!(output(&agent, "os.write(1, b'a\\xffb\\xf0\\x9f')"), "a\u{fffd}b\u{fffd}");
    assert_eq!(output(&agent, "print('\\udcff|\\x00|')"), "\u{fffd}|\0|\n");
    let ran = run(&agent, "raise ValueError('\\udcff')");
    assert_eq!(ran.error["value"], "?");
}

#[test]
fn exceptions_show_the_users_frames_only() {
    let agent = Agent::start();
    assert_eq!(output(&agent, "def f(x):\n    return 1 / x\n"), "");
    let ran = run(&agent, "print('before')\nf(0)");
    assert_eq!(
        (ran.stdout.as_str(), ran.order),
        ("before\n", vec!["stdout".to_owned(), "error".into(), "control".into()])
    );
    assert_eq!((&ran.error["name"], &ran.error["value"]), (&json!("ZeroDivisionError"), &json!("division by zero")));
    let traceback = ran.error["traceback"].as_str().unwrap();
    assert!(
        traceback
            .starts_with("Traceback (most recent call last):\n  File \"<input 2>\", line 2, in <module>\n    f(0)\n"),
        "{traceback}"
    );
    assert!(traceback.contains("File \"<input 1>\", line 2, in f\n    return 1 / x"), "{traceback}");
    assert!(
        traceback.ends_with("ZeroDivisionError: division by zero\n") && !traceback.contains("interpreter"),
        "{traceback}"
    );
    let ran = run(&agent, "x = 1\nprint('unclosed");
    let traceback = ran.error["traceback"].as_str().unwrap();
    assert_eq!(ran.error["name"], "SyntaxError");
    assert!(traceback.starts_with("  File \"<input 3>\", line 2\n    print('unclosed\n"), "{traceback}");
    let ran = run(&agent, "try:\n    f(0)\nexcept Exception as e:\n    raise KeyError('k') from e");
    let traceback = ran.error["traceback"].as_str().unwrap();
    assert_eq!(ran.error["value"], "'k'");
    assert!(
        traceback.contains("direct cause")
            && traceback.contains("ZeroDivisionError")
            && !traceback.contains("interpreter"),
        "{traceback}"
    );
    for code in [
        "raise BaseException('b')",
        "f(f)",
        "import nowhere",
        "assert 0",
        "def g(): g()\ng()",
        "(".repeat(5000).as_str(),
        "a\0b",
    ] {
        assert!(!run(&agent, code).error.is_null(), "{code}");
    }
    let code = "class E(Exception):\n    def __str__(self):\n        raise RuntimeError\nraise E";
    assert_eq!(run(&agent, code).error["name"], "E");
    assert_eq!(output(&agent, "print('goes on')"), "goes on\n");
}

#[test]
fn an_exit_is_not_the_workers_end() {
    let agent = Agent::start();
    assert_eq!(output(&agent, "import sys, os\nleft = 1\nsys.exit()"), "");
    assert_eq!(output(&agent, "exit(0)"), "");
    let ran = run(&agent, "sys.exit(3)");
    assert_eq!((&ran.error["name"], &ran.error["value"]), (&json!("SystemExit"), &json!("3")));
    assert_eq!(run(&agent, "quit('why')").error["value"], "why");
    assert_eq!(output(&agent, "print(left, sys.stdin.read() == '')"), "1 True\n");
    for (code, how) in
        [("os._exit(7)", "exit code 7"), ("os.kill(os.getpid(), 9)", "signal 9"), ("os.abort()", "signal 6")]
    {
        let ran = run_with(&agent, &json!({ "code": format!("import os\nprint('said')\n{code}") }));
        assert_eq!((ran.stdout.as_str(), ran.code, ran.control), ("said\n", 1001, None));
        assert!(ran.reason.contains(how), "{}", ran.reason);
    }
    let ran = run(&agent, "print('left' in globals())");
    assert_eq!(ran.stdout, "False\n", "a fresh start");
    let said =
        "[the state of the default context is lost: the interpreter was killed by signal 6 in the code before this]\n";
    assert_eq!(ran.stderr, said);
    assert_eq!(output(&agent, "print('once')"), "once\n");
}

#[test]
fn what_the_code_breaks_is_mended() {
    let agent = Agent::start();
    let code = "import os, sys\nsys.stdout.close(); sys.stderr.close(); sys.stdin.close()\nfor fd in range(3, 900):\n    try: os.close(fd)\n    except OSError: pass";
    run(&agent, code);
    assert_eq!(output(&agent, "print('one'); os.close(0); os.close(1); os.close(2)"), "one\n");
    assert_eq!(output(&agent, "print('two'); os.system('echo three; cat')"), "two\nthree\n");
    assert_eq!(
        output(
            &agent,
            "import subprocess\nprint(subprocess.check_output(['sh', '-c', 'ls /proc/self/fd | wc -l']).strip())"
        ),
        "b'4'\n",
        "nothing is handed on"
    );
}

#[test]
fn children_of_all_kinds() {
    let agent = Agent::start();
    let code = "import os, sys\nprint('parent')\npid = os.fork()\nif pid == 0:\n    print('child')\n    sys.exit(5)\nprint(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))";
    assert_eq!(output(&agent, code), "parent\nchild\n5\n");
    let ran = run(&agent, "pid = os.fork()\nif pid == 0:\n    raise KeyError('in the child')\nos.waitpid(pid, 0)");
    assert!(ran.error.is_null() && ran.stderr.contains("KeyError: 'in the child'"), "{ran:?}");
    let code = "import multiprocessing\ndef square(x):\n    return x * x\nwith multiprocessing.get_context('fork').Pool(2) as pool:\n    print(pool.map(square, range(5)))";
    assert_eq!(output(&agent, code), "[0, 1, 4, 9, 16]\n");
    let code = "import threading\nt = threading.Thread(target=lambda: print('thread'))\nt.start(); t.join()";
    assert_eq!(output(&agent, code), "thread\n");
    let code = "import signal\nbefore = signal.getsignal(signal.SIGINT) is signal.default_int_handler\nprint(before)";
    assert_eq!(output(&agent, code), "True\n");
}

#[test]
fn await_stands_at_the_top() {
    let agent = Agent::start();
    assert_eq!(
        output(
            &agent,
            "import asyncio\nawait asyncio.sleep(0)\nlock = asyncio.Lock()\nasync with lock:\n    print('in')"
        ),
        "in\n"
    );
    assert_eq!(
        output(
            &agent,
            "async def f(): return 5\ntask = asyncio.create_task(f()) if False else None\nprint(await f(), [x async for x in __import__('asyncio').as_completed([])] if False else '')"
        ),
        "5 \n"
    );
    assert_eq!(output(&agent, "async with lock:\n    print('the same loop')"), "the same loop\n");
    assert_eq!(output(&agent, "print(asyncio.run(f()))"), "5\n");
    let ran = run(&agent, "async def g():\n    raise KeyError(1)\nawait g()");
    let traceback = ran.error["traceback"].as_str().unwrap();
    assert!(traceback.starts_with("Traceback (most recent call last):\n  File \"<input 5>\", line 3"), "{traceback}");
    let mut socket = start(
        &agent,
        &json!({"code": "try:\n    print('up', flush=True); await asyncio.sleep(1000)\nfinally:\n    print('cleaned')"}),
    );
    await_text(&mut socket, "up");
    socket.send(&json!({"type": "interrupt"}));
    let ran = finish(socket);
    assert_eq!(
        (ran.control.as_deref(), ran.stdout.as_str(), ran.stderr.as_str()),
        (Some("interrupted"), "cleaned\n", "")
    );
}

#[test]
fn the_environment_of_one_run() {
    let agent = Agent::start();
    let request = json!({"code": "import os\nprint(os.environ['A'], os.environ['FROM_SANDBOX'])\nos.environ['B'] = 'kept'; os.system('echo $A')", "envs": {"A": "1", "FROM_SANDBOX": "no"}});
    assert_eq!(run_with(&agent, &request).stdout, "1 no\n1\n");
    assert_eq!(
        output(&agent, "print(os.environ.get('A'), os.environ['FROM_SANDBOX'], os.environ['B'])"),
        "None yes kept\n"
    );
}

#[test]
fn contexts_are_apart() {
    let agent = Agent::start();
    output(&agent, "x = 1");
    let created = agent.post("/process/interpreter/context", &json!({"cwd": "/tmp"})).json();
    let id = created["id"].as_str().unwrap();
    assert_eq!(
        (&created["cwd"], &created["language"], &created["active"]),
        (&json!("/tmp"), &json!("python"), &json!(true))
    );
    created["createdAt"].as_str().unwrap().parse::<jiff::Timestamp>().unwrap();
    let ran = run_with(&agent, &json!({"contextId": id, "code": "import os; print(os.getcwd(), 'x' in globals())"}));
    assert_eq!(ran.stdout, "/tmp False\n");
    let ran = run_with(&agent, &json!({"contextId": "default", "code": "print(x)"}));
    assert_eq!(ran.stdout, "1\n");
    let list = agent.get("/process/interpreter/context").json();
    assert_eq!(list["contexts"].as_array().unwrap().len(), 1);
    assert_eq!(list["contexts"][0]["id"], id);
    // Long code in one does not hold up another.
    let mut long = start(
        &agent,
        &json!({"contextId": id, "code": "import time, os\nprint(os.getpid(), flush=True)\ntime.sleep(1000)"}),
    );
    let pid = long.text()["text"].as_str().unwrap().trim().to_owned();
    assert_eq!(output(&agent, "print('meanwhile')"), "meanwhile\n");
    let path = format!("/process/interpreter/context/{id}");
    agent.send("DELETE", &path, &[], b"").json();
    let ran = finish(long);
    assert_eq!((ran.code, ran.reason.as_str()), (1001, "the context was deleted"));
    eventually("the worker ends", || !alive(&pid));
    agent.send("DELETE", &path, &[], b"").error(404, "CONTEXT_NOT_FOUND");
    agent.send("DELETE", "/process/interpreter/context/default", &[], b"").error(400, "BAD_REQUEST");
    assert_eq!(agent.get("/process/interpreter/context").json(), json!({"contexts": []}));
    agent.post("/process/interpreter/context", &json!({"cwd": "/nowhere"})).error(400, "BAD_REQUEST");
    agent.post("/process/interpreter/context", &json!({"language": "ruby"})).error(400, "BAD_REQUEST");
    assert_eq!(
        agent.post("/process/interpreter/context", &json!({"language": "python"})).json()["cwd"],
        agent.work().to_str().unwrap()
    );
}

#[test]
fn runs_of_one_context_queue_up() {
    let agent = Agent::start();
    let mut first = start(
        &agent,
        &json!({"code": "import time\nlog = []\nprint('up', flush=True)\nwhile not __import__('os').path.exists('go'): time.sleep(0.005)\nlog.append(1)"}),
    );
    await_text(&mut first, "up");
    let mut waiting: Vec<_> = (2..5)
        .map(|n| {
            let socket = start(&agent, &json!({"code": format!("log.append({n})")}));
            // It is in the queue before the next one is.
            agent.get("/version");
            socket
        })
        .collect();
    // One that is interrupted before its turn, and one whose client goes.
    waiting[1].send(&json!({"type": "interrupt"}));
    drop(waiting.pop());
    agent.get("/version");
    agent.put("go", "");
    assert_eq!(finish(first).control.as_deref(), Some("completed"));
    let ends: Vec<_> = waiting.into_iter().map(|socket| finish(socket).control.unwrap()).collect();
    assert_eq!(ends, ["completed", "interrupted"]);
    assert_eq!(output(&agent, "print(log)"), "[1, 2]\n");
}

#[test]
fn interrupts() {
    let agent = Agent::start();
    for (module, code) in [
        ("time", "time.sleep(1000)"),
        ("time", "while True: pass"),
        ("subprocess", "subprocess.run(['sleep', '1000'])"),
        ("threading", "threading.Event().wait()"),
    ] {
        let code = format!("import {module}; kept = 1; print('up', flush=True)\n{code}");
        let mut socket = start(&agent, &json!({ "code": code }));
        await_text(&mut socket, "up");
        socket.send(&json!({"type": "something else"}));
        socket.send(&json!({"type": "interrupt"}));
        let ran = finish(socket);
        assert_eq!(
            (ran.control.as_deref(), ran.code, &ran.error["name"]),
            (Some("interrupted"), 1000, &json!("KeyboardInterrupt")),
            "{code}: {ran:?}"
        );
    }
    let mut socket = start(
        &agent,
        &json!({"code": "import time\ntry:\n    print('up', flush=True); time.sleep(1000)\nexcept KeyboardInterrupt:\n    print('caught', kept)"}),
    );
    await_text(&mut socket, "up");
    socket.send(&json!({"type": "interrupt"}));
    let ran = finish(socket);
    assert_eq!((ran.control.as_deref(), ran.stdout.as_str()), (Some("completed"), "caught 1\n"));
    // A shell's command is interrupted even where that is nothing to its caller. The command itself says that it is
    // there: a shell that is about to start one may lose an interrupt.
    let command = r#"python3 -c "import time; print('up', flush=True); time.sleep(1000)""#;
    let mut socket = start(&agent, &json!({"code": format!("import os; os.system({command:?})")}));
    await_text(&mut socket, "up");
    socket.send(&json!({"type": "interrupt"}));
    assert_eq!(finish(socket).code, 1000);
}

#[test]
fn time_limits() {
    let agent = Agent::start();
    let ran = run_with(&agent, &json!({"code": "kept = 1\nimport time\nprint('up')\ntime.sleep(1000)", "timeout": 1}));
    assert_eq!((ran.code, ran.stdout.as_str(), ran.control), (4008, "up\n", None));
    assert!(
        ran.reason.contains("1 s") && ran.reason.ends_with("the state of the default context is kept"),
        "{}",
        ran.reason
    );
    let deaf = "print(kept)\nwhile True:\n    try: time.sleep(1000)\n    except KeyboardInterrupt: print('no')";
    let begun = Instant::now();
    let ran = run_with(&agent, &json!({"code": deaf, "timeout": 1}));
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
    assert_eq!((ran.code, ran.stdout.as_str()), (4008, "1\nno\n"));
    assert!(ran.reason.ends_with("killed; the state of the default context is lost"), "{}", ran.reason);
    let ran = run(&agent, "print('kept' in globals())");
    let said =
        "[the state of the default context is lost: the code before this did not end at its 1 s and was killed]\n";
    assert_eq!((ran.stdout.as_str(), ran.stderr.as_str()), ("False\n", said));
    assert_eq!(output(&agent, "print('once')"), "once\n");
    assert_eq!(run_with(&agent, &json!({"code": "print(1)", "timeout": 0})).stdout, "1\n");
}

#[test]
fn code_whose_client_goes_is_interrupted() {
    let agent = Agent::start();
    let code = "import time\ntry:\n    print('up', flush=True); time.sleep(1000)\nexcept KeyboardInterrupt:\n    open('interrupted', 'w').close()";
    let mut socket = start(&agent, &json!({ "code": code }));
    await_text(&mut socket, "up");
    drop(socket);
    eventually("it is interrupted", || agent.work().join("interrupted").exists());
    let mut socket = start(
        &agent,
        &json!({"code": "import os, signal\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\nprint(os.getpid(), 'pid', flush=True)\nwhile True: time.sleep(1)"}),
    );
    let pid = socket.text()["text"].as_str().unwrap().split(' ').next().unwrap().to_owned();
    socket.close();
    eventually("it is killed", || !alive(&pid));
    let ran = run(&agent, "print('new')");
    assert_eq!(ran.stdout, "new\n");
    assert!(ran.stderr.contains("the code before this did not end when it was interrupted"), "{}", ran.stderr);
}

/// A close frame holds 123 bytes of reason.
#[test]
fn a_named_context_and_what_became_of_it_fit_into_a_close_frame() {
    let agent = Agent::start();
    let created = agent.post("/process/interpreter/context", &json!({})).json();
    let context = created["id"].as_str().unwrap();
    for (code, after) in [("import time; time.sleep(1000)", "is kept"), ("import os; os._exit(3)", "is lost")] {
        let ran = run_with(&agent, &json!({"code": code, "timeout": 1, "contextId": context}));
        assert!(ran.reason.ends_with(&format!("the state of context {context} {after}")), "{}", ran.reason);
    }
    // What C code does holds interrupts up.
    let busy = "import itertools\nsum(itertools.repeat(1, 10**15))";
    let ran = run_with(&agent, &json!({"code": busy, "timeout": 1, "contextId": context}));
    assert!(ran.reason.ends_with(&format!("killed; the state of context {context} is lost")), "{}", ran.reason);
    let longest =
        format!("the code did not end at its 999999 s and was killed; the state of context {context} is lost");
    assert!(longest.len() <= 123, "{}", longest.len());
}

#[test]
fn much_output_flows_at_the_clients_pace() {
    let agent = Agent::start();
    let code = "import sys\nline = 'x' * 99 + '\\n'\nfor i in range(500_000):\n    sys.stdout.write(line)\nopen('done', 'w').close()";
    let mut socket = start(&agent, &json!({ "code": code }));
    await_text(&mut socket, "x");
    // Longer than it takes to write all of it.
    assert!(agent.exec(&json!({"command": "sleep 1; ls"})).1.is_empty(), "it waits for its reader");
    drop(socket);
    let mut socket = start(&agent, &json!({ "code": code }));
    let mut length = 0;
    loop {
        match socket.next() {
            Received::Text(message) if message["type"] == "stdout" => length += message["text"].as_str().unwrap().len(),
            Received::Text(message) => assert_eq!(message["text"], "completed"),
            other => {
                assert_eq!(other, Received::Closed(1000, String::new()));
                break;
            }
        }
    }
    assert_eq!(length, 50_000_000);
}

#[test]
fn results_are_sent_where_asked_for() {
    let agent = Agent::start();
    let results = |code: &str| run_with(&agent, &json!({"code": code, "results": true}));
    let ran = results("x = 20\nx + 2");
    assert_eq!(
        ran.results,
        [json!({"type": "result", "isMain": true, "data": {"text/plain": "22", "application/json": null}})].map(
            |mut r| {
                r["data"].as_object_mut().unwrap().remove("application/json");
                r
            }
        )
    );
    assert_eq!(ran.stdout, "");
    assert_eq!(
        results("{'a': [1, None]}").results[0]["data"],
        json!({"text/plain": "{'a': [1, None]}", "application/json": {"a": [1, null]}})
    );
    assert_eq!(results("[float('nan')]").results[0]["data"], json!({"text/plain": "[nan]"}));
    let code = "class H:\n    def __repr__(self): return 'h'\n    def _repr_html_(self): return '<b>h</b>'\n    def _repr_png_(self): return b'png'\n    def _repr_svg_(self): 1 / 0\n    def _repr_json_(self): return {'n': 1}\nH()";
    assert_eq!(
        results(code).results[0]["data"],
        json!({"text/plain": "h", "text/html": "<b>h</b>", "image/png": "cG5n", "application/json": {"n": 1}})
    );
    for nothing in ["None", "x = 1", "", "print(1)", "import os"] {
        let code = format!("{nothing}\n#");
        assert!(results(&code).results.is_empty(), "{nothing}");
    }
    let ran = results(
        "print('a'); display(1, 'two')\nprint('b')\ndisplay(3); print('c')\nawait __import__('asyncio').sleep(0, 'end')",
    );
    let shown: Vec<_> = ran
        .results
        .iter()
        .map(|r| (r["data"]["text/plain"].as_str().unwrap(), r["isMain"].as_bool().unwrap()))
        .collect();
    assert_eq!(shown, [("1", false), ("'two'", false), ("3", false), ("'end'", true)]);
    assert_eq!(ran.order, ["stdout", "result", "stdout", "result", "stdout", "result", "control"]);
    let ran = results("class B:\n    def __repr__(self): raise KeyError('r')\nB()");
    assert_eq!(ran.error["name"], "KeyError");
    assert!(!ran.error["traceback"].as_str().unwrap().contains("<interpreter>"), "{}", ran.error);
    assert_eq!(run(&agent, "display({'n': 1})\n5").stdout, "{'n': 1}\n", "shown as text to who does not ask");
}

#[test]
fn output_between_two_runs_is_kept_for_the_next() {
    let agent = Agent::start();
    output(
        &agent,
        "import subprocess\np = subprocess.Popen('until [ -e go ]; do sleep 0.01; done; echo late; head -c 300000 /dev/zero | tr \"\\\\0\" y; touch gone', shell=True)",
    );
    agent.put("go", "");
    eventually("nothing holds it up", || agent.work().join("gone").exists());
    let kept = output(&agent, "p.wait(); print('now')");
    assert!(kept.ends_with("ynow\n") && kept.len() < 200_000, "{}", kept.len());
}

#[test]
fn a_worker_that_dies_unseen_is_told_of() {
    let agent = Agent::start();
    let pid = output(&agent, "import os; print(os.getpid())");
    rustix::process::kill_process(
        rustix::process::Pid::from_raw(pid.trim().parse().unwrap()).unwrap(),
        rustix::process::Signal::KILL,
    )
    .unwrap();
    eventually("it is gone", || !alive(pid.trim()));
    let ran = run(&agent, "print('os' in globals())");
    assert_eq!(ran.stdout, "False\n");
    assert!(ran.stderr.contains("signal 9") && ran.stderr.contains("lost"), "{}", ran.stderr);
}

#[test]
fn what_cannot_run_is_refused_with_the_reason() {
    let agent = Agent::start();
    for (message, code, reason) in [
        ("{", 1002, "not JSON"),
        ("", 1002, "not JSON"),
        ("5", 1008, "not what this takes"),
        ("{\"code\": 5}", 1008, "not what this takes"),
        ("{\"code\": \"1\", \"timeout\": -1}", 1008, "not what this takes"),
        ("{}", 1008, "no code"),
        ("{\"code\": \" \\n\"}", 1008, "no code"),
        ("{\"code\": \"1\", \"contextId\": \"nowhere\"}", 1008, "no context nowhere"),
        ("{\"code\": \"1\", \"envs\": {\"A-B\": \"1\"}}", 1008, "A-B"),
    ] {
        let mut socket = agent.socket(EXECUTE);
        socket.send_bytes(message);
        let Received::Closed(closed, why) = socket.next() else { panic!("{message}") };
        assert_eq!(closed, code, "{message}");
        assert!(why.contains(reason), "{message}: {why}");
    }
    agent.get(EXECUTE).error(426, "UPGRADE_REQUIRED");
    let bare = Agent::with(|config| {
        config.env.insert("PATH".into(), "/nowhere".into());
    });
    for answer in [bare.refused_socket(EXECUTE), bare.post("/process/interpreter/context", &json!({}))] {
        let message = answer.error(503, "PYTHON_NOT_INSTALLED");
        assert!(message.contains("apt-get install python3"), "{message}");
    }
}
