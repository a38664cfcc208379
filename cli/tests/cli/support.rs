//! Runs the binary in a folder of its own and keeps what it said.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Key text of the tests; nobody seals anything of worth with it.
pub const KEY: &str = "a-key-for-tests-that-is-long-enough";

/// A folder to work in, and how to run the binary there.
pub struct Place {
    folder: tempfile::TempDir,
}

/// How a run of the binary ended.
#[derive(Debug)]
pub struct Ended {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Place {
    pub fn new() -> Self {
        Self {
            folder: tempfile::tempdir().expect("a temporary folder"),
        }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn write(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, bytes).expect("written");
        path
    }

    /// The binary, with an environment that holds nothing of the tester's.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_nsforensics"));
        command
            .current_dir(self.folder.path())
            .env_clear()
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// A shell's script, with `SECRET_KEY`.
    pub fn shell(&self, script: &str) -> Command {
        let mut command = Command::new("sh");
        command
            .current_dir(self.folder.path())
            .args(["-c", script])
            .env("SECRET_KEY", KEY);
        command
    }

    /// Runs a command of one's own to its end.
    pub fn ended(&self, command: Command) -> Ended {
        Ended::of(command)
    }

    /// Runs without a key in the environment.
    pub fn run(&self, arguments: &[&str]) -> Ended {
        Ended::of(self.command(arguments))
    }

    /// Runs with `SECRET_KEY`.
    pub fn run_keyed(&self, arguments: &[&str]) -> Ended {
        let mut command = self.command(arguments);
        command.env("SECRET_KEY", KEY);
        Ended::of(command)
    }

    /// Runs with `SECRET_KEY` and standard input.
    pub fn run_fed(&self, arguments: &[&str], input: &[u8]) -> Ended {
        let mut command = self.command(arguments);
        command.env("SECRET_KEY", KEY).stdin(Stdio::piped());
        let mut child = command.spawn().expect("the binary starts");
        let mut stdin = child.stdin.take().expect("a pipe");
        // It may stop reading early.
        drop(stdin.write_all(input));
        drop(stdin);
        Ended::from(child.wait_with_output().expect("the binary ends"))
    }

    /// The one run folder below `out`.
    pub fn run_folder(&self, out: &str) -> PathBuf {
        let folders: Vec<PathBuf> = std::fs::read_dir(self.path(out))
            .expect("the output folder")
            .map(|entry| entry.expect("an entry").path())
            .collect();
        let [folder] = folders.as_slice() else {
            panic!("one run folder, not {folders:?}")
        };
        folder.clone()
    }
}

impl Ended {
    fn of(mut command: Command) -> Self {
        Self::from(command.output().expect("the binary runs"))
    }

    /// Asserts the exit code, showing what was said otherwise.
    #[track_caller]
    pub fn code(self, expected: i32) -> Self {
        assert_eq!(self.code, Some(expected), "{self:#?}");
        self
    }

    /// Asserts that standard error holds this.
    #[track_caller]
    pub fn says(self, text: &str) -> Self {
        assert!(self.stderr.contains(text), "{text:?} is not in {self:#?}");
        self
    }
}

impl From<std::process::Output> for Ended {
    fn from(output: std::process::Output) -> Self {
        Self {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).expect("UTF-8 on standard output"),
            stderr: String::from_utf8(output.stderr).expect("UTF-8 on standard error"),
        }
    }
}

/// A path as an argument.
pub fn text(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}
