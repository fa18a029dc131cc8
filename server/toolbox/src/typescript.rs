//! TypeScript to JavaScript: types are erased, nothing is checked.

use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;

use oxc_allocator::Allocator;
use oxc_codegen::{Codegen, CodegenOptions};
use oxc_diagnostics::{NamedSource, OxcDiagnostic};
use oxc_parser::Parser;
use oxc_semantic::SemanticBuilder;
use oxc_span::SourceType;
use oxc_transformer::{TransformOptions, Transformer};

/// The longest program taken.
const LIMIT: usize = 1 << 20;

/// Stack for each byte of a program that does nothing but nest: over twice what was measured.
const STACK_PER_BYTE: usize = 2 << 10;

/// What a module lacks that a `CommonJS` file has, on the line of its first statement.
const COMMON_JS: [(&str, &str); 4] = [
    (
        "require",
        r#"import{createRequire as _daytonaRequire}from"node:module";const require=_daytonaRequire(process.cwd()+"/[eval]");"#,
    ),
    ("module", "const module={exports:{}};"),
    ("__dirname", "const __dirname=process.cwd();"),
    ("__filename", r#"const __filename=process.cwd()+"/[eval]";"#),
];

/// An ES module for Node.js that does what `code` says, or why there is none.
///
/// `require` and its kin work in it, and with Node's `--enable-source-maps` errors name the lines
/// of `code`.
pub(crate) fn erase(code: String) -> Result<String, String> {
    if code.len() > LIMIT {
        return Err(format!("the program is over {} KiB; upload it and run it with a command", LIMIT >> 10));
    }
    // The compiler recurses as deep as the program nests. Stack that is not used costs nothing.
    std::thread::Builder::new()
        .stack_size((1 << 20) + code.len() * STACK_PER_BYTE)
        .spawn(move || convert(&code))
        .map_err(|error| format!("cannot start the TypeScript compiler: {error}"))?
        .join()
        .unwrap_or_else(|_| Err("the TypeScript compiler failed; use javascript".into()))
}

fn convert(code: &str) -> Result<String, String> {
    let memory = Allocator::default();
    let parsed = Parser::new(&memory, code, SourceType::ts()).parse();
    if !parsed.errors.is_empty() {
        return Err(report(parsed.errors, code));
    }
    let mut program = parsed.program;
    let analysed = SemanticBuilder::new().with_check_syntax_error(true).build(&program);
    if !analysed.errors.is_empty() {
        return Err(report(analysed.errors, code));
    }
    let path = Path::new("program.ts");
    let options = TransformOptions::default();
    let transformed =
        Transformer::new(&memory, path, &options).build_with_scoping(analysed.semantic.into_scoping(), &mut program);
    if !transformed.errors.is_empty() {
        return Err(report(transformed.errors, code));
    }
    let generated = Codegen::new()
        .with_options(CodegenOptions {
            // Indentation of what is deeply nested would be far longer than the program.
            indent_width: 0,
            source_map_path: Some(path.to_owned()),
            ..CodegenOptions::default()
        })
        .build(&program);
    let mut module = String::new();
    for (name, definition) in COMMON_JS {
        let used = generated.code.contains(name) || name == "module" && generated.code.contains("exports");
        if used && transformed.scoping.get_root_binding(name).is_none() {
            module.push_str(definition);
            if name == "module" && transformed.scoping.get_root_binding("exports").is_none() {
                module.push_str("const exports=module.exports;");
            }
        }
    }
    if module.contains("const require=") && module.contains("const module=") {
        module.push_str("require.main=module;");
    }
    module.push_str(&generated.code);
    if let Some(map) = generated.map {
        let _ = write!(module, "\n//# sourceMappingURL={}", map.to_data_url());
    }
    Ok(module)
}

fn report(errors: Vec<OxcDiagnostic>, code: &str) -> String {
    let code = Arc::new(NamedSource::new("program.ts", code.to_owned()));
    let mut text = String::new();
    for error in errors {
        let _ = writeln!(text, "{:?}", error.with_source_code(Arc::clone(&code)));
    }
    text
}
