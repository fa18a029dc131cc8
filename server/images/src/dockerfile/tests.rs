use super::words::{WordError, expand, split};
use super::*;

fn parse(text: &str) -> Plan {
    Plan::parse(text).unwrap()
}

fn steps(text: &str) -> Vec<Instruction> {
    parse(&format!("FROM x\n{text}")).stages.remove(0).steps.into_iter().map(|step| step.instruction).collect()
}

#[test]
fn refuses_by_name_and_line_before_anything_runs() {
    for (text, line, word) in [
        ("ONBUILD RUN x", 2, "ONBUILD"),
        ("ENV a=b\nRUN --mount=type=secret,id=x y", 3, "type=secret"),
        ("RUN --mount=type=ssh y", 2, "type=ssh"),
        ("RUN --network=host y", 2, "--network=host"),
        ("RUN --security=insecure y", 2, "--security=insecure"),
        ("ADD https://github.com/a/b.git /x", 2, "git"),
        ("ADD git@github.com:a/b /x", 2, "git"),
        ("ADD --keep-git-dir=true a /x", 2, "--keep-git-dir"),
        ("COPY --parents a /x", 2, "--parents"),
        ("COPY --chmod=u+x a /x", 2, "--chmod=u+x"),
        ("ENV a=${b#c}", 2, "${b#"),
        ("RUN --mount=type=cache,target=/x,from=y z", 2, "from"),
    ] {
        let error = Plan::parse(&format!("FROM x\n{text}\n")).unwrap_err();
        match &error {
            Error::Unsupported { what, line: at } => {
                assert_eq!(*at, Some(line), "{text}: {error}");
                assert!(what.contains(word), "{text}: {error}");
            }
            other => panic!("{text}: {other}"),
        }
    }
}

#[test]
fn says_what_is_wrong_and_where() {
    for (text, line, word) in [
        ("", 1, "no FROM"),
        ("# only\n", 1, "no FROM"),
        ("RUN x\n", 1, "before FROM"),
        ("FROM x\n\nRUNN y\n", 3, "RUNN"),
        ("FROM x\nCOPY a\n", 2, "source and a target"),
        ("FROM x\nCOPY a b c\n", 2, "folder"),
        ("FROM x\nRUN <<EOF\nx\n", 2, "EOF"),
        ("FROM x AS\n", 1, "AS"),
        ("FROM x AS 1a\n", 1, "name of a stage"),
        ("FROM x AS a\nFROM y AS A\n", 2, "two stages"),
        ("FROM x\nSHELL bash\n", 2, "JSON"),
        ("FROM x\nENV a\n", 2, "no value"),
        ("FROM x\nENV a=b c\n", 2, "name=value"),
        ("FROM x\nENV a=${b\n", 2, "}"),
        ("FROM x\nRUN --frob y\n", 2, "--frob"),
        ("FROM x\nRUN\n", 2, "argument"),
        ("FROM x\nRUN --mount=type=tmpfs y\n", 2, "target"),
        ("# escape=x\nFROM x\n", 1, "escape"),
    ] {
        match Plan::parse(text).unwrap_err() {
            Error::Dockerfile { line: at, why } => assert!(at == line && why.contains(word), "{text:?}: {at}: {why}"),
            other => panic!("{text:?}: {other}"),
        }
    }
}

#[test]
fn joins_lines_as_docker_does() {
    let run = |text: &str| match steps(text).remove(0) {
        Instruction::Run(Run { command: Command::Shell(text), .. }) => text,
        other => panic!("{other:?}"),
    };
    assert_eq!(run("RUN a && \\\n    b"), "a &&     b");
    assert_eq!(run("RUN a \\ \n# c\n\n  # d\nb"), "a b");
    assert_eq!(run("run echo \\\\"), "echo \\\\");
    assert_eq!(run("RUN [ -e x ] && y"), "[ -e x ] && y");
    assert_eq!(run("RUN echo '# no comment' # one of the shell"), "echo '# no comment' # one of the shell");
    assert_eq!(parse("# escape=`\r\nFROM x\r\nRUN a `\r\n b\r\n").stages[0].steps[0].text, "RUN a  b");
    assert_eq!(parse("\u{feff}# syntax=docker/dockerfile:1\nFROM x").stages[0].base, "x");
}

