//! Rules on the text of source files.

use super::{Finding, lexer, tree::File, tree::Tree};

/// Written in two parts, so that this file does not breach its own rule.
const LEFTOVERS: [&str; 3] = [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X")];
const HOMES: [&str; 3] = [concat!("/ro", "ot/"), concat!("/ho", "me/"), concat!("/Us", "ers/")];
const IGNORED_TEST: &str = concat!("#[ign", "ore");

const PRINTS: [&str; 4] = ["println!", "print!", "eprintln!", "eprint!"];

pub(crate) fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in &tree.files {
        let Some(text) = &file.text else { continue };
        check_words(file, text, &mut findings);
        if file.is_rust() {
            check_rust(file, text, &mut findings);
        }
    }
    findings
}

fn check_words(file: &File, text: &str, findings: &mut Vec<Finding>) {
    for (line, content) in (1..).zip(text.lines()) {
        let mut find = |message| findings.push(Finding::new(at(file, line), message));
        for word in LEFTOVERS {
            if content.split(|c: char| !c.is_alphanumeric()).any(|w| w == word) {
                find(format!("`{word}`: do it, or open an issue; the tree holds no promises"));
            }
        }
        for home in HOMES {
            if content.contains(home) {
                find(format!("`{home}`: a path of one machine; use a variable or a relative path"));
            }
        }
    }
}

fn check_rust(file: &File, text: &str, findings: &mut Vec<Finding>) {
    if !text.starts_with("//!") {
        let message = "open with `//!`: what this is, who calls it, the one thing to know";
        findings.push(Finding::new(file.path.clone(), message));
    }
    let code = lexer::blank(text);
    let may_print = !file.path.starts_with("crates/")
        || file.path.starts_with("crates/node/")
        || file.path.ends_with("/build.rs")
        || file.is_test();
    let tests = lexer::test_lines(&code);
    for (line, content) in (1..).zip(code.lines()) {
        let mut find = |message: String| findings.push(Finding::new(at(file, line), message));
        if content.contains(IGNORED_TEST) {
            find("a test that is ignored proves nothing: assert what happens today".to_owned());
        }
        let prints = PRINTS.iter().find(|print| has_word(content, print));
        if let Some(print) = prints.filter(|_| !may_print && !tests.contains(&line)) {
            find(format!("`{print}` outside node and tools: log through tracing"));
        }
    }
}

fn at(file: &File, line: usize) -> String {
    format!("{}:{line}", file.path)
}

/// `word` in `content`, not as the end of a longer name.
fn has_word(content: &str, word: &str) -> bool {
    content.match_indices(word).any(|(at, _)| {
        let before = content[..at].chars().next_back();
        !before.is_some_and(|c| c.is_alphanumeric() || c == '_')
    })
}
