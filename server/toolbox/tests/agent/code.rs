//! Programs in Python, JavaScript and TypeScript.

use crate::common::Agent;
use serde_json::{Value, json};

fn run(agent: &Agent, body: &Value) -> (i64, String) {
    let answer = agent.post("/process/code-run", body).json();
    (answer["exitCode"].as_i64().unwrap(), answer["result"].as_str().unwrap().to_owned())
}

#[test]
fn python() {
    let agent = Agent::start();
    agent.put("helper.py", "value = 42");
    let code = "import sys, os, helper\nprint(sys.argv[1:], os.environ['A'], helper.value)\nprint('err', file=sys.stderr)\nprint('out')\nsys.exit(3)";
    let (exit, out) = run(
        &agent,
        &json!({
            "language": "python", "code": code, "argv": ["a b", "", "--c", "$HOME"], "envs": {"A": "1"}
        }),
    );
    assert_eq!((exit, out.as_str()), (3, "['a b', '', '--c', '$HOME'] 1 42\nerr\nout\n"));
    let (exit, out) = run(&agent, &json!({"language": "python", "code": "x = 1\nraise ValueError('no')"}));
    assert_eq!(exit, 1);
    assert!(out.contains("File \"<string>\", line 2") && out.ends_with("ValueError: no\n"), "{out}");
}

#[test]
fn javascript() {
    let agent = Agent::start();
    agent.put("helper.js", "module.exports = 42");
    let code = "const os = require('os'); console.log(process.argv.slice(2), require('./helper'), process.env.A); console.error('err'); process.exitCode = 4";
    let (exit, out) = run(
        &agent,
        &json!({
            "language": "javascript", "code": code, "argv": ["a b", "--c", "-e"], "envs": {"A": "1"}
        }),
    );
    assert_eq!((exit, out.as_str()), (4, "[ 'a b', '--c', '-e' ] 42 1\nerr\n"));
}

#[test]
fn javascript_may_be_a_module() {
    let agent = Agent::start();
    agent.put("helper.mjs", "export const value = 42");
    let code = "const { value } = await import('./helper.mjs'); console.log(value)";
    let module = format!("import os from 'node:os'; {code}");
    assert_eq!(run(&agent, &json!({"language": "javascript", "code": module})), (0, "42\n".into()));
    for odd in ["", "-1", "// comment"] {
        assert_eq!(run(&agent, &json!({"language": "javascript", "code": odd})), (0, String::new()));
    }
}

#[test]
fn typescript() {
    let agent = Agent::start();
    agent.put("helper.js", "module.exports = { value: 42 }");
    let code = r"
import fs from 'node:fs'
import type { Nothing } from './nothing'
enum Color { Red = 1, Green }
namespace Space { export const a = 'n' }
interface P { a: number }
class A<T> { constructor(private readonly x: T, public y?: number) {} get v(): T { return this.x! } }
const { value } = require('./helper') as { value: number }
const p = <T,>(x: T) => x as unknown as P satisfies P
console.log(Color[Color.Green], Space.a, new A<number>(5).v, value, fs.existsSync('/'), p({ a: 1 }).a)
console.log(process.argv.slice(2), require.main === module, __dirname === process.cwd())
console.error(await Promise.resolve('err') as string)
process.exit(6)
";
    let (exit, out) = run(
        &agent,
        &json!({
            "language": "typescript", "code": code, "argv": ["a b", "--c"]
        }),
    );
    assert_eq!((exit, out.as_str()), (6, "Green n 5 42 true 1\n[ 'a b', '--c' ] true true\nerr\n"));
    let (exit, out) = run(
        &agent,
        &json!({
            "language": "typescript", "code": "import os = require('os')\nconst n: number = os.cpus().length\nexport = n\nconsole.log(n > 0)"
        }),
    );
    assert_eq!((exit, out.as_str()), (0, "true\n"));
}

