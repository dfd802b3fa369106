//! A folder with a few files, and the binary run in it.

use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use arrow::array::{ArrayRef, Int64Array, StringArray};
use arrow::record_batch::RecordBatch;
use parquet::arrow::ArrowWriter;
use tempfile::TempDir;

/// No run of these tests takes longer, unless it hangs.
const RUN_MAX: Duration = Duration::from_secs(180);

/// A folder to work in.
pub(crate) struct Lab {
    dir: TempDir,
}

/// What a run said.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Ran {
    /// The output of a run that went well.
    #[track_caller]
    pub(crate) fn ok(self) -> String {
        assert_eq!(self.code, 0, "{self:?}");
        self.out
    }

    /// Asserts a failure: its code, exactly one error with these words, and no output.
    #[track_caller]
    pub(crate) fn fails(&self, code: i32, words: &[&str]) {
        assert_eq!(self.code, code, "{self:?}");
        let errors = self.err.lines().filter(|line| line.starts_with("error: ")).count();
        assert_eq!(errors, 1, "{self:?}");
        assert!(self.out.is_empty(), "{self:?}");
        for word in words {
            assert!(self.err.contains(word), "'{word}' is missing: {self:?}");
        }
        assert!(!self.err.contains("panic"), "{self:?}");
    }
}

impl Lab {
    /// `data/orders.csv` and `data/items.parquet`, three rows each.
    pub(crate) fn new() -> Self {
        let lab = Self { dir: tempfile::tempdir().expect("a temporary folder") };
        lab.write("data/orders.csv", "id,name\n1,ann\n2,bob\n3,\n");
        let columns: [(&str, ArrayRef); 2] = [
            ("id", Arc::new(Int64Array::from(vec![1, 2, 2]))),
            ("what", Arc::new(StringArray::from(vec![Some("tea"), Some("pot, blue"), None]))),
        ];
        let batch = RecordBatch::try_from_iter(columns).expect("columns fit");
        let file = File::create(lab.path("data/items.parquet")).expect("a file");
        let mut writer = ArrowWriter::try_new(file, batch.schema(), None).expect("a writer");
        writer.write(&batch).expect("written");
        writer.close().expect("closed");
        lab
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Names in the lab's folder.
    pub(crate) fn names(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.dir.path()).expect("a folder");
        let name = |e: std::io::Result<std::fs::DirEntry>| {
            e.expect("an entry").file_name().to_string_lossy().into_owned()
        };
        let mut names: Vec<String> = entries.map(name).collect();
        names.sort();
        names
    }

    pub(crate) fn write(&self, name: &str, text: impl AsRef<[u8]>) {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap_or(Path::new("/"))).expect("a folder");
        std::fs::write(path, text).expect("written");
    }

    /// The binary, in the lab's folder and with nothing of the caller's environment that it reads.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_dunlin"));
        command.current_dir(self.dir.path()).args(arguments);
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("DUNLIN_") {
                command.env_remove(name);
            }
        }
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Runs it to its end.
    pub(crate) fn run(&self, arguments: &[&str]) -> Ran {
        finish(self.command(arguments), "")
    }

    /// `dunlin sql --data data` with further arguments.
    pub(crate) fn sql(&self, arguments: &[&str]) -> Ran {
        self.run(&[&["sql", "--data", "data"], arguments].concat())
    }
}

/// Runs a command with this on its standard input, and waits for its end.
pub(crate) fn finish(mut command: Command, input: &str) -> Ran {
    if !input.is_empty() {
        command.stdin(Stdio::piped());
    }
    let mut child = command.spawn().expect("the binary starts");
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(input.as_bytes()).expect("it reads");
    }
    let (mut stdout, mut stderr) = (child.stdout.take(), child.stderr.take());
    let (sender, receiver) = channel();
    std::thread::scope(|scope| {
        let out = scope.spawn(|| text(stdout.as_mut()));
        let err = scope.spawn(|| {
            let err = text(stderr.as_mut());
            let _ = sender.send(());
            err
        });
        let hung = receiver.recv_timeout(RUN_MAX) == Err(RecvTimeoutError::Timeout);
        if hung {
            child.kill().expect("killed");
        }
        let code = child.wait().expect("it ends").code().unwrap_or(-1);
        let out = out.join().expect("read");
        let err = err.join().expect("read");
        assert!(!hung, "no end in {RUN_MAX:?}: {out} {err}");
        Ran { code, out, err }
    })
}

fn text(from: Option<&mut impl Read>) -> String {
    let mut bytes = Vec::new();
    if let Some(from) = from {
        from.read_to_end(&mut bytes).expect("read");
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
