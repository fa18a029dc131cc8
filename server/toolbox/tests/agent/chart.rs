//! Charts of Python programs. Installs matplotlib from the package registry, once.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use crate::common::Agent;
use serde_json::{Value, json};

/// A folder with matplotlib for the Python that the agent finds too.
fn packages() -> &'static Path {
    static PACKAGES: OnceLock<PathBuf> = OnceLock::new();
    PACKAGES.get_or_init(|| {
        let python = |args: &[&str]| {
            let output = Command::new("python3").args(args).output().expect("python3 is needed");
            assert!(output.status.success(), "python3 {args:?}: {}", String::from_utf8_lossy(&output.stderr));
            String::from_utf8(output.stdout).unwrap().trim().to_owned()
        };
        let version = python(&["-c", "import sys; print('%d.%d' % sys.version_info[:2])"]);
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("matplotlib-{version}"));
        if !folder.is_dir() {
            // Whole or not at all, also with two test runs at once.
            let fresh = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
            let path = fresh.path().join("packages");
            python(&[
                "-m",
                "pip",
                "install",
                "--quiet",
                "--disable-pip-version-check",
                "--target",
                path.to_str().unwrap(),
                "matplotlib",
            ]);
            let moved = std::fs::rename(&path, &folder);
            assert!(moved.is_ok() || folder.is_dir(), "{moved:?}");
        }
        folder
    })
}

fn agent() -> Agent {
    let packages = packages();
    Agent::with(|config| {
        config.env.insert("PYTHONPATH".into(), packages.to_str().unwrap().into());
        config.env.insert("MPLCONFIGDIR".into(), packages.join(".config").to_str().unwrap().into());
    })
}

fn run(agent: &Agent, code: &str) -> Value {
    agent.post("/process/code-run", &json!({"language": "python", "code": code, "timeout": 120})).json()
}

/// The charts of a program that prints nothing.
#[track_caller]
fn charts(agent: &Agent, code: &str) -> Vec<Value> {
    let ran = run(agent, &format!("import matplotlib.pyplot as plt\n{code}"));
    assert_eq!((ran["exitCode"].as_i64(), ran["result"].as_str()), (Some(0), Some("")), "{ran}");
    let charts = ran["artifacts"]["charts"].as_array().cloned().unwrap_or_default();
    for chart in &charts {
        assert!(chart["png"].as_str().unwrap().starts_with("iVBORw0KGgo"));
    }
    charts
}

/// The one chart of a program.
#[track_caller]
fn chart(agent: &Agent, code: &str) -> Value {
    let charts = charts(agent, &format!("{code}\nplt.show()"));
    assert_eq!(charts.len(), 1);
    charts.into_iter().next().unwrap()
}

/// One field of each element; `null` where it is not there.
fn all(chart: &Value, field: &str) -> Value {
    chart["elements"].as_array().unwrap().iter().map(|element| element[field].clone()).collect()
}

#[test]
fn lines() {
    let agent = agent();
    let drawn = chart(
        &agent,
        "plt.plot([0, 1, 2], [3, float('nan'), 4], label='a'); plt.plot([0, 1], [1, 10]); plt.axhline(5)\n\
         plt.title('T'); plt.xlabel('X'); plt.ylabel('Y'); plt.yscale('log'); plt.xticks([0, 1, 2], ['p', 'q', 'r'])",
    );
    for (field, value) in [
        ("type", "line"),
        ("title", "T"),
        ("x_label", "X"),
        ("y_label", "Y"),
        ("x_scale", "linear"),
        ("y_scale", "log"),
    ] {
        assert_eq!(drawn[field], value, "{field}");
    }
    assert_eq!((&drawn["x_ticks"], &drawn["x_tick_labels"]), (&json!([0.0, 1.0, 2.0]), &json!(["p", "q", "r"])));
    assert_eq!(drawn["y_tick_labels"], json!(["10^0", "10^1"]));
    assert_eq!(all(&drawn, "label"), json!(["a", null]));
    assert_eq!(all(&drawn, "points"), json!([[[0.0, 3.0], [2.0, 4.0]], [[0.0, 1.0], [1.0, 10.0]]]));
}

