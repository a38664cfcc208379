//! Least privilege: what the parsers of hostile input may still do is read
//! what they were given and write into the run's folder.
//!
//! Landlock confines files, TCP, signals and abstract sockets; a seccomp filter
//! refuses what no analysis needs (any socket, running programs, tracing
//! others, kernel interfaces with a history of holes). Both hold for the
//! calling thread and those it starts, so [`enter`] comes before the first
//! thread. A kernel that lacks one degrades with a line in the log.

use crate::args::Safety;
use anyhow::{Context as _, Result};
use landlock::{
    ABI, Access as _, AccessFs, AccessNet, CompatLevel, Compatible as _, Ruleset, RulesetAttr as _,
    RulesetCreatedAttr as _, RulesetStatus, Scope, path_beneath_rules,
};
use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, TargetArch};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The newest rules that this code was tried with; older kernels enforce what they know.
const TRIED: ABI = ABI::V6;

/// What the process itself reads while it works: its own state, the number of
/// cores that its control group grants.
const OWN_READS: [&str; 3] = ["/proc/self", "/sys/fs/cgroup", "/sys/devices/system/cpu"];

/// Links that are looked for; captures come in hundreds, not in trees of
/// millions. What a link beyond these points to cannot be read.
const MOST_LINKS: usize = 4_096;

/// Gives up every right but reading `readable` and writing below `writable`,
/// for this thread and all that it starts. Paths that do not exist are passed over.
pub fn enter(safety: &Safety, readable: &[PathBuf], writable: &[PathBuf]) {
    if safety.no_sandbox {
        tracing::warn!("--no-sandbox: hostile input is parsed with all the rights of this user");
        return;
    }
    let files = confine_files(readable, writable, Network::None);
    let calls = refuse_calls(Network::None);
    report(&files, &calls, "captures are parsed");
}

/// The same for the process that delivers alerts: it reads no capture, and its
/// network is what it is for. It may look names up and write journals below
/// `writable`, and start nothing.
pub fn enter_for_network(no_sandbox: bool, writable: &[PathBuf]) {
    if no_sandbox {
        return;
    }
    let readable: Vec<PathBuf> = NAME_LOOKUP.iter().map(PathBuf::from).collect();
    let files = confine_files(&readable, writable, Network::Outgoing);
    let calls = refuse_calls(Network::Outgoing);
    report(&files, &calls, "alerts are delivered");
}

/// Starts a program that reads `readable` and writes below `scratch`, and may do
/// nothing else: no network, no other program. What it may is settled in a thread
/// of its own, from which it inherits it.
pub fn spawn(
    mut command: std::process::Command,
    program: &Path,
    readable: &[PathBuf],
    scratch: &Path,
    no_sandbox: bool,
) -> Result<std::process::Child> {
    if no_sandbox {
        return Ok(command.spawn()?);
    }
    let (readable, scratch) = (readable.to_vec(), vec![scratch.to_owned()]);
    let program = program.to_owned();
    let thread = std::thread::Builder::new().spawn(move || {
        let files = confine(&readable, &scratch, Some(&program), Network::None);
        let calls = refuse_calls_but(Network::None, &[libc::SYS_execve]);
        report(&files, &calls, "queries are answered");
        command.spawn()
    })?;
    match thread.join() {
        Ok(spawned) => Ok(spawned?),
        Err(_) => anyhow::bail!("the thread that starts it failed"),
    }
}

/// Where a program's own libraries are.
const LIBRARIES: [&str; 4] = ["/lib", "/lib64", "/usr/lib", "/etc/ld.so.cache"];

/// What a process may do with the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Network {
    /// Nothing.
    None,
    /// Connect, and send.
    Outgoing,
}

/// What the C library reads to turn a name into addresses.
const NAME_LOOKUP: [&str; 6] = ["/etc", "/usr", "/lib", "/lib64", "/run", "/var/run"];

