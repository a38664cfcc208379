//! Keys as the user gives them: `SECRET_KEY`, or files.
//!
//! Nothing here prints, logs or keeps key text. The environment's key is taken
//! out before the first thread starts, its bytes are wiped where the system
//! put them (so `/proc/PID/environ` and child processes do not see it either),
//! and every copy of ours is wiped when dropped.

use anyhow::{Context as _, Result, anyhow, bail};
use nsforensics_engine::seal::Key;
use std::ffi::OsString;
use std::io::Write as _;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// The variable that holds a key.
pub const VARIABLE: &str = "SECRET_KEY";

/// What to do without a key.
const HOW_TO: &str = "make one with `nsforensics key new FILE` and pass --key-file FILE, \
                      or set SECRET_KEY to the output of `openssl rand -base64 32`";

/// The key that the environment held, if it held one.
pub struct EnvironmentKey(Option<Zeroizing<Vec<u8>>>);

impl EnvironmentKey {
    /// Takes `SECRET_KEY` out of the environment.
    ///
    /// Must be called while the process has one thread: first thing in `main`.
    #[allow(unsafe_code)]
    pub fn take() -> Self {
        let name = c"SECRET_KEY";
        // SAFETY: `name` ends in NUL. No other thread exists yet, so nobody
        // changes the environment while the pointer is in use.
        let value = unsafe { libc::getenv(name.as_ptr()) };
        if value.is_null() {
            return Self(None);
        }
        // SAFETY: `getenv` gave a NUL-terminated string that lives until the
        // environment is changed, which happens below, in this thread.
        let length = unsafe { libc::strlen(value) };
        let mut text = Zeroizing::new(vec![0_u8; length]);
        for (offset, byte) in text.iter_mut().enumerate() {
            // SAFETY: `offset < length`, within the string. It lies in memory
            // that the process owns and may write (the initial stack, where
            // the kernel put the environment); no reference to it exists. The
            // write is volatile so that it is not optimised away.
            unsafe {
                let at = value.add(offset).cast::<u8>();
                *byte = at.read_volatile();
                at.write_volatile(b'x');
            }
        }
        // SAFETY: as for `getenv`.
        unsafe { libc::unsetenv(name.as_ptr()) };
        Self(Some(text))
    }

    fn key(&self) -> Option<Result<Key>> {
        let text = self.0.as_ref()?;
        Some(Key::from_secret(text).with_context(|| format!("{VARIABLE} cannot be used")))
    }

    /// Whether an argument repeats the key, as in `--key-file "$SECRET_KEY"`.
    fn is_repeated_by(&self, argument: &[u8]) -> bool {
        self.0
            .as_ref()
            .is_some_and(|text| text.len() >= 8 && contains(argument, text))
    }

    /// The command line for the manifest, without what must not stand there.
    pub fn redacted(&self, arguments: impl Iterator<Item = OsString>) -> Vec<String> {
        arguments
            .map(|argument| {
                if self.is_repeated_by(argument.as_bytes()) {
                    "[redacted]".to_owned()
                } else {
                    argument.to_string_lossy().into_owned()
                }
            })
            .collect()
    }
}

/// The one key that seals: the file's, else the environment's.
pub fn sealing_key(file: Option<&Path>, environment: &EnvironmentKey) -> Result<Key> {
    match file {
        Some(file) => key_from_file(file, environment),
        None => environment
            .key()
            .unwrap_or_else(|| Err(anyhow!("no sealing key, so nothing was read: {HOW_TO}"))),
    }
}

/// Every key at hand, those of files first.
pub fn keys_at_hand(files: &[PathBuf], environment: &EnvironmentKey) -> Result<Vec<Key>> {
    let mut keys = Vec::with_capacity(files.len() + 1);
    for file in files {
        keys.push(key_from_file(file, environment)?);
    }
    if let Some(key) = environment.key() {
        keys.push(key?);
    }
    if keys.is_empty() {
        bail!("no key to verify with: pass --key-file FILE or set {VARIABLE}");
    }
    Ok(keys)
}

/// The key of a file. A name that is itself a key, pasted in the wrong place,
/// must not end in an error message and so in somebody's log.
pub fn key_from_file(path: &Path, environment: &EnvironmentKey) -> Result<Key> {
    let name = path.as_os_str().as_bytes();
    if environment.is_repeated_by(name) {
        bail!("an option that takes the name of a key file was given the key itself");
    }
    if looks_like_a_key(name) && !path.exists() {
        bail!(
            "the key file that was named does not exist (its name is not repeated here: it looks like a key)"
        );
    }
    Ok(Key::from_file(path)?)
}

/// Writes a new random key to a new file of mode 0600.
pub fn write_new_key(path: &Path) -> Result<Key> {
    let text = Key::generate()?;
    write_new_secret(path, &text)?;
    Ok(Key::from_secret(text.as_bytes())?)
}

/// Writes a secret and a line break to a new file of mode 0600.
pub fn write_new_secret(path: &Path, text: &str) -> Result<()> {
    use std::os::unix::fs::OpenOptionsExt as _;

    let shown = crate::escape::line(&path.to_string_lossy());
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .with_context(|| format!("cannot make {shown} (a key file is never overwritten)"))?;
    file.write_all(text.as_bytes())
        .and_then(|()| file.write_all(b"\n"))
        .and_then(|()| file.sync_all())
        .with_context(|| format!("cannot write {shown}"))
}

fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    haystack
        .windows(needle.len())
        .any(|window| window == needle)
}

/// Whether a "file name" is more likely key text: base64 or hex of at least 32 bytes.
fn looks_like_a_key(name: &[u8]) -> bool {
    name.len() >= 43
        && name
            .iter()
            .all(|byte| byte.is_ascii_alphanumeric() || b"+/=-_".contains(byte))
}