#[test]
fn dates_and_categories() {
    let agent = agent();
    let drawn = chart(
        &agent,
        "import datetime\ndays = [datetime.date(2024, 1, d) for d in (1, 2, 3)]\nplt.plot(days, [1, 2, 3]); plt.xticks(days)",
    );
    assert_eq!(drawn["elements"][0]["points"][1], json!([19_724.0, 2.0]));
    let labels: Vec<_> =
        drawn["x_tick_labels"].as_array().unwrap().iter().map(|label| label.as_str().unwrap()).collect();
    assert_eq!(labels.len(), 3);
    assert!(labels[1].contains("02"), "{labels:?}");
    let drawn = chart(&agent, "plt.plot(['x', 'y'], [1, 2])");
    assert_eq!(
        (&drawn["elements"][0]["points"], &drawn["x_tick_labels"]),
        (&json!([[0.0, 1.0], [1.0, 2.0]]), &json!(["x", "y"]))
    );
}

#[test]
fn points() {
    let agent = agent();
    let drawn = chart(&agent, "plt.scatter([1, 2], [3, 4], label='s'); plt.scatter([5], [float('inf')])");
    assert_eq!((&drawn["type"], all(&drawn, "points")), (&json!("scatter"), json!([[[1.0, 3.0], [2.0, 4.0]], []])));
    assert_eq!(chart(&agent, "plt.plot([1], [2], 'o')")["type"], "scatter");
    assert_eq!(
        chart(&agent, "plt.errorbar([1, 2], [3, 4], yerr=1, capsize=3)")["elements"].as_array().unwrap().len(),
        1
    );
}

#[test]
fn bars() {
    let agent = agent();
    let drawn = chart(&agent, "plt.bar(['a', 'b'], [3, 4.5], label='n')");
    assert_eq!(drawn["type"], "bar");
    assert_eq!(
        (all(&drawn, "label"), all(&drawn, "value"), all(&drawn, "group")),
        (json!(["a", "b"]), json!(["3", "4.5"]), json!(["n", "n"]))
    );
    let drawn = chart(&agent, "plt.barh(['a', 'b'], [3, -1])");
    assert_eq!(
        (all(&drawn, "label"), all(&drawn, "value"), all(&drawn, "group")),
        (json!(["a", "b"]), json!(["3", "-1"]), json!([null, null]))
    );
    let drawn = chart(
        &agent,
        "plt.bar([-0.2, 0.8], [1, 2], 0.4, label='x'); plt.bar([0.2, 1.2], [3, 4], 0.4, label='y'); plt.xticks([0, 1], ['p', 'q'])",
    );
    assert_eq!(
        (all(&drawn, "label"), all(&drawn, "group")),
        (json!(["p", "q", "p", "q"]), json!(["x", "x", "y", "y"]))
    );
    let drawn = chart(&agent, "plt.hist([1, 1, 2], bins=[0.5, 1.5, 2.5])");
    assert_eq!((all(&drawn, "label"), all(&drawn, "value")), (json!(["1", "2"]), json!(["2", "1"])));
}

#[test]
fn pies_and_boxes() {
    let agent = agent();
    let drawn = chart(&agent, "plt.pie([1, 3], labels=['q', 'r'], radius=2)");
    assert_eq!(
        (&drawn["type"], all(&drawn, "label"), all(&drawn, "radius")),
        (&json!("pie"), json!(["q", "r"]), json!([2.0, 2.0]))
    );
    let angles: Vec<_> =
        drawn["elements"].as_array().unwrap().iter().map(|part| part["angle"].as_f64().unwrap().round()).collect();
    assert_eq!(angles, [90.0, 270.0]);
    let drawn = chart(&agent, "plt.boxplot([[1, 2, 3, 4, 5, 20], [float('nan')]])\nplt.xticks([1, 2], ['one', 'two'])");
    assert_eq!(drawn["type"], "box_and_whisker");
    assert_eq!(
        drawn["elements"][0],
        json!({"label": "one", "min": 1.0, "first_quartile": 2.25, "median": 3.5, "third_quartile": 4.75, "max": 5.0, "outliers": [20.0]})
    );
    assert_eq!(drawn["elements"][1], json!({"label": "two", "outliers": []}));
}

