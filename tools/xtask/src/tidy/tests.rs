//! Every rule, failing on a made-up tree that breaks this rule and no other.

use super::*;

/// A small tree that keeps all rules, to be spoilt by a test.
struct House(tempfile::TempDir);

const MANIFEST: &str = "[package]\nname = \"dunlin-queue\"\n[lints]\nworkspace = true\n\
    [dependencies]\ndunlin-base.workspace = true\ntokio.workspace = true\n";

impl House {
    fn new() -> Self {
        let house = Self(tempfile::tempdir().expect("a temporary folder"));
        house
            .with("ARCHITECTURE.md", "| `queue` | the queue |\n| `base` | below all |\n")
            .with("clippy.toml", "")
            .with("crates/queue/Cargo.toml", MANIFEST)
            .with("crates/queue/src/lib.rs", "//! The queue.\n")
            .with("crates/base/Cargo.toml", "[lints]\nworkspace = true\n")
            .with("crates/base/src/lib.rs", "//! The base.\n")
    }

    fn with(self, path: &str, text: impl AsRef<[u8]>) -> Self {
        let path = self.0.path().join(path);
        std::fs::create_dir_all(path.parent().expect("a file in a folder")).expect("a folder");
        std::fs::write(path, text).expect("a file");
        self
    }

    fn findings(&self) -> Vec<String> {
        check(self.0.path()).expect("the tree can be read").iter().map(Finding::to_string).collect()
    }

    /// Exactly one finding, at `place`, that says `words`.
    fn breaks(&self, place: &str, words: &str) {
        let findings = self.findings();
        assert!(
            matches!(&findings[..], [one] if one.starts_with(place) && one.contains(words)),
            "expected one finding at {place} with {words:?}, got {findings:#?}"
        );
    }
}

fn manifest_with(line: &str) -> String {
    format!("{MANIFEST}{line}\n")
}

/// A function `name` of `lines` lines.
fn function(name: &str, lines: usize) -> String {
    format!("fn {name}() {{\n{}}}\n", "    work();\n".repeat(lines - 2))
}

#[test]
fn a_tree_that_keeps_the_rules_has_no_finding() {
    assert_eq!(House::new().findings(), Vec::<String>::new());
}

#[test]
fn an_edge_upwards() {
    House::new()
        .with("crates/queue/Cargo.toml", manifest_with("dunlin-planner.workspace = true"))
        .breaks("crates/queue/Cargo.toml", "may not depend on `planner`");
}

#[test]
fn an_edge_upwards_for_one_target_only() {
    let lines = "[target.'cfg(unix)'.build-dependencies]\ndunlin-node.workspace = true";
    House::new()
        .with("crates/queue/Cargo.toml", manifest_with(lines))
        .breaks("crates/queue/Cargo.toml", "may not depend on `node`");
}

#[test]
fn tests_may_use_the_corpus_but_products_may_not() {
    let dev = "[dev-dependencies]\ndunlin-corpus.workspace = true";
    let house = House::new().with("crates/queue/Cargo.toml", manifest_with(dev));
    assert_eq!(house.findings(), Vec::<String>::new());
    house
        .with("crates/queue/Cargo.toml", manifest_with("dunlin-corpus.workspace = true"))
        .breaks("crates/queue/Cargo.toml", "may not depend on `corpus`");
}

#[test]
fn a_dev_dependency_on_the_other_half_of_a_contract() {
    let dev = "[lints]\nworkspace = true\n[dev-dependencies]\n";
    let service = format!("{dev}dunlin-shuffle-service.workspace = true\n");
    let house = House::new()
        .with("ARCHITECTURE.md", "| `queue` |\n| `base` |\n| `shuffle` |\n")
        .with("crates/shuffle/Cargo.toml", service);
    assert_eq!(house.findings(), Vec::<String>::new());
    house
        .with("crates/shuffle/Cargo.toml", format!("{dev}dunlin-node.workspace = true\n"))
        .breaks("crates/shuffle/Cargo.toml", "may not depend on `node`");
}