#[test]
fn typescript_errors_name_the_lines_of_the_program() {
    let agent = Agent::start();
    let typescript = |code: &str| run(&agent, &json!({"language": "typescript", "code": code}));
    let (exit, out) =
        typescript("interface A {\n  a: 1\n}\n\nfunction f(): never {\n  throw new Error('boom')\n}\nf()");
    assert_eq!(exit, 1);
    assert!(out.contains("Error: boom") && out.contains("program.ts:6:"), "{out}");
    let (exit, out) = typescript("const a: number = 1\nconst b: = 2\n");
    assert_eq!(exit, 1);
    assert!(out.contains("program.ts:2:"), "{out}");
    let (exit, out) = typescript("let a = 1\nlet a = 2\n");
    assert_eq!(exit, 1);
    assert!(out.contains("already been declared"), "{out}");
}

#[test]
fn deep_and_long_typescript_harms_nobody() {
    let agent = Agent::start();
    for (open, middle, close) in [
        ("(", "1", ")"),
        ("[", "", "]"),
        ("{", "", "}"),
        ("!", "1", ""),
        ("`${", "1", "}`"),
        ("1+", "1", ""),
        ("class A{a=", "1", "}"),
        ("if(1)", ";", ""),
        ("namespace A{", "export let a", "}"),
    ] {
        let code = open.repeat(20_000) + middle + &close.repeat(20_000);
        // What node makes of it is its own affair.
        run(&agent, &json!({"language": "typescript", "code": code, "timeout": 60}));
    }
    let (exit, out) = run(&agent, &json!({"language": "typescript", "code": " ".repeat(2 << 20)}));
    assert_eq!(exit, 1);
    assert!(out.contains("upload it"), "{out}");
    let long = format!("const s: string = '{}'\nconsole.log(s.length, process.argv.slice(2))", "x".repeat(300_000));
    let (exit, out) = run(&agent, &json!({"language": "typescript", "code": long, "argv": ["a"]}));
    assert_eq!((exit, out.as_str()), (0, "300000 [ 'a' ]\n"));
}

#[test]
fn long_programs_run_like_short_ones() {
    let agent = Agent::start();
    let filler = "x".repeat(200_000);
    let (exit, out) = run(
        &agent,
        &json!({
            "language": "python", "argv": ["a"],
            "code": format!("s = '{filler}'\nimport sys\nprint(len(s), sys.argv[1:], repr(sys.stdin.read()))")
        }),
    );
    assert_eq!((exit, out.as_str()), (0, "200000 ['a'] ''\n"));
    let (exit, out) = run(
        &agent,
        &json!({
            "language": "javascript", "argv": ["a"],
            "code": format!("const s = '{filler}'; console.log(s.length, process.argv.slice(2))")
        }),
    );
    assert_eq!((exit, out.as_str()), (0, "200000 [ 'a' ]\n"));
}

#[test]
fn limits_and_refusals() {
    let agent = Agent::start();
    let answer = agent.post(
        "/process/code-run",
        &json!({
            "language": "python", "code": "import time; time.sleep(1000)", "timeout": 1
        }),
    );
    assert_eq!(answer.error(408, "PROCESS_EXECUTION_TIMEOUT"), "command execution timeout");
    let message = agent.post("/process/code-run", &json!({"language": "cobol", "code": "x"})).error(400, "BAD_REQUEST");
    assert!(message.contains("python, javascript or typescript"));
    agent.post("/process/code-run", &json!({"language": "python"})).error(400, "INVALID_REQUEST_BODY");
    agent
        .post("/process/code-run", &json!({"language": "python", "code": "x", "argv": ["\0"]}))
        .error(400, "BAD_REQUEST");
}

#[test]
fn a_missing_interpreter_is_named() {
    let agent = Agent::with(|config| {
        config.env.insert("PATH".into(), "/nowhere".into());
    });
    for (language, name) in [("python", "python3"), ("javascript", "node"), ("typescript", "node")] {
        let (exit, out) = run(&agent, &json!({"language": language, "code": "1"}));
        assert_eq!(exit, -1);
        assert!(out.contains(name) && out.contains("install"), "{out}");
    }
}
