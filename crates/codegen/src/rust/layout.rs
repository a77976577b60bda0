//! Lines as rustfmt breaks them, so that generated files pass `cargo fmt --check` without rustfmt
//! being needed to generate them.
//!
//! The widths are those of rustfmt.toml and of rustfmt's defaults.

/// The widest line.
const MAX_WIDTH: usize = 100;
/// The widest list of arguments that stays on its line.
const CALL_WIDTH: usize = 60;
/// The widest `if` with its `else` that stays on its line.
const IF_ELSE_WIDTH: usize = 50;

/// Spaces before a line.
pub(super) fn indent(level: usize) -> String {
    " ".repeat(4 * level)
}

/// Documentation, broken at words: `/// …` or `//! …`.
pub(super) fn doc(level: usize, marker: &str, text: &str) -> String {
    let start = format!("{}{marker}", indent(level));
    let mut lines = String::new();
    for paragraph in text.lines() {
        let mut line = start.clone();
        for word in paragraph.split(' ').filter(|word| !word.is_empty()) {
            if line.len() + 1 + word.len() > MAX_WIDTH && line != start {
                lines.push_str(&line);
                lines.push('\n');
                line.clone_from(&start);
            }
            line.push(' ');
            line.push_str(word);
        }
        lines.push_str(&line);
        lines.push('\n');
    }
    lines
}

/// A call as a statement: `head(args)tail`, with each argument on a line of its own where they are
/// too long for one.
pub(super) fn call(level: usize, head: &str, args: &[&str], tail: &str) -> String {
    let start = indent(level);
    let flat = args.join(", ");
    let line = format!("{start}{head}({flat}){tail}\n");
    if flat.len() <= CALL_WIDTH && line.len() <= MAX_WIDTH + 1 {
        return line;
    }
    broken(level, head, args, tail)
}

/// The head of a function: `head(params)tail`.
pub(super) fn signature(level: usize, head: &str, params: &[&str], tail: &str) -> String {
    let line = format!("{}{head}({}){tail}\n", indent(level), params.join(", "));
    if line.len() <= MAX_WIDTH + 1 {
        line
    } else {
        broken(level, head, params, tail)
    }
}

fn broken(level: usize, head: &str, items: &[&str], tail: &str) -> String {
    let (outer, inner) = (indent(level), indent(level + 1));
    let items: String = items
        .iter()
        .map(|item| format!("{inner}{item},\n"))
        .collect();
    format!("{outer}{head}(\n{items}{outer}){tail}\n")
}

/// `left = right;`, with the right side on a line of its own where both are too long for one.
pub(super) fn assign(level: usize, left: &str, right: &str) -> String {
    let line = format!("{}{left} = {right};\n", indent(level));
    if line.len() <= MAX_WIDTH + 1 {
        return line;
    }
    format!("{}{left} =\n{}{right};\n", indent(level), indent(level + 1))
}

/// `let left = if condition { yes } else { no };`
pub(super) fn if_else(level: usize, left: &str, condition: &str, yes: &str, no: &str) -> String {
    let (outer, inner) = (indent(level), indent(level + 1));
    let flat = format!("if {condition} {{ {yes} }} else {{ {no} }}");
    if flat.len() <= IF_ELSE_WIDTH {
        return format!("{outer}let {left} = {flat};\n");
    }
    format!(
        "{outer}let {left} = if {condition} {{\n{inner}{yes}\n{outer}}} else {{\n{inner}{no}\n\
         {outer}}};\n"
    )
}

/// `use path::{names};`
pub(super) fn import(path: &str, names: &[&str]) -> String {
    match names {
        [] => format!("use {path};\n"),
        [name] => format!("use {path}::{name};\n"),
        names => {
            let line = format!("use {path}::{{{}}};\n", names.join(", "));
            if line.len() <= MAX_WIDTH + 1 {
                return line;
            }
            let mut lines = format!("use {path}::{{");
            let mut line = String::new();
            for name in names {
                if line.is_empty() || line.len() + name.len() + 2 > MAX_WIDTH {
                    lines.push_str(&line);
                    line = format!("\n    {name},");
                } else {
                    line.push_str(&format!(" {name},"));
                }
            }
            format!("{lines}{line}\n}};\n")
        }
    }
}
