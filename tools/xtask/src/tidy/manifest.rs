//! Rules on `Cargo.toml` files: which crate may depend on which, and one version table.

use anyhow::{Context, Result};
use toml::{Table, Value};

use super::{Finding, tree::Tree};

/// Our crates and those of ours that each may depend on: the drawing in `ARCHITECTURE.md`. A new
/// edge is an architectural decision: it changes this table, the drawing and the reason together.
const EDGES: &[(&str, &[&str])] = &[
    ("base", &[]),
    ("proto", &["base"]),
    ("metadata", &["base"]),
    ("queue", &["base", "proto", "metadata"]),
    ("features", &[]),
    ("planner", &["base", "features", "proto"]),
    ("shuffle", &["base", "proto"]),
    ("shuffle-service", &["base", "proto", "metadata"]),
    ("celeborn", &["base"]),
    ("streaming", &["base"]),
    ("celeborn-service", &["base", "celeborn", "proto", "metadata", "shuffle-service"]),
    ("executor", &["base", "proto", "metadata", "queue", "planner", "shuffle"]),
    ("gateway", &["base", "proto", "metadata", "queue", "planner", "shuffle"]),
    ("node", ALL_CRATES),
    ("sim", ALL_OF_A_CLUSTER),
    ("corpus", &["features"]),
    ("fuzz", &[]),
    ("bench", OF_A_BENCHMARK),
    ("xtask", &[]),
];

const ALL_CRATES: &[&str] = &[
    "base",
    "celeborn",
    "celeborn-service",
    "proto",
    "metadata",
    "queue",
    "planner",
    "shuffle",
    "shuffle-service",
    "executor",
    "gateway",
];

/// A simulation is of all crates, and nothing depends on it.
const ALL_OF_A_CLUSTER: &[&str] = &[
    "base",
    "proto",
    "metadata",
    "queue",
    "planner",
    "shuffle",
    "shuffle-service",
    "executor",
    "gateway",
    "node",
    "corpus",
];

/// The engine as a whole, and the shuffle by itself.
const OF_A_BENCHMARK: &[&str] = &[
    "corpus",
    "node",
    "base",
    "celeborn",
    "celeborn-service",
    "gateway",
    "executor",
    "planner",
    "proto",
    "shuffle",
    "shuffle-service",
];

/// What any crate may have as a dev-dependency besides its own edges.
const FOR_ALL_TESTS: &[&str] = &["corpus", "fuzz"];

/// Further dev-dependencies: tests that need the other half of a contract, for real.
const FOR_TESTS: &[(&str, &[&str])] = &[
    ("shuffle", &["shuffle-service"]),
    ("shuffle-service", &["shuffle"]),
    ("executor", &["shuffle-service"]),
    ("gateway", &["executor", "shuffle-service"]),
];

/// External packages (by the start of their name) that a crate must not link, and why.
const FORBIDDEN: &[(&str, &[&str], &str)] = &[
    ("base", &["tonic", "prost"], "base knows no wire format"),
    ("proto", &["tokio", "object_store", "datafusion"], "proto does no I/O and knows no plans"),
    ("metadata", &["datafusion"], "metadata knows keys and records, not plans"),
    ("queue", &["datafusion"], "a plan is opaque bytes to the queue"),
    ("shuffle", &["datafusion"], "shuffle moves batches and knows no stages"),
    (
        "shuffle-service",
        &["datafusion", "arrow"],
        "shuffle-service moves bytes that it never opens",
    ),
    ("celeborn", &["datafusion", "arrow"], "the door for Spark moves bytes that it never opens"),
    (
        "streaming",
        &["tokio", "datafusion", "arrow"],
        "what stands of streaming is values in, values out",
    ),
    ("planner", &["etcd-client", "fjall"], "planner does no network or store I/O"),
];

pub(crate) fn check(tree: &Tree) -> Result<Vec<Finding>> {
    let mut findings = Vec::new();
    for (member, text) in tree.manifests() {
        let path = format!("{member}/Cargo.toml");
        let manifest: Table = text.parse().with_context(|| path.clone())?;
        let name = member.rsplit('/').next().unwrap_or(member);
        let mut find = |message: String| findings.push(Finding::new(path.clone(), message));
        if manifest.get("lints").and_then(|l| l.get("workspace")) != Some(&Value::Boolean(true)) {
            find("inherit the lints: `[lints] workspace = true`".to_owned());
        }
        let Some((_, allowed)) = EDGES.iter().find(|(crate_name, _)| *crate_name == name) else {
            find(format!("`{name}` has no row in EDGES (tools/xtask/src/tidy/manifest.rs)"));
            continue;
        };
        for (kind, table) in dependency_tables(&manifest) {
            for (dependency, spec) in table {
                // The one manifest that a tool writes, with versions and features.
                if name != "features" {
                    check_inherited(dependency, spec, &mut find);
                }
                check_edge(name, kind, dependency, allowed, &mut find);
            }
        }
    }
    Ok(findings)
}

/// `[dependencies]`, `[dev-dependencies]`, `[build-dependencies]`, also below `[target.*]`.
fn dependency_tables(manifest: &Table) -> Vec<(&'static str, &Table)> {
    let targets = manifest.get("target").and_then(Value::as_table);
    let below_targets = targets.into_iter().flatten().filter_map(|(_, target)| target.as_table());
    std::iter::once(manifest)
        .chain(below_targets)
        .flat_map(|place| {
            ["dependencies", "dev-dependencies", "build-dependencies"]
                .into_iter()
                .filter_map(|kind| Some((kind, place.get(kind)?.as_table()?)))
        })
        .collect()
}

fn check_inherited(dependency: &str, spec: &Value, find: &mut impl FnMut(String)) {
    let inherited = spec.as_table().is_some_and(|spec| {
        spec.get("workspace") == Some(&Value::Boolean(true))
            && spec.keys().all(|key| key == "workspace" || key == "optional")
    });
    if !inherited {
        find(format!(
            "write `{dependency}.workspace = true` and nothing more: version and features are set \
             once, in the root's [workspace.dependencies]"
        ));
    }
}

fn check_edge(
    name: &str,
    kind: &str,
    dependency: &str,
    allowed: &[&str],
    find: &mut impl FnMut(String),
) {
    if let Some(ours) = dependency.strip_prefix("dunlin-") {
        let for_tests = kind == "dev-dependencies" && is_for_tests(name, ours);
        if !allowed.contains(&ours) && !for_tests {
            find(format!("`{name}` may not depend on `{ours}`: not an edge of ARCHITECTURE.md"));
        }
        return;
    }
    for (member, prefixes, reason) in FORBIDDEN {
        if *member == name && prefixes.iter().any(|prefix| dependency.starts_with(prefix)) {
            find(format!("`{name}` may not depend on `{dependency}`: {reason}"));
        }
    }
}

fn is_for_tests(name: &str, dependency: &str) -> bool {
    let own = FOR_TESTS.iter().filter(|(member, _)| *member == name);
    FOR_ALL_TESTS.contains(&dependency)
        || own.flat_map(|(_, dependencies)| *dependencies).any(|ours| *ours == dependency)
}