fn report(files: &Result<RulesetStatus>, calls: &Result<()>, doing: &str) {
    match (files, &calls) {
        (Ok(RulesetStatus::FullyEnforced), Ok(())) => tracing::info!("sandbox entered"),
        (Ok(RulesetStatus::PartiallyEnforced), Ok(())) => {
            tracing::info!("sandbox entered as far as this kernel knows it");
        }
        _ => {
            let reason = |error: Option<&anyhow::Error>| error.map(|error| format!("{error:#}"));
            tracing::warn!(
                landlock = reason(files.as_ref().err()),
                seccomp = reason(calls.as_ref().err()),
                "{doing} with more rights than needed: this kernel offers no complete sandbox"
            );
        }
    }
}

/// What must be readable for these inputs: they themselves and, since links are
/// followed, what links in their folders point to.
pub fn inputs(given: &[PathBuf]) -> Vec<PathBuf> {
    let mut readable: Vec<PathBuf> = given
        .iter()
        .filter(|path| path.as_path() != Path::new("-"))
        .cloned()
        .collect();
    let mut folders = readable.clone();
    while let Some(folder) = folders.pop()
        && readable.len() < MOST_LINKS
    {
        let Ok(entries) = std::fs::read_dir(folder) else {
            continue;
        };
        for entry in entries.flatten() {
            match entry.file_type() {
                Ok(kind) if kind.is_symlink() => readable.push(entry.path()),
                Ok(kind) if kind.is_dir() => folders.push(entry.path()),
                _ => {}
            }
        }
    }
    readable
}

/// What must be readable to verify these runs: a single file stands for its folder.
pub fn run_folders(given: &[PathBuf]) -> Vec<PathBuf> {
    given
        .iter()
        .filter_map(|path| {
            let path = path.canonicalize().ok()?;
            if path.is_dir() {
                Some(path)
            } else {
                path.parent().map(ToOwned::to_owned)
            }
        })
        .collect()
}

fn confine_files(
    readable: &[PathBuf],
    writable: &[PathBuf],
    network: Network,
) -> Result<RulesetStatus> {
    confine(readable, writable, None, network)
}

/// `program`: the one that may be started.
fn confine(
    readable: &[PathBuf],
    writable: &[PathBuf],
    program: Option<&Path>,
    network: Network,
) -> Result<RulesetStatus> {
    let read = AccessFs::ReadFile | AccessFs::ReadDir;
    // Plain files and folders only: no devices, sockets, pipes or links.
    let write = read
        | AccessFs::WriteFile
        | AccessFs::Truncate
        | AccessFs::MakeReg
        | AccessFs::MakeDir
        | AccessFs::RemoveFile
        | AccessFs::RemoveDir
        | AccessFs::Refer;
    let mut ruleset = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(TRIED))?;
    if network == Network::None {
        ruleset = ruleset.handle_access(AccessNet::from_all(TRIED))?;
    }
    let mut ruleset = ruleset.scope(Scope::from_all(TRIED))?.create()?;
    let own = OWN_READS.iter().map(PathBuf::from);
    let reads = path_beneath_rules(own.chain(readable.iter().cloned()), read);
    let run = read | AccessFs::Execute;
    let of_program = program.map(Path::to_owned).into_iter();
    let libraries = LIBRARIES
        .iter()
        .map(PathBuf::from)
        .filter(|_| program.is_some());
    let runs = path_beneath_rules(of_program.chain(libraries), run);
    for rule in reads.chain(path_beneath_rules(writable, write)).chain(runs) {
        // What cannot be named in a rule (a link to a pipe, say) stays refused.
        if let Err(error) = (&mut ruleset).add_rule(rule?) {
            tracing::debug!(%error, "no rule");
        }
    }
    let status = ruleset.restrict_self()?;
    match status.ruleset {
        RulesetStatus::NotEnforced => anyhow::bail!("not offered by this kernel"),
        enforced => Ok(enforced),
    }
}

fn refuse_calls(network: Network) -> Result<()> {
    refuse_calls_but(network, &[])
}