#[test]
fn several_axes_and_several_figures() {
    let agent = agent();
    let drawn = chart(
        &agent,
        "fig, (a, b) = plt.subplots(1, 2)\na.plot([1, 2], [1, 2]); a.set_title('A'); b.bar(['x'], [1]); fig.suptitle('both')",
    );
    assert_eq!((&drawn["type"], &drawn["title"]), (&json!("composite_chart"), &json!("both")));
    assert_eq!((all(&drawn, "type"), all(&drawn, "title")), (json!(["line", "bar"]), json!(["A", ""])));
    assert!(drawn["elements"][1]["png"].as_str().unwrap().starts_with("iVBORw0KGgo"));
    let code = "plt.plot([1, 2], [1, 2]); plt.figure(); plt.scatter([1], [1]); plt.show()\nplt.pie([1]); plt.show()\nplt.show()\nplt.plot([1], [1])";
    let kinds: Vec<_> = charts(&agent, code).iter().map(|chart| chart["type"].as_str().unwrap().to_owned()).collect();
    assert_eq!(kinds, ["line", "scatter", "pie"], "what is never shown is none");
    assert_eq!(charts(&agent, "f, a = plt.subplots()\na.plot([1, 2]); f.show()").len(), 1);
    for odd in [
        "plt.imshow([[1, 2], [3, 4]]); plt.colorbar()",
        "plt.figure()",
        "plt.figure().add_subplot(projection='3d').plot([1], [2], [3])",
    ] {
        assert_eq!(chart(&agent, odd)["type"], "unknown", "{odd}");
    }
}

#[test]
fn the_program_notices_nothing() {
    let agent = agent();
    let ran = run(
        &agent,
        "import matplotlib.pyplot as plt\nprint('before'); plt.plot([1, 2]); plt.show()\nprint('after')\nraise KeyError('k')",
    );
    assert_eq!(ran["exitCode"], 1);
    assert_eq!(ran["artifacts"]["charts"].as_array().unwrap().len(), 1);
    assert_eq!(
        ran["result"],
        "before\nafter\nTraceback (most recent call last):\n  File \"<string>\", line 4, in <module>\nKeyError: 'k'\n"
    );
    let code = "import matplotlib.pyplot as plt, os, subprocess, sys\nplt.plot([1]); plt.show()\n\
                print(os.environ['PYTHONPATH'], [p for p in sys.path if 'charts' in p])\n\
                child = 'import matplotlib.pyplot as p, sys; p.plot([1]); print(p.show.__module__)'\n\
                print(subprocess.check_output([sys.executable, '-c', child], text=True), sys.argv)\nsys.exit(4)";
    let ran = agent.post("/process/code-run", &json!({"language": "python", "code": code, "argv": ["a"]})).json();
    assert_eq!(ran["exitCode"], 4);
    assert_eq!(ran["result"], format!("{} []\nmatplotlib.pyplot\n ['-c', 'a']\n", packages().display()));
    assert_eq!(ran["artifacts"]["charts"].as_array().unwrap().len(), 1);
    agent.put("site/sitecustomize.py", "import builtins\nbuiltins.own = 'own'");
    let path = format!("{}:{}", agent.work().join("site").display(), packages().display());
    let ran = agent
        .post(
            "/process/code-run",
            &json!({"language": "python", "code": "import matplotlib\nprint(own)", "envs": {"PYTHONPATH": path}}),
        )
        .json();
    assert_eq!((&ran["exitCode"], &ran["result"]), (&json!(0), &json!("own\n")));
    assert!(ran.get("artifacts").is_none(), "{ran}");
}

#[test]
fn without_matplotlib_the_program_says_so() {
    let ran = run(&Agent::start(), "import matplotlib_that_is_nowhere");
    assert_eq!(ran["exitCode"], 1);
    assert_eq!(
        ran["result"],
        "Traceback (most recent call last):\n  File \"<string>\", line 1, in <module>\nModuleNotFoundError: No module named 'matplotlib_that_is_nowhere'\n"
    );
    assert!(ran.get("artifacts").is_none(), "{ran}");
}

#[test]
fn the_interpreter_shows_figures_too() {
    use crate::common::websocket::Received;
    let agent = agent();
    let mut socket = agent.socket("/process/interpreter/execute");
    let code = "import matplotlib.pyplot as plt\nplt.plot([1, 2]); plt.show()\nprint('between')\nfigure, axes = plt.subplots()\nplt.figure()\nfigure";
    socket.send(&json!({"code": code, "results": true}));
    let mut seen = Vec::new();
    loop {
        match socket.next() {
            Received::Text(message) if message["type"] == "result" => {
                assert!(message["data"]["image/png"].as_str().unwrap().starts_with("iVBORw0KGgo"));
                seen.push(message["isMain"].to_string());
            }
            Received::Text(message) => seen.push(message["text"].as_str().unwrap().to_owned()),
            other => {
                assert_eq!(other, Received::Closed(1000, String::new()));
                break;
            }
        }
    }
    assert_eq!(seen, ["false", "between\n", "true", "false", "completed"]);
}
