//! The catalogue of failures: kind and words of each.

use std::sync::Arc;

use dunlin_base::Kind;

use super::*;

#[test]
fn our_errors_come_back_through_any_wrapping() {
    let ours = || Error::lost("shuffle block 7 is gone").with_hint("run it again");
    let wrapped: Vec<DataFusionError> = vec![
        into_datafusion(ours()),
        into_datafusion(ours()).context("optimizer rule"),
        DataFusionError::Shared(Arc::new(into_datafusion(ours()))),
        DataFusionError::Collection(vec![into_datafusion(ours())]),
        DataFusionError::ArrowError(
            Box::new(ArrowError::ExternalError(Box::new(into_datafusion(ours())))),
            None,
        ),
        DataFusionError::ObjectStore(Box::new(object_store::Error::Generic {
            store: "test",
            source: Box::new(ours()),
        })),
        DataFusionError::ParquetError(Box::new(ParquetError::External(Box::new(
            object_store::Error::Generic { store: "test", source: Box::new(ours()) },
        )))),
        DataFusionError::IoError(std::io::Error::other(ours())),
        DataFusionError::External(Box::new(ArrowError::ExternalError(Box::new(ours())))),
    ];
    for error in wrapped {
        let shown = error.to_string();
        let back = from_datafusion(error);
        assert_eq!(back.kind(), Kind::Lost, "{shown}");
        assert_eq!(back.message(), "shuffle block 7 is gone");
        assert_eq!(back.hint(), Some("run it again"));
    }
}

#[test]
fn kinds_follow_from_types() {
    let external = |e: ArrowError| DataFusionError::ArrowError(Box::new(e), None);
    let io = |kind| DataFusionError::IoError(std::io::Error::from(kind));
    let cases = [
        (external(ArrowError::DivideByZero), Kind::Invalid, "division by zero"),
        (
            external(ArrowError::ArithmeticOverflow("Overflow happened on: 1 + 2".into())),
            Kind::Invalid,
            "arithmetic overflow: overflow happened on: 1 + 2",
        ),
        (
            external(ArrowError::CastError("Cannot cast string 'x' to value of Int32 type".into())),
            Kind::Invalid,
            "cannot cast string 'x' to value of Int32 type",
        ),
        (
            DataFusionError::ResourcesExhausted("Failed to allocate 5 MB".into()),
            Kind::Exhausted,
            "the query is over its memory limit: failed to allocate 5 MB",
        ),
        (DataFusionError::Internal("Oops".into()), Kind::Bug, "oops"),
        (DataFusionError::Plan("No such thing.".into()), Kind::Invalid, "no such thing"),
        (
            DataFusionError::NotImplemented("Lateral".into()),
            Kind::Invalid,
            "not supported: lateral",
        ),
        (io(std::io::ErrorKind::NotFound), Kind::Invalid, "no such file: entity not found"),
        (
            io(std::io::ErrorKind::PermissionDenied),
            Kind::Invalid,
            "no permission: permission denied",
        ),
        (
            io(std::io::ErrorKind::StorageFull),
            Kind::Exhausted,
            "the disk is full: no storage space",
        ),
        (
            io(std::io::ErrorKind::ConnectionReset),
            Kind::Retry,
            "input or output failed: connection reset",
        ),
    ];
    for (error, kind, message) in cases {
        let error = from_datafusion(error.context("rule"));
        assert_eq!((error.kind(), error.message()), (kind, message));
    }
}

#[test]
fn object_stores_name_the_path() {
    let source = || "why".into();
    let path = || "data/a.parquet".to_owned();
    let cases = [
        (
            object_store::Error::NotFound { path: path(), source: source() },
            Kind::Invalid,
            "no such file: data/a.parquet",
        ),
        (
            object_store::Error::PermissionDenied { path: path(), source: source() },
            Kind::Invalid,
            "no permission to read data/a.parquet",
        ),
        (
            object_store::Error::Unauthenticated { path: path(), source: source() },
            Kind::Invalid,
            "the store wants credentials for data/a.parquet",
        ),
        (
            object_store::Error::Generic { store: "S3", source: source() },
            Kind::Retry,
            "generic S3 error: why",
        ),
    ];
    for (error, kind, message) in cases {
        let error = from_object_store(&error);
        assert_eq!((error.kind(), error.message()), (kind, message));
    }
}

#[test]
fn files_that_cannot_be_written_say_why() {
    use std::io::ErrorKind;
    for (kind, ours, message) in [
        (ErrorKind::PermissionDenied, Kind::Invalid, "no permission to write /lake/x"),
        (ErrorKind::StorageFull, Kind::Exhausted, "the disk is full: cannot write /lake/x"),
        (
            ErrorKind::ReadOnlyFilesystem,
            Kind::Invalid,
            "cannot write /lake/x: the file system is read-only",
        ),
    ] {
        let source = Box::new(std::io::Error::from(kind));
        let error = object_store::Error::Generic { store: "local", source };
        let error = not_stored(&error, "/lake/x");
        assert_eq!((error.kind(), error.message()), (ours, message));
    }
}

#[test]
fn a_task_that_cannot_spill_names_the_folder_and_says_what_to_do() {
    use datafusion::execution::TaskContext;
    use datafusion::execution::disk_manager::{DiskManagerBuilder, DiskManagerMode};
    use datafusion::execution::runtime_env::RuntimeEnvBuilder;

    let folder = tempfile::tempdir().expect("a temporary folder");
    let mode = DiskManagerMode::Directories(vec![folder.path().to_owned()]);
    let disk = DiskManagerBuilder::default().with_mode(mode);
    let runtime = RuntimeEnvBuilder::new().with_disk_manager_builder(disk).build().expect("built");
    let context = TaskContext::default().with_runtime(Arc::new(runtime));
    let of = |kind| from_datafusion(DataFusionError::IoError(std::io::Error::from(kind)));
    let full = name_spill(of(std::io::ErrorKind::StorageFull), &context);
    assert_eq!(full.kind(), Kind::Exhausted);
    let begins = format!("cannot spill to {}", folder.path().display());
    assert!(full.message().starts_with(&begins), "{full}");
    assert!(full.hint().is_some_and(|hint| hint.contains("--scratch")), "{full:?}");
    let other = name_spill(of(std::io::ErrorKind::NotFound), &context);
    assert!(!other.message().contains("spill"), "{other}");
    let target = not_stored(
        &object_store::Error::Generic {
            store: "test",
            source: Box::new(std::io::Error::from(std::io::ErrorKind::StorageFull)),
        },
        "/lake/x",
    );
    assert_eq!(name_spill(target.clone(), &context).message(), target.message());
}