#[test]
fn a_forbidden_external() {
    House::new()
        .with("crates/queue/Cargo.toml", manifest_with("datafusion-proto.workspace = true"))
        .breaks("crates/queue/Cargo.toml", "opaque bytes");
}

#[test]
fn a_dependency_outside_the_version_table() {
    for line in [
        "serde = \"1\"",
        "serde = { workspace = true, features = [\"derive\"] }",
        "serde = { path = \"../serde\" }",
    ] {
        House::new()
            .with("crates/queue/Cargo.toml", manifest_with(line))
            .breaks("crates/queue/Cargo.toml", "`serde.workspace = true` and nothing more");
    }
}

#[test]
fn lints_that_are_not_inherited() {
    House::new()
        .with("crates/base/Cargo.toml", "[lints.rust]\nunsafe_code = \"deny\"\n")
        .breaks("crates/base/Cargo.toml", "inherit the lints");
}

#[test]
fn a_crate_that_no_table_knows() {
    let findings =
        House::new().with("crates/utils/Cargo.toml", "[lints]\nworkspace = true\n").findings();
    assert_eq!(findings.len(), 2, "{findings:#?}");
    assert!(findings[0].contains("no row in EDGES"), "{findings:#?}");
    assert!(findings[1].contains("no row for `utils`"), "{findings:#?}");
}

#[test]
fn a_file_without_its_opening_words() {
    House::new()
        .with("crates/queue/src/claim.rs", "use std::fmt;\n")
        .breaks("crates/queue/src/claim.rs", "open with `//!`");
}

#[test]
fn a_leftover_in_any_kind_of_file() {
    let word = concat!("TO", "DO");
    House::new()
        .with("docs/plan.md", format!("fine\n{word}: later\n"))
        .breaks("docs/plan.md:2", word);
    let inside_a_longer_word = format!("a {word}S list\n");
    assert_eq!(House::new().with("docs/plan.md", inside_a_longer_word).findings().len(), 0);
}

#[test]
fn a_path_of_one_machine() {
    let path = concat!("/ho", "me/ada/data");
    House::new().with("README.md", format!("run in {path}\n")).breaks("README.md:1", "one machine");
}

#[test]
fn a_print_in_a_library() {
    let print = "//! Doc.\nfn f() {\n    println!(\"x\");\n}\n";
    House::new()
        .with("crates/queue/src/claim.rs", print)
        .breaks("crates/queue/src/claim.rs:3", "tracing");
    let quoted = "//! Doc.\n// println!\nconst A: &str = \"println!\";\n";
    assert_eq!(House::new().with("crates/queue/src/claim.rs", quoted).findings().len(), 0);
    let tested =
        format!("//! Doc.\n#[cfg(test)]\nmod tests {{\n{}}}\n", "fn f() { println!(); }\n");
    assert_eq!(House::new().with("crates/queue/src/claim.rs", tested).findings().len(), 0);
}

#[test]
fn an_ignored_test() {
    let text = concat!("//! Doc.\n#[test]\n#[ign", "ore]\nfn f() {}\n");
    House::new()
        .with("crates/queue/src/claim.rs", text)
        .breaks("crates/queue/src/claim.rs:3", "ignored");
}

#[test]
fn a_long_file_but_not_for_its_tests() {
    let product = format!("//! Doc.\n{}", "const A: u8 = 1;\n".repeat(600));
    House::new()
        .with("crates/queue/src/claim.rs", &product)
        .breaks("crates/queue/src/claim.rs", "601 lines, more than 600");
    let tests = format!("//! Doc.\n#[cfg(test)]\nmod tests {{\n{}}}\n", "// line\n".repeat(900));
    assert_eq!(House::new().with("crates/queue/src/claim.rs", tests).findings().len(), 0);
}