/// The same, but for some that are needed.
fn refuse_calls_but(network: Network, needed: &[i64]) -> Result<()> {
    let architecture =
        TargetArch::try_from(std::env::consts::ARCH).context("no filter for this processor")?;
    let of_network: &[i64] = match network {
        Network::None => &OUTGOING,
        Network::Outgoing => &[],
    };
    let refused: BTreeMap<i64, Vec<_>> = REFUSED
        .iter()
        .chain(of_network)
        .filter(|call| !needed.contains(call))
        .map(|&call| (call, Vec::new()))
        .collect();
    let filter = SeccompFilter::new(
        refused,
        SeccompAction::Allow,
        SeccompAction::Errno(libc::EPERM.unsigned_abs()),
        architecture,
    )?;
    let program: BpfProgram = filter.try_into()?;
    seccompiler::apply_filter(&program)?;
    Ok(())
}

/// Calls that send to others; a pair of sockets within this process is harmless.
const OUTGOING: [i64; 3] = [libc::SYS_socket, libc::SYS_connect, libc::SYS_bind];

/// Calls that neither analysis nor delivery makes.
const REFUSED: &[i64] = &[
    // Being connected to.
    libc::SYS_listen,
    libc::SYS_accept,
    libc::SYS_accept4,
    // Other programs and processes.
    libc::SYS_execve,
    libc::SYS_execveat,
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_pidfd_getfd,
    libc::SYS_kcmp,
    // The system's shape and the kernel's wide interfaces.
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_pivot_root,
    libc::SYS_chroot,
    libc::SYS_unshare,
    libc::SYS_setns,
    libc::SYS_bpf,
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    libc::SYS_perf_event_open,
    libc::SYS_userfaultfd,
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_keyctl,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_kexec_load,
    libc::SYS_reboot,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    libc::SYS_open_by_handle_at,
];

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::ErrorKind;
    use std::net::{TcpStream, UdpSocket};

    /// Runs in a thread of its own, since nobody leaves a sandbox.
    fn confined<T: Send + 'static>(
        readable: &Path,
        writable: &Path,
        attempt: impl FnOnce(Result<RulesetStatus>, Result<()>) -> T + Send + 'static,
    ) -> T {
        let (readable, writable) = (vec![readable.to_owned()], vec![writable.to_owned()]);
        std::thread::spawn(move || {
            let files = confine_files(&readable, &writable, Network::None);
            let calls = refuse_calls(Network::None);
            attempt(files, calls)
        })
        .join()
        .expect("the thread ends")
    }

    #[test]
    fn only_the_inputs_and_the_output_are_left() {
        let (input, output, other) = (
            tempfile::tempdir().expect("a folder"),
            tempfile::tempdir().expect("a folder"),
            tempfile::tempdir().expect("a folder"),
        );
        let (read, write, secret) = (
            input.path().join("capture"),
            output.path().join("table"),
            other.path().join("secret"),
        );
        std::fs::write(&read, "in").expect("written");
        std::fs::write(&secret, "secret").expect("written");
        confined(input.path(), output.path(), move |files, calls| {
            assert_eq!(std::fs::read(&read).expect("inputs are readable"), b"in");
            std::fs::write(&write, "out").expect("the output is writable");
            std::fs::rename(&write, write.with_extension("done")).expect("and can be renamed");
            if let Err(error) = files {
                eprintln!("skipped: no Landlock here: {error:#}");
            } else {
                let refused = |result: std::io::Result<()>| {
                    result.map_err(|error| error.kind()) == Err(ErrorKind::PermissionDenied)
                };
                assert!(refused(std::fs::write(&read, "changed")));
                assert!(refused(std::fs::read(&secret).map(drop)));
                assert!(refused(std::fs::remove_file(&read)));
                assert!(refused(std::fs::read("/etc/passwd").map(drop)));
                assert!(refused(std::os::unix::fs::symlink(
                    &secret,
                    write.with_extension("link")
                )));
            }
            if let Err(error) = calls {
                eprintln!("skipped: no seccomp here: {error:#}");
            } else {
                let refused = |result: std::io::Result<()>| {
                    result.map_err(|error| error.kind()) == Err(ErrorKind::PermissionDenied)
                };
                assert!(refused(TcpStream::connect("127.0.0.1:9").map(drop)));
                assert!(refused(UdpSocket::bind("127.0.0.1:0").map(drop)));
                assert!(refused(
                    std::process::Command::new("/bin/true").status().map(drop)
                ));
            }
            // Threads, clocks and random bytes still work.
            std::thread::spawn(|| std::thread::available_parallelism().expect("known"))
                .join()
                .expect("threads start");
        });
    }

    #[test]
    fn who_delivers_has_a_network_and_no_more() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("bound").port();
        let (journals, other) = (
            tempfile::tempdir().expect("a folder"),
            tempfile::tempdir().expect("a folder"),
        );
        let writable = vec![journals.path().to_owned()];
        let elsewhere = other.path().join("file");
        std::thread::spawn(move || {
            let files = confine_files(&[], &writable, Network::Outgoing);
            let calls = refuse_calls(Network::Outgoing);
            TcpStream::connect(("127.0.0.1", port)).expect("connections are made");
            std::fs::write(writable[0].join("journal"), "x").expect("journals are written");
            if files.is_ok() {
                assert!(std::fs::write(&elsewhere, "x").is_err());
            }
            if calls.is_ok() {
                assert!(std::process::Command::new("/bin/true").status().is_err());
                assert!(std::net::TcpListener::bind("127.0.0.1:0").is_err());
            }
        })
        .join()
        .expect("the thread ends");
    }

    #[test]
    fn a_program_that_is_started_reads_what_it_may_and_no_more() {
        let (given, scratch, other) = (
            tempfile::tempdir().expect("a folder"),
            tempfile::tempdir().expect("a folder"),
            tempfile::tempdir().expect("a folder"),
        );
        let (open, secret) = (given.path().join("open"), other.path().join("secret"));
        std::fs::write(&open, "open").expect("written");
        std::fs::write(&secret, "secret").expect("written");
        let program = ["/usr/bin/cat", "/bin/cat"].map(Path::new);
        let Some(program) = program.into_iter().find(|path| path.exists()) else {
            eprintln!("skipped: no cat here");
            return;
        };
        let program = program.canonicalize().expect("a program");
        let read = |file: &Path| {
            let mut command = std::process::Command::new(&program);
            command
                .arg(file)
                .stdout(std::process::Stdio::piped())
                .stderr(std::process::Stdio::piped());
            let readable = [given.path().to_owned()];
            let child = spawn(command, &program, &readable, scratch.path(), false);
            let output = child.expect("started").wait_with_output();
            output.expect("ended").stdout
        };
        assert_eq!(read(&open), b"open");
        let is_enforced = confined(given.path(), scratch.path(), |files, _| files.is_ok());
        if is_enforced {
            assert_eq!(read(&secret), b"");
        } else {
            eprintln!("skipped: no Landlock here");
        }
        // Whoever started it is as free as before.
        assert_eq!(std::fs::read(&secret).expect("readable"), b"secret");
    }

    #[test]
    fn links_in_a_folder_may_be_followed() {
        let folder = tempfile::tempdir().expect("a folder");
        let elsewhere = tempfile::NamedTempFile::new().expect("a file");
        std::os::unix::fs::symlink(elsewhere.path(), folder.path().join("monday.pcap"))
            .expect("a link");
        let given = vec![folder.path().to_owned(), PathBuf::from("-")];
        let link = folder.path().join("monday.pcap");
        let readable = inputs(&given);
        assert_eq!(readable, [folder.path().to_owned(), link.clone()]);
        confined(&link.clone(), folder.path(), move |_, _| {
            assert!(std::fs::read(&link).is_ok());
        });
    }
}
