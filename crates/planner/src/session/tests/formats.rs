//! Files of every format that can be read, compressed ones too.

use arrow::ipc::writer::FileWriter;
use arrow_avro::writer::AvroWriter;
use datafusion::datasource::file_format::file_compression_type::FileCompressionType;
use object_store::buffered::BufWriter;
use object_store::local::LocalFileSystem;
use tokio::io::AsyncWriteExt;

use super::*;

fn batch() -> RecordBatch {
    let columns = [("n", numbers(&[1, 2, 3])), ("word", words(&["one", "two", "three"]))];
    RecordBatch::try_from_iter(columns).expect("two columns")
}

/// The rows of a table over `path`, and of a query that needs its types.
async fn reads_back(lab: &Lab, name: &str, format: &str, path: &Path) {
    lab.plan(&table(name, format, path)).await.expect(name);
    let rows = lab.rows(&format!("SELECT n, word FROM {name} ORDER BY n")).await.expect(name);
    assert_eq!(rows, ["1|one", "2|two", "3|three"], "{name}");
    let sum = lab.rows(&format!("SELECT sum(n) FROM {name} WHERE word <> 'two'")).await;
    assert_eq!(sum.expect(name), ["4"], "{name}");
}

#[tokio::test]
async fn arrow_files() {
    let lab = Lab::new();
    for name in ["a.arrow", "a.feather", "a.ipc"] {
        let path = lab.path(name);
        let file = std::fs::File::create(&path).expect("created");
        let mut writer = FileWriter::try_new(file, &batch().schema()).expect("a writer");
        writer.write(&batch()).expect("written");
        writer.finish().expect("finished");
        reads_back(&lab, &name.replace('.', "_"), "ARROW", &path).await;
    }
}

#[tokio::test]
async fn avro_files() {
    let lab = Lab::new();
    let path = lab.path("a.avro");
    let file = std::fs::File::create(&path).expect("created");
    let schema = batch().schema().as_ref().clone();
    let mut writer = AvroWriter::new(file, schema).expect("a writer");
    writer.write(&batch()).expect("written");
    writer.finish().expect("finished");
    reads_back(&lab, "a", "AVRO", &path).await;
}

const TEXTS: [(&str, &str, &str); 2] = [
    ("csv", "CSV", "n,word\n1,one\n2,two\n3,three\n"),
    (
        "json",
        "JSON",
        "{\"n\":1,\"word\":\"one\"}\n{\"n\":2,\"word\":\"two\"}\n{\"n\":3,\"word\":\"three\"}\n",
    ),
];

async fn compressed(path: &Path, compression: FileCompressionType, text: &str) {
    let parent = path.parent().expect("a folder");
    let store = Arc::new(LocalFileSystem::new_with_prefix(parent).expect("a store"));
    let name = path.file_name().and_then(|name| name.to_str()).expect("a name");
    let buffer = BufWriter::new(store, name.into());
    let mut writer = compression.convert_async_writer(buffer).expect("a writer");
    writer.write_all(text.as_bytes()).await.expect("written");
    writer.shutdown().await.expect("finished");
}

#[tokio::test]
async fn compressed_text_is_known_by_its_ending() {
    let lab = Lab::new();
    let kinds = [
        ("gz", FileCompressionType::GZIP),
        ("bz2", FileCompressionType::BZIP2),
        ("xz", FileCompressionType::XZ),
        ("zst", FileCompressionType::ZSTD),
    ];
    for (ending, format, text) in TEXTS {
        for (kind, compression) in kinds {
            let path = lab.path(&format!("{kind}/t.{ending}.{kind}"));
            compressed(&path, compression, text).await;
            let stored = std::fs::read(&path).expect("there");
            assert_ne!(stored, text.as_bytes(), "{ending}.{kind} is compressed");
            reads_back(&lab, &format!("{ending}_{kind}"), format, &path).await;
        }
    }
}

#[tokio::test]
async fn a_folder_of_all_formats_is_opened_as_tables() {
    let lab = Lab::new();
    for (ending, _, text) in TEXTS {
        let path = lab.path(&format!("d/{ending}_gz.{ending}.gz"));
        compressed(&path, FileCompressionType::GZIP, text).await;
        lab.text(&format!("d/plain_{ending}.{ending}"), text);
    }
    let found = lab.planner.register_folder(&lab.path("d")).await.expect("a folder");
    let names: Vec<_> = found.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["csv_gz", "json_gz", "plain_csv", "plain_json"]);
    for name in names {
        let sum = lab.rows(&format!("SELECT sum(n) FROM {name}")).await.expect(name);
        assert_eq!(sum, ["6"], "{name}");
    }
}

#[tokio::test]
async fn lines_may_end_as_the_table_says_and_json_must_be_lines() {
    let lab = Lab::new();
    let path = lab.text("t.csv", "n,word;1,one;2,two;3,three;");
    let options = "OPTIONS ('format.terminator' ';')";
    // DataFusion's inference of types looks for newlines only.
    let sql = table("t (n BIGINT, word VARCHAR)", "CSV", &path);
    lab.plan(&format!("{sql} {options}")).await.expect("a table");
    assert_eq!(lab.rows("SELECT sum(n) FROM t").await.expect("rows"), ["6"]);
    let path = lab.text("t.json", "[{\"n\":1}]");
    let options = "OPTIONS ('format.newline_delimited' 'false')";
    let (error, hint) = lab.error(&format!("{} {options}", table("j", "JSON", &path))).await;
    assert!(error.contains("an object on each line"), "{error}");
    assert!(hint.contains("jq"), "{hint}");
}