#[test]
fn a_long_function_whatever_its_strings_and_comments_hold() {
    let body =
        "    let a = '{'; let b = \"}\"; let c = r#\"\"}\"#; // }\n    /* } */ f::<'a'>();\n";
    let text = format!("//! Doc.\nfn claim<'a>(x: &'a str) {{\n{}}}\n", body.repeat(35));
    House::new()
        .with("crates/queue/src/claim.rs", text)
        .breaks("crates/queue/src/claim.rs::claim", "72 lines, more than 70");
    let fits = format!("//! Doc.\n{}{}", function("a", 70), function("b", 70));
    assert_eq!(House::new().with("crates/queue/src/claim.rs", fits).findings().len(), 0);
}

#[test]
fn the_ratchet_holds_and_only_falls() {
    let long = |lines| format!("//! Doc.\n{}", function("claim", lines));
    let entry = "[functions]\n\"crates/queue/src/claim.rs::claim\" = 90\n";
    let house = House::new().with(length::RATCHET, entry);
    let house = house.with("crates/queue/src/claim.rs", long(90));
    assert_eq!(house.findings(), Vec::<String>::new());

    let house = house.with("crates/queue/src/claim.rs", long(91));
    house.breaks("crates/queue/src/claim.rs::claim", "91 lines, more than 90");
    bless(house.0.path()).expect("blessed");
    house.breaks("crates/queue/src/claim.rs::claim", "91 lines, more than 90");

    let house = house.with("crates/queue/src/claim.rs", long(80));
    house.breaks(length::RATCHET, "has shrunk");
    bless(house.0.path()).expect("blessed");
    assert_eq!(house.findings(), Vec::<String>::new());

    let house = house.with("crates/queue/src/claim.rs", long(85));
    house.breaks("crates/queue/src/claim.rs::claim", "85 lines, more than 80");
    let house = house.with("crates/queue/src/claim.rs", long(20));
    bless(house.0.path()).expect("blessed");
    assert_eq!(house.findings(), Vec::<String>::new());
}

#[test]
fn a_base_that_grows_into_a_drawer() {
    let mut house = House::new();
    for part in 0..9 {
        let text = format!("//! Part.\n{}", "const A: u8 = 1;\n".repeat(590));
        house = house.with(&format!("crates/base/src/part{part}.rs"), text);
    }
    house.breaks("crates/base:", "more than 5000");
}

#[test]
fn a_crate_that_the_map_does_not_show() {
    House::new()
        .with("ARCHITECTURE.md", "| `base` | below all |\nthe `queue` is mentioned only\n")
        .breaks("ARCHITECTURE.md", "no row for `queue`");
}

#[test]
fn a_map_that_is_too_long_or_missing() {
    let long = format!("| `queue` |\n| `base` |\n{}", "line\n".repeat(399));
    House::new().with("ARCHITECTURE.md", long).breaks("ARCHITECTURE.md", "401 lines");
    let house = House::new();
    std::fs::remove_file(house.0.path().join("ARCHITECTURE.md")).expect("removed");
    house.breaks("ARCHITECTURE.md", "missing");
}

#[test]
fn a_second_settings_file() {
    House::new()
        .with("crates/queue/clippy.toml", "")
        .breaks("crates/queue/clippy.toml", "a second clippy.toml");
}

#[test]
fn a_large_file() {
    House::new().with("docs/a.bin", vec![0xff; 500_001]).breaks("docs/a.bin", "500001 bytes");
}

#[test]
fn a_second_test_binary() {
    let house = House::new()
        .with("crates/queue/tests/it/main.rs", "//! Tests.\n")
        .with("crates/queue/tests/it/claims.rs", "//! Tests.\n");
    assert_eq!(house.findings(), Vec::<String>::new());
    let house = house.with("crates/queue/tests/more.rs", "//! Tests.\n");
    house.breaks("crates/queue/tests/more.rs", "one integration-test binary");
}
