//! Memory-mapped captures: the only `unsafe` of the project.
//!
//! A mapped file that another process cuts short, or whose disk fails, raises
//! SIGBUS at the next touch. The handler here puts zero pages over the rest of
//! the mapping and notes where the readable part ends, so that a walk stops
//! there and says so instead of dying.

use memmap2::{Mmap, MmapOptions, UncheckedAdvice};
use std::fs::File;
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

/// A mapped capture file: read-only, private, cheap to clone.
#[derive(Clone, Debug)]
pub struct Mapping {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    // Dropped in this order: the slot is given up before the pages are
    // unmapped, so that the handler never writes over foreign memory.
    slot: Slot,
    map: Mmap,
    file: File,
}

/// Mappings that can be watched at a time. More are read as streams.
const SLOTS: usize = 64;

/// One watched mapping. All zero while free.
struct Watched {
    start: AtomicUsize,
    len: AtomicUsize,
    /// Offset behind the last byte that is still the file's.
    readable: AtomicUsize,
}

static WATCHED: [Watched; SLOTS] = [const {
    Watched {
        start: AtomicUsize::new(0),
        len: AtomicUsize::new(0),
        readable: AtomicUsize::new(0),
    }
}; SLOTS];

/// Which slots are taken. Never touched by the signal handler.
static TAKEN: Mutex<[bool; SLOTS]> = Mutex::new([false; SLOTS]);

#[derive(Debug)]
struct Slot(usize);

impl Slot {
    fn watched(&self) -> &'static Watched {
        // `self.0 < SLOTS` by construction.
        &WATCHED[self.0 % SLOTS]
    }

    fn take(start: usize, len: usize) -> Option<Self> {
        let mut taken = TAKEN.lock().unwrap_or_else(|poison| poison.into_inner());
        let index = taken.iter().position(|taken| !taken)?;
        if let Some(mark) = taken.get_mut(index) {
            *mark = true;
        }
        let slot = Self(index);
        let watched = slot.watched();
        watched.readable.store(len, Ordering::SeqCst);
        watched.len.store(len, Ordering::SeqCst);
        watched.start.store(start, Ordering::SeqCst);
        Some(slot)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let watched = self.watched();
        watched.start.store(0, Ordering::SeqCst);
        watched.len.store(0, Ordering::SeqCst);
        let mut taken = TAKEN.lock().unwrap_or_else(|poison| poison.into_inner());
        if let Some(mark) = taken.get_mut(self.0) {
            *mark = false;
        }
    }
}

impl Mapping {
    /// Maps a regular file of `len` bytes (more than none).
    ///
    /// # Errors
    ///
    /// When the system refuses, or too many mappings are watched already; the
    /// file can then still be read as a stream.
    #[allow(unsafe_code)]
    pub(super) fn new(file: File, len: u64) -> io::Result<Self> {
        install_handler()?;
        let len = usize::try_from(len).map_err(|_| io::ErrorKind::FileTooLarge)?;
        // SAFETY: the mapping is private and read-only. Another process may
        // still write to or cut the file: bytes that change under us are then
        // read as whatever they are (nothing here relies on reading a byte
        // twice alike for memory safety, since every access is checked against
        // the mapping's constant length), and pages that vanish are replaced
        // by the SIGBUS handler below.
        let map = unsafe { MmapOptions::new().len(len).map_copy_read_only(&file)? };
        let slot = Slot::take(map.as_ptr() as usize, map.len())
            .ok_or_else(|| io::Error::other("too many files are mapped"))?;
        Ok(Self {
            inner: Arc::new(Inner { slot, map, file }),
        })
    }

    /// The bytes that are (as far as is known) still the file's.
    pub fn bytes(&self) -> &[u8] {
        let map: &[u8] = &self.inner.map;
        map.get(..self.readable()).unwrap_or(map)
    }

    /// Bytes that could be read when last looked at; falls when the file
    /// shrinks or cannot be read.
    pub fn readable(&self) -> usize {
        self.inner.slot.watched().readable.load(Ordering::Acquire)
    }

    /// Whether every byte that was mapped can still be read, as far as is
    /// known after asking the system for the file's length.
    pub fn is_intact(&self) -> bool {
        self.look_again() == self.inner.map.len()
    }

    /// Asks for the file's length again and gives [`Mapping::readable`].
    /// Bytes of the last page behind a new, shorter end read as zero without
    /// any signal: only this notices them.
    pub(super) fn look_again(&self) -> usize {
        let watched = self.inner.slot.watched();
        if let Ok(metadata) = self.inner.file.metadata() {
            let len = usize::try_from(metadata.len()).unwrap_or(usize::MAX);
            watched.readable.fetch_min(len, Ordering::AcqRel);
        }
        self.readable()
    }