#[test]
fn reads_forms_and_options() {
    assert_eq!(steps("CMD [\"a\", \"b c\"]"), [Instruction::Cmd(Command::Exec(vec!["a".into(), "b c".into()]))]);
    assert_eq!(steps("CMD ['a']"), [Instruction::Cmd(Command::Shell("['a']".into()))]);
    let env = |pairs: &[(&str, &str)]| {
        Instruction::Env(pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect())
    };
    assert_eq!(steps("ENV a=1 b='x y' c=\"$d\""), [env(&[("a", "1"), ("b", "'x y'"), ("c", "\"$d\"")])]);
    assert_eq!(steps("ENV a  b c=d"), [env(&[("a", "b c=d")])]);
    let Instruction::Copy(copy) = steps("COPY --from=b --chown=u:g --link [\"a b\", \"/c/\"]").remove(0) else {
        panic!()
    };
    assert_eq!((copy.from.as_deref(), copy.chown.as_deref(), copy.target.as_str()), (Some("b"), Some("u:g"), "/c/"));
    assert_eq!(copy.sources, [Source::Path("a b".into())]);
    let Instruction::Run(run) = steps("RUN --network=none cat <<A <<-B\na\nA\n\tb\n\tB\nCMD x").remove(0) else {
        panic!()
    };
    assert!(run.no_network);
    let bodies: Vec<_> =
        run.documents.iter().map(|document| (document.name.as_str(), document.body.as_str())).collect();
    assert_eq!(bodies, [("A", "a\n"), ("B", "b\n")]);
}

#[test]
fn finds_stages_and_images() {
    let text = "ARG V=12\nFROM --platform=$BUILDPLATFORM debian:${V} AS a\nFROM a\nCOPY --from=alpine /x /\n\
                COPY --from=a y /\nFROM scratch\n";
    let plan = parse(text);
    assert_eq!(plan.images(), ["debian:12", "alpine"]);
    let stages = (plan.stage("A", 1), plan.stage("1", 1), plan.stage("1", 2));
    assert_eq!((plan.steps(), stages), (6, (Some(0), None, Some(1))));
}

#[test]
fn replaces_variables() {
    let value = |name: &str| match name {
        "a" => Some("A".to_owned()),
        "empty" => Some(String::new()),
        _ => None,
    };
    for (text, expected) in [
        ("$a ${a} $b-", "A A -"),
        ("\\$a '$a' \"$a\"", "$a $a A"),
        ("${b:-x${a}y} ${empty:-d} ${empty-d}", "xAy d "),
        ("${a:+yes} ${b:+yes} ${empty+set}", "yes  set"),
        ("\"a\\\"b\\c\" a\\ b", "a\"b\\c a b"),
        ("$ $$a 5$", "$ $A 5$"),
        ("${a}_${b:-\"q r\"}", "A_q r"),
    ] {
        assert_eq!(expand(text, '\\', &value).unwrap(), expected, "{text}");
    }
    assert!(matches!(expand("${b:?gone}", '\\', &value), Err(WordError::Bad(why)) if why.contains("gone")));
    assert!(matches!(expand("${a%%x}", '\\', &value), Err(WordError::Unsupported(_))));
    assert!(matches!(expand("'open", '\\', &value), Err(WordError::Bad(_))));
    assert_eq!(split("a 'b c' \"d \\\" e\" f\\ g", '\\'), ["a", "'b c'", "\"d \\\" e\"", "f\\ g"]);
}

#[test]
fn no_text_makes_it_panic() {
    let pieces = [
        "FROM x",
        "FROM",
        "ARG",
        "ENV ",
        "RUN ",
        "COPY ",
        "<<E",
        "\nE\n",
        "\\\n",
        "\n",
        "${",
        "}",
        ":-",
        "\"",
        "'",
        "[",
        "]",
        "--mount=",
        "type=cache,",
        "target=",
        "--",
        "=",
        " ",
        "#",
        "é",
        "\t",
        "ADD ",
        "# escape=`\n",
        "`",
        "$",
        "a",
    ];
    let mut state = 1_u64;
    for _ in 0..20_000 {
        let mut text = "FROM x\n".to_owned();
        for _ in 0..12 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            text.push_str(pieces[usize::try_from(state >> 33).unwrap() % pieces.len()]);
        }
        let _ = Plan::parse(&text).map(|plan| plan.images());
    }
}
