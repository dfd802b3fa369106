//! Definitions and the store: what CREATE and DROP mean, what survives encoding.

use std::sync::Arc;

use dunlin_base::Kind;
use dunlin_proto::catalog::v1;

use super::*;

fn view(query: &str) -> Definition {
    Definition::View(v1::View { query: query.to_owned(), ..Default::default() })
}

fn may_all(snapshot: &Arc<Snapshot>) -> Rights {
    Rights::new(snapshot, &Who::Anyone)
}

#[test]
fn definitions_survive_encoding() {
    let table = v1::ExternalTable {
        locations: vec!["/data/".to_owned()],
        format: "csv".to_owned(),
        options: vec![v1::Option { key: "format.has_header".into(), value: "true".into() }],
        ..Default::default()
    };
    for definition in [Definition::Schema, view("SELECT 1"), Definition::Table(Box::new(table))] {
        let mut access = Access { owner: Some("ann".to_owned()), grants: Vec::new() };
        for access in [Access::default(), access.clone(), {
            access.grant("", Privileges::of(&[Privilege::Select]));
            access
        }] {
            let object = Object { definition: definition.clone(), access };
            assert_eq!(Object::decode(&object.encode()).expect("own encoding"), object);
        }
    }
    assert_eq!(Object::decode(b"\xff\xff").expect_err("noise").kind(), Kind::Lost);
    assert_eq!(Object::decode(b"").expect_err("nothing").kind(), Kind::Lost);
}

#[tokio::test]
async fn create_means_what_it_says() {
    let store = Arc::new(MemoryCatalog::default());
    let cache = CatalogCache::new(store.clone());
    let name = Name::object("public", "v");
    let create = async |definition: Definition, existing| {
        let snapshot = cache.current().await?;
        put(store.as_ref(), &may_all(&snapshot), &name, definition, existing).await
    };
    assert!(create(view("SELECT 1"), Existing::Fail).await.expect("new"));
    let error = create(view("SELECT 2"), Existing::Fail).await.expect_err("taken");
    assert_eq!(error.message(), "view 'public.v' already exists");
    assert!(!create(view("SELECT 2"), Existing::Keep).await.expect("kept"));
    assert!(create(view("SELECT 2"), Existing::Replace).await.expect("replaced"));
    let entry = cache.current().await.expect("loads").get(&name).cloned().expect("there");
    assert_eq!(entry.definition, view("SELECT 2"));
    let table = Definition::Table(Box::default());
    let error = create(table, Existing::Replace).await.expect_err("another kind");
    assert_eq!(error.hint(), Some("DROP VIEW first"));
}

#[tokio::test]
async fn a_writer_that_was_second_decides_again() {
    let store = MemoryCatalog::default();
    let stale = may_all(&Arc::default());
    let name = Name::object("public", "v");
    store.swap(&name, None, Some(view("SELECT 1").into())).await.expect("swaps");
    let kept = put(&store, &stale, &name, view("SELECT 2"), Existing::Keep).await;
    assert!(!kept.expect("sees the first writer's view"));
    let error = put(&store, &stale, &name, view("SELECT 2"), Existing::Fail).await;
    assert_eq!(error.expect_err("taken").message(), "view 'public.v' already exists");
    let error = drop_object(&store, &stale, &name, "view", false).await.expect_err("stale");
    assert_eq!(error.message(), "there is no view 'public.v'");
}

#[tokio::test]
async fn schemas_are_dropped_only_empty_or_by_cascade() {
    let store = Arc::new(MemoryCatalog::default());
    let cache = CatalogCache::new(store.clone());
    let snapshot = async || cache.current().await.expect("loads");
    let schema = Name::schema("lab");
    let inside = Name::object("lab", "v");
    let before = may_all(&snapshot().await);
    let error = put(store.as_ref(), &before, &inside, view("SELECT 1"), Existing::Fail);
    let error = error.await.expect_err("no schema yet");
    assert_eq!(error.message(), "there is no schema 'lab'");
    for (name, definition) in [(&schema, Definition::Schema), (&inside, view("SELECT 1"))] {
        let put =
            put(store.as_ref(), &may_all(&snapshot().await), name, definition, Existing::Fail)
                .await;
        assert!(put.expect("new"));
    }
    let error = drop_schema(store.as_ref(), &may_all(&snapshot().await), "lab", false, false).await;
    assert_eq!(error.expect_err("full").message(), "schema 'lab' is not empty: it has lab.v");
    assert!(
        drop_schema(store.as_ref(), &may_all(&snapshot().await), "lab", false, true)
            .await
            .expect("ok")
    );
    assert_eq!(snapshot().await.schemas(), ["public"]);
    assert!(
        !drop_schema(store.as_ref(), &may_all(&snapshot().await), "lab", true, false)
            .await
            .expect("ok")
    );
}

#[tokio::test]
async fn what_is_known_of_files_outlives_changes_elsewhere() {
    let store = Arc::new(MemoryCatalog::default());
    let cache = CatalogCache::new(store.clone());
    let one = Name::object("public", "one");
    store.swap(&one, None, Some(view("SELECT 1").into())).await.expect("swaps");
    let before = cache.current().await.expect("loads").get(&one).cloned().expect("there");
    let two = Name::object("public", "two");
    store.swap(&two, None, Some(view("SELECT 2").into())).await.expect("swaps");
    let after = cache.current().await.expect("loads").get(&one).cloned().expect("there");
    assert!(Arc::ptr_eq(&before, &after));
}