    /// Gives the pages of `from..to` back; they are read from the file again
    /// should anyone still want them.
    #[allow(unsafe_code)]
    pub(super) fn give_back(&self, from: u64, to: u64) {
        let page = 4096;
        let len = self.inner.map.len() as u64;
        // The page in which the next part begins is kept.
        let to = to.min(len) / page * page;
        let from = from / page * page;
        if from >= to {
            return;
        }
        let (Ok(offset), Ok(count)) = (usize::try_from(from), usize::try_from(to - from)) else {
            return;
        };
        // SAFETY: the pages are private, read-only and never written, so the
        // system may drop them at any time: a later read faults them in from
        // the file. (Pages that the handler replaced are zero before and after.)
        let _ = unsafe {
            self.inner
                .map
                .unchecked_advise_range(UncheckedAdvice::DontNeed, offset, count)
        };
    }
}

/// Asks the processor to load the line that holds `bytes[index]`; does nothing
/// when there is none.
#[inline]
#[allow(unsafe_code)]
pub(super) fn prefetch(bytes: &[u8], index: usize) {
    #[cfg(target_arch = "x86_64")]
    if let Some(byte) = bytes.get(index) {
        // SAFETY: a prefetch of a valid reference; it neither reads nor faults.
        unsafe {
            std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T0 }>(
                std::ptr::from_ref(byte).cast(),
            );
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (bytes, index);
}

/// What SIGBUS did before us: given back when a fault is not ours.
static PREVIOUS: OnceLock<libc::sigaction> = OnceLock::new();

#[allow(unsafe_code)]
fn install_handler() -> io::Result<()> {
    static INSTALLED: Mutex<bool> = Mutex::new(false);
    let mut installed = INSTALLED
        .lock()
        .unwrap_or_else(|poison| poison.into_inner());
    if *installed {
        return Ok(());
    }
    // SAFETY: `sigaction` is plain data for which all zero is valid; both
    // pointers are to live locals; the handler has the signature that
    // SA_SIGINFO asks for and calls only what is async-signal-safe.
    unsafe {
        let mut previous: libc::sigaction = std::mem::zeroed();
        if libc::sigaction(libc::SIGBUS, std::ptr::null(), &raw mut previous) != 0 {
            return Err(io::Error::last_os_error());
        }
        let _ = PREVIOUS.set(previous);
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = on_sigbus as *const () as usize;
        action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
        libc::sigemptyset(&raw mut action.sa_mask);
        if libc::sigaction(libc::SIGBUS, &raw const action, std::ptr::null_mut()) != 0 {
            return Err(io::Error::last_os_error());
        }
    }
    *installed = true;
    Ok(())
}

/// Async-signal-safe: reads atomics, calls mmap or sigaction, nothing else.
#[allow(unsafe_code)]
extern "C" fn on_sigbus(
    _signal: libc::c_int,
    info: *mut libc::siginfo_t,
    _context: *mut libc::c_void,
) {
    // SAFETY: the system passes a valid siginfo to an SA_SIGINFO handler, and
    // for SIGBUS it holds the address.
    let address = unsafe { (*info).si_addr() } as usize;
    // SAFETY: errno is this thread's own.
    let errno = unsafe { *libc::__errno_location() };
    if !cover(address) {
        // Not ours: hand the signal back to whom it belonged; returning
        // repeats the access, which faults again there.
        // SAFETY: `PREVIOUS` was set before this handler was installed and
        // `get` does not block once set.
        unsafe {
            match PREVIOUS.get() {
                Some(previous) => {
                    libc::sigaction(libc::SIGBUS, previous, std::ptr::null_mut());
                }
                None => {
                    libc::signal(libc::SIGBUS, libc::SIG_DFL);
                }
            }
        }
    }
    // SAFETY: as above.
    unsafe { *libc::__errno_location() = errno };
}

/// Puts zero pages from the faulting page to the mapping's end and notes where
/// the readable part ends. One call covers all that follows, so that a search
/// through the lost rest does not raise a signal for each page.
#[allow(unsafe_code)]
fn cover(address: usize) -> bool {
    for watched in &WATCHED {
        let start = watched.start.load(Ordering::SeqCst);
        let len = watched.len.load(Ordering::SeqCst);
        if start == 0 || address < start || address - start >= len {
            continue;
        }
        // Pages of 4 KiB or of any larger power of two up to 64 KiB begin at a
        // multiple of the real page size; ask for the real one.
        // SAFETY: sysconf is async-signal-safe.
        let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
        let page = usize::try_from(page).unwrap_or(4096).max(4096);
        let from = address / page * page;
        let rest = start + len - from;
        // SAFETY: `from .. from + rest` lies inside a live mapping of ours (the
        // slot is given up before it is unmapped, and the thread that faulted
        // holds a reference to it), which holds no data but the file's.
        let mapped = unsafe {
            libc::mmap(
                from as *mut libc::c_void,
                rest,
                libc::PROT_READ,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED | libc::MAP_NORESERVE,
                -1,
                0,
            )
        };
        if mapped == libc::MAP_FAILED {
            return false;
        }
        watched
            .readable
            .fetch_min(from.saturating_sub(start), Ordering::SeqCst);
        return true;
    }
    false
}
